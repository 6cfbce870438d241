/* SPDX-License-Identifier: Apache-2.0 */
/* What each of the fixed files shows and takes; KFD's topology in tree-topology.c. */
#include "base/units.h"
#include "sim/identity.h"
#include "sim/tree-internal.h"
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define PCI   "devices/pci0000:40/0000:40:01.1/%b"
#define HWMON PCI "/hwmon/hwmon%h"
#define NODE  TREE_KFD "/topology/nodes/%n"
#define UP    "../" TREE_FOLDER "/"

/* ---- contents ---- */

static uint64_t value_zero(struct card *card _unused_)
{
	return 0;
}

static uint64_t value_busy(struct card *card)
{
	return tree_card_view(card).plant.sensor_busy_percent;
}

static uint64_t value_mem_busy(struct card *card)
{
	return tree_card_view(card).mem_busy_percent;
}

static uint64_t value_power_uw(struct card *card)
{
	return tree_card_view(card).plant.sensor_power_uw;
}

static uint64_t value_cap_uw(struct card *card)
{
	return tree_card_view(card).cap_uw;
}

static uint64_t value_cap_default_uw(struct card *card)
{
	return (uint64_t)card_device(card)->cap_w * UW_PER_W;
}

static uint64_t value_cap_max_uw(struct card *card)
{
	return (uint64_t)card_device(card)->cap_max_w * UW_PER_W;
}

static uint64_t value_cap_min_uw(struct card *card)
{
	return (uint64_t)card_device(card)->cap_min_w * UW_PER_W;
}

/* The plant has one temperature; the sensors show whole degrees. */
static uint64_t value_temp_mc(struct card *card)
{
	return (uint64_t)fmax(0, floor(tree_card_view(card).plant.temp_c)) * 1000;
}

static uint64_t value_crit_mc(struct card *card)
{
	return (uint64_t)card_device(card)->throttle_c * 1000;
}

static uint64_t value_emergency_mc(struct card *card)
{
	return (uint64_t)card_device(card)->emergency_c * 1000;
}

static uint64_t value_core_mv(struct card *card)
{
	return (uint64_t)lround(
		plant_voltage_mv(card_device(card), tree_card_view(card).plant.sclk_mhz));
}

static uint64_t value_sclk_hz(struct card *card)
{
	return tree_card_view(card).plant.sensor_sclk_mhz * UINT64_C(1000000);
}

static uint64_t value_mclk_hz(struct card *card)
{
	return tree_card_view(card).current_mhz[DOMAIN_MCLK] * UINT64_C(1000000);
}

static uint64_t value_vram_bytes(struct card *card)
{
	return card_device(card)->vram_bytes;
}

static uint64_t value_vram_used(struct card *card)
{
	return MIN(sim_card_vram_bytes(card_shared(card)), card_device(card)->vram_bytes);
}

static uint64_t value_gpu_id(struct card *card)
{
	return tree_gpu_id(card_index(card));
}

static uint64_t unique_id(const struct card *card)
{
	return sim_unique_id(card_index(card));
}

static void show_device_id(const struct tree *t _unused_, struct card *card, int arg _unused_,
			   struct text *out)
{
	tree_print(out, "0x%04x\n", card_device(card)->pci_device_id);
}

static void show_unique_id(const struct tree *t _unused_, struct card *card, int arg _unused_,
			   struct text *out)
{
	tree_print(out, "%016llx\n", (unsigned long long)unique_id(card));
}

static void show_product(const struct tree *t _unused_, struct card *card, int arg _unused_,
			 struct text *out)
{
	tree_print(out, "%s\n", card_device(card)->product);
}

static void show_gfx(const struct tree *t _unused_, struct card *card, int arg _unused_,
		     struct text *out)
{
	tree_print(out, "%s\n", card_device(card)->gfx);
}

static void show_uevent(const struct tree *t _unused_, struct card *card, int arg _unused_,
			struct text *out)
{
	tree_print(out, "%sPCI_CLASS=38000\nPCI_ID=1002:%04X\nPCI_SLOT_NAME=%s\n",
		   card_is_bound(card) ? "DRIVER=amdgpu\n" : "", card_device(card)->pci_device_id,
		   card_bdf(card));
}

static void show_drm_dev(const struct tree *t _unused_, struct card *card, int first,
			 struct text *out)
{
	tree_print(out, "226:%u\n", (uint32_t)first + card_index(card));
}

static void show_perf_level(const struct tree *t _unused_, struct card *card, int arg _unused_,
			    struct text *out)
{
	tree_print(out, "%s\n", tree_card_view(card).perf_level);
}

/* The star only where the clock is a level exactly, and a blank at the end of the other lines. */
static void show_levels(const struct tree *t _unused_, struct card *card, int domain,
			struct text *out)
{
	struct card_view v = tree_card_view(card);
	const uint32_t *mhz;
	uint32_t n;

	mhz = card_levels(card, (enum card_domain)domain, &n);
	for (uint32_t i = 0; i < n; i++)
		tree_print(out, "%u: %uMhz %s\n", i, mhz[i],
			   mhz[i] == v.current_mhz[domain] ? "*" : "");
}

static void show_ras(const struct tree *t _unused_, struct card *card, int block, struct text *out)
{
	struct card_ras ras = card_get_ras(card, (enum card_ras_block)block);

	tree_print(out, "ue: %llu\nce: %llu\n", (unsigned long long)ras.uncorrectable,
		   (unsigned long long)ras.correctable);
}

static void show_pcie(const struct tree *t _unused_, struct card *card, int arg _unused_,
		      struct text *out)
{
	uint32_t high = tree_card_view(card).ranges[DOMAIN_PCIE].high;

	tree_print(out, "0: 2.5GT/s, x16 619Mhz %s\n", high == 0 ? "*" : "");
	tree_print(out, "1: 16.0GT/s, x16 619Mhz %s\n", high == 1 ? "*" : "");
}

/* Version 1.0 as the kernel lays it out. */
struct gpu_metrics {
	uint16_t size;
	uint8_t format, content;
	uint64_t clock_ns;
	uint16_t temp_edge, temp_hotspot, temp_mem, temp_vrgfx, temp_vrsoc, temp_vrmem;
	uint16_t gfx_activity, umc_activity, mm_activity;
	uint16_t socket_power_w;
	uint32_t energy;
	uint16_t average_mhz[7], current_mhz[7]; /* gfx soc u v0 d0 v1 d1 */
	uint32_t throttle_status;
	uint16_t fan_rpm;
	uint8_t pcie_width, pcie_speed;
};
_Static_assert(sizeof(struct gpu_metrics) == 80, "gpu_metrics v1.0");
_Static_assert(offsetof(struct gpu_metrics, throttle_status) == 68, "gpu_metrics v1.0");

/* Vega20's bits of throttle_status (smu11_driver_if.h). */
#define THROTTLE_HOTSPOT (UINT32_C(1) << 2)
#define THROTTLE_PPT	 (UINT32_C(1) << 13)

/* Live values: this file goes past the cache that the other sensors are read from. */
static void show_metrics(const struct tree *t _unused_, struct card *card, int arg _unused_,
			 struct text *out)
{
	struct card_view v = tree_card_view(card);
	uint16_t temp = (uint16_t)fmax(0, floor(v.plant.temp_c));
	uint16_t gfx = (uint16_t)v.plant.sclk_mhz, mem = (uint16_t)v.current_mhz[DOMAIN_MCLK];
	uint16_t soc = (uint16_t)v.current_mhz[DOMAIN_SOCCLK];
	struct timespec now;
	struct gpu_metrics m = {
		.size = sizeof(m),
		.format = 1,
		.temp_edge = temp,
		.temp_hotspot = temp,
		.temp_mem = temp,
		.temp_vrgfx = temp,
		.temp_vrsoc = temp,
		.temp_vrmem = temp,
		.gfx_activity = (uint16_t)v.plant.sensor_busy_percent,
		.umc_activity = (uint16_t)v.mem_busy_percent,
		.socket_power_w = (uint16_t)lround(v.plant.power_w),
		.energy = UINT32_MAX, /* not filled on Vega20 */
		.average_mhz = {(uint16_t)v.plant.sensor_sclk_mhz, soc, mem},
		.current_mhz = {gfx, soc, mem},
		.throttle_status = (v.plant.throttled_thermal ? THROTTLE_HOTSPOT : 0) |
				   (v.plant.throttled_power ? THROTTLE_PPT : 0),
		.pcie_width = 16,
		.pcie_speed = 160,
	};

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	m.clock_ns = (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
	memcpy(out->data, &m, sizeof(m));
	out->size = sizeof(m);
}

/* ---- writes ---- */

static int write_perf_level(struct card *card, int arg _unused_, const char *text)
{
	return card_write_perf_level(card, text);
}

static int write_mask(struct card *card, int domain, const char *text)
{
	return card_write_mask(card, (enum card_domain)domain, text);
}

static int write_cap(struct card *card, int arg _unused_, const char *text)
{
	return card_write_cap(card, text);
}

/* Files of features that the card does not have: overdrive is off, the profile is fixed. */
static int write_refused(struct card *card _unused_, int arg _unused_, const char *text _unused_)
{
	return -EINVAL;
}

/* ---- the table ---- */

#define RW   (S_IFREG | 0644)
#define LINK (S_IFLNK | 0777)

#define POWER_PROFILES                                                                             \
	"NUM        MODE_NAME BUSY_SET_POINT FPS USE_RLC_BUSY MIN_ACTIVE_LEVEL\n"                  \
	"  0 BOOTUP_DEFAULT*:             70  60          0              0\n"

const struct row tree_rows[] = {
	{"drm/version", RO, .text = "drm 1.1.0 20060810\n"},
	{"drm/card%c", LINK, .text = UP PCI "/drm/card%c"},
	{"drm/renderD%r", LINK, .text = UP PCI "/drm/renderD%r"},
	{"hwmon/hwmon%h", LINK, .text = UP HWMON},
	{"kfd/kfd", LINK, .text = UP TREE_KFD},

	{PCI "/drm/card%c/device", LINK, .text = "../../../%b"},
	{PCI "/drm/card%c/dev", RO, .show = show_drm_dev, .arg = 0},
	{PCI "/drm/renderD%r/device", LINK, .text = "../../../%b"},
	{PCI "/drm/renderD%r/dev", RO, .show = show_drm_dev, .arg = SIM_FIRST_RENDER_MINOR},

	{PCI "/vendor", RO, .text = "0x1002\n", .of_device = true},
	{PCI "/device", RO, .show = show_device_id, .of_device = true},
	{PCI "/subsystem_vendor", RO, .text = "0x1002\n", .of_device = true},
	{PCI "/subsystem_device", RO, .text = "0x0834\n", .of_device = true},
	{PCI "/class", RO, .text = "0x038000\n", .of_device = true},
	{PCI "/revision", RO, .text = "0x02\n", .of_device = true},
	{PCI "/uevent", RO, .show = show_uevent, .of_device = true},
	{PCI "/numa_node", RO, .text = "0\n", .of_device = true},
	{PCI "/current_link_speed", RO, .text = "16.0 GT/s PCIe\n", .of_device = true},
	{PCI "/current_link_width", RO, .text = "16\n", .of_device = true},
	{PCI "/driver", LINK, .text = "../../../../bus/pci/drivers/amdgpu", .is_driver = true},
	{PCI "/vbios_version", RO, .text = "113-D1631400-111\n"},
	{PCI "/unique_id", RO, .show = show_unique_id},
	{PCI "/product_name", RO, .show = show_product},
	{PCI "/product_number", RO, .text = "\n"},
	{PCI "/serial_number", RO, .text = "\n"},
	{PCI "/power_dpm_force_performance_level", RW, .show = show_perf_level,
	 .write = write_perf_level},
	{PCI "/pp_dpm_sclk", RW, .show = show_levels, .write = write_mask, .arg = DOMAIN_SCLK},
	{PCI "/pp_dpm_mclk", RW, .show = show_levels, .write = write_mask, .arg = DOMAIN_MCLK},
	{PCI "/pp_dpm_socclk", RW, .show = show_levels, .write = write_mask, .arg = DOMAIN_SOCCLK},
	{PCI "/pp_dpm_fclk", RW, .show = show_levels, .write = write_mask, .arg = DOMAIN_FCLK},
	{PCI "/pp_dpm_dcefclk", RW, .show = show_levels, .write = write_mask,
	 .arg = DOMAIN_DCEFCLK},
	{PCI "/pp_dpm_pcie", RW, .show = show_pcie, .write = write_mask, .arg = DOMAIN_PCIE},
	{PCI "/pp_od_clk_voltage", RW, .text = "", .write = write_refused},
	{PCI "/pp_power_profile_mode", RW, .text = POWER_PROFILES, .write = write_refused},
	{PCI "/gpu_busy_percent", RO, .value = value_busy},
	{PCI "/mem_busy_percent", RO, .value = value_mem_busy},
	{PCI "/mem_info_vram_total", RO, .value = value_vram_bytes},
	{PCI "/mem_info_vram_used", RO, .value = value_vram_used},
	{PCI "/mem_info_vis_vram_total", RO, .value = value_vram_bytes},
	{PCI "/mem_info_vis_vram_used", RO, .value = value_vram_used},
	{PCI "/mem_info_gtt_total", RO, .value = value_vram_bytes},
	{PCI "/mem_info_gtt_used", RO, .value = value_zero},
	{PCI "/gpu_metrics", RO, .show = show_metrics},
	{PCI "/ras/gfx_err_count", RO, .show = show_ras, .arg = RAS_GFX},
	{PCI "/ras/mmhub_err_count", RO, .show = show_ras, .arg = RAS_MMHUB},
	{PCI "/ras/sdma_err_count", RO, .show = show_ras, .arg = RAS_SDMA},
	{PCI "/ras/umc_err_count", RO, .show = show_ras, .arg = RAS_UMC},

	{HWMON "/device", LINK, .text = "../../../%b"},
	{HWMON "/name", RO, .text = "amdgpu\n"},
	{HWMON "/in0_label", RO, .text = "vddgfx\n"},
	{HWMON "/in0_input", RO, .value = value_core_mv},
	{HWMON "/temp1_label", RO, .text = "edge\n"},
	{HWMON "/temp1_input", RO, .value = value_temp_mc},
	{HWMON "/temp1_crit", RO, .value = value_crit_mc},
	{HWMON "/temp1_emergency", RO, .value = value_emergency_mc},
	{HWMON "/temp2_label", RO, .text = "junction\n"},
	{HWMON "/temp2_input", RO, .value = value_temp_mc},
	{HWMON "/temp2_crit", RO, .value = value_crit_mc},
	{HWMON "/temp2_emergency", RO, .value = value_emergency_mc},
	{HWMON "/temp3_label", RO, .text = "mem\n"},
	{HWMON "/temp3_input", RO, .value = value_temp_mc},
	{HWMON "/temp3_crit", RO, .text = "94000\n"},
	{HWMON "/temp3_emergency", RO, .text = "99000\n"},
	{HWMON "/power1_label", RO, .text = "PPT\n"},
	{HWMON "/power1_average", RO, .value = value_power_uw},
	{HWMON "/power1_cap", RW, .value = value_cap_uw, .write = write_cap},
	{HWMON "/power1_cap_default", RO, .value = value_cap_default_uw},
	{HWMON "/power1_cap_max", RO, .value = value_cap_max_uw},
	{HWMON "/power1_cap_min", RO, .value = value_cap_min_uw},
	{HWMON "/freq1_label", RO, .text = "sclk\n"},
	{HWMON "/freq1_input", RO, .value = value_sclk_hz},
	{HWMON "/freq2_label", RO, .text = "mclk\n"},
	{HWMON "/freq2_input", RO, .value = value_mclk_hz},

	{TREE_KFD "/topology/generation_id", RO, .text = "2\n"},
	{TREE_KFD "/topology/system_properties", RO,
	 .text = "platform_oem 0\nplatform_id 0\nplatform_rev 0\n"},
	{TREE_KFD "/topology/nodes/0/gpu_id", RO, .text = "0\n"},
	{TREE_KFD "/topology/nodes/0/name", RO, .text = "\n"},
	{TREE_KFD "/topology/nodes/0/properties", RO, .show = topology_show_cpu_properties},
	{TREE_KFD "/topology/nodes/0/caches", DIR_},
	{TREE_KFD "/topology/nodes/0/mem_banks/0/properties", RO,
	 .text = "heap_type 0\nsize_in_bytes 68719476736\nflags 0\nwidth 64\nmem_clk_max 3200\n"},
	{TREE_KFD "/topology/nodes/0/io_links", DIR_},
	{TREE_KFD "/topology/nodes/0/io_links/%c/properties", RO, .show = topology_show_link,
	 .arg = 0},
	{NODE "/gpu_id", RO, .value = value_gpu_id},
	{NODE "/name", RO, .show = show_gfx},
	{NODE "/properties", RO, .show = topology_show_gpu_properties},
	{NODE "/caches", DIR_},
	{NODE "/mem_banks/0/properties", RO, .show = topology_show_vram_bank},
	{NODE "/io_links/0/properties", RO, .show = topology_show_link, .arg = 1},
	{TREE_KFD "/proc", DIR_},
};
const size_t tree_n_rows = ARRAY_SIZE(tree_rows);
