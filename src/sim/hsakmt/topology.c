/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as the driver describes it: node 0 is the CPU, each card is a node of its own. What
 * a card is comes from its device's profile; what names it is the same as in its sysfs files.
 *
 * ROCr in Debian is built with asserts: a list that is empty here is an abort there. */
#include "sim/hsakmt/thunk.h"
#include "sim/identity.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CPU_MAX_MHZ	  3400
#define CP_FIRMWARE	  432
#define SDMA_FIRMWARE	  145
#define SDMA_ENGINES	  2
#define SDMA_QUEUES	  8 /* per engine */
#define CP_QUEUES	  24
#define N_GWS		  64 /* none of them would mean that there are no cooperative launches */
#define SGPR_BYTES_PER_CU 12800
#define SCRATCH_SLOTS	  32
#define VENDOR_AMD	  0x1002

/* Where the card sees its LDS and scratch; ROCr wants a non-zero upper half. */
#define LDS_BASE      (UINT64_C(1) << 48)
#define SCRATCH_BASE  (UINT64_C(2) << 48)
#define SCRATCH_BYTES (UINT64_C(4) << 30)
#define SVM_BYTES     (UINT64_C(1) << 47)

#define GB_ADDR_CONFIG 0x2a114042 /* assumed: of a Vega20; matters for images alone */

/* Links as the kernel has them for PCIe; a pair of cards is joined by way of the CPU, which the
 * real thunk, too, works out for itself. */
#define LINK_WEIGHT	    20
#define LINK_MIN_MBYTES_SEC 312
#define LINK_MAX_MBYTES_SEC 16000

enum gpu_bank { BANK_VRAM, BANK_LDS, BANK_SCRATCH, BANK_SVM, BANK_REGISTERS, N_GPU_BANKS };
enum { N_CPU_BANKS = 1, N_CPU_CACHES = 3, N_GPU_CACHES = 2 };

static uint32_t n_cards(void)
{
	return thunk_n_nodes() - HSAKMT_FIRST_CARD;
}

static HSAKMT_STATUS check_node(uint32_t node, const void *out)
{
	HSAKMT_STATUS status = thunk_check();

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (node >= thunk_n_nodes())
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	return out ? HSAKMT_STATUS_SUCCESS : HSAKMT_STATUS_INVALID_PARAMETER;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtAcquireSystemProperties(HsaSystemProperties *properties)
{
	HSAKMT_STATUS status = check_node(HSAKMT_CPU_NODE, properties);

	if (status == HSAKMT_STATUS_SUCCESS)
		*properties = (HsaSystemProperties){.NumNodes = thunk_n_nodes()};
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtReleaseSystemProperties(void)
{
	return thunk_check();
}

/* ---- nodes ---- */

static void set_names(HsaNodeProperties *p, const char *marketing, const char *asic)
{
	for (size_t i = 0; marketing[i] && i < HSA_PUBLIC_NAME_SIZE - 1; i++)
		p->MarketingName[i] = (unsigned char)marketing[i];
	(void)snprintf((char *)p->AMDName, sizeof(p->AMDName), "%s", asic);
}

static HsaNodeProperties cpu_node(void)
{
	HsaNodeProperties p = {
		.NumCPUCores = SIM_HOST_CORES,
		.NumMemoryBanks = N_CPU_BANKS,
		.NumCaches = N_CPU_CACHES,
		.NumIOLinks = n_cards(),
		.MaxEngineClockMhzCCompute = CPU_MAX_MHZ,
		.DrmRenderMinor = -1,
	};

	set_names(&p, "CPU of a simulated machine", "CPU of a simulated machine");
	return p;
}

static HSA_ENGINE_ID engine_id(const char *gfx)
{
	uint32_t version = sim_gfx_target_version(gfx);

	return (HSA_ENGINE_ID){.ui32 = {
				       .uCode = CP_FIRMWARE,
				       .Major = version / 10000 & 0x3f,
				       .Minor = version / 100 % 100 & 0xff,
				       .Stepping = version % 100 & 0xff,
			       }};
}

static HsaNodeProperties gpu_node(uint32_t node)
{
	const struct plant_device *d = device_profile(thunk_device(node));
	HsaNodeProperties p = {
		.NumFComputeCores = cu_topology_cus(&d->topology) * d->simds_per_cu,
		.NumMemoryBanks = N_GPU_BANKS,
		.NumCaches = N_GPU_CACHES,
		.NumIOLinks = n_cards(), /* the CPU, and every other card */
		.FComputeIdLo = SIM_FIRST_SIMD_ID,
		.Capability = {.Value = SIM_CAPABILITY},
		.MaxWavesPerSIMD = d->waves_per_simd,
		.LDSSizeInKB = d->lds_kib,
		.WaveFrontSize = 64,
		.NumShaderBanks = d->topology.n_se,
		.NumArrays = d->topology.n_sh_per_se,
		.NumCUPerArray = d->physical_cus_per_array,
		.NumSIMDPerCU = d->simds_per_cu,
		.MaxSlotsScratchCU = SCRATCH_SLOTS,
		.EngineId = engine_id(d->gfx),
		.VendorId = VENDOR_AMD,
		.DeviceId = (HSAuint16)d->pci_device_id,
		.LocationId = sim_location_id(thunk_card(node)->bdf),
		.MaxEngineClockMhzFCompute = d->level_mhz[d->n_levels - 1],
		.MaxEngineClockMhzCCompute = CPU_MAX_MHZ,
		.DrmRenderMinor = (HSAint32)(SIM_FIRST_RENDER_MINOR + node - HSAKMT_FIRST_CARD),
		.uCodeEngineVersions = {.uCodeSDMA = SDMA_FIRMWARE},
		.NumSdmaEngines = SDMA_ENGINES,
		.NumSdmaQueuesPerEngine = SDMA_QUEUES,
		.NumCpQueues = CP_QUEUES,
		.NumGws = N_GWS,
		.UniqueID = sim_unique_id(node - HSAKMT_FIRST_CARD),
		.VGPRSizePerCU = d->vgpr_kib * 1024,
		.SGPRSizePerCU = SGPR_BYTES_PER_CU,
	};

	set_names(&p, d->product, d->asic);
	return p;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetNodeProperties(HSAuint32 node, HsaNodeProperties *properties)
{
	HSAKMT_STATUS status = check_node(node, properties);

	if (status == HSAKMT_STATUS_SUCCESS)
		*properties = node == HSAKMT_CPU_NODE ? cpu_node() : gpu_node(node);
	return status;
}

/* ---- memory ---- */

static uint64_t host_memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return pages > 0 ? (uint64_t)pages * HSAKMT_PAGE : 0;
}

static void fill_gpu_banks(uint32_t node, HsaMemoryProperties banks[N_GPU_BANKS])
{
	const struct plant_device *d = device_profile(thunk_device(node));

	banks[BANK_VRAM] = (HsaMemoryProperties){
		/* All of it: a large BAR. */
		.HeapType = HSA_HEAPTYPE_FRAME_BUFFER_PUBLIC,
		.SizeInBytes = d->vram_bytes,
		.Width = d->memory_bus_bits,
		.MemoryClockMax = d->mclk_mhz[d->n_mclk - 1],
	};
	banks[BANK_LDS] = (HsaMemoryProperties){
		.HeapType = HSA_HEAPTYPE_GPU_LDS,
		.SizeInBytes = d->lds_kib * UINT64_C(1024),
		.VirtualBaseAddress = LDS_BASE,
	};
	banks[BANK_SCRATCH] = (HsaMemoryProperties){
		.HeapType = HSA_HEAPTYPE_GPU_SCRATCH,
		.SizeInBytes = SCRATCH_BYTES,
		.VirtualBaseAddress = SCRATCH_BASE,
	};
	banks[BANK_SVM] = (HsaMemoryProperties){
		.HeapType = HSA_HEAPTYPE_DEVICE_SVM,
		.SizeInBytes = SVM_BYTES - HSAKMT_PAGE,
		.VirtualBaseAddress = HSAKMT_PAGE,
	};
	banks[BANK_REGISTERS] = (HsaMemoryProperties){
		.HeapType = HSA_HEAPTYPE_MMIO_REMAP,
		.SizeInBytes = HSAKMT_PAGE,
		.VirtualBaseAddress = (uintptr_t)memory_remapped_registers(node),
	};
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetNodeMemoryProperties(HSAuint32 node, HSAuint32 n,
							  HsaMemoryProperties *properties)
{
	HSAKMT_STATUS status = check_node(node, properties);
	HsaMemoryProperties banks[N_GPU_BANKS] = {0};

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (node == HSAKMT_CPU_NODE)
		banks[0] = (HsaMemoryProperties){.HeapType = HSA_HEAPTYPE_SYSTEM,
						 .SizeInBytes = host_memory_bytes()};
	else
		fill_gpu_banks(node, banks);
	n = MIN(n, node == HSAKMT_CPU_NODE ? N_CPU_BANKS + 0u : N_GPU_BANKS + 0u);
	memcpy(properties, banks, n * sizeof(*properties));
	return status;
}

/* ---- caches ---- */

static HsaCacheProperties cache(uint32_t level, uint32_t kib, uint32_t line_bytes,
				HsaCacheType type)
{
	return (HsaCacheProperties){
		.CacheLevel = level,
		.CacheSize = kib,
		.CacheLineSize = line_bytes,
		.CacheLinesPerTag = 1,
		.CacheAssociativity = 16,
		.CacheType = type,
	};
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetNodeCacheProperties(HSAuint32 node,
							 HSAuint32 processor _unused_, HSAuint32 n,
							 HsaCacheProperties *properties)
{
	static const uint32_t cpu_kib[N_CPU_CACHES] = {32, 512, 16384};
	const HsaCacheType cpu = {.ui32 = {.Data = 1, .CPU = 1}};
	const HsaCacheType gpu = {.ui32 = {.Data = 1, .HSACU = 1}};
	HSAKMT_STATUS status = check_node(node, properties);
	const struct plant_device *d;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (node == HSAKMT_CPU_NODE) {
		for (uint32_t i = 0; i < MIN(n, N_CPU_CACHES + 0u); i++)
			properties[i] = cache(i + 1, cpu_kib[i], 64, cpu);
		return status;
	}
	d = device_profile(thunk_device(node));
	for (uint32_t i = 0; i < MIN(n, N_GPU_CACHES + 0u); i++)
		properties[i] = cache(i + 1, i == 0 ? d->l1_kib : d->l2_kib, 64, gpu);
	return status;
}

/* ---- links ---- */

static HsaIoLinkProperties link_between(uint32_t from, uint32_t to)
{
	bool direct = from == HSAKMT_CPU_NODE || to == HSAKMT_CPU_NODE;

	/* No flags: PCIe's own atomics of 64 bits, by which SDMA completes. */
	return (HsaIoLinkProperties){
		.IoLinkType = HSA_IOLINKTYPE_PCIEXPRESS,
		.NodeFrom = from,
		.NodeTo = to,
		.Weight = direct ? LINK_WEIGHT : 2 * LINK_WEIGHT,
		.MinimumBandwidth = LINK_MIN_MBYTES_SEC,
		.MaximumBandwidth = LINK_MAX_MBYTES_SEC,
	};
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetNodeIoLinkProperties(HSAuint32 node, HSAuint32 n,
							  HsaIoLinkProperties *properties)
{
	HSAKMT_STATUS status = check_node(node, properties);
	uint32_t i = 0;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	for (uint32_t to = 0; to < thunk_n_nodes() && i < n; to++)
		if (to != node)
			properties[i++] = link_between(node, to);
	return status;
}

/* ---- images ---- */

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetTileConfig(HSAuint32 node, HsaGpuTileConfig *config)
{
	HSAKMT_STATUS status = check_node(node, config);

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (node == HSAKMT_CPU_NODE)
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	config->NumTileConfigs = 0;
	config->NumMacroTileConfigs = 0;
	config->GbAddrConfig = GB_ADDR_CONFIG;
	config->NumBanks = 0;
	config->NumRanks = 0;
	return status;
}
