/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/output.h"
#include "base/fsio.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SURFACES "/var/lib/cofris/surfaces"

static int default_path(const char *gfx, uint32_t n_cus, const char *model, char **ret)
{
	const char *slash = strrchr(model, '/');
	char *path;

	if (asprintf(&path, "%s/%s-%ucu/%s.csv", SURFACES, gfx, n_cus, model) < 0)
		return -ENOMEM;
	if (make_parent_folders(path, 0755) == 0) {
		char *end = strrchr(path, '/');
		int writable;

		*end = '\0';
		writable = access(path, W_OK | X_OK);
		*end = '/';
		if (writable == 0) {
			*ret = path;
			return 0;
		}
	}
	free(path);
	log_info("%s cannot be written: the surface goes to the working folder", SURFACES);
	return asprintf(ret, "%s.csv", slash ? slash + 1 : model) < 0 ? -ENOMEM : 0;
}

int output_choose(struct output *o, const char *wanted, const char *gfx, uint32_t n_cus,
		  const char *model)
{
	struct stat st;
	int r = 0;

	if (!wanted)
		r = default_path(gfx, n_cus, model, &o->path);
	else if (!(o->path = strdup(wanted)))
		r = -ENOMEM;
	if (r == 0 && asprintf(&o->partial_path, "%s.partial", o->path) < 0) {
		o->partial_path = NULL;
		r = -ENOMEM;
	}
	if (r < 0)
		return log_error_errno(r, "Cannot name the surface: %m");
	if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode))
		return log_error_errno(S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				       "Cannot write %s: %m", o->path);
	/* Now rather than after the sweep; what an earlier one left is replaced by the first cell.
	 */
	o->partial = fopen(o->partial_path, "ae");
	if (!o->partial)
		return log_error_errno(-errno, "Cannot write %s: %m", o->partial_path);
	return 0;
}

static int keep(struct output *o, int r)
{
	if (r == 0 && fflush(o->partial) != 0)
		r = -errno;
	if (r == 0 && fdatasync(fileno(o->partial)) < 0 && errno != EINVAL)
		r = -errno;
	return r < 0 ? log_error_errno(r, "Cannot write %s: %m", o->partial_path) : 0;
}

int output_begin(struct output *o, const struct surface *s)
{
	if (ftruncate(fileno(o->partial), 0) < 0)
		return log_error_errno(-errno, "Cannot empty %s: %m", o->partial_path);
	return keep(o, surface_write_header(o->partial, s));
}

int output_cell(struct output *o, const struct surface_cell *c)
{
	int r = keep(o, surface_write_cell(o->partial, c));

	o->n_kept += r == 0;
	return r;
}

int output_finish(struct output *o, const struct surface *s)
{
	struct atomic_file f = ATOMIC_FILE_INIT;
	int r;

	r = atomic_file_open(&f, o->path, 0644);
	if (r == 0)
		r = surface_write(f.file, s);
	if (r == 0)
		r = atomic_file_commit(&f);
	atomic_file_deinit(&f);
	if (r < 0)
		return log_error_errno(r, "Cannot write %s: %m", o->path);
	(void)fclose(TAKE_PTR(o->partial));
	(void)unlink(o->partial_path);
	return 0;
}

void output_explain_loss(const struct output *o)
{
	if (!o->partial)
		return;
	if (o->n_kept > 0)
		log_error("The surface is not whole: %u measured cells are kept in %s; %s is as "
			  "it was",
			  o->n_kept, o->partial_path, o->path);
	else
		log_error("Nothing was measured; %s is as it was", o->path);
}

void output_deinit(struct output *o)
{
	struct stat st;

	if (o->partial) {
		if (fstat(fileno(o->partial), &st) == 0 && st.st_size == 0)
			(void)unlink(o->partial_path);
		(void)fclose(o->partial);
	}
	free(o->path);
	free(o->partial_path);
	*o = OUTPUT_INIT;
}
