/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a target on the files of a folder, and on changes of each: a bit, a number, a piece that is
 * gone, doubled or another file's.
 *
 * usage: fuzz-NAME FOLDER [SEED] */
#include "fuzz.h"
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX    512
#define SIZE_MAX_    (1 << 16)
#define CHANGES	     3000
#define AT_ONCE	     4
#define SEED_DEFAULT 1

static struct input {
	char name[256];
	uint8_t *data;
	size_t size;
} inputs[FILES_MAX];
static size_t n_inputs;
static uint64_t state;

static uint64_t next(void)
{
	/* splitmix64 */
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static size_t below(size_t n)
{
	return n > 0 ? (size_t)(next() % n) : 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static void load_one(int folder_fd, const char *name)
{
	struct input *in = &inputs[n_inputs];
	_cleanup_(closep) int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		err(1, "%s", name);
	if (!S_ISREG(st.st_mode))
		return;
	if (n_inputs == FILES_MAX || st.st_size > SIZE_MAX_)
		errx(1, "%s: too many files, or too large a one", name);
	in->size = (size_t)st.st_size;
	in->data = malloc(in->size + 1);
	if (!in->data || read(fd, in->data, in->size) != (ssize_t)in->size)
		err(1, "%s", name);
	(void)snprintf(in->name, sizeof(in->name), "%s", name);
	n_inputs++;
}

static void load(const char *folder)
{
	DIR *d = opendir(folder);
	const struct dirent *e;

	if (!d)
		err(1, "%s", folder);
	while ((e = readdir(d)))
		load_one(dirfd(d), e->d_name);
	(void)closedir(d);
	if (n_inputs == 0)
		errx(1, "%s: no input", folder);
	/* The order of a folder is nobody's. */
	qsort(inputs, n_inputs, sizeof(inputs[0]), compare);
}

static size_t put(uint8_t *data, size_t size, size_t at, const void *piece, size_t n)
{
	n = MIN(n, (size_t)SIZE_MAX_ - size);
	memmove(data + at + n, data + at, size - at);
	memcpy(data + at, piece, n);
	return size + n;
}

static size_t drop(uint8_t *data, size_t size, size_t at, size_t n)
{
	n = MIN(n, size - at);
	memmove(data + at, data + at + n, size - at - n);
	return size - n;
}

static size_t change(uint8_t *data, size_t size)
{
	static const char *const words[] = {
		"-1",	 "0",	     "4294967296", "18446744073709551616",
		"1e999", "nan",	     "inf",	   "\n",
		"\n\n",	 " ",	     ",",	   "=",
		"[",	 "]",	     "*",	   "#",
		"%n",	 "\377\377",
	};
	size_t at = below(size + 1), n = below(64) + 1;
	const struct input *other = &inputs[below(n_inputs)];
	uint8_t piece[64];

	switch (next() % 7) {
	case 0:
		if (size > 0)
			data[below(size)] ^= (uint8_t)(1u << below(8));
		return size;
	case 1:
		if (size > 0)
			data[below(size)] = (uint8_t)next();
		return size;
	case 2:
		return drop(data, size, at, n);
	case 3:
		return at;
	case 4:
		n = MIN(n, size - at);
		memcpy(piece, data + at, n);
		return put(data, size, below(size + 1), piece, n);
	case 5:
		n = below(ARRAY_SIZE(words));
		size = drop(data, size, at, below(4));
		return put(data, size, at, words[n], strlen(words[n]));
	default:
		n = MIN(n, other->size);
		return put(data, size, at, other->data + below(other->size - n + 1), n);
	}
}

static void run(const uint8_t *data, size_t size)
{
	/* Of its own size, so that a sanitizer sees the byte behind. */
	uint8_t *copy = malloc(MAX(size, (size_t)1));

	if (!copy)
		err(1, "malloc");
	memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int main(int argc, char **argv)
{
	static uint8_t data[2 * SIZE_MAX_];
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : SEED_DEFAULT;

	if (argc < 2)
		errx(2, "usage: %s FOLDER [SEED]", argv[0]);
	load(argv[1]);
	state = seed;
	(void)printf("%zu inputs, %d changes, seed %lu\n", n_inputs, CHANGES, seed);
	(void)fflush(stdout);
	for (size_t i = 0; i < n_inputs; i++)
		run(inputs[i].data, inputs[i].size);
	for (size_t i = 0; i < CHANGES; i++) {
		const struct input *in = &inputs[i % n_inputs];
		size_t size = in->size;

		memcpy(data, in->data, size);
		for (size_t k = below(AT_ONCE) + 1; k > 0; k--)
			size = change(data, size);
		run(data, size);
	}
	for (size_t i = 0; i < n_inputs; i++)
		free(inputs[i].data);
	return 0;
}
