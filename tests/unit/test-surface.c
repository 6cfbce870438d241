/* SPDX-License-Identifier: Apache-2.0 */
/* The surface file: what is written reads back the same, and each way in which a file can be wrong
 * is refused with the line and what was expected there. */
#include "test-surface-fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *write_text(const struct surface *s, size_t *ret_size)
{
	static char *text; /* the stream keeps its address, which a compiler cannot see end */
	FILE *f = open_memstream(&text, ret_size);

	assert_non_null(f);
	assert_int_equal(surface_write(f, s), 0);
	assert_int_equal(fclose(f), 0);
	return text;
}

static int read_bytes(const char *bytes, size_t size, struct surface **ret,
		      struct surface_error *ret_error)
{
	FILE *f = fmemopen((void *)bytes, size, "r");
	int r;

	assert_non_null(f);
	r = surface_read(f, ret, ret_error);
	(void)fclose(f);
	return r;
}

static struct surface *sample_surface(void)
{
	struct surface *s = new_surface();
	struct surface_cell *c;

	(void)add_cell(s, 925, 1, 8, 1e9 / 3, 43.21);
	c = add_cell(s, 925, 2, 15, 21e6, 99.5);
	c->flags = SURFACE_STRUCK | SURFACE_THROTTLED;
	s->loads = calloc(1, sizeof(*s->loads));
	assert_non_null(s->loads);
	s->loads[s->n_loads++] = (struct surface_load){
		.max_mhz = 925,
		.shape = {2, 15},
		.batch = 1,
		.workers = 1,
		.offered_rps = 0.1 + 0.2,
		.power_w = 77,
		.p50_ns = 21e6,
		.p95_ns = 30e6,
		.p99_ns = 35e6,
		.samples = 500,
	};
	return s;
}

static void assert_same_cell(const struct surface_cell *a, const struct surface_cell *b)
{
	assert_int_equal(a->max_mhz, b->max_mhz);
	assert_true(cu_shape_equal(a->shape, b->shape));
	assert_int_equal(a->batch, b->batch);
	assert_int_equal(a->workers, b->workers);
	assert_true(a->capacity_rps == b->capacity_rps && a->capacity_se == b->capacity_se);
	assert_true(a->power_w == b->power_w && a->power_se == b->power_se);
	assert_true(a->energy_j == b->energy_j && a->mean_mhz == b->mean_mhz);
	assert_true(a->temp_c == b->temp_c);
	assert_int_equal(a->samples, b->samples);
	assert_int_equal(a->flags, b->flags);
	assert_memory_equal(a->service_ns, b->service_ns, sizeof(a->service_ns));
}

static void test_a_written_surface_reads_back_the_same(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface(), *back = NULL;
	_cleanup_(freep) char *text = NULL, *again = NULL;
	struct surface_error error = {0};
	size_t size, size_again;

	(void)state;
	s->idle_power_w[0] = NAN;
	s->simulated = true;
	s->t0_ns = 1e9 / 7;
	(void)snprintf(s->model_digest, sizeof(s->model_digest), "%064x", 0xc0ffee);
	text = write_text(s, &size);
	if (read_bytes(text, size, &back, &error) != 0)
		fail_msg("%u: %s", error.line, error.text);
	assert_string_equal(back->model, s->model);
	assert_string_equal(back->model_digest, s->model_digest);
	assert_string_equal(back->gpu_name, s->gpu_name);
	assert_string_equal(back->gfx, s->gfx);
	assert_string_equal(back->driver, s->driver);
	assert_string_equal(back->date, s->date);
	assert_true(back->simulated);
	assert_int_equal(back->n_cus, 60);
	assert_int_equal(back->n_se, 4);
	assert_int_equal(back->n_levels, 2);
	assert_int_equal(back->level_mhz[1], 1725);
	assert_true(isnan(back->idle_power_w[0]));
	assert_true(back->idle_power_w[1] == 20 && back->active_idle_power_w[1] == 80);
	assert_true(back->t0_ns == s->t0_ns && back->rated_rps == s->rated_rps);
	assert_int_equal(back->n_cells, 3);
	assert_same_cell(&back->cells[0], &s->cells[1]); /* sorted now */
	assert_same_cell(&back->cells[1], &s->cells[2]);
	assert_same_cell(&back->cells[2], &s->cells[0]);
	assert_ptr_equal(surface_baseline(back), &back->cells[2]);
	assert_int_equal(back->n_loads, 1);
	assert_true(back->loads[0].offered_rps == s->loads[0].offered_rps);
	assert_int_equal(back->loads[0].samples, 500);
	again = write_text(back, &size_again);
	s = surface_free(s);
	assert_int_equal(read_bytes(again, size_again, &s, &error), 0);
	free(text);
	text = write_text(s, &size);
	assert_int_equal(size, size_again);
	assert_memory_equal(text, again, size);
}

static void test_a_file_written_row_by_row_is_read(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface(), *back = NULL;
	_cleanup_(freep) char *text = NULL;
	struct surface_error error = {0};
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(surface_write_header(f, s), 0);
	assert_int_equal(surface_write_cell(f, &s->cells[2]), 0);
	assert_int_equal(surface_write_load(f, &s->loads[0]), 0);
	assert_int_equal(surface_write_cell(f, &s->cells[0]), 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(read_bytes(text, size, &back, &error), 0);
	assert_int_equal(back->n_cells, 2);
	assert_int_equal(back->n_loads, 1);
}

static void test_a_finished_file_cut_anywhere_is_refused(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) char *text = NULL;
	size_t size;

	(void)state;
	text = write_text(s, &size);
	for (size_t cut = 1; cut < size; cut++) {
		struct surface *back = NULL;
		struct surface_error error = {0};
		int r;

		r = read_bytes(text, cut, &back, &error);
		if (r != -EBADMSG && r != -EPROTONOSUPPORT)
			fail_msg("cut after %zu bytes: %d", cut, r);
		assert_null(back);
		assert_true(strlen(error.text) > 0);
	}
}

/* Replaces the first occurrence of from. */
static char *edited(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *copy;

	if (!at)
		fail_msg("no '%s' in the file", from);
	assert_true(asprintf(&copy, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return copy;
}

static void test_each_broken_file_is_refused_with_its_line_and_what_was_expected(void **state)
{
	static const struct {
		const char *from, *to;
		int r;
		unsigned int line;
		const char *text;
	} cases[] = {
		/* the first line */
		{"# cofris-surface = 1\n", "# cofris-surface = 2\n", -EPROTONOSUPPORT, 1,
		 "format version '2': expected 1"},
		{"# cofris-surface = 1\n", "# cofris-surface = 1 \n", -EPROTONOSUPPORT, 1,
		 "format version '1 ': expected 1"},
		{"# cofris-surface = 1\n", "model,clock\n", -EBADMSG, 1,
		 "not a response surface: expected '# cofris-surface = 1' as the first line"},
		{"# cofris-surface = 1\n", "", -EBADMSG, 1, "not a response surface"},
		/* the header */
		{"# model = resnet50\n", "# modell = resnet50\n", -EBADMSG, 2,
		 "unknown key 'modell', did you mean 'model'?"},
		{"# model = resnet50\n", "# weather = fine\n", -EBADMSG, 2,
		 "unknown key 'weather'"},
		{"# model = resnet50\n", "# model = a\n# model = b\n", -EBADMSG, 3,
		 "second value for 'model'"},
		{"# model = resnet50\n", "", -EBADMSG, 26, "the header lacks 'model'"},
		{"# model = resnet50\n", "# model = ../etc\n", -EBADMSG, 27,
		 "model: '../etc' is no model's name"},
		{"# model = resnet50\n", "# model\n", -EBADMSG, 2, "expected '# key = value'"},
		{"# model = resnet50\n", "#model = resnet50\n", -EBADMSG, 2,
		 "expected '# key = value'"},
		{"# model = resnet50\n", "# model = 12345678901234567890123456789012345678901\n",
		 -EBADMSG, 2, "model: expected at most 40 bytes, got 41"},
		{"# model_digest = \n", "# model_digest = abc\n", -EBADMSG, 27,
		 "model_digest: expected 64 hexadecimal digits or nothing"},
		{"2024-05-31T12:00:00Z", "yesterday", -EBADMSG, 27,
		 "date: expected YYYY-MM-DDThh:mm:ssZ, got 'yesterday'"},
		{"# source = measured", "# source = guessed", -EBADMSG, 8,
		 "source: expected measured or simulated, got 'guessed'"},
		{"# clock_mode = cap", "# clock_mode = pin", -EBADMSG, 9,
		 "clock_mode: expected 'cap', got 'pin'"},
		{"# cus = 60", "# cus = 0", -EBADMSG, 10,
		 "cus: expected a whole number from 1 to 512, got '0'"},
		{"# cus = 60", "# cus = 60.5", -EBADMSG, 10,
		 "cus: expected a whole number from 1 to 512, got '60.5'"},
		{"# cus = 60", "# cus = 99999999999999999999", -EBADMSG, 10,
		 "cus: expected a whole number"},
		{"# cus = 60", "# cus = 3", -EBADMSG, 27, "cus: 3 CUs for 4 SEs"},
		{"mhz = 925 1725", "mhz = 1725 925", -EBADMSG, 12,
		 "sclk_levels_mhz: expected ascending levels, got 925 after 1725"},
		{"mhz = 925 1725", "mhz = 925  1725", -EBADMSG, 12,
		 "sclk_levels_mhz: expected a whole number from 1 to 100000, got ''"},
		{"idle_power_w = 20 20", "idle_power_w = 20", -EBADMSG, 27,
		 "idle_power_w: expected 2 powers, one for each clock level, got 1"},
		{"idle_power_w = 20 20", "idle_power_w = 20 nan", -EBADMSG, 13,
		 "idle_power_w: expected a finite number from 0 to 100000, got 'nan'"},
		{"idle_power_w = 20 20", "idle_power_w = 20 -", -EBADMSG, 27,
		 "idle_power_w: expected a power for the highest level"},
		{"capacity_rps = 100", "capacity_rps = inf", -EBADMSG, 17,
		 "capacity_rps: expected a finite number from 1e-06 to 1000000000, got 'inf'"},
		{"capacity_rps = 100", "capacity_rps = 0x64", -EBADMSG, 17,
		 "capacity_rps: expected a finite number"},
		{"capacity_rps = 100", "capacity_rps = 111", -EBADMSG, 0,
		 "capacity_rps is 111, but the baseline's cell has 100"},
		{"rated_rps = 70", "rated_rps = 170", -EBADMSG, 27,
		 "rated_rps: 170 is above capacity_rps, 100"},
		{"percentile = 95", "percentile = 100", -EBADMSG, 19,
		 "percentile: expected a whole number from 1 to 99, got '100'"},
		{"# cells = 3", "# cells = 4", -EBADMSG, 0,
		 "truncated: expected 4 cell rows, got 3"},
		{"# loads = 1", "# loads = 0", -EBADMSG, 0,
		 "truncated: expected 0 load rows, got 1"},
		{"# cell_columns = max_mhz,", "# cell_columns = mhz,", -EBADMSG, 25,
		 "cell_columns: expected 'max_mhz,n_se,cus_per_se,"},
		/* rows */
		{"cell,1725,4,15", "cell,1500,4,15", -EBADMSG, 27,
		 "max_mhz: 1500 is none of sclk_levels_mhz"},
		{"cell,1725,4,15", "cell,1725,5,12", -EBADMSG, 27,
		 "shape of 5 SEs with 12 CUs each on a card of 4 SEs and 60 CUs"},
		{"cell,1725,4,15", "cell,1725,4,16", -EBADMSG, 27, "shape of 4 SEs with 16 CUs"},
		{"cell,1725,4,15", "cell,1725,0,15", -EBADMSG, 27,
		 "shape.n_se: expected a whole number from 1 to 32, got '0'"},
		{"cell,1725,4,15", "cell,1725,4,-15", -EBADMSG, 27,
		 "shape.cus_per_se: expected a whole number"},
		{"cell,1725,4,15", "cell,1725,4,14", -EBADMSG, 0,
		 "no cell for the baseline: expected 1725 MHz on all 60 CUs, batch 1, 1 workers"},
		{"cell,1725,4,15", "cell,925,2,15", -EBADMSG, 29,
		 "second cell for 925 MHz, 2x15 CUs, batch 1, 1 workers; the first is in line 27"},
		{"cell,1725,4,15,1,1,100,", "cell,1725,4,15,1,1,NaN,", -EBADMSG, 27,
		 "capacity_rps: expected a finite number from 1e-06 to 1000000000, got 'NaN'"},
		{"cell,1725,4,15,1,1,100,", "cell,1725,4,15,1,1,-1,", -EBADMSG, 27,
		 "capacity_rps: expected"},
		{"cell,1725,4,15,1,1,100,", "cell,1725,4,15,1,65,100,", -EBADMSG, 27,
		 "workers: expected a whole number from 1 to 64, got '65'"},
		{"cell,1725,4,15,1,1,100,", "cell,1725,4,15,1,1,", -EBADMSG, 27,
		 "cell row: expected 115 columns behind 'cell', got 114"},
		{"cell,1725,4,15,1,1,100,", "cell,1725,4,15,1,1,100,,", -EBADMSG, 27,
		 "cell row: expected 115 columns behind 'cell', got 116"},
		{"cell,1725,4,15,", "cell,1725\ncell,4,15,", -EBADMSG, 27,
		 "cell row: expected 115 columns behind 'cell', got 1"},
		{",2000,-,", ",0,-,", -EBADMSG, 27, "samples: expected a whole number from 1"},
		{",2000,-,", ",2000,broken,", -EBADMSG, 27,
		 "flags: expected '-' or throttled+unstable+struck, got 'broken'"},
		{",2000,-,", ",2000,struck+struck,", -EBADMSG, 27, "flags: expected"},
		{",2000,-,", ",2000,,", -EBADMSG, 27, "flags: expected"},
		{",9902000,9904000,", ",9904000,9902000,", -EBADMSG, 27,
		 "service_ns: quantile 2 (9902000) is below quantile 1 (9904000)"},
		{",9902000,9904000,", ",9902000,nan,", -EBADMSG, 27,
		 "service_ns: expected a finite number from 1 to 1e+15, got 'nan'"},
		{",9902000,9904000,", ",0,9904000,", -EBADMSG, 27, "service_ns: expected"},
		{"load,925", "loud,925", -EBADMSG, 30,
		 "expected a row that starts with 'cell,' or 'load,'"},
		{"load,925", "\nload,925", -EBADMSG, 30, "expected a row that starts with"},
		{"load,925", "# gfx = gfx906\nload,925", -EBADMSG, 30,
		 "header line behind the first row"},
		{",21000000,30000000,", ",31000000,30000000,", -EBADMSG, 30,
		 "expected p50_ns <= p95_ns <= p99_ns"},
		{"\ncell,", "\r\ncell,", -EBADMSG, 26, "byte 0x0d: expected printable ASCII"},
		{"gfx906", "gfx\t906", -EBADMSG, 5, "byte 0x09: expected printable ASCII"},
		{"Instinct", "Instinct\xe2\x84\xa2", -EBADMSG, 4,
		 "byte 0xe2: expected printable ASCII"},
	};
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) char *text = NULL;
	size_t size;

	(void)state;
	text = write_text(s, &size);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *bytes = edited(text, cases[i].from, cases[i].to);
		struct surface *back = NULL;
		struct surface_error error = {.line = 9999};
		int r;

		r = read_bytes(bytes, strlen(bytes), &back, &error);
		if (r != cases[i].r || error.line != cases[i].line ||
		    strncmp(error.text, cases[i].text, strlen(cases[i].text)) != 0)
			fail_msg("'%s': got %d, line %u: %s", cases[i].to, r, error.line,
				 error.text);
		assert_null(back);
	}
}

static void assert_bytes_refused(const char *bytes, size_t size, int expected, unsigned int line,
				 const char *text)
{
	struct surface *back = NULL;
	struct surface_error error = {.line = 9999};
	int r;

	r = read_bytes(bytes, size, &back, &error);
	if (r != expected || error.line != line || strncmp(error.text, text, strlen(text)) != 0)
		fail_msg("got %d, line %u: %s; expected %d, line %u: %s", r, error.line, error.text,
			 expected, line, text);
	assert_null(back);
}

static void test_nul_bytes_and_over_long_lines_are_refused(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) char *text = NULL, *longest = NULL, *longer = NULL;
	char name[4096 - sizeof("# model = ") + 3];
	size_t size;

	(void)state;
	text = write_text(s, &size);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	longer = edited(text, "resnet50", name);
	assert_bytes_refused(longer, strlen(longer), -EBADMSG, 2, "line longer than 4096 bytes");
	longest = edited(text, "resnet50", name + 1);
	assert_bytes_refused(longest, strlen(longest), -EBADMSG, 2,
			     "model: expected at most 40 bytes, got 4086");
	*strstr(text, "resnet50") = '\0';
	assert_bytes_refused(text, size, -EBADMSG, 2, "byte 0x00: expected printable ASCII");
	assert_bytes_refused("", 1, -EBADMSG, 1, "byte 0x00");
	assert_bytes_refused("\n", 1, -EBADMSG, 1, "not a response surface");
}

static void test_more_cells_than_any_sweep_has_are_refused(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(surface_write_header(f, s), 0);
	for (unsigned int i = 0; i <= SURFACE_MAX_CELLS; i++) {
		struct surface_cell c = s->cells[0];

		c.batch = 1 + i % 4096;
		c.workers = 1 + i / 4096;
		assert_int_equal(surface_write_cell(f, &c), 0);
	}
	assert_int_equal(fclose(f), 0);
	assert_bytes_refused(text, size, -EFBIG, 25 + SURFACE_MAX_CELLS, "more than 8192 cells");
}

static void test_garbage_never_reads_as_a_surface(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) char *text = NULL;
	uint64_t random = 20240531;
	unsigned int accepted = 0;
	size_t size;

	(void)state;
	print_message("seed %ju\n", (uintmax_t)random);
	text = write_text(s, &size);
	for (unsigned int i = 0; i < 4000; i++) {
		struct surface *back = NULL;
		struct surface_error error = {0};
		size_t at;
		char was;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		at = (random >> 33) % size;
		was = text[at];
		text[at] = (char)(random >> 24);
		if (read_bytes(text, size, &back, &error) == 0) {
			accepted++;
			/* Another digit can be as good; what it gives must be writable. */
			free(write_text(back, &(size_t){0}));
		} else {
			assert_null(back);
			assert_true(strlen(error.text) > 0);
		}
		surface_free(back);
		text[at] = was;
	}
	assert_true(accepted < 1500);
}

static void test_what_the_reader_would_refuse_is_not_written(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	FILE *f = fopen("/dev/null", "w");
	struct surface_cell c = s->cells[0];
	struct surface_load l = s->loads[0];

	(void)state;
	c.service_ns[50] = NAN;
	assert_int_equal(surface_write_cell(f, &c), -EINVAL);
	c = s->cells[0];
	c.power_se = INFINITY;
	assert_int_equal(surface_write_cell(f, &c), -EINVAL);
	l.p99_ns = NAN;
	assert_int_equal(surface_write_load(f, &l), -EINVAL);
	s->t0_ns = NAN;
	assert_int_equal(surface_write_header(f, s), -EINVAL);
	s->t0_ns = 1e6;
	(void)strcpy(s->driver, "5.2\n# model = x");
	assert_int_equal(surface_write(f, s), -EINVAL);
	(void)fclose(f);
}

static void test_a_full_disk_is_an_error(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	FILE *f = fopen("/dev/full", "w");

	(void)state;
	if (!f)
		skip();
	assert_int_equal(surface_write(f, s), -ENOSPC);
	(void)fclose(f);
}

static void test_paths_that_are_no_files_are_refused(void **state)
{
	char folder[] = "/tmp/test-surface.XXXXXX", path[64];
	struct surface *back = NULL;
	struct surface_error error = {0};

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/surface.csv", folder);
	assert_int_equal(surface_load(path, &back, &error), -ENOENT);
	assert_string_equal(error.text, "No such file or directory");
	assert_int_equal(surface_load(folder, &back, &error), -EISDIR);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(surface_load(path, &back, &error), -EINVAL);
	assert_null(back);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void test_the_baseline_of_unequal_ses_is_the_largest_shape_on_all_of_them(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();

	(void)state;
	s->n_cus = 58;
	s->cells[0].shape.cus_per_se = 12;
	(void)add_cell(s, 1725, 4, 13, 10e6, 200);
	(void)add_cell(s, 1725, 3, 15, 11e6, 190);
	assert_ptr_equal(surface_baseline(s), &s->cells[1]);
	s->n_cus = 60;
	assert_null(surface_baseline(s));
}

static void test_surfaces_of_another_card_are_refused(void **state)
{
	static const uint32_t levels[] = {925, 930, 1725}, others[] = {925, 1725, 1800},
			      shifted[] = {925, 1770}, near[] = {938, 1750};
	static const struct {
		struct surface_card card;
		bool surface_simulated, allow;
		int r;
		const char *text;
	} cases[] = {
		{{"gfx906", 60, 4, 3, levels, false}, false, false, 0, ""},
		{{"gfx906", 60, 4, 2, near, false}, false, false, 0, ""},
		{{"gfx908", 60, 4, 3, levels, false},
		 false,
		 false,
		 -EXDEV,
		 "measured on a gfx906, the card is a gfx908"},
		{{"gfx906", 64, 4, 3, levels, false},
		 false,
		 false,
		 -EXDEV,
		 "measured on 60 CUs in 4 SEs, the card has 64 in 4"},
		{{"gfx906", 60, 6, 3, levels, false},
		 false,
		 false,
		 -EXDEV,
		 "measured on 60 CUs in 4 SEs, the card has 60 in 6"},
		{{"gfx906", 60, 4, 3, others, false},
		 false,
		 false,
		 -EXDEV,
		 "measured on 2 clock levels, the card has 3"},
		{{"gfx906", 60, 4, 2, shifted, false},
		 false,
		 false,
		 -EXDEV,
		 "measured with a clock level of 1725 MHz, the card has 1770 MHz"},
		{{"gfx906", 60, 4, 3, levels, false},
		 true,
		 false,
		 -EXDEV,
		 "measured on a simulated card, this one is real"},
		{{"gfx906", 60, 4, 3, levels, false}, true, true, 0, ""},
		{{"gfx906", 60, 4, 3, levels, true}, true, false, 0, ""},
		{{"gfx906", 60, 4, 3, levels, true}, false, false, 0, ""},
	};
	_cleanup_(surface_freep) struct surface *s = new_surface();

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct surface_error error = {0};

		s->simulated = cases[i].surface_simulated;
		if (surface_check_card(s, &cases[i].card, cases[i].allow, &error) != cases[i].r)
			fail_msg("case %u: %s", i, error.text);
		assert_string_equal(error.text, cases[i].text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_written_surface_reads_back_the_same),
		cmocka_unit_test(test_a_file_written_row_by_row_is_read),
		cmocka_unit_test(test_a_finished_file_cut_anywhere_is_refused),
		cmocka_unit_test(
			test_each_broken_file_is_refused_with_its_line_and_what_was_expected),
		cmocka_unit_test(test_nul_bytes_and_over_long_lines_are_refused),
		cmocka_unit_test(test_more_cells_than_any_sweep_has_are_refused),
		cmocka_unit_test(test_garbage_never_reads_as_a_surface),
		cmocka_unit_test(test_what_the_reader_would_refuse_is_not_written),
		cmocka_unit_test(test_a_full_disk_is_an_error),
		cmocka_unit_test(test_paths_that_are_no_files_are_refused),
		cmocka_unit_test(
			test_the_baseline_of_unequal_ses_is_the_largest_shape_on_all_of_them),
		cmocka_unit_test(test_surfaces_of_another_card_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
