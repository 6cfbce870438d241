/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pauses.h"
#include "base/fsio.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define PAUSES_FIRST_LINE "cofris-pauses 1"

/* --- the list ------------------------------------------------------------------------------- */

static void remove_at(struct pauses *p, uint32_t i)
{
	p->n--;
	(void)memmove(&p->entries[i], &p->entries[i + 1], (p->n - i) * sizeof(p->entries[0]));
}

int pauses_add(struct pauses *p, const struct pause *pause)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (strcmp(p->entries[i].gpu, pause->gpu) == 0) {
			p->entries[i] = *pause;
			return 0;
		}
	if (p->n >= PAUSES_MAX)
		return -ENOSPC;
	p->entries[p->n++] = *pause;
	return 0;
}

uint32_t pauses_remove(struct pauses *p, const char *gpu)
{
	uint32_t n = p->n;

	for (uint32_t i = p->n; i-- > 0;)
		if (strcmp(gpu, "*") == 0 || strcmp(p->entries[i].gpu, gpu) == 0)
			remove_at(p, i);
	return n - p->n;
}

uint32_t pauses_expire(struct pauses *p, uint64_t now_usec)
{
	uint32_t n = p->n;

	for (uint32_t i = p->n; i-- > 0;)
		if (p->entries[i].until_usec > 0 && p->entries[i].until_usec <= now_usec)
			remove_at(p, i);
	return n - p->n;
}

const struct pause *pauses_find(const struct pauses *p, const char *bdf)
{
	const struct pause *all = NULL;

	for (uint32_t i = 0; i < p->n; i++) {
		if (strcmp(p->entries[i].gpu, bdf) == 0)
			return &p->entries[i];
		if (strcmp(p->entries[i].gpu, "*") == 0)
			all = &p->entries[i];
	}
	return all;
}

/* --- the file ------------------------------------------------------------------------------- */

static int parse_line(char *line, struct pause *ret)
{
	struct pause p = {0};
	char *fields[4], *rest = line;
	uint32_t uid;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i] = strsep(&rest, " ");
		if (!rest)
			return -EBADMSG;
	}
	if ((strcmp(fields[0], "*") != 0 && !pci_bdf_is_valid(fields[0])) ||
	    parse_u32(fields[1], &uid) < 0 || parse_u64(fields[2], &p.since_usec) < 0 ||
	    parse_u64(fields[3], &p.until_usec) < 0 || !hold_reason_is_valid(rest))
		return -EBADMSG;
	p.uid = uid;
	(void)snprintf(p.gpu, sizeof(p.gpu), "%s", fields[0]);
	(void)snprintf(p.reason, sizeof(p.reason), "%s", rest);
	*ret = p;
	return 0;
}

int pauses_parse(char *text, struct pauses *ret, uint32_t *ret_line)
{
	char *line, *rest = text;
	struct pauses p = {0};
	uint32_t number = 0;

	/* The last line ends, too: a file that was cut off is refused. */
	while (rest && *rest != '\0') {
		struct pause pause;

		line = strsep(&rest, "\n");
		number++;
		if (rest && number == 1 && strcmp(line, PAUSES_FIRST_LINE) == 0)
			continue;
		if (!rest || number == 1 || parse_line(line, &pause) < 0 ||
		    (pauses_find(&p, pause.gpu) &&
		     strcmp(pauses_find(&p, pause.gpu)->gpu, pause.gpu) == 0) ||
		    pauses_add(&p, &pause) < 0) {
			*ret_line = number;
			return -EBADMSG;
		}
	}
	if (number == 0) {
		*ret_line = 1;
		return -EBADMSG;
	}
	*ret = p;
	return 0;
}

/* Never waits, as opening a pipe would, and follows no link. */
static ssize_t read_plain_file(const char *path, char *buffer, size_t size)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	ssize_t n;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size >= (off_t)size)
		return -EFBIG;
	n = pread(fd, buffer, size - 1, 0);
	if (n < 0)
		return -errno;
	buffer[n] = '\0';
	return strlen(buffer) == (size_t)n ? n : -EINVAL;
}

int pauses_load(const char *path, struct pauses *ret, uint32_t *ret_line)
{
	_cleanup_(freep) char *text = malloc(PAUSES_BYTES_MAX);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = read_plain_file(path, text, PAUSES_BYTES_MAX);
	if (n == -ENOENT) {
		*ret = (struct pauses){0};
		return 0;
	}
	return n < 0 ? (int)n : pauses_parse(text, ret, ret_line);
}

int pauses_save(const char *path, const struct pauses *p)
{
	_cleanup_(atomic_file_deinit) struct atomic_file f = ATOMIC_FILE_INIT;
	int r;

	r = make_parent_folders(path, 0700);
	if (r >= 0)
		r = atomic_file_open(&f, path, 0600);
	if (r < 0)
		return r;
	(void)fputs(PAUSES_FIRST_LINE "\n", f.file);
	for (uint32_t i = 0; i < p->n; i++) {
		const struct pause *e = &p->entries[i];

		(void)fprintf(f.file, "%s %u %" PRIu64 " %" PRIu64 " %s\n", e->gpu, e->uid,
			      e->since_usec, e->until_usec, e->reason);
	}
	return atomic_file_commit(&f);
}
