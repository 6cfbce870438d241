/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/state-file.h"
#include "base/parse.h"
#include "fuzz.h"

#define BOOT "f4d0c1d2-0000-4000-8000-000000000001"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct saved_state s;

	if (state_file_load(fuzz_file(data, size), BOOT, &s) < 0)
		return 0;
	FUZZ_CHECK(s.n <= GPU_MAX_CARDS);
	for (uint32_t i = 0; i < s.n; i++)
		FUZZ_CHECK(pci_bdf_is_valid(s.cards[i].bdf) &&
			   (unsigned int)s.cards[i].level <= GPU_PERF_HIGH);
	return 0;
}
