/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/state-file.h"
#include "base/fsio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#define STATE_HEADER "cofris-actuator-state 1"
#define STATE_MAX    8192

#define PLACE(field) offsetof(struct saved_card, field), sizeof(((struct saved_card *)0)->field)

static const struct {
	const char *key;
	uint64_t max;
	size_t offset, size;
} fields[] = {
	{"unique_id", UINT64_MAX, PLACE(unique_id)},
	{"bind", UINT64_MAX, PLACE(bind)},
	{"level", GPU_PERF_HIGH, PLACE(level)},
	{"cap_uw", UINT64_MAX, PLACE(cap_uw)},
	{"max_mhz", UINT32_MAX, PLACE(max_mhz)},
	{"power_cap_uw", UINT64_MAX, PLACE(power_cap_uw)},
	{"lease_ms", UINT32_MAX, PLACE(lease_ms)},
	{"pid", INT32_MAX, PLACE(pid)},
	{"uid", UINT32_MAX, PLACE(uid)},
};

static uint64_t field_get(const struct saved_card *c, size_t i)
{
	const char *p = (const char *)c + fields[i].offset;
	uint64_t wide;
	uint32_t narrow;

	if (fields[i].size == sizeof(wide)) {
		memcpy(&wide, p, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, p, sizeof(narrow));
	return narrow;
}

static void field_set(struct saved_card *c, size_t i, uint64_t value)
{
	char *p = (char *)c + fields[i].offset;
	uint32_t narrow = (uint32_t)value;

	if (fields[i].size == sizeof(value))
		memcpy(p, &value, sizeof(value));
	else
		memcpy(p, &narrow, sizeof(narrow));
}

static void print_state(FILE *f, const char *boot_id, const struct saved_state *s)
{
	(void)fprintf(f, STATE_HEADER "\nboot %s\n", boot_id);
	for (uint32_t i = 0; i < s->n; i++) {
		(void)fprintf(f, "card %s", s->cards[i].bdf);
		for (size_t k = 0; k < ARRAY_SIZE(fields); k++)
			(void)fprintf(f, " %s=%" PRIu64, fields[k].key, field_get(&s->cards[i], k));
		(void)fputc('\n', f);
	}
	/* A file without its end is told from a whole one. */
	(void)fputs("end\n", f);
}

int state_file_save(const char *path, const char *boot_id, const struct saved_state *s)
{
	_cleanup_(freep) char *temporary = NULL;
	FILE *f;
	int r = 0, fd;

	if (s->n == 0)
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	if (asprintf(&temporary, "%s.new", path) < 0)
		return -ENOMEM;
	/* A left-over of a process that died here may go. No fsync: the file dies with the boot. */
	if (unlink(temporary) < 0 && errno != ENOENT)
		return -errno;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	print_state(f, boot_id, s);
	if (ferror(f))
		r = -EIO;
	if (fclose(f) != 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temporary);
	return r;
}

static int parse_card(char *line, struct saved_card *ret)
{
	struct saved_card c = {0};
	char *word, *save = NULL;

	word = strtok_r(line, " ", &save);
	if (!word || !pci_bdf_is_valid(word))
		return -EBADMSG;
	memcpy(c.bdf, word, sizeof(c.bdf));
	for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
		size_t length = strlen(fields[k].key);
		uint64_t value;

		word = strtok_r(NULL, " ", &save);
		if (!word || strncmp(word, fields[k].key, length) != 0 || word[length] != '=' ||
		    parse_u64(word + length + 1, &value) < 0 || value > fields[k].max)
			return -EBADMSG;
		field_set(&c, k, value);
	}
	if (strtok_r(NULL, " ", &save))
		return -EBADMSG;
	*ret = c;
	return 0;
}

static int parse_state(char *text, const char *boot_id, struct saved_state *ret)
{
	struct saved_state s = {0};
	char *line, *save = NULL;
	int r;

	line = strtok_r(text, "\n", &save);
	if (!line || strcmp(line, STATE_HEADER) != 0)
		return -EBADMSG;
	line = strtok_r(NULL, "\n", &save);
	if (!line || strncmp(line, "boot ", 5) != 0)
		return -EBADMSG;
	if (strcmp(line + 5, boot_id) != 0)
		return -ESTALE;
	for (;;) {
		line = strtok_r(NULL, "\n", &save);
		if (!line)
			return -EBADMSG;
		if (strcmp(line, "end") == 0)
			break;
		if (strncmp(line, "card ", 5) != 0 || s.n >= GPU_MAX_CARDS)
			return -EBADMSG;
		r = parse_card(line + 5, &s.cards[s.n++]);
		if (r < 0)
			return r;
	}
	if (strtok_r(NULL, "\n", &save))
		return -EBADMSG;
	*ret = s;
	return 0;
}

int state_file_load(const char *path, const char *boot_id, struct saved_state *ret)
{
	_cleanup_(closep) int fd = -1;
	char text[STATE_MAX];
	struct stat st;
	ssize_t n;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	if (n == sizeof(text) - 1 || memchr(text, '\0', (size_t)n))
		return -EBADMSG;
	text[n] = '\0';
	return parse_state(text, boot_id, ret);
}

int boot_id_read(char ret[40])
{
	ssize_t n = read_text_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", ret, 40);

	if (n < 0)
		return (int)n;
	ret[strcspn(ret, "\n")] = '\0';
	return 0;
}
