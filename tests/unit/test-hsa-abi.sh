#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# src/hsa-tool/hsa-abi.h against ROCr's own headers, of which the table's is C++; and what the
# library exports.
# usage: test-hsa-abi.sh CXX SOURCE_DIR LIBRARY
set -eu
cxx=$1 source=$2 library=$3

exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort | tr '\n' ' ')
[ "$exported" = "HSA_AMD_TOOL_PRIORITY OnLoad OnUnload " ] ||
	{ echo "$library exports: $exported"; exit 1; }
readelf -d "$library" | grep -q 'FLAGS_1.*NODELETE' || { echo "may be unloaded"; exit 1; }

command -v "$cxx" >/dev/null || { echo "no $cxx"; exit 77; }
[ -e /usr/include/hsa/hsa_api_trace.h ] || { echo "no libhsa-runtime-dev"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Its types have the names of ROCr's.
sed -e 's/\bhsa_agent\b/our_agent/g' -e 's/\bstruct hsa_queue\b/struct our_queue/g' \
	-e 's/\bhsa_status\b/our_status/g' "$source/src/hsa-tool/hsa-abi.h" >"$folder/our-abi.h"
cat >"$folder/check.cc" <<'END'
#include <cstddef>
#include "our-abi.h"
#define AMD_INTERNAL_BUILD
#include <hsa_api_trace.h>
#define SAME(ours, theirs) static_assert((unsigned long)(ours) == (unsigned long)(theirs), #theirs)
SAME(HSA_API_CORE, offsetof(HsaApiTable, core_));
SAME(HSA_API_AMD, offsetof(HsaApiTable, amd_ext_));
SAME(HSA_CORE_ITERATE_AGENTS, offsetof(CoreApiTable, hsa_iterate_agents_fn));
SAME(HSA_CORE_AGENT_GET_INFO, offsetof(CoreApiTable, hsa_agent_get_info_fn));
SAME(HSA_CORE_QUEUE_CREATE, offsetof(CoreApiTable, hsa_queue_create_fn));
SAME(HSA_CORE_QUEUE_DESTROY, offsetof(CoreApiTable, hsa_queue_destroy_fn));
SAME(HSA_AMD_QUEUE_SET_MASK, offsetof(AmdExtTable, hsa_amd_queue_cu_set_mask_fn));
SAME(sizeof(hsa_table_version), sizeof(ApiTableVersion));
SAME(offsetof(hsa_table_version, minor), offsetof(ApiTableVersion, minor_id));
SAME(HSA_SUCCESS, HSA_STATUS_SUCCESS);
SAME(HSA_MASK_REDUCED, HSA_STATUS_CU_MASK_REDUCED);
SAME(HSA_INFO_DEVICE, HSA_AGENT_INFO_DEVICE);
SAME(HSA_DEVICE_GPU, HSA_DEVICE_TYPE_GPU);
SAME(HSA_INFO_CU_COUNT, HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT);
SAME(HSA_INFO_BDFID, HSA_AMD_AGENT_INFO_BDFID);
SAME(HSA_INFO_DOMAIN, HSA_AMD_AGENT_INFO_DOMAIN);
SAME(HSA_QUEUE_MULTI, HSA_QUEUE_TYPE_MULTI);
SAME(HSA_QUEUE_SINGLE, HSA_QUEUE_TYPE_SINGLE);
SAME(HSA_QUEUE_COOPERATIVE, HSA_QUEUE_TYPE_COOPERATIVE);
SAME(sizeof(our_agent), sizeof(hsa_agent_t));
SAME(sizeof(our_status), sizeof(hsa_status_t));
END
"$cxx" -std=c++17 -fsyntax-only -I"$folder" -I/usr/include/hsa "$folder/check.cc"
echo "as ROCr's headers have it"
