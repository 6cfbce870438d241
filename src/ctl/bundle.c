/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl debug bundle: what somebody else needs to see what is going on here. Whatever cannot be
 * had is named, and does not keep the rest from being written: a bundle is wanted when things are
 * broken. */
#include "base/fsio.h"
#include "base/log.h"
#include "base/parse.h"
#include "ctl/bundle-archive.h"
#include "ctl/bundle-cards.h"
#include "ctl/commands.h"
#include "ctl/output.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#define CONFIG_MAX    (64u << 10)
#define JOURNAL_MAX   (2u << 20)
#define JOURNAL_LINES "3000"
#define N_DECISIONS   1000

/* ---- from the daemon ---- */

static void add_answer(struct bundle *b, struct ctl *ctl, const char *name, enum ctl_exit result,
		       json_t *root)
{
	if (result == CTL_OK)
		bundle_add_json(b, name, root);
	else
		bundle_miss(b, name, "%s", ctl->client.error);
}

static void add_tables(struct bundle *b, struct ctl *ctl, const json_t *status)
{
	const json_t *gpu = json_array_get(json_object_get(status, "gpus"), 0), *model;
	size_t i;

	/* Each card has the same models. */
	json_array_foreach(json_object_get(gpu, "models"), i, model)
	{
		const char *name = json_string_value(json_object_get(model, "name"));
		char member[MODEL_NAME_MAX + 32];
		enum ctl_exit result;
		json_t *root = NULL;

		if (!name || !model_name_is_valid(name))
			continue;
		(void)snprintf(member, sizeof(member), "table-%s.json", name);
		for (char *p = member; *p; p++)
			*p = *p == '/' ? '_' : *p;
		result = ctl_call_json(&ctl->client, "GetTable", &root, "s", name);
		add_answer(b, ctl, member, result, root);
	}
}

static void add_daemon(struct bundle *b, struct ctl *ctl)
{
	json_t *status = NULL, *root = NULL;
	enum ctl_exit result = ctl_call_json(&ctl->client, "GetStatus", &status, "");

	add_answer(b, ctl, "status.json", result, json_incref(status));
	if (result != CTL_OK)
		return;
	add_tables(b, ctl, status);
	json_decref(status);
	result = ctl_call_json(&ctl->client, "Explain", &root, "ssd", "*", "*", -1.0);
	add_answer(b, ctl, "explain.json", result, root);
	root = NULL;
	result = ctl_call_json(&ctl->client, "GetDecisions", &root, "ssu", "*", "*",
			       (uint32_t)N_DECISIONS);
	add_answer(b, ctl, "decisions.json", result, root);
	root = NULL;
	result = ctl_call_json(&ctl->client, "Verify", &root, "s", "*");
	add_answer(b, ctl, "verify.json", result, root);
}

/* ---- configuration ---- */

/* What comes behind a blank and ';' or '#', or begins with one, is people's own. */
static size_t drop_comments(char *text)
{
	char *to = text, *end = text + strlen(text);

	for (char *line = text, *next; line < end; line = next) {
		size_t n = strcspn(line, "\n"), used = n;

		next = line + n + 1;
		for (size_t i = 0; i < n; i++)
			if ((line[i] == ';' || line[i] == '#') &&
			    (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
				used = i;
				break;
			}
		while (used > 0 && strchr(" \t\r", line[used - 1]))
			used--;
		if (used == 0)
			continue;
		memmove(to, line, used);
		to += used;
		*to++ = '\n';
	}
	return (size_t)(to - text);
}

static void add_config(struct bundle *b, const char *path)
{
	/* A line may grow by its newline. */
	static char text[CONFIG_MAX + 1];
	ssize_t n = read_text_at(AT_FDCWD, path, text, sizeof(text) - 1);
	char name[PATH_MAX];

	if (n == -ENOENT)
		return;
	(void)snprintf(name, sizeof(name), "config%s", path);
	if (n < 0)
		bundle_miss(b, name, "%s", strerror((int)-n));
	else
		bundle_add(b, name, 0644, text, drop_comments(text));
}

static int is_conf(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && dot != entry->d_name && strcmp(dot, ".conf") == 0;
}

static void add_configs(struct bundle *b)
{
	static const char folder[] = "/etc/cofris.conf.d";
	struct dirent **entries;
	int n;

	add_config(b, "/usr/lib/cofris/cofris.conf");
	add_config(b, "/etc/cofris.conf");
	n = scandir(folder, &entries, is_conf, alphasort);
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (strlen(path) < 128)
			add_config(b, path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/* ---- the journal ---- */

static int run_journalctl(int fd, void *userdata _unused_)
{
	int null = open("/dev/null", O_RDWR);

	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDERR_FILENO);
	(void)dup2(fd, STDOUT_FILENO);
	(void)execlp("journalctl", "journalctl", "--no-pager", "--quiet", "--output=short-iso",
		     "--lines=" JOURNAL_LINES, "--unit=cofrisd.service",
		     "--unit=cofris-actuator.service", (char *)NULL);
	return -errno;
}

static void add_journal(struct bundle *b)
{
	struct collected c;
	int r = collect(run_journalctl, NULL, JOURNAL_MAX, &c);

	if (r < 0) {
		bundle_miss(b, "journal.txt", "%s", strerror(-r));
		return;
	}
	if (c.size > 0)
		bundle_add(b, "journal.txt", 0644, c.data, c.size);
	else
		bundle_miss(b, "journal.txt", "journalctl shows nothing of the units");
	free(c.data);
}

/* ---- the whole ---- */

static json_t *os_name(void)
{
	char text[4096], *name;

	if (read_text_at(AT_FDCWD, "/etc/os-release", text, sizeof(text)) < 0)
		return json_null();
	name = strstr(text, "PRETTY_NAME=\"");
	if (!name || (name > text && name[-1] != '\n'))
		return json_null();
	name += strlen("PRETTY_NAME=\"");
	name[strcspn(name, "\"\n")] = '\0';
	return json_string(name) ?: json_null();
}

static json_t *summary(struct ctl *ctl, const struct bundle *b, const char *path)
{
	_cleanup_(freep) char *daemon = ctl_daemon_version(&ctl->client);
	struct utsname kernel = {0};
	char now[32] = "";
	time_t t = time(NULL);
	struct tm utc;

	(void)uname(&kernel);
	if (gmtime_r(&t, &utc))
		(void)strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_pack("{s:i, s:o, s:s, s:s, s:s?, s:s, s:s, s:o, s:O, s:O}", "schema", 1, "file",
			 output_text(path), "created", now, "cofrisctl", COFRIS_VERSION, "cofrisd",
			 daemon, "kernel", kernel.release, "machine", kernel.machine, "os",
			 os_name(), "members", b->members, "missing", b->missing);
}

static int print_summary(const json_t *root)
{
	const json_t *missing, *array = json_object_get(root, "missing");
	size_t i;

	(void)printf("%s: %zu files\n", json_string_value(json_object_get(root, "file")),
		     json_array_size(json_object_get(root, "members")));
	json_array_foreach(array, i, missing)(void)
		printf("without %s: %s\n", json_string_value(json_object_get(missing, "what")),
		       json_string_value(json_object_get(missing, "why")));
	return 0;
}

static void default_name(char *ret, size_t size)
{
	time_t t = time(NULL);
	struct tm local;

	if (!localtime_r(&t, &local) ||
	    strftime(ret, size, "cofris-%Y%m%d-%H%M%S.tar", &local) == 0)
		(void)snprintf(ret, size, "cofris.tar");
}

enum ctl_exit run_debug_bundle(struct ctl *ctl)
{
	_cleanup_(bundle_deinit) struct bundle b = {0};
	char name[64];
	const char *path = ctl->n_words > 0 ? ctl->words[0] : name;
	json_t *root;
	int r;

	default_name(name, sizeof(name));
	r = bundle_open(&b, path);
	if (r < 0) {
		(void)log_error_errno(r, "Cannot create %s: %m", path);
		return CTL_REFUSED;
	}
	add_daemon(&b, ctl);
	add_configs(&b);
	add_journal(&b);
	bundle_add_cards(&b, "/sys");
	root = summary(ctl, &b, path);
	bundle_add_json(&b, "bundle.json", json_incref(root));
	ctl->client.error[0] = '\0';
	r = bundle_close(&b);
	if (r < 0) {
		(void)log_error_errno(r, "Cannot write %s: %m", path);
		(void)unlink(path);
		json_decref(root);
		return CTL_REFUSED;
	}
	return output(ctl, root, print_summary);
}
