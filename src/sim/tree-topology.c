/* SPDX-License-Identifier: Apache-2.0 */
/* KFD's topology: what nodes, links and memory banks say of themselves. */
#include "cu-mask/cu-mask.h"
#include "sim/identity.h"
#include "sim/tree-internal.h"

struct property {
	const char *name;
	unsigned long long value;
};

static void print_properties(struct text *out, const struct property *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tree_print(out, "%s %llu\n", p[i].name, p[i].value);
}

void topology_show_gpu_properties(const struct tree *t _unused_, struct card *card,
				  int arg _unused_, struct text *out)
{
	const struct plant_device *d = card_device(card);
	const struct property p[] = {
		{"cpu_cores_count", 0},
		{"simd_count", cu_topology_cus(&d->topology) * d->simds_per_cu},
		{"mem_banks_count", 1},
		{"caches_count", 0},
		{"io_links_count", 1},
		{"p2p_links_count", 0},
		{"cpu_core_id_base", 0},
		{"simd_id_base", SIM_FIRST_SIMD_ID},
		{"max_waves_per_simd", d->waves_per_simd},
		{"lds_size_in_kb", d->lds_kib},
		{"gds_size_in_kb", 0},
		{"num_gws", 64},
		{"wave_front_size", 64},
		{"array_count", d->topology.n_se * d->topology.n_sh_per_se},
		{"simd_arrays_per_engine", d->topology.n_sh_per_se},
		{"cu_per_simd_array", d->physical_cus_per_array},
		{"simd_per_cu", d->simds_per_cu},
		{"max_slots_scratch_cu", 32},
		{"gfx_target_version", sim_gfx_target_version(d->gfx)},
		{"vendor_id", 0x1002},
		{"device_id", d->pci_device_id},
		{"location_id", sim_location_id(card_bdf(card))},
		{"domain", 0},
		{"drm_render_minor", SIM_FIRST_RENDER_MINOR + card_index(card)},
		{"hive_id", 0},
		{"num_sdma_engines", 2},
		{"num_sdma_xgmi_engines", 0},
		{"num_sdma_queues_per_engine", 8},
		{"num_cp_queues", 24},
		{"max_engine_clk_fcompute", d->level_mhz[d->n_levels - 1]},
		{"local_mem_size", 0},
		{"fw_version", 467},
		{"capability", SIM_CAPABILITY},
		{"debug_prop", 1495},
		{"sdma_fw_version", 145},
		{"unique_id", sim_unique_id(card_index(card))},
		{"num_xcc", d->topology.n_xcc},
		{"max_engine_clk_ccompute", 3400},
	};

	print_properties(out, p, ARRAY_SIZE(p));
}

void topology_show_cpu_properties(const struct tree *t, struct card *card _unused_,
				  int arg _unused_, struct text *out)
{
	const struct property p[] = {
		{"cpu_cores_count", SIM_HOST_CORES},
		{"simd_count", 0},
		{"mem_banks_count", 1},
		{"caches_count", 0},
		{"io_links_count", t->n_cards},
		{"p2p_links_count", 0},
		{"cpu_core_id_base", 0},
		{"simd_id_base", 0},
		{"max_waves_per_simd", 0},
		{"array_count", 0},
		{"simd_arrays_per_engine", 0},
		{"cu_per_simd_array", 0},
		{"simd_per_cu", 0},
		{"gfx_target_version", 0},
		{"vendor_id", 0},
		{"device_id", 0},
		{"location_id", 0},
		{"domain", 0},
		{"drm_render_minor", 0},
		{"hive_id", 0},
		{"max_engine_clk_ccompute", 3400},
	};

	print_properties(out, p, ARRAY_SIZE(p));
}

void topology_show_link(const struct tree *t _unused_, struct card *card, int from_gpu,
			struct text *out)
{
	uint32_t node = card_index(card) + 1;
	const struct property p[] = {
		{"type", 2},
		{"version_major", 0},
		{"version_minor", 0},
		{"node_from", from_gpu ? node : 0},
		{"node_to", from_gpu ? 0 : node},
		{"weight", 20},
		{"min_latency", 0},
		{"max_latency", 0},
		{"min_bandwidth", 312},
		{"max_bandwidth", 16000},
		{"recommended_transfer_size", 0},
		{"flags", 1},
	};

	print_properties(out, p, ARRAY_SIZE(p));
}

void topology_show_vram_bank(const struct tree *t _unused_, struct card *card, int arg _unused_,
			     struct text *out)
{
	const struct plant_device *d = card_device(card);
	const struct property p[] = {
		{"heap_type", 1},
		{"size_in_bytes", d->vram_bytes},
		{"flags", 0},
		{"width", d->memory_bus_bits},
		{"mem_clk_max", d->mclk_mhz[d->n_mclk - 1]},
	};

	print_properties(out, p, ARRAY_SIZE(p));
}
