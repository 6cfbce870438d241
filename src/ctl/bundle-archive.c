/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/bundle-archive.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define FOLDER "cofris-bundle/"

static int archive_result(struct archive *a, int r)
{
	if (r >= ARCHIVE_WARN)
		return 0;
	return archive_errno(a) > 0 ? -archive_errno(a) : -EIO;
}

int bundle_open(struct bundle *b, const char *path)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	*b = (struct bundle){
		.archive = archive_write_new(),
		.fd = TAKE_FD(fd),
		.members = json_array(),
		.missing = json_array(),
	};
	if (!b->archive)
		return -ENOMEM;
	r = archive_write_set_format_ustar(b->archive);
	if (r == ARCHIVE_OK)
		r = archive_write_open_fd(b->archive, b->fd);
	return archive_result(b->archive, r);
}

void bundle_add(struct bundle *b, const char *name, mode_t mode, const void *data, size_t size)
{
	struct archive_entry *entry = archive_entry_new();
	char path[256];
	int r;

	if (!entry || b->error < 0) {
		b->error = b->error ?: -ENOMEM;
		archive_entry_free(entry);
		return;
	}
	(void)snprintf(path, sizeof(path), FOLDER "%s", name);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, mode & 0777);
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_mtime(entry, time(NULL), 0);
	r = archive_write_header(b->archive, entry);
	if (r >= ARCHIVE_WARN && archive_write_data(b->archive, data, size) != (la_ssize_t)size)
		r = ARCHIVE_FATAL;
	archive_entry_free(entry);
	b->error = archive_result(b->archive, r);
	(void)json_array_append_new(b->members, json_string(name));
}

void bundle_add_json(struct bundle *b, const char *name, json_t *root)
{
	_cleanup_(freep) char *text = NULL;

	text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(root);
	if (text)
		bundle_add(b, name, 0644, text, strlen(text));
	else
		bundle_miss(b, name, "no text");
}

void bundle_miss(struct bundle *b, const char *what, const char *format, ...)
{
	va_list ap;
	json_t *why;

	va_start(ap, format);
	why = json_vsprintf(format, ap);
	va_end(ap);
	(void)json_array_append_new(b->missing, json_pack("{s:s, s:o}", "what", what, "why", why));
}

int bundle_close(struct bundle *b)
{
	int r = archive_result(b->archive, archive_write_close(b->archive));

	return b->error ?: r;
}

void bundle_deinit(struct bundle *b)
{
	/* None, if it was never opened. */
	if (b->archive) {
		(void)archive_write_free(b->archive);
		(void)close(b->fd);
	}
	json_decref(b->members);
	json_decref(b->missing);
}

/* ---- children ---- */

/* Reads to the end, the limit or a long silence. */
static int drain(int fd, size_t max_size, struct collected *c)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;
		int r = poll(&p, 1, COLLECT_QUIET_MS);

		if (r < 0 && errno != EINTR)
			return -errno;
		c->timed_out = r == 0;
		c->cut = c->size == max_size;
		if (c->timed_out || c->cut)
			return 0;
		if (r < 0)
			continue;
		n = read(fd, c->data + c->size, max_size - c->size);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		c->size += n > 0 ? (size_t)n : 0;
	}
}

int collect(int (*child)(int fd, void *userdata), void *userdata, size_t max_size,
	    struct collected *ret)
{
	_cleanup_(freep) char *data = malloc(max_size + 1);
	struct collected c = {.data = data};
	int fds[2], r;
	pid_t pid;

	if (!data)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(fds[0]);
		_exit(child(fds[1], userdata) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	(void)close(fds[1]);
	r = pid < 0 ? -errno : drain(fds[0], max_size, &c);
	(void)close(fds[0]);
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, WNOHANG);
	}
	if (r < 0)
		return r;
	data[c.size] = '\0';
	*ret = c;
	(void)TAKE_PTR(data);
	return 0;
}
