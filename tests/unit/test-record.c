/* SPDX-License-Identifier: Apache-2.0 */
/* The record: round trips, replay through the program, and files that nobody should trust. */
#include "governor-bench.h"
#include "governor/explain.h"
#include "governor/policy.h"
#include "governor/record.h"
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

/* A record in memory, with the numbers of its lines. */
struct text {
	char *data;
	size_t length;
	FILE *file;
};

static unsigned int n_steps; /* added to the record */

struct fixture {
	struct bench bench;
	struct response_menu *menu;
	struct text text;
	char chunk[RECORD_CONFIG_BYTES_MAX];
	char path[64]; /* of a temporary file, if any */
};

/* Of a table's rates, two clocks and three options, the last of which sustains half of them. */
static struct response_menu *new_menu(const struct response_table *t)
{
	struct response_menu *m = response_menu_new(3, t->n_rows);

	(void)snprintf(m->model, sizeof(m->model), "%s", t->model);
	m->gating = TABLE_GATING_CU;
	m->slo_ns = t->slo_ns;
	m->percentile = 95;
	m->rated_rps = t->rated_rps;
	m->overload_rps = t->overload_rps;
	m->n_cus = 60;
	m->n_se = 4;
	m->baseline = 1;
	m->n_clocks = 2;
	m->clocks[0] = (struct menu_clock){925, 20, 1.0 / 3, 0};
	m->clocks[1] = (struct menu_clock){1725, 20, 2.0 / 3, 37};
	for (uint32_t i = 0; i < m->n_rates; i++)
		m->rate_rps[i] = t->rows[i].rate_rps;
	for (uint32_t i = 0; i < m->n_options; i++) {
		m->options[i] =
			(struct menu_option){i, i > 0, {4, 15}, true, 1, 200, 5e6, 0.1, 1.0 / 7};
		m->options[2].energy_j = -1e-3;
		for (uint32_t j = 0; j < m->n_rates; j++) {
			struct menu_point *p = &m->points[i * m->n_rates + j];

			*p = (struct menu_point){5e6f + (float)j, 3.3f, 0.1f, 1e-30f, {{0}}};
			for (int k = 0; k < TAIL_SHARES; k++)
				p->survival.at[k] = (uint16_t)(7000 * k);
			if (i == 2 && j >= m->n_rates / 2)
				*p = menu_point_unsustained;
		}
	}
	return m;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	n_steps = 0;
	*state = f;
	f->text.file = open_memstream(&f->text.data, &f->text.length);
	if (!f->text.file || bench_init(&f->bench, 200, 1, 60) < 0)
		return -1;
	f->bench.config.models[0].max_batch = 8;
	f->menu = new_menu(&f->bench.table);
	f->bench.config.models[0].menu = f->menu;
	f->bench.input.power_max_uw = 987654321;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)fclose(f->text.file);
	free(f->text.data);
	free(f->menu);
	governor_free(f->bench.governor);
	if (f->path[0])
		(void)unlink(f->path);
	free(f);
	return 0;
}

static void add(struct fixture *f, int length)
{
	assert_true(length > 0);
	assert_int_equal(strlen(f->chunk), length);
	assert_int_equal(fwrite(f->chunk, 1, (size_t)length, f->text.file), length);
}

static void add_config(struct fixture *f, const char *bdf, bool inherit)
{
	const struct governor_config *c = &f->bench.config;

	add(f, record_format_config(f->chunk, sizeof(f->chunk), 0, bdf, inherit, c));
	for (uint32_t i = 0; i < c->n_models; i++)
		for (uint32_t j = 0; c->models[i].menu && j <= c->models[i].menu->n_options; j++)
			add(f, record_format_menu(f->chunk, sizeof(f->chunk), 0, i,
						  c->models[i].menu, j));
	add(f, record_format_ready(f->chunk, sizeof(f->chunk), 0));
}

static void add_step(struct fixture *f)
{
	struct bench *b = &f->bench;

	add(f, record_format_input(f->chunk, sizeof(f->chunk), 0, b->config.n_models, &b->input));
	add(f, record_format_decision(f->chunk, sizeof(f->chunk), 0, &b->decision));
	n_steps++;
}

static void note(struct bench *b _unused_, void *userdata)
{
	add_step(userdata);
}

/* A poll, with all that was decided until its end. */
static void add_poll(struct fixture *f)
{
	f->bench.note = note;
	f->bench.userdata = f;
	bench_step(&f->bench);
	f->bench.note = NULL;
}

#define assert_compared(f, result)                                                                 \
	do {                                                                                       \
		char expected_[64];                                                                \
                                                                                                   \
		(void)snprintf(expected_, sizeof(expected_), "%u decisions compared: %s", n_steps, \
			       result);                                                            \
		assert_non_null(strstr((f)->chunk, expected_));                                    \
	} while (0)

/* A small whole record: a configuration and steps under a changing load. */
static void add_run(struct fixture *f, unsigned int steps)
{
	add(f, record_format_start(f->chunk, sizeof(f->chunk)));
	add_config(f, "0000:43:00.0", false);
	for (unsigned int i = 0; i < steps; i++) {
		if (i % 40 == 20)
			bench_queue_rate(&f->bench.queue, 10 + i % 190);
		f->bench.input.flags = i % 50 == 49 ? GOVERNOR_CARD_FOREIGN_LOAD : 0;
		add_poll(f);
	}
	assert_int_equal(fflush(f->text.file), 0);
}

struct reading {
	FILE *file;
	struct record_reader *reader;
	struct record_item item;
	struct record_error error;
};

static int reading_open(struct reading *r, const char *data, size_t length)
{
	memset(r, 0, sizeof(*r));
	r->file = fmemopen((void *)data, length, "r");
	assert_non_null(r->file);
	return record_reader_new(r->file, &r->reader, &r->error);
}

static void reading_close(struct reading *r)
{
	record_reader_free(r->reader);
	(void)fclose(r->file);
}

/* Reads all; 0, or the first error. */
static int read_all(const char *data, size_t length, struct record_error *ret_error)
{
	struct reading r;
	int n = reading_open(&r, data, length);

	while (n == 0) {
		n = record_read(r.reader, &r.item, &r.error);
		if (n == 0 && r.item.kind == RECORD_CONFIG)
			record_config_free(r.item.config);
		if (n == 0 && r.item.kind == RECORD_END)
			break;
	}
	*ret_error = r.error;
	reading_close(&r);
	return n;
}

static void test_inputs_and_decisions_come_back_as_they_were(void **state)
{
	struct fixture *f = *state;
	struct reading r;

	add(f, record_format_start(f->chunk, sizeof(f->chunk)));
	add_config(f, NULL, false);
	bench_step(&f->bench);
	f->bench.decision.predicted_power_w = -0.0;
	f->bench.decision.models[0].tail_ns = NAN;
	f->bench.decision.models[0].rate_rps = 1.0 / 3;
	f->bench.decision.models[0].demand_rps = 5e-324;
	add_step(f);
	(void)fflush(f->text.file);

	assert_int_equal(reading_open(&r, f->text.data, f->text.length), 0);
	assert_int_equal(record_read(r.reader, &r.item, &r.error), 0);
	assert_int_equal(r.item.kind, RECORD_CONFIG);
	record_config_free(r.item.config);
	assert_int_equal(record_read(r.reader, &r.item, &r.error), 0);
	assert_int_equal(r.item.kind, RECORD_INPUT);
	assert_memory_equal(&r.item.input, &f->bench.input, sizeof(r.item.input));
	assert_int_equal(record_read(r.reader, &r.item, &r.error), 0);
	assert_int_equal(r.item.kind, RECORD_DECISION);
	assert_true(isnan(r.item.decision.models[0].tail_ns));
	assert_true(r.item.decision.models[0].rate_rps == 1.0 / 3);
	assert_true(r.item.decision.models[0].demand_rps == 5e-324);
	assert_true(signbit(r.item.decision.predicted_power_w));
	assert_int_equal(record_format_decision(f->chunk, sizeof(f->chunk), 0, &r.item.decision),
			 r.item.text_length);
	assert_string_equal(f->chunk, r.item.text);
	assert_int_equal(record_read(r.reader, &r.item, &r.error), 0);
	assert_int_equal(r.item.kind, RECORD_END);
	reading_close(&r);
}

static void assert_menu_equal(const struct response_menu *a, const struct response_menu *b)
{
	assert_non_null(a);
	assert_memory_equal(a, b, offsetof(struct response_menu, options));
	assert_memory_equal(a->options, b->options, b->n_options * sizeof(*b->options));
	assert_memory_equal(a->points, b->points, b->n_options * b->n_rates * sizeof(*b->points));
}

static void test_a_configuration_comes_back_whole_with_shared_and_absent_tables(void **state)
{
	struct fixture *f = *state;
	struct governor_config *c = &f->bench.config;
	struct response_table clock = f->bench.table;
	struct governor *g = NULL;
	struct reading r;

	clock.rows[3].power_w += 7;
	c->n_models = 3;
	c->models[2] = c->models[1] = c->models[0];
	(void)snprintf(c->models[1].name, sizeof(c->models[1].name), "second/v2");
	c->models[1].policy = "coordinated";
	c->models[1].priority = 7;
	c->models[1].max_batch = 256;
	c->models[1].headroom = 0.7;
	c->models[1].late_cost = 1.0 / 3;
	c->models[1].menu = NULL;
	c->models[2].table = NULL;
	c->models[2].menu = NULL;
	c->models[1].clock_table = &clock;
	c->power_cap_uw = 123;
	c->topology.active[1][0] = 14;
	add(f, record_format_start(f->chunk, sizeof(f->chunk)));
	add_config(f, "0000:43:00.0", false);
	(void)fflush(f->text.file);

	assert_int_equal(reading_open(&r, f->text.data, f->text.length), 0);
	assert_int_equal(record_read(r.reader, &r.item, &r.error), 0);
	struct governor_config *d = &r.item.config->config;

	assert_string_equal(r.item.bdf, "0000:43:00.0");
	assert_int_equal(d->n_models, 3);
	assert_memory_equal(d->level_mhz, c->level_mhz, sizeof(c->level_mhz));
	assert_memory_equal(&d->topology, &c->topology, sizeof(c->topology));
	assert_int_equal(d->power_cap_uw, 123);
	assert_int_equal(d->poll_ns, c->poll_ns);
	assert_memory_equal(d->models[0].table, c->models[0].table, sizeof(struct response_table));
	assert_ptr_equal(d->models[1].table, d->models[0].table);
	assert_null(d->models[2].table);
	assert_null(d->models[0].clock_table);
	assert_memory_equal(d->models[1].clock_table, &clock, sizeof(clock));
	assert_null(d->models[2].clock_table);
	assert_menu_equal(d->models[0].menu, f->menu);
	assert_null(d->models[1].menu);
	assert_true(d->models[1].headroom == 0.7 && d->models[1].late_cost == 1.0 / 3);
	assert_string_equal(d->models[1].name, "second/v2");
	assert_string_equal(d->models[1].policy, "coordinated");
	assert_int_equal(d->models[1].priority, 7);
	assert_int_equal(d->models[0].max_batch, 8);
	assert_int_equal(d->models[1].max_batch, 256);
	assert_int_equal(governor_new(d, &g), 0);
	governor_free(g);
	record_config_free(r.item.config);
	reading_close(&r);
}

static void test_the_largest_configuration_and_step_fit_their_buffers(void **state)
{
	static struct response_table tables[RECORD_MAX_TABLES];
	static struct governor_decision decision;
	struct fixture *f = *state;
	struct governor_config *c = &f->bench.config;
	struct record_error error;

	c->n_models = GOVERNOR_MAX_MODELS;
	memset(decision.models, 0xff, sizeof(decision.models));
	decision.n_models = GOVERNOR_MAX_MODELS;
	for (uint32_t i = 0; i < RECORD_MAX_TABLES; i++) {
		tables[i] = f->bench.table;
		tables[i].n_rows = TABLE_MAX_ROWS;
		for (uint32_t j = 0; j < TABLE_MAX_ROWS; j++)
			tables[i].rows[j] = (struct table_row){.rate_rps = 1.2345678901234567e17,
							       .cell = UINT32_MAX,
							       .power_w = 1.2345678901234567e-300,
							       .tail_ns = 1.0 / 3e5,
							       .tail_upper_ns = 1.0 / 3e5,
							       .service_ns = 1.0 / 3e5};
	}
	for (uint32_t i = 0; i < GOVERNOR_MAX_MODELS; i++) {
		c->models[i] = c->models[0];
		c->models[i].table = &tables[i];
		c->models[i].menu = NULL;
		c->models[i].clock_table = &tables[GOVERNOR_MAX_MODELS + i];
		memset(c->models[i].name, 'x', MODEL_NAME_MAX);
		decision.models[i].reason = GOVERNOR_REASON_SEVERAL_MODELS;
		decision.models[i].clock_alone = true;
		decision.models[i].rate_rps = decision.models[i].demand_rps = -1.0 / 3e300;
	}
	memset(f->bench.input.models, 0xff, sizeof(f->bench.input.models));
	for (uint32_t i = 0; i < GOVERNOR_MAX_MODELS; i++) {
		struct governor_model_input *in = &f->bench.input.models[i];

		in->state = GOVERNOR_INPUT_MISSING;
		in->woken = in->whole_interval = in->mask_follows = in->mask_unknown = true;
		in->batch_follows = in->acknowledged = in->held = true;
	}
	add(f, record_format_start(f->chunk, sizeof(f->chunk)));
	add_config(f, "0000:43:00.0", true);
	add(f, record_format_input(f->chunk, RECORD_STEP_BYTES_MAX, 0, GOVERNOR_MAX_MODELS,
				   &f->bench.input));
	add(f, record_format_decision(f->chunk, RECORD_STEP_BYTES_MAX, 0, &decision));
	(void)fflush(f->text.file);
	if (read_all(f->text.data, f->text.length, &error) != 0)
		fail_msg("line %u: %s", error.line, error.text);
}

static void test_too_small_a_buffer_is_an_error_and_never_overrun(void **state)
{
	struct fixture *f = *state;
	int length;

	bench_step(&f->bench);
	length = record_format_decision(f->chunk, sizeof(f->chunk), 0, &f->bench.decision);
	for (int size = 1; size <= length; size++) {
		char *small = malloc((size_t)size);

		assert_int_equal(record_format_decision(small, (size_t)size, 0, &f->bench.decision),
				 -ENOSPC);
		free(small);
	}
	assert_int_equal(record_format_decision(f->chunk, (size_t)length + 1, 0,
						&f->bench.decision),
			 length);
}

static void test_a_name_that_is_none_is_not_written(void **state)
{
	struct fixture *f = *state;

	(void)snprintf(f->bench.config.models[0].name, MODEL_NAME_MAX, "two words");
	assert_int_equal(record_format_config(f->chunk, sizeof(f->chunk), 0, NULL, false,
					      &f->bench.config),
			 -EINVAL);
}

static void test_the_locale_does_not_change_the_bytes(void **state)
{
	static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ps_AF.UTF-8"};
	struct fixture *f = *state;
	char *expected;

	f->bench.decision.predicted_power_w = 123.456;
	f->bench.decision.n_models = 1;
	assert_true(record_format_decision(f->chunk, sizeof(f->chunk), 0, &f->bench.decision) > 0);
	assert_non_null(strstr(f->chunk, " 123.456"));
	expected = strdup(f->chunk);
	for (size_t i = 0; i < ARRAY_SIZE(locales); i++) {
		if (!setlocale(LC_NUMERIC, locales[i]))
			continue;
		(void)record_format_decision(f->chunk, sizeof(f->chunk), 0, &f->bench.decision);
		(void)setlocale(LC_NUMERIC, "C");
		assert_string_equal(f->chunk, expected);
	}
	free(expected);
}

/* The record given to cofris-replay; returns its exit status and puts what it printed in chunk. */
static int replay(struct fixture *f, const char *options)
{
	char command[256];
	FILE *p;
	size_t n;
	int fd, status;

	(void)snprintf(f->path, sizeof(f->path), "/tmp/cofris-record-XXXXXX");
	fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, f->text.data, f->text.length), f->text.length);
	(void)close(fd);
	(void)snprintf(command, sizeof(command), "%s/bin/cofris-replay --inputs %s %s 2>&1",
		       COFRIS_BINARY_DIR, f->path, options);
	p = popen(command, "re");
	assert_non_null(p);
	n = fread(f->chunk, 1, sizeof(f->chunk) - 1, p);
	f->chunk[n] = '\0';
	status = pclose(p);
	(void)unlink(f->path);
	f->path[0] = '\0';
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_replay_gives_the_same_decisions(void **state)
{
	struct fixture *f = *state;

	add_run(f, 500);
	assert_int_equal(replay(f, ""), 0);
	assert_compared(f, "0 differ");
	assert_int_equal(replay(f, "--json"), 0);
	assert_non_null(strstr(f->chunk, "\"differing\": 0"));
}

static void test_a_recorded_decision_is_explained(void **state)
{
	struct fixture *f = *state;
	char decided[64], option[64], number[64], compared[64];
	unsigned long n;

	add_run(f, 320);
	/* Some polls hold several decisions. */
	n = f->bench.decision.number;
	(void)snprintf(option, sizeof(option), "--explain %lu", n);
	(void)snprintf(number, sizeof(number), "decision %lu: ", n);
	(void)snprintf(compared, sizeof(compared), "%lu decisions compared: 0 differ", n);
	(void)snprintf(decided, sizeof(decided), "decided: %u MHz on ", f->bench.decision.max_mhz);
	assert_int_equal(replay(f, option), 0);
	assert_non_null(strstr(f->chunk, number));
	assert_non_null(strstr(f->chunk, decided));
	assert_non_null(strstr(f->chunk, governor_reason_words(f->bench.decision.reason)));
	assert_non_null(strstr(f->chunk, "POWER W"));
	assert_non_null(strstr(f->chunk, compared));
	(void)snprintf(option, sizeof(option), "--explain %lu", n + 1);
	(void)snprintf(number, sizeof(number), "no decision %lu", n + 1);
	assert_int_equal(replay(f, option), 2);
	assert_non_null(strstr(f->chunk, number));
}

static void test_replay_follows_a_reload_that_inherits(void **state)
{
	struct fixture *f = *state;
	struct governor *old = f->bench.governor;

	add_run(f, 100);
	f->bench.config.power_cap_uw = 120 * UW_PER_W;
	f->bench.governor = NULL;
	assert_int_equal(governor_new(&f->bench.config, &f->bench.governor), 0);
	governor_inherit(f->bench.governor, old);
	governor_free(old);
	add_config(f, "0000:43:00.0", true);
	for (unsigned int i = 0; i < 100; i++) {
		add_poll(f);
	}
	(void)fflush(f->text.file);
	assert_int_equal(replay(f, ""), 0);
	assert_compared(f, "0 differ");
}

/* What a policy remembers comes of the inputs alone. */
static void test_replay_gives_the_same_decisions_of_every_policy(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->bench;

	add(f, record_format_start(f->chunk, sizeof(f->chunk)));
	b->config.power_cap_uw = 150 * UW_PER_W;
	for (unsigned int i = 0; policy_name(i); i++) {
		b->config.models[0].policy = policy_name(i);
		governor_free(TAKE_PTR(b->governor));
		assert_int_equal(governor_new(&b->config, &b->governor), 0);
		add_config(f, NULL, false);
		for (unsigned int k = 0; k < 100; k++) {
			b->input.power_max_uw = (80 + 37 * k % 60) * UW_PER_W;
			add_poll(f);
		}
	}
	(void)fflush(f->text.file);
	assert_int_equal(replay(f, ""), 0);
	assert_compared(f, "0 differ");
}

/* A worker that follows masks and then does not, and one that may be left under one. */
static void test_replay_has_both_tables(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->bench;
	struct response_table clock = b->table;
	unsigned int by_clock = 0;

	for (uint32_t i = 0; i < b->table.n_rows / 2; i++) {
		b->table.rows[i].shape = (struct cu_shape){2, 15};
		b->table.rows[i].max_mhz = 1725;
		b->table.rows[i].power_w -= 8;
	}
	b->config.models[0].clock_table = &clock;
	governor_free(TAKE_PTR(b->governor));
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	add(f, record_format_start(f->chunk, sizeof(f->chunk)));
	add_config(f, "0000:43:00.0", false);
	for (unsigned int i = 0; i < 300; i++) {
		bench_queue_run(&b->queue, (double)b->config.poll_ns, &b->input.models[0]);
		b->input.models[0].mask_follows = i / 40 % 2 == 0;
		b->input.models[0].mask_unknown = i / 20 % 4 == 3;
		b->input.now_ns += b->input.interval_ns = b->config.poll_ns;
		governor_step(b->governor, &b->input, &b->decision);
		by_clock += b->decision.models[0].clock_alone;
		add_step(f);
	}
	(void)fflush(f->text.file);
	assert_int_equal(by_clock, 80);
	assert_int_equal(replay(f, ""), 0);
	assert_non_null(strstr(f->chunk, "300 decisions compared: 0 differ"));
}

static void test_replay_names_the_first_line_that_differs(void **state)
{
	struct fixture *f = *state;
	char *out;
	char expected[64];
	unsigned int line = 1;

	add_run(f, 60);
	out = f->text.data;
	for (unsigned int i = 0; i < 31; i++)
		out = strstr(out + 1, "\nout ");
	/* The demand's last digit. */
	for (unsigned int i = 0; i < 5; i++)
		out = strchr(out + 1, ' ');
	out[-1] = out[-1] == '1' ? '2' : '1';
	for (const char *p = f->text.data; p < out; p++)
		line += *p == '\n';
	assert_int_equal(replay(f, ""), 1);
	assert_compared(f, "1 differ");
	(void)snprintf(expected, sizeof(expected), "first difference, line %u (card 0)", line);
	assert_non_null(strstr(f->chunk, expected));
	assert_int_equal(replay(f, "--json"), 1);
	(void)snprintf(expected, sizeof(expected), "\"line\": %u", line);
	assert_non_null(strstr(f->chunk, expected));
}

static void test_replay_of_what_is_no_record_fails(void **state)
{
	struct fixture *f = *state;

	(void)fputs("cofris-record 9\n", f->text.file);
	(void)fflush(f->text.file);
	assert_int_equal(replay(f, ""), 2);
	assert_non_null(strstr(f->chunk, "no decision to compare"));
	assert_int_equal(replay(f, "extra"), 2);
	(void)fputs("nonsense 1\n", f->text.file);
	(void)fflush(f->text.file);
	assert_int_equal(replay(f, ""), 2);
	assert_non_null(strstr(f->chunk, ":2: "));
}

/* Hostile files: a good record with one thing changed. */

static char *replaced(const char *text, const char *from, const char *to)
{
	const char *p = strstr(text, from);
	char *result = NULL;

	assert_non_null(p);
	assert_true(asprintf(&result, "%.*s%s%s", (int)(p - text), text, to, p + strlen(from)) > 0);
	return result;
}

static void test_refusals_name_the_line(void **state)
{
	static const struct {
		const char *from, *to;
		int error;
		unsigned int line; /* 0: whichever */
		const char *text;
	} rows[] = {
		{"cofris-record 9\n", "cofris-record 1\n", -EPROTONOSUPPORT, 1,
		 "record version 1: expected 9"},
		{"cofris-record 9\n", "cofris-record 10\n", -EPROTONOSUPPORT, 1, "version 10"},
		{"cofris-record 9\n", "cofris-record\n", -EBADMSG, 1, "'version' is missing"},
		{"cofris-record 9\n", "cofris-record 9 7\n", -EBADMSG, 1, "after the last field"},
		{"cofris-record 9\n", "cofris-surface 2\n", -EBADMSG, 1, "not a record"},
		{"card 0 ", "card 64 ", -EBADMSG, 2, "card = '64'"},
		{"card 0 ", "card -1 ", -EBADMSG, 2, "card = '-1'"},
		{"card 0 ", "card  0 ", -EBADMSG, 2, "'card' is missing"},
		{"card 0 0000:43:00.0", "card 0 0000:43:00.9", -EBADMSG, 2, "no PCI address"},
		{" 9 700 ", " 65 700 ", -EBADMSG, 2, "n_levels"},
		{" 9 700 ", " 8 700 ", -EBADMSG, 2, NULL},
		{" 9 700 ", " 9 99999999 ", -EBADMSG, 2, "level_mhz"},
		{" 4 1 1 0 15", " 33 1 1 0 15", -EBADMSG, 2, "n_se"},
		{" 4 1 1 0 15", " 4 3 1 0 15", -EBADMSG, 2, "n_sh_per_se"},
		{" 4 1 1 0 15", " 4 1 1 0 256", -EBADMSG, 2, "active"},
		{" 15 1\n", " 15 65\n", -EBADMSG, 2, "n_models"},
		{"table 0 0 model ", "table 0 2 model ", -EBADMSG, 3, "beyond the models"},
		{"table 0 0 model ", "table 0 128 model ", -EBADMSG, 3, "table = '128'"},
		{"table 0 0 model ", "table 1 0 model ", -EBADMSG, 3, "card 1: expected 0"},
		{"table 0 0 model ", "table 0 0 ../etc ", -EBADMSG, 3, "not a model's name"},
		{"table 0 0 model 0 none", "table 0 0 model 0 some", -EBADMSG, 3, "gating"},
		{" 95 200 ", " 100 200 ", -EBADMSG, 3, "percentile"},
		{" 95 200 ", " 95 nan ", -EBADMSG, 3, "rated_rps"},
		{" 95 200 ", " 95 -1 ", -EBADMSG, 3, "rated_rps"},
		{" 95 200 ", " 95 1e400 ", -EBADMSG, 3, "rated_rps"},
		{" 95 200 ", " 95 0x10 ", -EBADMSG, 3, "rated_rps"},
		{"row 0 0 0 ", "row 0 0 1 ", -EBADMSG, 4, "row 1: expected 0"},
		{"row 0 0 0 ", "row 0 1 0 ", -EBADMSG, 4, "table 1: expected 0"},
		{"row 0 0 0 6 ", "row 0 0 0 6000 ", -EBADMSG, 5, "do not ascend"},
		{"row 0 0 0 6 ", "row 0 0 0 inf ", -EBADMSG, 4, "rate_rps"},
		{"row 0 0 1 ", "input 0 0 1 ", -EBADMSG, 5, "expected 'row'"},
		{"model 0 0 model cofris", "model 0 1 model cofris", -EBADMSG, 0, "expected 0"},
		{"model 0 0 model cofris", "model 0 0 .model cofris", -EBADMSG, 0, "model's name"},
		{"model 0 0 model cofris", "model 0 0 model aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 -EBADMSG, 0, "so long a name"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 8 1 - 0 0\nmenu", -EBADMSG, 0,
		 "table 1 is not in"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 8 0 1 0 0\nmenu", -EBADMSG, 0,
		 "clock table 1 is not in"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 8 0 128 0 0\nmenu", -EBADMSG, 0,
		 "clock table = '128'"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 8 0\nmenu", -EBADMSG, 0,
		 "'clock table' is missing"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 8 0 - 0 0 -\nmenu", -EBADMSG, 0,
		 "after the last field"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 8 0 -1 0 0\nmenu", -EBADMSG, 0,
		 "clock table = '-1'"},
		{"100 1 8 0 - 0 0\nmenu", "100 2 8 0 - 0 0\nmenu", -EBADMSG, 0, "use_mask"},
		{"100 1 8 0 - 0 0\nmenu", "100 1 4294967296 0 - 0 0\nmenu", -EBADMSG, 0,
		 "max_batch"},
		{" 987654321 ", " 98765432l ", -EBADMSG, 0, "power_max_uw"},
		{"menu 0 0 ", "menu 0 1 ", -EBADMSG, 0, "beyond them or given twice"},
		{"menu 0 0 ", "menu 0 64 ", -EBADMSG, 0, "model = '64'"},
		{"menu 0 0 model 0 cu", "menu 0 0 model 0 all", -EBADMSG, 0, "gating"},
		{" 60 4 1 0 ", " 60 0 1 0 ", -EBADMSG, 0, "without clocks, baseline"},
		{" 60 4 1 0 ", " 60 4 3 0 ", -EBADMSG, 0, "without clocks, baseline"},
		{" 60 4 1 0 ", " 60 4 4096 0 ", -EBADMSG, 0, "baseline"},
		{" 2 3\nrates", " 65 3\nrates", -EBADMSG, 0, "n_clocks"},
		{" 2 3\nrates", " 2 4097\nrates", -EBADMSG, 0, "n_options"},
		{" 2 3\nrates", " 0 3\nrates", -EBADMSG, 0, "without clocks"},
		{" 2 3\nrates", " 2 2\nrates", -EBADMSG, 0, "not expected here"},
		{"rates 0 0 6 ", "rates 0 0 7 ", -EBADMSG, 0, "not those of the table"},
		{"rates 0 0 6 ", "rates 0 0 nan ", -EBADMSG, 0, "rate = 'nan'"},
		{"rates 0 0 6 ", "rates 0 0 6 6 ", -EBADMSG, 0, "after the last field"},
		{"clock 0 0 0 925", "clock 0 0 1 925", -EBADMSG, 0, "clock 1: expected 0"},
		{"clock 0 0 0 925", "clock 0 0 0 1725", -EBADMSG, 0, "do not ascend"},
		{"option 0 0 0 ", "option 0 1 0 ", -EBADMSG, 0, "model 1: expected 0"},
		{"option 0 0 0 ", "option 0 0 1 ", -EBADMSG, 0, "option 1: expected 0"},
		{"option 0 0 0 ", "option 0 0 0 65", -EBADMSG, 0, "n_points"},
		{" 1 1 4 15 1 1 200 ", " 1 2 4 15 1 1 200 ", -EBADMSG, 0, "without a clock"},
		{" 1 1 4 15 1 1 200 ", " 1 1 4 15 1 0 200 ", -EBADMSG, 0, "batch"},
		{" 1 1 4 15 1 1 200 ", " 1 1 4 15 1 1 0 ", -EBADMSG, 0, "capacity"},
		{" -0.001", " -2e18", -EBADMSG, 0, "energy_j"},
		{"point 0 0 0 0 ", "point 0 0 0 1 ", -EBADMSG, 0, "point 1: expected 0"},
		{"point 0 0 0 0 ", "point 0 0 0 0 inf ", -EBADMSG, 0, "tail_ns"},
		{" 7000 14000 ", " 14000 7000 ", -EBADMSG, 0, "does not ascend"},
		{" 7000 14000 ", " 7000 65536 ", -EBADMSG, 0, "survival.at[2]"},
		{"ready 0\n", "ready 0 1\n", -EBADMSG, 0, "after the last field"},
		{"ready 0\n", "", -EBADMSG, 0, "not expected here"},
		{"input 0 ", "input 1 ", -EBADMSG, 0, "card 1 is not configured"},
		{"input 0 ", "in 0 ", -EBADMSG, 0, "expected card, input or decision"},
		{"in 0 0 ok", "in 0 0 good", -EBADMSG, 0, "state"},
		{"in 0 0 ok", "in 0 1 ok", -EBADMSG, 0, "model 1: expected 0"},
		{"in 0 0 ok", "in 1 0 ok", -EBADMSG, 0, "card 1: expected 0"},
		{"in 0 0 ok 1 ", "in 0 0 ok 18446744073709551616 ", -EBADMSG, 0, "workers"},
		{"in 0 0 ok 1 ", "in 0 0 ok ", -EBADMSG, 0, NULL},
		{"decision 0 ", "decision 0 +", -EBADMSG, 0, "now_ns"},
		{" set ", " sett ", -EBADMSG, 0, "action"},
		{" demand ", " because ", -EBADMSG, 0, "reason"},
	};
	struct fixture *f = *state;

	add_run(f, 20);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(freep) char *text = replaced(f->text.data, rows[i].from, rows[i].to);
		struct record_error error = {0};
		int r = read_all(text, strlen(text), &error);

		if (r != rows[i].error || (rows[i].line && error.line != rows[i].line) ||
		    error.line == 0 || (rows[i].text && !strstr(error.text, rows[i].text)))
			fail_msg("'%s' -> '%s': %d, line %u: %s", rows[i].from, rows[i].to, r,
				 error.line, error.text);
	}
}

static void test_lines_that_are_too_long_or_hold_a_nul_are_refused(void **state)
{
	struct fixture *f = *state;
	char line[3 * RECORD_LINE_MAX];
	struct record_error error;

	memset(line, '1', sizeof(line));
	memcpy(line, "cofris-record ", 14);
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(read_all(line, sizeof(line), &error), -EBADMSG);
	assert_int_equal(error.line, 1);
	assert_int_equal(read_all("cofris-record 9\0\n", 17, &error), -EBADMSG);
	assert_int_equal(read_all("cofris-record 9", 15, &error), -EBADMSG);
	add_run(f, 1);
	f->text.data[f->text.length - 20] = '\0';
	assert_int_equal(read_all(f->text.data, f->text.length, &error), -EBADMSG);
}

/* Where each byte of a record is its end once, and everything before it read anew. */
static void keep_rows(struct fixture *f, uint32_t n)
{
	struct bench *b = &f->bench;

	governor_free(b->governor);
	free(f->menu);
	b->table.n_rows = n;
	b->config.models[0].menu = f->menu = new_menu(&b->table);
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
}

static void test_a_record_cut_anywhere_is_refused_unless_between_items(void **state)
{
	struct fixture *f = *state;
	unsigned int whole = 0;

	keep_rows(f, 5);
	add_run(f, 2);
	for (size_t length = 16; length < f->text.length; length++) {
		struct record_error error;
		int r = read_all(f->text.data, length, &error);

		assert_true(r == 0 || r == -EBADMSG);
		if (r == 0) {
			assert_int_equal(f->text.data[length - 1], '\n');
			whole++;
		}
	}
	/* After the first line, the configuration, and each input and decision but the last. */
	assert_int_equal(whole, 1 + 2 * n_steps);
}

static void test_random_damage_is_read_or_refused_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	unsigned int refused = 0;
	uint64_t seed = 99;

	print_message("seed 99\n");
	add_run(f, 4);
	for (unsigned int i = 0; i < 3000; i++) {
		_cleanup_(freep) char *copy = malloc(f->text.length);
		struct record_error error;
		int r;

		memcpy(copy, f->text.data, f->text.length);
		for (unsigned int j = 0; j < 1 + i % 4; j++)
			copy[(size_t)(bench_uniform(&seed) * (double)f->text.length)] =
				(char)(uint8_t)(256 * bench_uniform(&seed));
		r = read_all(copy, f->text.length, &error);
		assert_true(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
		refused += r < 0;
	}
	assert_true(refused > 1500);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_inputs_and_decisions_come_back_as_they_were),
		TEST(test_a_configuration_comes_back_whole_with_shared_and_absent_tables),
		TEST(test_the_largest_configuration_and_step_fit_their_buffers),
		TEST(test_too_small_a_buffer_is_an_error_and_never_overrun),
		TEST(test_a_name_that_is_none_is_not_written),
		TEST(test_the_locale_does_not_change_the_bytes),
		TEST(test_replay_gives_the_same_decisions),
		TEST(test_a_recorded_decision_is_explained),
		TEST(test_replay_follows_a_reload_that_inherits),
		TEST(test_replay_gives_the_same_decisions_of_every_policy),
		TEST(test_replay_has_both_tables),
		TEST(test_replay_names_the_first_line_that_differs),
		TEST(test_replay_of_what_is_no_record_fails),
		TEST(test_refusals_name_the_line),
		TEST(test_lines_that_are_too_long_or_hold_a_nul_are_refused),
		TEST(test_a_record_cut_anywhere_is_refused_unless_between_items),
		TEST(test_random_damage_is_read_or_refused_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
