/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/blit.h"
#include "sim/hsakmt/hsakmt.h"
#include <errno.h>
#include <string.h>

#define ARGUMENTS_MAX 160

/* A copy of a kernel's arguments: the program may change them at any time. */
struct arguments {
	char bytes[ARGUMENTS_MAX];
};

static uint64_t u64(const struct arguments *a, uint32_t offset)
{
	uint64_t value;

	memcpy(&value, a->bytes + offset, sizeof(value));
	return value;
}

static uint32_t u32(const struct arguments *a, uint32_t offset)
{
	uint32_t value;

	memcpy(&value, a->bytes + offset, sizeof(value));
	return value;
}

/* ---- HIP: __amd_rocclr_* ---- */

/* The buffer among four pointers for elements of 1, 2, 4 and 8 bytes; the widest that is given. */
static uint64_t fill_buffer(const struct arguments *a, uint64_t *ret_element)
{
	for (uint32_t i = 4; i-- > 0;)
		if (u64(a, i * 8) != 0) {
			*ret_element = UINT64_C(1) << i;
			return u64(a, i * 8);
		}
	*ret_element = 1;
	return 0;
}

static void fill_aligned(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	uint64_t element, buffer = fill_buffer(a, &element);
	uint64_t pattern_bytes = MAX(u32(a, 40), 1u) * element;

	*ret = copy_fill(buffer + u64(a, 48) * element, u64(a, 32), pattern_bytes, pattern_bytes);
	/* Too large a count must not wrap around to a small one. */
	if (__builtin_mul_overflow(MIN(u64(a, 56), (uint64_t)grid[0]), pattern_bytes,
				   &ret->row_bytes))
		ret->row_bytes = UINT64_MAX;
}

static void fill_aligned_2d(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	uint64_t element, buffer = fill_buffer(a, &element);
	uint64_t width = MIN(u64(a, 56), (uint64_t)grid[0]);

	*ret = copy_fill(buffer + u64(a, 48) * element, u64(a, 32), MAX(u32(a, 40), 1u) * element,
			 width * element);
	ret->rows = MIN(u64(a, 64), (uint64_t)grid[1]);
	if (__builtin_mul_overflow(u64(a, 72), element, &ret->dst_pitch))
		ret->dst_pitch = UINT64_MAX;
}

static void copy_buffer(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	uint64_t n = MIN(u64(a, 32), (uint64_t)grid[0]);
	uint32_t remainder = u32(a, 40);
	/* 8: single bytes. Else words, of which the last may have some bytes only. */
	uint64_t bytes = remainder == 8		? n
			 : u64(a, 32) > grid[0] ? n * 4
			 : n > 0		? (n - 1) * 4 + MIN(remainder, 4u)
						: 0;

	*ret = copy_linear(u64(a, 8) + u64(a, 24), u64(a, 0) + u64(a, 16), bytes);
}

static void copy_aligned(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	uint64_t unit = u32(a, 40) == 16 ? 16 : 4;

	*ret = copy_linear(u64(a, 8) + u64(a, 24) * unit, u64(a, 0) + u64(a, 16) * unit,
			   MIN(u64(a, 32), (uint64_t)grid[0]) * unit);
}

static void copy_rect_of(const struct arguments *a, const uint32_t grid[3], uint64_t unit,
			 struct copy *ret)
{
	*ret = copy_linear(u64(a, 8) + u64(a, 80) * unit, u64(a, 0) + u64(a, 48) * unit,
			   MIN(u64(a, 96), (uint64_t)grid[0]) * unit);
	ret->rows = MIN(u64(a, 104), (uint64_t)grid[1]);
	ret->slices = MIN(u64(a, 112), (uint64_t)grid[2]);
	if (__builtin_mul_overflow(u64(a, 32), unit, &ret->src_pitch) ||
	    __builtin_mul_overflow(u64(a, 40), unit, &ret->src_slice) ||
	    __builtin_mul_overflow(u64(a, 64), unit, &ret->dst_pitch) ||
	    __builtin_mul_overflow(u64(a, 72), unit, &ret->dst_slice))
		ret->rows = ret->slices = UINT64_MAX;
}

static void copy_rect(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	copy_rect_of(a, grid, 1, ret);
}

static void copy_rect_aligned(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	copy_rect_of(a, grid, u64(a, 120) == 16 ? 16 : 4, ret);
}

static const struct blit {
	const char *name;
	uint32_t argument_bytes;
	void (*decode)(const struct arguments *a, const uint32_t grid[3], struct copy *ret);
} blits[] = {
	{"__amd_rocclr_fillBufferAligned", 64, fill_aligned},
	{"__amd_rocclr_fillBufferAligned2D", 80, fill_aligned_2d},
	{"__amd_rocclr_copyBuffer", 44, copy_buffer},
	{"__amd_rocclr_copyBufferAligned", 44, copy_aligned},
	{"__amd_rocclr_copyBufferRect", 128, copy_rect},
	{"__amd_rocclr_copyBufferRectAligned", 128, copy_rect_aligned},
};

/* ---- ROCr's own shaders: an amd_kernel_code_t, then the instructions ---- */

#define HEADER_BYTES 256
#define SHADER_WORDS 8

static void shader_copy_aligned(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	(void)grid;
	*ret = copy_linear(u64(a, 8), u64(a, 0), u64(a, 72) - u64(a, 8));
}

static void shader_copy_misaligned(const struct arguments *a, const uint32_t grid[3],
				   struct copy *ret)
{
	(void)grid;
	*ret = copy_linear(u64(a, 8), u64(a, 0), u64(a, 40) - u64(a, 8));
}

/* The pattern is the argument itself, whose address the caller puts in. */
static void shader_fill(const struct arguments *a, const uint32_t grid[3], struct copy *ret)
{
	(void)grid;
	*ret = copy_fill(u64(a, 0), 0, 4, u64(a, 16) - u64(a, 0));
}

static const struct shader {
	uint32_t words[SHADER_WORDS];
	uint32_t n_words, argument_bytes, pattern_offset;
	void (*decode)(const struct arguments *a, const uint32_t grid[3], struct copy *ret);
} shaders[] = {
	{{0xc00a0100, 0, 0xc00a0200, 0x10, 0xc00a0300, 0x20, 0xc00a0400, 0x30},
	 8,
	 80,
	 0,
	 shader_copy_aligned},
	{{0xc00a0100, 0, 0xc00a0200, 0x10, 0xc00a0300, 0x20, 0xc0020400, 0x30},
	 8,
	 48,
	 0,
	 shader_copy_misaligned},
	{{0xc00a0100, 0, 0xc00a0200, 0x10, 0xbf8c007f, 0x8e028602, 0x32000002, 0x7e08020a},
	 8,
	 28,
	 24,
	 shader_fill},
};

static int get_arguments(uint64_t address, uint32_t bytes, struct arguments *ret,
			 uint64_t *ret_address)
{
	if (!memory_accessible((const void *)(uintptr_t)address, bytes)) {
		*ret_address = address;
		return -EFAULT;
	}
	*ret = (struct arguments){0};
	memcpy(ret->bytes, (const void *)(uintptr_t)address, bytes);
	return 0;
}

static int decode_shader(uint64_t kernel_object, uint64_t arguments, const uint32_t grid[3],
			 struct copy *ret, uint64_t *ret_address)
{
	const char *code = (const char *)(uintptr_t)kernel_object;
	uint32_t words[SHADER_WORDS];
	struct arguments a;
	int r;

	if (!memory_accessible(code, HEADER_BYTES + sizeof(words)))
		return 0;
	memcpy(words, code + HEADER_BYTES, sizeof(words));
	for (uint32_t i = 0; i < ARRAY_SIZE(shaders); i++) {
		const struct shader *s = &shaders[i];

		if (memcmp(words, s->words, s->n_words * sizeof(*words)) != 0)
			continue;
		r = get_arguments(arguments, s->argument_bytes, &a, ret_address);
		if (r < 0)
			return r;
		s->decode(&a, grid, ret);
		if (s->pattern_offset > 0)
			ret->src = arguments + s->pattern_offset;
		return 1;
	}
	return 0;
}

int blit_decode(const char *name, uint64_t kernel_object, uint64_t arguments,
		const uint32_t grid[3], struct copy *ret, uint64_t *ret_address)
{
	struct arguments a;
	int r;

	if (name[0] == '\0')
		return decode_shader(kernel_object, arguments, grid, ret, ret_address);
	for (uint32_t i = 0; i < ARRAY_SIZE(blits); i++) {
		if (strcmp(name, blits[i].name) != 0)
			continue;
		r = get_arguments(arguments, blits[i].argument_bytes, &a, ret_address);
		if (r < 0)
			return r;
		blits[i].decode(&a, grid, ret);
		return 1;
	}
	return 0;
}
