/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/scratch.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PREFIX "cofris-profile."
#define SOCKET "worker.sock"

/* The folder itself may be a newborn one whose owner waits for the lock that is held here, so it
 * goes only with its socket. */
static void remove_stale(int parent_fd, const char *name)
{
	_cleanup_(closep) int fd =
		openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
	    flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (unlinkat(fd, SOCKET, 0) == 0)
		(void)unlinkat(parent_fd, name, AT_REMOVEDIR);
}

static void remove_all_stale(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0)
			remove_stale(dirfd(d), e->d_name);
	(void)closedir(d);
}

int scratch_open(const char *folder, struct scratch *ret)
{
	struct scratch s = SCRATCH_INIT;
	int n = snprintf(s.path, sizeof(s.path), "%s/" PREFIX "XXXXXX", folder);

	if (n < 0 || (size_t)n + strlen("/" SOCKET) >= sizeof(s.socket_path))
		return -ENAMETOOLONG;
	remove_all_stale(folder);
	if (!mkdtemp(s.path))
		return -errno;
	(void)snprintf(s.socket_path, sizeof(s.socket_path), "%.*s/" SOCKET, n, s.path);
	s.fd = open(s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s.fd < 0 || flock(s.fd, LOCK_EX) < 0) {
		int r = -errno;

		scratch_close(&s);
		return r;
	}
	*ret = s;
	return 0;
}

int scratch_open_default(struct scratch *ret)
{
	const char *folder = getenv("XDG_RUNTIME_DIR");

	if (folder && folder[0] == '/' && scratch_open(folder, ret) == 0)
		return 0;
	return scratch_open("/tmp", ret);
}

void scratch_close(struct scratch *s)
{
	if (s->path[0]) {
		(void)unlink(s->socket_path);
		(void)rmdir(s->path);
	}
	closep(&s->fd);
	*s = SCRATCH_INIT;
}
