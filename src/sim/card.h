/* SPDX-License-Identifier: Apache-2.0 */
/* One simulated card as its driver runs it: the plant, stepped from what the shared machine says
 * was run, and the driver's settings with the rules of the kernel's Vega20 code. Some of those
 * settings (soft clock ranges) are shown by no file. */
#pragma once

#include "base/macros.h"
#include "base/parse.h"
#include "plant/plant.h"
#include "sim/sim-card.h"
#include <stdbool.h>
#include <stdint.h>

/* The clocks that take a mask of levels. */
enum card_domain {
	DOMAIN_SCLK,
	DOMAIN_MCLK,
	DOMAIN_SOCCLK,
	DOMAIN_FCLK,
	DOMAIN_DCEFCLK,
	DOMAIN_PCIE,
	N_DOMAINS,
};

struct card_range {
	uint32_t low, high;
};

struct card;

struct card_options {
	uint32_t index;
	const char *bdf;		   /* NULL: by the index */
	const struct plant_device *device; /* must outlive the card */
	struct sim_machine *machine;
	struct plant_card_options plant;
};

/* Fills the machine's entry for the card, publishes its clock and starts the thread that steps it.
 */
int card_new(const struct card_options *o, struct card **ret);
struct card *card_free(struct card *c);
DEFINE_CLEANUP(struct card *, card_free)

/* Fixed for a card's life. */
const char *card_bdf(const struct card *c);
uint32_t card_index(const struct card *c);
const struct plant_device *card_device(const struct card *c);
struct sim_card *card_shared(const struct card *c);
/* Levels of a domain, ascending. */
const uint32_t *card_levels(const struct card *c, enum card_domain domain, uint32_t *ret_n);
/* The address of the card with this index. */
void card_format_bdf(uint32_t index, char ret[PCI_BDF_LENGTH + 1]);

/* The state now: steps the card up to the present first. */
struct card_view {
	uint64_t device_ns;
	struct plant_card_state plant;
	const char *perf_level; /* as the file shows it */
	struct card_range ranges[N_DOMAINS];
	uint32_t current_mhz[N_DOMAINS]; /* exact; sclk may lie between levels */
	uint64_t cap_uw;
	double busy_s; /* time with work since the start */
	bool busy;     /* with work in the last step */
	uint32_t mem_busy_percent;
};
void card_view(struct card *c, struct card_view *ret);

/* Writes as the driver takes them; 0 or the negative errno that the kernel gives. */
int card_write_perf_level(struct card *c, const char *text);
int card_write_mask(struct card *c, enum card_domain domain, const char *text);
int card_write_cap(struct card *c, const char *text);

/* Whether the card's driver shows its files: it is on the bus and bound. Each time it comes back,
 * or is bound anew, the binding has another number, and the driver's settings are those of a fresh
 * one.
 */
bool card_is_bound(const struct card *c);
bool card_is_removed(const struct card *c);
uint32_t card_binding(const struct card *c);
void card_set_unbound(struct card *c, bool unbound);
void card_set_removed(struct card *c, bool removed);
void card_rebind(struct card *c);
/* The driver recovers the card: its settings are as after binding, its files stay. */
void card_reset(struct card *c);

/* Blocks that count memory errors, in the order of their names. */
enum card_ras_block { RAS_GFX, RAS_MMHUB, RAS_SDMA, RAS_UMC, N_RAS_BLOCKS };
extern const char *const card_ras_names[N_RAS_BLOCKS];
struct card_ras {
	uint64_t uncorrectable, correctable;
};
void card_add_ras(struct card *c, enum card_ras_block block, const struct card_ras *more);
struct card_ras card_get_ras(struct card *c, enum card_ras_block block);

/* Faults. While stuck the clock follows none of the settings, which are kept and act afterwards. */
void card_set_stuck(struct card *c, bool stuck);
/* As another program would have left it: manual, with this soft range of sclk. -EINVAL for levels
 * that the card does not have. */
int card_set_foreign_manual(struct card *c, uint32_t low, uint32_t high);
/* A page fault of every process that has queues on the card. */
void card_raise_gpu_fault(struct card *c, uint64_t address);
