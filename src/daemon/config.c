/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the files and puts each value where the table of keys says. */
#include "base/ini-file.h"
#include "base/parse.h"
#include "daemon/config-rows.h"
#include "governor/policy.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* What the reader knows of a section beside its values. */
struct section {
	uint64_t set;	      /* rows with a value of their own */
	uint64_t set_in_file; /* of these, in the file being read */
	unsigned int file;    /* the last file it stood in */
};

/* Where a value stands, for what can only be judged when all is read. */
struct place {
	char file[CONFIG_PATH_MAX];
	unsigned int line;
};

struct loader {
	struct config *config;
	struct section daemon, gpus[CONFIG_MAX_GPUS], models[CONFIG_MAX_MODELS];
	struct place policies[CONFIG_MAX_MODELS];
	unsigned int file; /* 1, 2, ... */
	const char *path;
	/* The section being read. */
	enum config_section kind;
	struct section *section;
	void *values;
};

static void *field_of(const struct config_row *row, void *values)
{
	return (char *)values + row->offset;
}

static void set_defaults(enum config_section kind, void *values)
{
	for (size_t i = 0; config_rows[i].key; i++)
		if (config_rows[i].section == kind)
			(void)config_rows[i].parse(&config_rows[i], config_rows[i].fallback,
						   field_of(&config_rows[i], values));
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
		if (strcmp(word, config_section_names[l->kind]) == 0)
			break;
	if (l->kind == SECTION_KIND_MAX)
		return unknown_name(error, "section", word,
				    nearest_name(word, config_section_names, SECTION_KIND_MAX));
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

static const char *nearest_key(enum config_section kind, const char *key)
{
	const char *names[64];
	unsigned int n = 0;

	for (size_t i = 0; config_rows[i].key; i++)
		if (config_rows[i].section == kind)
			names[n++] = config_rows[i].key;
	return nearest_name(key, names, n);
}

/* A key that another section knows is a mistake of place, and the message says so. */
static int unknown_key(struct ini_error *error, enum config_section kind, const char *key)
{
	for (size_t i = 0; config_rows[i].key; i++)
		if (strcmp(config_rows[i].key, key) == 0)
			return ini_error_set(error, -EBADMSG,
					     "key '%s' belongs in a [%s] section, not in [%s]", key,
					     config_section_names[config_rows[i].section],
					     config_section_names[kind]);
	return unknown_name(error, "key", key, nearest_key(kind, key));
}

static int bad_value(struct ini_error *error, const struct config_row *row, const char *value,
		     int r)
{
	const char *nearest = r == -ERANGE ? NULL : config_nearest_value(row, value);
	const char *why = config_why_refused(row, value);

	if (why)
		return ini_error_set(error, -EBADMSG, "%s = %.80s: %s", row->key, value, why);
	return ini_error_set(error, r == -ERANGE ? -ERANGE : -EBADMSG,
			     "%s = %.80s%s: expected %s%s%s%s", row->key, value,
			     r == -ERANGE ? " is out of range" : "", row->expected,
			     nearest ? ", did you mean '" : "", nearest ? nearest : "",
			     nearest ? "'?" : "");
}

static int set_value(struct loader *l, const struct config_row *row, const char *value,
		     struct ini_error *error)
{
	uint64_t bit = UINT64_C(1) << (row - config_rows);
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

static void remember_place(struct loader *l, const struct config_row *row, unsigned int line)
{
	struct place *place;

	if (l->kind != SECTION_MODEL || strcmp(row->key, "policy") != 0)
		return;
	place = &l->policies[l->section - l->models];
	(void)snprintf(place->file, sizeof(place->file), "%s", l->path);
	place->line = line;
}

static int handle_row(void *userdata, unsigned int line, const char *section, const char *key,
		      const char *value, struct ini_error *error)
{
	struct loader *l = userdata;

	if (!key)
		return enter_section(l, section, error);
	if (!l->section)
		return ini_error_set(error, -EBADMSG, "key '%s' before the first section", key);
	for (size_t i = 0; config_rows[i].key; i++) {
		if (config_rows[i].section != l->kind || strcmp(config_rows[i].key, key) != 0)
			continue;
		remember_place(l, &config_rows[i], line);
		return set_value(l, &config_rows[i], value, error);
	}
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
	l->path = path;
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
		for (size_t k = 0; config_rows[k].key; k++)
			if (config_rows[k].section == SECTION_GPU && (int)i != star &&
			    !(l->gpus[i].set & (UINT64_C(1) << k)))
				(void)memcpy(field_of(&config_rows[k], &c->gpus[i]),
					     field_of(&config_rows[k], &c->gpus[star]),
					     config_rows[k].size);
}

/* A policy of batches keeps power inside a cap by them, so it needs both. */
static int check_batches(const struct loader *l, uint32_t model, struct config_error *error)
{
	const struct config *c = l->config;
	const struct config_model *m = &c->models[model];
	bool enabled = false;
	char text[128] = "";

	if (!policy_find(m->policy)->batches)
		return 0;
	if (m->max_batch <= 1)
		(void)snprintf(text, sizeof(text), "needs a max_batch above 1");
	for (uint32_t i = 0; i < c->n_gpus && !text[0]; i++) {
		enabled |= c->gpus[i].enabled;
		if (c->gpus[i].enabled && c->gpus[i].power_cap_uw == 0)
			(void)snprintf(text, sizeof(text), "needs a power_cap in [gpu %s]",
				       c->gpus[i].bdf);
	}
	if (!text[0] && !enabled)
		(void)snprintf(text, sizeof(text), "needs an enabled [gpu] section with power_cap");
	if (!text[0])
		return 0;
	(void)snprintf(error->file, sizeof(error->file), "%s", l->policies[model].file);
	(void)snprintf(error->text, sizeof(error->text), "policy = %.80s: %s", m->policy, text);
	error->line = l->policies[model].line;
	return -EBADMSG;
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
	for (uint32_t i = 0; i < config->n_models; i++) {
		r = check_batches(l, i, ret_error);
		if (r < 0)
			return r;
	}
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
	/* A file may have any name. */
	make_printable(buffer);
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

bool config_key_at(unsigned int index, struct config_key *ret)
{
	for (unsigned int i = 0; i <= index; i++)
		if (!config_rows[i].key)
			return false;
	*ret = (struct config_key){
		.section = config_section_names[config_rows[index].section],
		.key = config_rows[index].key,
		.expected = config_rows[index].expected,
		.fallback = config_rows[index].fallback,
	};
	return true;
}
