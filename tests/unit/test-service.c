/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager hears of the watchdog, and when. */
#include "base/units.h"
#include "daemon/service.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct service_manager {
	int fd;
	struct config config;
	struct manager manager;
};

static int set_up(void **state)
{
	struct service_manager *s = calloc(1, sizeof(*s));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64];
	int length = snprintf(name, sizeof(name), "@cofris-service-%d", getpid());

	assert_non_null(s);
	memcpy(address.sun_path + 1, name + 1, (size_t)length - 1);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path)) +
				      (socklen_t)length),
			 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "20000000", 1), 0);
	s->config.daemon.poll_ns = 500 * NSEC_PER_MSEC;
	s->manager.config = &s->config;
	service_init(&s->manager);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct service_manager *s = *state;

	(void)close(s->fd);
	free(s);
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	return 0;
}

/* The next message; "": none. */
static void check_heard(struct service_manager *s, const char *expected)
{
	char text[128] = "";
	ssize_t n = recv(s->fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	assert_string_equal(text, expected);
}

static void its_time_follows_the_poll_interval(void **state)
{
	struct service_manager *s = *state;

	service_ready(&s->manager);
	check_heard(s, "READY=1\nWATCHDOG_USEC=5000000");
	s->config.daemon.poll_ns = 5 * NSEC_PER_SEC;
	service_ready(&s->manager);
	check_heard(s, "READY=1\nWATCHDOG_USEC=20000000");
	check_heard(s, "");
}

static void what_derives_tables_has_its_time_and_gives_it_back(void **state)
{
	struct service_manager *s = *state;

	service_derives(&s->manager, true);
	service_derives(&s->manager, false);
	check_heard(s, "");
	service_ready(&s->manager);
	s->manager.ready = true;
	check_heard(s, "READY=1\nWATCHDOG_USEC=5000000");
	service_derives(&s->manager, true);
	check_heard(s, "WATCHDOG_USEC=120000000");
	service_derives(&s->manager, false);
	check_heard(s, "WATCHDOG_USEC=5000000");
	service_reloading(&s->manager);
	check_heard(s, "RELOADING=1\nWATCHDOG_USEC=120000000");
	service_ready(&s->manager);
	check_heard(s, "READY=1\nWATCHDOG_USEC=5000000");
}

static void it_is_fed_five_times_in_its_time(void **state)
{
	struct service_manager *s = *state;
	uint64_t t_ns = 100 * NSEC_PER_SEC;

	service_ready(&s->manager);
	check_heard(s, "READY=1\nWATCHDOG_USEC=5000000");
	service_feed(&s->manager, t_ns);
	check_heard(s, "WATCHDOG=1");
	service_feed(&s->manager, t_ns + 999 * NSEC_PER_MSEC);
	check_heard(s, "");
	service_feed(&s->manager, t_ns + 1000 * NSEC_PER_MSEC);
	check_heard(s, "WATCHDOG=1");
}

static void who_is_not_watched_says_nothing_of_it(void **state)
{
	struct service_manager *s = *state;

	assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
	service_init(&s->manager);
	service_ready(&s->manager);
	check_heard(s, "READY=1");
	s->manager.ready = true;
	service_derives(&s->manager, true);
	service_feed(&s->manager, 100 * NSEC_PER_SEC);
	check_heard(s, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(its_time_follows_the_poll_interval, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_derives_tables_has_its_time_and_gives_it_back,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_fed_five_times_in_its_time, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(who_is_not_watched_says_nothing_of_it, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, /* group_setup= */ NULL, /* group_teardown= */ NULL);
}
