/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fsio.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct content {
	const struct figures *figures;
	const json_t *object;
	json_t *const *others;
	size_t n_others;
};

static int write_html(const struct content *c, FILE *f)
{
	return report_html(c->figures, c->object, c->others, c->n_others, f);
}

static int write_csv(const struct content *c, FILE *f)
{
	int r = report_csv_rows(c->object, true, f);

	for (size_t i = 0; i < c->n_others && r == 0; i++)
		r = report_csv_rows(c->others[i], false, f);
	return r;
}

/* What --json prints. */
static int write_json(const struct content *c, FILE *f)
{
	int r = report_dump(c->object, f);

	for (size_t i = 0; i < c->n_others && r == 0; i++)
		r = report_dump(c->others[i], f);
	return r;
}

static const struct {
	const char *name;
	int (*write)(const struct content *c, FILE *f);
} files[] = {
	{"results.json", write_json},
	{"results.csv", write_csv},
	{"report.html", write_html},
};

static int write_file(const char *folder, size_t i, const struct content *c)
{
	struct atomic_file file = ATOMIC_FILE_INIT;
	_cleanup_(freep) char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s", folder, files[i].name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = atomic_file_open(&file, path, 0644);
	if (r == 0)
		r = files[i].write(c, file.file);
	if (r == 0)
		r = atomic_file_commit(&file);
	atomic_file_deinit(&file);
	return r;
}

int report_make_folder(const char *folder)
{
	int r = make_parent_folders(folder, 0755);

	if (r == 0 && mkdir(folder, 0755) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0 && access(folder, W_OK | X_OK) < 0)
		r = -errno;
	return r;
}

int report_write(const char *folder, const struct evaluation *e, const json_t *object,
		 json_t *const *others, size_t n_others)
{
	_cleanup_(figures_freep) struct figures *figures = NULL;
	struct content content = {.object = object, .others = others, .n_others = n_others};
	int r;

	r = report_make_folder(folder);
	if (r == 0)
		r = report_draw(e, object, others, n_others, &figures);
	content.figures = figures;
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		r = write_file(folder, i, &content);
	return r;
}
