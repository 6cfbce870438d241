/* SPDX-License-Identifier: Apache-2.0 */
/* What all backends share: the table of names and the way from a PCI address to a card's files. */
#include "base/fsio.h"
#include "gpu/gpu-backend.h"
#include "gpu/gpu-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

static const char *const perf_level_names[] = {
	[GPU_PERF_AUTO] = "auto",     [GPU_PERF_LOW] = "low",	  [GPU_PERF_HIGH] = "high",
	[GPU_PERF_MANUAL] = "manual", [GPU_PERF_OTHER] = "other", [GPU_PERF_UNKNOWN] = "unknown",
};

const char *gpu_perf_level_name(enum gpu_perf_level level)
{
	return (size_t)level < ARRAY_SIZE(perf_level_names) ? perf_level_names[level] : "unknown";
}

int gpu_open(const struct gpu_backend *b, const char *sysfs_root, const char *bdf, struct gpu **ret)
{
	if (!pci_bdf_is_valid(bdf))
		return -EINVAL;
	return b->ops->open(b, sysfs_root, bdf, ret);
}

struct gpu *gpu_close(struct gpu *g)
{
	if (g)
		g->ops->close(g);
	return NULL;
}

int gpu_tree_open_class(const char *sysfs_root, int *ret_fd)
{
	_cleanup_(freep) char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/class", sysfs_root) < 0)
		return -ENOMEM;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	*ret_fd = fd;
	return 0;
}

int gpu_tree_each(int dirfd, const char *path, gpu_tree_entry_fn f, void *userdata)
{
	struct dirent *entry;
	DIR *folder;
	int fd, r = 0;

	fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	folder = fdopendir(fd);
	if (!folder) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	for (;;) {
		errno = 0;
		entry = readdir(folder);
		if (!entry) {
			r = -errno;
			break;
		}
		if (entry->d_name[0] == '.')
			continue;
		r = f(fd, entry->d_name, userdata);
		if (r != 0)
			break;
	}
	(void)closedir(folder);
	return r;
}

/* "card0", but not a connector ("card0-DP-1"). */
static bool is_card(const char *name)
{
	return strncmp(name, "card", 4) == 0 && name[4] &&
	       strspn(name + 4, "0123456789") == strlen(name + 4) && strlen(name) < 16;
}

/* The PCI address of a device folder is the last part of its real path, which the kernel tells of
 * any open fd; the links that lead there have several forms. */
static int device_bdf(int device_fd, char ret[PCI_BDF_LENGTH + 1])
{
	char link[64], path[PATH_MAX];
	const char *last;
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", device_fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	last = strrchr(path, '/');
	if (!last || !pci_bdf_is_valid(last + 1))
		return -EBADMSG;
	memcpy(ret, last + 1, PCI_BDF_LENGTH + 1);
	return 0;
}

struct card_search {
	const char *wanted; /* an address, or NULL: list all */
	int device_fd;
	char (*list)[PCI_BDF_LENGTH + 1];
	uint32_t n, max;
};

static int open_card(int drm_fd, const char *name, char ret_bdf[PCI_BDF_LENGTH + 1], int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	char path[64], text[KERNEL_FILE_MAX];
	uint64_t vendor;
	int r;

	(void)snprintf(path, sizeof(path), "%s/device", name);
	fd = openat(drm_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (read_text_at(fd, "vendor", text, sizeof(text)) < 0)
		return -ENODEV;
	r = hex_file_parse(text, &vendor);
	if (r < 0 || vendor != 0x1002)
		return -ENODEV;
	r = device_bdf(fd, ret_bdf);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int visit_card(int drm_fd, const char *name, void *userdata)
{
	struct card_search *s = userdata;
	_cleanup_(closep) int fd = -1;
	char bdf[PCI_BDF_LENGTH + 1];

	/* One broken card must not hide the others. */
	if (!is_card(name) || open_card(drm_fd, name, bdf, &fd) < 0)
		return 0;
	if (!s->wanted) {
		if (s->n < s->max)
			memcpy(s->list[s->n++], bdf, sizeof(bdf));
		return 0;
	}
	if (strcmp(s->wanted, bdf) != 0)
		return 0;
	s->device_fd = TAKE_FD(fd);
	return 1;
}

int gpu_tree_find_card(int class_fd, const char *bdf, int *ret_device_fd)
{
	struct card_search s = {.wanted = bdf, .device_fd = -1};
	int r;

	r = gpu_tree_each(class_fd, "drm", visit_card, &s);
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	if (r == 0)
		return -ENODEV;
	*ret_device_fd = s.device_fd;
	return 0;
}

struct node_search {
	const char *wanted;
	struct kfd_properties properties;
	uint32_t gpu_id;
};

static int visit_node(int nodes_fd, const char *name, void *userdata)
{
	struct node_search *s = userdata;
	char path[300], text[KERNEL_FILE_MAX], bdf[PCI_BDF_LENGTH + 1];
	struct kfd_properties p;
	uint64_t gpu_id;

	(void)snprintf(path, sizeof(path), "%s/gpu_id", name);
	if (read_text_at(nodes_fd, path, text, sizeof(text)) < 0 ||
	    number_file_parse(text, 1, UINT32_MAX, &gpu_id) < 0)
		return 0; /* a CPU's node has 0 */
	(void)snprintf(path, sizeof(path), "%s/properties", name);
	if (read_text_at(nodes_fd, path, text, sizeof(text)) < 0 ||
	    kfd_properties_parse(text, &p) < 0 || kfd_properties_bdf(&p, bdf) < 0)
		return 0;
	if (strcmp(bdf, s->wanted) != 0)
		return 0;
	s->properties = p;
	s->gpu_id = (uint32_t)gpu_id;
	return 1;
}

int gpu_tree_find_node(int class_fd, const char *bdf, struct kfd_properties *ret,
		       uint32_t *ret_gpu_id)
{
	struct node_search s = {.wanted = bdf};
	int r;

	r = gpu_tree_each(class_fd, "kfd/kfd/topology/nodes", visit_node, &s);
	if (r <= 0)
		return r == 0 || r == -ENOENT ? -ENODEV : r;
	*ret = s.properties;
	*ret_gpu_id = s.gpu_id;
	return 0;
}

static int compare_bdf(const void *a, const void *b)
{
	return strcmp(a, b);
}

int gpu_list(const char *sysfs_root, char (*ret_bdf)[PCI_BDF_LENGTH + 1], uint32_t max)
{
	_cleanup_(closep) int class_fd = -1;
	char found[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];
	struct card_search s = {.device_fd = -1, .list = found, .max = GPU_MAX_CARDS};
	struct kfd_properties p;
	uint32_t gpu_id, n = 0;
	int r;

	r = gpu_tree_open_class(sysfs_root, &class_fd);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return r;
	r = gpu_tree_each(class_fd, "drm", visit_card, &s);
	if (r < 0 && r != -ENOENT)
		return r;
	/* By address, so that the order is the same after every boot. */
	qsort(found, s.n, sizeof(found[0]), compare_bdf);
	for (uint32_t i = 0; i < s.n && n < max; i++)
		if (gpu_tree_find_node(class_fd, found[i], &p, &gpu_id) == 0)
			memcpy(ret_bdf[n++], found[i], sizeof(found[i]));
	return (int)n;
}

static int open_device(const char *sysfs_root, const char *bdf)
{
	_cleanup_(closep) int class_fd = -1;
	int r, device_fd = -1;

	r = gpu_tree_open_class(sysfs_root, &class_fd);
	if (r == 0)
		r = gpu_tree_find_card(class_fd, bdf, &device_fd);
	return r < 0 ? r : device_fd;
}

int gpu_bind_identity(const char *sysfs_root, const char *bdf, uint64_t *ret)
{
	_cleanup_(closep) int device_fd = open_device(sysfs_root, bdf);
	struct stat st;

	if (device_fd < 0)
		return device_fd;
	if (fstatat(device_fd, "driver", &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return -errno;
		st.st_ino = 0;
	}
	*ret = st.st_ino;
	return 0;
}

uint64_t gpu_tree_unique_id(int device_fd)
{
	char text[64];
	uint64_t id;

	return read_text_at(device_fd, "unique_id", text, sizeof(text)) > 0 &&
			       hex_file_parse(text, &id) == 0
		       ? id
		       : 0;
}

int gpu_unique_id(const char *sysfs_root, const char *bdf, uint64_t *ret)
{
	_cleanup_(closep) int device_fd = open_device(sysfs_root, bdf);

	if (device_fd < 0)
		return device_fd;
	*ret = gpu_tree_unique_id(device_fd);
	return 0;
}

int gpu_open_perf_level(const char *sysfs_root, const char *bdf)
{
	_cleanup_(closep) int device_fd = open_device(sysfs_root, bdf);
	int fd;

	if (device_fd < 0)
		return device_fd;
	fd = openat(device_fd, "power_dpm_force_performance_level", O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
