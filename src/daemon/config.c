/* SPDX-License-Identifier: Apache-2.0 */
/* One table: a row names the section, the key, its parser, the limits, what to say when they are
 * not kept, the field and the default (as text, read by the same parser). */
#include "daemon/config.h"
#include "base/ini-file.h"
#include "base/units.h"
#include "governor/policy.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

enum section_kind { SECTION_DAEMON, SECTION_GPU, SECTION_MODEL, SECTION_KIND_MAX };

static const char *const section_names[SECTION_KIND_MAX] = {
	[SECTION_DAEMON] = "daemon",
	[SECTION_GPU] = "gpu",
	[SECTION_MODEL] = "model",
};

struct row;
typedef int (*row_parse_fn)(const struct row *row, const char *value, void *field);

struct row {
	enum section_kind section;
	const char *key;
	row_parse_fn parse;
	size_t offset, size; /* of the field in the section's struct */
	const char *fallback;
	double min, max;	    /* in the field's own unit */
	const char *const *choices; /* ends with NULL; the index is the value */
	const char *expected;
};

/* Parsers: 0, -EINVAL for text that is not such a value, -ERANGE for one outside the limits. An
 * empty text arrives only where the default is empty, too, and means "unset". */

static int parse_choice(const struct row *row, const char *value, void *field)
{
	for (uint32_t i = 0; row->choices[i]; i++)
		if (strcmp(row->choices[i], value) == 0) {
			*(uint32_t *)field = i;
			return 0;
		}
	return -EINVAL;
}

/* auto = true, off = false. */
static int parse_auto_off(const struct row *row, const char *value, void *field)
{
	uint32_t index;
	int r;

	r = parse_choice(row, value, &index);
	if (r < 0)
		return r;
	*(bool *)field = index == 0;
	return 0;
}

static int parse_yes_no(const struct row *row _unused_, const char *value, void *field)
{
	return parse_bool(value, field);
}

static int store_u64(const struct row *row, int r, uint64_t value, void *field)
{
	if (r < 0)
		return r;
	if ((double)value < row->min || (double)value > row->max)
		return -ERANGE;
	*(uint64_t *)field = value;
	return 0;
}

static int parse_duration(const struct row *row, const char *value, void *field)
{
	uint64_t ns = 0;
	int r = parse_duration_ns(value, &ns);

	return store_u64(row, r, ns, field);
}

static int parse_power(const struct row *row, const char *value, void *field)
{
	uint64_t uw = 0;
	int r;

	if (!*value) {
		*(uint64_t *)field = 0;
		return 0;
	}
	r = parse_power_uw(value, &uw);
	return store_u64(row, r, uw, field);
}

static int parse_count(const struct row *row, const char *value, void *field)
{
	uint32_t count;
	int r;

	r = parse_u32(value, &count);
	if (r < 0)
		return r;
	if (count < row->min || count > row->max)
		return -ERANGE;
	*(uint32_t *)field = count;
	return 0;
}

static int parse_rate(const struct row *row, const char *value, void *field)
{
	double rate;
	int r;

	if (!*value) {
		*(double *)field = 0;
		return 0;
	}
	r = parse_double(value, &rate);
	if (r < 0)
		return r;
	if (rate < row->min || rate > row->max)
		return -ERANGE;
	*(double *)field = rate;
	return 0;
}

/* "2.0x" is a factor within the row's limits, "20ms" a duration of 100 us to one minute. */
static int parse_slo(const struct row *row, const char *value, void *field)
{
	struct config_slo slo = {0};
	size_t length = strlen(value);
	char number[CONFIG_VALUE_MAX];
	int r;

	if (value[length - 1] != 'x') {
		r = parse_duration_ns(value, &slo.ns);
		if (r >= 0 && (slo.ns < 100 * NSEC_PER_USEC || slo.ns > 60 * NSEC_PER_SEC))
			r = -ERANGE;
	} else {
		(void)snprintf(number, sizeof(number), "%.*s", (int)(length - 1), value);
		r = parse_double(number, &slo.factor);
		if (r >= 0 && (slo.factor < row->min || slo.factor > row->max))
			r = -ERANGE;
	}
	if (r < 0)
		return r;
	*(struct config_slo *)field = slo;
	return 0;
}

static int parse_policy(const struct row *row _unused_, const char *value, void *field)
{
	if (!policy_find(value))
		return -EINVAL;
	(void)snprintf(field, CONFIG_VALUE_MAX, "%s", value);
	return 0;
}

static int parse_surface(const struct row *row _unused_, const char *value, void *field)
{
	if (strcmp(value, "auto") != 0 && *value != '/')
		return -EINVAL;
	(void)snprintf(field, CONFIG_VALUE_MAX, "%s", value);
	return 0;
}

static int parse_user(const char *word, uid_t *ret)
{
	const struct passwd *user;
	uint32_t uid;

	if (*word >= '0' && *word <= '9') {
		/* The largest one is the kernel's "no user". */
		if (parse_u32(word, &uid) < 0 || uid == UINT32_MAX)
			return -EINVAL;
		*ret = uid;
		return 0;
	}
	user = getpwnam(word);
	if (!user)
		return -EINVAL;
	*ret = user->pw_uid;
	return 0;
}

static int parse_allow(const struct row *row _unused_, const char *value, void *field)
{
	struct config_allow allow = {0};
	char words[CONFIG_VALUE_MAX], *rest = words, *word;

	(void)snprintf(words, sizeof(words), "%s", value);
	while ((word = strsep(&rest, " ,\t"))) {
		if (!*word)
			continue;
		if (allow.n == CONFIG_MAX_ALLOW)
			return -ERANGE;
		if (parse_user(word, &allow.uids[allow.n++]) < 0)
			return -EINVAL;
	}
	*(struct config_allow *)field = allow;
	return 0;
}

static const char *const mode_choices[] = {"govern", "observe", NULL};
static const char *const gating_choices[] = {"none", "se", "cu", NULL};
static const char *const foreign_choices[] = {"full-speed", "ignore", NULL};
static const char *const drift_choices[] = {"reassert", "yield", "alert", NULL};
static const char *const mask_choices[] = {"auto", "off", NULL};

#define FIELD_AT(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)NULL)->field)
#define DAEMON_AT(field)      FIELD_AT(struct config_daemon, field)
#define GPU_AT(field)	      FIELD_AT(struct config_gpu, field)
#define MODEL_AT(field)	      FIELD_AT(struct config_model, field)

/* clang-format off */
static const struct row rows[] = {
	{SECTION_DAEMON, "poll_interval", parse_duration, DAEMON_AT(poll_ns), .fallback = "500ms",
	 .min = 100e6, .max = 5e9, .expected = "a duration with its unit, 100ms to 5s"},
	{SECTION_DAEMON, "mode", parse_choice, DAEMON_AT(mode), .fallback = "govern",
	 .choices = mode_choices, .expected = "govern or observe"},
	{SECTION_DAEMON, "log_decisions", parse_yes_no, DAEMON_AT(log_decisions), .fallback = "no",
	 .expected = "yes or no"},
	{SECTION_DAEMON, "allow_simulated", parse_yes_no, DAEMON_AT(allow_simulated),
	 .fallback = "no", .expected = "yes or no"},
	{SECTION_DAEMON, "max_connections", parse_count, DAEMON_AT(max_connections),
	 .fallback = "256", .min = 1, .max = 1024, .expected = "a number from 1 to 1024"},
	{SECTION_DAEMON, "max_connections_per_user", parse_count,
	 DAEMON_AT(max_connections_per_uid), .fallback = "64", .min = 1, .max = 1024,
	 .expected = "a number from 1 to 1024"},

	{SECTION_GPU, "enabled", parse_yes_no, GPU_AT(enabled), .fallback = "yes",
	 .expected = "yes or no"},
	{SECTION_GPU, "gating", parse_choice, GPU_AT(gating), .fallback = "none",
	 .choices = gating_choices, .expected = "none, se or cu"},
	{SECTION_GPU, "power_cap", parse_power, GPU_AT(power_cap_uw), .fallback = "", .min = 1e6,
	 .max = 2000e6, .expected = "a power with its unit, 1W to 2000W, or nothing"},
	{SECTION_GPU, "take_over", parse_yes_no, GPU_AT(take_over), .fallback = "no",
	 .expected = "yes or no"},
	{SECTION_GPU, "on_foreign_load", parse_choice, GPU_AT(on_foreign_load),
	 .fallback = "full-speed", .choices = foreign_choices,
	 .expected = "full-speed or ignore"},
	{SECTION_GPU, "on_drift", parse_choice, GPU_AT(on_drift), .fallback = "reassert",
	 .choices = drift_choices, .expected = "reassert, yield or alert"},

	{SECTION_MODEL, "slo", parse_slo, MODEL_AT(slo), .fallback = "2.0x", .min = 1.05,
	 .max = 100,
	 .expected = "a factor (1.05x to 100x, as 2.0x) or a duration (100us to 60s, as 20ms)"},
	{SECTION_MODEL, "percentile", parse_count, MODEL_AT(percentile), .fallback = "95",
	 .min = 50, .max = 99, .expected = "a number from 50 to 99"},
	{SECTION_MODEL, "rated_rps", parse_rate, MODEL_AT(rated_rps), .fallback = "", .min = 0.001,
	 .max = 1e7, .expected = "requests per second, 0.001 to 10000000, or nothing"},
	{SECTION_MODEL, "policy", parse_policy, MODEL_AT(policy), .fallback = "cofris",
	 .expected = "the name of a policy"},
	{SECTION_MODEL, "surface", parse_surface, MODEL_AT(surface), .fallback = "auto",
	 .expected = "auto or an absolute path"},
	{SECTION_MODEL, "cu_mask", parse_auto_off, MODEL_AT(use_mask), .fallback = "auto",
	 .choices = mask_choices, .expected = "auto or off"},
	{SECTION_MODEL, "max_batch", parse_count, MODEL_AT(max_batch), .fallback = "1", .min = 1,
	 .max = 1024, .expected = "a number from 1 to 1024"},
	{SECTION_MODEL, "priority", parse_count, MODEL_AT(priority), .fallback = "100", .min = 0,
	 .max = 1000, .expected = "a number from 0 to 1000"},
	{SECTION_MODEL, "allow", parse_allow, MODEL_AT(allow), .fallback = "",
	 .expected = "at most 32 names of existing users or uids"},
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(rows) <= 64, "a section remembers its rows in 64 bits");

/* What the reader knows of a section beside its values. */
struct section {
	uint64_t set;	      /* rows with a value of their own */
	uint64_t set_in_file; /* of these, in the file being read */
	unsigned int file;    /* the last file it stood in */
};

struct loader {
	struct config *config;
	struct section daemon, gpus[CONFIG_MAX_GPUS], models[CONFIG_MAX_MODELS];
	unsigned int file; /* 1, 2, ... */
	/* The section being read. */
	enum section_kind kind;
	struct section *section;
	void *values;
};

static void *field_of(const struct row *row, void *values)
{
	return (char *)values + row->offset;
}

static void set_defaults(enum section_kind kind, void *values)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].section == kind)
			(void)rows[i].parse(&rows[i], rows[i].fallback, field_of(&rows[i], values));
}

static int find_gpu(const struct config *c, const char *bdf)
{
	for (uint32_t i = 0; i < c->n_gpus; i++)
		if (strcmp(c->gpus[i].bdf, bdf) == 0)
			return (int)i;
	return -ENOENT;
}

static int find_model(const struct config *c, const char *name)
{
	for (uint32_t i = 0; i < c->n_models; i++)
		if (strcmp(c->models[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

static int enter_daemon(struct loader *l, const char *name, struct ini_error *error)
{
	if (*name)
		return ini_error_set(error, -EBADMSG, "[daemon] takes no name, but has '%s'", name);
	l->section = &l->daemon;
	l->values = &l->config->daemon;
	return 0;
}

static int enter_gpu(struct loader *l, const char *name, struct ini_error *error)
{
	struct config *c = l->config;
	int i;

	if (strcmp(name, "*") != 0 && !pci_bdf_is_valid(name))
		return ini_error_set(error, -EBADMSG,
				     "[gpu %s]: expected a PCI address in lower case, as "
				     "[gpu 0000:43:00.0], or [gpu *]",
				     name);
	i = find_gpu(c, name);
	if (i < 0) {
		if (c->n_gpus == CONFIG_MAX_GPUS)
			return ini_error_set(error, -E2BIG, "more than %d [gpu] sections",
					     CONFIG_MAX_GPUS);
		i = (int)c->n_gpus++;
		set_defaults(SECTION_GPU, &c->gpus[i]);
		(void)snprintf(c->gpus[i].bdf, sizeof(c->gpus[i].bdf), "%s", name);
	}
	l->section = &l->gpus[i];
	l->values = &c->gpus[i];
	return 0;
}

static int enter_model(struct loader *l, const char *name, struct ini_error *error)
{
	struct config *c = l->config;
	int i;

	if (!model_name_is_valid(name))
		return ini_error_set(error, -EBADMSG,
				     "[model %s]: expected a name of 1 to %d characters out of "
				     "A-Z a-z 0-9 . _ / -",
				     name, MODEL_NAME_MAX);
	i = find_model(c, name);
	if (i < 0) {
		if (c->n_models == CONFIG_MAX_MODELS)
			return ini_error_set(error, -E2BIG, "more than %d [model] sections",
					     CONFIG_MAX_MODELS);
		i = (int)c->n_models++;
		set_defaults(SECTION_MODEL, &c->models[i]);
		(void)snprintf(c->models[i].name, sizeof(c->models[i].name), "%s", name);
	}
	l->section = &l->models[i];
	l->values = &c->models[i];
	return 0;
}

static int unknown_name(struct ini_error *error, const char *what, const char *name,
			const char *nearest)
{
	if (nearest)
		return ini_error_set(error, -EBADMSG, "unknown %s '%s', did you mean '%s'?", what,
				     name, nearest);
	return ini_error_set(error, -EBADMSG, "unknown %s '%s'", what, name);
}

static int enter_section(struct loader *l, const char *text, struct ini_error *error)
{
	static int (*const enter[SECTION_KIND_MAX])(struct loader *, const char *,
						    struct ini_error *) = {
		[SECTION_DAEMON] = enter_daemon,
		[SECTION_GPU] = enter_gpu,
		[SECTION_MODEL] = enter_model,
	};
	char word[INI_LINE_MAX + 1];
	const char *name;
	size_t length = strcspn(text, " \t");
	int r;

	(void)snprintf(word, sizeof(word), "%.*s", (int)length, text);
	name = text + length + strspn(text + length, " \t");
	l->section = NULL;
	for (l->kind = 0; l->kind < SECTION_KIND_MAX; l->kind++)
		if (strcmp(word, section_names[l->kind]) == 0)
			break;
	if (l->kind == SECTION_KIND_MAX)
		return unknown_name(error, "section", word,
				    nearest_name(word, section_names, SECTION_KIND_MAX));
	r = enter[l->kind](l, name, error);
	if (r < 0)
		return r;
	if (l->section->file == l->file)
		return ini_error_set(error, -EEXIST, "section [%s] stands twice in this file",
				     text);
	l->section->file = l->file;
	l->section->set_in_file = 0;
	return 0;
}

static const char *nearest_key(enum section_kind kind, const char *key)
{
	const char *names[ARRAY_SIZE(rows)];
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].section == kind)
			names[n++] = rows[i].key;
	return nearest_name(key, names, n);
}

/* A key that another section knows is a mistake of place, and the message says so. */
static int unknown_key(struct ini_error *error, enum section_kind kind, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].key, key) == 0)
			return ini_error_set(error, -EBADMSG,
					     "key '%s' belongs in a [%s] section, not in [%s]", key,
					     section_names[rows[i].section], section_names[kind]);
	return unknown_name(error, "key", key, nearest_key(kind, key));
}

static const char *nearest_policy(const char *value)
{
	const char *names[16];
	unsigned int n = 0;

	while (n < ARRAY_SIZE(names) && policy_name(n)) {
		names[n] = policy_name(n);
		n++;
	}
	return nearest_name(value, names, n);
}

static const char *nearest_value(const struct row *row, const char *value)
{
	unsigned int n = 0;

	if (row->parse == parse_policy)
		return nearest_policy(value);
	if (!row->choices)
		return NULL;
	while (row->choices[n])
		n++;
	return nearest_name(value, row->choices, n);
}

static int bad_value(struct ini_error *error, const struct row *row, const char *value, int r)
{
	const char *nearest = r == -ERANGE ? NULL : nearest_value(row, value);

	return ini_error_set(error, r == -ERANGE ? -ERANGE : -EBADMSG,
			     "%s = %.80s%s: expected %s%s%s%s", row->key, value,
			     r == -ERANGE ? " is out of range" : "", row->expected,
			     nearest ? ", did you mean '" : "", nearest ? nearest : "",
			     nearest ? "'?" : "");
}

static int set_value(struct loader *l, const struct row *row, const char *value,
		     struct ini_error *error)
{
	uint64_t bit = UINT64_C(1) << (row - rows);
	int r;

	if (l->section->set_in_file & bit)
		return ini_error_set(error, -EEXIST, "key '%s' stands twice in this section",
				     row->key);
	r = *value || !*row->fallback ? row->parse(row, value, field_of(row, l->values)) : -EINVAL;
	if (r < 0)
		return bad_value(error, row, value, r);
	l->section->set_in_file |= bit;
	l->section->set |= bit;
	return 0;
}

static int handle_row(void *userdata, unsigned int line _unused_, const char *section,
		      const char *key, const char *value, struct ini_error *error)
{
	struct loader *l = userdata;

	if (!key)
		return enter_section(l, section, error);
	if (!l->section)
		return ini_error_set(error, -EBADMSG, "key '%s' before the first section", key);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].section == l->kind && strcmp(rows[i].key, key) == 0)
			return set_value(l, &rows[i], value, error);
	return unknown_key(error, l->kind, key);
}

static int file_error(struct config_error *error, const char *path, int r, const char *text)
{
	(void)snprintf(error->file, sizeof(error->file), "%s", path);
	(void)snprintf(error->text, sizeof(error->text), "%s", text);
	error->line = 0;
	return r;
}

/* Non-blocking, so that a FIFO in the place of a file cannot hold the daemon up. */
static int open_regular(const char *path, FILE **ret, struct config_error *error)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return file_error(error, path, -errno, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return file_error(error, path, -EBADMSG, "not a regular file");
	*ret = fdopen(fd, "r");
	if (!*ret)
		return file_error(error, path, -errno, strerror(errno));
	(void)TAKE_FD(fd);
	return 0;
}

static int load_file(struct loader *l, const char *path, struct config_error *error)
{
	_cleanup_(fclosep) FILE *file = NULL;
	struct ini_error ini;
	int r;

	r = open_regular(path, &file, error);
	if (r < 0)
		return r;
	l->file++;
	l->section = NULL;
	r = ini_file_parse(file, handle_row, l, &ini);
	if (r < 0) {
		(void)file_error(error, path, r, ini.text);
		error->line = ini.line;
	}
	return r;
}

static int load_if_present(struct loader *l, const char *root, const char *path,
			   struct config_error *error)
{
	char full[PATH_MAX];
	int r;

	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	r = load_file(l, full, error);
	return r == -ENOENT ? 0 : r;
}

static int is_conf(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

/* Not alphasort(): its order follows the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_folder(struct loader *l, const char *root, const char *folder,
		       struct config_error *error)
{
	char path[CONFIG_PATH_MAX];
	struct dirent **entries;
	int n, r = 0;

	(void)snprintf(path, sizeof(path), "%s%s", root, folder);
	n = scandir(path, &entries, is_conf, by_bytes);
	if (n < 0)
		return errno == ENOENT ? 0 : file_error(error, path, -errno, strerror(errno));
	for (int i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s%s/%s", root, folder, entries[i]->d_name);
		if (r >= 0)
			r = load_file(l, path, error);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int load_standard_set(struct loader *l, const char *root, struct config_error *error)
{
	int r;

	r = load_if_present(l, root, "/usr/lib/cofris/cofris.conf", error);
	if (r < 0)
		return r;
	r = load_if_present(l, root, "/etc/cofris.conf", error);
	if (r < 0)
		return r;
	return load_folder(l, root, "/etc/cofris.conf.d", error);
}

/* What a card's own section leaves open, [gpu *] decides. */
static void inherit_from_star(struct loader *l)
{
	struct config *c = l->config;
	int star = find_gpu(c, "*");

	if (star < 0)
		return;
	for (uint32_t i = 0; i < c->n_gpus; i++)
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
			if (rows[k].section == SECTION_GPU && (int)i != star &&
			    !(l->gpus[i].set & (UINT64_C(1) << k)))
				(void)memcpy(field_of(&rows[k], &c->gpus[i]),
					     field_of(&rows[k], &c->gpus[star]), rows[k].size);
}

int config_load(const struct config_source *source, struct config **ret,
		struct config_error *ret_error)
{
	_cleanup_(config_freep) struct config *config = NULL;
	_cleanup_(freep) struct loader *l = NULL;
	int r;

	config = calloc(1, sizeof(*config));
	l = calloc(1, sizeof(*l));
	if (!config || !l)
		return file_error(ret_error, "", -ENOMEM, "out of memory");
	l->config = config;
	set_defaults(SECTION_DAEMON, &config->daemon);
	if (source->file)
		r = load_file(l, source->file, ret_error);
	else
		r = load_standard_set(l, source->root ? source->root : "", ret_error);
	if (r < 0)
		return r;
	inherit_from_star(l);
	*ret = TAKE_PTR(config);
	return 0;
}

struct config *config_free(struct config *c)
{
	free(c);
	return NULL;
}

void config_error_format(const struct config_error *e, char *buffer, size_t size)
{
	if (e->line > 0)
		(void)snprintf(buffer, size, "%s:%u: %s", e->file, e->line, e->text);
	else
		(void)snprintf(buffer, size, "%s: %s", e->file, e->text);
}

const struct config_gpu *config_find_gpu(const struct config *c, const char *bdf)
{
	int i = find_gpu(c, bdf);

	if (i < 0)
		i = find_gpu(c, "*");
	return i < 0 ? NULL : &c->gpus[i];
}

const struct config_model *config_find_model(const struct config *c, const char *name)
{
	int i = find_model(c, name);

	return i < 0 ? NULL : &c->models[i];
}

bool config_allows(const struct config_model *m, uid_t uid)
{
	if (uid == 0)
		return true;
	for (uint32_t i = 0; i < m->allow.n; i++)
		if (m->allow.uids[i] == uid)
			return true;
	return false;
}

const char *config_mode_name(uint32_t mode)
{
	return mode_choices[mode];
}

const char *config_gating_name(uint32_t gating)
{
	return gating_choices[gating];
}

const char *config_on_drift_name(uint32_t on_drift)
{
	return drift_choices[on_drift];
}

bool config_key_at(unsigned int index, struct config_key *ret)
{
	if (index >= ARRAY_SIZE(rows))
		return false;
	*ret = (struct config_key){
		.section = section_names[rows[index].section],
		.key = rows[index].key,
		.expected = rows[index].expected,
		.fallback = rows[index].fallback,
	};
	return true;
}
