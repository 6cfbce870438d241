/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl: what an operator asks of cofrisd (cofrisctl(1)). */
#include "base/log.h"
#include "base/units.h"
#include "ctl/cap.h"
#include "ctl/client.h"
#include "ctl/explain.h"
#include "ctl/show.h"
#include "daemon/config.h"
#include <errno.h>
#include <getopt.h>
#include <string.h>

/* A reload derives the tables of every model anew. */
#define CTL_RELOAD_TIMEOUT (120 * USEC_PER_SEC)

struct arguments {
	const char *bus;
	bool json;
	const char *model, *rps, *last; /* of explain; NULL: not given */
	char **words;			/* of the command, without its name */
	int n_words;
};

struct command {
	const char *name, *arguments, *text;
	int min_words, max_words;
	enum ctl_exit (*run)(const struct arguments *a);
};

static enum ctl_exit print_json(json_t *root)
{
	int r;

	/* Texts that are no UTF-8 make no JSON. */
	if (!root)
		return CTL_REFUSED;
	r = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	(void)putchar('\n');
	return r < 0 || fflush(stdout) != 0 ? CTL_REFUSED : CTL_OK;
}

static enum ctl_exit show(const struct arguments *a, json_t *root, int (*print)(const json_t *root))
{
	enum ctl_exit result = CTL_OK;

	if (a->json)
		result = print_json(root);
	else if (print(root) < 0 || fflush(stdout) != 0)
		result = CTL_REFUSED;
	json_decref(root);
	return result;
}

static enum ctl_exit run_status(const struct arguments *a)
{
	json_t *root;
	enum ctl_exit result = ctl_call_json(a->bus, "GetStatus", NULL, &root);

	return result == CTL_OK ? show(a, root, show_status) : result;
}

static enum ctl_exit run_table(const struct arguments *a)
{
	json_t *root;
	enum ctl_exit result = ctl_call_json(a->bus, "GetTable", a->words[0], &root);

	return result == CTL_OK ? show(a, root, show_table) : result;
}

static enum ctl_exit run_cap(const struct arguments *a)
{
	struct cap_arguments cap;
	enum ctl_exit result;
	json_t *status, *root;

	if (cap_parse(a->words, a->n_words, &cap) < 0)
		return CTL_USAGE;
	if (cap.sets)
		return ctl_set_power_cap(a->bus, cap.gpu ? cap.gpu : "*", cap.uw);
	result = ctl_call_json(a->bus, "GetStatus", NULL, &status);
	if (result != CTL_OK)
		return result;
	root = cap_document(status, cap.gpu);
	json_decref(status);
	return root ? show(a, root, show_caps) : CTL_REFUSED;
}

static enum ctl_exit run_explain(const struct arguments *a)
{
	struct explain_arguments e;
	enum ctl_exit result;
	json_t *root;

	if (explain_parse(a->words, a->n_words, a->model, a->rps, a->last, &e) < 0)
		return CTL_USAGE;
	if (e.last > 0)
		result = ctl_decisions(a->bus, e.gpu, e.model, e.last, &root);
	else
		result = ctl_explain(a->bus, e.gpu, e.model, e.rps, &root);
	if (result != CTL_OK)
		return result;
	return show(a, root, e.last > 0 ? show_decisions : show_explanation);
}

static enum ctl_exit run_reload(const struct arguments *a)
{
	return ctl_call(a->bus, "Reload", NULL, CTL_RELOAD_TIMEOUT, NULL);
}

static void print_check(const struct arguments *a, const struct config *c,
			const struct config_error *error)
{
	char text[CONFIG_TEXT_MAX];

	json_t *root;

	if (a->json) {
		root = c ? json_pack("{s:i, s:b, s:i, s:i}", "schema", 1, "ok", 1, "gpus",
				     (int)c->n_gpus, "models", (int)c->n_models)
			 : json_pack("{s:i, s:b, s:s, s:i, s:s}", "schema", 1, "ok", 0, "file",
				     error->file, "line", (int)error->line, "error", error->text);
		(void)print_json(root);
		json_decref(root);
	} else if (c)
		(void)printf("ok: %u [gpu] and %u [model] section%s\n", c->n_gpus, c->n_models,
			     c->n_models == 1 ? "" : "s");
	if (!c) {
		config_error_format(error, text, sizeof(text));
		log_error("%s", text);
	}
}

static enum ctl_exit run_config(const struct arguments *a)
{
	_cleanup_(config_freep) struct config *config = NULL;
	struct config_source source = {.file = a->n_words > 1 ? a->words[1] : NULL};
	struct config_error error = {0};

	if (strcmp(a->words[0], "check") != 0) {
		log_error("Unknown command 'config %s', expected 'config check'", a->words[0]);
		return CTL_USAGE;
	}
	(void)config_load(&source, &config, &error);
	print_check(a, config, &error);
	return config ? CTL_OK : CTL_REFUSED;
}

static enum ctl_exit run_version(const struct arguments *a)
{
	_cleanup_(freep) char *version = ctl_daemon_version(a->bus);
	enum ctl_exit result = CTL_OK;

	if (a->json) {
		json_t *root = json_pack("{s:i, s:s, s:s?}", "schema", 1, "cofrisctl",
					 COFRIS_VERSION, "cofrisd", version);

		result = print_json(root);
		json_decref(root);
	} else {
		(void)printf("cofrisctl %s\n", COFRIS_VERSION);
		if (version)
			(void)printf("cofrisd %s\n", version);
	}
	return result;
}

static enum ctl_exit run_help(const struct arguments *a);

static const struct command commands[] = {
	{"status", "", "what is governed, and how", 0, 0, run_status},
	{"table", "MODEL", "the model's response table in force", 1, 1, run_table},
	{"explain", "[GPU]", "why the cards run as they do, or would", 0, 1, run_explain},
	{"cap", "[GPU] [POWER|off|config]", "list power caps, or set one", 0, 2, run_cap},
	{"reload", "", "read the configuration and surfaces again", 0, 0, run_reload},
	{"config", "check [FILE]", "check the configuration, without a daemon", 1, 2, run_config},
	{"version", "", "versions of this program and the daemon", 0, 0, run_version},
	{"help", "", "this text", 0, 0, run_help},
};

static enum ctl_exit run_help(const struct arguments *a _unused_)
{
	(void)puts("Usage: cofrisctl [OPTION]... COMMAND\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)printf("  %-8s%-25s %s\n", commands[i].name, commands[i].arguments,
			     commands[i].text);
	(void)puts("\n"
		   "  --model MODEL  explain: one model\n"
		   "  --rps N        explain: at N requests per second\n"
		   "  --last N       explain: the last N decisions\n"
		   "  --json         JSON instead of text\n"
		   "  --bus ADDRESS  a bus other than the system's\n"
		   "  --help, --version");
	return CTL_OK;
}

static const struct command *find_command(const char *name)
{
	const char *names[ARRAY_SIZE(commands)], *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		names[i] = commands[i].name;
	}
	nearest = nearest_name(name, names, ARRAY_SIZE(names));
	if (nearest)
		log_error("Unknown command '%s', did you mean '%s'?", name, nearest);
	else
		log_error("Unknown command '%s'", name);
	return NULL;
}

/* Where an option's argument goes. */
static const char **argument_of(struct arguments *a, int option)
{
	if (option == 'm')
		return &a->model;
	if (option == 'r')
		return &a->rps;
	return option == 'l' ? &a->last : &a->bus;
}

/* The command, or NULL after saying what is wrong. */
static const struct command *parse_argv(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},	 {"bus", required_argument, NULL, 'b'},
		{"model", required_argument, NULL, 'm'}, {"rps", required_argument, NULL, 'r'},
		{"last", required_argument, NULL, 'l'},	 {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},	 {0},
	};
	const struct command *command;
	int c;

	while ((c = getopt_long(argc, argv, "hj", options, NULL)) >= 0) {
		if (c == 'h')
			return find_command("help");
		if (c == 'v')
			return find_command("version");
		if (c == '?')
			return NULL;
		if (c == 'j')
			a->json = true;
		else
			*argument_of(a, c) = optarg;
	}
	if (optind == argc) {
		log_error("No command; 'cofrisctl help' lists them");
		return NULL;
	}
	command = find_command(argv[optind]);
	a->words = argv + optind + 1;
	a->n_words = argc - optind - 1;
	if (command && (a->n_words < command->min_words || a->n_words > command->max_words)) {
		log_error("Usage: cofrisctl %s %s", command->name, command->arguments);
		return NULL;
	}
	if (command && command->run != run_explain && (a->model || a->rps || a->last)) {
		log_error("--model, --rps and --last belong to 'cofrisctl explain'");
		return NULL;
	}
	return command;
}

int main(int argc, char **argv)
{
	const struct command *command;
	struct arguments a = {0};

	log_init("cofrisctl", LOG_INFO);
	command = parse_argv(argc, argv, &a);
	return command ? (int)command->run(&a) : CTL_USAGE;
}
