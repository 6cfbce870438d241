/* SPDX-License-Identifier: Apache-2.0 */
/* Between them, the curves of all options of a menu (menu-curve.h). */
#pragma once

#include "response/menu-curve.h"

struct menu_curves;
/* Simulates what has to be. 0 or -ENOMEM. */
int menu_curves_new(const struct menu_building *b, struct menu_curves **ret);
struct menu_curves *menu_curves_free(struct menu_curves *c);
DEFINE_CLEANUP(struct menu_curves *, menu_curves_free)
/* NULL: its services alone take longer than is kept. */
const struct curve_source *menu_curves_source(const struct menu_curves *c, uint32_t option);
