/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's state as JSON, for the bus. */
#pragma once

#include "daemon/manager.h"

/* Of the documents below: raised when a field changes its meaning or goes away, not when one is
 * added. */
#define STATUS_SCHEMA 1

/* Each returns a text that the caller frees, or NULL without memory. */
char *status_json(const struct manager *m);
/* The tables of a model, one for each card. The model must be configured. */
char *status_table_json(const struct manager *m, const char *model);
/* Why cards run as they do, or would at a demand of rps (NaN: the present): docs/dbus.md. only: one
 * card, or NULL for all. model: its index in the configuration, or UINT32_MAX for all with a worker
 * on the card. */
char *status_explain_json(const struct manager *m, const struct unit *only, uint32_t model,
			  double rps);
/* The last n decisions of each card, oldest first, or fewer: one answer holds so many, those about
 * several models counted by model, and each card has its share of it. */
#define STATUS_MAX_DECISIONS 1000
char *status_decisions_json(const struct manager *m, const struct unit *only, uint32_t model,
			    uint32_t n);
