/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values of the status, in which what is not known is null, never 0. */
#pragma once

#include "daemon/unit.h"
#include <jansson.h>

json_t *status_number(double value);
json_t *status_number_if(bool known, double value);
json_t *status_integer(uint64_t value);
json_t *status_integer_if(bool known, uint64_t value);
/* null for NULL; bytes that are no UTF-8 come out as '?'. */
json_t *status_text(const char *s);

/* "4x9" */
json_t *status_shape(struct cu_shape shape);
/* Names of enum governor_card_flag. */
json_t *status_flags(uint32_t flags);
const char *status_input_name(enum governor_input_state state);
const char *status_action_name(enum governor_action action);
/* The document as a text that the caller frees, or NULL without memory; frees root. */
char *status_dump(json_t *root);

/* The card's workers, each with what it has been told and what it has acknowledged. */
json_t *status_workers(const struct unit *u);
/* What each model has counted. */
json_t *status_totals(const struct manager *m);
/* A mask's words, or null for all CUs. */
json_t *status_mask(const struct cu_mask *mask);
/* Whom a model's wakes or late requests are ignored for, or null. */
json_t *status_ignored(const struct unit *u, uint32_t model, enum doubt_subject subject);
/* What operators have ordered (manager_hold(), manager_keep_pause()). */
json_t *status_holds(const struct manager *m);
json_t *status_pauses(const struct manager *m);
/* Names of enum governor_stale. */
json_t *status_stale(uint32_t stale);
/* Adds how a model's profile compares with the card. */
void status_add_check(const struct unit *u, uint32_t model, json_t *json);
