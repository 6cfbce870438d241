/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine-model.h"
#include "base/log.h"
#include "base/parse.h"
#include "plant/profiles.h"
#include <errno.h>
#include <string.h>

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

	r = plant_profile_find(NULL, "models", model, &path);
	if (r == -EINVAL)
		return log_error_errno(r, "'%s' is not a model's name", model);
	if (r == -ENOENT)
		return log_error_errno(r,
				       "No model '%s' (models/%s.ini) in $COFRIS_PROFILES or %s; "
				       "--model also takes a file FOO.ini",
				       model, model, plant_profiles_installed());
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
