/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pauses.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file(data, size);
	struct pauses p, again;
	uint32_t line = 0;

	if (pauses_load(path, &p, &line) < 0)
		return 0;
	FUZZ_CHECK(p.n <= PAUSES_MAX);
	for (uint32_t i = 0; i < p.n; i++) {
		FUZZ_CHECK(hold_reason_is_valid(p.entries[i].reason));
		FUZZ_CHECK(strcmp(p.entries[i].gpu, "*") == 0 ||
			   pci_bdf_is_valid(p.entries[i].gpu));
	}
	/* What was understood is written so that it is understood alike. */
	FUZZ_CHECK(pauses_save(path, &p) == 0);
	FUZZ_CHECK(pauses_load(path, &again, &line) == 0);
	FUZZ_CHECK(again.n == p.n);
	for (uint32_t i = 0; i < p.n; i++)
		FUZZ_CHECK(strcmp(again.entries[i].reason, p.entries[i].reason) == 0 &&
			   again.entries[i].until_usec == p.entries[i].until_usec);
	return 0;
}
