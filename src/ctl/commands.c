/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/commands.h"
#include "base/log.h"
#include "base/parse.h"
#include "ctl/cap.h"
#include "ctl/explain.h"
#include "ctl/output.h"
#include "ctl/show.h"
#include "daemon/config.h"
#include <errno.h>
#include <string.h>

/* A reload derives the tables of every model anew. */
#define RELOAD_TIMEOUT (CTL_WRITE_TIMEOUT + 120 * USEC_PER_SEC)
#define REASON_MAX     200 /* as the daemon */
#define PAUSE_MAX_NS   (UINT64_C(10) * 366 * 24 * 3600 * NSEC_PER_SEC)

int command_gpu(const struct ctl *ctl, int i, const char **ret)
{
	const char *gpu = i < ctl->n_words ? ctl->words[i] : "*";

	if (strcmp(gpu, "*") != 0 && (!pci_bdf_is_valid(gpu) || gpu[PCI_BDF_LENGTH] != '\0')) {
		log_error("'%s' is no PCI address as 0000:43:00.0", gpu);
		return -EINVAL;
	}
	*ret = gpu;
	return 0;
}

int command_reason(const struct ctl *ctl, const char *by_default, const char **ret)
{
	const char *reason = ctl->values[OPTION_REASON] ?: by_default;
	json_t *text = json_string(reason); /* none if it is no UTF-8 */
	bool bad = !text || strlen(reason) > REASON_MAX;

	json_decref(text);
	for (const char *p = reason; *p; p++)
		bad |= (unsigned char)*p < ' ' || *p == '\x7f';
	if (bad) {
		log_error("--reason: expected at most %d bytes of text, in one line", REASON_MAX);
		return -EINVAL;
	}
	*ret = reason;
	return 0;
}

/* Prints the document that a method without effect answers. */
static enum ctl_exit answered(struct ctl *ctl, enum ctl_exit result, json_t *root,
			      int (*print)(const json_t *root))
{
	return result == CTL_OK ? output(ctl, root, print) : result;
}

enum ctl_exit run_status(struct ctl *ctl)
{
	json_t *root = NULL;
	enum ctl_exit result = ctl_call_json(&ctl->client, "GetStatus", &root, "");

	return answered(ctl, result, root, show_status);
}

enum ctl_exit run_table(struct ctl *ctl)
{
	json_t *root = NULL;
	enum ctl_exit result = ctl_call_json(&ctl->client, "GetTable", &root, "s", ctl->words[0]);

	return answered(ctl, result, root, show_table);
}

enum ctl_exit run_cap(struct ctl *ctl)
{
	struct cap_arguments cap;
	enum ctl_exit result;
	json_t *status, *root;

	if (cap_parse(ctl->words, ctl->n_words, &cap) < 0)
		return CTL_USAGE;
	if (cap.sets) {
		result = ctl_call(&ctl->client, "SetPowerCap", CTL_WRITE_TIMEOUT, "st",
				  cap.gpu ?: "*", cap.uw);
		return result == CTL_OK ? output_done(ctl) : result;
	}
	result = ctl_call_json(&ctl->client, "GetStatus", &status, "");
	if (result != CTL_OK)
		return result;
	root = cap_document(status, cap.gpu);
	json_decref(status);
	return output(ctl, root, show_caps);
}

enum ctl_exit run_explain(struct ctl *ctl)
{
	struct explain_arguments e;
	enum ctl_exit result;
	json_t *root = NULL;

	if (explain_parse(ctl->words, ctl->n_words, ctl->values[OPTION_MODEL],
			  ctl->values[OPTION_RPS], ctl->values[OPTION_LAST], &e) < 0)
		return CTL_USAGE;
	if (e.last > 0)
		result = ctl_call_json(&ctl->client, "GetDecisions", &root, "ssu", e.gpu, e.model,
				       e.last);
	else
		result =
			ctl_call_json(&ctl->client, "Explain", &root, "ssd", e.gpu, e.model, e.rps);
	return answered(ctl, result, root, e.last > 0 ? show_decisions : show_explanation);
}

/* --for in microseconds; 0: not given, no end. */
static int parse_for(const char *text, uint64_t *ret_usec)
{
	uint64_t ns = 0;

	if (text && (parse_duration_ns(text, &ns) < 0 || ns < NSEC_PER_SEC || ns > PAUSE_MAX_NS)) {
		log_error("--for %s: expected a time with its unit, as 30min or 2h; at least 1s",
			  text);
		return -EINVAL;
	}
	*ret_usec = ns / 1000;
	return 0;
}

enum ctl_exit run_pause(struct ctl *ctl)
{
	const char *gpu, *reason;
	uint64_t usec;
	uint32_t cookie;
	enum ctl_exit result;

	if (command_gpu(ctl, 0, &gpu) < 0 || command_reason(ctl, "by hand", &reason) < 0 ||
	    parse_for(ctl->values[OPTION_FOR], &usec) < 0)
		return CTL_USAGE;
	result = ctl_call_u32(&ctl->client, "Pause", &cookie, "ssbt", gpu, reason, 1, usec);
	if (result != CTL_OK || !ctl_json(ctl))
		return result;
	return output_json(
		json_pack("{s:i, s:b, s:I, s:s, s:s, s:o}", "schema", 1, "ok", 1, "cookie",
			  (json_int_t)cookie, "gpu", gpu, "reason", reason, "for_s",
			  usec > 0 ? json_real((double)usec / (double)USEC_PER_SEC) : json_null()));
}

enum ctl_exit run_resume(struct ctl *ctl)
{
	const char *gpu;
	enum ctl_exit result;

	if (command_gpu(ctl, 0, &gpu) < 0)
		return CTL_USAGE;
	result = ctl_call(&ctl->client, "Resume", CTL_WRITE_TIMEOUT, "s", gpu);
	return result == CTL_OK ? output_done(ctl) : result;
}

enum ctl_exit run_verify(struct ctl *ctl)
{
	const char *gpu;
	json_t *root = NULL;
	enum ctl_exit result;
	bool ok;

	if (command_gpu(ctl, 0, &gpu) < 0)
		return CTL_USAGE;
	result = ctl_call_json(&ctl->client, "Verify", &root, "s", gpu);
	if (result != CTL_OK)
		return result;
	ok = json_is_true(json_object_get(root, "ok"));
	result = output(ctl, root, show_verification);
	return result == CTL_OK && !ok ? CTL_REFUSED : result;
}

enum ctl_exit run_reload(struct ctl *ctl)
{
	enum ctl_exit result = ctl_call(&ctl->client, "Reload", RELOAD_TIMEOUT, "");

	return result == CTL_OK ? output_done(ctl) : result;
}

enum ctl_exit run_config_check(struct ctl *ctl)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct config_source source = {.file = ctl->n_words > 0 ? ctl->words[0] : NULL};
	struct config_error error = {0};

	(void)config_load(&source, &c, &error);
	if (!c)
		config_error_format(&error, ctl->client.error, sizeof(ctl->client.error));
	if (ctl_json(ctl) && c)
		(void)output_json(json_pack("{s:i, s:b, s:i, s:i}", "schema", 1, "ok", 1, "gpus",
					    (int)c->n_gpus, "models", (int)c->n_models));
	else if (ctl_json(ctl))
		(void)output_json(json_pack("{s:i, s:b, s:o, s:i, s:o}", "schema", 1, "ok", 0,
					    "file", output_text(error.file), "line",
					    (int)error.line, "error", output_text(error.text)));
	else if (c)
		(void)printf("ok: %u [gpu] and %u [model] section%s\n", c->n_gpus, c->n_models,
			     c->n_models == 1 ? "" : "s");
	return c ? CTL_OK : CTL_REFUSED;
}

enum ctl_exit run_version(struct ctl *ctl)
{
	_cleanup_(freep) char *version = ctl_daemon_version(&ctl->client);

	if (ctl_json(ctl))
		return output_json(json_pack("{s:i, s:s, s:s?}", "schema", 1, "cofrisctl",
					     COFRIS_VERSION, "cofrisd", version));
	(void)printf("cofrisctl %s\n", COFRIS_VERSION);
	if (version)
		(void)printf("cofrisd %s\n", version);
	return CTL_OK;
}
