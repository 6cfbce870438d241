/* SPDX-License-Identifier: Apache-2.0 */
/* The device code inside the worker: for the cards it claims, and with the cost note that a
 * simulated card reads. */
#include "support/cmocka-includes.h"
#include "worker/hip-kernels.h"
#include "worker/kernels/layer-args.h"

#include <elf.h>
#include <string.h>

#define MAGIC "__CLANG_OFFLOAD_BUNDLE__"

static const char *const targets[] = {
	"hipv4-amdgcn-amd-amdhsa--gfx906",
	"hipv4-amdgcn-amd-amdhsa--gfx908",
	"hipv4-amdgcn-amd-amdhsa--gfx90a",
};

static uint64_t number(const char *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* The code object for a target; NULL if there is none. */
static const char *code_for(const char *target)
{
	const char *at = hip_kernels_bundle + strlen(MAGIC);
	uint64_t n = number(at);

	assert_memory_equal(hip_kernels_bundle, MAGIC, strlen(MAGIC));
	at += 8;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t offset = number(at), size = number(at + 8), length = number(at + 16);

		assert_true(offset + size <=
			    (uint64_t)(hip_kernels_bundle_end - hip_kernels_bundle));
		if (length == strlen(target) && memcmp(at + 24, target, length) == 0)
			return hip_kernels_bundle + offset;
		at += 24 + length;
	}
	return NULL;
}

static const Elf64_Phdr *segment(const char *elf, uint32_t type, uint32_t skip)
{
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)elf;
	const Elf64_Phdr *p = (const Elf64_Phdr *)(elf + e->e_phoff);

	for (uint32_t i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == type && skip-- == 0)
			return &p[i];
	return NULL;
}

/* The text of the cost note. It must lie in a PT_NOTE, which is loaded with the code. */
static char *cost_text(const char *elf)
{
	const Elf64_Phdr *p;

	for (uint32_t i = 0; (p = segment(elf, PT_NOTE, i)) != NULL; i++) {
		const char *at = elf + p->p_offset, *end = at + p->p_filesz;

		while (at + sizeof(Elf64_Nhdr) <= end) {
			const Elf64_Nhdr *n = (const Elf64_Nhdr *)at;
			const char *name = at + sizeof(*n);
			const char *text = name + (n->n_namesz + 3) / 4 * 4;

			if (n->n_type == 1 && n->n_namesz == sizeof("cofris") &&
			    strcmp(name, "cofris") == 0)
				return strndup(text, n->n_descsz);
			at = text + (n->n_descsz + 3) / 4 * 4;
		}
	}
	return NULL;
}

static void test_the_bundle_has_code_for_the_cards(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const char *elf = code_for(targets[i]);

		assert_non_null(elf);
		assert_memory_equal(elf, ELFMAG, SELFMAG);
	}
	assert_null(code_for("hipv4-amdgcn-amd-amdhsa--gfx000"));
}

static void test_the_cost_note_names_the_arguments_by_their_offsets(void **state)
{
	char want[256];

	(void)state;
	(void)snprintf(want, sizeof(want),
		       "cofris_layer flop=@%zu bytes=@%zu\n"
		       "cofris_init flop=0 bytes=%u\n"
		       "cofris_empty flop=0 bytes=0\n",
		       offsetof(struct layer_args, flop), offsetof(struct layer_args, bytes),
		       LAYER_LANES * LAYER_INIT_DEPTH * LAYER_VECTOR);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		char *text = cost_text(code_for(targets[i]));

		assert_non_null(text);
		assert_string_equal(text, want);
		free(text);
	}
}

/* In the metadata note: messagepack, in which a short text follows its length. */
static bool has_text(const char *elf, const char *text)
{
	const Elf64_Phdr *p;

	for (uint32_t i = 0; (p = segment(elf, PT_NOTE, i)) != NULL; i++)
		if (memmem(elf + p->p_offset, p->p_filesz, text, strlen(text)))
			return true;
	return false;
}

static void test_the_kernels_of_the_note_are_those_of_the_code(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const char *elf = code_for(targets[i]);

		assert_true(has_text(elf, "cofris_layer.kd"));
		assert_true(has_text(elf, "cofris_init.kd"));
		assert_true(has_text(elf, "cofris_empty.kd"));
		/* .kernarg_segment_size and its value: a text of 21 bytes, a small number */
		assert_true(has_text(elf, ".kernarg_segment_size\x60"));
	}
	assert_int_equal(sizeof(struct layer_args), 0x60);
}

static void test_the_source_is_there_for_other_cards(void **state)
{
	(void)state;
	assert_non_null(strstr(hip_kernels_source, "cofris_layer(struct layer_args args)"));
	assert_non_null(strstr(hip_kernels_args_header, "struct layer_args {"));
}

/* What a card without code in the bundle gets; here for one that Debian's compiler knows, which is
 * named because there is no card to ask. */
static void test_hiprtc_makes_the_same_of_the_source(void **state)
{
	const char *option = "--offload-arch=gfx906", *header = hip_kernels_args_header;
	const char *name = "layer-args.h";
	struct hip_api api;
	void *program;
	size_t size;
	char *code, *text, *want;

	(void)state;
	if (hip_api_load(&api) < 0 || !api.rtc_create)
		skip();
	assert_int_equal(api.rtc_create(&program, hip_kernels_source, "layer.hip", 1, &header,
					&name),
			 0);
	assert_int_equal(api.rtc_compile(program, 1, &option), 0);
	assert_int_equal(api.rtc_code_size(program, &size), 0);
	code = malloc(size);
	assert_int_equal(api.rtc_code(program, code), 0);
	assert_int_equal(api.rtc_destroy(&program), 0);
	text = cost_text(code);
	want = cost_text(code_for(targets[0]));
	assert_string_equal(text, want);
	assert_true(has_text(code, "cofris_layer.kd"));
	free(want);
	free(text);
	free(code);
	hip_api_unload(&api);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_bundle_has_code_for_the_cards),
		cmocka_unit_test(test_the_cost_note_names_the_arguments_by_their_offsets),
		cmocka_unit_test(test_the_kernels_of_the_note_are_those_of_the_code),
		cmocka_unit_test(test_the_source_is_there_for_other_cards),
		cmocka_unit_test(test_hiprtc_makes_the_same_of_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
