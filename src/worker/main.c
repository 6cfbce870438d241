/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-worker: the reference worker. */
#include "base/log.h"
#include "base/units.h"
#include "load/load-curve.h"
#include "worker/engine.h"
#include "worker/options.h"
#include "worker/serve.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* From the abort, or the end of the last batch, to the end of the process. */
#define LEAVE_S 10

struct worker {
	struct worker_options options;
	struct engine *engine;
	struct load_curve *curve; /* NULL: closed loop */
	struct arrivals arrivals;
	struct report *report;
	struct serve *serve;
	int signal_fd, done_fd;
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void worker_deinit(struct worker *w)
{
	if (w->serve) {
		serve_abort(w->serve);
		(void)serve_finish(w->serve);
	}
	(void)report_free(w->report);
	(void)load_curve_free(w->curve);
	if (w->engine)
		w->engine->ops->close(w->engine);
	closep(&w->signal_fd);
	closep(&w->done_fd);
}

static int no_engine(const char *name)
{
	if (strcmp(name, "auto") == 0)
		return log_error_errno(-ENODEV, "No engine can run here: there is no card that "
						"HIP finds, and no simulated one (cofris-sim "
						"--device mi50 -- COMMAND)");
#ifndef COFRIS_HAVE_HIP
	if (strcmp(name, "hip") == 0)
		return log_error_errno(-EOPNOTSUPP,
				       "This cofris-worker was built without hipcc and "
				       "has no engine 'hip'");
#endif
	return log_error_errno(-EINVAL, "Unknown engine '%s' (--help lists them)", name);
}

static int open_engine(struct worker *w)
{
	const struct worker_options *o = &w->options;
	const struct engine_ops *ops = engine_find(o->engine);

	if (!ops)
		return no_engine(o->engine);
	return ops->open(
		&(struct engine_options){
			.model = o->model,
			.bdf = o->bdf,
			.slots = o->slots,
			.idle_kernels = o->idle_kernels,
		},
		&w->engine);
}

static int make_load(struct worker *w)
{
	const struct worker_options *o = &w->options;
	struct load_curve_error error;
	double rps = o->load_path ? o->rated_rps : o->rate_rps;
	int r;

	if (o->closed_loop)
		return 0;
	if (o->load_path) {
		r = load_curve_load(o->load_path, &w->curve, &error);
		if (r < 0 && error.line)
			return log_error_errno(r, "%s:%u: %s", o->load_path, error.line,
					       error.text);
		if (r < 0)
			return log_error_errno(r, "%s: %s", o->load_path, error.text);
	} else {
		r = load_curve_constant(LOAD_CURVE_MAX_S, &w->curve);
		if (r < 0)
			return r;
	}
	w->arrivals = arrivals_make(w->curve, o->seed, w->curve->absolute ? 1 : rps, o->compression,
				    o->duration_ns);
	return 0;
}

/* Before any thread starts, so that all of them have these signals blocked. */
static int open_fds(struct worker *w)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	w->done_fd = eventfd(0, EFD_CLOEXEC);
	if (w->signal_fd < 0 || w->done_fd < 0)
		return log_error_errno(-errno, "Cannot create an event file: %m");
	return 0;
}

static int start(struct worker *w)
{
	const struct worker_options *o = &w->options;
	int r;

	r = report_new(o->report_path, &w->report);
	if (r < 0)
		return log_error_errno(r, "Cannot write %s: %m",
				       o->report_path ? o->report_path : "the report");
	r = serve_start(
		&(struct serve_options){
			.engine = w->engine,
			.report = w->report,
			.arrivals = w->curve ? &w->arrivals : NULL,
			.in_flight = o->closed_loop,
			.queue_limit = o->queue_limit,
			.slots = o->slots,
			.max_batch = o->max_batch,
			.seed = o->seed,
			.jitter = o->jitter,
			.stall_share = o->stall_share,
			.stall_factor = o->stall_factor,
			.model = w->engine->ops->model(w->engine),
			.instance = o->instance,
			.socket_path = o->socket_path,
			.follow_mask = o->follow_mask,
			.done_fd = w->done_fd,
		},
		&w->serve);
	return r < 0 ? log_error_errno(r, "Cannot start: %m") : 0;
}

static void print_progress(const struct serve_status *s)
{
	double t_s = (double)(s->now_ns - s->origin_ns) / (double)NSEC_PER_SEC;

	(void)fprintf(stderr,
		      "t=%.0fs arrived=%" PRIu64 " completed=%" PRIu64 " failed=%" PRIu64
		      " p50=%.2fms p95=%.2fms service=%.2fms waiting=%" PRIu32 " sclk=%" PRIu32
		      "MHz cus=%" PRIu32 " %s\n",
		      t_s, s->recent.arrived, s->recent.completed,
		      s->recent.failed + s->recent.rejected, s->recent.p50_ms, s->recent.p95_ms,
		      s->recent.mean_service_ms, s->waiting, s->sclk_mhz, s->cus,
		      s->connected ? "governed" : "alone");
}

/* Waits for the end, handling signals, the duration and the live line. stop_ns and abort_ns are
 * moments (CLOCK_MONOTONIC), UINT64_MAX for none; line_ns likewise. */
struct deadlines {
	uint64_t stop_ns, abort_ns, line_ns;
};

static void on_alarm(int signal _unused_)
{
	static const char text[] =
		"cofris-worker: The card does not end what it runs: left without waiting for it\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(EXIT_FAILURE);
}

/* A thread that waits for a hung queue cannot be told to stop, nor can a stream of one be
 * destroyed: the process's end is what takes a queue away. */
static void leave_soon(void)
{
	(void)signal(SIGALRM, on_alarm);
	(void)alarm(LEAVE_S);
}

static void stop(struct worker *w, struct deadlines *d, uint64_t now_ns)
{
	serve_stop(w->serve);
	d->stop_ns = UINT64_MAX;
	d->abort_ns = now_ns + w->options.drain_ns;
}

static void on_deadlines(struct worker *w, struct deadlines *d, uint64_t now_ns)
{
	if (now_ns >= d->stop_ns)
		stop(w, d, now_ns);
	if (now_ns >= d->abort_ns) {
		serve_abort(w->serve);
		leave_soon();
		d->abort_ns = UINT64_MAX;
	}
	if (now_ns >= d->line_ns) {
		struct serve_status status = serve_status(w->serve);

		if (w->options.progress)
			print_progress(&status);
		d->line_ns += NSEC_PER_SEC;
	}
}

static void on_signal(struct worker *w, struct deadlines *d, uint64_t now_ns)
{
	struct signalfd_siginfo info;

	if (read(w->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (d->abort_ns == UINT64_MAX)
		stop(w, d, now_ns);
	else
		d->abort_ns = now_ns; /* asked twice: at once */
}

static void wait_for_end(struct worker *w)
{
	const struct worker_options *o = &w->options;
	uint64_t now_ns = monotonic_ns();
	struct deadlines d = {
		.stop_ns = o->duration_ns ? now_ns + o->duration_ns : UINT64_MAX,
		.abort_ns = UINT64_MAX,
		.line_ns = o->progress || o->report_path ? now_ns + NSEC_PER_SEC : UINT64_MAX,
	};
	struct pollfd fds[] = {{w->signal_fd, POLLIN, 0}, {w->done_fd, POLLIN, 0}};

	/* The curve's end stops the arrivals by itself, but not the drain. */
	if (w->curve && o->load_path) {
		uint64_t end_ns = now_ns + w->arrivals.end_ns;

		d.stop_ns = MIN(d.stop_ns, end_ns);
	}
	while (!(fds[1].revents & POLLIN)) {
		uint64_t next_ns = MIN(MIN(d.stop_ns, d.abort_ns), d.line_ns), left_ns;
		struct timespec t;

		now_ns = monotonic_ns();
		left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
		t.tv_sec = (time_t)(left_ns / NSEC_PER_SEC);
		t.tv_nsec = (long)(left_ns % NSEC_PER_SEC);
		if (ppoll(fds, ARRAY_SIZE(fds), next_ns == UINT64_MAX ? NULL : &t, NULL) < 0)
			continue;
		now_ns = monotonic_ns();
		if (fds[0].revents & POLLIN)
			on_signal(w, &d, now_ns);
		on_deadlines(w, &d, now_ns);
	}
	leave_soon();
}

/* JSON has no NaN: what is not known is null. */
static const char *json_number(double value, char buffer[static 32])
{
	if (!isfinite(value))
		return "null";
	(void)snprintf(buffer, 32, "%.4f", value);
	return buffer;
}

static void print_summary(const struct worker *w, uint64_t origin_ns, uint64_t end_ns)
{
	struct report_summary s = report_summary(w->report);
	const struct engine *e = w->engine;
	double device_ms = e->ops->mean_device_ms ? e->ops->mean_device_ms(w->engine) : NAN;
	char p50[32], p95[32], p99[32], service[32], device[32];

	(void)printf("{\"model\":\"%s\",\"engine\":\"%s\",\"simulated\":%s,\"seed\":%" PRIu64
		     ",\"time_scale\":%g,\"start_ns\":%" PRIu64 ",\"end_ns\":%" PRIu64
		     ",\"requests\":%" PRIu64 ",\"completed\":%" PRIu64 ",\"failed\":%" PRIu64
		     ",\"rejected\":%" PRIu64 ",\"batches\":%" PRIu64
		     ",\"p50_ms\":%s,\"p95_ms\":%s,\"p99_ms\":%s,\"mean_service_ms\":%s,"
		     "\"mean_device_ms\":%s}\n",
		     e->ops->model(w->engine), e->ops->name,
		     e->ops->simulated(w->engine) ? "true" : "false", w->options.seed,
		     e->ops->time_scale(w->engine), origin_ns, end_ns, s.arrived, s.completed,
		     s.failed, s.rejected, s.batches, json_number(s.p50_ms, p50),
		     json_number(s.p95_ms, p95), json_number(s.p99_ms, p99),
		     json_number(s.mean_service_ms, service), json_number(device_ms, device));
	(void)fflush(stdout);
}

static int finish(struct worker *w)
{
	struct serve_status status = serve_status(w->serve);
	int r = serve_finish(TAKE_PTR(w->serve)), k;

	print_summary(w, status.origin_ns, status.now_ns);
	k = report_close_file(w->report);
	if (k < 0)
		(void)log_error_errno(k, "%s is not complete: %m", w->options.report_path);
	return r < 0 ? r : k;
}

static int run(struct worker *w)
{
	int r;

	r = open_fds(w);
	if (r == 0)
		r = open_engine(w);
	if (r == 0)
		r = make_load(w);
	if (r == 0)
		r = start(w);
	if (r < 0)
		return r;
	wait_for_end(w);
	return finish(w);
}

static void print_help(void)
{
	worker_options_print_help();
	(void)printf("Engines (auto: the first that finds a card; the summary names it):\n");
	for (const struct engine_ops *const *e = engine_all(); *e; e++)
		(void)printf("      %-22s  %s\n", (*e)->name, (*e)->what);
}

int main(int argc, char *argv[])
{
	struct worker w = {.signal_fd = -1, .done_fd = -1};
	int r;

	log_init("cofris-worker", LOG_INFO);
	r = worker_options_parse(argc, argv, &w.options);
	if (r == 2)
		print_help();
	if (r != 1)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	r = run(&w);
	worker_deinit(&w);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
