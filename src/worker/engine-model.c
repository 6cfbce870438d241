/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine-model.h"
#include "base/log.h"
#include "base/parse.h"
#include <errno.h>
#include <string.h>

/* The path of a model's file: itself if it is one, else the first folder that has it. */
static int find_model(const char *model, char **ret)
{
	const char *folders[] = {getenv("COFRIS_PROFILES"), COFRIS_PROFILES_SOURCE,
				 COFRIS_PROFILES_INSTALLED};
	size_t n = strlen(model);

	if (n > 4 && strcmp(model + n - 4, ".ini") == 0) {
		*ret = strdup(model);
		return *ret ? 0 : -ENOMEM;
	}
	if (!model_name_is_valid(model))
		return log_error_errno(-EINVAL, "'%s' is not a model's name", model);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_(freep) char *path = NULL;

		if (!folders[i])
			continue;
		if (asprintf(&path, "%s/models/%s.ini", folders[i], model) < 0)
			return -ENOMEM;
		if (access(path, R_OK) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	return log_error_errno(-ENOENT,
			       "No model '%s' (models/%s.ini) in $COFRIS_PROFILES or %s; --model "
			       "also takes a file FOO.ini",
			       model, model, COFRIS_PROFILES_INSTALLED);
}

/* One-wave kernels with nothing to do: what the card draws while it is busy with them is its
 * active-idle power. */
static void make_idle_kernels(struct plant_model *m)
{
	m->n_kernels = 1;
	m->kernels[0] = (struct plant_kernel){
		.name = "empty",
		.count = ENGINE_IDLE_KERNELS,
		.workgroups = 1,
		.flop = 64,
		.bytes = 64,
	};
}

int engine_model_load(const char *model, bool idle_kernels, struct plant_model **ret)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(freep) struct plant_model *m = NULL;
	struct ini_error error;
	int r;

	r = find_model(model, &path);
	if (r < 0)
		return r;
	r = plant_model_load(path, &m, &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	if (!model_name_is_valid(m->name))
		return log_error_errno(-EINVAL, "%s: '%s' is not a model's name", path, m->name);
	if (idle_kernels)
		make_idle_kernels(m);
	*ret = TAKE_PTR(m);
	return 0;
}
