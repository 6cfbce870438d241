/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/record-cursor.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct record_config *record_config_free(struct record_config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(c->tables); i++)
		free(c->tables[i]);
	for (size_t i = 0; i < ARRAY_SIZE(c->menus); i++)
		free(c->menus[i]);
	free(c);
	return NULL;
}

static int read_row(struct record_reader *r, uint32_t card, uint32_t index, uint32_t i,
		    struct table_row *row, struct record_error *error)
{
	struct record_cursor c;
	int n;

	n = record_expect_config(r, "row", card, &c, error);
	if (n < 0)
		return n;
	record_take_index(&c, "table", index);
	record_take_index(&c, "row", i);
	return record_take_fields(&c, &record_line_row, row);
}

static int read_rows(struct record_reader *r, uint32_t card, uint32_t index,
		     struct response_table *t, struct record_error *error)
{
	for (uint32_t i = 0; i <= t->n_rows; i++) {
		struct table_row *row = i < t->n_rows ? &t->rows[i] : &t->baseline;
		int n = read_row(r, card, index, i, row, error);

		if (n < 0)
			return n;
		if (i > 0 && i < t->n_rows && row->rate_rps < t->rows[i - 1].rate_rps)
			return record_refuse(error, r->line, -EBADMSG, "rates do not ascend");
	}
	return 0;
}

static int read_table(struct record_reader *r, uint32_t card, struct record_cursor *c,
		      struct record_config *config, struct record_error *error)
{
	_cleanup_(freep) struct response_table *t = NULL;
	uint32_t index;
	int n;

	t = calloc(1, sizeof(*t));
	if (!t)
		return record_refuse(error, r->line, -ENOMEM, "out of memory");
	index = record_take_u32(c, "table", RECORD_MAX_TABLES - 1);
	if (c->r == 0 && (index >= 2 * config->config.n_models || config->tables[index]))
		CURSOR_REFUSE(c, "table %" PRIu32 " is beyond the models' or given twice", index);
	n = record_take_fields(c, &record_line_table, t);
	if (n < 0)
		return n;
	if (t->n_rows == 0)
		return record_refuse(error, r->line, -EBADMSG, "a table without rows");
	n = read_rows(r, card, index, t, error);
	if (n < 0)
		return n;
	config->tables[index] = TAKE_PTR(t);
	return 0;
}

/* A table of the record, or "-": none. */
static const struct response_table *take_table(struct record_cursor *c, const char *what,
					       const struct record_config *config)
{
	uint32_t index;

	if (c->rest && c->rest[0] == '-' && (!c->rest[1] || c->rest[1] == ' ')) {
		(void)record_take_text(c, what);
		return NULL;
	}
	index = record_take_u32(c, what, RECORD_MAX_TABLES - 1);
	if (c->r == 0 && !config->tables[index])
		CURSOR_REFUSE(c, "%s %" PRIu32 " is not in the record", what, index);
	return config->tables[index];
}

static int read_model(struct record_cursor *c, uint32_t i, struct record_config *config)
{
	struct governor_model_config *m = &config->config.models[i];
	const char *policy;

	record_take_index(c, "model", i);
	record_take_model_name(c, "name", m->name);
	policy = record_take_text(c, "policy");
	if (c->r == 0 && strlen(policy) >= sizeof(config->policy[i]))
		CURSOR_REFUSE(c, "policy '%.40s': no policy has so long a name", policy);
	(void)snprintf(config->policy[i], sizeof(config->policy[i]), "%s", policy);
	m->policy = config->policy[i];
	m->priority = record_take_u32(c, "priority", UINT32_MAX);
	m->use_mask = record_take_u64(c, "use_mask", 1);
	m->max_batch = record_take_u32(c, "max_batch", UINT32_MAX);
	m->table = take_table(c, "table", config);
	m->clock_table = take_table(c, "clock table", config);
	m->headroom = record_take_finite(c, "headroom");
	m->late_cost = record_take_finite(c, "late_cost");
	return record_take_end(c);
}

static void take_topology(struct record_cursor *c, struct cu_topology *t)
{
	t->n_se = record_take_u32(c, "n_se", CU_MAX_SE);
	t->n_sh_per_se = record_take_u32(c, "n_sh_per_se", CU_MAX_SH);
	t->n_xcc = record_take_u32(c, "n_xcc", CU_MAX_SE);
	t->wgp_pairs = record_take_u64(c, "wgp_pairs", 1);
	for (uint32_t se = 0; se < t->n_se; se++)
		for (uint32_t sh = 0; sh < t->n_sh_per_se; sh++)
			t->active[se][sh] = (uint8_t)record_take_u64(c, "active", UINT8_MAX);
}

static int read_card(struct record_cursor *c, struct record_item *item)
{
	struct governor_config *config = &item->config->config;
	const char *bdf = record_take_text(c, "bdf");

	if (c->r == 0 && strcmp(bdf, "-") != 0) {
		if (strlen(bdf) != PCI_BDF_LENGTH || !pci_bdf_is_valid(bdf))
			CURSOR_REFUSE(c, "'%.40s' is no PCI address", bdf);
		(void)snprintf(item->bdf, sizeof(item->bdf), "%s", bdf);
	}
	item->inherit = record_take_u64(c, "inherit", 1);
	config->poll_ns = record_take_u64(c, "poll_ns", UINT64_MAX);
	config->power_cap_uw = record_take_u64(c, "power_cap_uw", UINT64_MAX);
	config->n_levels = record_take_u32(c, "n_levels", SURFACE_MAX_LEVELS);
	for (uint32_t i = 0; i < config->n_levels; i++)
		config->level_mhz[i] = record_take_u32(c, "level_mhz", RECORD_MHZ_MAX);
	take_topology(c, &config->topology);
	config->n_models = record_take_u32(c, "n_models", GOVERNOR_MAX_MODELS);
	return record_take_end(c);
}

/* What follows "card": tables, then the models in order, then their menus, then "ready". */
static int read_config_rest(struct record_reader *r, struct record_item *item,
			    struct record_error *error)
{
	struct record_config *config = item->config;
	uint32_t models = 0, points = 0;

	for (;;) {
		int n = record_read_line(r, error);
		struct record_cursor c = {r->line_text, r->line, 0, error};
		const char *keyword;

		if (n <= 0)
			return n < 0 ? n
				     : record_refuse(error, r->line, -EBADMSG,
						     "the file ends inside a configuration");
		keyword = record_take_text(&c, "keyword");
		record_take_index(&c, "card", item->card);
		if (c.r < 0)
			return c.r;
		if (strcmp(keyword, "ready") == 0 && models == config->config.n_models)
			return record_take_end(&c);
		if (strcmp(keyword, "table") == 0 && models == 0)
			n = read_table(r, item->card, &c, config, error);
		else if (strcmp(keyword, "model") == 0 && models < config->config.n_models)
			n = read_model(&c, models++, config);
		else if (strcmp(keyword, "menu") == 0 && models == config->config.n_models)
			n = record_read_menu(r, item->card, &c, config, &points, error);
		else
			n = record_refuse(error, r->line, -EBADMSG,
					  "'%.20s' is not expected here in a configuration",
					  keyword);
		if (n < 0)
			return n;
	}
}

static int read_config(struct record_reader *r, struct record_cursor *c, struct record_item *item,
		       struct record_error *error)
{
	int n;

	item->config = calloc(1, sizeof(*item->config));
	if (!item->config)
		return record_refuse(error, r->line, -ENOMEM, "out of memory");
	n = read_card(c, item);
	if (n == 0)
		n = read_config_rest(r, item, error);
	if (n < 0) {
		item->config = record_config_free(item->config);
		return n;
	}
	r->configured[item->card] = true;
	r->n_models[item->card] = item->config->config.n_models;
	return 0;
}

static int read_model_lines(struct record_reader *r, const struct record_item *item,
			    const struct record_line *line, void *models, size_t size,
			    struct record_error *error)
{
	for (uint32_t i = 0; i < item->n_models; i++) {
		struct record_cursor c;
		int n = record_expect(r, line->keyword, item->card, &c, error);

		if (n < 0)
			return n;
		record_take_index(&c, "model", i);
		n = record_take_fields(&c, line, (char *)models + i * size);
		if (n < 0)
			return n;
	}
	return 0;
}

static int read_step(struct record_reader *r, struct record_cursor *c, struct record_item *item,
		     struct record_error *error)
{
	bool input = item->kind == RECORD_INPUT;
	int n;

	if (!r->configured[item->card])
		return record_refuse(error, r->line, -EBADMSG,
				     "card %" PRIu32 " is not configured yet", item->card);
	item->n_models = r->n_models[item->card];
	item->decision.n_models = input ? 0 : item->n_models;
	n = input ? record_take_fields(c, &record_line_input, &item->input)
		  : record_take_fields(c, &record_line_decision, &item->decision);
	if (n < 0)
		return n;
	n = input ? read_model_lines(r, item, &record_line_in, item->input.models,
				     sizeof(item->input.models[0]), error)
		  : read_model_lines(r, item, &record_line_out, item->decision.models,
				     sizeof(item->decision.models[0]), error);
	item->text = r->text;
	item->text_length = r->text_length;
	return n;
}

static const struct {
	const char *keyword;
	enum record_kind kind;
	int (*read)(struct record_reader *r, struct record_cursor *c, struct record_item *item,
		    struct record_error *error);
} items[] = {
	{"card", RECORD_CONFIG, read_config},
	{"input", RECORD_INPUT, read_step},
	{"decision", RECORD_DECISION, read_step},
};

int record_read(struct record_reader *r, struct record_item *ret, struct record_error *ret_error)
{
	struct record_cursor c;
	const char *keyword;
	int n;

	memset(ret, 0, sizeof(*ret));
	r->text_length = 0;
	n = record_read_line(r, ret_error);
	if (n <= 0)
		return n;
	n = record_keep_text(r, ret_error);
	if (n < 0)
		return n;
	c = (struct record_cursor){r->line_text, r->line, 0, ret_error};
	ret->line = r->line;
	keyword = record_take_text(&c, "keyword");
	ret->card = record_take_u32(&c, "card", RECORD_MAX_CARDS - 1);
	if (c.r < 0)
		return c.r;
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		if (strcmp(keyword, items[i].keyword) != 0)
			continue;
		ret->kind = items[i].kind;
		return items[i].read(r, &c, ret, ret_error);
	}
	return record_refuse(ret_error, r->line, -EBADMSG,
			     "'%.20s': expected card, input or decision", keyword);
}

int record_reader_new(FILE *f, struct record_reader **ret, struct record_error *ret_error)
{
	_cleanup_(freep) struct record_reader *r = NULL;
	struct record_cursor c;
	const char *keyword;
	uint32_t version;
	int n;

	r = calloc(1, sizeof(*r));
	if (!r)
		return record_refuse(ret_error, 0, -ENOMEM, "out of memory");
	r->file = f;
	n = record_read_line(r, ret_error);
	if (n < 0)
		return n;
	c = (struct record_cursor){r->line_text, r->line, 0, ret_error};
	keyword = record_take_text(&c, "keyword");
	if (n == 0 || strcmp(keyword, "cofris-record") != 0)
		return record_refuse(ret_error, 1, -EBADMSG, "not a record: it begins otherwise");
	version = record_take_u32(&c, "version", UINT32_MAX);
	if (record_take_end(&c) < 0)
		return c.r;
	if (version != RECORD_VERSION)
		return record_refuse(ret_error, 1, -EPROTONOSUPPORT,
				     "record version %" PRIu32 ": expected %d", version,
				     RECORD_VERSION);
	*ret = TAKE_PTR(r);
	return 0;
}

struct record_reader *record_reader_free(struct record_reader *r)
{
	free(r);
	return NULL;
}
