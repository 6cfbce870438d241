/* SPDX-License-Identifier: Apache-2.0 */
/* A bus that is flooded takes answers more slowly than it brings calls, and libsystemd keeps all of
 * them that have not been taken: some 200,000. */
#include "daemon/bus-internal.h"
#include <string.h>

/* Answers that wait, of some 250 KiB at most; to questions there are none beyond that but errors.
 * Beyond the second there is none at all, and a caller waits for as long as it would for a daemon
 * that hangs. */
#define QUEUE_BUSY 64
#define QUEUE_FULL 1024

/* Their answers are small, and an operator must get through. */
static bool is_order(sd_bus_message *call)
{
	static const char *const orders[] = {"Reload",	"SetPowerCap", "Hold",
					     "Release", "Pause",       "Resume"};

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (sd_bus_message_is_method_call(call, BUS_MANAGER, orders[i]) > 0)
			return true;
	return false;
}

static int on_message(sd_bus_message *message, void *userdata _unused_,
		      sd_bus_error *error _unused_)
{
	uint64_t n = 0;

	if (sd_bus_message_is_method_call(message, NULL, NULL) <= 0 ||
	    sd_bus_get_n_queued_write(sd_bus_message_get_bus(message), &n) < 0 || n < QUEUE_BUSY)
		return 0;
	if (n < QUEUE_FULL) {
		if (is_order(message))
			return 0;
		(void)sd_bus_reply_method_errorf(message, SD_BUS_ERROR_LIMITS_EXCEEDED,
						 "too many answers wait for the bus");
	}
	return 1;
}

bool bus_queue_is_busy(sd_bus *connection)
{
	uint64_t n = 0;

	return sd_bus_get_n_queued_write(connection, &n) < 0 || n >= QUEUE_BUSY;
}

int bus_bound_queue(sd_bus *connection)
{
	return sd_bus_add_filter(connection, NULL, on_message, NULL);
}
