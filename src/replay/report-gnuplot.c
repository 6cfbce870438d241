/* SPDX-License-Identifier: Apache-2.0 */
/* Runs gnuplot once, in a private folder, and takes what it has drawn. */
#include "base/fsio.h"
#include "replay/report-internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define SVG_MAX_BYTES ((size_t)32 << 20)

static const char program[] = "gnuplot";

bool report_has_gnuplot(void)
{
	const char *path = getenv("PATH");
	_cleanup_(freep) char *copy = strdup(path ? path : "/usr/bin:/bin");
	char *rest = copy, *folder;

	while ((folder = strsep(&rest, ":"))) {
		_cleanup_(freep) char *file = NULL;

		if (asprintf(&file, "%s/%s", *folder ? folder : ".", program) < 0) {
			file = NULL;
			return false;
		}
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

/* ---- the folder ---- */

struct workshop {
	char path[PATH_MAX];
	DIR *folder;
};

static int workshop_open(struct workshop *w)
{
	const char *parent = getenv("TMPDIR");
	int n = snprintf(w->path, sizeof(w->path), "%s/cofris-report-XXXXXX",
			 parent && *parent ? parent : "/tmp");

	if (n < 0 || (size_t)n >= sizeof(w->path))
		return -ENAMETOOLONG;
	if (!mkdtemp(w->path))
		return -errno;
	w->folder = opendir(w->path);
	if (!w->folder) {
		int r = -errno;

		(void)rmdir(w->path);
		return r;
	}
	return 0;
}

static void workshop_close(struct workshop *w)
{
	const struct dirent *entry;

	if (!w->folder)
		return;
	rewinddir(w->folder);
	while ((entry = readdir(w->folder)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(w->folder), entry->d_name, 0);
	(void)closedir(w->folder);
	(void)rmdir(w->path);
}

static int workshop_create(struct workshop *w, const char *name, FILE **ret)
{
	int fd = openat(dirfd(w->folder), name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	*ret = fdopen(fd, "w");
	if (!*ret) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return 0;
}

static int workshop_read(struct workshop *w, const char *name, char **ret)
{
	size_t size = (size_t)64 << 10;
	ssize_t n;

	do {
		_cleanup_(freep) char *text = malloc(size);

		if (!text)
			return -ENOMEM;
		n = read_text_at(dirfd(w->folder), name, text, size);
		if (n >= 0)
			*ret = TAKE_PTR(text);
		size *= 4;
	} while (n == -EFBIG && size <= SVG_MAX_BYTES);
	return n < 0 ? (int)n : 0;
}

/* ---- the program ---- */

static int spawn(const char *folder, pid_t *ret)
{
	/* -d: no start-up file of the user's has a say in what a report looks like. */
	char *const argv[] = {(char *)program, (char *)"-d", (char *)"script", NULL};
	posix_spawn_file_actions_t actions;
	int r;

	r = posix_spawn_file_actions_init(&actions);
	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_addchdir_np(&actions, folder);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY,
						     0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY,
						     0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "errors",
						     O_WRONLY | O_CREAT, 0600);
	if (r == 0)
		r = posix_spawnp(ret, program, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int run(struct workshop *w)
{
	_cleanup_(freep) char *errors = NULL;
	int status, r;
	pid_t pid;

	r = spawn(w->path, &pid);
	if (r < 0)
		return r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (workshop_read(w, "errors", &errors) == 0)
		(void)fputs(errors, stderr);
	return -EPROTO;
}

/* ---- what it has drawn ---- */

static bool skip_element(const char **text, const char *begin, const char *end)
{
	const char *found;

	if (strncmp(*text, begin, strlen(begin)) != 0)
		return false;
	found = strstr(*text, end);
	if (!found)
		return false;
	*text = found + strlen(end);
	return true;
}

/* The <svg> element alone, without the titles that browsers show as tips, its ids made unique among
 * all figures of a page. */
static int take_svg(const char *text, uint32_t number, char **ret)
{
	static const char *const references[] = {"id='", "id=\"", "xlink:href='#", "url(#"};
	_cleanup_(freep) char *svg = NULL;
	size_t size;
	FILE *out;

	text = strstr(text, "<svg");
	if (!text || !strstr(text, "</svg>"))
		return -EPROTO;
	out = open_memstream(&svg, &size);
	if (!out)
		return -ENOMEM;
	while (*text) {
		size_t i;

		if (skip_element(&text, "<title>", "</title>") ||
		    skip_element(&text, "<desc>", "</desc>"))
			continue;
		for (i = 0; i < ARRAY_SIZE(references); i++)
			if (strncmp(text, references[i], strlen(references[i])) == 0)
				break;
		if (i < ARRAY_SIZE(references)) {
			(void)fprintf(out, "%sf%u-", references[i], number);
			text += strlen(references[i]);
			continue;
		}
		(void)fputc(*text++, out);
	}
	if (fclose(out) != 0)
		return -ENOMEM;
	*ret = TAKE_PTR(svg);
	return 0;
}

static int collect(struct workshop *w, struct figures *figures)
{
	int r = 0;

	for (uint32_t i = 0; i < figures->n && r == 0; i++) {
		_cleanup_(freep) char *text = NULL;
		char name[32];

		(void)snprintf(name, sizeof(name), "%u.svg", i);
		r = workshop_read(w, name, &text);
		if (r == 0)
			r = take_svg(text, i, &figures->all[i].svg);
	}
	return r;
}

struct figures *figures_free(struct figures *f)
{
	if (!f)
		return NULL;
	for (uint32_t i = 0; i < f->n; i++) {
		free(f->all[i].svg);
		free(f->all[i].caption);
		free(f->all[i].section);
		free(f->all[i].model);
	}
	free(f->all);
	free(f);
	return NULL;
}

static int write_script(struct workshop *w, struct plot_script *script)
{
	int r;

	r = workshop_create(w, "script", &script->out);
	if (r < 0)
		return r;
	r = report_script(script);
	if (fclose(script->out) != 0 && r == 0)
		r = -errno;
	return r;
}

int report_draw(const struct evaluation *e, const json_t *object, json_t *const *others,
		size_t n_others, struct figures **ret)
{
	_cleanup_(figures_freep) struct figures *figures = calloc(1, sizeof(*figures));
	struct plot_script script = {
		.figures = figures,
		.evaluation = e,
		.object = object,
		.others = others,
		.n_others = n_others,
	};
	_cleanup_(workshop_close) struct workshop w = {.folder = NULL};
	int r;

	if (!figures)
		return -ENOMEM;
	r = workshop_open(&w);
	if (r < 0)
		return r;
	r = write_script(&w, &script);
	if (r == 0)
		r = run(&w);
	if (r == 0)
		r = collect(&w, figures);
	if (r == 0)
		*ret = TAKE_PTR(figures);
	return r;
}
