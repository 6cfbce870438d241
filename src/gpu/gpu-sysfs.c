/* SPDX-License-Identifier: Apache-2.0 */
/* The card through its kernel files alone. Files stay open and are read with pread() at 0, which
 * makes the kernel print them anew; after an error a file is closed, so that the next use opens it
 * again (a driver bound anew has new files under the same names). Each write is one system call
 * and keeps its errno. */
#include "gpu/gpu-sysfs.h"
#include "base/fsio.h"
#include "base/units.h"
#include "gpu/gpu-backend.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#define MAX_POWER_UW (10000 * UW_PER_W)
#define MAX_CLOCK_HZ UINT64_C(100000000000)
#define MAX_TEMPS    8u
#define RAS_EVERY_NS (2 * NSEC_PER_SEC)

struct gpu_sysfs {
	struct gpu gpu;
	char bdf[PCI_BDF_LENGTH + 1];
	int class_fd, device_fd, hwmon_fd; /* hwmon_fd -1: the card has none */
	int read_fd[GPU_FILE_MAX], write_fd[GPU_FILE_MAX];
	uint32_t kfd_gpu_id; /* 0: not looked for yet */
	uint32_t temp_index; /* of junction, else edge; 0: none */
	bool labels_are_read, temp_is_junction, labels_are_plain;
	char temp_name[24];
	struct {
		bool is_known, is_missing;
		uint64_t at_ns, uncorrectable, correctable;
	} ras;
};

static const struct {
	const char *name;
	bool in_hwmon;
	uint64_t max;
} files[GPU_FILE_MAX] = {
	[GPU_FILE_PERF] = {"power_dpm_force_performance_level", false, 0},
	[GPU_FILE_SCLK] = {"pp_dpm_sclk", false, 0},
	[GPU_FILE_BUSY] = {"gpu_busy_percent", false, 100},
	[GPU_FILE_METRICS] = {"gpu_metrics", false, 0},
	[GPU_FILE_POWER_AVERAGE] = {"power1_average", true, MAX_POWER_UW},
	[GPU_FILE_POWER_INPUT] = {"power1_input", true, MAX_POWER_UW},
	[GPU_FILE_CAP] = {"power1_cap", true, MAX_POWER_UW},
	[GPU_FILE_CAP_MIN] = {"power1_cap_min", true, MAX_POWER_UW},
	[GPU_FILE_CAP_MAX] = {"power1_cap_max", true, MAX_POWER_UW},
	[GPU_FILE_CAP_DEFAULT] = {"power1_cap_default", true, MAX_POWER_UW},
	[GPU_FILE_FREQ] = {"freq1_input", true, MAX_CLOCK_HZ},
	[GPU_FILE_TEMP] = {NULL, true, 0},
};

static const char *file_name(const struct gpu_sysfs *g, enum gpu_file file)
{
	return file == GPU_FILE_TEMP ? g->temp_name : files[file].name;
}

static void close_slot(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Opens the file unless it is open. A file that is not there is a knob that the card lacks, unless
 * the whole device folder has gone. */
static int open_file(struct gpu_sysfs *g, enum gpu_file file, int flags, int *slot)
{
	int dirfd = files[file].in_hwmon ? g->hwmon_fd : g->device_fd;

	if (*slot >= 0)
		return 0;
	if (dirfd < 0)
		return -EOPNOTSUPP;
	*slot = openat(dirfd, file_name(g, file), flags | O_CLOEXEC);
	if (*slot >= 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	return faccessat(g->device_fd, "vendor", F_OK, 0) < 0 && errno == ENOENT ? -ENODEV
										 : -EOPNOTSUPP;
}

/* The file's whole content, NUL-terminated. Returns its length. One read is all: an attribute is
 * printed at once and is shorter than a page, and each further read is a trip into the driver. */
static ssize_t read_file(struct gpu_sysfs *g, enum gpu_file file, char *buffer, size_t size)
{
	ssize_t n;
	int r;

	r = open_file(g, file, O_RDONLY, &g->read_fd[file]);
	if (r < 0)
		return r;
	do
		n = pread(g->read_fd[file], buffer, size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		r = -errno;
		close_slot(&g->read_fd[file]);
		return r;
	}
	if ((size_t)n == size)
		return -EBADMSG;
	buffer[n] = '\0';
	/* A NUL inside would hide what follows from the parsers. */
	if (file != GPU_FILE_METRICS && memchr(buffer, '\0', (size_t)n))
		return -EBADMSG;
	return n;
}

static int write_file(struct gpu_sysfs *g, enum gpu_file file, const char *text)
{
	size_t length = strlen(text);
	ssize_t n;
	int r;

	r = open_file(g, file, O_WRONLY, &g->write_fd[file]);
	if (r < 0)
		return r;
	do
		n = pwrite(g->write_fd[file], text, length, 0);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)length)
		return 0;
	r = n < 0 ? -errno : -EIO;
	close_slot(&g->write_fd[file]);
	return r;
}

int gpu_sysfs_perf_level(struct gpu_sysfs *g, enum gpu_perf_level *ret)
{
	char text[KERNEL_FILE_MAX];
	ssize_t n;

	n = read_file(g, GPU_FILE_PERF, text, sizeof(text));
	return n < 0 ? (int)n : perf_level_parse(text, ret);
}

int gpu_sysfs_levels(struct gpu_sysfs *g, struct dpm_levels *ret)
{
	char text[KERNEL_FILE_MAX];
	ssize_t n;

	n = read_file(g, GPU_FILE_SCLK, text, sizeof(text));
	return n < 0 ? (int)n : dpm_levels_parse(text, ret);
}

int gpu_sysfs_number(struct gpu_sysfs *g, enum gpu_file file, uint64_t *ret)
{
	char text[KERNEL_FILE_MAX];
	ssize_t n;

	n = read_file(g, file, text, sizeof(text));
	return n < 0 ? (int)n : number_file_parse(text, 0, files[file].max, ret);
}

static bool read_label(int hwmon_fd, const char *kind, uint32_t index, char *ret, size_t size)
{
	char path[32], text[64];

	(void)snprintf(path, sizeof(path), "%s%u_label", kind, index);
	return read_text_at(hwmon_fd, path, text, sizeof(text)) >= 0 &&
	       line_file_parse(text, ret, size) == 0;
}

/* Once, and only when asked for: who opens a card to restore it should read as little as it can. */
static void read_labels(struct gpu_sysfs *g)
{
	char label[16];

	if (g->labels_are_read || g->hwmon_fd < 0)
		return;
	g->labels_are_read = true;
	g->labels_are_plain =
		read_label(g->hwmon_fd, "in", 0, label, sizeof(label)) && !strcmp(label, "vddgfx");
	for (uint32_t i = 1; i < MAX_TEMPS; i++) {
		bool junction;

		if (!read_label(g->hwmon_fd, "temp", i, label, sizeof(label)))
			continue;
		junction = strcmp(label, "junction") == 0;
		if (!junction && strcmp(label, "edge") != 0) {
			g->labels_are_plain = g->labels_are_plain && strcmp(label, "mem") == 0;
			continue;
		}
		if (g->temp_is_junction)
			continue;
		g->temp_index = i;
		g->temp_is_junction = junction;
	}
	(void)snprintf(g->temp_name, sizeof(g->temp_name), "temp%u_input", g->temp_index);
}

int gpu_sysfs_temp_mc(struct gpu_sysfs *g, int32_t *ret)
{
	char text[KERNEL_FILE_MAX];
	int64_t value;
	ssize_t n;
	int r;

	read_labels(g);
	if (g->temp_index == 0)
		return -EOPNOTSUPP;
	n = read_file(g, GPU_FILE_TEMP, text, sizeof(text));
	if (n < 0)
		return (int)n;
	r = signed_file_parse(text, -273150, 1000000, &value);
	if (r < 0)
		return r;
	*ret = (int32_t)value;
	return 0;
}

static int read_metrics(struct gpu_sysfs *g, struct gpu_metrics *ret)
{
	char bytes[KERNEL_FILE_MAX];
	ssize_t n;

	n = read_file(g, GPU_FILE_METRICS, bytes, sizeof(bytes));
	return n < 0 ? (int)n : gpu_metrics_parse(bytes, (size_t)n, ret);
}

int gpu_levels_range(const struct dpm_levels *l, uint32_t min_mhz, uint32_t max_mhz,
		     uint32_t *ret_first, uint32_t *ret_last)
{
	uint32_t first = 0, last = 0;

	if (l->n < 2 || !dpm_levels_ascend(l))
		return -EOPNOTSUPP;
	for (uint32_t i = 1; i < l->n; i++) {
		if (l->mhz[i] <= min_mhz)
			first = i;
		if (l->mhz[i] <= max_mhz)
			last = i;
	}
	if (first > last)
		return -EINVAL;
	*ret_first = first;
	*ret_last = last;
	return 0;
}

/* Cards with fine clock control (MI200, MI300) list the clock of the moment between two levels, so
 * their "levels" are none; they show it by this header. */
static bool has_fine_clock_control(struct gpu_sysfs *g)
{
	char text[KERNEL_FILE_MAX];

	return read_text_at(g->device_fd, "pp_od_clk_voltage", text, sizeof(text)) > 0 &&
	       strstr(text, "GFXCLK:");
}

static bool writable(struct gpu_sysfs *g, enum gpu_file file)
{
	int dirfd = files[file].in_hwmon ? g->hwmon_fd : g->device_fd;

	return dirfd >= 0 && faccessat(dirfd, files[file].name, W_OK, AT_EACCESS) == 0;
}

static void read_identity(struct gpu_sysfs *g, const struct kfd_properties *p, struct gpu_info *i)
{
	char text[KERNEL_FILE_MAX];

	i->unique_id = gpu_tree_unique_id(g->device_fd);
	if (read_text_at(g->device_fd, "product_name", text, sizeof(text)) <= 0 ||
	    line_file_parse(text, i->name, sizeof(i->name)) < 0 || !i->name[0])
		(void)snprintf(i->name, sizeof(i->name), "AMD GPU %04x:%04x",
			       (unsigned int)(p->vendor_id & 0xffff),
			       (unsigned int)(p->device_id & 0xffff));
}

static int read_levels(struct gpu_sysfs *g, struct gpu_info *i)
{
	struct dpm_levels l;
	int r;

	r = gpu_sysfs_levels(g, &l);
	if (r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return r;
	if (!dpm_levels_ascend(&l))
		return 0;
	i->n_levels = l.n;
	memcpy(i->level_mhz, l.mhz, sizeof(l.mhz));
	i->can_cap_clock = l.n >= 2 && writable(g, GPU_FILE_SCLK) && writable(g, GPU_FILE_PERF) &&
			   !has_fine_clock_control(g);
	return 0;
}

static int read_caps(struct gpu_sysfs *g, struct gpu_info *i)
{
	uint64_t cap;
	int r;

	r = gpu_sysfs_number(g, GPU_FILE_CAP, &cap);
	if (r == 0)
		r = gpu_sysfs_number(g, GPU_FILE_CAP_MIN, &i->cap_min_uw);
	if (r == 0)
		r = gpu_sysfs_number(g, GPU_FILE_CAP_MAX, &i->cap_max_uw);
	if (r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return r;
	if (i->cap_min_uw > i->cap_max_uw)
		return -EBADMSG;
	/* Kernels before 5.14 do not have it. */
	r = gpu_sysfs_number(g, GPU_FILE_CAP_DEFAULT, &i->cap_default_uw);
	if (r == -EOPNOTSUPP)
		i->cap_default_uw = i->cap_max_uw;
	else if (r < 0)
		return r;
	i->can_cap_power = writable(g, GPU_FILE_CAP);
	return 0;
}

int gpu_sysfs_info(struct gpu_sysfs *g, struct gpu_info *ret)
{
	struct gpu_info i = {0};
	struct kfd_properties p;
	struct statfs fs;
	int r;

	memcpy(i.bdf, g->bdf, sizeof(i.bdf));
	r = gpu_tree_find_node(g->class_fd, g->bdf, &p, &i.kfd_gpu_id);
	if (r < 0)
		return r;
	r = kfd_properties_layout(&p, &i);
	if (r < 0)
		return r;
	read_identity(g, &p, &i);
	r = read_levels(g, &i);
	if (r < 0)
		return r;
	r = read_caps(g, &i);
	if (r < 0)
		return r;
	if (fstatfs(g->device_fd, &fs) < 0)
		return -errno;
	i.simulated = fs.f_type != SYSFS_MAGIC;
	*ret = i;
	return 0;
}

/* ---- processes with queues: kfd/proc/<pid>/queues/<queue>/gpuid ---- */
struct queue_count {
	uint32_t gpu_id, n;
};

static int visit_queue(int queues_fd, const char *name, void *userdata)
{
	struct queue_count *c = userdata;
	char path[300], text[64];
	uint64_t gpu_id;

	(void)snprintf(path, sizeof(path), "%s/gpuid", name);
	/* Queues come and go while we look. */
	if (read_text_at(queues_fd, path, text, sizeof(text)) > 0 &&
	    number_file_parse(text, 0, UINT32_MAX, &gpu_id) == 0 && gpu_id == c->gpu_id)
		c->n++;
	return 0;
}

struct process_list {
	struct gpu_process *list;
	uint32_t gpu_id, n, max;
};

static int visit_process(int proc_fd, const char *name, void *userdata)
{
	struct process_list *l = userdata;
	struct queue_count c = {.gpu_id = l->gpu_id};
	char path[300];
	uint32_t pid;

	if (parse_u32(name, &pid) < 0 || pid > INT32_MAX)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/queues", name);
	if (gpu_tree_each(proc_fd, path, visit_queue, &c) < 0 || c.n == 0)
		return 0;
	l->list[l->n++] = (struct gpu_process){.pid = (int32_t)pid, .n_queues = c.n};
	return l->n == l->max;
}

int gpu_sysfs_processes(struct gpu_sysfs *g, struct gpu_process *ret, uint32_t max)
{
	struct process_list l = {.list = ret, .max = max};
	struct kfd_properties p;
	int r;

	if (max == 0)
		return 0;
	/* Looked for once: it stays while the driver stays bound, and is some twenty files. */
	if (g->kfd_gpu_id == 0) {
		r = gpu_tree_find_node(g->class_fd, g->bdf, &p, &g->kfd_gpu_id);
		if (r < 0)
			return r;
	}
	l.gpu_id = g->kfd_gpu_id;
	r = gpu_tree_each(g->class_fd, "kfd/kfd/proc", visit_process, &l);
	return r < 0 && r != -ENOENT ? r : (int)l.n;
}

/* ---- opening ---- */
static int visit_hwmon(int folder_fd, const char *name, void *userdata)
{
	_cleanup_(closep) int fd = -1;
	char text[64], line[16];
	int *ret_fd = userdata;

	fd = openat(folder_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || read_text_at(fd, "name", text, sizeof(text)) < 0 ||
	    line_file_parse(text, line, sizeof(line)) < 0 || strcmp(line, "amdgpu") != 0)
		return 0;
	*ret_fd = TAKE_FD(fd);
	return 1;
}

int gpu_sysfs_new(const char *sysfs_root, const char *bdf, struct gpu_sysfs **ret)
{
	_cleanup_(gpu_sysfs_freep) struct gpu_sysfs *g = NULL;
	int r;

	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->class_fd = g->device_fd = g->hwmon_fd = -1;
	for (int i = 0; i < GPU_FILE_MAX; i++)
		g->read_fd[i] = g->write_fd[i] = -1;
	memcpy(g->bdf, bdf, PCI_BDF_LENGTH);
	r = gpu_tree_open_class(sysfs_root, &g->class_fd);
	if (r < 0)
		return r;
	r = gpu_tree_find_card(g->class_fd, bdf, &g->device_fd);
	if (r < 0)
		return r;
	r = gpu_tree_each(g->device_fd, "hwmon", visit_hwmon, &g->hwmon_fd);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}

struct gpu_sysfs *gpu_sysfs_free(struct gpu_sysfs *g)
{
	if (!g)
		return NULL;
	for (int i = 0; i < GPU_FILE_MAX; i++) {
		close_slot(&g->read_fd[i]);
		close_slot(&g->write_fd[i]);
	}
	close_slot(&g->hwmon_fd);
	close_slot(&g->device_fd);
	close_slot(&g->class_fd);
	free(g);
	return NULL;
}

bool gpu_sysfs_hwmon_is_plain(struct gpu_sysfs *g)
{
	read_labels(g);
	return g->hwmon_fd >= 0 && g->labels_are_plain;
}

bool gpu_sysfs_temp_is_junction(struct gpu_sysfs *g)
{
	read_labels(g);
	return g->temp_is_junction;
}

/* ---- the backend ---- */
static const struct gpu_ops sysfs_ops;

static struct gpu_sysfs *gpu_sysfs(struct gpu *g)
{
	if (g->ops != &sysfs_ops)
		abort();
	return container_of(g, struct gpu_sysfs, gpu);
}

static int sysfs_open(_unused_ const struct gpu_backend *backend, const char *sysfs_root,
		      const char *bdf, struct gpu **ret)
{
	struct gpu_sysfs *g;
	int r;

	r = gpu_sysfs_new(sysfs_root, bdf, &g);
	if (r < 0)
		return r;
	g->gpu.ops = &sysfs_ops;
	*ret = &g->gpu;
	return 0;
}

static void sysfs_close(struct gpu *g)
{
	gpu_sysfs_free(gpu_sysfs(g));
}

static int sysfs_info(struct gpu *g, struct gpu_info *ret)
{
	return gpu_sysfs_info(gpu_sysfs(g), ret);
}

static int sysfs_set_perf_level(struct gpu *g, enum gpu_perf_level level)
{
	if (level > GPU_PERF_MANUAL)
		return -EINVAL;
	return write_file(gpu_sysfs(g), GPU_FILE_PERF, gpu_perf_level_name(level));
}

static int sysfs_cap_clock(struct gpu *gpu, uint32_t min_mhz, uint32_t max_mhz,
			   uint32_t *ret_max_mhz)
{
	struct gpu_sysfs *g = gpu_sysfs(gpu);
	enum gpu_perf_level level;
	struct dpm_levels l;
	uint32_t first, last;
	char mask[GPU_MAX_LEVELS * 3 + 1];
	int r, n = 0;

	r = gpu_sysfs_levels(g, &l);
	if (r < 0)
		return r;
	r = gpu_levels_range(&l, min_mhz, max_mhz, &first, &last);
	if (r < 0)
		return r;
	r = gpu_sysfs_perf_level(g, &level);
	if (r == 0 && level != GPU_PERF_MANUAL)
		r = sysfs_set_perf_level(gpu, GPU_PERF_MANUAL);
	if (r < 0)
		return r;
	/* No blank before the newline: kernels before 5.8 refuse the empty word between them. */
	for (uint32_t i = first; i <= last; i++)
		n += snprintf(mask + n, sizeof(mask) - (size_t)n, "%u%c", i, i < last ? ' ' : '\n');
	r = write_file(g, GPU_FILE_SCLK, mask);
	if (r < 0)
		return r;
	*ret_max_mhz = l.mhz[last];
	return 0;
}

static int sysfs_set_power_cap(struct gpu *g, uint64_t cap_uw)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)cap_uw);
	return write_file(gpu_sysfs(g), GPU_FILE_CAP, text);
}

static int sysfs_get_perf_level(struct gpu *g, enum gpu_perf_level *ret)
{
	return gpu_sysfs_perf_level(gpu_sysfs(g), ret);
}

static int sysfs_get_power_cap(struct gpu *g, uint64_t *ret_uw)
{
	return gpu_sysfs_number(gpu_sysfs(g), GPU_FILE_CAP, ret_uw);
}

int gpu_sample_note(struct gpu_sample *s, uint32_t field, int r)
{
	if (r == 0)
		s->fields |= field;
	return r == -EOPNOTSUPP || r == -ENODATA ? 0 : r;
}

static int read_power(struct gpu_sysfs *g, uint64_t *ret)
{
	int r;

	/* Vega20 on newer kernels answers EOPNOTSUPP here unless its SMC firmware is 40.46. */
	r = gpu_sysfs_number(g, GPU_FILE_POWER_AVERAGE, ret);
	return r == -EOPNOTSUPP ? gpu_sysfs_number(g, GPU_FILE_POWER_INPUT, ret) : r;
}

static int read_busy(struct gpu_sysfs *g, uint32_t *ret)
{
	uint64_t value;
	int r;

	r = gpu_sysfs_number(g, GPU_FILE_BUSY, &value);
	if (r == 0)
		*ret = (uint32_t)value;
	return r;
}

int gpu_sysfs_clock(struct gpu_sysfs *g, struct gpu_sample *s)
{
	struct gpu_metrics m = {0};
	struct dpm_levels l;
	uint64_t hz;
	int r;

	r = read_metrics(g, &m);
	if (r == 0 && (m.fields & GPU_HAS_THROTTLE)) {
		s->fields |= GPU_HAS_THROTTLE;
		s->throttle = m.throttle;
	}
	if (r < 0 && r != -EOPNOTSUPP && r != -EPROTONOSUPPORT)
		return r;
	r = gpu_sysfs_number(g, GPU_FILE_FREQ, &hz);
	if (r == 0)
		s->sclk_mhz = (uint32_t)(hz / 1000000);
	if (r == -EOPNOTSUPP && (m.fields & GPU_HAS_SCLK)) {
		s->sclk_mhz = m.sclk_mhz;
		r = 0;
	}
	if (r == -EOPNOTSUPP && gpu_sysfs_levels(g, &l) == 0 && l.current >= 0) {
		s->sclk_mhz = l.mhz[l.current];
		r = 0;
	}
	return gpu_sample_note(s, GPU_HAS_SCLK, r);
}

static int visit_ras(int ras_fd, const char *name, void *userdata)
{
	static const char end[] = "_err_count";
	uint64_t uncorrectable, correctable;
	struct gpu_sample *s = userdata;
	size_t n = strlen(name);
	char text[KERNEL_FILE_MAX];
	ssize_t r;

	if (n < strlen(end) || strcmp(name + n - strlen(end), end) != 0)
		return 0;
	r = read_text_at(ras_fd, name, text, sizeof(text));
	if (r >= 0)
		r = ras_count_parse(text, &uncorrectable, &correctable);
	if (r < 0)
		return (int)r;
	s->ras_uncorrectable += uncorrectable;
	s->ras_correctable += correctable;
	return 0;
}

static void count_ras(struct gpu_sysfs *g, uint64_t now_ns)
{
	struct gpu_sample sum = {0};
	int r;

	r = gpu_tree_each(g->device_fd, "ras", visit_ras, &sum);
	g->ras.is_missing = r == -ENOENT;
	g->ras.is_known = r == 0;
	g->ras.at_ns = now_ns;
	g->ras.uncorrectable = sum.ras_uncorrectable;
	g->ras.correctable = sum.ras_correctable;
}

void gpu_sysfs_ras(struct gpu_sysfs *g, struct gpu_sample *s)
{
	if (g->ras.is_missing)
		return;
	if (g->ras.at_ns == 0 || s->taken_ns - g->ras.at_ns >= RAS_EVERY_NS)
		count_ras(g, s->taken_ns);
	if (!g->ras.is_known)
		return;
	s->fields |= GPU_HAS_RAS;
	s->ras_uncorrectable = g->ras.uncorrectable;
	s->ras_correctable = g->ras.correctable;
}

static int sysfs_sample(struct gpu *gpu, uint64_t now_ns, struct gpu_sample *ret)
{
	struct gpu_sysfs *g = gpu_sysfs(gpu);
	struct gpu_sample s = {.taken_ns = now_ns};
	int r;

	r = gpu_sample_note(&s, GPU_HAS_POWER, read_power(g, &s.power_uw));
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_BUSY, read_busy(g, &s.busy_percent));
	if (r == 0)
		r = gpu_sysfs_clock(g, &s);
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_TEMP, gpu_sysfs_temp_mc(g, &s.temp_mc));
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_CAP, gpu_sysfs_number(g, GPU_FILE_CAP, &s.cap_uw));
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_PERF, gpu_sysfs_perf_level(g, &s.perf_level));
	if (r < 0)
		return r;
	gpu_sysfs_ras(g, &s);
	*ret = s;
	return 0;
}

static int sysfs_processes(struct gpu *g, struct gpu_process *ret, uint32_t max)
{
	return gpu_sysfs_processes(gpu_sysfs(g), ret, max);
}

static const struct gpu_ops sysfs_ops = {
	.name = "sysfs",
	.open = sysfs_open,
	.close = sysfs_close,
	.info = sysfs_info,
	.cap_clock = sysfs_cap_clock,
	.set_perf_level = sysfs_set_perf_level,
	.set_power_cap = sysfs_set_power_cap,
	.get_perf_level = sysfs_get_perf_level,
	.get_power_cap = sysfs_get_power_cap,
	.sample = sysfs_sample,
	.processes = sysfs_processes,
};

static const struct gpu_backend sysfs_backend = {.ops = &sysfs_ops};

const struct gpu_backend *gpu_backend_sysfs(void)
{
	return &sysfs_backend;
}
