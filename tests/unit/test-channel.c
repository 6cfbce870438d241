/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of the channel against hand-made peers, most of them hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>

#include "channel/channel.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LEASE_NS UINT64_C(2000000000)

struct fixture {
	char folder[32];
	char path[64];
	int listen_fd;
	int client;			   /* the worker's socket */
	struct channel_connection *server; /* its other end */
	int memory_fd;
	int wake_fd;
	struct channel_memory *memory; /* the worker's mapping, all of it writable */
	const char *why;
	const struct channel_hello *hello;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->client = f->memory_fd = f->wake_fd = -1;
	strcpy(f->folder, "/tmp/test-channel.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/worker.sock", f->folder);
	f->listen_fd = channel_listen(f->path, 0666);
	assert_true(f->listen_fd >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	channel_connection_free(f->server);
	closep(&f->listen_fd);
	closep(&f->client);
	closep(&f->memory_fd);
	closep(&f->wake_fd);
	if (f->memory)
		munmap(f->memory, sizeof(*f->memory));
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int connect_raw(const struct fixture *f)
{
	struct sockaddr_un address = address_of(f->path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* A worker has connected and said nothing yet. */
static void open_connection(struct fixture *f)
{
	f->client = connect_raw(f);
	assert_int_equal(channel_accept(f->listen_fd, 5, &f->server), 0);
}

static struct channel_hello_message good_hello(void)
{
	return (struct channel_hello_message){
		.header = {.magic = CHANNEL_MAGIC,
			   .version = CHANNEL_VERSION,
			   .type = CHANNEL_HELLO,
			   .size = sizeof(struct channel_hello_message)},
		.model = "resnet50",
		.instance = "worker-1",
		.follows = CHANNEL_FOLLOWS_CU_MASK,
		.reports = CHANNEL_REPORTS_STARTS,
		.slots = 2,
		.n_devices = 2,
		.devices = {{.bdf = "0000:43:00.0"}, {.bdf = "0000:43:00.0", .partition = 1}},
	};
}

static void send_bytes(int fd, const void *bytes, size_t n)
{
	assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static int receive(struct fixture *f)
{
	f->why = NULL;
	f->hello = NULL;
	return channel_connection_receive(f->server, &f->hello, &f->why);
}

static void greet(struct fixture *f)
{
	struct channel_hello_message m = good_hello();

	send_bytes(f->client, &m, sizeof(m));
	assert_int_equal(receive(f), 1);
}

/* What a worker does with the answer, without judging it. */
static void take_welcome(struct fixture *f, struct channel_welcome_message *ret)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *h;

	assert_int_equal(recvmsg(f->client, &m, 0), sizeof(*ret));
	h = CMSG_FIRSTHDR(&m);
	assert_non_null(h);
	assert_int_equal(h->cmsg_len, CMSG_LEN(2 * sizeof(int)));
	memcpy(&f->memory_fd, CMSG_DATA(h), sizeof(int));
	memcpy(&f->wake_fd, CMSG_DATA(h) + sizeof(int), sizeof(int));
	f->memory =
		mmap(NULL, sizeof(*f->memory), PROT_READ | PROT_WRITE, MAP_SHARED, f->memory_fd, 0);
	assert_true(f->memory != MAP_FAILED);
}

static void welcome(struct fixture *f)
{
	struct channel_welcome_message m;

	open_connection(f);
	greet(f);
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), 0);
	take_welcome(f, &m);
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* --- listening ------------------------------------------------------------------------------ */

static void test_listen_replaces_a_stale_socket(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	closep(&f->listen_fd);
	f->listen_fd = -1;
	f->listen_fd = channel_listen(f->path, 0640);
	assert_true(f->listen_fd >= 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_listen_leaves_a_live_socket_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(channel_listen(f->path, 0666), -EADDRINUSE);
	open_connection(f);
}

static void test_listen_leaves_other_files_alone(void **state)
{
	struct fixture *f = *state;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/file", f->folder);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(channel_listen(path, 0666), -EEXIST);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(channel_listen(path, 0666), -EEXIST);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(channel_listen(path, 0666), -EEXIST);
	assert_int_equal(unlink(path), 0);
}

static void test_listen_leaves_a_socket_of_another_type_alone(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/stream", f->folder);
	address = address_of(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(channel_listen(path, 0666), -EEXIST);
	close(fd);
	assert_int_equal(unlink(path), 0);
}

static void test_listen_refuses_a_path_that_does_not_fit(void **state)
{
	char path[200];

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(channel_listen(path, 0666), -ENAMETOOLONG);
	assert_int_equal(channel_listen("/nonexistent/folder/worker.sock", 0666), -ENOENT);
}

static void test_accept_says_again_when_none_waits(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(channel_accept(f->listen_fd, 0, &f->server), -EAGAIN);
	assert_null(f->server);
}

static void test_accept_knows_the_peer(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	assert_int_equal(channel_connection_peer(f->server)->pid, getpid());
	assert_int_equal(channel_connection_peer(f->server)->uid, getuid());
	assert_int_equal(channel_connection_peer(f->server)->gid, getgid());
	assert_int_equal(channel_connection_accepted_ns(f->server), 5);
	assert_int_equal(channel_connection_wake_fd(f->server), -1);
}

/* --- the HELLO ------------------------------------------------------------------------------ */

static void test_hello_is_taken_over_field_by_field(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	assert_int_equal(receive(f), 0);
	greet(f);
	assert_string_equal(f->hello->model, "resnet50");
	assert_string_equal(f->hello->instance, "worker-1");
	assert_int_equal(f->hello->follows, CHANNEL_FOLLOWS_CU_MASK);
	assert_int_equal(f->hello->reports, CHANNEL_REPORTS_STARTS);
	assert_int_equal(f->hello->slots, 2);
	assert_int_equal(f->hello->n_devices, 2);
	assert_string_equal(f->hello->devices[1].bdf, "0000:43:00.0");
	assert_int_equal(f->hello->devices[1].partition, 1);
	assert_int_equal(receive(f), 0);
}

enum { FORTY = 40 };

static void fill_model(struct channel_hello_message *m, size_t n)
{
	memset(m->model, 0, sizeof(m->model));
	memset(m->model, 'x', n);
}

#define BREAK(name, statement)                                                                     \
	static void name(struct channel_hello_message *m)                                          \
	{                                                                                          \
		statement;                                                                         \
	}
BREAK(break_magic, m->header.magic++)
BREAK(break_version_new, m->header.version = CHANNEL_VERSION + 1)
BREAK(break_version_zero, m->header.version = 0)
BREAK(break_type_welcome, m->header.type = CHANNEL_WELCOME)
BREAK(break_type_unknown, m->header.type = 77)
BREAK(break_size_small, m->header.size = 16)
BREAK(break_size_huge, m->header.size = UINT32_MAX)
BREAK(break_header_reserved, m->header.reserved = 1)
BREAK(break_model_empty, memset(m->model, 0, sizeof(m->model)))
BREAK(break_model_long, fill_model(m, FORTY + 1))
BREAK(break_model_unterminated, fill_model(m, sizeof(m->model)))
BREAK(break_model_tail, m->model[sizeof(m->model) - 1] = 'x')
BREAK(break_model_blank, m->model[3] = ' ')
BREAK(break_model_newline, m->model[3] = '\n')
BREAK(break_model_high_byte, m->model[3] = (char)0xff)
BREAK(break_model_climbs, strcpy(m->model, "a/../../b"))
BREAK(break_model_absolute, strcpy(m->model, "/etc/passwd"))
BREAK(break_instance_empty, memset(m->instance, 0, sizeof(m->instance)))
BREAK(break_instance_percent, m->instance[0] = '%')
BREAK(break_follows, m->follows = 4)
BREAK(break_reports, m->reports = UINT32_MAX)
BREAK(break_slots_zero, m->slots = 0)
BREAK(break_slots_many, m->slots = CHANNEL_MAX_SLOTS + 1)
BREAK(break_devices_many, m->n_devices = CHANNEL_MAX_DEVICES + 1)
BREAK(break_devices_huge, m->n_devices = UINT32_MAX)
BREAK(break_devices_missing, m->n_devices = 3)
BREAK(break_devices_unused, m->n_devices = 1)
BREAK(break_bdf_case, memcpy(m->devices[0].bdf, "0000:AB:00.0", 12))
BREAK(break_bdf_unterminated, m->devices[0].bdf[12] = '0')
BREAK(break_bdf_short, m->devices[0].bdf[7] = '\0')
BREAK(break_device_reserved, m->devices[1].reserved[1] = 1)
BREAK(break_device_twice, m->devices[1].partition = 0)

static void test_hostile_hellos_are_refused_with_the_field_named(void **state)
{
	static const struct {
		void (*spoil)(struct channel_hello_message *m);
		int error;
		const char *names;
	} cases[] = {
		{break_magic, -EPROTO, "magic"},
		{break_version_new, -EPROTONOSUPPORT, "version"},
		{break_version_zero, -EPROTONOSUPPORT, "version"},
		{break_type_welcome, -EPROTO, "type"},
		{break_type_unknown, -EPROTO, "type"},
		{break_size_small, -EPROTO, "size"},
		{break_size_huge, -EPROTO, "size"},
		{break_header_reserved, -EPROTO, "reserved"},
		{break_model_empty, -EPROTO, "model"},
		{break_model_long, -EPROTO, "model"},
		{break_model_unterminated, -EPROTO, "model"},
		{break_model_tail, -EPROTO, "model"},
		{break_model_blank, -EPROTO, "model"},
		{break_model_newline, -EPROTO, "model"},
		{break_model_high_byte, -EPROTO, "model"},
		{break_model_climbs, -EPROTO, "model"},
		{break_model_absolute, -EPROTO, "model"},
		{break_instance_empty, -EPROTO, "instance"},
		{break_instance_percent, -EPROTO, "instance"},
		{break_follows, -EPROTO, "follows"},
		{break_reports, -EPROTO, "reports"},
		{break_slots_zero, -EPROTO, "slots"},
		{break_slots_many, -EPROTO, "slots"},
		{break_devices_many, -EPROTO, "n_devices"},
		{break_devices_huge, -EPROTO, "n_devices"},
		{break_devices_missing, -EPROTO, "devices"},
		{break_devices_unused, -EPROTO, "devices"},
		{break_bdf_case, -EPROTO, "devices"},
		{break_bdf_unterminated, -EPROTO, "devices"},
		{break_bdf_short, -EPROTO, "devices"},
		{break_device_reserved, -EPROTO, "devices"},
		{break_device_twice, -EPROTO, "devices"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct channel_hello_message m = good_hello();

		open_connection(f);
		cases[i].spoil(&m);
		send_bytes(f->client, &m, sizeof(m));
		assert_int_equal(receive(f), cases[i].error);
		assert_non_null(f->why);
		if (!strstr(f->why, cases[i].names))
			fail_msg("case %zu: \"%s\" does not name %s", i, f->why, cases[i].names);
		assert_null(f->hello);
		f->server = channel_connection_free(f->server);
		closep(&f->client);
		f->client = -1;
	}
}

static void test_messages_of_a_wrong_size_are_refused(void **state)
{
	static const size_t sizes[] = {
		1,
		8,
		sizeof(struct channel_message_header) - 1,
		sizeof(struct channel_message_header),
		sizeof(struct channel_hello_message) - 1,
		sizeof(struct channel_hello_message) + 1,
		65536,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint8_t *bytes = calloc(1, MAX(sizes[i], sizeof(struct channel_hello_message)));
		struct channel_hello_message m = good_hello();

		assert_non_null(bytes);
		m.header.size = (uint32_t)sizes[i];
		memcpy(bytes, &m, sizeof(m));
		open_connection(f);
		send_bytes(f->client, bytes, sizes[i]);
		free(bytes);
		assert_int_equal(receive(f), -EPROTO);
		assert_non_null(f->why);
		f->server = channel_connection_free(f->server);
		closep(&f->client);
		f->client = -1;
	}
}

static void test_random_bytes_are_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t x = UINT64_C(0x9e3779b97f4a7c15);

	print_message("seed %#llx\n", (unsigned long long)x);
	for (unsigned int i = 0; i < 300; i++) {
		struct channel_hello_message m = good_hello();
		uint8_t *bytes = (uint8_t *)&m;
		struct channel_hello_message before = m;

		/* A few bytes at a time reach deeper than garbage throughout. */
		for (unsigned int j = 0; j <= i % 4; j++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			bytes[(x >> 8) % sizeof(m)] = (uint8_t)x;
		}
		open_connection(f);
		send_bytes(f->client, &m, sizeof(m));
		switch (receive(f)) {
		case 1:
			/* Some changes are still a HELLO: its names must then be whole. */
			assert_true(model_name_is_valid(f->hello->model));
			assert_true(model_name_is_valid(f->hello->instance));
			assert_true(f->hello->n_devices <= CHANNEL_MAX_DEVICES);
			break;
		case -EPROTO:
		case -EPROTONOSUPPORT:
			assert_true(memcmp(&m, &before, sizeof(m)) != 0);
			assert_non_null(f->why);
			break;
		default:
			fail();
		}
		f->server = channel_connection_free(f->server);
		closep(&f->client);
		f->client = -1;
	}
}

static void test_a_second_hello_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct channel_hello_message m = good_hello();

	open_connection(f);
	greet(f);
	send_bytes(f->client, &m, sizeof(m));
	assert_int_equal(receive(f), -EPROTO);
	assert_non_null(strstr(f->why, "second HELLO"));
}

static void test_a_second_hello_after_the_welcome_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct channel_hello_message m = good_hello();

	welcome(f);
	assert_int_equal(receive(f), 0);
	send_bytes(f->client, &m, sizeof(m));
	assert_int_equal(receive(f), -EPROTO);
	assert_non_null(strstr(f->why, "second HELLO"));
}

static void test_other_messages_after_the_welcome_are_an_error(void **state)
{
	const struct channel_announce_message m = {
		.header = {.magic = CHANNEL_MAGIC,
			   .version = CHANNEL_VERSION,
			   .type = CHANNEL_ANNOUNCE,
			   .size = sizeof(m)},
	};
	struct fixture *f = *state;

	welcome(f);
	send_bytes(f->client, &m, sizeof(m));
	assert_int_equal(receive(f), -EPROTO);
	assert_non_null(strstr(f->why, "type"));
}

static void test_a_hang_up_is_seen_before_and_after_the_welcome(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	closep(&f->client);
	f->client = -1;
	assert_int_equal(receive(f), -ECONNRESET);
	f->server = channel_connection_free(f->server);

	welcome(f);
	closep(&f->client);
	f->client = -1;
	assert_int_equal(receive(f), -ECONNRESET);
}

static void test_an_empty_message_ends_the_connection(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	send_bytes(f->client, "", 0);
	assert_int_equal(receive(f), -ECONNRESET);
}

static void send_with_fds(int socket, const void *bytes, size_t n, size_t n_fds)
{
	int fds[253];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
	struct cmsghdr *h;

	assert_true(n_fds <= ARRAY_SIZE(fds));
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = socket;
	m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
	assert_int_equal(sendmsg(socket, &m, 0), n);
}

static void test_received_fds_are_not_kept(void **state)
{
	struct fixture *f = *state;
	struct channel_hello_message m = good_hello();
	unsigned int before;

	open_connection(f);
	before = count_fds();
	send_with_fds(f->client, &m, sizeof(m), 253);
	assert_int_equal(receive(f), 1);
	assert_int_equal(count_fds(), before);
	send_with_fds(f->client, &m, 10, 1);
	assert_int_equal(receive(f), -EPROTO);
	assert_int_equal(count_fds(), before);
}

static void test_three_hundred_connections_leave_no_fd_behind(void **state)
{
	enum { MANY = 300 };
	struct channel_connection *servers[MANY] = {0};
	struct fixture *f = *state;
	struct channel_hello_message m = good_hello();
	unsigned int before = count_fds();
	int clients[MANY];

	for (unsigned int i = 0; i < MANY; i++) {
		clients[i] = connect_raw(f);
		assert_int_equal(channel_accept(f->listen_fd, i, &servers[i]), 0);
		send_bytes(clients[i], &m, sizeof(m));
	}
	for (unsigned int i = 0; i < MANY; i++) {
		const struct channel_hello *hello;
		const char *why;

		assert_int_equal(channel_connection_receive(servers[i], &hello, &why), 1);
		if (i % 3 == 0)
			channel_connection_refuse(servers[i], -EMFILE, "too many");
		else if (i % 3 == 1)
			assert_int_equal(channel_connection_welcome(servers[i], LEASE_NS), 0);
	}
	/* A third was refused, a third welcomed, a third left alone. */
	for (unsigned int i = 0; i < MANY; i++) {
		servers[i] = channel_connection_free(servers[i]);
		close(clients[i]);
	}
	assert_int_equal(count_fds(), before);
}

/* --- welcome and refusal -------------------------------------------------------------------- */

static void test_welcome_sends_sealed_memory(void **state)
{
	struct fixture *f = *state;
	struct channel_welcome_message m;
	struct stat st;

	open_connection(f);
	greet(f);
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), 0);
	take_welcome(f, &m);
	assert_int_equal(m.header.magic, CHANNEL_MAGIC);
	assert_int_equal(m.header.version, CHANNEL_VERSION);
	assert_int_equal(m.header.type, CHANNEL_WELCOME);
	assert_int_equal(m.header.size, sizeof(m));
	assert_int_equal(m.memory_size, sizeof(struct channel_memory));
	assert_int_equal(m.lease_ns, LEASE_NS);
	assert_int_equal(fstat(f->memory_fd, &st), 0);
	assert_int_equal(st.st_size, sizeof(struct channel_memory));
	assert_int_equal(fcntl(f->memory_fd, F_GET_SEALS) &
				 (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(f->memory_fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(f->memory_fd, 2 * st.st_size), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(f->memory_fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(f->memory->daemon.magic, CHANNEL_MAGIC);
	assert_int_equal(f->memory->daemon.version, CHANNEL_VERSION);
	assert_int_equal(f->memory->daemon.size, sizeof(struct channel_memory));
	assert_true(fcntl(f->wake_fd, F_GETFL) & O_NONBLOCK);
}

static void test_welcome_comes_after_the_hello_and_once(void **state)
{
	struct fixture *f = *state;

	open_connection(f);
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), -EBADFD);
	greet(f);
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), 0);
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), -EBADFD);
}

static void test_welcome_to_a_worker_that_has_gone_fails_without_a_leak(void **state)
{
	struct fixture *f = *state;
	unsigned int before;

	open_connection(f);
	greet(f);
	closep(&f->client);
	f->client = -1;
	before = count_fds();
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), -EPIPE);
	assert_int_equal(count_fds(), before);
	assert_int_equal(channel_connection_wake_fd(f->server), -1);
}

static void test_a_refusal_carries_its_text(void **state)
{
	struct fixture *f = *state;
	struct channel_refuse_message m;
	char text[1000];

	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	open_connection(f);
	channel_connection_refuse(f->server, -EACCES, "uid 1000 is not allowed");
	channel_connection_refuse(f->server, -EACCES, text);
	assert_int_equal(recv(f->client, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(m.header.type, CHANNEL_REFUSE);
	assert_int_equal(m.error, -EACCES);
	assert_string_equal(m.text, "uid 1000 is not allowed");
	assert_int_equal(recv(f->client, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(strnlen(m.text, sizeof(m.text)), sizeof(m.text) - 1);
}

/* --- the directive -------------------------------------------------------------------------- */

static void test_a_directive_is_written_whole_and_announced(void **state)
{
	const struct channel_directive d = {
		.epoch = 9,
		.cu_mask = {1, 2, [15] = 16},
		.cu_mask_bits = 60,
		.max_batch = 4,
		.max_wait_ns = 5,
		.slo_ns = 6,
		.boost_wait_ns = 7,
		.sclk_mhz = 1801,
	};
	struct fixture *f = *state;
	struct channel_announce_message m;
	struct channel_directive_record seen;

	welcome(f);
	assert_true(channel_latch_read(&f->memory->daemon.directive, &seen));
	assert_int_equal(seen.epoch, 0);
	channel_connection_direct(f->server, &d);
	assert_int_equal(recv(f->client, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(m.header.type, CHANNEL_ANNOUNCE);
	assert_int_equal(m.epoch, 9);
	assert_true(channel_latch_read(&f->memory->daemon.directive, &seen));
	assert_int_equal(seen.epoch, 9);
	assert_memory_equal(seen.cu_mask, d.cu_mask, sizeof(d.cu_mask));
	assert_int_equal(seen.cu_mask_bits, 60);
	assert_int_equal(seen.max_batch, 4);
	assert_int_equal(seen.max_wait_ns, 5);
	assert_int_equal(seen.slo_ns, 6);
	assert_int_equal(seen.boost_wait_ns, 7);
	assert_int_equal(seen.sclk_mhz, 1801);
}

static void test_a_worker_that_does_not_read_or_scribbles_stops_no_directive(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = {.epoch = 0};
	struct channel_directive_record seen;

	welcome(f);
	for (unsigned int i = 0; i < 5000; i++) {
		d.epoch++;
		channel_connection_direct(f->server, &d);
		if (i == 2500)
			memset(&f->memory->daemon, 0xff, sizeof(f->memory->daemon));
	}
	assert_true(channel_latch_read(&f->memory->daemon.directive, &seen));
	assert_int_equal(seen.epoch, 5000);
}

struct latch_race {
	struct channel_latch latch;
	_Atomic bool stop;
};

static void *write_latch(void *p)
{
	struct latch_race *race = p;
	uint64_t sequence = 0;

	for (uint64_t i = 1; !atomic_load(&race->stop); i++) {
		struct channel_directive_record d = {.epoch = i, .max_wait_ns = i, .slo_ns = i};

		for (size_t j = 0; j < CHANNEL_CU_MASK_WORDS; j++)
			d.cu_mask[j] = (uint32_t)i;
		channel_latch_write(&race->latch, &sequence, &d);
	}
	return NULL;
}

static void test_a_directive_is_never_read_in_halves(void **state)
{
	static struct latch_race race;
	pthread_t thread;
	unsigned int read = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, write_latch, &race), 0);
	for (unsigned int i = 0; i < 200000; i++) {
		struct channel_directive_record d;

		if (!channel_latch_read(&race.latch, &d))
			continue;
		read++;
		assert_int_equal(d.max_wait_ns, d.epoch);
		assert_int_equal(d.slo_ns, d.epoch);
		for (size_t j = 0; j < CHANNEL_CU_MASK_WORDS; j++)
			assert_int_equal(d.cu_mask[j], (uint32_t)d.epoch);
	}
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	assert_true(read > 0);
}

static void test_a_daemon_killed_while_it_writes_leaves_the_last_directive(void **state)
{
	static struct channel_latch latch;
	struct channel_directive_record d = {.epoch = 1}, seen;
	uint64_t sequence = 0;

	(void)state;
	channel_latch_write(&latch, &sequence, &d);
	d.epoch = 2;
	channel_latch_write(&latch, &sequence, &d);
	/* The first half of a third. */
	atomic_store(&latch.copies[(sequence + 1) & 1].words[0], 3);
	assert_true(channel_latch_read(&latch, &seen));
	assert_int_equal(seen.epoch, 2);
}

/* --- waking --------------------------------------------------------------------------------- */

static void test_a_wake_is_taken_once_and_armed_again(void **state)
{
	const uint64_t one = 1;
	struct fixture *f = *state;

	welcome(f);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
	atomic_store(&f->memory->worker.wake_armed, 0);
	assert_int_equal(write(f->wake_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(channel_connection_take_wake(f->server), 1);
	assert_int_equal(atomic_load(&f->memory->worker.wake_armed), 1);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
}

static void test_a_worker_cannot_make_the_daemon_block_on_the_eventfd(void **state)
{
	struct fixture *f = *state;

	welcome(f);
	assert_int_equal(fcntl(f->wake_fd, F_SETFL, 0), 0);
	/* Would hang here, and end by the test's time limit. */
	assert_int_equal(channel_connection_take_wake(f->server), 0);
}

static void test_each_beat_moves_and_arms(void **state)
{
	struct fixture *f = *state;

	welcome(f);
	atomic_store(&f->memory->worker.wake_armed, 0);
	channel_connection_beat(f->server);
	assert_int_equal(atomic_load(&f->memory->daemon.beat), 1);
	assert_int_equal(atomic_load(&f->memory->worker.wake_armed), 1);
	channel_connection_beat(f->server);
	assert_int_equal(atomic_load(&f->memory->daemon.beat), 2);
}

/* --- samples -------------------------------------------------------------------------------- */

static void test_there_is_no_sample_before_the_welcome(void **state)
{
	struct fixture *f = *state;
	struct channel_sample s;
	struct channel_histogram h;

	open_connection(f);
	assert_int_equal(channel_connection_sample(f->server, &s), -ENXIO);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_TOTAL, 0, &h), -ENXIO);
	greet(f);
	assert_int_equal(channel_connection_sample(f->server, &s), -ENXIO);
	channel_connection_beat(f->server);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
}

static struct channel_counters *shard(struct fixture *f, unsigned int i)
{
	return &f->memory->shards[i].classes[0];
}

/* A sound worker of two threads and one of the shared shard. */
static void count_something(struct fixture *f)
{
	*shard(f, 0) = (struct channel_counters){
		.arrivals = 100, .starts = 90, .completions = 10, .batches = 45, .busy_ns = 1000};
	*shard(f, 63) = (struct channel_counters){.completions = 70, .failures = 2, .late = 5};
	*shard(f, 64) = (struct channel_counters){.arrivals = 20, .starts = 3};
	f->memory->worker.beat = 12;
	f->memory->worker.running = 3;
	f->memory->worker.waiting = 4;
}

static void test_a_sample_is_the_sum_of_the_shards(void **state)
{
	const struct channel_directive d = {.epoch = 5};
	struct fixture *f = *state;
	struct channel_sample s;

	welcome(f);
	assert_int_equal(channel_connection_sample(f->server, &s), 0);
	assert_int_equal(s.arrivals, 0);
	channel_connection_direct(f->server, &d);
	count_something(f);
	f->memory->worker.applied_epoch = 5;
	f->memory->worker.applied_queues = 6;
	f->memory->worker.applied_ns = 7;
	assert_int_equal(channel_connection_sample(f->server, &s), 0);
	assert_int_equal(s.beat, 12);
	assert_int_equal(s.arrivals, 120);
	assert_int_equal(s.starts, 93);
	assert_int_equal(s.completions, 80);
	assert_int_equal(s.failures, 2);
	assert_int_equal(s.late, 5);
	assert_int_equal(s.batches, 45);
	assert_int_equal(s.busy_ns, 1000);
	assert_int_equal(s.running, 3);
	assert_int_equal(s.waiting, 4);
	assert_int_equal(s.applied_epoch, 5);
	assert_int_equal(s.applied_queues, 6);
	assert_int_equal(s.applied_ns, 7);
}

#define TEAR(name, statement)                                                                      \
	static void name(struct fixture *f)                                                        \
	{                                                                                          \
		statement;                                                                         \
	}
TEAR(tear_in_flight, shard(f, 5)->completions = 39)
TEAR(tear_failures, shard(f, 5)->failures = 39)
TEAR(tear_starts, shard(f, 5)->starts = 28)
TEAR(tear_late, shard(f, 5)->late = 78)
TEAR(tear_arrivals_back, shard(f, 0)->arrivals--)
TEAR(tear_starts_back, shard(f, 0)->starts--)
TEAR(tear_completions_back, shard(f, 0)->completions--)
TEAR(tear_failures_back, shard(f, 63)->failures--)
TEAR(tear_late_back, shard(f, 63)->late--)
TEAR(tear_batches_back, shard(f, 0)->batches--)
TEAR(tear_busy_back, shard(f, 0)->busy_ns--)
TEAR(tear_beat_back, f->memory->worker.beat--)
TEAR(tear_epoch, f->memory->worker.applied_epoch = 6)
TEAR(tear_epoch_huge, f->memory->worker.applied_epoch = UINT64_MAX)
TEAR(tear_huge, shard(f, 7)->arrivals = UINT64_MAX)
TEAR(tear_huge_busy, shard(f, 7)->busy_ns = CHANNEL_COUNTER_MAX + 1)
/* The sum wraps round to what it was. */
TEAR(tear_wrap, shard(f, 7)->arrivals = shard(f, 8)->arrivals = UINT64_C(1) << 63)
TEAR(tear_garbage,
     memset(&f->memory->worker, 0xa5, sizeof(*f->memory) - offsetof(struct channel_memory, worker)))
TEAR(tear_hole_counters,
     assert_int_equal(fallocate(f->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				offsetof(struct channel_memory, shards), CHANNEL_PAGE),
		      0))
TEAR(tear_hole_everything,
     assert_int_equal(fallocate(f->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				sizeof(struct channel_memory)),
		      0))

static void test_a_torn_sample_fails_and_the_last_good_one_stays_the_base(void **state)
{
	static void (*const tears[])(struct fixture *) = {
		tear_in_flight,
		tear_failures,
		tear_starts,
		tear_late,
		tear_arrivals_back,
		tear_starts_back,
		tear_completions_back,
		tear_failures_back,
		tear_late_back,
		tear_batches_back,
		tear_busy_back,
		tear_beat_back,
		tear_epoch,
		tear_epoch_huge,
		tear_huge,
		tear_huge_busy,
		tear_wrap,
		tear_garbage,
		tear_hole_counters,
		tear_hole_everything,
	};
	const struct channel_directive d = {.epoch = 5};
	struct fixture *f = *state;
	static struct channel_memory saved;

	welcome(f);
	channel_connection_direct(f->server, &d);
	count_something(f);
	memcpy(&saved, f->memory, sizeof(saved));
	for (size_t i = 0; i < ARRAY_SIZE(tears); i++) {
		struct channel_sample s = {.arrivals = 4711};
		int r;

		assert_int_equal(channel_connection_sample(f->server, &s), 0);
		s.arrivals = 4711;
		tears[i](f);
		r = channel_connection_sample(f->server, &s);
		if (r != -EBADMSG)
			fail_msg("tear %zu gave %d", i, r);
		/* Nothing is written on failure, and nothing forgotten. */
		assert_int_equal(s.arrivals, 4711);
		memcpy(f->memory, &saved, sizeof(saved));
		assert_int_equal(channel_connection_sample(f->server, &s), 0);
		assert_int_equal(s.arrivals, 120);
	}
}

static void test_punched_pages_go_on_failing_until_they_count_further(void **state)
{
	struct fixture *f = *state;
	struct channel_sample s;

	welcome(f);
	count_something(f);
	assert_int_equal(channel_connection_sample(f->server, &s), 0);
	tear_hole_everything(f);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(channel_connection_sample(f->server, &s), -EBADMSG);
	/* The daemon's own page has come back as zeros, too, and is written as before. */
	channel_connection_beat(f->server);
	assert_int_equal(atomic_load(&f->memory->daemon.beat), 1);
}

/* --- histograms ----------------------------------------------------------------------------- */

static void test_buckets_meet_and_are_narrow(void **state)
{
	(void)state;
	assert_int_equal(channel_histogram_bucket(0), 0);
	assert_int_equal(channel_histogram_bucket(UINT64_MAX), CHANNEL_HISTOGRAM_BUCKETS - 1);
	assert_int_equal(channel_histogram_upper_ns(CHANNEL_HISTOGRAM_BUCKETS - 1),
			 UINT64_C(1) << CHANNEL_HISTOGRAM_MAX_BITS);
	for (uint32_t i = 0; i + 1 < CHANNEL_HISTOGRAM_BUCKETS; i++) {
		uint64_t upper = channel_histogram_upper_ns(i);
		uint64_t next = channel_histogram_upper_ns(i + 1);

		assert_int_equal(channel_histogram_bucket(upper - 1), i);
		assert_int_equal(channel_histogram_bucket(upper), i + 1);
		assert_true((next - upper) * CHANNEL_HISTOGRAM_SUB_BUCKETS <= upper);
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void test_quantiles_are_exact_but_for_the_bucket(void **state)
{
	enum { N = 20000 };
	static const double quantiles[] = {0, 0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1};
	static struct channel_histogram h;
	static uint64_t values[N];
	uint64_t x = 88172645463325252;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)x);
	for (unsigned int i = 0; i < N; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* Even over the octaves from 2 us to 8 s. */
		values[i] = (UINT64_C(1) << (11 + x % 22)) + (x >> 40);
		h.buckets[channel_histogram_bucket(values[i])]++;
		h.count++;
	}
	qsort(values, N, sizeof(values[0]), compare_u64);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		double q = quantiles[i];
		size_t rank = (size_t)(q * N + 0.999999);
		uint64_t exact = values[rank == 0 ? 0 : rank - 1];
		uint64_t got = channel_histogram_quantile(&h, q);

		assert_true(got > exact);
		assert_true((double)got <= (double)exact * (1 + 1.0 / 32) + 1);
	}
}

static void test_the_mean_is_exact_but_for_half_a_bucket(void **state)
{
	static struct channel_histogram h;
	uint64_t x = 88172645463325252;
	double sum_ns = 0;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)x);
	for (unsigned int i = 0; i < 3000; i++) {
		uint64_t value_ns, n = 1 + i % 3;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		value_ns = (UINT64_C(1) << (11 + x % 22)) + (x >> 40);
		h.buckets[channel_histogram_bucket(value_ns)] += n;
		h.count += n;
		sum_ns += (double)(n * value_ns);
		assert_true(fabs(channel_histogram_mean_ns(&h) * (double)h.count - sum_ns) <=
			    sum_ns / 64 + 1);
	}
}

static void test_an_empty_histogram_has_no_quantile(void **state)
{
	static const struct channel_histogram empty;

	(void)state;
	assert_int_equal(channel_histogram_quantile(&empty, 0.95), 0);
	assert_true(channel_histogram_mean_ns(&empty) == 0);
}

static void test_subtracting_leaves_what_came_since(void **state)
{
	static struct channel_histogram old, new;

	(void)state;
	old.buckets[3] = old.count = 5;
	new.buckets[3] = 6;
	new.buckets[100] = 2;
	new.count = 8;
	channel_histogram_subtract(&new, &old);
	assert_int_equal(new.count, 3);
	assert_int_equal(new.buckets[3], 1);
	assert_int_equal(new.buckets[100], 2);
	/* More than there is: nothing wraps round. */
	channel_histogram_subtract(&new, &old);
	assert_int_equal(new.buckets[3], 0);
	assert_int_equal(new.count, 2);
}

static void test_histograms_are_summed_and_checked(void **state)
{
	struct fixture *f = *state;
	static struct channel_histogram h;
	_Atomic uint64_t *first, *second;

	welcome(f);
	shard(f, 1)->arrivals = shard(f, 1)->completions = 9;
	shard(f, 64)->arrivals = shard(f, 64)->completions = 9;
	first = f->memory->histograms[1].buckets[CHANNEL_SERVICE][1];
	second = f->memory->histograms[64].buckets[CHANNEL_SERVICE][1];
	first[10] = 4;
	second[10] = 5;
	second[863] = 1;
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 1, &h), 0);
	assert_int_equal(h.count, 10);
	assert_int_equal(h.buckets[10], 9);
	assert_int_equal(h.buckets[863], 1);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 0, &h), 0);
	assert_int_equal(h.count, 0);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 2, &h), -EINVAL);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERIES, 0, &h), -EINVAL);

	first[10] = 3;
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 1, &h), -EBADMSG);
	first[10] = 4;
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 1, &h), 0);
	first[11] = CHANNEL_BUCKET_MAX + 1;
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 1, &h), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_listen_replaces_a_stale_socket),
		TEST(test_listen_leaves_a_live_socket_alone),
		TEST(test_listen_leaves_other_files_alone),
		TEST(test_listen_leaves_a_socket_of_another_type_alone),
		TEST(test_listen_refuses_a_path_that_does_not_fit),
		TEST(test_accept_says_again_when_none_waits),
		TEST(test_accept_knows_the_peer),
		TEST(test_hello_is_taken_over_field_by_field),
		TEST(test_hostile_hellos_are_refused_with_the_field_named),
		TEST(test_messages_of_a_wrong_size_are_refused),
		TEST(test_random_bytes_are_refused),
		TEST(test_a_second_hello_is_an_error),
		TEST(test_a_second_hello_after_the_welcome_is_an_error),
		TEST(test_other_messages_after_the_welcome_are_an_error),
		TEST(test_a_hang_up_is_seen_before_and_after_the_welcome),
		TEST(test_an_empty_message_ends_the_connection),
		TEST(test_received_fds_are_not_kept),
		TEST(test_three_hundred_connections_leave_no_fd_behind),
		TEST(test_welcome_sends_sealed_memory),
		TEST(test_welcome_comes_after_the_hello_and_once),
		TEST(test_welcome_to_a_worker_that_has_gone_fails_without_a_leak),
		TEST(test_a_refusal_carries_its_text),
		TEST(test_a_directive_is_written_whole_and_announced),
		TEST(test_a_worker_that_does_not_read_or_scribbles_stops_no_directive),
		TEST(test_a_wake_is_taken_once_and_armed_again),
		TEST(test_a_worker_cannot_make_the_daemon_block_on_the_eventfd),
		TEST(test_each_beat_moves_and_arms),
		TEST(test_there_is_no_sample_before_the_welcome),
		TEST(test_a_sample_is_the_sum_of_the_shards),
		TEST(test_a_torn_sample_fails_and_the_last_good_one_stays_the_base),
		TEST(test_punched_pages_go_on_failing_until_they_count_further),
		TEST(test_histograms_are_summed_and_checked),
#undef TEST
		cmocka_unit_test(test_a_directive_is_never_read_in_halves),
		cmocka_unit_test(test_a_daemon_killed_while_it_writes_leaves_the_last_directive),
		cmocka_unit_test(test_buckets_meet_and_are_narrow),
		cmocka_unit_test(test_quantiles_are_exact_but_for_the_bucket),
		cmocka_unit_test(test_the_mean_is_exact_but_for_half_a_bucket),
		cmocka_unit_test(test_an_empty_histogram_has_no_quantile),
		cmocka_unit_test(test_subtracting_leaves_what_came_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
