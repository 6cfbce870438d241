/* SPDX-License-Identifier: Apache-2.0 */
/* The built libcofris-hsa.so under a table of functions that stands in for ROCr, and the daemon's
 * side of the channel. */
#include "cofris/cofris.h"
#include "hsa-tool/hsa-abi.h"
#include "support/channel-server.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang's spelling of gcc's macro. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#define LIBRARY	       COFRIS_BINARY_DIR "/lib/libcofris-hsa.so"
#define SEED	       UINT64_C(0x5eed0a11)
#define SHORT_LEASE_NS (NSEC_PER_SEC / 2)
#define LONG_LEASE_NS  (300 * NSEC_PER_SEC)

/* --- the runtime ---------------------------------------------------------------------------- */

#define CPU		 1
#define MAX_QUEUES	 200000
#define INSUFFICIENT	 0x1008
#define INVALID_ARGUMENT 0x1001

struct fake_agent {
	uint64_t handle;
	uint32_t device, n_cus, bdf, domain;
};

static const struct fake_agent usual_agents[] = {
	{.handle = CPU, .device = 0},
	{.handle = 0x100, .device = HSA_DEVICE_GPU, .n_cus = 60, .bdf = 0x4300},
	{.handle = 0x200, .device = HSA_DEVICE_GPU, .n_cus = 120, .bdf = 0xc309, .domain = 1},
};

/* Never reused, so that a call for a destroyed one shows. */
struct hsa_queue {
	uint64_t agent;
	uint32_t type;
	_Atomic bool alive;
	_Atomic uint32_t n_sets, n_bits; /* 0: all CUs */
	uint32_t mask[COFRIS_CU_MASK_WORDS];
	pthread_t setter;
};

static struct {
	const struct fake_agent *agents;
	size_t n_agents;
	struct hsa_queue *queues;
	_Atomic uint32_t n_queues, n_creates, n_destroys, n_sets, on_dead;
	_Atomic int sets_left; /* before one is refused; -1: no end */
	bool no_domain, agents_fail;
	struct hsa_table_version api[8];
	uint8_t core[1016], amd[400];
} rocr;

static hsa_status fake_iterate_agents(hsa_agent_callback callback, void *data)
{
	if (rocr.agents_fail)
		return INSUFFICIENT;
	for (size_t i = 0; i < rocr.n_agents; i++) {
		hsa_status status = callback((struct hsa_agent){rocr.agents[i].handle}, data);

		if (status != HSA_SUCCESS)
			return status;
	}
	return HSA_SUCCESS;
}

static hsa_status fake_get_info(struct hsa_agent agent, int attribute, void *ret)
{
	const struct fake_agent *a = rocr.agents;
	uint32_t value;

	while (a->handle != agent.handle)
		a++;
	switch (attribute) {
	case HSA_INFO_DEVICE:
		value = a->device;
		break;
	case HSA_INFO_CU_COUNT:
		value = a->n_cus;
		break;
	case HSA_INFO_BDFID:
		value = a->bdf;
		break;
	case HSA_INFO_DOMAIN:
		if (rocr.no_domain)
			return INVALID_ARGUMENT;
		value = a->domain;
		break;
	default:
		fail_msg("attribute %#x", attribute);
		return INVALID_ARGUMENT;
	}
	memcpy(ret, &value, sizeof(value));
	return HSA_SUCCESS;
}

static hsa_status fake_create(struct hsa_agent agent, uint32_t size, uint32_t type,
			      hsa_queue_callback callback, void *data, uint32_t private_size,
			      uint32_t group_size, struct hsa_queue **ret)
{
	struct hsa_queue *q;

	rocr.n_creates++;
	/* What the tests pass, unchanged by the tool. */
	if (size != 4096 || callback || data != &rocr || private_size != 7 || group_size != 9)
		return INVALID_ARGUMENT;
	q = &rocr.queues[rocr.n_queues++];
	q->agent = agent.handle;
	q->type = type;
	q->alive = true;
	*ret = q;
	return HSA_SUCCESS;
}

static hsa_status fake_destroy(struct hsa_queue *q)
{
	rocr.n_destroys++;
	if (!q->alive)
		rocr.on_dead++;
	q->alive = false;
	return HSA_SUCCESS;
}

static hsa_status fake_set_mask(const struct hsa_queue *queue, uint32_t n_bits,
				const uint32_t *mask)
{
	struct hsa_queue *q = (struct hsa_queue *)queue;
	uint32_t any = 0;

	rocr.n_sets++;
	if (!q->alive)
		rocr.on_dead++;
	if (rocr.sets_left == 0)
		return INSUFFICIENT;
	if (rocr.sets_left > 0)
		rocr.sets_left--;
	if (n_bits % 32 != 0 || n_bits > 32 * COFRIS_CU_MASK_WORDS)
		return INVALID_ARGUMENT;
	for (uint32_t i = 0; i < n_bits / 32; i++) {
		q->mask[i] = mask[i];
		any |= mask[i];
	}
	if (n_bits > 0 && any == 0)
		rocr.on_dead++; /* such a queue hangs */
	q->setter = pthread_self();
	q->n_sets++;
	q->n_bits = n_bits;
	return HSA_SUCCESS;
}

/* A table as that of ROCr 5.2.3, in which everything that the tool must not touch is a mark. */
static void fill_tables(void)
{
	memset(rocr.core, 0xa5, sizeof(rocr.core));
	memset(rocr.amd, 0xa5, sizeof(rocr.amd));
	rocr.api[0] = (struct hsa_table_version){1, 48, 0, 0};
	hsa_table_put(rocr.api, HSA_API_CORE, rocr.core);
	hsa_table_put(rocr.api, HSA_API_AMD, rocr.amd);
	memcpy(rocr.core, &(struct hsa_table_version){1, sizeof(rocr.core), 0, 0}, 16);
	memcpy(rocr.amd, &(struct hsa_table_version){1, sizeof(rocr.amd), 0, 0}, 16);
	hsa_table_put(rocr.core, HSA_CORE_ITERATE_AGENTS, fake_iterate_agents);
	hsa_table_put(rocr.core, HSA_CORE_AGENT_GET_INFO, fake_get_info);
	hsa_table_put(rocr.core, HSA_CORE_QUEUE_CREATE, fake_create);
	hsa_table_put(rocr.core, HSA_CORE_QUEUE_DESTROY, fake_destroy);
	hsa_table_put(rocr.amd, HSA_AMD_QUEUE_SET_MASK, fake_set_mask);
}

/* As an application calls them, through the table. */
static struct hsa_queue *create_typed(uint64_t agent, uint32_t type)
{
	hsa_queue_create_fn create =
		(hsa_queue_create_fn)hsa_table_get(rocr.core, HSA_CORE_QUEUE_CREATE);
	struct hsa_queue *q = NULL;

	if (create((struct hsa_agent){agent}, 4096, type, NULL, &rocr, 7, 9, &q) != HSA_SUCCESS)
		abort();
	return q;
}

static struct hsa_queue *create(uint64_t agent)
{
	return create_typed(agent, HSA_QUEUE_MULTI);
}

static void destroy(struct hsa_queue *q)
{
	hsa_queue_destroy_fn fn =
		(hsa_queue_destroy_fn)hsa_table_get(rocr.core, HSA_CORE_QUEUE_DESTROY);

	if (fn(q) != HSA_SUCCESS)
		abort();
}

static hsa_status set_own_mask(struct hsa_queue *q, uint32_t n_bits, const uint32_t *mask)
{
	hsa_queue_set_mask_fn fn =
		(hsa_queue_set_mask_fn)hsa_table_get(rocr.amd, HSA_AMD_QUEUE_SET_MASK);

	return fn(q, n_bits, mask);
}

/* --- the daemon and the tool ---------------------------------------------------------------- */

struct fixture {
	char folder[32], path[64];
	int listen_fd;
	struct channel_connection *server[2];
	uint64_t epoch;
	uint64_t lease_ns;
};

typedef bool (*on_load_fn)(void *table, uint64_t version, uint64_t n_failed,
			   const char *const *failed);
typedef void (*on_unload_fn)(void);

static void *library;
static on_load_fn on_load;
static on_unload_fn on_unload;

static int load_library(void **state)
{
	(void)state;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		print_error("%s\n", dlerror());
		return -1;
	}
	on_load = (on_load_fn)dlsym(library, "OnLoad");
	on_unload = (on_unload_fn)dlsym(library, "OnUnload");
	return on_load && on_unload ? 0 : -1;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->folder, "/tmp/test-hsa-tool.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/worker.sock", f->folder);
	f->listen_fd = channel_listen(f->path, 0666);
	assert_true(f->listen_fd >= 0);
	f->lease_ns = LONG_LEASE_NS;
	rocr.agents = usual_agents;
	rocr.n_agents = 3;
	rocr.queues = calloc(MAX_QUEUES, sizeof(*rocr.queues));
	assert_non_null(rocr.queues);
	rocr.n_queues = rocr.n_creates = rocr.n_destroys = rocr.n_sets = rocr.on_dead = 0;
	rocr.sets_left = -1;
	rocr.no_domain = rocr.agents_fail = false;
	fill_tables();
	setenv("COFRIS_MODEL", "resnet50", 1);
	setenv("COFRIS_SOCKET", f->path, 1);
	unsetenv("COFRIS_INSTANCE");
	unsetenv("COFRIS_SLOTS");
	unsetenv("HSA_CU_MASK");
	unsetenv("ROC_GLOBAL_CU_MASK");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	uint32_t on_dead;

	on_unload();
	on_dead = rocr.on_dead;
	channel_connection_free(f->server[0]);
	channel_connection_free(f->server[1]);
	close(f->listen_fd);
	unlink(f->path);
	rmdir(f->folder);
	free(rocr.queues);
	free(f);
	return on_dead == 0 ? 0 : -1;
}

static void load(void)
{
	assert_true(on_load(rocr.api, 1, 0, NULL));
}

/* Between the two, what is written to stderr goes to a file. */
struct listener {
	FILE *file;
	int before;
	char text[512];
};

static struct listener listen_begin(void)
{
	struct listener l = {.file = tmpfile(), .before = dup(STDERR_FILENO)};

	assert_non_null(l.file);
	fflush(stderr);
	dup2(fileno(l.file), STDERR_FILENO);
	return l;
}

static void listen_end(struct listener *l)
{
	size_t n;

	fflush(stderr);
	dup2(l->before, STDERR_FILENO);
	close(l->before);
	rewind(l->file);
	n = fread(l->text, 1, sizeof(l->text) - 1, l->file);
	l->text[n] = '\0';
	fclose(l->file);
}

static bool is_one_line(const struct listener *l)
{
	const char *end = strchr(l->text, '\n');

	return end && end[1] == '\0';
}

/* Loads and returns what was said. */
static struct listener load_listening(void)
{
	struct listener l = listen_begin();

	load();
	listen_end(&l);
	return l;
}

static struct channel_connection *accept_one(struct fixture *f, struct channel_hello *ret_hello)
{
	struct channel_connection *c = accept_hello(f->listen_fd, ret_hello);

	assert_int_equal(channel_connection_welcome(c, f->lease_ns), 0);
	channel_connection_beat(c);
	return c;
}

static bool nobody_waits(struct fixture *f)
{
	struct channel_connection *c = NULL;

	if (channel_accept(f->listen_fd, now_ns(), &c) == -EAGAIN)
		return true;
	channel_connection_free(c);
	return false;
}

static uint64_t direct(struct fixture *f, uint32_t which, uint32_t n_bits, uint32_t low,
		       uint32_t high)
{
	const struct channel_directive d = {.epoch = ++f->epoch,
					    .cu_mask_bits = n_bits,
					    .cu_mask = {low, high},
					    .boost_wait_ns = UINT64_MAX};

	channel_connection_direct(f->server[which], &d);
	return d.epoch;
}

/* Sends it, waits for the acknowledgement and returns the number of queues changed. */
static uint32_t follow(struct fixture *f, uint32_t which, uint32_t n_bits, uint32_t low,
		       uint32_t high)
{
	uint64_t epoch = direct(f, which, n_bits, low, high);

	WAIT_UNTIL(sample_of(f->server[which]).applied_epoch == epoch);
	return sample_of(f->server[which]).applied_queues;
}

/* A directive that the tool cannot follow, and one behind it that it can and that shows that it has
 * had the first. */
static void refuse(struct fixture *f, uint32_t n_bits, uint32_t low, uint32_t high)
{
	uint64_t before = sample_of(f->server[0]).applied_epoch, epoch;
	uint32_t n_sets = rocr.n_sets;

	epoch = direct(f, 0, n_bits, low, high);
	/* Two beats: it has been woken at least once. */
	for (uint64_t beat = sample_of(f->server[0]).beat;;) {
		if (sample_of(f->server[0]).beat >= beat + 2)
			break;
		poll(NULL, 0, 1);
	}
	assert_int_equal(sample_of(f->server[0]).applied_epoch, before);
	assert_int_equal(rocr.n_sets, n_sets);
	assert_true(epoch > before);
}

/* One queue of the first card, connected. */
static struct hsa_queue *start(struct fixture *f)
{
	struct channel_hello hello;
	struct hsa_queue *q;

	load();
	q = create(0x100);
	f->server[0] = accept_one(f, &hello);
	return q;
}

static void assert_mask(const struct hsa_queue *q, uint32_t n_bits, uint32_t low, uint32_t high)
{
	assert_int_equal(q->n_bits, n_bits);
	if (n_bits > 0)
		assert_int_equal(q->mask[0], low);
	if (n_bits > 32)
		assert_int_equal(q->mask[1], high);
}

/* --- loading -------------------------------------------------------------------------------- */

static void test_takes_three_places_in_the_table(void **state)
{
	uint8_t core[sizeof(rocr.core)], amd[sizeof(rocr.amd)];

	(void)state;
	memcpy(core, rocr.core, sizeof(core));
	memcpy(amd, rocr.amd, sizeof(amd));
	load();
	assert_ptr_not_equal(hsa_table_get(rocr.core, HSA_CORE_QUEUE_CREATE), fake_create);
	assert_ptr_not_equal(hsa_table_get(rocr.core, HSA_CORE_QUEUE_DESTROY), fake_destroy);
	assert_ptr_not_equal(hsa_table_get(rocr.amd, HSA_AMD_QUEUE_SET_MASK), fake_set_mask);
	hsa_table_put(rocr.core, HSA_CORE_QUEUE_CREATE, fake_create);
	hsa_table_put(rocr.core, HSA_CORE_QUEUE_DESTROY, fake_destroy);
	hsa_table_put(rocr.amd, HSA_AMD_QUEUE_SET_MASK, fake_set_mask);
	assert_memory_equal(core, rocr.core, sizeof(core));
	assert_memory_equal(amd, rocr.amd, sizeof(amd));
}

static void test_newer_tables_are_taken(void **state)
{
	struct hsa_queue *q;

	(void)state;
	rocr.api[0].major = 3;
	memcpy(rocr.core, &(uint32_t){2}, 4);
	memcpy(rocr.amd, &(uint32_t){2}, 4);
	q = start(*state);
	assert_int_equal(follow(*state, 0, 60, 0x0f, 0), 1);
	assert_mask(q, 64, 0x0f, 0);
}

struct odd_table {
	uint32_t api[2], core[2], amd[2]; /* major, minor */
};

static const struct odd_table odd_tables[] = {
	{{0, 48}, {1, 1016}, {1, 400}}, {{4, 48}, {1, 1016}, {1, 400}},
	{{1, 31}, {1, 1016}, {1, 400}}, {{1, 48}, {0, 1016}, {1, 400}},
	{{1, 48}, {3, 1016}, {1, 400}}, {{1, 48}, {1, 95}, {1, 400}},
	{{1, 48}, {1, 1016}, {0, 400}}, {{1, 48}, {1, 1016}, {3, 400}},
	{{1, 48}, {1, 1016}, {1, 103}}, {{1, 48}, {1, 0}, {1, 0}},
};

static void assert_passive(struct fixture *f)
{
	struct hsa_queue *q = create(0x100);

	assert_ptr_equal(hsa_table_get(rocr.core, HSA_CORE_QUEUE_CREATE), fake_create);
	assert_ptr_equal(hsa_table_get(rocr.core, HSA_CORE_QUEUE_DESTROY), fake_destroy);
	assert_ptr_equal(hsa_table_get(rocr.amd, HSA_AMD_QUEUE_SET_MASK), fake_set_mask);
	destroy(q);
	assert_true(nobody_waits(f));
}

static void test_unknown_tables_leave_it_passive(void **state)
{
	struct listener l;

	for (size_t i = 0; i < sizeof(odd_tables) / sizeof(odd_tables[0]); i++) {
		fill_tables();
		memcpy(rocr.api, odd_tables[i].api, 8);
		memcpy(rocr.core, odd_tables[i].core, 8);
		memcpy(rocr.amd, odd_tables[i].amd, 8);
		l = load_listening();
		if (!strstr(l.text, "unknown"))
			fail_msg("table %zu: %s", i, l.text);
		assert_passive(*state);
	}
	fill_tables();
	hsa_table_put(rocr.api, HSA_API_AMD, NULL);
	l = load_listening();
	assert_passive(*state);
	assert_true(on_load(NULL, 1, 0, NULL));
}

/* The smallest tables that have what it needs. */
static void test_smallest_tables_are_enough(void **state)
{
	rocr.api[0].minor = 32;
	memcpy(rocr.core + 4, &(uint32_t){96}, 4);
	memcpy(rocr.amd + 4, &(uint32_t){104}, 4);
	(void)start(*state);
	assert_int_equal(follow(*state, 0, 60, 0x0f, 0), 1);
}

static void test_environment_that_leaves_it_passive(void **state)
{
	static const char *const settings[][3] = {
		{"COFRIS_MODEL", "", "COFRIS_MODEL is not set"},
		{"COFRIS_SLOTS", "0", "COFRIS_SLOTS"},
		{"COFRIS_SLOTS", "1025", "COFRIS_SLOTS"},
		{"COFRIS_SLOTS", "two", "COFRIS_SLOTS"},
		{"COFRIS_SLOTS", "99999999999", "COFRIS_SLOTS"},
		{"HSA_CU_MASK", "0:0-3", "HSA_CU_MASK"},
		{"ROC_GLOBAL_CU_MASK", "0xff", "ROC_GLOBAL_CU_MASK"},
	};
	struct listener l;

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		setenv(settings[i][0], settings[i][1], 1);
		l = load_listening();
		if (!strstr(l.text, settings[i][2]))
			fail_msg("%s=%s: %s", settings[i][0], settings[i][1], l.text);
		/* One line. */
		assert_true(is_one_line(&l));
		assert_passive(*state);
		unsetenv(settings[i][0]);
		setenv("COFRIS_MODEL", "resnet50", 1);
	}
	unsetenv("COFRIS_MODEL");
	l = load_listening();
	assert_non_null(strstr(l.text, "COFRIS_MODEL is not set"));
	assert_passive(*state);
}

static void test_no_card_leaves_it_passive(void **state)
{
	struct listener l;

	rocr.n_agents = 1;
	l = load_listening();
	assert_non_null(strstr(l.text, "no card"));
	assert_passive(*state);
	rocr.n_agents = 3;
	rocr.agents_fail = true;
	l = load_listening();
	assert_non_null(strstr(l.text, "no card"));
	assert_passive(*state);
}

static void test_hello_names_the_card(void **state)
{
	struct fixture *f = *state;
	struct channel_hello hello;

	setenv("COFRIS_INSTANCE", "left", 1);
	setenv("COFRIS_SLOTS", "4", 1);
	load();
	/* What the process does to its environment later changes nothing. */
	setenv("COFRIS_MODEL", "other", 1);
	unsetenv("COFRIS_INSTANCE");
	create(0x200);
	f->server[0] = accept_one(f, &hello);
	assert_string_equal(hello.model, "resnet50");
	assert_string_equal(hello.instance, "left");
	assert_int_equal(hello.n_devices, 1);
	assert_string_equal(hello.devices[0].bdf, "0001:c3:01.1");
	assert_int_equal(hello.devices[0].partition, 0);
	assert_int_equal(hello.follows, COFRIS_FOLLOWS_CU_MASK);
	assert_int_equal(hello.reports, COFRIS_REPORTS_NO_REQUESTS);
	assert_int_equal(hello.slots, 4);
	assert_int_equal(channel_connection_peer(f->server[0])->pid, getpid());
}

static void test_a_runtime_without_domains(void **state)
{
	struct fixture *f = *state;
	struct channel_hello hello;

	rocr.no_domain = true;
	load();
	create(0x200);
	f->server[0] = accept_one(f, &hello);
	assert_string_equal(hello.devices[0].bdf, "0000:c3:01.1");
}

static void test_a_bad_model_is_said_once(void **state)
{
	struct listener l;

	setenv("COFRIS_MODEL", "no model", 1);
	load();
	l = listen_begin();
	create(0x100);
	create(0x100);
	listen_end(&l);
	assert_non_null(strstr(l.text, "0000:43:00.0"));
	assert_true(is_one_line(&l));
	assert_true(nobody_waits(*state));
}

/* However often the daemon refuses. */
static void test_a_refusal_is_said_once(void **state)
{
	struct fixture *f = *state;
	struct channel_hello hello;
	struct listener l;

	load();
	l = listen_begin();
	create(0x100);
	for (unsigned int i = 0; i < 2; i++) {
		struct channel_connection *c = accept_hello(f->listen_fd, &hello);

		channel_connection_refuse(c, -EACCES, "not today");
		channel_connection_free(c);
	}
	/* It has taken the second refusal when it asks again. */
	f->server[0] = accept_one(f, &hello);
	listen_end(&l);
	assert_string_equal(l.text,
			    "libcofris-hsa.so: no masks are followed: refused: not today\n");
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
}

/* A process sees all cards of a machine and uses some. */
static void test_only_cards_with_queues_have_a_worker(void **state)
{
	struct fixture *f = *state;
	struct channel_hello hello;

	load();
	create(CPU);
	create_typed(0x100, HSA_QUEUE_COOPERATIVE);
	assert_true(nobody_waits(f));
	create(0x100);
	f->server[0] = accept_one(f, &hello);
	assert_string_equal(hello.devices[0].bdf, "0000:43:00.0");
	create(0x100);
	assert_true(nobody_waits(f));
}

/* --- following ------------------------------------------------------------------------------ */

static void test_follows_and_acknowledges(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a = start(f), *b = create(0x100);

	assert_int_equal(a->n_sets, 0);
	assert_int_equal(follow(f, 0, 60, 0x33333333, 0), 2);
	assert_mask(a, 64, 0x33333333, 0);
	assert_mask(b, 64, 0x33333333, 0);
	/* Never on a thread of the application. */
	assert_false(pthread_equal(a->setter, pthread_self()));
	assert_true(sample_of(f->server[0]).applied_ns > 0);
	assert_int_equal(sample_of(f->server[0]).arrivals, 0);
	assert_int_equal(follow(f, 0, 60, 0x33333333, 0), 0);
	assert_int_equal(a->n_sets, 1);
	assert_int_equal(follow(f, 0, 60, 0x11111111, 0x01111111), 2);
	assert_mask(b, 64, 0x11111111, 0x01111111);
	assert_int_equal(follow(f, 0, 0, 0, 0), 2);
	assert_mask(a, 0, 0, 0);
}

static void test_new_queues_get_the_mask_in_force(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a = start(f), *b;

	assert_int_equal(follow(f, 0, 60, 0xff, 0), 1);
	b = create(0x100);
	assert_mask(b, 64, 0xff, 0);
	assert_int_equal(follow(f, 0, 60, 0xff, 0), 0);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 2);
	assert_mask(a, 64, 0x0f, 0);
	assert_mask(b, 64, 0x0f, 0);
}

static void test_only_queues_that_differ_are_changed(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a = start(f), *b;

	assert_int_equal(follow(f, 0, 60, 0xff, 0), 1);
	rocr.sets_left = 0; /* the new queue cannot be masked and runs on all CUs */
	b = create(0x100);
	rocr.sets_left = -1;
	assert_mask(b, 0, 0, 0);
	assert_int_equal(follow(f, 0, 60, 0xff, 0), 1);
	assert_int_equal(a->n_sets, 1);
	assert_mask(b, 64, 0xff, 0);
}

static void test_masks_are_trimmed_to_the_card(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *q = start(f);

	assert_int_equal(follow(f, 0, 512, 0x0f, 0xff000000), 1);
	assert_mask(q, 64, 0x0f, 0x0f000000);
	assert_int_equal(follow(f, 0, 16, 0xffff0001, 0), 1);
	assert_mask(q, 32, 1, 0);
	/* All that the card has is no mask. */
	assert_int_equal(follow(f, 0, 64, 0xffffffff, 0xffffffff), 1);
	assert_mask(q, 0, 0, 0);
}

static void test_masks_without_a_cu_are_refused(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *q = start(f);

	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	refuse(f, 60, 0, 0);
	refuse(f, 64, 0, 0xf0000000); /* CUs 60 to 63 of 60 */
	refuse(f, 4, 0xf0, 0);
	refuse(f, 513, 1, 0);
	assert_mask(q, 64, 0x0f, 0);
	assert_int_equal(follow(f, 0, 60, 0x07, 0), 1);
}

static void test_cooperative_queues_are_left_alone(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *coop, *other, *single;

	(void)start(f);
	coop = create_typed(0x100, HSA_QUEUE_COOPERATIVE);
	other = create_typed(0x100, 3);
	single = create_typed(0x100, HSA_QUEUE_SINGLE);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 2);
	assert_int_equal(coop->n_sets, 0);
	assert_int_equal(other->n_sets, 0);
	assert_mask(single, 64, 0x0f, 0);
	destroy(coop);
	destroy(other);
}

static void test_destroyed_queues_are_forgotten(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a = start(f), *b = create(0x100), *c = create(0x100);

	destroy(b);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 2);
	destroy(a);
	destroy(c);
	assert_int_equal(follow(f, 0, 60, 0x07, 0), 0);
	assert_int_equal(rocr.n_destroys, 3);
	assert_mask(create(0x100), 64, 0x07, 0);
}

static void test_masks_of_the_application_stay(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a = start(f), *own = create(0x100);
	const uint32_t mask[] = {0xf0, 0};

	assert_int_equal(set_own_mask(own, 64, mask), HSA_SUCCESS);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	assert_mask(own, 64, 0xf0, 0);
	assert_mask(a, 64, 0x0f, 0);
	/* A mask that is not taken changes nothing. */
	assert_int_equal(set_own_mask(a, 33, mask), INVALID_ARGUMENT);
	assert_int_equal(follow(f, 0, 60, 0x07, 0), 1);
	/* No mask of its own any more. */
	assert_int_equal(set_own_mask(own, 0, NULL), HSA_SUCCESS);
	assert_mask(own, 64, 0x07, 0);
	assert_int_equal(follow(f, 0, 60, 0x03, 0), 2);
}

static void test_a_refused_mask_is_taken_back(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *queues[3] = {start(f), create(0x100), create(0x100)};
	uint64_t epoch;

	assert_int_equal(follow(f, 0, 60, 0xff, 0), 3);
	rocr.sets_left = 1;
	epoch = direct(f, 0, 60, 0x0f, 0);
	/* One taken, one refused, and one to go back, which is refused too, and then all CUs. */
	WAIT_UNTIL(rocr.n_sets == 7);
	rocr.sets_left = -1;
	assert_int_not_equal(sample_of(f->server[0]).applied_epoch, epoch);
	assert_int_equal(follow(f, 0, 60, 0xff, 0), 1);
	rocr.sets_left = 2;
	epoch = direct(f, 0, 60, 0x0f, 0);
	WAIT_UNTIL(rocr.n_sets >= 11);
	rocr.sets_left = -1;
	assert_int_not_equal(sample_of(f->server[0]).applied_epoch, epoch);
	assert_true(follow(f, 0, 60, 0x07, 0) == 3);
	for (size_t i = 0; i < 3; i++)
		assert_mask(queues[i], 64, 0x07, 0);
}

static void test_the_end_of_the_lease_frees_all_cus(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a, *b;

	f->lease_ns = SHORT_LEASE_NS;
	a = start(f);
	b = create(0x100);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 2);
	/* No beat any more, and one queue that refuses at first. */
	rocr.sets_left = 1;
	WAIT_UNTIL(a->n_bits == 0 || b->n_bits == 0);
	rocr.sets_left = -1;
	WAIT_UNTIL(a->n_bits == 0 && b->n_bits == 0);
	assert_mask(create(0x100), 0, 0, 0);
}

static void test_cards_follow_their_own_directives(void **state)
{
	struct fixture *f = *state;
	struct channel_hello hello;
	struct hsa_queue *a = start(f), *b = create(0x200);

	f->server[1] = accept_one(f, &hello);
	assert_string_equal(hello.devices[0].bdf, "0001:c3:01.1");
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	assert_mask(b, 0, 0, 0);
	assert_int_equal(follow(f, 1, 120, 0x70, 0), 1);
	assert_mask(a, 64, 0x0f, 0);
	assert_mask(b, 128, 0x70, 0);
}

static void test_partitions_are_told_apart(void **state)
{
	static const struct fake_agent agents[] = {
		{.handle = 1, .device = HSA_DEVICE_GPU, .n_cus = 38, .bdf = 0x4300},
		{.handle = 2, .device = HSA_DEVICE_GPU, .n_cus = 38, .bdf = 0x4300},
	};
	struct fixture *f = *state;
	struct channel_hello hello;

	rocr.agents = agents;
	rocr.n_agents = 2;
	load();
	create(2);
	f->server[0] = accept_one(f, &hello);
	assert_string_equal(hello.devices[0].bdf, "0000:43:00.0");
	assert_int_equal(hello.devices[0].partition, 1);
	create(1);
	f->server[1] = accept_one(f, &hello);
	assert_int_equal(hello.devices[0].partition, 0);
}

/* --- twice, again, elsewhere ---------------------------------------------------------------- */

static void test_loaded_twice_works_once(void **state)
{
	struct fixture *f = *state;

	load();
	load();
	create(0x100);
	assert_int_equal(rocr.n_creates, 1);
	f->server[0] = accept_one(f, &(struct channel_hello){0});
	assert_true(nobody_waits(f));
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	on_unload();
	on_unload();
}

static void test_another_copy_stays_passive(void **state)
{
	struct fixture *f = *state;
	char path[128], command[512];
	struct listener l;
	on_load_fn other;
	void *copy;

	snprintf(path, sizeof(path), "%s/libcofris-hsa.so", f->folder);
	snprintf(command, sizeof(command), "cp %s %s", LIBRARY, path);
	assert_int_equal(system(command), 0);
	copy = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_int_equal(unlink(path), 0);
	assert_non_null(copy);
	other = (on_load_fn)dlsym(copy, "OnLoad");
	load();
	{
		on_load_fn mine = on_load;

		on_load = other;
		l = load_listening();
		on_load = mine;
	}
	assert_non_null(strstr(l.text, "another copy"));
	create(0x100);
	f->server[0] = accept_one(f, &(struct channel_hello){0});
	assert_true(nobody_waits(f));
	assert_int_equal(rocr.n_creates, 1);
	dlclose(copy);
}

static void test_works_again_after_unloading(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *q = start(f);

	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	on_unload();
	f->server[0] = channel_connection_free(f->server[0]);
	/* Some runtimes keep the table as it was. */
	destroy(q);
	q = create(0x100);
	assert_int_equal(q->n_sets, 0);
	q = start(f);
	assert_int_equal(rocr.n_creates, 3);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	assert_mask(q, 64, 0x0f, 0);
	on_unload();
	f->server[0] = channel_connection_free(f->server[0]);
	/* And others fill it anew. */
	fill_tables();
	q = start(f);
	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
}

static int wait_for(pid_t child)
{
	int status = 0;

	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_a_forked_child_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *a = start(f);
	pid_t child;

	assert_int_equal(follow(f, 0, 60, 0x0f, 0), 1);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		uint32_t n_sets = rocr.n_sets;
		struct hsa_queue *q = create(0x100);

		set_own_mask(q, 64, (const uint32_t[]){1, 1});
		destroy(q);
		destroy(a);
		on_unload();
		/* With the handlers that the library registered. */
		exit(rocr.n_sets == n_sets + 1 && rocr.on_dead == 0 ? 0 : 1);
	}
	assert_int_equal(wait_for(child), 0);
	assert_true(nobody_waits(f));
	assert_int_equal(follow(f, 0, 60, 0x07, 0), 1);
}

#if !defined(__SANITIZE_THREAD__) /* which allows no thread in a child of threads */
static void test_a_forked_child_may_load_anew(void **state)
{
	struct fixture *f = *state;
	struct channel_hello hello;
	pid_t child;
	int go[2];

	assert_int_equal(pipe(go), 0);
	(void)start(f);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct hsa_queue *q;
		char byte;

		fill_tables();
		if (!on_load(rocr.api, 1, 0, NULL))
			_exit(1);
		q = create(0x100);
		if (read(go[0], &byte, 1) != 1)
			_exit(2);
		exit(q->n_bits == 64 && q->mask[0] == 0x0f ? 0 : 3);
	}
	f->server[1] = accept_one(f, &hello);
	assert_int_equal(channel_connection_peer(f->server[1])->pid, child);
	assert_int_equal(follow(f, 1, 60, 0x0f, 0), 1);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(wait_for(child), 0);
	assert_int_equal(follow(f, 0, 60, 0x07, 0), 1);
	close(go[0]);
	close(go[1]);
}

#endif

/* --- under load ----------------------------------------------------------------------------- */

static _Atomic bool stop;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *make_queues(void *seed)
{
	struct hsa_queue *queues[8] = {0};
	uint64_t random = (uint64_t)(uintptr_t)seed;

	while (!stop && rocr.n_queues < MAX_QUEUES - 100) {
		struct hsa_queue **q = &queues[next_random(&random) % 8];

		if (*q)
			destroy(*q);
		*q = *q ? NULL : create(0x100);
	}
	for (size_t i = 0; i < 8; i++)
		if (queues[i])
			destroy(queues[i]);
	return NULL;
}

static void test_queues_come_and_go_under_directives(void **state)
{
	struct fixture *f = *state;
	struct hsa_queue *q = start(f);
	pthread_t threads[3];
	uint64_t changed = 0;

	print_message("seed %#lx\n", (unsigned long)SEED);
	stop = false;
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_queues, (void *)(SEED + i)),
				 0);
	for (uint32_t i = 1; i <= 300; i++)
		changed += follow(f, 0, 60, i, 0);
	stop = true;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_mask(q, 64, 300, 0);
	assert_int_equal(rocr.on_dead, 0);
	for (uint32_t i = 0; i < rocr.n_queues; i++)
		assert_true(&rocr.queues[i] == q || !rocr.queues[i].alive);
	assert_int_equal(follow(f, 0, 60, 1, 0), 1);
	print_message("%u queues, %lu changes\n", rocr.n_queues, (unsigned long)changed);
}

/* A process that ends in the middle of it, as most do, without hsa_shut_down(). */
static void test_exits_under_directives(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		struct channel_hello hello;
		int go[2];
		pid_t child;

		assert_int_equal(pipe(go), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			char byte;

			load();
			for (int j = 0; j < 20; j++)
				create(0x100);
			if (read(go[0], &byte, 1) != 1)
				_exit(1);
			exit(42);
		}
		f->server[0] = accept_one(f, &hello);
		(void)follow(f, 0, 60, 0x0f, 0);
		assert_int_equal(write(go[1], "", 1), 1);
		for (uint32_t j = 1; j <= 200; j++)
			(void)direct(f, 0, 60, j, 0);
		assert_int_equal(wait_for(child), 42);
		f->server[0] = channel_connection_free(f->server[0]);
		close(go[0]);
		close(go[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_takes_three_places_in_the_table),
		TEST(test_newer_tables_are_taken),
		TEST(test_unknown_tables_leave_it_passive),
		TEST(test_smallest_tables_are_enough),
		TEST(test_environment_that_leaves_it_passive),
		TEST(test_no_card_leaves_it_passive),
		TEST(test_hello_names_the_card),
		TEST(test_a_runtime_without_domains),
		TEST(test_a_bad_model_is_said_once),
		TEST(test_a_refusal_is_said_once),
		TEST(test_only_cards_with_queues_have_a_worker),
		TEST(test_follows_and_acknowledges),
		TEST(test_new_queues_get_the_mask_in_force),
		TEST(test_only_queues_that_differ_are_changed),
		TEST(test_masks_are_trimmed_to_the_card),
		TEST(test_masks_without_a_cu_are_refused),
		TEST(test_cooperative_queues_are_left_alone),
		TEST(test_destroyed_queues_are_forgotten),
		TEST(test_masks_of_the_application_stay),
		TEST(test_a_refused_mask_is_taken_back),
		TEST(test_the_end_of_the_lease_frees_all_cus),
		TEST(test_cards_follow_their_own_directives),
		TEST(test_partitions_are_told_apart),
		TEST(test_loaded_twice_works_once),
		TEST(test_another_copy_stays_passive),
		TEST(test_works_again_after_unloading),
		TEST(test_a_forked_child_is_left_alone),
#if !defined(__SANITIZE_THREAD__)
		TEST(test_a_forked_child_may_load_anew),
#endif
		TEST(test_queues_come_and_go_under_directives),
		TEST(test_exits_under_directives),
	};

	return cmocka_run_group_tests(tests, load_library, NULL);
}
