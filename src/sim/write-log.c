/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/write-log.h"
#include "base/units.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct write_log {
	FILE *file;
	const struct sim_machine *machine;
	pthread_mutex_t lock;
	_Atomic uint32_t counts[SIM_MAX_CARDS];
};

int write_log_open(const char *path, const struct sim_machine *machine, struct write_log **ret)
{
	struct write_log *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->machine = machine;
	(void)pthread_mutex_init(&l->lock, NULL);
	l->file = fopen(path, "we");
	if (!l->file) {
		int r = -errno;

		(void)write_log_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

struct write_log *write_log_close(struct write_log *l)
{
	if (!l)
		return NULL;
	fclosep(&l->file);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

static void print_quoted(FILE *file, const char *text, size_t size)
{
	(void)fputc('"', file);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n')
			(void)fputs("\\n", file);
		else if (c == '"' || c == '\\')
			(void)fprintf(file, "\\%c", c);
		else if (c < ' ' || c > '~')
			(void)fprintf(file, "\\x%02x", c);
		else
			(void)fputc(c, file);
	}
	(void)fputc('"', file);
}

void write_log_add(struct write_log *l, uint32_t card, const char *bdf, const char *file, pid_t pid,
		   int r, const char *text, size_t size)
{
	const char *error = r < 0 ? strerrorname_np(-r) : "0";
	struct timespec t;
	uint64_t wall_ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	wall_ns = (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
	(void)pthread_mutex_lock(&l->lock);
	(void)fprintf(l->file, "%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%d\t%s\t",
		      sim_device_ns(l->machine, wall_ns), wall_ns, bdf, file, pid,
		      error ? error : "unknown");
	print_quoted(l->file, text, size);
	(void)fputc('\n', l->file);
	(void)fflush(l->file);
	(void)pthread_mutex_unlock(&l->lock);
	(void)atomic_fetch_add(&l->counts[card], 1);
}

uint32_t write_log_count(struct write_log *l, uint32_t card)
{
	return atomic_load(&l->counts[card]);
}
