/* SPDX-License-Identifier: Apache-2.0 */
/* HIP's functions, from the library that the process has loaded. Never loads one: a second copy of
 * the runtime in a process would have streams that the first does not know. */
#include "libcofris/hip-internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* Of ROCm 4 to 7, and what a program that was linked to the plain name has loaded. */
static const char *const sonames[] = {
	"libamdhip64.so.5", "libamdhip64.so.6", "libamdhip64.so.7",
	"libamdhip64.so.4", "libamdhip64.so",
};

static int resolve(void *library, struct cofris_hip_functions *ret)
{
	struct cofris_hip_functions f;
	const struct {
		const char *name;
		void *to;
	} symbols[] = {
		{"hipGetDevice", &f.get_device},
		{"hipSetDevice", &f.set_device},
		{"hipStreamCreateWithFlags", &f.stream_create},
		{"hipExtStreamCreateWithCUMask", &f.stream_create_masked},
		{"hipStreamQuery", &f.stream_query},
		{"hipStreamDestroy", &f.stream_destroy},
	};

	_Static_assert(sizeof(f) == sizeof(symbols) / sizeof(symbols[0]) * sizeof(void *),
		       "a symbol for each function");
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(library, symbols[i].name);

		if (!symbol)
			return -ENOENT;
		memcpy(symbols[i].to, &symbol, sizeof(symbol));
	}
	*ret = f;
	return 0;
}

int hip_functions_find(struct cofris_hip_functions *ret, void **ret_library)
{
	for (size_t i = 0; i < sizeof(sonames) / sizeof(sonames[0]); i++) {
		void *library = dlopen(sonames[i], RTLD_NOW | RTLD_NOLOAD);

		if (!library)
			continue;
		if (resolve(library, ret) == 0) {
			*ret_library = library;
			return 0;
		}
		(void)dlclose(library);
	}
	return -ENOENT;
}

void hip_functions_release(void *library)
{
	if (library)
		(void)dlclose(library);
}
