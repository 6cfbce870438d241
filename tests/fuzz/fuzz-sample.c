/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's pages: words that it writes where it likes, and samples in between. Whatever it does,
 * a sample that is taken does not contradict itself or one before. */
#include "channel/connection.h"
#include "fuzz.h"
#include <errno.h>
#include <sys/mman.h>

struct step {
	uint16_t where, pad;
	uint32_t how; /* 0: sample; else the value's place, so that small numbers are frequent */
	uint64_t value;
};

/* The worker's page, all shards, and the first shard's histograms. */
#define WORDS ((offsetof(struct channel_memory, histograms) + 2 * CHANNEL_PAGE) / 8)

static void check_order(const struct channel_sample *s, const struct channel_sample *before)
{
	FUZZ_CHECK(s->completions + s->failures <= s->arrivals && s->starts <= s->arrivals);
	FUZZ_CHECK(s->late <= s->completions + s->failures);
	FUZZ_CHECK(s->arrivals >= before->arrivals && s->completions >= before->completions);
	FUZZ_CHECK(s->failures >= before->failures && s->busy_ns >= before->busy_ns);
	FUZZ_CHECK(s->beat >= before->beat && s->applied_epoch == 0);
}

static void look(struct channel_connection *c)
{
	static struct channel_histogram h;
	struct channel_sample before = c->last, s;
	int r;

	r = channel_connection_sample(c, &s);
	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	if (r == 0)
		check_order(&s, &before);
	else
		FUZZ_CHECK(memcmp(&before, &c->last, sizeof(before)) == 0);
	r = channel_connection_histogram(c, CHANNEL_TOTAL, 0, &h);
	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	if (r == 0) {
		FUZZ_CHECK(channel_histogram_quantile(&h, 0.5) <=
			   channel_histogram_quantile(&h, 0.99));
		FUZZ_CHECK(channel_histogram_mean_ns(&h) >= 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct channel_memory *memory;
	struct channel_connection c = {.fd = -1, .wake_fd = -1, .state = CHANNEL_STATE_WELCOMED};

	if (!memory) {
		memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		FUZZ_CHECK(memory != MAP_FAILED);
	}
	memset(memory, 0, WORDS * 8);
	c.memory = memory;
	for (; size >= sizeof(struct step); data += sizeof(struct step)) {
		struct step step;

		size -= sizeof(step);
		memcpy(&step, data, sizeof(step));
		if (step.how == 0)
			look(&c);
		else
			((uint64_t *)memory)[CHANNEL_PAGE / 8 +
					     step.where % (WORDS - CHANNEL_PAGE / 8)] =
				step.value >> (step.how % 64);
	}
	look(&c);
	return 0;
}
