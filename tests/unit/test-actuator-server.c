/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: the server on a thread of its own over the fake backend, real clients, and peers that
 * mean no good. */
#include "actuator/client.h"
#include "actuator/server.h"
#include "base/units.h"
#include "test-actuator-fake.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define WAIT_MS 10000 /* only a failing test waits that long */

static struct {
	struct gpu_tree tree;
	char socket_path[96], state_path[96];
	struct actuator_core *core;
	struct server_config config;
	pthread_t thread;
	bool running;
	int result;
	_Atomic bool no_answer;
	_Atomic uint32_t n_alive;
	struct actuator_client *clients[SERVER_MAX_CONNECTIONS + 1];
} f;

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int run_inline(_unused_ void *userdata, void (*job)(void *data), void *data,
		      _unused_ uint32_t deadline_ms)
{
	if (atomic_load(&f.no_answer))
		return -ETIMEDOUT;
	job(data);
	return 0;
}

static int run_alone_inline(_unused_ void *userdata, void (*job)(void *data), void *data,
			    _unused_ uint32_t deadline_ms)
{
	job(data);
	return 0;
}

static void count_alive(void)
{
	atomic_fetch_add(&f.n_alive, 1);
}

static void *serve(_unused_ void *arg)
{
	f.result = server_run(&f.config);
	return NULL;
}

static bool start_server(void)
{
	f.running = pthread_create(&f.thread, NULL, serve, NULL) == 0;
	return f.running;
}

static int setup(_unused_ void **state)
{
	struct actuator_config config = {.boot_id = "boot",
					 .backend = &fake_io,
					 .writer = &fake_writer,
					 .deadline_ms = 200,
					 .run = run_inline,
					 .run_alone = run_alone_inline,
					 .clock_ns = monotonic_ns};

	memset(&f, 0, sizeof(f));
	fake_reset();
	gpu_tree_create(&f.tree, FAKE_CARDS);
	(void)chmod(f.tree.root, 0755);
	(void)snprintf(f.socket_path, sizeof(f.socket_path), "%s/control.sock", f.tree.root);
	(void)snprintf(f.state_path, sizeof(f.state_path), "%s/state", f.tree.root);
	config.sysfs_root = f.tree.root;
	config.state_path = f.state_path;
	f.config.clock_ns = monotonic_ns;
	f.config.alive_ns = 5 * NSEC_PER_MSEC;
	f.config.alive = count_alive;
	f.config.signal_fd = eventfd(0, EFD_CLOEXEC);
	if (actuator_core_new(&config, monotonic_ns(), &f.core) < 0 ||
	    server_listen(f.socket_path, 0666, &f.config.listen_fd) < 0)
		return -1;
	f.config.core = f.core;
	return start_server() ? 0 : -1;
}

/* Asks the server to stop, unless it did by itself, and returns what it returned. */
static int stop_server(void)
{
	uint64_t one = 1;

	if (!f.running)
		return f.result;
	(void)!write(f.config.signal_fd, &one, sizeof(one));
	(void)pthread_join(f.thread, NULL);
	(void)!read(f.config.signal_fd, &one, sizeof(one));
	f.running = false;
	return f.result;
}

static int teardown(_unused_ void **state)
{
	(void)stop_server();
	for (size_t i = 0; i < ARRAY_SIZE(f.clients); i++)
		f.clients[i] = actuator_client_free(f.clients[i]);
	if (atomic_load(&f.no_answer))
		free(f.core);
	else
		actuator_core_free(f.core);
	fake_reset();
	(void)close(f.config.signal_fd);
	(void)close(f.config.listen_fd);
	gpu_tree_destroy(&f.tree);
	return 0;
}

static struct actuator_client *connect_client(int i)
{
	assert_int_equal(actuator_client_connect(f.socket_path, &f.clients[i]), 0);
	return f.clients[i];
}

static int call(struct actuator_client *c, uint16_t op, uint32_t max_mhz, uint32_t lease_ms,
		struct actuator_reply *ret)
{
	struct actuator_request q = {.op = op,
				     .bdf = TREE_BDF,
				     .max_mhz = max_mhz,
				     .lease_ms = lease_ms};

	return actuator_client_call(c, &q, WAIT_MS, ret);
}

/* Whether the server has ended the connection. */
static bool is_cut_off(struct actuator_client *c)
{
	struct pollfd p = {.fd = actuator_client_fd(c), .events = POLLIN};
	struct actuator_reply reply;

	return poll(&p, 1, WAIT_MS) == 1 && actuator_client_receive(c, &reply) == -ECONNRESET;
}

static void test_serves_a_whole_life(_unused_ void **state)
{
	struct actuator_client *c = connect_client(0);
	struct actuator_reply cards[4], r;

	assert_int_equal(actuator_client_list(c, WAIT_MS, cards, 4), 2);
	assert_string_equal(cards[0].bdf, TREE_BDF);
	assert_string_equal(cards[1].bdf, TREE_BDF2);
	assert_int_equal(actuator_client_list(c, WAIT_MS, cards, 1), 1);
	assert_int_equal(call(c, ACTUATOR_CLAIM, 0, 5000, &r), 0);
	assert_int_equal(call(c, ACTUATOR_SET, 1143, 5000, &r), 0);
	assert_int_equal(r.state.max_mhz, 1143);
	assert_int_equal(call(c, ACTUATOR_SENSORS, 0, 0, &r), 0);
	assert_int_equal(r.state.perf_level, GPU_PERF_MANUAL);
	assert_int_equal(call(c, ACTUATOR_RELEASE, 0, 0, &r), 0);
	assert_int_equal(call(c, ACTUATOR_SET, 1143, 5000, &r), -EACCES);
	assert_int_equal(stop_server(), 0);
	assert_string_equal(fake_writes(), "io clock 0-1143; w perf auto; ");
	assert_true(is_cut_off(c));
}

static void test_a_second_owner_is_told_the_first(_unused_ void **state)
{
	struct actuator_reply r;
	char comm[16] = "";
	FILE *file;

	assert_int_equal(call(connect_client(0), ACTUATOR_CLAIM, 0, 5000, &r), 0);
	assert_int_equal(call(connect_client(1), ACTUATOR_CLAIM, 0, 5000, &r), -EBUSY);
	assert_int_equal(r.owner.pid, getpid());
	assert_int_equal(r.owner.uid, getuid());
	file = fopen("/proc/self/comm", "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%15s", comm), 1);
	(void)fclose(file);
	assert_string_equal(r.owner.comm, comm);
}

static void test_a_hangup_restores_at_once(_unused_ void **state)
{
	struct actuator_client *other;
	struct actuator_reply r;

	connect_client(0);
	other = connect_client(1);
	assert_int_equal(call(f.clients[0], ACTUATOR_CLAIM, 0, 60000, &r), 0);
	assert_int_equal(call(f.clients[0], ACTUATOR_SET, 925, 60000, &r), 0);
	f.clients[0] = actuator_client_free(f.clients[0]);
	assert_int_equal(call(other, ACTUATOR_CLAIM, 0, 5000, &r), 0);
	assert_int_equal(r.state.perf_level, GPU_PERF_AUTO);
}

static void test_a_lease_ends_by_itself(_unused_ void **state)
{
	struct actuator_client *c = connect_client(0);
	uint64_t end_ns = monotonic_ns() + WAIT_MS * NSEC_PER_MSEC;
	struct actuator_reply r;

	assert_int_equal(call(c, ACTUATOR_CLAIM, 0, 100, &r), 0);
	assert_int_equal(call(c, ACTUATOR_SET, 925, 100, &r), 0);
	do
		assert_int_equal(call(c, ACTUATOR_SENSORS, 0, 0, &r), 0);
	while (r.state.perf_level == GPU_PERF_MANUAL && monotonic_ns() < end_ns);
	assert_int_equal(r.state.perf_level, GPU_PERF_AUTO);
}

static void test_a_connection_may_change_hands(_unused_ void **state)
{
	struct actuator_reply r;
	int kept;

	connect_client(0);
	assert_int_equal(call(f.clients[0], ACTUATOR_CLAIM, 0, 60000, &r), 0);
	assert_int_equal(call(f.clients[0], ACTUATOR_SET, 1143, 60000, &r), 0);
	/* As the service manager keeps it over the owner's death. */
	kept = fcntl(actuator_client_fd(f.clients[0]), F_DUPFD_CLOEXEC, 0);
	f.clients[0] = actuator_client_free(f.clients[0]);
	assert_int_equal(actuator_client_from_fd(kept, &f.clients[0]), 0);
	assert_int_equal(call(f.clients[0], ACTUATOR_ADOPT, 0, 0, &r), 0);
	assert_int_equal(r.state.max_mhz, 1143);
	assert_int_equal(call(connect_client(1), ACTUATOR_ADOPT, 0, 0, &r), -EBUSY);
}

static void test_cuts_off_who_sends_anything_else(_unused_ void **state)
{
	static const size_t sizes[] = {1, sizeof(struct actuator_request) - 1,
				       sizeof(struct actuator_request) + 1, 4096, 100000};
	static char bytes[100000];
	struct actuator_request q = {.magic = ACTUATOR_MAGIC,
				     .version = ACTUATOR_VERSION,
				     .op = ACTUATOR_LIST};
	struct actuator_client *c;

	memcpy(bytes, &q, sizeof(q));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		c = connect_client(0);
		assert_int_equal(send(actuator_client_fd(c), bytes, sizes[i], MSG_NOSIGNAL),
				 sizes[i]);
		assert_true(is_cut_off(c));
		f.clients[0] = actuator_client_free(c);
	}
	q.magic = 0;
	c = connect_client(0);
	assert_int_equal(send(actuator_client_fd(c), &q, sizeof(q), MSG_NOSIGNAL), sizeof(q));
	assert_true(is_cut_off(c));
	f.clients[0] = actuator_client_free(c);
	/* Everybody else is served on. */
	assert_int_equal(call(connect_client(0), ACTUATOR_SENSORS, 0, 0,
			      &(struct actuator_reply){0}),
			 0);
}

static void send_with_fds(int fd, const int *fds, size_t n)
{
	struct actuator_request q = {.magic = ACTUATOR_MAGIC,
				     .version = ACTUATOR_VERSION,
				     .op = ACTUATOR_SENSORS,
				     .bdf = TREE_BDF};
	struct iovec iov = {.iov_base = &q, .iov_len = sizeof(q)};
	char control[CMSG_SPACE(64 * sizeof(int))] = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *m = CMSG_FIRSTHDR(&msg);

	m->cmsg_level = SOL_SOCKET;
	m->cmsg_type = SCM_RIGHTS;
	m->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(m), fds, n * sizeof(int));
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), sizeof(q));
}

static void test_keeps_no_fd_that_is_sent_along(_unused_ void **state)
{
	struct actuator_client *c = connect_client(0);
	struct pollfd p = {.fd = actuator_client_fd(c), .events = POLLIN};
	struct actuator_reply r;
	int ends[2], fds[64];
	char byte;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = ends[1];
	send_with_fds(p.fd, fds, ARRAY_SIZE(fds));
	(void)close(ends[1]);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(actuator_client_receive(c, &r), 0);
	assert_int_equal(r.error, 0);
	/* The end of file comes once no copy of the writing end is open. */
	p.fd = ends[0];
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	(void)close(ends[0]);
}

static void test_takes_sixteen_connections_and_not_one_more(_unused_ void **state)
{
	struct actuator_reply r;

	for (int i = 0; i < SERVER_MAX_CONNECTIONS; i++)
		assert_int_equal(call(connect_client(i), ACTUATOR_SENSORS, 0, 0, &r), 0);
	assert_true(is_cut_off(connect_client(SERVER_MAX_CONNECTIONS)));
	f.clients[SERVER_MAX_CONNECTIONS] = actuator_client_free(f.clients[SERVER_MAX_CONNECTIONS]);
	f.clients[3] = actuator_client_free(f.clients[3]);
	assert_int_equal(call(f.clients[4], ACTUATOR_SENSORS, 0, 0, &r), 0);
	assert_int_equal(call(connect_client(3), ACTUATOR_SENSORS, 0, 0, &r), 0);
}

static void test_cuts_off_who_asks_and_never_reads(_unused_ void **state)
{
	struct actuator_client *deaf = connect_client(0);
	struct actuator_request q = {.op = ACTUATOR_SENSORS, .bdf = TREE_BDF};
	struct pollfd p = {.fd = actuator_client_fd(deaf), .events = POLLOUT};
	struct actuator_reply r;
	int sent = 0, e = 0;

	while (sent < 1000000 && (e == 0 || e == -EAGAIN)) {
		e = actuator_client_send(deaf, &q, NULL);
		sent += e == 0;
		if (e == -EAGAIN)
			assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	}
	assert_true(e == -EPIPE || e == -ECONNRESET);
	assert_int_equal(call(connect_client(1), ACTUATOR_SENSORS, 0, 0, &r), 0);
}

/* Connects as another user; its exit status says whether it was served. */
static int served_as(uid_t uid)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct actuator_client *c;
		struct actuator_reply r;

		if (setuid(uid) < 0 || actuator_client_connect(f.socket_path, &c) < 0)
			_exit(2);
		_exit(call(c, ACTUATOR_SENSORS, 0, 0, &r) == 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_serves_listed_users_only(_unused_ void **state)
{
	if (getuid() != 0)
		skip();
	assert_int_equal(served_as(65533), 0);
	assert_int_equal(served_as(0), 1);
	assert_int_equal(stop_server(), 0);
	f.config.uids[0] = 65533;
	f.config.n_uids = 1;
	assert_true(start_server());
	assert_int_equal(served_as(65533), 1);
	assert_int_equal(served_as(65532), 0);
	assert_int_equal(stop_server(), 0);
	f.config.any_of_socket = true;
	assert_true(start_server());
	assert_int_equal(served_as(65532), 1);
}

static void test_a_card_that_does_not_answer_ends_the_server(_unused_ void **state)
{
	struct actuator_client *c = connect_client(0);
	struct actuator_reply r;

	assert_int_equal(call(c, ACTUATOR_CLAIM, 0, 5000, &r), 0);
	assert_int_equal(call(c, ACTUATOR_SET, 925, 5000, &r), 0);
	atomic_store(&f.no_answer, true);
	assert_int_equal(call(c, ACTUATOR_SENSORS, 0, 0, &r), -ETIMEDOUT);
	assert_int_equal(r.error, -ETIMEDOUT);
	assert_true(is_cut_off(c));
	assert_int_equal(stop_server(), -ECONNABORTED);
	assert_string_equal(fake_writes(), "io clock 0-925; w perf auto; ");
}

static void test_replaces_a_socket_that_nobody_serves(_unused_ void **state)
{
	int fd;

	assert_int_equal(server_listen(f.socket_path, 0600, &fd), -EADDRINUSE);
	assert_int_equal(stop_server(), 0);
	/* What a process does that gives up, even if a thread of it lives on. */
	assert_int_equal(shutdown(f.config.listen_fd, SHUT_RDWR), 0);
	assert_int_equal(server_listen(f.socket_path, 0600, &fd), 0);
	(void)close(f.config.listen_fd);
	f.config.listen_fd = fd;
	assert_int_equal(server_listen("/nonexistent/control.sock", 0600, &fd), -ENOENT);
}

/* The child's view of a socket passed as fd 3 with these variables; its return as exit status. */
static int passed_socket(int fd, const char *n_fds, bool right_pid)
{
	char text[16];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)snprintf(text, sizeof(text), "%d", getpid() + !right_pid);
		if (dup2(fd, 3) != 3 || setenv("LISTEN_FDS", n_fds, 1) < 0 ||
		    setenv("LISTEN_PID", text, 1) < 0)
			_exit(255);
		status = server_passed_socket();
		if (status == 3 && (getenv("LISTEN_PID") || getenv("LISTEN_FDS")))
			_exit(254);
		_exit(status < 0 ? 100 + -status : status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_takes_a_socket_from_the_service_manager(_unused_ void **state)
{
	int ends[2];

	assert_int_equal(passed_socket(f.config.listen_fd, "1", true), 3);
	assert_int_equal(passed_socket(f.config.listen_fd, "1", false), 100 + ENOENT);
	assert_int_equal(passed_socket(f.config.listen_fd, "2", true), 100 + EINVAL);
	assert_int_equal(passed_socket(f.config.listen_fd, "-1", true), 100 + EINVAL);
	assert_int_equal(passed_socket(f.config.signal_fd, "1", true), 100 + EINVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(passed_socket(ends[0], "1", true), 100 + EINVAL);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* ---- the client alone, against a server of the test's own ---- */
static void test_the_client_refuses_what_is_no_reply(_unused_ void **state)
{
	struct actuator_reply good = {.magic = ACTUATOR_MAGIC, .version = ACTUATOR_VERSION};
	struct actuator_reply bad[3] = {good, good, good};
	struct actuator_reply r;
	int ends[2];

	bad[0].magic++;
	bad[1].version++;
	bad[2].error = 5;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				    ends),
			 0);
	assert_int_equal(actuator_client_from_fd(ends[0], &f.clients[0]), 0);
	assert_int_equal(actuator_client_receive(f.clients[0], &r), -EAGAIN);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(send(ends[1], &bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
		assert_int_equal(actuator_client_receive(f.clients[0], &r), -EPROTO);
	}
	assert_int_equal(send(ends[1], &good, sizeof(good) - 1, 0), sizeof(good) - 1);
	assert_int_equal(actuator_client_receive(f.clients[0], &r), -EPROTO);
	assert_int_equal(send(ends[1], &good, sizeof(good), 0), sizeof(good));
	assert_int_equal(actuator_client_receive(f.clients[0], &r), 0);
	(void)close(ends[1]);
	assert_int_equal(actuator_client_receive(f.clients[0], &r), -ECONNRESET);
	assert_int_equal(call(f.clients[0], ACTUATOR_SENSORS, 0, 0, &r), -EPIPE);
}

static void test_the_client_waits_no_longer_than_told(_unused_ void **state)
{
	struct actuator_request q = {.op = ACTUATOR_SENSORS, .bdf = TREE_BDF};
	struct actuator_reply other = {.magic = ACTUATOR_MAGIC,
				       .version = ACTUATOR_VERSION,
				       .sequence = 99};
	struct actuator_reply r;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				    ends),
			 0);
	assert_int_equal(actuator_client_from_fd(ends[0], &f.clients[0]), 0);
	assert_int_equal(send(ends[1], &other, sizeof(other), 0), sizeof(other));
	assert_int_equal(actuator_client_call(f.clients[0], &q, 20, &r), -ETIMEDOUT);
	(void)close(ends[1]);
	assert_int_equal(actuator_client_connect("/nonexistent/sock", &f.clients[1]), -ENOENT);
}

static void wait_for_alive(uint32_t n)
{
	uint64_t end_ns = monotonic_ns() + (uint64_t)WAIT_MS * NSEC_PER_MSEC;

	while (atomic_load(&f.n_alive) < n) {
		assert_true(monotonic_ns() < end_ns);
		(void)sched_yield();
	}
}

/* Without anybody to serve, and with nothing due; and never more often than it should. */
static void test_says_that_it_is_alive(_unused_ void **state)
{
	uint64_t began_ns = monotonic_ns();

	wait_for_alive(10);
	assert_true(monotonic_ns() - began_ns >= 8 * f.config.alive_ns);
	assert_int_equal(stop_server(), 0);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_serves_a_whole_life),
		CASE(test_a_second_owner_is_told_the_first),
		CASE(test_a_hangup_restores_at_once),
		CASE(test_a_lease_ends_by_itself),
		CASE(test_a_connection_may_change_hands),
		CASE(test_cuts_off_who_sends_anything_else),
		CASE(test_keeps_no_fd_that_is_sent_along),
		CASE(test_takes_sixteen_connections_and_not_one_more),
		CASE(test_cuts_off_who_asks_and_never_reads),
		CASE(test_serves_listed_users_only),
		CASE(test_a_card_that_does_not_answer_ends_the_server),
		CASE(test_replaces_a_socket_that_nobody_serves),
		CASE(test_takes_a_socket_from_the_service_manager),
		CASE(test_the_client_refuses_what_is_no_reply),
		CASE(test_the_client_waits_no_longer_than_told),
		CASE(test_says_that_it_is_alive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
