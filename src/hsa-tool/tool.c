/* SPDX-License-Identifier: Apache-2.0 */
/* libcofris-hsa.so: makes a process that knows nothing of cofris follow the daemon's CU masks.
 *
 * ROCr loads the library (HSA_TOOLS_LIB) and calls OnLoad() with its table of functions, in which
 * the tool puts itself before creating, destroying and masking queues. For each card on which the
 * process makes a queue there is a channel of its own, whose background thread sets the directive's
 * mask on the card's queues; nothing happens on the threads that submit work. The channel counts no
 * requests: the server reports those itself, or another program does it for it.
 *
 * Whatever is not as expected leaves the process as it would be without the tool, with one line on
 * stderr. The library is never unloaded (-z nodelete), as other tools may keep pointers to it. */
#include "hsa-tool/card.h"
#include "libcofris/internal.h"
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT	  __attribute__((visibility("default")))
#define FILE_NAME "libcofris-hsa.so"
/* An accelerator in partitions shows many agents. */
#define MAX_CARDS    128
#define MAX_SLOTS    1024
#define EXIT_WAIT_MS 2000

/* ROCr 5.3 and later also takes a library that was loaded otherwise (LD_PRELOAD) for a tool if it
 * has this. Higher is later, so that a profiler sees the calls first. */
extern const uint32_t HSA_AMD_TOOL_PRIORITY;
EXPORT const uint32_t HSA_AMD_TOOL_PRIORITY = 100;
bool OnLoad(void *table, uint64_t runtime_version, uint64_t n_failed, const char *const *failed);
void OnUnload(void);

enum state {
	PASSIVE,  /* all calls go straight through */
	ACTIVE,	  /* from OnLoad() to OnUnload() or exit() */
	ELSEWHERE /* a forked child of an active process: it has neither threads nor a card */
};

static struct {
	_Atomic enum state state;
	_Atomic uint32_t applying; /* callbacks inside, for exit() */
	pthread_mutex_t lock;	   /* of opened and channel of all cards */
	/* The environment as it was at loading: the process may change it. Room for names that are
	 * too long, which cofris_open() refuses. */
	char model[64], instance[64];
	uint32_t slots;
	uint32_t n_cards;
	struct card cards[MAX_CARDS];

	/* The functions of the table before us; kept for ever. */
	hsa_iterate_agents_fn iterate_agents;
	hsa_agent_get_info_fn get_info;
	hsa_queue_create_fn create;
	hsa_queue_destroy_fn destroy;
	hsa_queue_set_mask_fn set_mask;
} tool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void say(const char *what)
{
	fprintf(stderr, FILE_NAME ": %s\n", what);
}

/* Sequentially consistent: see apply() and leave_quietly(). */
static bool active(void)
{
	return atomic_load(&tool.state) == ACTIVE;
}

/* --- following ------------------------------------------------------------------------------ */

/* On the card's channel's thread. */
static int apply(void *userdata, const struct cofris_directive *directive)
{
	int r = -ESHUTDOWN;

	atomic_fetch_add(&tool.applying, 1);
	if (active())
		r = card_follow(userdata, directive, tool.set_mask);
	atomic_fetch_sub(&tool.applying, 1);
	return r;
}

/* With the card's first queue: a process is a worker on the cards that it uses, not on all that it
 * can see. */
static void open_channel(struct card *c)
{
	const struct cofris_options o = {
		.size = sizeof(o),
		.model = tool.model,
		.instance = tool.instance[0] != '\0' ? tool.instance : NULL,
		.devices = &c->device,
		.n_devices = 1,
		.follows = COFRIS_FOLLOWS_CU_MASK,
		.reports = COFRIS_REPORTS_NO_REQUESTS,
		.slots = tool.slots,
		.apply = apply,
		.userdata = c,
	};
	int r;

	(void)pthread_mutex_lock(&tool.lock);
	if (!c->opened) {
		c->opened = true;
		r = cofris_open(&o, &c->channel);
		if (r < 0) {
			c->channel = NULL;
			fprintf(stderr, FILE_NAME ": card %s: no masks are followed: %s\n",
				c->device.bdf, strerror(-r));
		} else {
			/* The daemon's log may be out of its user's sight. */
			channel_say_refusal(c->channel, FILE_NAME ": no masks are followed");
		}
	}
	(void)pthread_mutex_unlock(&tool.lock);
}

static struct card *find_card(struct hsa_agent agent)
{
	for (uint32_t i = 0; i < tool.n_cards; i++)
		if (tool.cards[i].agent.handle == agent.handle)
			return &tool.cards[i];
	return NULL;
}

/* --- in the table --------------------------------------------------------------------------- */

/* Cooperative kernels can hang on a partial mask. */
static bool may_be_masked(uint32_t type)
{
	return type == HSA_QUEUE_MULTI || type == HSA_QUEUE_SINGLE;
}

static hsa_status queue_create(struct hsa_agent agent, uint32_t size, uint32_t type,
			       hsa_queue_callback callback, void *data, uint32_t private_size,
			       uint32_t group_size, struct hsa_queue **ret)
{
	hsa_status status =
		tool.create(agent, size, type, callback, data, private_size, group_size, ret);
	struct card *c;

	if (status != HSA_SUCCESS || !active() || !may_be_masked(type))
		return status;
	c = find_card(agent);
	if (c) {
		(void)card_add_queue(c, *ret, tool.set_mask);
		open_channel(c);
	}
	return status;
}

static hsa_status queue_destroy(struct hsa_queue *queue)
{
	for (uint32_t i = 0; active() && i < tool.n_cards; i++)
		if (card_remove_queue(&tool.cards[i], queue))
			break;
	return tool.destroy(queue);
}

static hsa_status queue_set_mask(const struct hsa_queue *queue, uint32_t n_bits,
				 const uint32_t *mask)
{
	hsa_status status;

	for (uint32_t i = 0; active() && i < tool.n_cards; i++)
		if (card_set_own_mask(&tool.cards[i], queue, n_bits, mask, tool.set_mask, &status))
			return status;
	return tool.set_mask(queue, n_bits, mask);
}

/* --- loading -------------------------------------------------------------------------------- */

static void take_string(const char *name, char *ret, size_t size)
{
	const char *s = secure_getenv(name);

	snprintf(ret, size, "%s", s ? s : "");
}

static bool is_set(const char *name)
{
	const char *s = secure_getenv(name);

	return s && *s != '\0';
}

/* 0 if it is none. */
static uint32_t parse_slots(const char *s)
{
	uint32_t n = 0;

	for (; *s >= '0' && *s <= '9' && n <= MAX_SLOTS; s++)
		n = 10 * n + (uint32_t)(*s - '0');
	return *s == '\0' && n <= MAX_SLOTS ? n : 0;
}

/* Returns why this process is not to be governed, or NULL. */
static const char *take_environment(void)
{
	char slots[8];

	take_string("COFRIS_MODEL", tool.model, sizeof(tool.model));
	take_string("COFRIS_INSTANCE", tool.instance, sizeof(tool.instance));
	take_string("COFRIS_SLOTS", slots, sizeof(slots));
	if (tool.model[0] == '\0')
		return "COFRIS_MODEL is not set: this process is not governed";
	/* Both masks together may be none, which would hang a queue. */
	if (is_set("HSA_CU_MASK") || is_set("ROC_GLOBAL_CU_MASK"))
		return "HSA_CU_MASK or ROC_GLOBAL_CU_MASK is set, so this process has masks of its "
		       "own and is not governed";
	tool.slots = slots[0] == '\0' ? 1 : parse_slots(slots);
	if (tool.slots == 0)
		return "COFRIS_SLOTS is not 1 to 1024: this process is not governed";
	return NULL;
}

struct object_search {
	uintptr_t address;
	const char *name; /* of the object that it lies in */
};

static int search_object(struct dl_phdr_info *info, size_t size, void *data)
{
	struct object_search *s = data;

	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD || s->address < begin ||
		    s->address - begin >= info->dlpi_phdr[i].p_memsz)
			continue;
		s->name = info->dlpi_name;
		return 1;
	}
	return 0;
}

/* Whether a function is in another copy of this library, which then does the work. */
static bool is_another_copy(const void *function)
{
	struct object_search s = {.address = (uintptr_t)function};
	const char *base;

	(void)dl_iterate_phdr(search_object, &s);
	if (!s.name)
		return false;
	base = strrchr(s.name, '/');
	return strncmp(base ? base + 1 : s.name, FILE_NAME, strlen(FILE_NAME)) == 0;
}

static const char *take_table(const void *table)
{
	void *core, *amd, *create;

	if (!hsa_table_has(table, HSA_API_TABLE_MAJOR_MAX, HSA_API_AMD))
		return "this runtime's table is unknown: this process is not governed";
	core = hsa_table_get(table, HSA_API_CORE);
	amd = hsa_table_get(table, HSA_API_AMD);
	if (!hsa_table_has(core, HSA_CORE_TABLE_MAJOR_MAX, HSA_CORE_QUEUE_DESTROY) ||
	    !hsa_table_has(amd, HSA_AMD_TABLE_MAJOR_MAX, HSA_AMD_QUEUE_SET_MASK))
		return "this runtime's tables are too small or unknown: this process is not "
		       "governed";
	create = hsa_table_get(core, HSA_CORE_QUEUE_CREATE);
	/* Still there from the last time: the functions before us are known. */
	if (create == (void *)queue_create)
		return NULL;
	if (is_another_copy(create))
		return "another copy is loaded, this one does nothing";
	tool.iterate_agents = hsa_table_get(core, HSA_CORE_ITERATE_AGENTS);
	tool.get_info = hsa_table_get(core, HSA_CORE_AGENT_GET_INFO);
	tool.create = (hsa_queue_create_fn)create;
	tool.destroy = hsa_table_get(core, HSA_CORE_QUEUE_DESTROY);
	tool.set_mask = hsa_table_get(amd, HSA_AMD_QUEUE_SET_MASK);
	return NULL;
}

static void put_into_table(const void *table)
{
	void *core = hsa_table_get(table, HSA_API_CORE), *amd = hsa_table_get(table, HSA_API_AMD);

	hsa_table_put(core, HSA_CORE_QUEUE_CREATE, queue_create);
	hsa_table_put(core, HSA_CORE_QUEUE_DESTROY, queue_destroy);
	hsa_table_put(amd, HSA_AMD_QUEUE_SET_MASK, queue_set_mask);
}

static hsa_status take_agent(struct hsa_agent agent, void *userdata)
{
	struct card *c = &tool.cards[tool.n_cards];
	bool *failed = userdata;
	int r;

	if (tool.n_cards == MAX_CARDS)
		return HSA_SUCCESS;
	r = card_init(c, agent, tool.get_info);
	if (r == -ENODEV)
		return HSA_SUCCESS;
	if (r < 0) {
		*failed = true;
		return HSA_SUCCESS;
	}
	/* Partitions of one card have one address. */
	for (uint32_t i = 0; i < tool.n_cards; i++)
		if (strcmp(tool.cards[i].device.bdf, c->device.bdf) == 0)
			c->device.partition++;
	tool.n_cards++;
	return HSA_SUCCESS;
}

static const char *take_cards(void)
{
	bool failed = false;

	tool.n_cards = 0;
	if (tool.iterate_agents(take_agent, &failed) != HSA_SUCCESS || failed)
		say("the runtime does not say where a card is: it is not governed");
	return tool.n_cards > 0 ? NULL : "no card is known: this process is not governed";
}

/* A mask must not be set while the runtime is being taken apart. Handlers run in the opposite order
 * of their registration, so before those of the runtime, which was there before its tools. */
static void leave_quietly(void)
{
	if (!active())
		return;
	atomic_store(&tool.state, PASSIVE);
	for (uint32_t i = 0; i < EXIT_WAIT_MS && atomic_load(&tool.applying) > 0; i++)
		(void)poll(NULL, 0, 1);
}

/* The child has no thread that could apply anything, and locks as they happened to be. libcofris
 * sees to its own (fork.c): the channels are idle copies there. */
static void in_child(void)
{
	if (active())
		atomic_store(&tool.state, ELSEWHERE);
}

static void init_process(void)
{
	(void)pthread_atfork(NULL, NULL, in_child);
	(void)atexit(leave_quietly);
}

static void forget_cards(void)
{
	for (uint32_t i = 0; i < tool.n_cards; i++) {
		struct card *c = &tool.cards[i];

		c->channel = cofris_close(c->channel);
		card_done(c);
	}
	tool.n_cards = 0;
}

/* A forked child that makes itself a runtime of its own begins anew. */
static void forget_parent(void)
{
	if (atomic_load(&tool.state) != ELSEWHERE)
		return;
	forget_cards();
	(void)pthread_mutex_init(&tool.lock, NULL);
	atomic_store(&tool.applying, 0);
	atomic_store(&tool.state, PASSIVE);
}

/* Always true: a library that returned false would be unloaded, with a line that looks like one of
 * a failure. */
EXPORT bool OnLoad(void *table, uint64_t runtime_version, uint64_t n_failed,
		   const char *const *failed)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *why;

	(void)runtime_version;
	(void)n_failed;
	(void)failed;
	forget_parent();
	/* Listed twice, or found in two ways. */
	if (active())
		return true;
	why = take_environment();
	if (!why)
		why = take_table(table);
	if (!why)
		why = take_cards();
	if (why) {
		say(why);
		return true;
	}
	(void)pthread_once(&once, init_process);
	atomic_store(&tool.state, ACTIVE);
	put_into_table(table);
	return true;
}

/* From hsa_shut_down(). */
EXPORT void OnUnload(void)
{
	if (!active())
		return;
	atomic_store(&tool.state, PASSIVE);
	forget_cards();
}
