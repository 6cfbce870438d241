/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/code-object.h"
#include "base/macros.h"
#include "sim/hsakmt/hsakmt.h"
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define PAGE	      UINT64_C(4096)
#define MACHINE	      224 /* EM_AMDGPU */
#define MAX_HEADERS   64
#define MAX_DYNAMIC   256
#define MAX_SYMBOLS   65536
#define MAX_PAGES     16384 /* looked at for the start of an image: 64 MiB */
#define NOTE_ALIGN(n) (((n) + UINT64_C(3)) & ~UINT64_C(3))

/* Copies, as the program may change what lies there at any time. */
static bool get(const struct code_object *o, uint64_t offset, void *ret, uint64_t size)
{
	if (offset > o->size || size > o->size - offset)
		return false;
	memcpy(ret, o->image + offset, size);
	return true;
}

static bool is_image(const char *at, uint64_t size)
{
	Elf64_Ehdr h;

	if (size < sizeof(h))
		return false;
	memcpy(&h, at, sizeof(h));
	return memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_ident[EI_CLASS] == ELFCLASS64 &&
	       h.e_machine == MACHINE && h.e_phentsize == sizeof(Elf64_Phdr) &&
	       h.e_phnum <= MAX_HEADERS;
}

int code_object_find(uint64_t address, struct code_object *ret)
{
	void *start = NULL;
	uint64_t size = 0, offset;

	if (!memory_find((const void *)(uintptr_t)address, &start, &size))
		return -EFAULT;
	offset = (address - (uintptr_t)start) & ~(PAGE - 1);
	for (uint32_t i = 0; i < MAX_PAGES; i++) {
		const char *at = (const char *)start + offset;

		if (is_image(at, size - offset)) {
			*ret = (struct code_object){.image = at, .size = size - offset};
			return 0;
		}
		if (offset < PAGE)
			break;
		offset -= PAGE;
	}
	return -ENOENT;
}

/* Header i of the image, of this type. */
static bool header(const struct code_object *o, uint32_t type, uint32_t nth, Elf64_Phdr *ret)
{
	Elf64_Ehdr h;

	if (!get(o, 0, &h, sizeof(h)))
		return false;
	for (uint32_t i = 0; i < MIN(h.e_phnum, (uint32_t)MAX_HEADERS); i++) {
		Elf64_Phdr p;

		if (!get(o, h.e_phoff + (uint64_t)i * sizeof(p), &p, sizeof(p)))
			return false;
		if (p.p_type == type && nth-- == 0) {
			*ret = p;
			return true;
		}
	}
	return false;
}

struct symbols {
	uint64_t table, strings, strings_size, hash;
	uint32_t n;
};

static bool find_symbols(const struct code_object *o, struct symbols *ret)
{
	struct symbols s = {0};
	Elf64_Phdr p;
	uint32_t words[2];

	if (!header(o, PT_DYNAMIC, 0, &p))
		return false;
	for (uint32_t i = 0; i < MAX_DYNAMIC; i++) {
		Elf64_Dyn d;

		if (!get(o, p.p_vaddr + (uint64_t)i * sizeof(d), &d, sizeof(d)) ||
		    d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_SYMTAB)
			s.table = d.d_un.d_ptr;
		else if (d.d_tag == DT_STRTAB)
			s.strings = d.d_un.d_ptr;
		else if (d.d_tag == DT_STRSZ)
			s.strings_size = d.d_un.d_val;
		else if (d.d_tag == DT_HASH)
			s.hash = d.d_un.d_ptr;
	}
	/* The loader may have made the addresses absolute. */
	for (uint64_t *field = &s.table; field <= &s.hash; field++)
		if (field != &s.strings_size && *field >= (uintptr_t)o->image)
			*field -= (uintptr_t)o->image;
	if (!s.table || !s.strings || !s.hash || !get(o, s.hash, words, sizeof(words)))
		return false;
	s.n = MIN(words[1], (uint32_t)MAX_SYMBOLS);
	*ret = s;
	return true;
}

int code_object_kernel(const struct code_object *o, uint64_t address, const char **ret_name,
		       uint64_t *ret_length)
{
	uint64_t value = address - (uintptr_t)o->image;
	struct symbols s;

	if (!find_symbols(o, &s))
		return -ENOENT;
	for (uint32_t i = 0; i < s.n; i++) {
		const char *name;
		Elf64_Sym y;
		uint64_t room, length;

		if (!get(o, s.table + (uint64_t)i * sizeof(y), &y, sizeof(y)))
			return -ENOENT;
		if (y.st_value != value || y.st_name >= s.strings_size || s.strings > o->size ||
		    s.strings_size > o->size - s.strings)
			continue;
		name = o->image + s.strings + y.st_name;
		room = s.strings_size - y.st_name;
		length = strnlen(name, room);
		if (length == room || length < 4 || memcmp(name + length - 3, ".kd", 3) != 0)
			continue;
		*ret_name = name;
		*ret_length = length - 3;
		return 0;
	}
	return -ENOENT;
}

static int note_in(const struct code_object *o, uint64_t at, uint64_t end, const char *owner,
		   uint32_t type, const char **ret_text, uint64_t *ret_length)
{
	size_t owner_bytes = strlen(owner) + 1;

	while (at < end) {
		Elf64_Nhdr n;
		uint64_t text;

		if (!get(o, at, &n, sizeof(n)))
			return -ENOENT;
		at += sizeof(n);
		text = at + NOTE_ALIGN(n.n_namesz);
		if (text > end || n.n_descsz > end - text || end > o->size)
			return -ENOENT;
		if (n.n_type == type && n.n_namesz == owner_bytes &&
		    memcmp(o->image + at, owner, owner_bytes) == 0) {
			*ret_text = o->image + text;
			*ret_length = n.n_descsz;
			return 0;
		}
		at = text + NOTE_ALIGN(n.n_descsz);
	}
	return -ENOENT;
}

int code_object_note(const struct code_object *o, const char *owner, uint32_t type,
		     const char **ret_text, uint64_t *ret_length)
{
	Elf64_Phdr p;

	for (uint32_t i = 0; header(o, PT_NOTE, i, &p); i++) {
		uint64_t end;

		if (__builtin_add_overflow(p.p_vaddr, p.p_memsz, &end) || end > o->size)
			continue;
		if (note_in(o, p.p_vaddr, end, owner, type, ret_text, ret_length) == 0)
			return 0;
	}
	return -ENOENT;
}
