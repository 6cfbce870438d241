/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/hip-api.h"
#include "base/log.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define HIP_ERROR_OUT_OF_MEMORY	 2
#define HIP_ERROR_NO_DEVICE	 100
#define HIP_ERROR_INVALID_DEVICE 101

/* ROCm 5, 6 and 7. */
static const char *const hip_names[] = {"libamdhip64.so.5", "libamdhip64.so.6", "libamdhip64.so.7",
					NULL};
static const char *const rtc_names[] = {"libhiprtc.so.5", "libhiprtc.so.6", "libhiprtc.so.7", NULL};

struct symbol {
	const char *name;
	size_t offset;
};

#define FIELD(f) offsetof(struct hip_api, f)
static const struct symbol hip_symbols[] = {
	{"hipGetErrorString", FIELD(error_string)},
	{"hipGetDeviceCount", FIELD(get_device_count)},
	{"hipDeviceGetPCIBusId", FIELD(get_pci_bus_id)},
	{"hipGetDevice", FIELD(get_device)},
	{"hipSetDevice", FIELD(set_device)},
	{"hipSetDeviceFlags", FIELD(set_device_flags)},
	{"hipMalloc", FIELD(malloc)},
	{"hipFree", FIELD(free)},
	{"hipModuleLoadData", FIELD(module_load)},
	{"hipModuleUnload", FIELD(module_unload)},
	{"hipModuleGetFunction", FIELD(module_function)},
	{"hipModuleLaunchKernel", FIELD(launch)},
	{"hipEventCreateWithFlags", FIELD(event_create)},
	{"hipEventDestroy", FIELD(event_destroy)},
	{"hipEventRecord", FIELD(event_record)},
	{"hipEventSynchronize", FIELD(event_synchronize)},
	{"hipEventElapsedTime", FIELD(event_elapsed_ms)},
	{"hipStreamCreateWithFlags", FIELD(stream_create)},
	{"hipExtStreamCreateWithCUMask", FIELD(stream_create_masked)},
	{"hipStreamQuery", FIELD(stream_query)},
	{"hipStreamSynchronize", FIELD(stream_synchronize)},
	{"hipStreamDestroy", FIELD(stream_destroy)},
};
static const struct symbol rtc_symbols[] = {
	{"hiprtcCreateProgram", FIELD(rtc_create)},
	{"hiprtcCompileProgram", FIELD(rtc_compile)},
	{"hiprtcGetCodeSize", FIELD(rtc_code_size)},
	{"hiprtcGetCode", FIELD(rtc_code)},
	{"hiprtcGetProgramLogSize", FIELD(rtc_log_size)},
	{"hiprtcGetProgramLog", FIELD(rtc_log)},
	{"hiprtcDestroyProgram", FIELD(rtc_destroy)},
};

static void *open_first(const char *const *names)
{
	void *library = NULL;

	for (size_t i = 0; names[i] && !library; i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	return library;
}

/* Returns the name that is missing, or NULL. */
static const char *resolve(void *library, const struct symbol *symbols, size_t n,
			   struct hip_api *api)
{
	for (size_t i = 0; i < n; i++) {
		void *address = dlsym(library, symbols[i].name);

		if (!address)
			return symbols[i].name;
		memcpy((char *)api + symbols[i].offset, &address, sizeof(address));
	}
	return NULL;
}

/* Up to ROCm 6 the HIP library has hiprtc in itself. */
static void load_rtc(struct hip_api *api)
{
	if (!resolve(api->library, rtc_symbols, ARRAY_SIZE(rtc_symbols), api))
		return;
	api->rtc_library = open_first(rtc_names);
	if (!api->rtc_library ||
	    resolve(api->rtc_library, rtc_symbols, ARRAY_SIZE(rtc_symbols), api))
		api->rtc_create = NULL;
}

static int load(struct hip_api *ret, const char **ret_missing)
{
	struct hip_api api = {0};

	*ret_missing = NULL;
	api.library = open_first(hip_names);
	if (!api.library)
		return -ENOENT;
	*ret_missing = resolve(api.library, hip_symbols, ARRAY_SIZE(hip_symbols), &api);
	if (*ret_missing) {
		hip_api_unload(&api);
		return -ENOSYS;
	}
	load_rtc(&api);
	*ret = api;
	return 0;
}

int hip_api_load(struct hip_api *ret)
{
	const char *missing;
	int r = load(ret, &missing);

	if (r == -ENOENT)
		return log_error_errno(r,
				       "The engine 'hip' needs HIP's library, which is not "
				       "installed (%s to %s; Debian's libamdhip64-5)",
				       hip_names[0], hip_names[ARRAY_SIZE(hip_names) - 2]);
	if (r < 0)
		return log_error_errno(r, "HIP's library has no %s", missing);
	return 0;
}

int hip_api_probe(void)
{
	struct hip_api api;
	const char *missing;
	int n = 0, r;

	r = load(&api, &missing);
	if (r < 0)
		return r;
	if (api.get_device_count(&n) != 0 || n < 1)
		r = -ENODEV;
	hip_api_unload(&api);
	return r;
}

void hip_api_unload(struct hip_api *api)
{
	/* HIP's own threads live on: what is open stays mapped (RTLD_NODELETE of its libraries is
	 * not to be counted on). */
	*api = (struct hip_api){0};
}

int hip_error(const struct hip_api *api, int error, const char *what)
{
	int r = error == HIP_ERROR_OUT_OF_MEMORY				    ? -ENOMEM
		: error == HIP_ERROR_NO_DEVICE || error == HIP_ERROR_INVALID_DEVICE ? -ENODEV
										    : -EIO;

	return log_error_errno(r, "%s: %s", what, api->error_string(error));
}
