/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/control.h"
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define COMMAND_MAX	 (FAULT_SPEC_MAX + 32)
#define CLIENT_TIMEOUT_S 2

struct control {
	struct control_targets targets;
	int fd;
	bool answering;
	pthread_t thread;
};

/* ---- stat ---- */

struct card_stat {
	const struct card *card;
	const struct plant_device *device;
	struct card_view view;
	const char *gating;
	uint32_t writes, processes, queues;
	uint32_t fewest_cus; /* that any process's mask leaves it */
	bool stuck, absent;
};

static const char *const gating_names[] = {
	[PLANT_GATING_NONE] = "none",
	[PLANT_GATING_SE] = "se",
	[PLANT_GATING_CU] = "cu",
};

static void count_processes(struct sim_card *shared, struct card_stat *s)
{
	uint32_t all = cu_topology_cus(&s->device->topology);

	s->fewest_cus = all;
	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		uint32_t shape, cus;

		if (atomic_load(&shared->slots[i].pid) <= 0)
			continue;
		s->processes++;
		s->queues += atomic_load(&shared->slots[i].n_queues);
		shape = atomic_load(&shared->slots[i].shape);
		cus = (shape >> 16) * (shape & 0xffff);
		s->fewest_cus = MIN(s->fewest_cus, cus > 0 ? cus : all);
	}
}

static struct card_stat card_stat(const struct control_targets *t, uint32_t i)
{
	struct sim_card *shared = card_shared(t->cards[i]);
	struct card_stat s = {
		.card = t->cards[i],
		.device = card_device(t->cards[i]),
		.gating = gating_names[MIN(shared->gating, PLANT_GATING_CU + 0u)],
		.writes = write_log_count(t->log, i),
		.stuck = faults_has(t->faults, FAULT_STUCK_CLOCK, i, ""),
		.absent = faults_has(t->faults, FAULT_ABSENT, i, ""),
	};

	card_view(t->cards[i], &s.view);
	count_processes(shared, &s);
	return s;
}

static void print_card_json(FILE *out, const struct card_stat *s)
{
	const struct card_view *v = &s->view;
	const struct card_range *sclk = &v->ranges[DOMAIN_SCLK], *mclk = &v->ranges[DOMAIN_MCLK];

	(void)fprintf(out, "{\"bdf\": \"%s\", \"sclk_mhz\": %u, \"energy_j\": %.6f, ",
		      card_bdf(s->card), v->plant.sclk_mhz, v->plant.energy_j);
	(void)fprintf(out, "\"power_w\": %.3f, \"temp_c\": %.2f, \"perf_level\": \"%s\", ",
		      v->plant.power_w, v->plant.temp_c, v->perf_level);
	(void)fprintf(out, "\"soft_low\": %u, \"soft_high\": %u, ", sclk->low, sclk->high);
	(void)fprintf(out, "\"soft_low_mhz\": %u, \"soft_high_mhz\": %u, ",
		      s->device->level_mhz[sclk->low], s->device->level_mhz[sclk->high]);
	(void)fprintf(out, "\"mclk_soft_low\": %u, \"mclk_soft_high\": %u, ", mclk->low,
		      mclk->high);
	(void)fprintf(out, "\"cap_uw\": %" PRIu64 ", \"sensor_power_uw\": %" PRIu64 ", ", v->cap_uw,
		      v->plant.sensor_power_uw);
	(void)fprintf(out, "\"sensor_busy_percent\": %u, \"sensor_sclk_mhz\": %u, ",
		      v->plant.sensor_busy_percent, v->plant.sensor_sclk_mhz);
	(void)fprintf(out, "\"throttled_power\": %s, \"throttled_thermal\": %s, ",
		      v->plant.throttled_power ? "true" : "false",
		      v->plant.throttled_thermal ? "true" : "false");
	(void)fprintf(out, "\"writes\": %u, \"gating\": \"%s\", \"busy\": %s, \"busy_s\": %.6f, ",
		      s->writes, s->gating, v->busy ? "true" : "false", v->busy_s);
	(void)fprintf(out, "\"processes\": %u, \"queues\": %u, \"fewest_cus\": %u, ", s->processes,
		      s->queues, s->fewest_cus);
	(void)fprintf(out, "\"stuck\": %s, \"absent\": %s}", s->stuck ? "true" : "false",
		      s->absent ? "true" : "false");
}

static int stat_json(const struct control_targets *t, const char *argument _unused_, FILE *out)
{
	for (uint32_t i = 0; i < t->n_cards; i++) {
		struct card_stat s = card_stat(t, i);

		if (i == 0)
			(void)fprintf(out,
				      "{\"simulated\": true, \"device_ns\": %" PRIu64
				      ", \"time_scale\": %g, \"cards\": [\n",
				      s.view.device_ns, t->machine->time_scale);
		print_card_json(out, &s);
		(void)fputs(i + 1 < t->n_cards ? ",\n" : "\n", out);
	}
	(void)fputs("]}\n", out);
	return 0;
}

static int stat_text(const struct control_targets *t, const char *argument _unused_, FILE *out)
{
	for (uint32_t i = 0; i < t->n_cards; i++) {
		struct card_stat s = card_stat(t, i);
		const struct card_range *sclk = &s.view.ranges[DOMAIN_SCLK];

		(void)fprintf(out,
			      "%s (simulated %s): %u MHz, %.1f W, %.1f J, %.1f C, %s, levels %u-%u "
			      "(hidden), cap %.0f W, gating %s, %s, %u writes, %u processes%s%s\n",
			      card_bdf(s.card), s.device->product, s.view.plant.sclk_mhz,
			      s.view.plant.power_w, s.view.plant.energy_j, s.view.plant.temp_c,
			      s.view.perf_level, sclk->low, sclk->high,
			      (double)s.view.cap_uw * 1e-6, s.gating, s.view.busy ? "busy" : "idle",
			      s.writes, s.processes, s.stuck ? ", stuck" : "",
			      s.absent ? ", absent" : "");
	}
	return 0;
}

/* ---- faults ---- */

static bool file_exists(void *userdata, uint32_t card, const char *file)
{
	return tree_has_file(userdata, card, file);
}

int control_add_fault(const struct control_targets *t, const char *spec,
		      struct fault_error *ret_error)
{
	return faults_add(t->faults, spec, file_exists, t->tree, ret_error);
}

static int add_fault(const struct control_targets *t, const char *argument, FILE *out)
{
	struct fault_error error = {"out of memory"};
	int r;

	r = control_add_fault(t, argument, &error);
	fs_forget_cards(t->fs);
	if (r < 0)
		(void)fprintf(out, "%s", error.text);
	return r;
}

static int heal(const struct control_targets *t, const char *argument, FILE *out)
{
	int n = faults_heal(t->faults, *argument ? argument : NULL);

	fs_release(t->fs);
	fs_forget_cards(t->fs);
	if (n == 0 && *argument) {
		(void)fprintf(out, "no such fault");
		return -ENOENT;
	}
	(void)fprintf(out, "%d healed\n", n);
	return 0;
}

/* ---- the server ---- */

static const struct command {
	const char *name;
	bool takes_argument;
	/* Writes the answer, or on error one line that says why. */
	int (*run)(const struct control_targets *t, const char *argument, FILE *out);
} commands[] = {
	{"stat", .run = stat_text},
	{"stat --json", .run = stat_json},
	{"fault", .takes_argument = true, .run = add_fault},
	{"heal", .takes_argument = true, .run = heal},
};

/* The command that the line begins with, and what is behind it. */
static const struct command *find_command(const char *line, const char **ret_argument)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		size_t n = strlen(commands[i].name);

		if (strncmp(line, commands[i].name, n) != 0)
			continue;
		*ret_argument = line + n;
		if (!line[n])
			return &commands[i];
		*ret_argument = line + n + 1;
		if (line[n] == ' ' && commands[i].takes_argument)
			return &commands[i];
	}
	return NULL;
}

static void run_command(const struct control_targets *t, const char *line, FILE *out)
{
	_cleanup_(freep) char *answer = NULL;
	const struct command *command;
	const char *argument;
	size_t size;
	FILE *memory;
	int r;

	command = find_command(line, &argument);
	if (!command) {
		(void)fprintf(out, "error: unknown command '%.60s'\n", line);
		return;
	}
	memory = open_memstream(&answer, &size);
	if (!memory)
		return;
	r = command->run(t, argument, memory);
	(void)fclose(memory);
	if (answer)
		(void)fprintf(out, r < 0 ? "error: %s\n" : "ok\n%s", answer);
}

/* Reads until the other side is done. Returns the length, or -1. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
	size_t length = 0;

	for (;;) {
		ssize_t n = read(fd, buffer + length, size - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		length += (size_t)n;
		if (n == 0 || length == size)
			return (ssize_t)length;
	}
}

static void serve(const struct control_targets *t, int client)
{
	static const struct timeval timeout = {.tv_sec = CLIENT_TIMEOUT_S};
	char line[COMMAND_MAX + 1];
	ssize_t n;
	FILE *out;

	(void)setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	(void)setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	n = read_all(client, line, sizeof(line) - 1);
	out = n < 0 ? NULL : fdopen(client, "w");
	if (!out) {
		(void)close(client);
		return;
	}
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	run_command(t, line, out);
	(void)fclose(out);
}

static void *serve_all(void *userdata)
{
	struct control *c = userdata;

	for (;;) {
		int client = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0)
			serve(&c->targets, client);
		else if (errno != EINTR && errno != ECONNABORTED)
			return NULL;
	}
}

static int make_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	(void)snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
	return 0;
}

int control_new(const char *path, const struct control_targets *targets, struct control **ret)
{
	_cleanup_(control_freep) struct control *c = calloc(1, sizeof(*c));
	struct sockaddr_un address;
	int r;

	if (!c)
		return -ENOMEM;
	c->targets = *targets;
	r = make_address(path, &address);
	c->fd = r < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r < 0)
		return r;
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, 0600) < 0 || listen(c->fd, 16) < 0)
		return -errno;
	r = -pthread_create(&c->thread, NULL, serve_all, c);
	if (r < 0)
		return r;
	c->answering = true;
	*ret = TAKE_PTR(c);
	return 0;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	/* Makes accept() fail. */
	if (c->fd >= 0)
		(void)shutdown(c->fd, SHUT_RDWR);
	if (c->answering)
		(void)pthread_join(c->thread, NULL);
	closep(&c->fd);
	free(c);
	return NULL;
}

/* ---- the client ---- */

static int copy_answer(int fd)
{
	_cleanup_(fclosep) FILE *in = fdopen(fd, "r");
	char line[4096];

	if (!in) {
		(void)close(fd);
		return -ENOMEM;
	}
	if (!fgets(line, sizeof(line), in))
		return log_error_errno(-EIO, "no answer from the simulator");
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, "ok") != 0)
		return log_error_errno(-EINVAL, "%s", line);
	while (fgets(line, sizeof(line), in))
		(void)fputs(line, stdout);
	return 0;
}

int control_call(const char *path, const char *command)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_un address;
	size_t length = strlen(command);

	if (make_address(path, &address) < 0)
		return log_error_errno(-ENAMETOOLONG, "%s: %m", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return log_error_errno(-errno, "cannot reach the simulator at %s: %m", path);
	if (send(fd, command, length, MSG_NOSIGNAL) != (ssize_t)length || shutdown(fd, SHUT_WR) < 0)
		return log_error_errno(-errno, "cannot ask the simulator: %m");
	return copy_answer(TAKE_FD(fd));
}
