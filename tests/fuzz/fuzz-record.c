/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include "governor/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(record_reader_freep) struct record_reader *r = NULL;
	struct record_item item = {.kind = RECORD_INPUT};
	struct record_error error = {0};
	FILE *f = fmemopen((void *)data, size, "r");

	if (!f)
		return 0;
	if (record_reader_new(f, &r, &error) == 0)
		while (item.kind != RECORD_END && record_read(r, &item, &error) == 0)
			if (item.kind == RECORD_CONFIG)
				record_config_free(item.config);
	(void)fclose(f);
	return 0;
}
