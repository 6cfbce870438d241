/* SPDX-License-Identifier: Apache-2.0 */
/* The files of AMD cards, as sysfs shows them. */
#pragma once

#include "ctl/bundle-archive.h"

/* Adds sysfs/ADDRESS/FILE of each card below sys ("/sys"), its hwmon's as hwmon/FILE, its KFD
 * node's as kfd/FILE. What names the very card (serial numbers, unique ids) is left out. */
void bundle_add_cards(struct bundle *b, const char *sys);
