/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of HIP that the engine makes. The library is opened at run time and no header of HIP
 * is used: only calls whose form has been the same in all versions from ROCm 5 on, and no structs.
 * Handles are pointers, hipError_t is int, 0 is success. */
#pragma once

#include "base/macros.h"
#include <stddef.h>
#include <stdint.h>

#define HIP_SCHEDULE_BLOCKING_SYNC 0x4u /* hipDeviceScheduleBlockingSync */
#define HIP_EVENT_BLOCKING_SYNC	   0x1u /* hipEventBlockingSync */
#define HIP_LAUNCH_BUFFER	   ((void *)1)
#define HIP_LAUNCH_BUFFER_SIZE	   ((void *)2)
#define HIP_LAUNCH_END		   ((void *)3)

struct hip_api {
	void *library, *rtc_library; /* of dlopen(); NULL in tests */

	const char *(*error_string)(int error);
	int (*get_device_count)(int *ret);
	int (*get_pci_bus_id)(char *ret, int size, int device);
	int (*get_device)(int *ret);
	int (*set_device)(int device);
	int (*set_device_flags)(unsigned int flags);
	int (*malloc)(void **ret, size_t size);
	int (*free)(void *memory);
	int (*module_load)(void **ret_module, const void *image);
	int (*module_unload)(void *module);
	int (*module_function)(void **ret, void *module, const char *name);
	int (*launch)(void *function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
		      unsigned int block_x, unsigned int block_y, unsigned int block_z,
		      unsigned int shared_bytes, void *stream, void **arguments, void **extra);
	int (*event_create)(void **ret, unsigned int flags);
	int (*event_destroy)(void *event);
	int (*event_record)(void *event, void *stream);
	int (*event_synchronize)(void *event);
	int (*event_elapsed_ms)(float *ret, void *start, void *end);
	int (*stream_create)(void **ret, unsigned int flags);
	int (*stream_create_masked)(void **ret, uint32_t words, const uint32_t *mask);
	int (*stream_query)(void *stream);
	int (*stream_synchronize)(void *stream);
	int (*stream_destroy)(void *stream);

	/* hiprtc; NULL if it is not there */
	int (*rtc_create)(void **ret_program, const char *source, const char *name, int n_headers,
			  const char **headers, const char **header_names);
	int (*rtc_compile)(void *program, int n_options, const char **options);
	int (*rtc_code_size)(void *program, size_t *ret);
	int (*rtc_code)(void *program, char *ret);
	int (*rtc_log_size)(void *program, size_t *ret);
	int (*rtc_log)(void *program, char *ret);
	int (*rtc_destroy)(void **program);
};

/* 0, or after saying why: -ENOENT without the library, -ENOSYS for one without these calls. */
int hip_api_load(struct hip_api *ret);
/* Whether hip_api_load() would find the library and a card; says nothing. */
int hip_api_probe(void);
void hip_api_unload(struct hip_api *api);

/* Logs a failed call and returns -ENOMEM, -ENODEV or -EIO. */
int hip_error(const struct hip_api *api, int error, const char *what);
