/* SPDX-License-Identifier: Apache-2.0 */
/* Which cards there are, and their backends' objects. */
#include "actuator/core-internal.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

struct scan_card {
	char bdf[PCI_BDF_LENGTH + 1];
	uint64_t bind;
	bool known; /* open it only if not */
	struct gpu *gpu;
	struct gpu_info info;
	int error;
};

/* Given up, it stays behind with the thread that still writes to it. */
struct scan_job {
	const struct actuator_config *config;
	struct {
		char bdf[PCI_BDF_LENGTH + 1];
		uint64_t bind;
	} known[GPU_MAX_CARDS];
	uint32_t n_known;
	struct scan_card found[GPU_MAX_CARDS];
	int n_found;
};

struct card *core_find_card(struct actuator_core *c, const char *bdf)
{
	for (uint32_t i = 0; i < c->n_cards; i++)
		if (strncmp(c->cards[i].info.bdf, bdf, sizeof(c->cards[i].info.bdf)) == 0)
			return &c->cards[i];
	return NULL;
}

static void scan_open(const struct actuator_config *config, struct scan_card *s)
{
	s->error = gpu_open(config->backend, config->sysfs_root, s->bdf, &s->gpu);
	if (s->error < 0 && config->fallback)
		s->error = gpu_open(config->fallback, config->sysfs_root, s->bdf, &s->gpu);
	if (s->error < 0)
		return;
	s->error = s->gpu->ops->info(s->gpu, &s->info);
	if (s->error < 0)
		s->gpu = gpu_close(s->gpu);
}

static void scan_job_run(void *data)
{
	struct scan_job *j = data;
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];

	j->n_found = gpu_list(j->config->sysfs_root, bdf, GPU_MAX_CARDS);
	for (int i = 0; i < j->n_found; i++) {
		struct scan_card *s = &j->found[i];

		memcpy(s->bdf, bdf[i], sizeof(s->bdf));
		s->error = gpu_bind_identity(j->config->sysfs_root, s->bdf, &s->bind);
		for (uint32_t k = 0; k < j->n_known; k++)
			if (strcmp(j->known[k].bdf, s->bdf) == 0 && j->known[k].bind == s->bind)
				s->known = true;
		if (s->error == 0 && !s->known)
			scan_open(j->config, s);
	}
}

void core_drop_card(struct actuator_core *c, struct card *card)
{
	core_set_unmodified(card);
	gpu_close(card->gpu);
	gpu_close(card->writer);
	*card = c->cards[--c->n_cards];
	memset(&c->cards[c->n_cards], 0, sizeof(*card));
}

static void add_card(struct actuator_core *c, struct scan_card *s)
{
	struct gpu *writer;
	struct card *card;
	int r = -ENOSPC;

	if (c->n_cards < GPU_MAX_CARDS)
		r = gpu_open(c->config.writer, c->config.sysfs_root, s->bdf, &writer);
	if (r < 0) {
		log_error_errno(r, "%s: cannot be opened for restoring: %m", s->bdf);
		s->gpu = gpu_close(s->gpu);
		return;
	}
	card = &c->cards[c->n_cards++];
	*card = (struct card){.info = s->info,
			      .bind = s->bind,
			      .gpu = TAKE_PTR(s->gpu),
			      .writer = writer};
	log_info("%s: %s, %s, %u CUs, %u clock levels, through %s%s", s->bdf, s->info.name,
		 s->info.gfx, s->info.n_cus, s->info.n_levels, card->gpu->ops->name,
		 s->info.simulated ? ", simulated" : "");
}

static const struct scan_card *scan_find(const struct scan_job *j, const char *bdf)
{
	for (int i = 0; i < j->n_found; i++)
		if (strcmp(j->found[i].bdf, bdf) == 0)
			return &j->found[i];
	return NULL;
}

static int compare_cards(const void *a, const void *b)
{
	return strcmp(((const struct card *)a)->info.bdf, ((const struct card *)b)->info.bdf);
}

static void take_found(struct actuator_core *c, struct scan_job *j)
{
	for (uint32_t i = c->n_cards; i-- > 0;) {
		struct card *card = &c->cards[i];
		const struct scan_card *s = scan_find(j, card->info.bdf);

		if ((!s || !s->known) && card->connection == 0 && !card->modified)
			core_drop_card(c, card);
	}
	for (int i = 0; i < j->n_found; i++) {
		struct scan_card *s = &j->found[i];

		if (s->error < 0)
			log_warning("%s: left out: %s", s->bdf, strerror(-s->error));
		else if (s->gpu && !core_find_card(c, s->bdf))
			add_card(c, s);
		else if (s->gpu)
			s->gpu = gpu_close(s->gpu);
	}
	qsort(c->cards, c->n_cards, sizeof(c->cards[0]), compare_cards);
}

int core_scan(struct actuator_core *c)
{
	struct scan_job *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	j->config = &c->config;
	for (uint32_t i = 0; i < c->n_cards; i++) {
		memcpy(j->known[i].bdf, c->cards[i].info.bdf, sizeof(j->known[i].bdf));
		j->known[i].bind = c->cards[i].bind;
		j->n_known++;
	}
	/* Opening reads some ten files per card. */
	r = c->config.run(c->config.run_userdata, scan_job_run, j, c->config.deadline_ms * 10);
	if (r < 0) {
		log_error("No answer while looking for cards");
		c->abandoned = true;
		core_give_up(c, NULL, "no answer");
		return r;
	}
	take_found(c, j);
	r = MIN(j->n_found, 0);
	free(j);
	return r;
}
