/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_source source = {.file = fuzz_file(data, size)};
	struct config_error error = {0};
	char text[CONFIG_TEXT_MAX];
	struct config *c = NULL;
	int r;

	r = config_load(&source, &c, &error);
	if (r < 0) {
		FUZZ_CHECK(error.text[0] != '\0' && !c);
		config_error_format(&error, text, sizeof(text));
		return 0;
	}
	FUZZ_CHECK(c->n_models <= CONFIG_MAX_MODELS);
	for (uint32_t i = 0; i < c->n_models; i++)
		FUZZ_CHECK(model_name_is_valid(c->models[i].name) &&
			   config_find_model(c, c->models[i].name) == &c->models[i]);
	FUZZ_CHECK(c->daemon.poll_ns > 0 && c->daemon.max_connections > 0);
	config_free(c);
	return 0;
}
