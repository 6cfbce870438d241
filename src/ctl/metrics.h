/* SPDX-License-Identifier: Apache-2.0 */
/* The status document as metrics. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* {"schema":1, "families":[{"name", "type", "unit", "help", "samples":[{"labels":{}, "value"}]}]}.
 * What is not known has no sample, and a family without a sample is not there. NULL without memory.
 */
json_t *metrics_document(const json_t *status);
/* Such a document as OpenMetrics text, which is also the older Prometheus text format. */
void metrics_write(const json_t *document, FILE *file);
