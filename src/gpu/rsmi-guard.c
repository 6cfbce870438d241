/* SPDX-License-Identifier: Apache-2.0 */
/* The library's mutex is one glibc pthread_mutex_t in shared memory: lock word, owner and kind are
 * at the offsets below on every 64-bit Linux. A thread that dies while holding it leaves
 * FUTEX_OWNER_DIED, or (if it had unmapped the file) its number for ever; a wrong repair leaves the
 * mutex unusable. All three only go away with the file. */
#include "gpu/rsmi-guard.h"
#include "base/fsio.h"
#include "gpu/gpu-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define MUTEX_FILE_SIZE 40
#define MUTEX_KIND_MASK 0x1ff
#define MUTEX_KIND	0x91 /* recursive, robust, shared */

struct mutex_words {
	uint32_t lock;
	uint32_t count;
	int32_t owner;
	uint32_t users;
	int32_t kind;
};

_Static_assert(sizeof(pthread_mutex_t) == MUTEX_FILE_SIZE, "layout of glibc on 64 bit");

static bool thread_is_gone(uint32_t tid)
{
	return kill((pid_t)tid, 0) < 0 && errno == ESRCH;
}

static bool mutex_is_healthy(const struct mutex_words *m)
{
	uint32_t tid = m->lock & FUTEX_TID_MASK;

	if ((m->kind & MUTEX_KIND_MASK) != MUTEX_KIND)
		return false;
	/* glibc marks an inconsistent mutex by INT_MAX and a lost one by INT_MAX - 1 as owner. */
	if ((m->lock & FUTEX_OWNER_DIED) || m->owner >= INT_MAX - 1)
		return false;
	return tid == 0 || !thread_is_gone(tid);
}

static int heal_one(int folder_fd, const char *name, void *userdata)
{
	_cleanup_(closep) int fd = -1;
	struct mutex_words m;
	struct stat st;
	int *n_removed = userdata;

	if (strncmp(name, "rocm_smi_card", 13) != 0)
		return 0;
	fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size == MUTEX_FILE_SIZE && pread(fd, &m, sizeof(m), 0) == sizeof(m) &&
	    mutex_is_healthy(&m))
		return 0;
	if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
		return -EBUSY;
	++*n_removed;
	return 0;
}

int rsmi_heal_mutexes(const char *folder)
{
	int r, n_removed = 0;

	r = gpu_tree_each(AT_FDCWD, folder, heal_one, &n_removed);
	return r < 0 && r != -ENOENT ? r : n_removed;
}

static bool has_pci_part(char *path)
{
	char *save = NULL;

	for (char *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save))
		if (pci_bdf_is_valid(part))
			return true;
	return false;
}

static int vet_card(int folder_fd, const char *name, void *userdata)
{
	char target[PATH_MAX];
	int *n_cards = userdata;
	ssize_t n;

	if (strncmp(name, "card", 4) != 0 || !name[4] ||
	    strspn(name + 4, "0123456789") != strlen(name + 4))
		return 0;
	n = readlinkat(folder_fd, name, target, sizeof(target) - 1);
	if (n < 0)
		return -EBADMSG;
	target[n] = '\0';
	if (!has_pci_part(target))
		return -EBADMSG;
	++*n_cards;
	return 0;
}

static int vet_node(int nodes_fd, const char *name, _unused_ void *userdata)
{
	_cleanup_(closep) int fd = -1;
	char text[KERNEL_FILE_MAX];
	struct kfd_properties p;
	uint64_t gpu_id;
	struct stat st;

	fd = openat(nodes_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstatat(fd, "io_links", &st, 0) < 0 || !S_ISDIR(st.st_mode))
		return -EBADMSG;
	if (read_text_at(fd, "gpu_id", text, sizeof(text)) < 0 ||
	    number_file_parse(text, 0, UINT32_MAX, &gpu_id) < 0)
		return -EBADMSG;
	if (read_text_at(fd, "properties", text, sizeof(text)) < 0)
		return -EBADMSG;
	return kfd_properties_parse(text, &p);
}

int rsmi_vet_tree(const char *sysfs_root)
{
	_cleanup_(closep) int class_fd = -1;
	int r, n_cards = 0;

	r = gpu_tree_open_class(sysfs_root, &class_fd);
	if (r == 0)
		r = gpu_tree_each(class_fd, "drm", vet_card, &n_cards);
	if (r == 0)
		r = gpu_tree_each(class_fd, "kfd/kfd/topology/nodes", vet_node, NULL);
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	return n_cards > 0 ? 0 : -ENODEV;
}
