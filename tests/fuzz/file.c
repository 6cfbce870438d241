/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* On no disk: some targets wait until a file is on it. */
static char path[] = "/dev/shm/cofris-fuzz.XXXXXX";

static void remove_file(void)
{
	(void)unlink(path);
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
	static bool made;
	int fd;

	/* By its name each time: some targets replace it. */
	fd = made ? open(path, O_WRONLY | O_TRUNC | O_CLOEXEC) : mkstemp(path);
	FUZZ_CHECK(fd >= 0);
	if (!made)
		(void)atexit(remove_file);
	made = true;
	FUZZ_CHECK(write(fd, data, size) == (ssize_t)size);
	(void)close(fd);
	return path;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text;

	if (memchr(data, '\0', size))
		return NULL;
	text = malloc(size + 1);
	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}
