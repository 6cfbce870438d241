/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager hears, through a socket of ours in its place. */
#include "actuator/notify.h"
#include "base/macros.h"
#include "base/units.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Binds name ('@': abstract) and names it in the environment. */
static int listen_as(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0 && length < sizeof(address.sun_path));
	memcpy(address.sun_path, name, length);
	if (*name == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
			 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void check_heard(const char *name)
{
	_cleanup_(closep) int fd = listen_as(name);
	char text[64] = "";

	notify_service("READY=1");
	assert_int_equal(recv(fd, text, sizeof(text) - 1, 0), 7);
	assert_string_equal(text, "READY=1");
	assert_int_equal(recv(fd, text, sizeof(text), 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

static void test_a_socket_by_path_or_abstract(void **state _unused_)
{
	char folder[] = "/tmp/cofris-notify.XXXXXX", path[64], name[64];

	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/notify", folder);
	check_heard(path);
	(void)unlink(path);
	(void)rmdir(folder);
	(void)snprintf(name, sizeof(name), "@cofris-notify-%d", getpid());
	check_heard(name);
}

/* None of these may do anything, least of all wait. */
static void test_nobody_to_tell(void **state _unused_)
{
	char longest[sizeof(struct sockaddr_un) + 1];
	const char *const names[] = {"", "/", "@", "relative", "/nonexistent/notify", longest};

	(void)memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	(void)unsetenv("NOTIFY_SOCKET");
	notify_service("READY=1");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
		notify_service("READY=1");
	}
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

/* A listener that does not read fills its queue, and is not waited for. */
static void test_a_full_queue_is_not_waited_for(void **state _unused_)
{
	char name[64];
	_cleanup_(closep) int fd = -1;

	(void)snprintf(name, sizeof(name), "@cofris-notify-%d", getpid());
	fd = listen_as(name);
	for (int i = 0; i < 10000; i++)
		notify_service("WATCHDOG=1");
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

static void test_the_watchdogs_time(void **state _unused_)
{
	char self[16];
	const struct {
		const char *pid, *usec;
		uint64_t ns;
	} rows[] = {
		{NULL, NULL, 0},
		{NULL, "2000000", 2 * NSEC_PER_SEC},
		{self, "2000000", 2 * NSEC_PER_SEC},
		{"1", "2000000", 0},
		{"none", "2000000", 0},
		{self, NULL, 0},
		{self, "", 0},
		{self, "2s", 0},
		{self, "18446744073709551615", 0},
	};

	(void)snprintf(self, sizeof(self), "%d", getpid());
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)unsetenv("WATCHDOG_PID");
		(void)unsetenv("WATCHDOG_USEC");
		if (rows[i].pid)
			(void)setenv("WATCHDOG_PID", rows[i].pid, 1);
		if (rows[i].usec)
			(void)setenv("WATCHDOG_USEC", rows[i].usec, 1);
		assert_int_equal(notify_watchdog_ns(), rows[i].ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_socket_by_path_or_abstract),
		cmocka_unit_test(test_nobody_to_tell),
		cmocka_unit_test(test_a_full_queue_is_not_waited_for),
		cmocka_unit_test(test_the_watchdogs_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
