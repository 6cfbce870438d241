/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the simulated driver, the machine that it describes, queues by their ids, and fork. */
#include "fake-hsakmt-device.h"
#include "hsakmt-fixture.h"
#include "sim/tree.h"
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#define N_NODES (1 + FIXTURE_CARDS)

/* ---- opening ---- */

static void test_without_a_simulator_there_is_no_driver(void **state)
{
	struct hsakmt_fixture *f = *state;
	HsaVersionInfo version;

	(void)unsetenv(SIM_ENV);
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	(void)setenv(SIM_ENV, "/nowhere", 1);
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	/* A machine of another version. */
	(void)setenv(SIM_ENV, f->path, 1);
	f->machine->version--;
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	f->machine->version++;
	/* The second card cannot be had: the first is given back. */
	fake_refuse(1, -EBUSY);
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	fake_refuse(1, 0);
	assert_int_equal(fake_devices_open(), 0);
	assert_int_equal(hsaKmtGetVersion(&version), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
}

static void test_the_driver_is_open_until_closed_as_often(void **state _unused_)
{
	HsaVersionInfo version;

	for (int round = 0; round < 3; round++) {
		assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_SUCCESS);
		assert_int_equal(fake_devices_open(), FIXTURE_CARDS);
		assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_ALREADY_OPENED);
		assert_int_equal(hsaKmtGetVersion(&version), HSAKMT_STATUS_SUCCESS);
		assert_int_equal(version.KernelInterfaceMajorVersion, 1);
		assert_in_range(version.KernelInterfaceMinorVersion, 4, 13);
		assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_SUCCESS);
		assert_int_equal(hsaKmtGetVersion(&version), HSAKMT_STATUS_SUCCESS);
		assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_SUCCESS);
		assert_int_equal(fake_devices_open(), 0);
	}
}

static void test_closing_takes_everything_down(void **state)
{
	struct hsakmt_fixture *f = *state;
	HsaEventDescriptor d = {0};
	HsaQueueResource q = {0};
	HsaEvent *event;
	void *p = NULL;

	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, 1 << 20, (HsaMemFlags){0}, &p),
			 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtCreateEvent(&d, false, false, &event), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtCreateQueue(CARD_0, HSA_QUEUE_SDMA, 100, HSA_QUEUE_PRIORITY_NORMAL,
					   p, 4096, NULL, &q),
			 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(fake_queues_live(), 0);
	assert_int_equal(sim_card_vram_bytes(&f->machine->cards[0]), 0);
	assert_false(memory_accessible(p, 1));
}

/* ---- topology ---- */

static void test_the_nodes_are_the_machine(void **state _unused_)
{
	HsaSystemProperties system;
	HsaNodeProperties n;
	char name[HSA_PUBLIC_NAME_SIZE] = "";

	assert_int_equal(hsaKmtAcquireSystemProperties(&system), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(system.NumNodes, N_NODES);
	assert_int_equal(hsaKmtGetNodeProperties(CPU_NODE, &n), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(n.NumFComputeCores, 0);
	assert_true(n.NumCPUCores > 0);
	assert_int_equal(n.NumIOLinks, FIXTURE_CARDS);
	for (uint32_t card = 0; card < FIXTURE_CARDS; card++) {
		assert_int_equal(hsaKmtGetNodeProperties(CARD_0 + card, &n), HSAKMT_STATUS_SUCCESS);
		assert_int_equal(n.NumCPUCores, 0);
		assert_int_equal(n.NumFComputeCores, 240);
		assert_int_equal(n.NumShaderBanks * n.NumArrays * n.NumCUPerArray, 64);
		assert_int_equal(n.EngineId.ui32.Major, 9);
		assert_int_equal(n.EngineId.ui32.Minor, 0);
		assert_int_equal(n.EngineId.ui32.Stepping, 6);
		assert_int_equal(n.DeviceId, 0x66a1);
		assert_int_equal(n.LocationId, (0x43 + 0x20 * card) << 8);
		assert_int_equal(n.MaxEngineClockMhzFCompute, 1725);
		assert_int_equal(n.Capability.ui32.DoorbellType, 2);
		assert_int_equal(n.Capability.ui32.SVMAPISupported, 0);
		assert_int_equal(n.Capability.ui32.SRAM_EDCSupport, 1);
		assert_int_equal(n.NumGws, 64);
		assert_int_equal(n.DrmRenderMinor, 128 + card);
		assert_int_equal(n.UniqueID, sim_unique_id(card));
		assert_string_equal((char *)n.AMDName, "vega20");
		for (size_t i = 0; i < sizeof(name); i++)
			name[i] = (char)n.MarketingName[i];
		assert_string_equal(name, "Radeon Instinct MI50 16GB");
	}
	assert_int_equal(hsaKmtGetNodeProperties(N_NODES, &n), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtGetNodeProperties(UINT32_MAX, &n), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtGetNodeProperties(CARD_0, NULL), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtReleaseSystemProperties(), HSAKMT_STATUS_SUCCESS);
}

static void test_every_list_has_as_many_as_its_node_says(void **state _unused_)
{
	for (uint32_t node = 0; node < N_NODES; node++) {
		HsaMemoryProperties banks[8];
		HsaCacheProperties caches[8];
		HsaIoLinkProperties links[8];
		HsaNodeProperties n;

		assert_int_equal(hsaKmtGetNodeProperties(node, &n), HSAKMT_STATUS_SUCCESS);
		memset(banks, 0x5a, sizeof(banks));
		memset(caches, 0x5a, sizeof(caches));
		memset(links, 0x5a, sizeof(links));
		assert_int_equal(hsaKmtGetNodeMemoryProperties(node, n.NumMemoryBanks, banks),
				 HSAKMT_STATUS_SUCCESS);
		assert_int_equal(hsaKmtGetNodeCacheProperties(node, 0, n.NumCaches, caches),
				 HSAKMT_STATUS_SUCCESS);
		assert_int_equal(hsaKmtGetNodeIoLinkProperties(node, n.NumIOLinks, links),
				 HSAKMT_STATUS_SUCCESS);
		for (uint32_t i = 0; i < n.NumMemoryBanks; i++)
			assert_in_range(banks[i].HeapType, 0, HSA_HEAPTYPE_NUMHEAPTYPES - 1);
		for (uint32_t i = 0; i < n.NumCaches; i++) {
			assert_int_equal(caches[i].CacheLevel, i + 1);
			assert_int_equal(caches[i].CacheType.ui32.CPU, node == CPU_NODE);
			assert_int_equal(caches[i].CacheType.ui32.HSACU, node != CPU_NODE);
		}
		for (uint32_t i = 0; i < n.NumIOLinks; i++) {
			assert_int_equal(links[i].NodeFrom, node);
			assert_int_not_equal(links[i].NodeTo, node);
			assert_in_range(links[i].NodeTo, 0, N_NODES - 1);
			assert_int_equal(links[i].IoLinkType, HSA_IOLINKTYPE_PCIEXPRESS);
			assert_int_equal(links[i].Flags.LinkProperty, 0);
		}
		/* No byte more, and fewer when fewer are asked for. */
		assert_int_equal(*(unsigned char *)&banks[n.NumMemoryBanks], 0x5a);
		assert_int_equal(*(unsigned char *)&caches[n.NumCaches], 0x5a);
		assert_int_equal(*(unsigned char *)&links[n.NumIOLinks], 0x5a);
		assert_int_equal(hsaKmtGetNodeMemoryProperties(node, 100, banks),
				 HSAKMT_STATUS_SUCCESS);
		assert_int_equal(*(unsigned char *)&banks[n.NumMemoryBanks], 0x5a);
		memset(links, 0x5a, sizeof(links));
		assert_int_equal(hsaKmtGetNodeIoLinkProperties(node, 1, links),
				 HSAKMT_STATUS_SUCCESS);
		assert_int_equal(*(unsigned char *)&links[1], 0x5a);
	}
}

static void test_a_card_has_its_banks(void **state _unused_)
{
	HsaMemoryProperties banks[5];

	assert_int_equal(hsaKmtGetNodeMemoryProperties(CARD_1, 5, banks), HSAKMT_STATUS_SUCCESS);
	for (size_t i = 0; i < ARRAY_SIZE(banks); i++)
		switch (banks[i].HeapType) {
		case HSA_HEAPTYPE_FRAME_BUFFER_PUBLIC:
			assert_int_equal(banks[i].SizeInBytes, UINT64_C(16) << 30);
			assert_int_equal(banks[i].Width, 4096);
			assert_int_equal(banks[i].MemoryClockMax, 1000);
			break;
		case HSA_HEAPTYPE_GPU_LDS:
		case HSA_HEAPTYPE_GPU_SCRATCH:
			assert_true(banks[i].VirtualBaseAddress >> 32 != 0);
			break;
		case HSA_HEAPTYPE_MMIO_REMAP:
			/* The host writes there to flush. */
			*(volatile uint32_t *)(uintptr_t)banks[i].VirtualBaseAddress = 1;
			break;
		default:
			assert_int_equal(banks[i].HeapType, HSA_HEAPTYPE_DEVICE_SVM);
		}
}

/* The driver and the files in sysfs must speak of the same card. */
static void test_the_files_name_the_same_card(void **state)
{
	struct hsakmt_fixture *f = *state;
	static const char *const files[] = {"location_id", "unique_id", "drm_render_minor",
					    "simd_count", "capability"};
	struct plant_device *device;
	struct card *cards[FIXTURE_CARDS] = {0};
	struct ini_error error;
	struct tree *tree;

	assert_int_equal(plant_device_load(f->machine->device_ini, &device, &error), 0);
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++) {
		const struct card_options o = {.index = i,
					       .device = device,
					       .machine = f->machine,
					       .plant = {.time_factor = 1, .power_factor = 1}};

		assert_int_equal(card_new(&o, &cards[i]), 0);
	}
	assert_int_equal(tree_new(cards, FIXTURE_CARDS, &tree), 0);
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++) {
		char path[128], *rest = path, *part, text[TREE_FILE_SIZE];
		uint64_t node = TREE_ROOT;
		HsaNodeProperties n;
		ssize_t size;

		assert_int_equal(hsaKmtGetNodeProperties(CARD_0 + i, &n), HSAKMT_STATUS_SUCCESS);
		(void)snprintf(path, sizeof(path),
			       "devices/virtual/kfd/kfd/topology/nodes/%u/properties", i + 1);
		while ((part = strsep(&rest, "/")))
			assert_int_equal(tree_lookup(tree, node, part, &node), 0);
		size = tree_read(tree, node, text);
		assert_in_range(size, 1, sizeof(text) - 1);
		text[size] = '\0';
		for (size_t k = 0; k < ARRAY_SIZE(files); k++) {
			const uint64_t values[] = {n.LocationId, n.UniqueID,
						   (uint64_t)n.DrmRenderMinor, n.NumFComputeCores,
						   n.Capability.Value};
			char line[64];

			(void)snprintf(line, sizeof(line), "%s %llu\n", files[k],
				       (unsigned long long)values[k]);
			assert_non_null(strstr(text, line));
		}
	}
	(void)tree_free(tree);
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++)
		(void)card_free(cards[i]);
	free(device);
}

static void test_clocks_are_one_moment(void **state _unused_)
{
	HsaClockCounters a, b, cpu;

	assert_int_equal(hsaKmtGetClockCounters(CARD_0, &a), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtGetClockCounters(CARD_1, &b), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtGetClockCounters(CPU_NODE, &cpu), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(a.SystemClockFrequencyHz, 1000000000);
	assert_true(b.SystemClockCounter >= a.SystemClockCounter);
	/* 25 MHz beside 1 GHz, to a tick. */
	assert_in_range(a.SystemClockCounter - 40 * a.GPUClockCounter, 0, 40);
	assert_int_equal(cpu.GPUClockCounter, 0);
	assert_int_equal(hsaKmtGetClockCounters(N_NODES, &a), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtGetClockCounters(CARD_0, NULL), HSAKMT_STATUS_INVALID_PARAMETER);
}

static void test_what_is_not_simulated_says_so(void **state _unused_)
{
	HSA_SVM_ATTRIBUTE attribute = {0};
	HsaGpuTileConfig tiles = {0};
	HSAint32 xnack = -1;

	assert_int_equal(hsaKmtRuntimeEnable(NULL, true), HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtRuntimeDisable(), HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtSVMSetAttr(NULL, 0, 1, &attribute), HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtSVMGetAttr(NULL, 0, 1, &attribute), HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtSetXNACKMode(1), HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtGetXNACKMode(&xnack), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(xnack, 0);
	assert_int_equal(hsaKmtRegisterGraphicsHandleToNodes(1, NULL, 0, NULL),
			 HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtSetTrapHandler(CARD_1, NULL, 0, NULL, 0), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtSetTrapHandler(CPU_NODE, NULL, 0, NULL, 0),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtGetTileConfig(CARD_0, &tiles), HSAKMT_STATUS_SUCCESS);
	assert_int_not_equal(tiles.GbAddrConfig, 0);
}

/* ---- queues ---- */

struct ring {
	uint64_t words[2];
	_Alignas(4096) char packets[4096];
};

static struct ring *make_ring(void)
{
	struct ring *ring = NULL;

	assert_int_equal(hsaKmtAllocMemory(CPU_NODE, sizeof(*ring), (HsaMemFlags){0},
					   (void **)&ring),
			 HSAKMT_STATUS_SUCCESS);
	return ring;
}

static HSAKMT_STATUS create(uint32_t node, uint32_t type, struct ring *ring, HsaQueueResource *q)
{
	*q = (HsaQueueResource){.Queue_read_ptr_aql = &ring->words[0],
				.Queue_write_ptr_aql = &ring->words[1]};
	return hsaKmtCreateQueue(node, type, 100, HSA_QUEUE_PRIORITY_NORMAL, ring->packets,
				 sizeof(ring->packets), NULL, q);
}

static void test_queues_keep_to_their_ids(void **state _unused_)
{
	uint32_t mask[] = {0xffff, 0xf0, 0};
	struct ring *ring = make_ring();
	HsaQueueResource aql, sdma, again;
	const struct fake_queue *fake;
	uint32_t before = 0, first = 9;

	while (fake_queue(before))
		before++;
	assert_int_equal(create(CARD_1, HSA_QUEUE_COMPUTE_AQL, ring, &aql), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(create(CARD_0, HSA_QUEUE_SDMA, ring, &sdma), HSAKMT_STATUS_SUCCESS);
	assert_int_not_equal(aql.QueueId, 0);
	assert_int_not_equal(aql.QueueId, sdma.QueueId);
	fake = fake_queue(before);
	assert_int_equal(fake->options.type, DEVICE_QUEUE_AQL);
	assert_ptr_equal(fake->options.read_index, &ring->words[0]);
	assert_ptr_equal(fake->options.write_index, &ring->words[1]);
	assert_ptr_equal(aql.Queue_read_ptr_aql, &ring->words[0]);
	/* An SDMA queue has words of its own. */
	assert_null(fake_queue(before + 1)->options.read_index);
	assert_ptr_not_equal(sdma.Queue_read_ptr_aql, &ring->words[0]);
	assert_non_null(sdma.Queue_DoorBell_aql);

	assert_int_equal(hsaKmtSetQueueCUMask(aql.QueueId, 64, mask), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(fake->mask_bits, 64);
	assert_memory_equal(fake->mask, mask, 8);
	assert_int_equal(hsaKmtSetQueueCUMask(aql.QueueId, 40, mask),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtSetQueueCUMask(aql.QueueId, 0, mask),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtSetQueueCUMask(aql.QueueId, 2048, mask),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtSetQueueCUMask(sdma.QueueId, 64, mask),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtUpdateQueue(aql.QueueId, 0, HSA_QUEUE_PRIORITY_HIGH, NULL, 0, NULL),
			 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(fake->percentage, 0);
	assert_int_equal(fake->priority, HSA_QUEUE_PRIORITY_HIGH);
	assert_int_equal(hsaKmtUpdateQueue(aql.QueueId, 101, 0, NULL, 0, NULL),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtAllocQueueGWS(aql.QueueId, 64, &first), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(first, 0);
	assert_int_equal(hsaKmtAllocQueueGWS(aql.QueueId, 65, &first),
			 HSAKMT_STATUS_INVALID_PARAMETER);

	assert_int_equal(hsaKmtDestroyQueue(aql.QueueId), HSAKMT_STATUS_SUCCESS);
	assert_false(fake->live);
	assert_int_equal(hsaKmtDestroyQueue(aql.QueueId), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtSetQueueCUMask(aql.QueueId, 64, mask),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(create(CARD_0, HSA_QUEUE_COMPUTE_AQL, ring, &again),
			 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtDestroyQueue(again.QueueId), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtDestroyQueue(sdma.QueueId), HSAKMT_STATUS_SUCCESS);
}

static void test_wrong_queues_are_refused(void **state _unused_)
{
	struct ring *ring = make_ring();
	HsaQueueResource q;

	assert_int_equal(create(CPU_NODE, HSA_QUEUE_COMPUTE_AQL, ring, &q),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(create(N_NODES, HSA_QUEUE_COMPUTE_AQL, ring, &q),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(create(CARD_0, HSA_QUEUE_COMPUTE, ring, &q),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtCreateQueue(CARD_0, HSA_QUEUE_COMPUTE_AQL, 100, 0, ring->packets,
					   4096, NULL, &(HsaQueueResource){0}),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtCreateQueue(CARD_0, HSA_QUEUE_SDMA, 100, 4, ring->packets, 4096,
					   NULL, &q),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtCreateQueue(CARD_0, HSA_QUEUE_SDMA, 100, 0, &q, 4096, NULL, &q),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtCreateQueue(CARD_0, HSA_QUEUE_SDMA, 100, 0, ring->packets, 4096,
					   NULL, NULL),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtDestroyQueue(0), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtDestroyQueue(UINT64_MAX), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(fake_queues_live(), 0);
}

/* ---- fork ---- */

static int child_side(void)
{
	HsaEventDescriptor d = {0};
	HsaVersionInfo version;
	HsaEvent *event;

	if (hsaKmtGetVersion(&version) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED ||
	    hsaKmtCloseKFD() != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED ||
	    hsaKmtDestroyQueue(1) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED ||
	    hsaKmtCreateEvent(&d, false, false, &event) !=
		    HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		return 2;
	if (hsaKmtOpenKFD() != HSAKMT_STATUS_SUCCESS || fake_devices_forgotten() != FIXTURE_CARDS ||
	    fake_devices_open() != FIXTURE_CARDS)
		return 3;
	/* What the parent had is unknown here. */
	if (hsaKmtDestroyQueue(1) != HSAKMT_STATUS_INVALID_PARAMETER ||
	    hsaKmtCreateEvent(&d, false, true, &event) != HSAKMT_STATUS_SUCCESS ||
	    event->EventId != 1 || hsaKmtWaitOnEvent(event, 0) != HSAKMT_STATUS_SUCCESS)
		return 4;
	return hsaKmtCloseKFD() == HSAKMT_STATUS_SUCCESS ? 0 : 5;
}

static void test_a_child_begins_anew(void **state)
{
	struct hsakmt_fixture *f = *state;
	struct ring *ring = make_ring();
	HsaEventDescriptor d = {0};
	HsaQueueResource q;
	HsaEvent *event;
	int status = -1;
	pid_t pid;

	assert_int_equal(create(CARD_0, HSA_QUEUE_COMPUTE_AQL, ring, &q), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtCreateEvent(&d, false, false, &event), HSAKMT_STATUS_SUCCESS);
	pid = fork();
	if (pid == 0)
		_exit(child_side());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* The parent's go on. */
	assert_int_equal(atomic_load(&f->machine->cards[0].slots[0].pid), getpid());
	assert_int_equal(hsaKmtSetEvent(event), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtWaitOnEvent(event, 0), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtDestroyQueue(q.QueueId), HSAKMT_STATUS_SUCCESS);
}

int main(void)
{
#define SHUT(test) cmocka_unit_test_setup_teardown(test, hsakmt_setup, hsakmt_teardown)
#define OPEN(test) cmocka_unit_test_setup_teardown(test, hsakmt_setup_open, hsakmt_teardown_open)
	const struct CMUnitTest tests[] = {
		SHUT(test_without_a_simulator_there_is_no_driver),
		SHUT(test_the_driver_is_open_until_closed_as_often),
		SHUT(test_closing_takes_everything_down),
		OPEN(test_the_nodes_are_the_machine),
		OPEN(test_every_list_has_as_many_as_its_node_says),
		OPEN(test_a_card_has_its_banks),
		OPEN(test_the_files_name_the_same_card),
		OPEN(test_clocks_are_one_moment),
		OPEN(test_what_is_not_simulated_says_so),
		OPEN(test_queues_keep_to_their_ids),
		OPEN(test_wrong_queues_are_refused),
		OPEN(test_a_child_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
