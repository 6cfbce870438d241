/* SPDX-License-Identifier: Apache-2.0 */
#include "channel/connection.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_hello hello;
	char why[160] = "";

	if (channel_hello_parse(data, size, &hello, why, sizeof(why)) < 0) {
		FUZZ_CHECK(why[0] != '\0');
		return 0;
	}
	FUZZ_CHECK(model_name_is_valid(hello.model) && model_name_is_valid(hello.instance));
	FUZZ_CHECK(hello.n_devices <= CHANNEL_MAX_DEVICES && hello.slots > 0);
	for (uint32_t i = 0; i < hello.n_devices; i++)
		FUZZ_CHECK(pci_bdf_is_valid(hello.devices[i].bdf));
	return 0;
}
