/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/report.h"
#include "base/units.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>

struct report {
	FILE *file;
	int error; /* of the first failed write */
	struct report_summary counts;
	uint64_t service_ns; /* sum over batches */
	uint64_t *sojourn_ns;
	size_t n, capacity;
	/* what report_recent() saw last */
	struct report_summary recent_counts;
	uint64_t recent_service_ns;
	size_t recent_n;
};

int report_new(const char *path, struct report **ret)
{
	_cleanup_(report_freep) struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	if (path) {
		r->file = fopen(path, "we");
		if (!r->file)
			return -errno;
		(void)fputs("request,arrival_ns,start_ns,end_ns,sclk_mhz,cus,batch,status\n",
			    r->file);
	}
	*ret = TAKE_PTR(r);
	return 0;
}

struct report *report_free(struct report *r)
{
	if (r) {
		fclosep(&r->file);
		free(r->sojourn_ns);
	}
	free(r);
	return NULL;
}

void report_arrival(struct report *r)
{
	r->counts.arrived++;
}

void report_batch(struct report *r, uint64_t service_ns)
{
	r->counts.batches++;
	r->service_ns += service_ns;
}

static void keep_sojourn(struct report *r, uint64_t sojourn_ns)
{
	if (r->n == r->capacity) {
		size_t capacity = MAX(r->capacity * 2, (size_t)1024);
		uint64_t *grown = realloc(r->sojourn_ns, capacity * sizeof(*grown));

		if (!grown)
			return;
		r->sojourn_ns = grown;
		r->capacity = capacity;
	}
	r->sojourn_ns[r->n++] = sojourn_ns;
}

void report_add(struct report *r, const struct report_row *row)
{
	static const char *const names[REPORT_STATUS_MAX] = {"ok", "failed", "rejected"};
	uint64_t *counters[REPORT_STATUS_MAX] = {&r->counts.completed, &r->counts.failed,
						 &r->counts.rejected};

	(*counters[row->status])++;
	if (row->status == REPORT_OK)
		keep_sojourn(r, row->end_ns - row->arrival_ns);
	if (!r->file || r->error < 0)
		return;
	if (fprintf(r->file,
		    "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu32 ",%" PRIu32
		    ",%" PRIu32 ",%s\n",
		    row->number, row->arrival_ns, row->start_ns, row->end_ns, row->sclk_mhz,
		    row->cus, row->batch, names[row->status]) < 0)
		r->error = -errno;
}

void report_flush(struct report *r)
{
	if (r->file && fflush(r->file) != 0 && r->error == 0)
		r->error = -errno;
}

int report_close_file(struct report *r)
{
	report_flush(r);
	if (r->file && fclose(TAKE_PTR(r->file)) != 0 && r->error == 0)
		r->error = -errno;
	return r->error;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Smallest value that a share q of all does not exceed, in ms. */
static double quantile_ms(const uint64_t *sorted, size_t n, double q)
{
	size_t rank = (size_t)ceil(q * (double)n);

	return n == 0 ? NAN : (double)sorted[MAX(rank, (size_t)1) - 1] / (double)NSEC_PER_MSEC;
}

static void fill_quantiles(struct report_summary *s, uint64_t *values, size_t n)
{
	if (n > 0)
		qsort(values, n, sizeof(*values), compare_u64);
	s->p50_ms = quantile_ms(values, n, 0.50);
	s->p95_ms = quantile_ms(values, n, 0.95);
	s->p99_ms = quantile_ms(values, n, 0.99);
}

static double mean_ms(uint64_t sum_ns, uint64_t n)
{
	return n == 0 ? NAN : (double)sum_ns / (double)n / (double)NSEC_PER_MSEC;
}

struct report_summary report_summary(struct report *r)
{
	struct report_summary s = r->counts;

	fill_quantiles(&s, r->sojourn_ns, r->n);
	r->recent_n = r->n;
	s.mean_service_ms = mean_ms(r->service_ns, s.batches);
	return s;
}

struct report_summary report_recent(struct report *r)
{
	const struct report_summary *old = &r->recent_counts;
	struct report_summary s = r->counts;

	s.arrived -= old->arrived;
	s.completed -= old->completed;
	s.failed -= old->failed;
	s.rejected -= old->rejected;
	s.batches -= old->batches;
	/* The order among the latest is of no further use, so they are sorted in place. */
	if (r->n > r->recent_n)
		fill_quantiles(&s, r->sojourn_ns + r->recent_n, r->n - r->recent_n);
	else
		fill_quantiles(&s, NULL, 0);
	s.mean_service_ms = mean_ms(r->service_ns - r->recent_service_ns, s.batches);
	r->recent_counts = r->counts;
	r->recent_service_ns = r->service_ns;
	r->recent_n = r->n;
	return s;
}
