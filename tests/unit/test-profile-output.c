/* SPDX-License-Identifier: Apache-2.0 */
/* Where a sweep's results go, on a disk that fills up (a limit on the size of files stands for it)
 * and through sweeps that end early. */
#include "profiler/output.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct fixture {
	char folder[64], path[96], partial[112];
	struct surface surface;
	struct surface_cell cells[4];
	struct output output;
	struct rlimit limit;
};

static void fill_surface(struct fixture *f)
{
	struct surface *s = &f->surface;

	*s = (struct surface){
		.model = "resnet50",
		.gpu_name = "a card",
		.gfx = "gfx906",
		.date = "2024-05-31T12:00:00Z",
		.n_cus = 60,
		.n_se = 4,
		.n_levels = 1,
		.level_mhz = {1725},
		.workers = 1,
		.baseline_batch = 1,
		.capacity_rps = 100,
		.rated_rps = 70,
		.percentile = 95,
		.t0_ns = 1e7,
		.idle_power_w = {15},
		.active_idle_power_w = {NAN},
		.n_cells = ARRAY_SIZE(f->cells),
		.cells = f->cells,
	};
	for (uint32_t i = 0; i < ARRAY_SIZE(f->cells); i++) {
		f->cells[i] = (struct surface_cell){
			.max_mhz = 1725,
			.shape = {4, (uint16_t)(12 + i)},
			.batch = 1,
			.workers = 1,
			.capacity_rps = 100,
			.power_w = 200,
			.mean_mhz = 1725,
			.temp_c = 40,
			.samples = 100,
		};
		for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
			f->cells[i].service_ns[q] = 1e7f + (float)q;
	}
}

static void write_old(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	(void)fputs("old\n", file);
	(void)fclose(file);
}

static bool is_old(const char *path)
{
	char text[16] = "";
	FILE *file = fopen(path, "r");
	size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		(void)fclose(file);
	return n == 4 && strcmp(text, "old\n") == 0;
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : st.st_size;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/test-output.XXXXXX");
	if (!mkdtemp(f->folder))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/r.csv", f->folder);
	(void)snprintf(f->partial, sizeof(f->partial), "%s.partial", f->path);
	fill_surface(f);
	f->output = OUTPUT_INIT;
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)getrlimit(RLIMIT_FSIZE, &f->limit);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)setrlimit(RLIMIT_FSIZE, &f->limit);
	output_deinit(&f->output);
	(void)unlink(f->path);
	(void)unlink(f->partial);
	(void)rmdir(f->folder);
	free(f);
	return 0;
}

static void limit_files(struct fixture *f, rlim_t bytes)
{
	struct rlimit limit = {bytes, f->limit.rlim_max};

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void begin(struct fixture *f)
{
	assert_int_equal(output_choose(&f->output, f->path, "gfx906", 60, "resnet50"), 0);
	assert_int_equal(output_begin(&f->output, &f->surface), 0);
}

static void test_a_whole_surface_replaces_the_old_one(void **state)
{
	_cleanup_(surface_freep) struct surface *s = NULL;
	struct fixture *f = *state;
	struct surface_error error;

	write_old(f->path);
	begin(f);
	for (uint32_t i = 0; i < f->surface.n_cells; i++)
		assert_int_equal(output_cell(&f->output, &f->cells[i]), 0);
	assert_true(is_old(f->path));
	assert_int_equal(output_finish(&f->output, &f->surface), 0);
	assert_int_equal(surface_load(f->path, &s, &error), 0);
	assert_int_equal(s->n_cells, f->surface.n_cells);
	assert_int_equal(size_of(f->partial), -1);
}

static void test_each_cell_is_on_disk_at_once(void **state)
{
	struct fixture *f = *state;
	off_t before;

	begin(f);
	before = size_of(f->partial);
	assert_true(before > 0);
	assert_int_equal(output_cell(&f->output, &f->cells[0]), 0);
	assert_true(size_of(f->partial) > before + 500);
}

static void test_a_disk_that_fills_up_in_mid_sweep_keeps_cells_and_old_surface(void **state)
{
	struct fixture *f = *state;

	write_old(f->path);
	begin(f);
	assert_int_equal(output_cell(&f->output, &f->cells[0]), 0);
	limit_files(f, (rlim_t)size_of(f->partial) + 100);
	assert_int_equal(output_cell(&f->output, &f->cells[1]), -EFBIG);
	assert_int_equal(f->output.n_kept, 1);
	output_explain_loss(&f->output);
	output_deinit(&f->output);
	assert_true(is_old(f->path));
	assert_true(size_of(f->partial) > 500);
}

static void test_a_disk_that_is_full_at_the_end_keeps_cells_and_old_surface(void **state)
{
	struct fixture *f = *state;
	off_t kept;

	write_old(f->path);
	begin(f);
	for (uint32_t i = 0; i < f->surface.n_cells; i++)
		assert_int_equal(output_cell(&f->output, &f->cells[i]), 0);
	kept = size_of(f->partial);
	limit_files(f, 1000);
	assert_int_equal(output_finish(&f->output, &f->surface), -EFBIG);
	output_deinit(&f->output);
	assert_true(is_old(f->path));
	assert_int_equal(size_of(f->partial), kept);
	/* Nothing else is left in the folder: teardown's rmdir() would fail. */
	(void)unlink(f->path);
	(void)unlink(f->partial);
	assert_int_equal(rmdir(f->folder), 0);
}

static void test_a_sweep_without_a_cell_leaves_the_last_ones_cells(void **state)
{
	struct fixture *f = *state;

	write_old(f->partial);
	assert_int_equal(output_choose(&f->output, f->path, "gfx906", 60, "resnet50"), 0);
	output_deinit(&f->output);
	assert_true(is_old(f->partial));
}

static void test_a_sweep_without_a_cell_leaves_no_file(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(output_choose(&f->output, f->path, "gfx906", 60, "resnet50"), 0);
	output_deinit(&f->output);
	assert_int_equal(size_of(f->partial), -1);
	assert_int_equal(size_of(f->path), -1);
}

static void test_a_folder_that_is_not_there_is_an_error_before_the_sweep(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(output_choose(&f->output, "/nonexistent/r.csv", "gfx906", 60, "resnet50"),
			 -ENOENT);
}

static void test_a_folder_in_its_place_is_an_error_before_the_sweep(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(output_choose(&f->output, f->folder, "gfx906", 60, "resnet50"), -EISDIR);
	output_deinit(&f->output);
	assert_int_equal(size_of(f->partial), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_whole_surface_replaces_the_old_one),
		TEST(test_each_cell_is_on_disk_at_once),
		TEST(test_a_disk_that_fills_up_in_mid_sweep_keeps_cells_and_old_surface),
		TEST(test_a_disk_that_is_full_at_the_end_keeps_cells_and_old_surface),
		TEST(test_a_sweep_without_a_cell_leaves_the_last_ones_cells),
		TEST(test_a_sweep_without_a_cell_leaves_no_file),
		TEST(test_a_folder_in_its_place_is_an_error_before_the_sweep),
		TEST(test_a_folder_that_is_not_there_is_an_error_before_the_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
