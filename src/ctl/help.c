/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/macros.h"
#include "ctl/commands.h"
#include "ctl/output.h"
#include <string.h>

/* "--for TIME", as wide as the widest. */
static void print_option(enum option_id id)
{
	const struct option_row *o = option_at(id);
	char left[40];

	if (o->letter)
		(void)snprintf(left, sizeof(left), "-%c, --%s", o->letter, o->name);
	else
		(void)snprintf(left, sizeof(left), "--%s %s", o->name, o->argument ?: "");
	(void)printf("  %-16s %s\n", left, o->text);
}

static void print_command(const struct command *c)
{
	(void)printf("Usage: cofrisctl %s%s%s [OPTION]...\n\n%c%s.\n\n", c->name,
		     *c->words ? " " : "", c->words, c->text[0] & ~0x20, c->text + 1);
	for (enum option_id id = 0; id < N_OPTIONS; id++)
		if (command_takes(c, id))
			print_option(id);
}

static void print_all(void)
{
	const struct command *c;

	(void)puts("Usage: cofrisctl [OPTION]... COMMAND\n");
	for (size_t i = 0; (c = command_at(i)); i++) {
		char left[64];

		if (c->hidden)
			continue;
		(void)snprintf(left, sizeof(left), "%s %s", c->name, c->words);
		(void)printf("  %-28s %s\n", left, c->text);
	}
	(void)puts("\nOptions ('cofrisctl help COMMAND' has those of a command):\n");
	for (enum option_id id = 0; id < N_OPTIONS; id++)
		print_option(id);
}

static json_t *command_json(const struct command *c)
{
	json_t *options = json_array();

	for (enum option_id id = 0; id < N_OPTIONS; id++)
		if (command_takes(c, id))
			(void)json_array_append_new(options,
						    json_sprintf("--%s", option_at(id)->name));
	return json_pack("{s:s, s:s, s:s, s:o}", "name", c->name, "arguments", c->words, "text",
			 c->text, "options", options);
}

enum ctl_exit run_help(struct ctl *ctl)
{
	const struct command *c =
		command_find((const char *const *)ctl->words, (size_t)ctl->n_words);
	json_t *commands = json_array();

	if (ctl->n_words > 0 && !c) {
		log_error("Unknown command '%.60s'", ctl->words[0]);
		json_decref(commands);
		return CTL_USAGE;
	}
	if (!ctl_json(ctl)) {
		json_decref(commands);
		c ? print_command(c) : print_all();
		return CTL_OK;
	}
	if (c)
		(void)json_array_append_new(commands, command_json(c));
	for (size_t i = 0; !c && command_at(i); i++)
		if (!command_at(i)->hidden)
			(void)json_array_append_new(commands, command_json(command_at(i)));
	return output_json(json_pack("{s:i, s:o}", "schema", 1, "commands", commands));
}
