/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include "response/surface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(surface_freep) struct surface *s = NULL;
	struct surface_error error = {0};
	FILE *f = fmemopen((void *)data, size, "r");
	int r;

	/* Of no byte it makes no stream. */
	if (!f)
		return 0;
	r = surface_read(f, &s, &error);
	(void)fclose(f);
	FUZZ_CHECK((r == 0) == (s != NULL) && (r == 0 || error.text[0] != '\0'));
	return 0;
}
