/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-sim --capture: the simulator's cards made of a bundle. */
#pragma once

#include "sim/capture.h"
#include "sim/card.h"
#include <limits.h>

/* Loads the bundle and writes the profile of its first card below folder, in devices/, with the
 * base's models/ beside it; its path goes to ret_path. device: the base's name, or NULL for the one
 * with the card's PCI id; profiles: as plant_profile_find() takes it. Says what is wrong. 0 or a
 * negative errno. */
int captured_prepare(const char *bundle, const char *device, const char *profiles,
		     const char *folder, char ret_path[PATH_MAX], struct capture **ret);
/* Power cap and performance level as they were. */
void captured_set_up(struct card *card, const struct capture_card *c);
/* Removes what captured_prepare() has written. */
void captured_tidy(const char *folder);
