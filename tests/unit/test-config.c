/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's whole contract, key by key, by files written for each case. */
#include "base/units.h"
#include "daemon/config.h"
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char root[64];
	char path[128];
	struct config *config;
	struct config_error error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)strcpy(f->root, "/tmp/cofris-test-config.XXXXXX");
	if (!mkdtemp(f->root))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/test.conf", f->root);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {
		"test.conf",
		"usr/lib/cofris/cofris.conf",
		"usr/lib/cofris",
		"usr/lib",
		"usr",
		"etc/cofris.conf.d/10-a.conf",
		"etc/cofris.conf.d/20-b.conf",
		"etc/cofris.conf.d/30-c.txt",
		"etc/cofris.conf.d/.40-d.conf",
		"etc/cofris.conf.d",
		"etc/cofris.conf",
		"etc",
		"",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[192];

		(void)snprintf(path, sizeof(path), "%s/%s", f->root, files[i]);
		(void)remove(path);
	}
	config_free(f->config);
	free(f);
	return 0;
}

static void write_bytes(const char *path, const char *bytes, size_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static void write_below(const struct fixture *f, const char *path, const char *text)
{
	char full[192];

	(void)snprintf(full, sizeof(full), "%s%s", f->root, path);
	for (char *p = strchr(full + strlen(f->root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(full, 0755);
		*p = '/';
	}
	write_bytes(full, text, strlen(text));
}

static int load_text(struct fixture *f, const char *text)
{
	f->config = config_free(f->config);
	write_bytes(f->path, text, strlen(text));
	return config_load(&(struct config_source){.file = f->path}, &f->config, &f->error);
}

static void assert_loads(struct fixture *f, const char *text)
{
	int r = load_text(f, text);

	if (r < 0)
		print_message("%s -> line %u: %s\n", text, f->error.line, f->error.text);
	assert_int_equal(r, 0);
	assert_non_null(f->config);
}

/* Refused with exactly this error, at this line, by a text that holds part. */
static void assert_refused(struct fixture *f, const char *text, int error, unsigned int line,
			   const char *part)
{
	int r = load_text(f, text);

	if (r != error || f->error.line != line || !strstr(f->error.text, part))
		print_message("%s -> %d, line %u: %s\n", text, r, f->error.line, f->error.text);
	assert_int_equal(r, error);
	assert_null(f->config);
	assert_int_equal(f->error.line, line);
	assert_string_equal(f->error.file, f->path);
	assert_non_null(strstr(f->error.text, part));
}

static void test_empty_file_gives_the_defaults(void **state)
{
	struct fixture *f = *state;

	assert_loads(f, "");
	assert_int_equal(f->config->daemon.poll_ns, 500 * NSEC_PER_MSEC);
	assert_int_equal(f->config->daemon.mode, CONFIG_GOVERN);
	assert_false(f->config->daemon.log_decisions);
	assert_false(f->config->daemon.allow_simulated);
	assert_int_equal(f->config->daemon.max_connections, 256);
	assert_int_equal(f->config->daemon.max_connections_per_uid, 64);
	assert_int_equal(f->config->n_gpus, 0);
	assert_int_equal(f->config->n_models, 0);
}

static void test_bare_sections_give_the_defaults(void **state)
{
	struct fixture *f = *state;
	const struct config_model *m;
	const struct config_gpu *g;

	assert_loads(f, "[gpu 0000:43:00.0]\n[model resnet50]\n");
	g = config_find_gpu(f->config, "0000:43:00.0");
	assert_non_null(g);
	assert_true(g->enabled);
	assert_int_equal(g->gating, TABLE_GATING_NONE);
	assert_int_equal(g->power_cap_uw, 0);
	assert_false(g->take_over);
	assert_int_equal(g->on_foreign_load, CONFIG_FOREIGN_FULL_SPEED);
	assert_int_equal(g->on_drift, CONFIG_DRIFT_REASSERT);
	m = config_find_model(f->config, "resnet50");
	assert_non_null(m);
	assert_true(m->slo.factor == 2.0 && m->slo.ns == 0);
	assert_int_equal(m->percentile, 95);
	assert_true(m->rated_rps == 0);
	assert_string_equal(m->policy, "cofris");
	assert_string_equal(m->surface, "auto");
	assert_true(m->use_mask);
	assert_int_equal(m->max_batch, 1);
	assert_int_equal(m->priority, 100);
	assert_int_equal(m->allow.n, 0);
	assert_null(config_find_gpu(f->config, "0000:44:00.0"));
	assert_null(config_find_model(f->config, "vgg19"));
}

/* Each key: a good value at either limit where it has limits, and what has to be refused. */
static const struct {
	const char *section, *key;
	const char *good[4], *out_of_range[4], *bad[8];
} cases[] = {
	{"daemon",
	 "poll_interval",
	 {"100ms", "5s", "0.25s", "500000us"},
	 {"99ms", "5001ms", "1h"},
	 {"500", "0", "ms", "500 m", "-1s", "1d", "nanms", ""}},
	{"daemon", "mode", {"govern", "observe"}, {NULL}, {"Govern", "1", "observ", ""}},
	{"daemon", "log_decisions", {"yes", "no", "on", "0"}, {NULL}, {"2", "maybe", ""}},
	{"daemon", "allow_simulated", {"yes", "no"}, {NULL}, {"always", ""}},
	{"daemon",
	 "max_connections",
	 {"1", "1024"},
	 {"0", "1025", "99999999999"},
	 {"-1", "64k", "1.5", ""}},
	{"daemon", "max_connections_per_user", {"1", "1024"}, {"0", "1025"}, {"x", "+5", ""}},
	{"gpu *", "enabled", {"yes", "no"}, {NULL}, {"oui", ""}},
	{"gpu *", "gating", {"none", "se", "cu"}, {NULL}, {"SE", "wgp", ""}},
	{"gpu *",
	 "power_cap",
	 {"1W", "2000W", "150000mW", ""},
	 {"0.9W", "2001W", "0W"},
	 {"150", "150w", "1kW", "-5W", "W"}},
	{"gpu *", "take_over", {"yes", "no"}, {NULL}, {"force", ""}},
	{"gpu *", "on_foreign_load", {"full-speed", "ignore"}, {NULL}, {"full_speed", "0", ""}},
	{"gpu *", "on_drift", {"reassert", "yield", "alert"}, {NULL}, {"fight", ""}},
	{"model m",
	 "slo",
	 {"1.05x", "100x", "100us", "60s"},
	 {"1.04x", "-2x", "99us", "61s"},
	 {"2.0", "20", "x", "100,1x", "2 x", "twox", "infx", ""}},
	{"model m",
	 "percentile",
	 {"50", "95", "99"},
	 {"49", "100", "0"},
	 {"95%", "99.9", "p95", ""}},
	{"model m",
	 "rated_rps",
	 {"0.001", "1e3", "10000000", ""},
	 {"0.0009", "10000001", "0", "-1"},
	 {"nan", "inf", "10rps", "0x10"}},
	{"model m",
	 "policy",
	 {"cofris", "adapter", "adapter-tail"},
	 {NULL},
	 {"cofri", "", "COFRIS"}},
	{"model m", "surface", {"auto", "/var/lib/x.csv"}, {NULL}, {"x.csv", "Auto", "./x", ""}},
	{"model m", "cu_mask", {"auto", "off"}, {NULL}, {"on", "yes", ""}},
	{"model m", "max_batch", {"1", "1024"}, {"0", "1025"}, {"-1", "2x", ""}},
	{"model m", "priority", {"0", "1000"}, {"1001"}, {"-1", "high", ""}},
	{"model m",
	 "allow",
	 {"root", "1000", "root, 65534 7", ""},
	 {NULL},
	 {"no-such-user-here", "4294967295", "-1", "12ab", "@group"}},
};

static void test_every_key_of_the_table_has_a_case(void **state _unused_)
{
	struct config_key key;
	unsigned int n = 0;

	for (; config_key_at(n, &key); n++) {
		assert_true(n < ARRAY_SIZE(cases));
		assert_string_equal(cases[n].key, key.key);
		assert_memory_equal(cases[n].section, key.section, strlen(key.section));
	}
	assert_int_equal(n, ARRAY_SIZE(cases));
}

static void test_every_key_takes_good_values(void **state)
{
	struct fixture *f = *state;
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].good) && cases[i].good[k]; k++) {
			(void)snprintf(text, sizeof(text), "[%s]\n%s = %s\n", cases[i].section,
				       cases[i].key, cases[i].good[k]);
			assert_loads(f, text);
		}
}

static void test_every_key_refuses_values_out_of_range(void **state)
{
	struct fixture *f = *state;
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].out_of_range); k++) {
			if (!cases[i].out_of_range[k])
				break;
			(void)snprintf(text, sizeof(text), "\n[%s]\n# a comment\n%s = %s\n",
				       cases[i].section, cases[i].key, cases[i].out_of_range[k]);
			assert_refused(f, text, -ERANGE, 4, "is out of range: expected ");
			assert_non_null(strstr(f->error.text, cases[i].key));
		}
}

static void test_every_key_refuses_what_it_does_not_understand(void **state)
{
	struct fixture *f = *state;
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].bad) && cases[i].bad[k]; k++) {
			(void)snprintf(text, sizeof(text), "[%s]\n%s = %s\n", cases[i].section,
				       cases[i].key, cases[i].bad[k]);
			assert_refused(f, text, -EBADMSG, 2, ": expected ");
			assert_non_null(strstr(f->error.text, cases[i].key));
		}
}

static void test_values_arrive_in_their_fields(void **state)
{
	struct fixture *f = *state;
	const struct config_model *m;
	const struct config_gpu *g;

	assert_loads(f, "[daemon]\npoll_interval = 250ms\nmode = observe\nlog_decisions = yes\n"
			"allow_simulated = yes\nmax_connections = 7\nmax_connections_per_user = 3\n"
			"[gpu *]\nenabled = no\ngating = cu\npower_cap = 180W\ntake_over = yes\n"
			"on_foreign_load = ignore\non_drift = alert\n"
			"[model a/b-1.0]\nslo = 20ms\npercentile = 99\nrated_rps = 12.5\n"
			"surface = /x/y.csv\ncu_mask = off\nmax_batch = 8\npriority = 7\n"
			"allow = 1000 root\n");
	assert_int_equal(f->config->daemon.poll_ns, 250 * NSEC_PER_MSEC);
	assert_int_equal(f->config->daemon.mode, CONFIG_OBSERVE);
	assert_true(f->config->daemon.log_decisions && f->config->daemon.allow_simulated);
	assert_int_equal(f->config->daemon.max_connections, 7);
	assert_int_equal(f->config->daemon.max_connections_per_uid, 3);
	g = config_find_gpu(f->config, "0000:01:00.0");
	assert_false(g->enabled);
	assert_true(g->take_over);
	assert_int_equal(g->gating, TABLE_GATING_CU);
	assert_int_equal(g->power_cap_uw, 180 * UW_PER_W);
	assert_int_equal(g->on_foreign_load, CONFIG_FOREIGN_IGNORE);
	assert_int_equal(g->on_drift, CONFIG_DRIFT_ALERT);
	m = config_find_model(f->config, "a/b-1.0");
	assert_int_equal(m->slo.ns, 20 * NSEC_PER_MSEC);
	assert_int_equal(m->percentile, 99);
	assert_true(m->rated_rps == 12.5);
	assert_string_equal(m->surface, "/x/y.csv");
	assert_false(m->use_mask);
	assert_int_equal(m->max_batch, 8);
	assert_int_equal(m->priority, 7);
	assert_int_equal(m->allow.n, 2);
	assert_int_equal(m->allow.uids[0], 1000);
	assert_int_equal(m->allow.uids[1], 0);
}

static void test_broken_text_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text;
		int error;
		unsigned int line;
		const char *part;
	} broken[] = {
		{"poll_interval = 1s\n", -EBADMSG, 1, "before the first section"},
		{"[demon]\n", -EBADMSG, 1, "did you mean 'daemon'"},
		{"[models x]\n", -EBADMSG, 1, "did you mean 'model'"},
		{"[zzzzzz]\n", -EBADMSG, 1, "unknown section 'zzzzzz'"},
		{"[daemon]\npol_interval = 1s\n", -EBADMSG, 2, "did you mean 'poll_interval'"},
		{"[daemon]\nzzzzzz = 1s\n", -EBADMSG, 2, "unknown key 'zzzzzz'"},
		{"[daemon]\nslo = 2.0x\n", -EBADMSG, 2, "belongs in a [model] section"},
		{"[model m]\npolicy = cofriss\n", -EBADMSG, 2, "did you mean 'cofris'"},
		{"[model m]\npolicy = batchsize\n", -EBADMSG, 2, "did you mean 'batchsizer'"},
		{"[model m]\npolicy = oracle\n", -EBADMSG, 2,
		 "policy = oracle: it knows what is to come, so only cofris-replay has it"},
		{"[model m]\nslo = 2.0x\npolicy = oracle-rate\n", -EBADMSG, 3,
		 "only cofris-replay has it"},
		{"[daemon]\nmode = observer\n", -EBADMSG, 2, "did you mean 'observe'"},
		{"[daemon x]\n", -EBADMSG, 1, "takes no name"},
		{"[gpu]\n", -EBADMSG, 1, "expected a PCI address"},
		{"[gpu 0]\n", -EBADMSG, 1, "expected a PCI address"},
		{"[gpu 0000:AB:00.0]\n", -EBADMSG, 1, "lower case"},
		{"[gpu 0000:43:00.0 x]\n", -EBADMSG, 1, "expected a PCI address"},
		{"[model]\n", -EBADMSG, 1, "expected a name"},
		{"[model ../x]\n", -EBADMSG, 1, "expected a name"},
		{"[model a b]\n", -EBADMSG, 1, "expected a name"},
		{"[model aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee]\n", -EBADMSG, 1,
		 "longer than 49"},
		{"[model aaaaaaaaaabbbbbbbbbbccccccccccddddddddddX]\n", -EBADMSG, 1,
		 "expected a name"},
		{"[daemon\n", -EBADMSG, 1, "broken section"},
		{"[]\n", -EBADMSG, 1, "broken section"},
		{"[daemon] mode = govern\n", -EBADMSG, 1, "text after section"},
		{"[daemon]\nmode\n", -EBADMSG, 2, "neither a section nor"},
		{"[daemon]\nmode = govern\n  log_decisions = yes\n", -EBADMSG, 3,
		 "begins with a blank"},
		{"[daemon]\nmode = govern\nmode = govern\n", -EEXIST, 3, "twice in this section"},
		{"[daemon]\n[gpu *]\n[daemon]\n", -EEXIST, 3, "twice in this file"},
		{"[gpu *]\n[gpu *]\n", -EEXIST, 2, "twice in this file"},
		{"[model a]\n[model b]\n[model a]\n", -EEXIST, 3, "twice in this file"},
		{"[daemon]\nmode = obs\001erve\n", -EBADMSG, 2, "control character"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		assert_refused(f, broken[i].text, broken[i].error, broken[i].line, broken[i].part);
}

static void test_long_lines_and_nul_bytes_are_refused(void **state)
{
	struct fixture *f = *state;
	char text[512] = "[model m]\nsurface = /";
	size_t n = strlen(text);

	(void)memset(text + n, 'a', 300);
	(void)strcpy(text + n + 300, "\n");
	assert_refused(f, text, -EBADMSG, 2, "longer than");
	write_bytes(f->path, "[daemon]\nmo\0de = govern\n", 24);
	assert_int_equal(config_load(&(struct config_source){.file = f->path}, &f->config,
				     &f->error),
			 -EBADMSG);
	assert_int_equal(f->error.line, 2);
}

static void test_a_card_inherits_what_its_section_leaves_open(void **state)
{
	struct fixture *f = *state;
	const struct config_gpu *g;

	assert_loads(f, "[gpu 0000:43:00.0]\ngating = none\n"
			"[gpu *]\ngating = se\npower_cap = 100W\nenabled = no\ntake_over = yes\n"
			"[gpu 0000:44:00.0]\nenabled = yes\n");
	g = config_find_gpu(f->config, "0000:43:00.0");
	assert_int_equal(g->gating, TABLE_GATING_NONE);
	assert_int_equal(g->power_cap_uw, 100 * UW_PER_W);
	assert_false(g->enabled);
	assert_string_equal(g->bdf, "0000:43:00.0");
	g = config_find_gpu(f->config, "0000:44:00.0");
	assert_true(g->enabled && g->take_over);
	assert_int_equal(g->gating, TABLE_GATING_SE);
	g = config_find_gpu(f->config, "0000:45:00.0");
	assert_string_equal(g->bdf, "*");
	assert_false(g->enabled);
}

#define BATCHES "\n[model m]\npolicy = batchsizer-fixed\n"

static void test_batchsizer_needs_a_cap_and_batches(void **state)
{
	static const struct {
		const char *text;
		unsigned int line; /* 0: it loads */
		const char *part;
	} files[] = {
		{"[gpu *]\npower_cap = 150W" BATCHES "max_batch = 256\n", 0, NULL},
		{"[gpu *]\npower_cap = 150W" BATCHES, 4, "needs a max_batch above 1"},
		{"[gpu *]\npower_cap = 150W" BATCHES "max_batch = 1\n", 4, "max_batch above 1"},
		{"[gpu *]" BATCHES "max_batch = 2\n", 3,
		 "policy = batchsizer-fixed: needs a power_cap in [gpu *]"},
		{BATCHES "max_batch = 2\n", 3, "needs an enabled [gpu] section with power_cap"},
		{"[gpu *]\npower_cap = 9W\nenabled = no" BATCHES "max_batch = 2\n", 5,
		 "enabled [gpu]"},
		/* A card's own section has the cap of [gpu *] unless it says that it has none. */
		{"[gpu 0000:43:00.0]\n[gpu *]\npower_cap = 9W" BATCHES "max_batch = 2\n", 0, NULL},
		{"[gpu 0000:43:00.0]\npower_cap =\n[gpu *]\npower_cap = 9W" BATCHES
		 "max_batch = 2\n",
		 6, "needs a power_cap in [gpu 0000:43:00.0]"},
		{"[gpu 0000:43:00.0]\nenabled = no\npower_cap =\n[gpu *]\npower_cap = 9W" BATCHES
		 "max_batch = 2\n",
		 0, NULL},
		/* Wherever what it needs may stand. */
		{"[model m]\npolicy = batchsizer\nmax_batch = 2\n[gpu *]\n", 2, "[gpu *]"},
		{"[model m]\nmax_batch = 2\npolicy = batchsizer\n[gpu *]\npower_cap = 9W\n", 0,
		 NULL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].line == 0)
			assert_loads(f, files[i].text);
		else
			assert_refused(f, files[i].text, -EBADMSG, files[i].line, files[i].part);
}

static void test_what_lacks_in_a_set_is_named_where_the_policy_stands(void **state)
{
	struct fixture *f = *state;
	char expected[256];

	write_below(f, "/etc/cofris.conf", "[gpu *]\n\n[model m]\npolicy = batchsizer\n");
	write_below(f, "/etc/cofris.conf.d/10.conf", "[model m]\nmax_batch = 4\n");
	assert_int_equal(config_load(&(struct config_source){.root = f->root}, &f->config,
				     &f->error),
			 -EBADMSG);
	(void)snprintf(expected, sizeof(expected), "%s/etc/cofris.conf", f->root);
	assert_string_equal(f->error.file, expected);
	assert_int_equal(f->error.line, 4);
	write_below(f, "/etc/cofris.conf.d/20.conf", "[gpu *]\npower_cap = 150W\n");
	assert_int_equal(config_load(&(struct config_source){.root = f->root}, &f->config,
				     &f->error),
			 0);
}

static void test_too_many_sections_are_refused(void **state)
{
	struct fixture *f = *state;
	char text[4096];
	size_t n = 0;

	for (unsigned int i = 0; i <= CONFIG_MAX_MODELS; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "[model m%u]\n", i);
	assert_refused(f, text, -E2BIG, CONFIG_MAX_MODELS + 1, "more than 64 [model] sections");
	n = 0;
	for (unsigned int i = 0; i <= CONFIG_MAX_GPUS; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "[gpu 0000:%02x:00.0]\n", i);
	assert_refused(f, text, -E2BIG, CONFIG_MAX_GPUS + 1, "more than 32 [gpu] sections");
}

static void test_more_users_than_fit_are_refused(void **state)
{
	struct fixture *f = *state;
	char text[256] = "[model m]\nallow =";

	for (unsigned int i = 0; i <= CONFIG_MAX_ALLOW; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u", i);
	assert_refused(f, text, -ERANGE, 2, "at most 32");
}

static int load_root(struct fixture *f)
{
	f->config = config_free(f->config);
	return config_load(&(struct config_source){.root = f->root}, &f->config, &f->error);
}

static void test_later_files_win_key_by_key(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load_root(f), 0);
	assert_int_equal(f->config->n_models, 0);
	write_below(f, "/usr/lib/cofris/cofris.conf",
		    "[daemon]\npoll_interval = 1s\nmode = observe\n[model m]\nallow = 1 2\n");
	assert_int_equal(load_root(f), 0);
	assert_int_equal(f->config->daemon.poll_ns, NSEC_PER_SEC);
	write_below(f, "/etc/cofris.conf",
		    "[daemon]\npoll_interval = 2s\nlog_decisions = yes\n[model n]\n");
	write_below(f, "/etc/cofris.conf.d/20-b.conf", "[daemon]\npoll_interval = 4s\n");
	write_below(f, "/etc/cofris.conf.d/10-a.conf",
		    "[daemon]\npoll_interval = 3s\n[model m]\nallow = 3\nmax_batch = 2\n");
	write_below(f, "/etc/cofris.conf.d/30-c.txt", "not read\n");
	write_below(f, "/etc/cofris.conf.d/.40-d.conf", "not read\n");
	assert_int_equal(load_root(f), 0);
	assert_int_equal(f->config->daemon.poll_ns, 4 * NSEC_PER_SEC);
	assert_int_equal(f->config->daemon.mode, CONFIG_OBSERVE);
	assert_true(f->config->daemon.log_decisions);
	assert_int_equal(f->config->n_models, 2);
	assert_int_equal(f->config->models[0].allow.n, 1);
	assert_int_equal(f->config->models[0].allow.uids[0], 3);
	assert_int_equal(f->config->models[0].max_batch, 2);
}

static void test_an_error_in_one_file_of_the_set_refuses_all(void **state)
{
	struct fixture *f = *state;
	char where[512];

	write_below(f, "/etc/cofris.conf", "[daemon]\nmode = observe\n");
	write_below(f, "/etc/cofris.conf.d/10-a.conf", "[daemon]\npoll_interval = 500\n");
	assert_int_equal(load_root(f), -EBADMSG);
	assert_null(f->config);
	assert_int_equal(f->error.line, 2);
	config_error_format(&f->error, where, sizeof(where));
	assert_non_null(strstr(where, "/etc/cofris.conf.d/10-a.conf:2: poll_interval = 500: "
				      "expected a duration with its unit, 100ms to 5s"));
}

static void test_a_file_that_was_named_must_be_a_readable_file(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(config_load(&(struct config_source){.file = f->path}, &f->config,
				     &f->error),
			 -ENOENT);
	assert_int_equal(f->error.line, 0);
	assert_int_equal(config_load(&(struct config_source){.file = f->root}, &f->config,
				     &f->error),
			 -EBADMSG);
	assert_non_null(strstr(f->error.text, "not a regular file"));
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(config_load(&(struct config_source){.file = f->path}, &f->config,
				     &f->error),
			 -EBADMSG);
	assert_non_null(strstr(f->error.text, "not a regular file"));
}

static void test_only_root_and_named_users_are_allowed(void **state)
{
	struct fixture *f = *state;

	assert_loads(f, "[model open]\nallow = 1000\n[model closed]\n");
	assert_true(config_allows(config_find_model(f->config, "open"), 0));
	assert_true(config_allows(config_find_model(f->config, "open"), 1000));
	assert_false(config_allows(config_find_model(f->config, "open"), 1001));
	assert_true(config_allows(config_find_model(f->config, "closed"), 0));
	assert_false(config_allows(config_find_model(f->config, "closed"), 1000));
}

static char *read_whole(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	assert_int_equal(fclose(file), 0);
	text[n] = '\0';
	return text;
}

static void test_the_shipped_file_and_the_manual_know_every_key(void **state _unused_)
{
	struct config_key key;

	for (unsigned int i = 0; config_key_at(i, &key); i++) {
		char line[128];

		(void)snprintf(line, sizeof(line), "\n#%s =%s%s\n", key.key,
			       *key.fallback ? " " : "", key.fallback);
		if (!strstr(read_whole(COFRIS_SOURCE_DIR "/systemd/cofris.conf"), line))
			fail_msg("systemd/cofris.conf lacks:%s", line);
		(void)snprintf(line, sizeof(line), "\n*%s* = ", key.key);
		if (!strstr(read_whole(COFRIS_SOURCE_DIR "/docs/cofris.conf.5.scd"), line))
			fail_msg("docs/cofris.conf.5.scd lacks:%s", line);
	}
}

/* As it is, and with every default spelt out. */
static void test_the_shipped_file_loads(void **state)
{
	struct fixture *f = *state;
	char *text = read_whole(COFRIS_SOURCE_DIR "/systemd/cofris.conf");

	assert_loads(f, text);
	assert_int_equal(f->config->n_gpus, 0);
	assert_int_equal(f->config->n_models, 0);
	for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (line[0] == '#' && line[1] != ' ')
			*line = ' ';
	/* A key in column 0 again, as a line that begins with a blank is refused. */
	for (char *from = text, *to = text;; from++) {
		if (*from == ' ' && (from == text || from[-1] == '\n'))
			continue;
		*to++ = *from;
		if (!*from)
			break;
	}
	assert_loads(f, text);
	assert_int_equal(f->config->n_gpus, 1);
	assert_int_equal(f->config->n_models, 1);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_empty_file_gives_the_defaults),
		CASE(test_bare_sections_give_the_defaults),
		CASE(test_every_key_of_the_table_has_a_case),
		CASE(test_every_key_takes_good_values),
		CASE(test_every_key_refuses_values_out_of_range),
		CASE(test_every_key_refuses_what_it_does_not_understand),
		CASE(test_values_arrive_in_their_fields),
		CASE(test_broken_text_is_refused_with_its_line),
		CASE(test_long_lines_and_nul_bytes_are_refused),
		CASE(test_a_card_inherits_what_its_section_leaves_open),
		CASE(test_batchsizer_needs_a_cap_and_batches),
		CASE(test_what_lacks_in_a_set_is_named_where_the_policy_stands),
		CASE(test_too_many_sections_are_refused),
		CASE(test_more_users_than_fit_are_refused),
		CASE(test_later_files_win_key_by_key),
		CASE(test_an_error_in_one_file_of_the_set_refuses_all),
		CASE(test_a_file_that_was_named_must_be_a_readable_file),
		CASE(test_the_shipped_file_and_the_manual_know_every_key),
		CASE(test_the_shipped_file_loads),
		CASE(test_only_root_and_named_users_are_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
