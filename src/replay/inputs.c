/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/inputs.h"
#include "replay/explain-text.h"
#include <errno.h>
#include <string.h>

/* One card's governor, with the configuration that it borrows its tables from. */
struct card {
	struct governor *governor;
	struct record_config *config;
	char bdf[PCI_BDF_LENGTH + 1];
	bool stepped; /* decision holds what the recorded one has to be */
	struct governor_decision decision;
};

struct replay {
	struct card cards[RECORD_MAX_CARDS];
	uint64_t explain; /* a decision's number, or 0 */
	struct record_item item;
	char text[RECORD_STEP_BYTES_MAX];
};

static struct replay *replay_free(struct replay *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(r->cards); i++) {
		governor_free(r->cards[i].governor);
		record_config_free(r->cards[i].config);
	}
	free(r);
	return NULL;
}
DEFINE_CLEANUP(struct replay *, replay_free)

static int fail(struct record_error *e, unsigned int line, int r, const char *text)
{
	e->line = line;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	return r;
}

static int configure(struct card *card, struct record_item *item, struct record_error *error)
{
	_cleanup_(record_config_freep) struct record_config *config = TAKE_PTR(item->config);
	_cleanup_(governor_freep) struct governor *g = NULL;
	int r;

	r = governor_new(&config->config, &g);
	if (r == -EINVAL)
		return fail(error, item->line, r,
			    "no governor takes this configuration (levels, or an unknown policy)");
	if (r < 0)
		return fail(error, item->line, r, "out of memory");
	if (item->inherit && !card->governor)
		return fail(error, item->line, -EBADMSG, "nothing to inherit from");
	if (item->inherit)
		governor_inherit(g, card->governor);
	governor_free(card->governor);
	record_config_free(card->config);
	card->governor = TAKE_PTR(g);
	card->config = TAKE_PTR(config);
	card->stepped = false;
	memcpy(card->bdf, item->bdf, sizeof(card->bdf));
	return 0;
}

/* Copies the line that begins at text + offset. */
static void copy_line(const char *text, size_t offset, char ret[INPUTS_TEXT_MAX])
{
	(void)snprintf(ret, INPUTS_TEXT_MAX, "%.*s", (int)strcspn(text + offset, "\n"),
		       text + offset);
}

static void note_difference(const struct record_item *item, const char *replayed,
			    struct inputs_difference *ret)
{
	size_t begin = 0;

	ret->line = item->line;
	ret->card = item->card;
	for (size_t i = 0; item->text[i] && item->text[i] == replayed[i]; i++) {
		if (item->text[i] != '\n')
			continue;
		begin = i + 1;
		ret->line++;
	}
	copy_line(item->text, begin, ret->recorded);
	copy_line(replayed, begin, ret->replayed);
}

static int compare(struct replay *r, struct inputs_result *result, struct record_error *error)
{
	const struct record_item *item = &r->item;
	struct card *card = &r->cards[item->card];
	int n;

	if (!card->stepped)
		return fail(error, item->line, -EBADMSG, "a decision without an input before it");
	card->stepped = false;
	n = record_format_decision(r->text, sizeof(r->text), item->card, &card->decision);
	if (n < 0)
		return fail(error, item->line, n, "cannot write the decision");
	result->decisions++;
	if (strcmp(r->text, item->text) == 0)
		return 0;
	if (result->differing++ == 0)
		note_difference(item, r->text, &result->first);
	return 0;
}

static void step(struct replay *r, struct inputs_result *result)
{
	struct card *card = &r->cards[r->item.card];

	governor_step(card->governor, &r->item.input, &card->decision);
	card->stepped = true;
	if (r->explain == 0 || card->decision.number != r->explain)
		return;
	result->explained++;
	(void)printf("card %u%s%s, ", r->item.card, card->bdf[0] ? " " : "", card->bdf);
	explain_text_print(stdout, card->governor, &card->config->config, &r->item.input,
			   &card->decision);
}

static int take_item(struct replay *r, struct inputs_result *result, struct record_error *error)
{
	struct card *card = &r->cards[r->item.card];

	switch (r->item.kind) {
	case RECORD_CONFIG:
		result->configurations++;
		return configure(card, &r->item, error);
	case RECORD_INPUT:
		result->inputs++;
		step(r, result);
		return 0;
	case RECORD_DECISION:
		return compare(r, result, error);
	case RECORD_END:
		break;
	}
	return 0;
}

int inputs_replay(FILE *f, uint64_t explain, struct inputs_result *ret,
		  struct record_error *ret_error)
{
	_cleanup_(record_reader_freep) struct record_reader *reader = NULL;
	_cleanup_(replay_freep) struct replay *replay = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	replay = calloc(1, sizeof(*replay));
	if (!replay)
		return fail(ret_error, 0, -ENOMEM, "out of memory");
	replay->explain = explain;
	r = record_reader_new(f, &reader, ret_error);
	if (r < 0)
		return r;
	do {
		r = record_read(reader, &replay->item, ret_error);
		if (r == 0)
			r = take_item(replay, ret, ret_error);
	} while (r == 0 && replay->item.kind != RECORD_END);
	return r;
}
