/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. Parsing, help texts and completion are all made of one table of commands and
 * one of options. */
#pragma once

#include "ctl/client.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_id {
	OPTION_MODEL,
	OPTION_RPS,
	OPTION_LAST,
	OPTION_LEVEL,
	OPTION_REASON,
	OPTION_FOR,
	OPTION_ONCE,
	OPTION_JSON, /* from here on those of every command */
	OPTION_BUS,
	OPTION_HELP,
	OPTION_VERSION,
	N_OPTIONS,
};
#define OPTION_BIT(id)	 (1u << (id))
#define OPTIONS_OF_EVERY (OPTION_BIT(N_OPTIONS) - OPTION_BIT(OPTION_JSON))

struct option_row {
	const char *name;
	char letter;		/* 0: none */
	const char *argument;	/* as help shows it; NULL: takes none */
	const char *text;	/* for help */
	const char *completion; /* of its argument: words, or a COMPLETE_ below; NULL: nothing */
};

/* What a word may be, for completion; anything else is the words themselves, between blanks. */
#define COMPLETE_GPU	 "<gpu>"
#define COMPLETE_MODEL	 "<model>"
#define COMPLETE_FILE	 "<file>"
#define COMPLETE_COMMAND "<command>"
#define COMPLETE_NAME	 "<name>" /* of a command of ours */

#define COMMAND_MAX_WORDS 2 /* that are completed, beyond the name's */

struct ctl;
struct command {
	const char *name;  /* of one word or two */
	const char *words; /* what follows, as help shows it */
	const char *text;  /* for help */
	int min_words, max_words;
	uint32_t options; /* OPTION_BIT() of its own ones */
	const char *completion[COMMAND_MAX_WORDS];
	enum ctl_exit (*run)(struct ctl *ctl);
	bool hidden;
};

/* A command line. */
struct ctl {
	struct ctl_client client;
	const struct command *command;
	const char *values[N_OPTIONS]; /* NULL: not given; "" of those without an argument */
	char **words;		       /* of the command, without its name */
	int n_words;
};

/* The commands, in the order of the help text; NULL past the end. */
const struct command *command_at(size_t i);
/* By its name of n_words words. */
const struct command *command_find(const char *const *words, size_t n_words);
const struct option_row *option_at(enum option_id id);
bool command_takes(const struct command *command, enum option_id id);

/* Fills ctl. argv is reordered, and must outlive ctl. 0, or -EINVAL after saying what is wrong,
 * with the command if it was known already, else NULL. */
int options_parse(int argc, char **argv, struct ctl *ctl);

static inline bool ctl_json(const struct ctl *ctl)
{
	return ctl->values[OPTION_JSON];
}
