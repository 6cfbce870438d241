/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: each format on a small file made up in its shape, all that may be wrong with one, memory
 * on a long stream, and the arrivals that come of them. */
#include "load/trace.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SEED 11

static int read_text(const char *text, size_t length, const struct trace_options *o,
		     struct trace **ret, struct trace_error *error)
{
	FILE *f = tmpfile();
	int r;

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, length, f), length);
	rewind(f);
	r = trace_read(f, o, ret, error);
	(void)fclose(f);
	return r;
}

static struct trace *read_good(const char *text, const struct trace_options *o)
{
	struct trace_error error;
	struct trace *t;
	int r = read_text(text, strlen(text), o, &t, &error);

	if (r < 0)
		fail_msg("line %lu: %s", error.line, error.text);
	return t;
}

static double load_at(const struct trace *t, uint32_t bin)
{
	return t->curve->points[bin + 1].load;
}

/* ---- formats ---- */

static void test_swim_is_binned_smoothed_and_normalised(void **state)
{
	/* 8 s in 4 bins of 2 s: 1, 3, 0, 2 jobs; one lies past the end. */
	static const char text[] =
		"job0\t0\t0\t1\t0\t2\njob1\t2\t2\t1\t0\t2\njob2\t2.5\t1\t1\t0\t2\n"
		"job3\t3.9\t1\t1\t0\t2\njob4\t6\t1\t1\t0\t2\n"
		"job5\t7\t1\t1\t0\t2\r\njob6\t8\t1\t1\t0\t2";
	const struct trace_options plain = {.duration_s = 4, .smoothing_k = 1, .span_s = 8};
	const struct trace_options smooth = {.duration_s = 4, .smoothing_k = 3, .span_s = 8};
	struct trace *t = read_good(text, &plain);

	(void)state;
	assert_int_equal(t->format, TRACE_SWIM);
	assert_int_equal(t->n_lines, 7);
	assert_float_equal(t->bin_s, 2, 1e-12);
	assert_float_equal(t->duration_s, 4, 0);
	assert_float_equal(load_at(t, 0), 1 / 3.0, 1e-12);
	assert_float_equal(load_at(t, 1), 1, 1e-12);
	assert_float_equal(load_at(t, 2), 0, 1e-12);
	assert_float_equal(load_at(t, 3), 2 / 3.0, 1e-12);
	assert_float_equal(t->mean_load, 0.5, 1e-12);
	trace_free(t);

	/* Means of (1, 3), (1, 3, 0), (3, 0, 2), (0, 2). */
	t = read_good(text, &smooth);
	assert_float_equal(load_at(t, 0), 1, 1e-12);
	assert_float_equal(load_at(t, 1), 4 / 6.0, 1e-12);
	assert_float_equal(load_at(t, 2), 5 / 6.0, 1e-12);
	assert_float_equal(load_at(t, 3), 0.5, 1e-12);
	assert_int_equal(t->smoothing_k, 3);
	trace_free(t);
}

static void test_a_part_of_a_trace(void **state)
{
	static const char text[] =
		"job0\t0\t0\njob1\t10\t0\njob2\t11\t0\njob3\t13\t0\njob4\t14\t0\n";
	const struct trace_options o = {.duration_s = 2,
					.smoothing_k = 1,
					.start_s = 10,
					.span_s = 4};
	struct trace *t = read_good(text, &o);

	(void)state;
	assert_float_equal(load_at(t, 0), 1, 1e-12);
	assert_float_equal(load_at(t, 1), 0.5, 1e-12);
	trace_free(t);
}

static void test_azure_ends_with_its_last_request(void **state)
{
	static const char text[] = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
				   "2023-11-16 23:59:59.5000000,4808,10\r\n"
				   "2023-11-16 23:59:59.6,3180,8\r\n"
				   "2023-11-17 00:00:00.5,110,27\r\n"
				   "2023-11-17 00:00:03.5,1,1\r\n";
	const struct trace_options o = {.duration_s = 4, .smoothing_k = 1};
	struct trace *t = read_good(text, &o);

	(void)state;
	assert_int_equal(t->format, TRACE_AZURE_LLM);
	assert_int_equal(t->n_lines, 4);
	assert_float_equal(t->bin_s, 1, 1e-9);
	assert_float_equal(load_at(t, 0), 1, 1e-9);
	assert_float_equal(load_at(t, 1), 0.5, 1e-9);
	assert_float_equal(load_at(t, 2), 0, 1e-9);
	assert_true(load_at(t, 3) > 0);
	trace_free(t);
}

static void test_curves_are_taken_as_they_are(void **state)
{
	const struct trace_options whole = {0}, part = {.duration_s = 5};
	struct trace *t = read_good("# ours\nt_s,load\n0,0\n10,1\n20,1\n", &whole);

	(void)state;
	assert_int_equal(t->format, TRACE_RATE);
	assert_false(t->absolute);
	assert_float_equal(t->duration_s, 20, 0);
	assert_float_equal(t->mean_load, 0.75, 1e-12);
	assert_int_equal(t->smoothing_k, 0);
	trace_free(t);

	t = read_good("t_s,load\n0,0\n10,1\n20,1\n", &part);
	assert_float_equal(t->duration_s, 5, 0);
	assert_float_equal(t->mean_load, 0.25, 1e-12);
	trace_free(t);

	t = read_good("t_s,rps\n0,5000\n1,5000\n", &whole);
	assert_true(t->absolute);
	assert_true(isnan(t->mean_load));
	trace_free(t);
}

static void test_requests_are_taken_as_they_are(void **state)
{
	const struct trace_options whole = {0}, part = {.duration_s = 2};
	struct trace *t = read_good("t_s\n0.5\n0.5\n1.25\n2\n", &whole);
	uint64_t *ns;
	uint32_t n;

	(void)state;
	assert_int_equal(t->n_requests, 4);
	assert_int_equal(t->request_ns[2], 1250000000);
	assert_true(t->duration_s > 2);
	trace_free(t);

	t = read_good("t_s\n0.5\n0.5\n1.25\n2\n", &part);
	assert_int_equal(trace_arrivals(t, 100, SEED, &ns, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(ns[0], 500000000);
	free(ns);
	trace_free(t);
}

/* ---- what may be wrong ---- */

#define AZURE "TIMESTAMP,ContextTokens,GeneratedTokens\n"

static const struct {
	const char *what, *text;
	enum trace_format format;
	int r;
	uint64_t line;
	const char *says;
} bad_files[] = {
	{"an empty file", "", TRACE_GUESS, -EBADMSG, 0, "empty"},
	{"comments alone", "# nothing\n\n", TRACE_GUESS, -EBADMSG, 0, "empty"},
	{"another file", "hello\n", TRACE_GUESS, -EBADMSG, 1, "neither swim"},
	{"a binary", "job0\t1\n\x01\x02", TRACE_GUESS, -EBADMSG, 2, "0x01"},
	{"a header alone", "t_s\n", TRACE_GUESS, -EBADMSG, 0, "empty"},
	{"azure's header alone", AZURE, TRACE_GUESS, -EBADMSG, 0, "empty"},
	{"swim without a tab", "job0 1 2\n", TRACE_SWIM, -EBADMSG, 1, "no tab"},
	{"swim without a time", "job0\t1\njob1\tlate\n", TRACE_GUESS, -EBADMSG, 2, "'late'"},
	{"swim before its begin", "job0\t-1\n", TRACE_GUESS, -EBADMSG, 1, "'-1'"},
	{"swim not a number", "job0\tnan\n", TRACE_GUESS, -EBADMSG, 1, "'nan'"},
	{"swim in a million years", "job0\t1e30\n", TRACE_GUESS, -EBADMSG, 1, "'1e30'"},
	{"swim unsorted", "job0\t9\njob1\t8\n", TRACE_GUESS, -EBADMSG, 2, "not in order"},
	{"azure without its header", "2023-11-16 18:17:03.9,1,1\n", TRACE_AZURE_LLM, -EBADMSG, 1,
	 "expected the header"},
	{"azure with a bad time", AZURE "2023-11-16,1,1\n", TRACE_GUESS, -EBADMSG, 2, "TIMESTAMP"},
	{"azure with a bad fraction", AZURE "2023-11-16 18:17:03.x,1,1\n", TRACE_GUESS, -EBADMSG, 2,
	 "TIMESTAMP"},
	{"azure with a zone", AZURE "2023-11-16 18:17:03+01:00,1,1\n", TRACE_GUESS, -EBADMSG, 2,
	 "TIMESTAMP"},
	{"azure with two columns", AZURE "2023-11-16 18:17:03.9,1\n", TRACE_GUESS, -EBADMSG, 2,
	 "GeneratedTokens"},
	{"azure with four columns", AZURE "2023-11-16 18:17:03.9,1,1,1\n", TRACE_GUESS, -EBADMSG, 2,
	 "found more"},
	{"azure unsorted", AZURE "2023-11-16 18:17:03.9,1,1\n2023-11-16 18:17:03.8,1,1\n",
	 TRACE_GUESS, -EBADMSG, 3, "not in order"},
	{"azure of one moment", AZURE "2023-11-16 18:17:03.9,1,1\n", TRACE_GUESS, -EBADMSG, 0,
	 "nothing arrives"},
	{"a curve of one point", "t_s,load\n0,1\n", TRACE_GUESS, -EBADMSG, 0, "two points"},
	{"a curve that goes back", "t_s,load\n0,1\n2,1\n1,1\n", TRACE_GUESS, -EBADMSG, 4,
	 "does not come after"},
	{"a rate beyond all cards", "t_s,rps\n0,1e9\n", TRACE_GUESS, -EBADMSG, 2, "rps '1e9'"},
	{"another header", "t_s,watts\n0,1\n", TRACE_RATE, -EBADMSG, 1, "t_s,rps"},
	{"requests unsorted", "t_s\n2\n1\n", TRACE_GUESS, -EBADMSG, 3, "not in order"},
	{"requests with two columns", "t_s\n1,2\n", TRACE_GUESS, -EBADMSG, 2, "'1,2'"},
};

static void test_bad_files_are_refused_by_line_and_field(void **state)
{
	const struct trace_options defaults = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		struct trace_options o = defaults;
		struct trace_error error;
		struct trace *t = NULL;
		int r;

		o.format = bad_files[i].format;
		r = read_text(bad_files[i].text, strlen(bad_files[i].text), &o, &t, &error);
		if (r != bad_files[i].r || error.line != bad_files[i].line ||
		    !strstr(error.text, bad_files[i].says))
			fail_msg("%s: %d, line %lu: %s", bad_files[i].what, r, error.line,
				 r < 0 ? error.text : "accepted");
	}
}

static void test_a_line_without_an_end(void **state)
{
	const struct trace_options o = {.format = TRACE_SWIM};
	struct trace_error error;
	struct trace *t;
	char text[5000];

	(void)state;
	memset(text, 'j', sizeof(text));
	assert_int_equal(read_text(text, sizeof(text), &o, &t, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "longer than 4095 bytes"));
	assert_int_equal(error.line, 1);
}

static void test_the_errno_of_reading_is_kept(void **state)
{
	const struct trace_options o = {0};
	struct trace_error error;
	struct trace *t = NULL;

	(void)state;
	assert_int_equal(trace_load("/", &o, &t, &error), -EISDIR);
	assert_non_null(strstr(error.text, "cannot be read"));
	assert_int_equal(trace_load("/nowhere/at-all", &o, &t, &error), -ENOENT);
	assert_int_equal(error.line, 0);
	assert_null(t);
}

static void test_options_out_of_range(void **state)
{
	static const struct {
		struct trace_options o;
		const char *text, *says;
	} cases[] = {
		{{.smoothing_k = 2}, "job0\t1\n", "odd"},
		{{.duration_s = NAN}, "job0\t1\n", "duration"},
		{{.duration_s = -1}, "job0\t1\n", "duration"},
		{{.duration_s = 1e6}, "job0\t1\n", "duration"},
		{{.start_s = -1}, "job0\t1\n", "start"},
		{{.start_s = 90000}, "job0\t1\n", "beyond the trace"},
		{{.smoothing_k = 3}, "t_s,load\n0,1\n1,1\n", "as it is"},
		{{.start_s = 3}, "t_s\n1\n", "as it is"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct trace_error error;
		struct trace *t;

		assert_int_equal(read_text(cases[i].text, strlen(cases[i].text), &cases[i].o, &t,
					   &error),
				 -EINVAL);
		if (!strstr(error.text, cases[i].says))
			fail_msg("case %zu says: %s", i, error.text);
	}
}

static void test_names_of_formats(void **state)
{
	enum trace_format f;

	(void)state;
	for (f = TRACE_SWIM; f <= TRACE_REQUESTS; f++) {
		enum trace_format back;

		assert_int_equal(trace_format_parse(trace_format_name(f), &back), 0);
		assert_int_equal(back, f);
	}
	assert_int_equal(trace_format_parse("csv", &f), -EINVAL);
}

/* ---- long files ---- */

struct stream {
	int fd;
	uint64_t lines;
};

static void *write_stream(void *userdata)
{
	static const char rest[] = "\t1\t410483\t0\t2513586060\t/an/input/path/that/is/not/short";
	const struct stream *s = userdata;
	FILE *f = fdopen(s->fd, "w");

	for (uint64_t i = 0; i < s->lines; i++)
		(void)fprintf(f, "job%lu\t%lu%s\n", i, i / 20, rest);
	(void)fclose(f);
	return NULL;
}

/* The most there ever was: what is freed at the end counts as well. */
static long peak_rss_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long kib = -1;

	assert_non_null(f);
	while (kib < 0 && fgets(line, sizeof(line), f))
		(void)sscanf(line, "VmHWM: %ld kB", &kib);
	(void)fclose(f);
	assert_true(kib > 0);
	return kib;
}

static void test_a_long_stream_takes_no_memory(void **state)
{
	const struct trace_options o = {0};
	struct stream s = {.lines = 500000};
	struct trace_error error;
	struct trace *t;
	pthread_t writer;
	int fds[2];
	long before;
	FILE *f;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	s.fd = fds[1];
	before = peak_rss_kib();
	assert_int_equal(pthread_create(&writer, NULL, write_stream, &s), 0);
	f = fdopen(fds[0], "r");
	assert_int_equal(trace_read(f, &o, &t, &error), 0);
	assert_int_equal(pthread_join(writer, NULL), 0);
	(void)fclose(f);
	assert_int_equal(t->n_lines, s.lines);
	/* The file has 40 MB. */
	assert_true(peak_rss_kib() - before < 8192);
	trace_free(t);
}

/* ---- arrivals ---- */

static void test_arrivals_follow_the_curve(void **state)
{
	const struct trace_options o = {0};
	struct trace *t = read_good("t_s,load\n0,0.2\n100,0.2\n100.001,1\n200,1\n", &o);
	uint64_t *a, *b, *other;
	uint32_t n_a, n_b, n_other, early = 0;

	(void)state;
	print_message("seed %d\n", SEED);
	assert_int_equal(trace_arrivals(t, 100, SEED, &a, &n_a), 0);
	assert_int_equal(trace_arrivals(t, 100, SEED, &b, &n_b), 0);
	assert_int_equal(trace_arrivals(t, 100, SEED + 1, &other, &n_other), 0);
	assert_int_equal(n_a, n_b);
	assert_memory_equal(a, b, n_a * sizeof(*a));
	assert_true(n_other != n_a || memcmp(a, other, n_a * sizeof(*a)) != 0);
	for (uint32_t i = 0; i < n_a; i++) {
		assert_true(i == 0 || a[i] >= a[i - 1]);
		early += a[i] < UINT64_C(100000000000);
	}
	/* Expected 2000 and 10000: within five standard deviations. */
	assert_true(fabs(early - 2000.0) < 5 * sqrt(2000));
	assert_true(fabs(n_a - early - 10000.0) < 5 * sqrt(10000));
	free(a);
	free(b);
	free(other);
	trace_free(t);
}

/* A shorter run of the same trace is the beginning of the longer one. */
static void test_arrivals_of_a_shorter_run_are_a_prefix(void **state)
{
	const struct trace_options whole = {0}, part = {.duration_s = 40};
	static const char text[] = "t_s,load\n0,0.2\n30,1\n60,0\n100,0.5\n";
	struct trace *t = read_good(text, &whole), *p = read_good(text, &part);
	uint64_t *all, *some;
	uint32_t n_all, n_some;

	(void)state;
	assert_int_equal(trace_arrivals(t, 50, SEED, &all, &n_all), 0);
	assert_int_equal(trace_arrivals(p, 50, SEED, &some, &n_some), 0);
	assert_in_range(n_some, 1, n_all - 1);
	assert_memory_equal(all, some, n_some * sizeof(*all));
	assert_true(some[n_some - 1] < UINT64_C(40000000000));
	assert_true(all[n_some] >= UINT64_C(40000000000));
	free(all);
	free(some);
	trace_free(t);
	trace_free(p);
}

static void test_absolute_rates_and_silence(void **state)
{
	const struct trace_options o = {0};
	struct trace *t = read_good("t_s,rps\n0,50\n100,50\n", &o);
	uint64_t *a;
	uint32_t n;

	(void)state;
	assert_int_equal(trace_arrivals(t, 1e5, SEED, &a, &n), 0);
	assert_true(fabs(n - 5000.0) < 5 * sqrt(5000));
	free(a);
	trace_free(t);

	t = read_good("t_s,load\n0,0\n100,0\n", &o);
	assert_int_equal(trace_arrivals(t, 1e5, SEED, &a, &n), 0);
	assert_int_equal(n, 0);
	free(a);
	trace_free(t);

	t = read_good("t_s,rps\n0,1000000\n100,1000000\n", &o);
	assert_int_equal(trace_arrivals(t, 1, SEED, &a, &n), -EFBIG);
	trace_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_swim_is_binned_smoothed_and_normalised),
		cmocka_unit_test(test_a_part_of_a_trace),
		cmocka_unit_test(test_azure_ends_with_its_last_request),
		cmocka_unit_test(test_curves_are_taken_as_they_are),
		cmocka_unit_test(test_requests_are_taken_as_they_are),
		cmocka_unit_test(test_bad_files_are_refused_by_line_and_field),
		cmocka_unit_test(test_a_line_without_an_end),
		cmocka_unit_test(test_the_errno_of_reading_is_kept),
		cmocka_unit_test(test_options_out_of_range),
		cmocka_unit_test(test_names_of_formats),
		cmocka_unit_test(test_a_long_stream_takes_no_memory),
		cmocka_unit_test(test_arrivals_follow_the_curve),
		cmocka_unit_test(test_arrivals_of_a_shorter_run_are_a_prefix),
		cmocka_unit_test(test_absolute_rates_and_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
