/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/hip-kernels.h"
#include "base/log.h"
#include <errno.h>

/* Files into read-only data. The bundle is page-aligned: HIP reads ELF headers in it in place. */
#define EMBED(symbol, path, align)                                                                 \
	__asm__(".pushsection .rodata\n\t.balign " #align "\n\t.global " #symbol                   \
		"\n\t.hidden " #symbol "\n" #symbol ":\n\t.incbin \"" path                         \
		"\"\n\t.global " #symbol "_end\n\t.hidden " #symbol "_end\n" #symbol               \
		"_end:\n\t.byte 0\n\t.popsection\n")
EMBED(hip_kernels_bundle, COFRIS_HIP_BUNDLE, 4096);
EMBED(hip_kernels_source, COFRIS_HIP_SOURCE "/layer.hip", 1);
EMBED(hip_kernels_args_header, COFRIS_HIP_SOURCE "/layer-args.h", 1);

static void log_compiler(const struct hip_api *api, void *program)
{
	_cleanup_(freep) char *text = NULL;
	size_t size = 0;

	if (api->rtc_log_size(program, &size) != 0 || size == 0)
		return;
	text = calloc(1, size + 1);
	if (text && api->rtc_log(program, text) == 0)
		log_error("%s", text);
}

static int compile_program(const struct hip_api *api, void *program, char **ret)
{
	_cleanup_(freep) char *code = NULL;
	size_t size = 0;

	/* Without a name of an architecture it is the current device's. */
	if (api->rtc_compile(program, 0, NULL) != 0) {
		log_compiler(api, program);
		return log_error_errno(-EIO, "hiprtc cannot compile the kernels");
	}
	if (api->rtc_code_size(program, &size) != 0 || size == 0)
		return log_error_errno(-EIO, "hiprtc gives no code");
	code = malloc(size);
	if (!code)
		return -ENOMEM;
	if (api->rtc_code(program, code) != 0)
		return log_error_errno(-EIO, "hiprtc gives no code");
	*ret = TAKE_PTR(code);
	return 0;
}

static int compile_kernels(const struct hip_api *api, char **ret)
{
	const char *header = hip_kernels_args_header, *name = "layer-args.h";
	void *program = NULL;
	int r;

	if (!api->rtc_create)
		return log_error_errno(-ENOSYS, "No code for this card was built, and there is no "
						"hiprtc to compile it");
	if (api->rtc_create(&program, hip_kernels_source, "layer.hip", 1, &header, &name) != 0)
		return log_error_errno(-EIO, "hiprtc does not take the kernels");
	r = compile_program(api, program, ret);
	(void)api->rtc_destroy(&program);
	return r;
}

static int get_functions(const struct hip_api *api, struct hip_kernels *k)
{
	const struct {
		const char *name;
		void **function;
	} rows[] = {
		{"cofris_layer", &k->layer},
		{"cofris_init", &k->init},
		{"cofris_empty", &k->empty},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int e = api->module_function(rows[i].function, k->module, rows[i].name);

		if (e != 0)
			return hip_error(api, e, rows[i].name);
	}
	return 0;
}

static int load_compiled(const struct hip_api *api, struct hip_kernels *k)
{
	int r, e;

	r = compile_kernels(api, &k->code);
	if (r < 0)
		return r;
	e = api->module_load(&k->module, k->code);
	return e == 0 ? 0 : hip_error(api, e, "Cannot load the compiled kernels");
}

int hip_kernels_load(const struct hip_api *api, bool compile, struct hip_kernels *ret)
{
	struct hip_kernels k = {0};
	int r = 0;

	if (compile || api->module_load(&k.module, hip_kernels_bundle) != 0) {
		k.module = NULL;
		r = load_compiled(api, &k);
	}
	if (r == 0)
		r = get_functions(api, &k);
	if (r < 0) {
		hip_kernels_unload(api, &k);
		return r;
	}
	*ret = k;
	return 0;
}

void hip_kernels_unload(const struct hip_api *api, struct hip_kernels *k)
{
	if (k->module)
		(void)api->module_unload(k->module);
	free(k->code);
	*k = (struct hip_kernels){0};
}
