/* SPDX-License-Identifier: Apache-2.0 */
/* Units are part of every name and do not change inside the daemon: _ns (CLOCK_MONOTONIC unless
 * said), _mhz, _uw, _mc (milli-degree Celsius), _permille. These are the factors at the borders. */
#pragma once

#include <stdint.h>

#define NSEC_PER_USEC UINT64_C(1000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC  UINT64_C(1000000000)
#define USEC_PER_SEC  UINT64_C(1000000)
#define UW_PER_W      UINT64_C(1000000)
