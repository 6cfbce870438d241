/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sandbox.h"
#include "base/log.h"
#include "base/macros.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define CLASS "/sys/class"

static const char *const simulated_classes[] = {"drm", "kfd", "hwmon"};

static bool is_simulated(const char *class)
{
	for (size_t i = 0; i < ARRAY_SIZE(simulated_classes); i++)
		if (strcmp(simulated_classes[i], class) == 0)
			return true;
	return false;
}

static int do_mount(const char *source, const char *target, const char *type, unsigned long flags,
		    const char *options)
{
	if (mount(source, target, type, flags, options) < 0)
		return log_error_errno(-errno, "cannot mount %s: %m", target);
	return 0;
}

int sandbox_unshare(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
		return log_error_errno(-errno, "cannot make namespaces (root is needed): %m");
	return do_mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int make_folder(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return log_error_errno(-errno, "cannot make %s: %m", path);
	return 0;
}

/* Mounts source, relative to the folder fd, on the same name below /sys/class. */
static int bind_class(int fd, const char *name)
{
	char source[300], target[300];
	int r;

	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d/%s", fd, name);
	(void)snprintf(target, sizeof(target), CLASS "/%s", name);
	r = make_folder(target);
	return r < 0 ? r : do_mount(source, target, NULL, MS_BIND, NULL);
}

int sandbox_mount_private(void)
{
	int r;

	/* The PIDs of the new namespace. */
	r = do_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (r < 0)
		return r;
	/* librocm_smi keeps a mutex for each card name there. */
	r = make_folder("/dev/shm");
	if (r == 0)
		r = do_mount("cofris-sim", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	return r;
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* The old folder stays reachable through its descriptor under the tmpfs that hides it. */
int sandbox_mount_classes(void)
{
	_cleanup_(closedirp) DIR *host = opendir(CLASS);
	int r;

	if (!host)
		return log_error_errno(-errno, "cannot open " CLASS ": %m");
	r = do_mount("cofris-sim", CLASS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755");
	if (r < 0)
		return r;
	for (const struct dirent *e = readdir(host); e; e = readdir(host)) {
		if (e->d_name[0] == '.' || is_simulated(e->d_name))
			continue;
		r = bind_class(dirfd(host), e->d_name);
		if (r < 0)
			return r;
	}
	return make_folder(SANDBOX_TREE);
}

int sandbox_unmount_classes(void)
{
	/* With all that is mounted below, and whoever still has a file of it open. */
	if (umount2(CLASS, MNT_DETACH) < 0)
		return log_error_errno(-errno, "cannot unmount " CLASS ": %m");
	return 0;
}

int sandbox_bind_classes(void)
{
	_cleanup_(closep) int fd = open(SANDBOX_TREE, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return log_error_errno(-errno, "cannot open " SANDBOX_TREE ": %m");
	for (size_t i = 0; i < ARRAY_SIZE(simulated_classes); i++) {
		int r = bind_class(fd, simulated_classes[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
