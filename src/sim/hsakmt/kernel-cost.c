/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/kernel-cost.h"
#include "base/parse.h"
#include "sim/hsakmt/code-object.h"
#include "sim/hsakmt/hsakmt.h"
#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#define CACHE_SIZE	 256 /* a power of two */
#define DESCRIPTOR_BYTES 64
#define NOTE_MAX	 (UINT64_C(1) << 16)
#define TABLE_MAX	 1024
#define NUMBER_MAX	 1e18

/* A row of the table. */
struct row {
	char pattern[KERNEL_NAME_MAX];
	double flop, bytes;
	bool has_flop, has_bytes;
};

struct entry {
	uint64_t object;
	struct kernel_info info;
	/* By what it is known again: code objects come and go at the same address. */
	char descriptor[DESCRIPTOR_BYTES];
	const char *name, *note;
	uint64_t image, note_length, note_hash;
};

struct kernel_costs {
	struct row *rows;
	uint32_t n_rows;
	bool large_registers; /* gfx90a and later of that line */
	struct entry entries[CACHE_SIZE];
};

/* ---- the table ---- */

static int table_row(void *userdata, unsigned int line, const char *section, const char *key,
		     const char *value, struct ini_error *error)
{
	static const char prefix[] = "kernel ";
	struct kernel_costs *c = userdata;
	struct row *row;
	double number;

	(void)line;
	if (!key) {
		if (strncmp(section, prefix, sizeof(prefix) - 1) != 0 ||
		    strlen(section + sizeof(prefix) - 1) >= sizeof(row->pattern))
			return ini_error_set(error, -EINVAL,
					     "unknown section [%.60s], expected [kernel NAME]",
					     section);
		if (c->n_rows == TABLE_MAX)
			return ini_error_set(error, -E2BIG, "more than %d kernels", TABLE_MAX);
		row = &c->rows[c->n_rows++];
		*row = (struct row){0};
		(void)strcpy(row->pattern, section + sizeof(prefix) - 1);
		return 0;
	}
	if (c->n_rows == 0)
		return ini_error_set(error, -EINVAL, "%s is outside of any [kernel NAME]", key);
	row = &c->rows[c->n_rows - 1];
	if (parse_double(value, &number) < 0 || !(number >= 0 && number <= NUMBER_MAX))
		return ini_error_set(error, -EINVAL, "%s = %.60s: expected a number from 0 to %g",
				     key, value, NUMBER_MAX);
	if (strcmp(key, "flop_per_workgroup") == 0) {
		row->flop = number;
		row->has_flop = true;
	} else if (strcmp(key, "bytes_per_workgroup") == 0) {
		row->bytes = number;
		row->has_bytes = true;
	} else {
		return ini_error_set(error, -EINVAL, "unknown key '%.60s' in [%.60s]", key,
				     section);
	}
	return 0;
}

static int load_table(struct kernel_costs *c, const char *path, struct ini_error *error)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	int r;

	if (!file)
		return errno == ENOENT ? 0 : -errno;
	c->rows = calloc(TABLE_MAX, sizeof(*c->rows));
	if (!c->rows)
		return -ENOMEM;
	r = ini_file_parse(file, table_row, c, error);
	for (uint32_t i = 0; r == 0 && i < c->n_rows; i++)
		if (!c->rows[i].has_flop || !c->rows[i].has_bytes)
			r = ini_error_set(error, -ENODATA, "[kernel %s] lacks the key '%s'",
					  c->rows[i].pattern,
					  c->rows[i].has_flop ? "bytes_per_workgroup"
							      : "flop_per_workgroup");
	return r;
}

int kernel_costs_new(const char *path, const char *gfx, struct kernel_costs **ret,
		     struct ini_error *ret_error)
{
	struct kernel_costs *c = calloc(1, sizeof(*c));
	int r;

	*ret_error = (struct ini_error){0};
	if (!c)
		return -ENOMEM;
	c->large_registers = strcmp(gfx, "gfx90a") == 0 || strncmp(gfx, "gfx94", 5) == 0;
	r = load_table(c, path, ret_error);
	if (r < 0) {
		(void)kernel_costs_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct kernel_costs *kernel_costs_free(struct kernel_costs *c)
{
	if (!c)
		return NULL;
	free(c->rows);
	free(c);
	return NULL;
}

static bool cost_from_table(const struct kernel_costs *c, struct kernel_info *info)
{
	for (uint32_t i = 0; i < c->n_rows; i++) {
		if (fnmatch(c->rows[i].pattern, info->name, 0) != 0)
			continue;
		info->flop = (struct kernel_value){.number = c->rows[i].flop};
		info->bytes = (struct kernel_value){.number = c->rows[i].bytes};
		return true;
	}
	return false;
}

/* ---- the note ---- */

static bool value_from(const char *word, const char *key, struct kernel_value *ret)
{
	size_t n = strlen(key);
	uint32_t offset;
	double number;

	if (strncmp(word, key, n) != 0)
		return false;
	if (word[n] == '@') {
		if (parse_u32(word + n + 1, &offset) < 0)
			return false;
		*ret = (struct kernel_value){.is_argument = true, .offset = offset};
		return true;
	}
	if (parse_double(word + n, &number) < 0 || !(number >= 0 && number <= NUMBER_MAX))
		return false;
	*ret = (struct kernel_value){.number = number};
	return true;
}

/* A line of the note, which is cut up. */
static bool cost_from_line(char *line, struct kernel_info *info)
{
	char *rest = NULL, *name = strtok_r(line, " ", &rest), *word;
	struct kernel_value flop = {0}, bytes = {0};
	bool has_flop = false, has_bytes = false;

	if (!name || strcmp(name, info->name) != 0)
		return false;
	while ((word = strtok_r(NULL, " ", &rest))) {
		has_flop |= value_from(word, "flop=", &flop);
		has_bytes |= value_from(word, "bytes=", &bytes);
	}
	if (!has_flop || !has_bytes)
		return false;
	info->flop = flop;
	info->bytes = bytes;
	return true;
}

static bool cost_from_note(const char *note, uint64_t length, struct kernel_info *info)
{
	_cleanup_(freep) char *copy = length <= NOTE_MAX ? strndup(note, length) : NULL;
	char *rest = NULL;

	if (!copy || info->name[0] == '\0')
		return false;
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (cost_from_line(line, info))
			return true;
	return false;
}

/* FNV-1a, to see whether a note is still the same. */
static uint64_t hash_of(const char *text, uint64_t length)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (uint64_t i = 0; i < MIN(length, NOTE_MAX); i++)
		h = (h ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* ---- kernels ---- */

/* Waves of a SIMD by the vector registers of a kernel: 256 in fours, ten waves; from gfx90a on 512
 * in eights, eight waves. */
static uint32_t waves_per_simd(const struct kernel_costs *c, uint32_t rsrc1)
{
	uint32_t blocks = (rsrc1 & 0x3f) + 1;

	return MIN(64 / blocks, c->large_registers ? 8u : 10u);
}

static void read_descriptor(const struct kernel_costs *c, const char *d, struct kernel_info *info)
{
	uint32_t rsrc1;

	memcpy(&info->lds_bytes, d, sizeof(info->lds_bytes));
	memcpy(&info->argument_bytes, d + 8, sizeof(info->argument_bytes));
	memcpy(&rsrc1, d + 48, sizeof(rsrc1));
	info->waves_per_simd = MAX(waves_per_simd(c, rsrc1), 1u);
}

static void read_code_object(struct kernel_costs *c, struct entry *e)
{
	struct code_object o;
	const char *name;
	uint64_t length;

	if (code_object_find(e->object, &o) < 0 ||
	    code_object_kernel(&o, e->object, &name, &length) < 0)
		return;
	e->image = (uintptr_t)o.image;
	e->name = name;
	length = MIN(length, sizeof(e->info.name) - 1);
	memcpy(e->info.name, name, length);
	e->info.name[length] = '\0';
	read_descriptor(c, e->descriptor, &e->info);
	if (code_object_note(&o, "cofris", 1, &e->note, &e->note_length) == 0) {
		e->note_hash = hash_of(e->note, e->note_length);
		e->info.has_cost = cost_from_note(e->note, e->note_length, &e->info);
	}
	if (!e->info.has_cost)
		e->info.has_cost = cost_from_table(c, &e->info);
}

static bool is_unchanged(const struct entry *e)
{
	size_t n = strlen(e->info.name);

	if (memcmp((const void *)(uintptr_t)e->object, e->descriptor, DESCRIPTOR_BYTES) != 0)
		return false;
	if (e->name && (!memory_accessible(e->name, n) || memcmp(e->name, e->info.name, n) != 0))
		return false;
	return !e->note || (memory_accessible(e->note, e->note_length) &&
			    hash_of(e->note, e->note_length) == e->note_hash);
}

int kernel_costs_find(struct kernel_costs *c, uint64_t kernel_object,
		      const struct kernel_info **ret)
{
	struct entry *e =
		&c->entries[kernel_object / DESCRIPTOR_BYTES * 0x9e3779b1 >> 8 & (CACHE_SIZE - 1)];

	if (!memory_accessible((const void *)(uintptr_t)kernel_object, DESCRIPTOR_BYTES))
		return -EFAULT;
	if (e->object != kernel_object || !is_unchanged(e)) {
		*e = (struct entry){.object = kernel_object};
		e->info.waves_per_simd = c->large_registers ? 8 : 10;
		memcpy(e->descriptor, (const void *)(uintptr_t)kernel_object, DESCRIPTOR_BYTES);
		read_code_object(c, e);
	}
	*ret = &e->info;
	return 0;
}
