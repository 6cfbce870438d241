/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fsio.h"
#include "base/macros.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

ssize_t read_text_at(int dirfd, const char *path, char *buffer, size_t size)
{
	_cleanup_(closep) int fd = -1;
	size_t length = 0;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, buffer + length, size - length);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		length += (size_t)n;
		if (length == size)
			return -EFBIG;
		if (n == 0)
			break;
	}
	buffer[length] = '\0';
	return (ssize_t)length;
}

int write_text_at(int dirfd, const char *path, const char *text)
{
	_cleanup_(closep) int fd = -1;
	size_t length = strlen(text);
	ssize_t n;

	fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, length);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -EIO;
}

int atomic_file_open(struct atomic_file *f, const char *path, mode_t mode)
{
	_cleanup_(freep) char *copy = NULL, *temporary = NULL;
	_cleanup_(closep) int fd = -1;
	FILE *file;

	copy = strdup(path);
	if (!copy || asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	file = fchmod(fd, mode) < 0 ? NULL : fdopen(fd, "w");
	if (!file) {
		int r = -errno;

		(void)unlink(temporary);
		return r;
	}
	(void)TAKE_FD(fd);
	*f = (struct atomic_file){file, TAKE_PTR(copy), TAKE_PTR(temporary)};
	return 0;
}

int atomic_file_commit(struct atomic_file *f)
{
	int r = 0;

	if (fflush(f->file) != 0 || ferror(f->file) || fsync(fileno(f->file)) < 0)
		r = errno ? -errno : -EIO;
	if (fclose(TAKE_PTR(f->file)) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(f->temporary, f->path) < 0)
		r = -errno;
	if (r == 0) {
		freep(&f->temporary);
		f->temporary = NULL;
	}
	atomic_file_deinit(f);
	return r;
}

void atomic_file_deinit(struct atomic_file *f)
{
	if (f->file)
		(void)fclose(f->file);
	if (f->temporary)
		(void)unlink(f->temporary);
	free(f->temporary);
	free(f->path);
	*f = ATOMIC_FILE_INIT;
}

int make_parent_folders(const char *path, mode_t mode)
{
	_cleanup_(freep) char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = strchr(copy + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}
