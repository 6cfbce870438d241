/* SPDX-License-Identifier: Apache-2.0 */
/* The few pieces of ROCr's ABI that the tool uses, written down here because the table's header is
 * C++ and because nothing may tie the tool to one ROCr. tests/unit/test-hsa-abi.sh holds them
 * against the headers.
 *
 * A table begins with its version, whose minor number is the table's size. Offsets are those of
 * ROCm 4 to 7. In ROCm 5.6, two functions were put into the middle of the AMD table under the same
 * major number, so whatever lies behind hsa_amd_memory_async_copy (112) has no fixed place and is
 * not used here: not hsa_amd_queue_cu_get_mask, not hsa_amd_runtime_queue_create_register. (The
 * latter has room for one caller only, which a profiler may need more; and the runtime's own queues
 * that it would show are left alone anyway.) */
#pragma once

#include <stdint.h>
#include <string.h>

struct hsa_agent {
	uint64_t handle;
};

enum {
	HSA_SUCCESS = 0,
	HSA_MASK_REDUCED = 44,
	HSA_INFO_DEVICE = 17, /* HSA_AGENT_INFO_DEVICE, a uint32_t here */
	HSA_DEVICE_GPU = 1,
	HSA_INFO_CU_COUNT = 0xa002, /* HSA_AMD_AGENT_INFO_..., each a uint32_t */
	HSA_INFO_BDFID = 0xa006,    /* bus << 8 | device << 3 | function */
	HSA_INFO_DOMAIN = 0xa00f,
	HSA_QUEUE_MULTI = 0,
	HSA_QUEUE_SINGLE = 1,
	HSA_QUEUE_COOPERATIVE = 2,
};

typedef int hsa_status;
struct hsa_queue; /* the runtime's; only its address is used */
typedef void (*hsa_queue_callback)(hsa_status status, struct hsa_queue *queue, void *data);
typedef hsa_status (*hsa_agent_callback)(struct hsa_agent agent, void *data);
typedef hsa_status (*hsa_iterate_agents_fn)(hsa_agent_callback callback, void *data);
typedef hsa_status (*hsa_agent_get_info_fn)(struct hsa_agent agent, int attribute, void *ret);
typedef hsa_status (*hsa_queue_create_fn)(struct hsa_agent agent, uint32_t size, uint32_t type,
					  hsa_queue_callback callback, void *data,
					  uint32_t private_segment_size,
					  uint32_t group_segment_size, struct hsa_queue **ret);
typedef hsa_status (*hsa_queue_destroy_fn)(struct hsa_queue *queue);
typedef hsa_status (*hsa_queue_set_mask_fn)(const struct hsa_queue *queue, uint32_t n_bits,
					    const uint32_t *mask);

struct hsa_table_version {
	uint32_t major;
	uint32_t minor; /* the table's size */
	uint32_t step;
	uint32_t reserved;
};

#define HSA_API_TABLE_MAJOR_MAX	 3
#define HSA_CORE_TABLE_MAJOR_MAX 2
#define HSA_AMD_TABLE_MAJOR_MAX	 2

/* Offsets of pointers in the tables. */
#define HSA_API_CORE		16
#define HSA_API_AMD		24
#define HSA_CORE_ITERATE_AGENTS 56
#define HSA_CORE_AGENT_GET_INFO 64
#define HSA_CORE_QUEUE_CREATE	72
#define HSA_CORE_QUEUE_DESTROY	88
#define HSA_AMD_QUEUE_SET_MASK	96

/* Whether a table is one of those that the offsets are of, and has all up to the pointer at last.
 */
static inline int hsa_table_has(const void *table, uint32_t major_max, uint32_t last)
{
	struct hsa_table_version v;

	if (!table)
		return 0;
	memcpy(&v, table, sizeof(v));
	return v.major >= 1 && v.major <= major_max && v.minor >= last + sizeof(void *);
}

static inline void *hsa_table_get(const void *table, uint32_t offset)
{
	void *p;

	memcpy(&p, (const char *)table + offset, sizeof(p));
	return p;
}

static inline void hsa_table_put(void *table, uint32_t offset, void *p)
{
	memcpy((char *)table + offset, &p, sizeof(p));
}
