/* SPDX-License-Identifier: Apache-2.0 */
/* Bash's completion, made of the tables of commands and options. What only the daemon knows, cards
 * and models, the script asks for when it is needed. */
#include "base/log.h"
#include "base/macros.h"
#include "ctl/commands.h"
#include <string.h>

static void print_options_of(const struct command *c)
{
	const char *blank = "";

	for (enum option_id id = 0; id < N_OPTIONS; id++)
		if (!c || command_takes(c, id)) {
			(void)printf("%s--%s", blank, option_at(id)->name);
			blank = " ";
		}
}

/* The first words of the commands' names. */
static void print_first_names(void)
{
	const struct command *c;

	(void)printf("_cofrisctl_words \"");
	for (size_t i = 0; (c = command_at(i)); i++)
		if (!c->hidden)
			(void)printf("%s%.*s", i > 0 ? " " : "", (int)strcspn(c->name, " "),
				     c->name);
	(void)printf("\"");
}

/* The statement that completes one word. */
static void print_reply(const char *completion)
{
	if (!completion)
		(void)puts(":");
	else if (strcmp(completion, COMPLETE_GPU) == 0)
		(void)puts("_cofrisctl_words \"$(cofrisctl \"${bus[@]}\" completion gpus "
			   "2>/dev/null)\"");
	else if (strcmp(completion, COMPLETE_MODEL) == 0)
		(void)puts("_cofrisctl_words \"$(cofrisctl \"${bus[@]}\" completion models "
			   "2>/dev/null)\"");
	else if (strcmp(completion, COMPLETE_NAME) == 0) {
		print_first_names();
		(void)puts("");
	} else if (strcmp(completion, COMPLETE_FILE) == 0)
		(void)puts("mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")");
	else if (strcmp(completion, COMPLETE_COMMAND) == 0)
		(void)puts("mapfile -t COMPREPLY < <(compgen -c -- \"$cur\")");
	else
		(void)printf("_cofrisctl_words \"%s\"\n", completion);
}

/* After an option that takes an argument. */
static void print_option_cases(void)
{
	(void)puts("\tcase $prev in");
	for (enum option_id id = 0; id < N_OPTIONS; id++) {
		const struct option_row *o = option_at(id);

		if (!o->argument)
			continue;
		(void)printf("\t--%s) ", o->name);
		print_reply(o->completion);
		(void)puts("\t\treturn ;;");
	}
	(void)puts("\tesac");
}

/* How many words there are in front tells which of the command's is meant. */
static void print_command_cases(void)
{
	const struct command *c;

	for (size_t i = 0; (c = command_at(i)); i++) {
		if (c->hidden)
			continue;
		(void)printf("\t'%s') options='", c->name);
		print_options_of(c);
		(void)puts("'");
		for (int word = 0; word < COMMAND_MAX_WORDS && c->completion[word]; word++) {
			(void)printf("\t\t[[ $n != %d || $cur == -* ]] || ", word);
			print_reply(c->completion[word]);
		}
		(void)puts("\t\t;;");
	}
}

/* Before there is a command; and the second words of those that have two. */
static void print_names(void)
{
	const struct command *c;

	(void)printf("\t'') options='");
	print_options_of(NULL);
	(void)printf("'\n\t\t");
	print_first_names();
	(void)puts(" ;;");
	for (size_t i = 0; (c = command_at(i)); i++) {
		const char *second = strchr(c->name, ' ');

		if (second)
			(void)printf("\t'%.*s') _cofrisctl_words \"%s\" ;;\n",
				     (int)(second - c->name), c->name, second + 1);
	}
}

/* Two-word commands' first words, as a pattern. */
static void print_first_words(void)
{
	const struct command *c;
	const char *bar = "";

	for (size_t i = 0; (c = command_at(i)); i++) {
		const char *second = strchr(c->name, ' ');

		if (second) {
			(void)printf("%s%.*s", bar, (int)(second - c->name), c->name);
			bar = " | ";
		}
	}
}

/* As print_first_words() of options with an argument, for the scan. */
static void print_with_argument(void)
{
	const char *bar = "";

	for (enum option_id id = 0; id < N_OPTIONS; id++)
		if (option_at(id)->argument) {
			(void)printf("%s--%s", bar, option_at(id)->name);
			bar = " | ";
		}
}

static void print_bash(void)
{
	(void)puts(
		"# bash completion for cofrisctl(1); made by 'cofrisctl completion bash'\n"
		"_cofrisctl_words() {\n"
		"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
		"}\n\n"
		"_cofrisctl() {\n"
		"\tlocal cur prev command='' options='' word i n=0 bus=() words=()\n"
		"\t# Bash splits at ':' and '=', of which a PCI address has some.\n"
		"\tfor ((i = 0; i <= COMP_CWORD; i++)); do\n"
		"\t\tword=${COMP_WORDS[i]}\n"
		"\t\tif ((i > 1)) && [[ $word == [:=]* || ${COMP_WORDS[i - 1]} == *[:=] ]]; then\n"
		"\t\t\twords[-1]+=$word\n"
		"\t\telse\n"
		"\t\t\twords+=(\"$word\")\n"
		"\t\tfi\n"
		"\tdone\n"
		"\tcur=${words[-1]} prev=${words[-2]}\n"
		"\t[[ $cur != --*=* ]] || { prev=${cur%%=*} cur=${cur#*=}; }\n"
		"\tCOMPREPLY=()");
	(void)puts("\tfor ((i = 1; i < ${#words[@]} - 1; i++)); do\n"
		   "\t\tcase ${words[i]} in");
	(void)puts("\t\t--bus) bus=(--bus \"${words[++i]}\") ;;");
	(void)printf("\t\t");
	print_with_argument();
	(void)puts(") ((++i)) ;;\n"
		   "\t\t--) ;;\n"
		   "\t\t-*) ;;");
	(void)printf("\t\t*) case $command in\n\t\t\t'' | ");
	print_first_words();
	(void)puts(") command=\"${command:+$command }${words[i]}\" ;;\n"
		   "\t\t\t*) ((++n)) ;;\n"
		   "\t\t\tesac ;;\n"
		   "\t\tesac\n"
		   "\tdone");
	print_option_cases();
	(void)puts("\tcase $command in");
	print_names();
	print_command_cases();
	(void)puts(
		"\tesac\n"
		"\t[[ $cur != -* ]] || _cofrisctl_words \"$options\"\n"
		"\tlocal colons=\"${cur%\"${cur##*:}\"}\"\n"
		"\t[[ $COMP_WORDBREAKS != *:* ]] || COMPREPLY=(\"${COMPREPLY[@]#\"$colons\"}\")\n"
		"}\n\n"
		"complete -F _cofrisctl cofrisctl");
}

/* Names of what is governed, one a line. */
static enum ctl_exit print_known(struct ctl *ctl, bool gpus)
{
	json_t *root, *gpu, *model;
	enum ctl_exit result = ctl_call_json(&ctl->client, "GetStatus", &root, "");
	size_t i, k;

	if (result != CTL_OK)
		return result;
	json_array_foreach(json_object_get(root, "gpus"), i, gpu)
	{
		if (gpus)
			(void)puts(json_string_value(json_object_get(gpu, "bdf")) ?: "");
		/* Each card has the same models. */
		json_array_foreach(json_object_get(gpu, "models"), k, model) if (!gpus && i == 0)(
			void) puts(json_string_value(json_object_get(model, "name")) ?: "");
	}
	json_decref(root);
	return CTL_OK;
}

enum ctl_exit run_completion(struct ctl *ctl)
{
	const char *what = ctl->words[0];

	if (strcmp(what, "gpus") == 0 || strcmp(what, "models") == 0)
		return print_known(ctl, *what == 'g');
	if (strcmp(what, "bash") != 0) {
		log_error("Usage: cofrisctl completion bash|gpus|models");
		return CTL_USAGE;
	}
	print_bash();
	return CTL_OK;
}
