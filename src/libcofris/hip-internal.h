/* SPDX-License-Identifier: Apache-2.0 */
/* Between hip-pool.c and hip-functions.c. */
#pragma once

#include "cofris/hip.h"

/* 0 or -ENOENT. The caller releases *ret_library when it no longer needs the functions. */
int hip_functions_find(struct cofris_hip_functions *ret, void **ret_library);
void hip_functions_release(void *library);
