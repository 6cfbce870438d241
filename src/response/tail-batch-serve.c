/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of a configuration that executes batches.
 *
 * Each batch waits for the end of the one before, so a processor spends most of the time waiting,
 * too. For one server the run is therefore cut into parts that are served side by side, each as if
 * it found the server idle. What really reaches into the next part is then served again until a
 * batch is found that starts on an idle server both times: from there on both are the same. The
 * result is that of serving one after the other. */
#include "response/tail-batch.h"
#include <string.h>

#define PARTS	     4
#define REPLICATIONS (TAIL_REPLICATIONS / PARTS) /* in each */
#define MOST	     8				 /* requests in a batch */
#define GAP	     MOST			 /* what a part may write behind its end */

_Static_assert(REPLICATIONS *PARTS == TAIL_REPLICATIONS, "parts are of whole replications");
_Static_assert(PARTS *GAP <= TAIL_ROOM, "sojourns find room");
_Static_assert(TAIL_MAX_SIZES < 0x7f, "a size fits into a mark");

#define MARK_IDLE 0x80u /* it found the server idle */

/* A run in progress. The quantiles change from one replication to the next. */
struct run {
	uint32_t first, i; /* request: at which it began, and that is next */
	uint32_t change;   /* the first with other quantiles */
	double free_ns;	   /* of the server that was the last to serve */
	float *sojourn;	   /* [request] */
	const float *quantiles[TAIL_MAX_SIZES];
	uint32_t executions[TAIL_MAX_SIZES];
};

static uint32_t size_of(const struct tail_sizes *s, uint32_t n)
{
	uint32_t i = 0;

	while (i + 1 < s->n && s->cells[i]->batch < n)
		i++;
	return i;
}

static uint32_t largest(const struct batching *b)
{
	return b->sizes->cells[b->sizes->n - 1]->batch;
}

static void start_replication(const struct batching *b, struct run *run)
{
	bool warm = run->i >= b->warm_up;
	uint32_t r = warm ? (run->i - b->warm_up) / b->requests : 0;

	for (uint32_t k = 0; k < b->sizes->n; k++)
		run->quantiles[k] = warm && b->is_resampled ? b->resampled[k][r]
							    : b->sizes->cells[k]->service_ns;
	/* What was executed to warm up is not counted. */
	if (warm && run->change == b->warm_up)
		memset(run->executions, 0, sizeof(run->executions));
	run->change = b->warm_up + (warm ? (r + 1) * b->requests : 0);
}

/* A batch of the next requests that starts then; returns when it ends. */
static inline double execute(const struct batching *b, struct run *run, double start_ns,
			     uint32_t size)
{
	if (run->i >= run->change)
		start_replication(b, run);
	run->executions[size]++;
	return start_ns + (double)quantile_at(run->quantiles[size], b->lab->service[run->i]);
}

/* ---- any number of servers, batches of any size ---- */

static void serve_batch(const struct batching *b, struct servers *s, struct run *run)
{
	const double *arrival_ns = b->arrival_ns;
	/* Nothing comes after the last one: it need not be waited for. */
	double full_ns = arrival_ns[MIN(run->i + largest(b), b->end) - 1];
	double latest_ns = MIN(full_ns, arrival_ns[run->i] + b->wait_ns), done_ns;
	struct service take;

	/* Nobody comes between latest_ns and now who would not have been waited for. */
	take = servers_take(s, arrival_ns, 1, run->i, b->end, 1);
	take.start_ns = MAX(take.start_ns, latest_ns);
	while (take.n < largest(b) && run->i + take.n < b->end &&
	       arrival_ns[run->i + take.n] <= take.start_ns)
		take.n++;
	done_ns = execute(b, run, take.start_ns, size_of(b->sizes, take.n));
	s->free_at_ns[take.server] = done_ns;
	run->free_ns = done_ns;
	for (; take.n > 0; take.n--, run->i++)
		run->sojourn[run->i] = (float)(done_ns - arrival_ns[run->i]);
}

static void serve_rest(struct batching *b, struct servers *s, struct run *run)
{
	while (run->i < b->end)
		serve_batch(b, s, run);
	for (uint32_t k = 0; k < b->sizes->n; k++)
		b->executions[k] += run->executions[k];
}

/* ---- one server, batches of at most MOST ---- */

/* What all parts have in common. */
struct cut {
	const struct batching *b;
	uint32_t batch;
	uint32_t size_of[MOST + 1];
	uint8_t *marks; /* [request]: size + 1 of the batch that starts with it, MARK_IDLE; or 0 */
	uint32_t ends[PARTS];
	struct run runs[PARTS];
};

/* The next batch; batches are of at most width. How many wait is different each time, and to guess
 * at it costs a processor more than to look at them all: no branch depends on it, and what is
 * written of those who stay behind is written again. */
static inline void serve_next(const struct cut *c, struct run *run, uint32_t width)
{
	const struct batching *b = c->b;
	const double *arrival_ns = &b->arrival_ns[run->i];
	float *sojourn = &run->sojourn[run->i];
	double first_ns = arrival_ns[0], full_ns = arrival_ns[c->batch - 1];
	double start_ns = MAX(run->free_ns, first_ns), done_ns;
	uint32_t n = 0, size;

	start_ns = MAX(start_ns, MIN(full_ns, first_ns + b->wait_ns));
	for (uint32_t k = 0; k < width; k++)
		n += arrival_ns[k] <= start_ns;
	n = MIN(n, c->batch);
	size = c->size_of[n];
	done_ns = execute(b, run, start_ns, size);
	for (uint32_t k = 0; k < width; k++)
		sojourn[k] = (float)(done_ns - arrival_ns[k]);
	c->marks[run->i] = (uint8_t)((size + 1) | (run->free_ns <= first_ns ? MARK_IDLE : 0));
	run->free_ns = done_ns;
	run->i += n;
}

static inline void serve_parts(struct cut *c, uint32_t width)
{
	struct run *runs = c->runs;
	bool all = true;

	_Static_assert(PARTS == 4, "all of them are here");
	while (all) {
		serve_next(c, &runs[0], width);
		serve_next(c, &runs[1], width);
		serve_next(c, &runs[2], width);
		serve_next(c, &runs[3], width);
		all = runs[0].i < c->ends[0] && runs[1].i < c->ends[1] && runs[2].i < c->ends[2] &&
		      runs[3].i < c->ends[3];
	}
	for (uint32_t k = 0; k < PARTS; k++)
		while (runs[k].i < c->ends[k])
			serve_next(c, &runs[k], width);
}

/* Forgets the batches that started with requests from .. end. */
static void take_back(const struct cut *c, struct run *run, uint32_t from, uint32_t end)
{
	for (uint32_t i = from; i < end; i++) {
		if (c->marks[i])
			run->executions[(c->marks[i] & ~MARK_IDLE) - 1]--;
		c->marks[i] = 0;
	}
}

static bool meets(const struct cut *c, const struct run *run)
{
	return c->marks[run->i] & MARK_IDLE && run->free_ns <= c->b->arrival_ns[run->i];
}

/* Goes on from the part before into this one. */
static void join(const struct cut *c, const struct run *before, uint32_t end, struct run *run)
{
	const struct run alone = *run;
	uint32_t i = alone.first;

	for (; i < before->i; i++)
		run->sojourn[i] = before->sojourn[i];
	take_back(c, run, alone.first, i);
	run->i = i;
	run->free_ns = before->free_ns;
	start_replication(c->b, run);
	while (run->i < end && !meets(c, run)) {
		i = run->i;
		serve_batch(c->b, &(struct servers){1, {run->free_ns}}, run);
		take_back(c, run, i, MIN(run->i, end));
	}
	if (run->i >= end)
		return;
	run->i = alone.i;
	run->free_ns = alone.free_ns;
}

static void cut(const struct batching *b, struct cut *ret)
{
	ret->b = b;
	ret->batch = largest(b);
	ret->marks = memset(b->lab->marks, 0, sizeof(b->lab->marks));
	for (uint32_t n = 0; n <= MOST; n++)
		ret->size_of[n] = size_of(b->sizes, n);
	for (uint32_t k = 0; k < PARTS; k++) {
		uint32_t first = k > 0 ? ret->ends[k - 1] : 0;

		ret->runs[k] = (struct run){.first = first,
					    .i = first,
					    .sojourn = b->lab->sojourn + (size_t)k * GAP};
		ret->ends[k] = b->warm_up + (k + 1) * REPLICATIONS * b->requests;
	}
	/* The last few have nobody behind them. */
	ret->ends[PARTS - 1] -= MOST;
}

static void serve_in_parts(struct batching *b)
{
	struct run *last;
	struct cut c;

	cut(b, &c);
	if (c.batch <= 2)
		serve_parts(&c, 2);
	else if (c.batch <= 4)
		serve_parts(&c, 4);
	else
		serve_parts(&c, MOST);
	for (uint32_t k = 1; k < PARTS; k++)
		join(&c, &c.runs[k - 1], c.ends[k], &c.runs[k]);
	last = &c.runs[PARTS - 1];
	serve_rest(b, &(struct servers){1, {last->free_ns}}, last);
	for (uint32_t k = 0; k + 1 < PARTS; k++)
		for (uint32_t i = 0; i < b->sizes->n; i++)
			b->executions[i] += c.runs[k].executions[i];
}

void batching_serve(struct batching *b)
{
	const struct surface_cell *own = b->sizes->cells[b->sizes->n - 1];
	uint32_t servers = CLAMP(own->workers, 1u, (uint32_t)SURFACE_MAX_WORKERS);

	memset(b->executions, 0, sizeof(b->executions));
	b->gap = servers == 1 && own->batch <= MOST ? GAP : 0;
	if (b->gap > 0)
		serve_in_parts(b);
	else
		serve_rest(b, &(struct servers){.n = servers},
			   &(struct run){.sojourn = b->lab->sojourn});
}

const float *batching_sojourns(const struct batching *b, uint32_t replication)
{
	return b->lab->sojourn + b->warm_up + (size_t)replication * b->requests +
	       (size_t)(replication / REPLICATIONS) * b->gap;
}
