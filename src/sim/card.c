/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/card.h"
#include "base/units.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <time.h>

#define STEP_NS	       (2 * NSEC_PER_MSEC)   /* device time between steps while something runs */
#define IDLE_WALL_NS   (200 * NSEC_PER_MSEC) /* wall time between steps of an idle card */
#define MEM_WINDOW_NS  (100 * NSEC_PER_MSEC) /* that memory's busy share is taken over */
#define MAX_MASK_LEVEL 31		     /* of a mask in the kernel's amdgpu_read_mask() */
#define UMD_LEVEL      3 /* VEGA20_UMD_PSTATE_GFXCLK_LEVEL, of the standard profile */

/* What a write of a performance level does to the soft ranges: nothing (the zero value), or all
 * the way open, or down to one level. */
enum range_change { KEEP, FULL, LOWEST, HIGHEST, STANDARD };

struct perf_level {
	const char *name;
	enum plant_perf_level plant;
	enum range_change sclk, mclk, others;
	bool profile;
	bool no_effect; /* taken, shown, and no more */
};

/* vega20_dpm_force_dpm_level(): the standard levels leave their range behind. */
static const struct perf_level perf_levels[] = {
	{"auto", PLANT_PERF_AUTO, FULL, FULL, FULL},
	{"low", PLANT_PERF_LOW, LOWEST, LOWEST, LOWEST},
	{"high", PLANT_PERF_HIGH, HIGHEST, HIGHEST, HIGHEST},
	{"manual", PLANT_PERF_MANUAL},
	{"profile_standard", PLANT_PERF_MANUAL, STANDARD, STANDARD, STANDARD, .profile = true},
	{"profile_min_sclk", PLANT_PERF_MANUAL, LOWEST, STANDARD, STANDARD, .profile = true},
	{"profile_min_mclk", PLANT_PERF_MANUAL, STANDARD, LOWEST, STANDARD, .profile = true},
	{"profile_peak", PLANT_PERF_MANUAL, HIGHEST, HIGHEST, HIGHEST, .profile = true},
	{"perf_determinism", .no_effect = true},
};
#define AUTO   (&perf_levels[0])
#define MANUAL (&perf_levels[3])

/* The fabric's clocks of a real MI50 (driver 5.18); the plant knows nothing of them. */
static const uint32_t socclk_mhz[] = {309, 523, 566, 618, 680, 755, 850, 971};
static const uint32_t fclk_mhz[] = {550, 610, 690, 760, 870, 960, 1080, 1278};
static const uint32_t dcefclk_mhz[] = {357, 453, 566, 680, 755, 850, 971, 1133};
static const uint32_t pcie_lclk_mhz[] = {619, 619};

struct levels {
	const uint32_t *mhz;
	uint32_t n;
};

struct card {
	uint32_t index;
	char bdf[PCI_BDF_LENGTH + 1];
	const struct plant_device *device;
	struct sim_machine *machine;
	struct sim_card *shared;
	struct levels levels[N_DOMAINS];

	pthread_t stepper;
	bool stepping;
	_Atomic bool stop;

	pthread_mutex_t lock; /* of everything below */
	struct plant_card *plant;
	struct sim_activity_cursor cursor;
	uint64_t stepped_ns, busy_ns;
	bool busy;

	/* what the clock's history says: now, and from when on what (UINT64_MAX: nothing) */
	uint32_t published_mhz, published_next_mhz;
	uint64_t published_next_ns;

	/* the driver */
	const struct perf_level *level, *level_in_force, *level_before_profile;
	struct card_range ranges[N_DOMAINS];
	uint64_t cap_uw;
	bool stuck;
	struct card_ras ras[N_RAS_BLOCKS];

	_Atomic bool unbound, removed; /* readable without the lock */
	_Atomic uint32_t binding;

	uint64_t mem_since_ns;
	double mem_bytes;
	uint32_t mem_busy_percent;
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t device_now(const struct card *c)
{
	return sim_device_ns(c->machine, monotonic_ns());
}

/* ---- stepping ---- */

static void publish_now(struct card *c, const struct plant_card_state *s)
{
	sim_card_set_clock(c->shared, s->now_ns, s->sclk_mhz);
	c->published_mhz = s->sclk_mhz;
	c->published_next_ns = UINT64_MAX;
}

/* Brings the clock's history up to the plant's state, with the switch to come if there is one. */
static void publish(struct card *c)
{
	struct plant_card_state s;
	bool taken_back;

	plant_card_get(c->plant, &s);
	if (c->published_next_ns <= s.now_ns) {
		c->published_mhz = c->published_next_mhz;
		c->published_next_ns = UINT64_MAX;
	}
	taken_back =
		c->published_next_ns != UINT64_MAX && (c->published_next_ns != s.sclk_next_ns ||
						       c->published_next_mhz != s.sclk_next_mhz);
	if (taken_back || c->published_mhz != s.sclk_mhz)
		publish_now(c, &s);
	if (s.sclk_next_ns == UINT64_MAX || s.sclk_next_mhz == s.sclk_mhz ||
	    c->published_next_ns != UINT64_MAX)
		return;
	sim_card_set_clock(c->shared, s.sclk_next_ns, s.sclk_next_mhz);
	c->published_next_ns = s.sclk_next_ns;
	c->published_next_mhz = s.sclk_next_mhz;
}

static void count_memory(struct card *c, double bytes)
{
	double ns = (double)(c->stepped_ns - c->mem_since_ns), share;

	c->mem_bytes += bytes;
	if (ns < (double)MEM_WINDOW_NS)
		return;
	share = c->mem_bytes / (c->device->memory_gbps * ns);
	c->mem_busy_percent = (uint32_t)(100 * MIN(share, 1.0) + 0.5);
	c->mem_bytes = 0;
	c->mem_since_ns = c->stepped_ns;
}

static void advance(struct card *c)
{
	uint64_t now_ns = device_now(c);

	while (c->stepped_ns < now_ns) {
		uint64_t from_ns = c->stepped_ns, to_ns = MIN(from_ns + STEP_NS, now_ns);
		struct plant_activity a;

		/* What ran before a switch must not be counted at the clock after it. */
		if (c->published_next_ns > from_ns)
			to_ns = MIN(to_ns, c->published_next_ns);
		sim_card_activity(c->shared, &c->cursor, from_ns, to_ns, &a);
		plant_card_step(c->plant, to_ns, &a);
		c->stepped_ns = to_ns;
		c->busy_ns += a.busy_ns;
		c->busy = a.busy_ns > 0;
		count_memory(c, a.bytes);
		publish(c);
	}
}

/* Whether the card must be stepped often: work or a switch of the clock is under way. */
static bool is_moving(const struct card *c)
{
	if (c->busy || c->published_next_ns != UINT64_MAX)
		return true;
	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		if (atomic_load_explicit(&c->shared->slots[i].running_until_ns,
					 memory_order_relaxed) > c->stepped_ns)
			return true;
	return false;
}

static void *step_card(void *userdata)
{
	struct card *c = userdata;

	while (!atomic_load(&c->stop)) {
		uint32_t epoch = atomic_load(&c->shared->epoch);
		uint64_t wall_ns = IDLE_WALL_NS;
		struct timespec t;
		bool moving;

		(void)pthread_mutex_lock(&c->lock);
		advance(c);
		moving = is_moving(c);
		(void)pthread_mutex_unlock(&c->lock);
		if (moving)
			wall_ns = MAX((uint64_t)(STEP_NS * c->machine->time_scale), NSEC_PER_MSEC);
		t = (struct timespec){.tv_sec = (time_t)(wall_ns / NSEC_PER_SEC),
				      .tv_nsec = (long)(wall_ns % NSEC_PER_SEC)};
		/* A card that moves is stepped at its own pace, however often work begins and
		 * ends; an idle one as soon as work begins. */
		if (moving)
			(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
		else
			(void)syscall(SYS_futex, &c->shared->epoch, FUTEX_WAIT, epoch, &t, NULL, 0);
	}
	return NULL;
}

/* ---- settings ---- */

static void set_range(struct card *c, enum card_domain domain, enum range_change change)
{
	uint32_t top = c->levels[domain].n - 1, standard = MIN(top, UMD_LEVEL + 0u);
	const struct card_range ranges[] = {
		[KEEP] = c->ranges[domain],
		[FULL] = {0, top},
		[LOWEST] = {0, 0},
		[HIGHEST] = {top, top},
		[STANDARD] = {standard, standard},
	};

	c->ranges[domain] = ranges[change];
}

/* Gives the settings to the plant. */
static void apply(struct card *c)
{
	enum plant_perf_level level = c->stuck ? PLANT_PERF_AUTO : c->level_in_force->plant;

	plant_card_set_perf_level(c->plant, level);
	if (level == PLANT_PERF_MANUAL)
		plant_card_set_range(c->plant, c->ranges[DOMAIN_SCLK].low,
				     c->ranges[DOMAIN_SCLK].high);
	publish(c);
}

static void set_level(struct card *c, const struct perf_level *level)
{
	if (level->profile && !c->level->profile)
		c->level_before_profile = c->level;
	c->level = level;
	if (level->no_effect)
		return;
	c->level_in_force = level;
	for (enum card_domain d = 0; d < N_DOMAINS; d++)
		set_range(c, d,
			  d == DOMAIN_SCLK   ? level->sclk
			  : d == DOMAIN_MCLK ? level->mclk
					     : level->others);
	apply(c);
}

/* The kernel compares beginnings: "autofoo" is auto. */
static const struct perf_level *parse_perf_level(const struct card *c, const char *text)
{
	static const char exit_profile[] = "profile_exit";

	for (size_t i = 0; i < ARRAY_SIZE(perf_levels); i++)
		if (strncmp(text, perf_levels[i].name, strlen(perf_levels[i].name)) == 0)
			return &perf_levels[i];
	if (strncmp(text, exit_profile, strlen(exit_profile)) == 0 && c->level->profile)
		return c->level_before_profile;
	return NULL;
}

int card_write_perf_level(struct card *c, const char *text)
{
	const struct perf_level *level;
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	advance(c);
	level = parse_perf_level(c, text);
	if (!level)
		r = -EINVAL;
	else if (level != c->level)
		set_level(c, level);
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

/* As the kernel's kstrtoul(): one optional newline behind the digits, any of C's bases. */
static int parse_kernel_ulong(const char *text, int base, unsigned long max, unsigned long *ret)
{
	const char *digits = text + (*text == '+');
	unsigned long value;
	char *end;

	if (*digits < '0' || *digits > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(digits, &end, base);
	if (*end == '\n')
		end++;
	if (*end)
		return -EINVAL;
	if (errno == ERANGE || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

/* amdgpu_read_mask(): levels separated by single blanks or newlines; the first empty field ends
 * the list. */
static int parse_mask(const char *text, uint32_t *ret)
{
	char copy[32 * 13 + 1], *rest = copy, *field;
	uint32_t mask = 0;
	unsigned long level;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	while ((field = strsep(&rest, " \n")) && *field) {
		if (parse_kernel_ulong(field, 0, MAX_MASK_LEVEL, &level) < 0)
			return -EINVAL;
		mask |= UINT32_C(1) << level;
	}
	*ret = mask;
	return 0;
}

int card_write_mask(struct card *c, enum card_domain domain, const char *text)
{
	struct card_range range = {0, 0};
	uint32_t mask;
	int r;

	r = parse_mask(text, &mask);
	if (r < 0)
		return r;
	/* Only the lowest and the highest bit count; an empty mask is the lowest level. */
	if (mask)
		range = (struct card_range){(uint32_t)ffs((int)mask) - 1,
					    31 - (uint32_t)__builtin_clz(mask)};
	(void)pthread_mutex_lock(&c->lock);
	advance(c);
	if (c->level != MANUAL || range.high >= c->levels[domain].n) {
		r = -EINVAL;
	} else {
		c->ranges[domain] = range;
		apply(c);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

int card_write_cap(struct card *c, const char *text)
{
	uint64_t default_w = (uint64_t)c->device->cap_w, max_w = (uint64_t)c->device->cap_max_w;
	unsigned long uw;
	uint64_t w;
	int r;

	r = parse_kernel_ulong(text, 10, UINT32_MAX, &uw);
	if (r < 0)
		return r;
	/* Whole watts; 0 W is the default. There is no lower limit on Vega20. */
	w = uw / UW_PER_W;
	if (w == 0)
		w = default_w;
	if (w > max_w)
		return -EINVAL;
	(void)pthread_mutex_lock(&c->lock);
	advance(c);
	c->cap_uw = w * UW_PER_W;
	plant_card_set_cap_uw(c->plant, c->cap_uw);
	publish(c);
	(void)pthread_mutex_unlock(&c->lock);
	return 0;
}

void card_set_stuck(struct card *c, bool stuck)
{
	(void)pthread_mutex_lock(&c->lock);
	advance(c);
	c->stuck = stuck;
	apply(c);
	(void)pthread_mutex_unlock(&c->lock);
}

int card_set_foreign_manual(struct card *c, uint32_t low, uint32_t high)
{
	if (low > high || high >= c->levels[DOMAIN_SCLK].n)
		return -EINVAL;
	(void)pthread_mutex_lock(&c->lock);
	advance(c);
	c->level = c->level_in_force = MANUAL;
	c->ranges[DOMAIN_SCLK] = (struct card_range){low, high};
	apply(c);
	(void)pthread_mutex_unlock(&c->lock);
	return 0;
}

/* As after binding. The lock is held. */
static void set_fresh(struct card *c)
{
	advance(c);
	c->level = c->level_in_force = c->level_before_profile = AUTO;
	for (enum card_domain d = 0; d < N_DOMAINS; d++)
		set_range(c, d, FULL);
	c->cap_uw = (uint64_t)c->device->cap_w * UW_PER_W;
	plant_card_set_cap_uw(c->plant, c->cap_uw);
	apply(c);
}

void card_reset(struct card *c)
{
	(void)pthread_mutex_lock(&c->lock);
	set_fresh(c);
	(void)pthread_mutex_unlock(&c->lock);
}

void card_rebind(struct card *c)
{
	(void)pthread_mutex_lock(&c->lock);
	set_fresh(c);
	(void)memset(c->ras, 0, sizeof(c->ras));
	(void)atomic_fetch_add(&c->binding, 1);
	(void)pthread_mutex_unlock(&c->lock);
}

void card_set_unbound(struct card *c, bool unbound)
{
	atomic_store(&c->unbound, unbound);
	card_rebind(c);
}

void card_set_removed(struct card *c, bool removed)
{
	atomic_store(&c->removed, removed);
	card_rebind(c);
}

bool card_is_removed(const struct card *c)
{
	return atomic_load(&c->removed);
}

bool card_is_bound(const struct card *c)
{
	return !atomic_load(&c->unbound) && !card_is_removed(c);
}

uint32_t card_binding(const struct card *c)
{
	return atomic_load(&c->binding);
}

const char *const card_ras_names[] = {
	[RAS_GFX] = "gfx",
	[RAS_MMHUB] = "mmhub",
	[RAS_SDMA] = "sdma",
	[RAS_UMC] = "umc",
};

void card_add_ras(struct card *c, enum card_ras_block block, const struct card_ras *more)
{
	(void)pthread_mutex_lock(&c->lock);
	c->ras[block].uncorrectable += more->uncorrectable;
	c->ras[block].correctable += more->correctable;
	(void)pthread_mutex_unlock(&c->lock);
}

struct card_ras card_get_ras(struct card *c, enum card_ras_block block)
{
	struct card_ras ras;

	(void)pthread_mutex_lock(&c->lock);
	ras = c->ras[block];
	(void)pthread_mutex_unlock(&c->lock);
	return ras;
}

void card_raise_gpu_fault(struct card *c, uint64_t address)
{
	sim_card_raise_gpu_fault(c->machine, c->shared, address);
}

/* ---- state ---- */

const char *card_bdf(const struct card *c)
{
	return c->bdf;
}

uint32_t card_index(const struct card *c)
{
	return c->index;
}

const struct plant_device *card_device(const struct card *c)
{
	return c->device;
}

struct sim_card *card_shared(const struct card *c)
{
	return c->shared;
}

const uint32_t *card_levels(const struct card *c, enum card_domain domain, uint32_t *ret_n)
{
	*ret_n = c->levels[domain].n;
	return c->levels[domain].mhz;
}

void card_format_bdf(uint32_t index, char ret[PCI_BDF_LENGTH + 1])
{
	/* 43, 63, 83 .. e3, 03, 23 */
	(void)snprintf(ret, PCI_BDF_LENGTH + 1, "0000:%02x:00.0", (0x43 + 0x20 * index) & 0xff);
}

void card_view(struct card *c, struct card_view *ret)
{
	(void)pthread_mutex_lock(&c->lock);
	advance(c);
	*ret = (struct card_view){
		.device_ns = c->stepped_ns,
		.perf_level = c->level->name,
		.cap_uw = c->cap_uw,
		.busy_s = (double)c->busy_ns / NSEC_PER_SEC,
		.busy = c->busy,
		.mem_busy_percent = c->mem_busy_percent,
	};
	memcpy(ret->ranges, c->ranges, sizeof(ret->ranges));
	plant_card_get(c->plant, &ret->plant);
	ret->current_mhz[DOMAIN_SCLK] = ret->plant.sclk_mhz;
	/* Memory and fabric go to the ends of their ranges with the load. */
	for (enum card_domain d = DOMAIN_SCLK + 1; d < N_DOMAINS; d++)
		ret->current_mhz[d] =
			c->levels[d].mhz[c->busy ? c->ranges[d].high : c->ranges[d].low];
	(void)pthread_mutex_unlock(&c->lock);
}

static void fill_shared(struct card *c, const struct plant_card_options *o)
{
	struct plant_card_state s;

	(void)snprintf(c->shared->bdf, sizeof(c->shared->bdf), "%s", c->bdf);
	c->shared->gating = o->gating;
	c->shared->n_cus = cu_topology_cus(&c->device->topology);
	c->shared->time_factor = o->time_factor;
	plant_card_get(c->plant, &s);
	publish_now(c, &s);
}

int card_new(const struct card_options *o, struct card **ret)
{
	_cleanup_(card_freep) struct card *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->index = o->index;
	if (o->bdf)
		(void)snprintf(c->bdf, sizeof(c->bdf), "%s", o->bdf);
	else
		card_format_bdf(o->index, c->bdf);
	c->device = o->device;
	c->machine = o->machine;
	c->shared = &o->machine->cards[o->index];
	c->levels[DOMAIN_SCLK] = (struct levels){c->device->level_mhz, c->device->n_levels};
	c->levels[DOMAIN_MCLK] = (struct levels){c->device->mclk_mhz, c->device->n_mclk};
	c->levels[DOMAIN_SOCCLK] = (struct levels){socclk_mhz, ARRAY_SIZE(socclk_mhz)};
	c->levels[DOMAIN_FCLK] = (struct levels){fclk_mhz, ARRAY_SIZE(fclk_mhz)};
	c->levels[DOMAIN_DCEFCLK] = (struct levels){dcefclk_mhz, ARRAY_SIZE(dcefclk_mhz)};
	c->levels[DOMAIN_PCIE] = (struct levels){pcie_lclk_mhz, ARRAY_SIZE(pcie_lclk_mhz)};
	(void)pthread_mutex_init(&c->lock, NULL);
	c->stepped_ns = device_now(c);
	r = plant_card_new(c->device, &o->plant, c->stepped_ns, &c->plant);
	if (r < 0)
		return r;
	c->level = c->level_in_force = c->level_before_profile = AUTO;
	for (enum card_domain d = 0; d < N_DOMAINS; d++)
		set_range(c, d, FULL);
	c->cap_uw = (uint64_t)c->device->cap_w * UW_PER_W;
	fill_shared(c, &o->plant);
	r = -pthread_create(&c->stepper, NULL, step_card, c);
	if (r < 0)
		return r;
	c->stepping = true;
	*ret = TAKE_PTR(c);
	return 0;
}

struct card *card_free(struct card *c)
{
	if (!c)
		return NULL;
	if (c->stepping) {
		atomic_store(&c->stop, true);
		(void)atomic_fetch_add(&c->shared->epoch, 1);
		(void)syscall(SYS_futex, &c->shared->epoch, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
		(void)pthread_join(c->stepper, NULL);
	}
	(void)plant_card_free(c->plant);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}
