/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/hip-card.h"
#include "base/units.h"
#include "gpu/gpu-sysfs.h"
#include "sim/sim-card.h"
#include <errno.h>
#include <string.h>

#define CLOCK_AGE_NS (NSEC_PER_SEC / 10)

/* The kernel tells CUs of SEs as evenly split ones; with unknown harvest that is a guess, and a
 * mask is then only refused if no split could have it. */
static void set_topology(struct hip_card *c, const struct gpu_info *i)
{
	struct cu_topology t = {
		.n_se = i->n_se,
		.n_sh_per_se = i->n_sh_per_se,
		.n_xcc = i->n_xcc,
		.wgp_pairs = strncmp(i->gfx, "gfx1", 4) == 0, /* RDNA; gfx1nnn */
	};

	if (i->n_se > CU_MAX_SE || i->n_sh_per_se > CU_MAX_SH || i->n_sh_per_se == 0)
		return;
	for (uint32_t se = 0; se < i->n_se; se++)
		for (uint32_t sh = 0; sh < i->n_sh_per_se; sh++)
			t.active[se][sh] = (uint8_t)((i->active_cus[se] + sh) / i->n_sh_per_se);
	if (cu_topology_check(&t) < 0)
		return;
	c->topology = t;
	c->n_cus = cu_topology_cus(&t);
}

int hip_card_init(const char *bdf, struct hip_card *ret)
{
	struct hip_card *c = ret;
	struct gpu_info info;
	int r;

	*c = (struct hip_card){.simulated = getenv(SIM_ENV) != NULL};
	(void)snprintf(c->bdf, sizeof(c->bdf), "%s", bdf);
	(void)pthread_mutex_init(&c->lock, NULL);
	r = gpu_sysfs_new("/sys", bdf, &c->files);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (gpu_sysfs_info(c->files, &info) < 0)
		return 0;
	c->simulated = c->simulated || info.simulated;
	set_topology(c, &info);
	return 0;
}

void hip_card_deinit(struct hip_card *c)
{
	c->files = gpu_sysfs_free(c->files);
	(void)pthread_mutex_destroy(&c->lock);
}

uint32_t hip_card_sclk_mhz(struct hip_card *c, uint64_t now_ns)
{
	uint32_t mhz;
	uint64_t hz;

	(void)pthread_mutex_lock(&c->lock);
	if (c->files && now_ns - c->read_ns >= CLOCK_AGE_NS) {
		c->read_ns = now_ns;
		c->sclk_mhz = gpu_sysfs_number(c->files, GPU_FILE_FREQ, &hz) < 0
				      ? 0
				      : (uint32_t)(hz / 1000000);
	}
	mhz = c->sclk_mhz;
	(void)pthread_mutex_unlock(&c->lock);
	return mhz;
}
