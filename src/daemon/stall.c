/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/stall.h"
#include "base/macros.h"

uint64_t stall_limit_ns(uint64_t p99_ns)
{
	return MAX(STALL_MIN_NS, STALL_P99S * MIN(p99_ns, UINT64_MAX / STALL_P99S));
}

bool stall_step(struct stall *s, const struct stall_input *in)
{
	if (!in->masked || in->missing || in->in_flight == 0) {
		s->since_ns = 0;
		return false;
	}
	if (s->since_ns == 0 || in->ended > 0) {
		s->since_ns = in->now_ns;
		return false;
	}
	return in->now_ns - s->since_ns >= stall_limit_ns(in->p99_ns);
}
