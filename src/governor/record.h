/* SPDX-License-Identifier: Apache-2.0 */
/* The record of governors: everything each one gets and decides, as text, so that the same inputs
 * can be fed to new governors and give the same bytes. One file may hold several cards (numbered)
 * and several configurations of one card (a reload); tables are written in full, so nothing else is
 * needed: those in force with masks first, then those without. Lines, fields separated by one
 * blank, in a fixed order:
 *
 *	cofris-record 8
 *	card, table, row, model		one configuration of a card,
 *	menu, rates, clock, option, point	with the menu of each model that has one;
 *					an option has points as far as tails are kept,
 *	ready				and its end
 *	input, in			one step's input, a line "in" for each model
 *	decision, out			its decision, a line "out" for each model
 *
 * Doubles carry 17 digits and come back as they were; every NaN is "nan". Files are hostile: each
 * line, count, number and index is bounded, and refusals name the line. */
#pragma once

#include "governor/governor.h"
#include <stdio.h>

#define RECORD_VERSION	 9
#define RECORD_MAX_CARDS 64
#define RECORD_LINE_MAX	 4096 /* bytes with the newline */
/* Enough for any single call below. */
#define RECORD_STEP_BYTES_MAX	((GOVERNOR_MAX_MODELS + 1) * 640)
#define RECORD_MAX_TABLES	(2 * GOVERNOR_MAX_MODELS)
#define RECORD_MAX_POINTS	(1u << 22) /* of all menus of a configuration */
#define RECORD_CONFIG_BYTES_MAX (4096 + RECORD_MAX_TABLES * (TABLE_MAX_ROWS + 4) * 512)

/* Each formats whole lines into buffer and returns their length (a NUL follows), -ENOSPC with
 * buffer undefined, or -EINVAL for a model's name that is none. No allocation; the same arguments
 * give the same bytes in any locale. */
int record_format_start(char *buffer, size_t size);
/* bdf: for the reader's eyes, or NULL. inherit: this governor took over from the card's previous
 * one with governor_inherit(). */
int record_format_config(char *buffer, size_t size, uint32_t card, const char *bdf, bool inherit,
			 const struct governor_config *config);
/* Menus are long, so they follow in pieces: for each model that has one, in order, its pieces from
 * 0 to the number of its options. */
int record_format_menu(char *buffer, size_t size, uint32_t card, uint32_t model,
		       const struct response_menu *menu, uint32_t piece);
/* Ends what record_format_config() began. */
int record_format_ready(char *buffer, size_t size, uint32_t card);
int record_format_input(char *buffer, size_t size, uint32_t card, uint32_t n_models,
			const struct governor_input *input);
int record_format_decision(char *buffer, size_t size, uint32_t card,
			   const struct governor_decision *decision);

enum record_kind { RECORD_END, RECORD_CONFIG, RECORD_INPUT, RECORD_DECISION };

/* A configuration with the tables that it points to. */
struct record_config {
	struct governor_config config;
	char policy[GOVERNOR_MAX_MODELS][24];
	struct response_table *tables[RECORD_MAX_TABLES];
	struct response_menu *menus[GOVERNOR_MAX_MODELS];
};
struct record_config *record_config_free(struct record_config *c);
DEFINE_CLEANUP(struct record_config *, record_config_free)

struct record_item {
	enum record_kind kind;
	uint32_t card;
	unsigned int line; /* where it begins */
	const char *text;  /* of an input or decision: its lines as read, the reader's */
	size_t text_length;
	uint32_t n_models; /* of an input */
	bool inherit;	   /* of a configuration */
	char bdf[PCI_BDF_LENGTH + 1];
	struct record_config *config; /* the caller's to free */
	struct governor_input input;
	struct governor_decision decision;
};

struct record_error {
	unsigned int line; /* 0: the file as a whole */
	char text[192];
};

struct record_reader;

/* Reads and checks the first line. f stays the caller's. 0, or -EBADMSG (not a record),
 * -EPROTONOSUPPORT (another version), -ENOMEM or the errno of reading, with *ret_error filled. */
int record_reader_new(FILE *f, struct record_reader **ret, struct record_error *ret_error);
struct record_reader *record_reader_free(struct record_reader *r);
DEFINE_CLEANUP(struct record_reader *, record_reader_free)

/* The next item, whole and checked (kind RECORD_END at the end of the file). An input or decision
 * before its card's configuration, or with another number of models, is refused. 0, or -EBADMSG,
 * -ENOMEM or the errno of reading, with *ret_error filled and *ret undefined. */
int record_read(struct record_reader *r, struct record_item *ret, struct record_error *ret_error);
