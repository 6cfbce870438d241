/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each request: rows of a CSV file, and the figures of the summary and of the live
 * line. Not thread-safe: the caller locks. */
#pragma once

#include "base/macros.h"
#include <stdint.h>
#include <stdio.h>

enum report_status { REPORT_OK, REPORT_FAILED, REPORT_REJECTED, REPORT_STATUS_MAX };

struct report_row {
	uint64_t number, arrival_ns, start_ns, end_ns; /* device time; 0 0 if it never started */
	uint32_t sclk_mhz, cus, batch;
	enum report_status status;
};

struct report_summary {
	uint64_t arrived, completed, failed, rejected, batches;
	double p50_ms, p95_ms, p99_ms; /* sojourn of the completed; NaN if there are none */
	double mean_service_ms;	       /* per batch */
};

struct report;
/* path: the CSV file, NULL for none. 0 or the negative errno of opening it. */
int report_new(const char *path, struct report **ret);
struct report *report_free(struct report *r);
DEFINE_CLEANUP(struct report *, report_free)

void report_arrival(struct report *r);
/* A batch has been served; its requests follow by report_add(). */
void report_batch(struct report *r, uint64_t service_ns);
void report_add(struct report *r, const struct report_row *row);
/* So that others can follow the file while it grows. */
void report_flush(struct report *r);
/* Over the whole run. Sorts; call at the end. */
struct report_summary report_summary(struct report *r);
/* Since the last call of this function. */
struct report_summary report_recent(struct report *r);
/* 0, or the first error of writing the file. */
int report_close_file(struct report *r);
