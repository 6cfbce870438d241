/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/profiles.h"
#include "base/parse.h"
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <string.h>

#define SUFFIX	  ".ini"
#define N_FOLDERS 4

static void get_folders(const char *first, const char *ret[N_FOLDERS])
{
	ret[0] = first;
	ret[1] = getenv("COFRIS_PROFILES");
	ret[2] = COFRIS_PROFILES_SOURCE;
	ret[3] = COFRIS_PROFILES_INSTALLED;
}

static bool is_path(const char *name)
{
	size_t n = strlen(name);

	return name[0] == '/' || name[0] == '.' ||
	       (n > strlen(SUFFIX) && strcmp(name + n - strlen(SUFFIX), SUFFIX) == 0);
}

int plant_profile_file(const char *first, const char *file, char **ret)
{
	const char *folders[N_FOLDERS];

	get_folders(first, folders);
	for (size_t i = 0; i < N_FOLDERS; i++) {
		_cleanup_(freep) char *path = NULL;

		if (!folders[i])
			continue;
		if (asprintf(&path, "%s/%s", folders[i], file) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		if (access(path, R_OK) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	return -ENOENT;
}

int plant_profile_find(const char *first, const char *kind, const char *name, char **ret)
{
	_cleanup_(freep) char *file = NULL;

	if (is_path(name)) {
		char *copy = strdup(name);

		if (copy)
			*ret = copy;
		return copy ? 0 : -ENOMEM;
	}
	if (!model_name_is_valid(name))
		return -EINVAL;
	if (asprintf(&file, "%s/%s" SUFFIX, kind, name) < 0) {
		file = NULL;
		return -ENOMEM;
	}
	return plant_profile_file(first, file, ret);
}

char **plant_profile_names_free(char **names)
{
	for (char **p = names; p && *p; p++)
		free(*p);
	free(names);
	return NULL;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends the files of one folder to what g holds. */
static int add_folder(const char *folder, const char *kind, glob_t *g)
{
	_cleanup_(freep) char *pattern = NULL;
	int r;

	if (asprintf(&pattern, "%s/%s/*" SUFFIX, folder, kind) < 0) {
		pattern = NULL;
		return -ENOMEM;
	}
	r = glob(pattern, g->gl_pathv ? GLOB_APPEND : 0, NULL, g);
	return r == GLOB_NOSPACE ? -ENOMEM : 0;
}

static int take_names(const glob_t *g, char ***ret, unsigned int *ret_n)
{
	_cleanup_(plant_profile_names_freep) char **names = calloc(g->gl_pathc + 1, sizeof(*names));
	unsigned int n = 0, kept = 0;

	if (!names)
		return -ENOMEM;
	for (; n < g->gl_pathc; n++) {
		const char *slash = strrchr(g->gl_pathv[n], '/');
		const char *file = slash ? slash + 1 : g->gl_pathv[n];

		names[n] = strndup(file, strlen(file) - strlen(SUFFIX));
		if (!names[n])
			return -ENOMEM;
	}
	qsort(names, n, sizeof(*names), compare_names);
	for (unsigned int i = 0; i < n; i++) {
		char *name = TAKE_PTR(names[i]);

		if (kept > 0 && strcmp(names[kept - 1], name) == 0)
			free(name);
		else
			names[kept++] = name;
	}
	*ret = TAKE_PTR(names);
	*ret_n = kept;
	return 0;
}

int plant_profile_names(const char *kind, char ***ret, unsigned int *ret_n)
{
	const char *folders[N_FOLDERS];
	glob_t g = {0};
	int r = 0;

	get_folders(NULL, folders);
	for (size_t i = 0; i < N_FOLDERS && r == 0; i++)
		if (folders[i])
			r = add_folder(folders[i], kind, &g);
	if (r == 0)
		r = take_names(&g, ret, ret_n);
	globfree(&g);
	return r;
}

const char *plant_profiles_installed(void)
{
	return COFRIS_PROFILES_INSTALLED;
}
