/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/options.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include <errno.h>
#include <getopt.h>
#include <string.h>

#define FIRST_VALUE  256 /* of getopt_long(), beyond every letter */
#define MAX_COMMANDS 40

static const struct option_row rows[N_OPTIONS] = {
	[OPTION_MODEL] = {"model", 0, "MODEL", "one model", COMPLETE_MODEL},
	[OPTION_RPS] = {"rps", 0, "N", "what would be at N requests per second", NULL},
	[OPTION_LAST] = {"last", 0, "N", "the last N decisions", NULL},
	[OPTION_LEVEL] = {"level", 0, "LEVEL", "full-speed (by default) or rated",
			  "full-speed rated"},
	[OPTION_REASON] = {"reason", 0, "TEXT", "why, for those who see it", NULL},
	[OPTION_FOR] = {"for", 0, "TIME", "end it after so long, as 30min or 2h", "30min 1h 2h 8h"},
	[OPTION_ONCE] = {"once", 0, NULL, "print it once, as text", NULL},
	[OPTION_JSON] = {"json", 'j', NULL, "JSON instead of text", NULL},
	[OPTION_BUS] = {"bus", 0, "ADDRESS", "a bus other than the system's", NULL},
	[OPTION_HELP] = {"help", 'h', NULL, "what there is, or about this command", NULL},
	[OPTION_VERSION] = {"version", 0, NULL, "versions of this program and the daemon", NULL},
};

const struct option_row *option_at(enum option_id id)
{
	return &rows[id];
}

bool command_takes(const struct command *command, enum option_id id)
{
	return (command->options | OPTIONS_OF_EVERY) & OPTION_BIT(id);
}

static size_t words_of(const struct command *c)
{
	return strchr(c->name, ' ') ? 2 : 1;
}

/* Whether the name begins with these words; all of them if they are as many as it has. */
static bool begins_with(const struct command *c, const char *const *words, size_t n_words)
{
	const char *name = c->name;

	for (size_t i = 0; i < MIN(n_words, words_of(c)); i++) {
		size_t n = strcspn(name, " ");

		if (strlen(words[i]) != n || strncmp(words[i], name, n) != 0)
			return false;
		name += n + (name[n] == ' ');
	}
	return n_words > 0;
}

const struct command *command_find(const char *const *words, size_t n_words)
{
	const struct command *c;

	for (size_t i = 0; (c = command_at(i)); i++)
		if (words_of(c) <= n_words && begins_with(c, words, n_words))
			return c;
	return NULL;
}

/* Says why there is none. */
static void say_unknown(const char *const *words, size_t n_words)
{
	const char *names[MAX_COMMANDS], *nearest;
	const struct command *c;
	unsigned int n = 0;

	for (size_t i = 0; (c = command_at(i)) && n < MAX_COMMANDS; i++) {
		if (begins_with(c, words, 1)) {
			if (n_words < 2)
				log_error("Usage: cofrisctl %s %s", c->name, c->words);
			else
				log_error("Unknown command '%s %.60s', expected '%s'", words[0],
					  words[1], c->name);
			return;
		}
		if (!c->hidden)
			names[n++] = c->name;
	}
	nearest = nearest_name(words[0], names, n);
	if (nearest)
		log_error("Unknown command '%.60s', did you mean '%s'?", words[0], nearest);
	else
		log_error("Unknown command '%.60s'", words[0]);
}

/* For getopt_long(); letters has room for two bytes an option. */
static void getopt_tables(struct option options[N_OPTIONS + 1], char *letters)
{
	for (int i = 0; i < N_OPTIONS; i++) {
		options[i] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].argument ? required_argument : no_argument,
			.val = FIRST_VALUE + i,
		};
		if (rows[i].letter)
			*letters++ = rows[i].letter;
	}
	options[N_OPTIONS] = (struct option){0};
	*letters = '\0';
}

static enum option_id option_of(int value)
{
	for (int i = 0; i < N_OPTIONS; i++)
		if (value == FIRST_VALUE + i || (value == rows[i].letter && value))
			return (enum option_id)i;
	return N_OPTIONS;
}

static int check_options(const struct ctl *ctl)
{
	const struct command *c = ctl->command;

	for (enum option_id id = 0; id < N_OPTIONS; id++)
		if (ctl->values[id] && !command_takes(c, id)) {
			log_error("--%s is no option of 'cofrisctl %s'", rows[id].name, c->name);
			return -EINVAL;
		}
	if (ctl->n_words < c->min_words || ctl->n_words > c->max_words) {
		log_error("Usage: cofrisctl %s %s", c->name, c->words);
		return -EINVAL;
	}
	return 0;
}

static int find_command(struct ctl *ctl, char **words, int n_words)
{
	static const char *const version[] = {"version"}, *const help[] = {"help"};
	const struct command *c = NULL;

	if (n_words > 0) {
		c = command_find((const char *const *)words, (size_t)n_words);
		if (!c) {
			say_unknown((const char *const *)words, (size_t)n_words);
			return -EINVAL;
		}
		ctl->words = words + words_of(c);
		ctl->n_words = n_words - (int)words_of(c);
	}
	/* "COMMAND --help" is "help COMMAND". */
	if (ctl->values[OPTION_HELP]) {
		ctl->command = command_find(help, 1);
		ctl->words = words;
		ctl->n_words = c ? (int)words_of(c) : 0;
		return 0;
	}
	if (ctl->values[OPTION_VERSION] && !c)
		c = command_find(version, 1);
	if (!c) {
		log_error("No command; 'cofrisctl help' lists them");
		return -EINVAL;
	}
	ctl->command = c;
	return check_options(ctl);
}

int options_parse(int argc, char **argv, struct ctl *ctl)
{
	struct option options[N_OPTIONS + 1];
	char letters[N_OPTIONS + 1];
	bool bad = false;
	int value;

	getopt_tables(options, letters);
	while ((value = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
		enum option_id id = option_of(value);

		if (id == N_OPTIONS)
			bad = true;
		else
			ctl->values[id] = optarg ? optarg : "";
	}
	/* getopt_long() has said what is wrong; the command is for the exit status. */
	if (bad) {
		ctl->command =
			command_find((const char *const *)argv + optind, (size_t)(argc - optind));
		return -EINVAL;
	}
	ctl->client.address = ctl->values[OPTION_BUS];
	return find_command(ctl, argv + optind, argc - optind);
}
