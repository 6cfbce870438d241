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
