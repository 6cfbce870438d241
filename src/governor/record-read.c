/* SPDX-License-Identifier: Apache-2.0 */
/* Everything here is hostile until taken through a cursor, whose first refusal sticks: later takes
 * give 0 and leave the text of the first. */
#include "governor/record-format.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

struct record_reader {
	FILE *file;
	unsigned int line;
	bool configured[RECORD_MAX_CARDS];
	uint32_t n_models[RECORD_MAX_CARDS];
	char line_text[RECORD_LINE_MAX + 1];
	size_t text_length;
	char text[RECORD_STEP_BYTES_MAX + 1];
};

struct cursor {
	char *rest; /* NULL after the last field */
	unsigned int line;
	int r;
	struct record_error *error;
};

static int _printf_(4, 5)
	refuse(struct record_error *e, unsigned int line, int r, const char *format, ...)
{
	va_list ap;

	e->line = line;
	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return r;
}

#define CURSOR_REFUSE(c, ...)                                                                      \
	do {                                                                                       \
		if ((c)->r == 0)                                                                   \
			(c)->r = refuse((c)->error, (c)->line, -EBADMSG, __VA_ARGS__);             \
	} while (0)

static const char *take_text(struct cursor *c, const char *what)
{
	char *field = c->rest, *end;

	if (c->r < 0)
		return "";
	if (!field || !*field || *field == ' ') {
		CURSOR_REFUSE(c, "field '%s' is missing", what);
		return "";
	}
	end = strchr(field, ' ');
	if (end)
		*end++ = '\0';
	c->rest = end;
	return field;
}

static uint64_t take_u64(struct cursor *c, const char *what, uint64_t max)
{
	const char *text = take_text(c, what);
	uint64_t value = 0;

	if (c->r < 0)
		return 0;
	if (parse_u64(text, &value) < 0 || value > max) {
		CURSOR_REFUSE(c, "%s = '%.40s': expected an integer up to %" PRIu64, what, text,
			      max);
		return 0;
	}
	return value;
}

static uint32_t take_u32(struct cursor *c, const char *what, uint32_t max)
{
	return (uint32_t)take_u64(c, what, max);
}

static double take_double(struct cursor *c, const struct record_field *f)
{
	const char *text = take_text(c, f->name);
	double value = 0;

	if (c->r < 0)
		return 0;
	if (f->type != RECORD_FINITE && strcmp(text, "nan") == 0)
		return NAN;
	if (f->type == RECORD_DOUBLE && strcmp(text, "inf") == 0)
		return INFINITY;
	if (f->type == RECORD_DOUBLE && strcmp(text, "-inf") == 0)
		return -INFINITY;
	if (parse_double(text, &value) < 0 ||
	    (f->type != RECORD_DOUBLE && !(value >= 0 && value <= RECORD_FINITE_MAX))) {
		CURSOR_REFUSE(c, "%s = '%.40s': expected a number%s", f->name, text,
			      f->type == RECORD_DOUBLE ? "" : " from 0 to 1e18");
		return 0;
	}
	return value;
}

static unsigned int take_name(struct cursor *c, const struct record_field *f)
{
	const char *text = take_text(c, f->name);

	for (unsigned int i = 0; i < f->max; i++)
		if (strcmp(text, f->name_of(i)) == 0)
			return i;
	CURSOR_REFUSE(c, "%s = '%.40s': not a name that is known", f->name, text);
	return 0;
}

static void take_model_name(struct cursor *c, const char *what, char ret[MODEL_NAME_MAX + 1])
{
	const char *text = take_text(c, what);

	if (c->r == 0 && !model_name_is_valid(text))
		CURSOR_REFUSE(c, "%s = '%.40s': not a model's name", what, text);
	if (c->r == 0)
		(void)snprintf(ret, MODEL_NAME_MAX + 1, "%s", text);
}

static void take_field(struct cursor *c, const struct record_field *f, void *object)
{
	void *p = (char *)object + f->offset;

	switch (f->type) {
	case RECORD_U16:
		*(uint16_t *)p = (uint16_t)take_u64(c, f->name, f->max);
		break;
	case RECORD_U32:
		*(uint32_t *)p = take_u32(c, f->name, (uint32_t)f->max);
		break;
	case RECORD_U64:
		*(uint64_t *)p = take_u64(c, f->name, f->max);
		break;
	case RECORD_BOOL:
		*(bool *)p = take_u64(c, f->name, 1);
		break;
	case RECORD_DOUBLE:
	case RECORD_FINITE:
	case RECORD_POWER:
		*(double *)p = take_double(c, f);
		break;
	case RECORD_MODEL_NAME:
		take_model_name(c, f->name, p);
		break;
	case RECORD_NAME:
		*(unsigned int *)p = take_name(c, f);
		break;
	}
}

static int take_end(struct cursor *c)
{
	if (c->rest)
		CURSOR_REFUSE(c, "text after the last field: '%.40s'", c->rest);
	return c->r;
}

static int take_fields(struct cursor *c, const struct record_line *line, void *object)
{
	for (unsigned int i = 0; i < line->n_fields; i++)
		take_field(c, &line->fields[i], object);
	return take_end(c);
}

/* An index that has to be the one expected: records have no gaps and no order of their own. */
static void take_index(struct cursor *c, const char *what, uint32_t expected)
{
	uint32_t value = take_u32(c, what, UINT32_MAX);

	if (c->r == 0 && value != expected)
		CURSOR_REFUSE(c, "%s %" PRIu32 ": expected %" PRIu32, what, value, expected);
}

/* Reads a line, without its newline, into line_text. 1, 0 at the end of the file, or an error. */
static int read_line(struct record_reader *r, struct record_error *error)
{
	size_t n;

	errno = 0;
	if (!fgets(r->line_text, sizeof(r->line_text), r->file)) {
		if (ferror(r->file))
			return refuse(error, r->line, errno ? -errno : -EIO, "cannot be read");
		return 0;
	}
	r->line++;
	n = strlen(r->line_text);
	if (n == 0 || r->line_text[n - 1] != '\n')
		return refuse(error, r->line, -EBADMSG,
			      "line is cut off, holds a NUL, or is longer than %d bytes",
			      RECORD_LINE_MAX - 1);
	r->line_text[n - 1] = '\0';
	return 1;
}

/* Appends the line read to the item's text, before a cursor cuts it up. */
static int keep_text(struct record_reader *r, struct record_error *error)
{
	size_t n = strlen(r->line_text);

	if (r->text_length + n + 1 >= sizeof(r->text))
		return refuse(error, r->line, -EBADMSG, "more text than a step can have");
	memcpy(r->text + r->text_length, r->line_text, n);
	r->text[r->text_length + n] = '\n';
	r->text_length += n + 1;
	r->text[r->text_length] = '\0';
	return 0;
}

/* The next line, which has to begin with keyword, then the card's number. */
static int expect(struct record_reader *r, const char *keyword, uint32_t card, struct cursor *ret,
		  struct record_error *error)
{
	int n = read_line(r, error);
	const char *found;

	if (n < 0)
		return n;
	if (n == 0)
		return refuse(error, r->line, -EBADMSG, "the file ends where '%s' is expected",
			      keyword);
	n = keep_text(r, error);
	if (n < 0)
		return n;
	*ret = (struct cursor){r->line_text, r->line, 0, error};
	found = take_text(ret, "keyword");
	if (ret->r == 0 && strcmp(found, keyword) != 0)
		CURSOR_REFUSE(ret, "'%.20s': expected '%s'", found, keyword);
	take_index(ret, "card", card);
	return ret->r;
}

struct record_config *record_config_free(struct record_config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(c->tables); i++)
		free(c->tables[i]);
	free(c);
	return NULL;
}

static int read_row(struct record_reader *r, uint32_t card, uint32_t index, uint32_t i,
		    struct table_row *row, struct record_error *error)
{
	struct cursor c;
	int n;

	/* A configuration is as long as its tables; its text is not kept. */
	r->text_length = 0;
	n = expect(r, "row", card, &c, error);
	if (n < 0)
		return n;
	take_index(&c, "table", index);
	take_index(&c, "row", i);
	return take_fields(&c, &record_line_row, row);
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
			return refuse(error, r->line, -EBADMSG, "rates do not ascend");
	}
	return 0;
}

static int read_table(struct record_reader *r, uint32_t card, struct cursor *c,
		      struct record_config *config, struct record_error *error)
{
	_cleanup_(freep) struct response_table *t = NULL;
	uint32_t index;
	int n;

	t = calloc(1, sizeof(*t));
	if (!t)
		return refuse(error, r->line, -ENOMEM, "out of memory");
	index = take_u32(c, "table", RECORD_MAX_TABLES - 1);
	if (c->r == 0 && (index >= 2 * config->config.n_models || config->tables[index]))
		CURSOR_REFUSE(c, "table %" PRIu32 " is beyond the models' or given twice", index);
	n = take_fields(c, &record_line_table, t);
	if (n < 0)
		return n;
	if (t->n_rows == 0)
		return refuse(error, r->line, -EBADMSG, "a table without rows");
	n = read_rows(r, card, index, t, error);
	if (n < 0)
		return n;
	config->tables[index] = TAKE_PTR(t);
	return 0;
}

/* A table of the record, or "-": none. */
static const struct response_table *take_table(struct cursor *c, const char *what,
					       const struct record_config *config)
{
	uint32_t index;

	if (c->rest && c->rest[0] == '-' && (!c->rest[1] || c->rest[1] == ' ')) {
		(void)take_text(c, what);
		return NULL;
	}
	index = take_u32(c, what, RECORD_MAX_TABLES - 1);
	if (c->r == 0 && !config->tables[index])
		CURSOR_REFUSE(c, "%s %" PRIu32 " is not in the record", what, index);
	return config->tables[index];
}

static int read_model(struct cursor *c, uint32_t i, struct record_config *config)
{
	struct governor_model_config *m = &config->config.models[i];
	const char *policy;

	take_index(c, "model", i);
	take_model_name(c, "name", m->name);
	policy = take_text(c, "policy");
	if (c->r == 0 && strlen(policy) >= sizeof(config->policy[i]))
		CURSOR_REFUSE(c, "policy '%.40s': no policy has so long a name", policy);
	(void)snprintf(config->policy[i], sizeof(config->policy[i]), "%s", policy);
	m->policy = config->policy[i];
	m->priority = take_u32(c, "priority", UINT32_MAX);
	m->use_mask = take_u64(c, "use_mask", 1);
	m->max_batch = take_u32(c, "max_batch", UINT32_MAX);
	m->table = take_table(c, "table", config);
	m->clock_table = take_table(c, "clock table", config);
	return take_end(c);
}

static void take_topology(struct cursor *c, struct cu_topology *t)
{
	t->n_se = take_u32(c, "n_se", CU_MAX_SE);
	t->n_sh_per_se = take_u32(c, "n_sh_per_se", CU_MAX_SH);
	t->n_xcc = take_u32(c, "n_xcc", CU_MAX_SE);
	t->wgp_pairs = take_u64(c, "wgp_pairs", 1);
	for (uint32_t se = 0; se < t->n_se; se++)
		for (uint32_t sh = 0; sh < t->n_sh_per_se; sh++)
			t->active[se][sh] = (uint8_t)take_u64(c, "active", UINT8_MAX);
}

static int read_card(struct cursor *c, struct record_item *item)
{
	struct governor_config *config = &item->config->config;
	const char *bdf = take_text(c, "bdf");

	if (c->r == 0 && strcmp(bdf, "-") != 0) {
		if (strlen(bdf) != PCI_BDF_LENGTH || !pci_bdf_is_valid(bdf))
			CURSOR_REFUSE(c, "'%.40s' is no PCI address", bdf);
		(void)snprintf(item->bdf, sizeof(item->bdf), "%s", bdf);
	}
	item->inherit = take_u64(c, "inherit", 1);
	config->poll_ns = take_u64(c, "poll_ns", UINT64_MAX);
	config->power_cap_uw = take_u64(c, "power_cap_uw", UINT64_MAX);
	config->n_levels = take_u32(c, "n_levels", SURFACE_MAX_LEVELS);
	for (uint32_t i = 0; i < config->n_levels; i++)
		config->level_mhz[i] = take_u32(c, "level_mhz", RECORD_MHZ_MAX);
	take_topology(c, &config->topology);
	config->n_models = take_u32(c, "n_models", GOVERNOR_MAX_MODELS);
	return take_end(c);
}

/* What follows "card": tables, then the models in order, then "ready". */
static int read_config_rest(struct record_reader *r, struct record_item *item,
			    struct record_error *error)
{
	struct record_config *config = item->config;
	uint32_t models = 0;

	for (;;) {
		int n = read_line(r, error);
		struct cursor c = {r->line_text, r->line, 0, error};
		const char *keyword;

		if (n <= 0)
			return n < 0 ? n
				     : refuse(error, r->line, -EBADMSG,
					      "the file ends inside a configuration");
		keyword = take_text(&c, "keyword");
		take_index(&c, "card", item->card);
		if (c.r < 0)
			return c.r;
		if (strcmp(keyword, "ready") == 0 && models == config->config.n_models)
			return take_end(&c);
		if (strcmp(keyword, "table") == 0 && models == 0)
			n = read_table(r, item->card, &c, config, error);
		else if (strcmp(keyword, "model") == 0 && models < config->config.n_models)
			n = read_model(&c, models++, config);
		else
			n = refuse(error, r->line, -EBADMSG,
				   "'%.20s' is not expected here in a configuration", keyword);
		if (n < 0)
			return n;
	}
}

static int read_config(struct record_reader *r, struct cursor *c, struct record_item *item,
		       struct record_error *error)
{
	int n;

	item->config = calloc(1, sizeof(*item->config));
	if (!item->config)
		return refuse(error, r->line, -ENOMEM, "out of memory");
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
		struct cursor c;
		int n = expect(r, line->keyword, item->card, &c, error);

		if (n < 0)
			return n;
		take_index(&c, "model", i);
		n = take_fields(&c, line, (char *)models + i * size);
		if (n < 0)
			return n;
	}
	return 0;
}

static int read_step(struct record_reader *r, struct cursor *c, struct record_item *item,
		     struct record_error *error)
{
	bool input = item->kind == RECORD_INPUT;
	int n;

	if (!r->configured[item->card])
		return refuse(error, r->line, -EBADMSG, "card %" PRIu32 " is not configured yet",
			      item->card);
	item->n_models = r->n_models[item->card];
	item->decision.n_models = input ? 0 : item->n_models;
	n = input ? take_fields(c, &record_line_input, &item->input)
		  : take_fields(c, &record_line_decision, &item->decision);
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
	int (*read)(struct record_reader *r, struct cursor *c, struct record_item *item,
		    struct record_error *error);
} items[] = {
	{"card", RECORD_CONFIG, read_config},
	{"input", RECORD_INPUT, read_step},
	{"decision", RECORD_DECISION, read_step},
};

int record_read(struct record_reader *r, struct record_item *ret, struct record_error *ret_error)
{
	struct cursor c;
	const char *keyword;
	int n;

	memset(ret, 0, sizeof(*ret));
	r->text_length = 0;
	n = read_line(r, ret_error);
	if (n <= 0)
		return n;
	n = keep_text(r, ret_error);
	if (n < 0)
		return n;
	c = (struct cursor){r->line_text, r->line, 0, ret_error};
	ret->line = r->line;
	keyword = take_text(&c, "keyword");
	ret->card = take_u32(&c, "card", RECORD_MAX_CARDS - 1);
	if (c.r < 0)
		return c.r;
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		if (strcmp(keyword, items[i].keyword) != 0)
			continue;
		ret->kind = items[i].kind;
		return items[i].read(r, &c, ret, ret_error);
	}
	return refuse(ret_error, r->line, -EBADMSG, "'%.20s': expected card, input or decision",
		      keyword);
}

int record_reader_new(FILE *f, struct record_reader **ret, struct record_error *ret_error)
{
	_cleanup_(freep) struct record_reader *r = NULL;
	struct cursor c;
	const char *keyword;
	uint32_t version;
	int n;

	r = calloc(1, sizeof(*r));
	if (!r)
		return refuse(ret_error, 0, -ENOMEM, "out of memory");
	r->file = f;
	n = read_line(r, ret_error);
	if (n < 0)
		return n;
	c = (struct cursor){r->line_text, r->line, 0, ret_error};
	keyword = take_text(&c, "keyword");
	if (n == 0 || strcmp(keyword, "cofris-record") != 0)
		return refuse(ret_error, 1, -EBADMSG, "not a record: it begins otherwise");
	version = take_u32(&c, "version", UINT32_MAX);
	if (take_end(&c) < 0)
		return c.r;
	if (version != RECORD_VERSION)
		return refuse(ret_error, 1, -EPROTONOSUPPORT,
			      "record version %" PRIu32 ": expected %d", version, RECORD_VERSION);
	*ret = TAKE_PTR(r);
	return 0;
}

struct record_reader *record_reader_free(struct record_reader *r)
{
	free(r);
	return NULL;
}
