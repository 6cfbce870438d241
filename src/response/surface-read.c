/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reader of surface files. A file may come from anywhere: every line is bounded and plain
 * text, every value has a range, and what a complete surface must have is checked at the end. */
#include "response/surface-reader.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

/* Returns 1 for a line in r->text, 0 at the end of the file. */
static int read_line(struct reader *r)
{
	size_t length = 0;
	int c;

	r->line++;
	while ((c = getc(r->file)) != EOF) {
		if (++r->bytes > SURFACE_MAX_BYTES)
			return surface_reader_fail(r, -EFBIG, r->line, "larger than %u bytes",
						   SURFACE_MAX_BYTES);
		if (c == '\n') {
			r->text[length] = '\0';
			return 1;
		}
		if (c < ' ' || c > '~')
			return bad(r, "byte 0x%02x: expected printable ASCII", c);
		if (length >= SURFACE_LINE_MAX)
			return bad(r, "line longer than %u bytes", SURFACE_LINE_MAX);
		r->text[length++] = (char)c;
	}
	if (ferror(r->file))
		return surface_reader_fail(r, errno > 0 ? -errno : -EIO, r->line,
					   "cannot be read: %s", strerror(errno > 0 ? errno : EIO));
	return length > 0 ? bad(r, "truncated: expected a newline at the end") : 0;
}

static int unknown_key(struct reader *r, const char *key)
{
	const char *names[64], *near;

	for (unsigned int i = 0; i < surface_n_header_fields; i++)
		names[i] = surface_header_fields[i].name;
	near = nearest_name(key, names, surface_n_header_fields);
	if (near)
		return bad(r, "unknown key '%.40s', did you mean '%s'?", key, near);
	return bad(r, "unknown key '%.40s'", key);
}

static int read_header_line(struct reader *r)
{
	char *key = r->text + 2, *value = strstr(r->text, " = ");

	if (strncmp(r->text, "# ", 2) != 0 || !value || value < key)
		return bad(r, "expected '# key = value'");
	*value = '\0';
	value += 3;
	for (unsigned int i = 0; i < surface_n_header_fields; i++) {
		if (strcmp(key, surface_header_fields[i].name) != 0)
			continue;
		if (r->seen & UINT64_C(1) << i)
			return bad(r, "second value for '%s'", key);
		r->seen |= UINT64_C(1) << i;
		return surface_reader_field(r, &surface_header_fields[i], value, r->surface);
	}
	return unknown_key(r, key);
}

static int read_version(struct reader *r)
{
	static const char prefix[] = "# " SURFACE_MAGIC " = ";
	uint32_t version;
	int e;

	e = read_line(r);
	if (e < 0)
		return e;
	if (e == 0 || strncmp(r->text, prefix, strlen(prefix)) != 0)
		return bad(r, "not a response surface: expected '%s%u' as the first line", prefix,
			   SURFACE_FORMAT_VERSION);
	e = parse_u32(r->text + strlen(prefix), &version);
	if (e < 0 || version != SURFACE_FORMAT_VERSION)
		return surface_reader_fail(r, -EPROTONOSUPPORT, r->line,
					   "format version '%.20s': expected %u",
					   r->text + strlen(prefix), SURFACE_FORMAT_VERSION);
	return 0;
}

static bool is_hex_digest(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* "2024-05-31T12:00:00Z" */
static bool is_utc_date(const char *s)
{
	static const char pattern[] = "dddd-dd-ddTdd:dd:ddZ";

	if (strlen(s) != strlen(pattern))
		return false;
	for (unsigned int i = 0; pattern[i]; i++)
		if (pattern[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != pattern[i])
			return false;
	return true;
}

/* What the header's values must have to do with one another; the line of the first row (or the
 * last line) is as near as an error gets. */
static int check_header(struct reader *r)
{
	const struct surface *s = r->surface;

	for (unsigned int i = 0; i < surface_n_header_fields; i++)
		if (!(r->seen & UINT64_C(1) << i) && !surface_header_fields[i].whole_file_only)
			return bad(r, "the header lacks '%s'", surface_header_fields[i].name);
	if (!model_name_is_valid(s->model))
		return bad(r, "model: '%s' is no model's name", s->model);
	if (*s->model_digest && !is_hex_digest(s->model_digest))
		return bad(r, "model_digest: expected 64 hexadecimal digits or nothing");
	if (!is_utc_date(s->date))
		return bad(r, "date: expected YYYY-MM-DDThh:mm:ssZ, got '%s'", s->date);
	if (s->n_cus < s->n_se)
		return bad(r, "cus: %u CUs for %u SEs", s->n_cus, s->n_se);
	for (unsigned int i = 0; i < 2; i++)
		if (r->n_powers[i] != s->n_levels)
			return bad(r, "%s: expected %u powers, one for each clock level, got %u",
				   i ? "active_idle_power_w" : "idle_power_w", s->n_levels,
				   r->n_powers[i]);
	if (isnan(s->idle_power_w[s->n_levels - 1]))
		return bad(r, "idle_power_w: expected a power for the highest level");
	if (s->rated_rps > s->capacity_rps)
		return bad(r, "rated_rps: %.15g is above capacity_rps, %.15g", s->rated_rps,
			   s->capacity_rps);
	return 0;
}

static int check_config(struct reader *r, uint32_t max_mhz, struct cu_shape shape)
{
	const struct surface *s = r->surface;
	bool known = false;

	for (uint32_t i = 0; i < s->n_levels; i++)
		known = known || s->level_mhz[i] == max_mhz;
	if (!known)
		return bad(r, "max_mhz: %u is none of sclk_levels_mhz", max_mhz);
	if (shape.n_se > s->n_se || cu_shape_cus(shape) > s->n_cus)
		return bad(r, "shape of %u SEs with %u CUs each on a card of %u SEs and %u CUs",
			   shape.n_se, shape.cus_per_se, s->n_se, s->n_cus);
	return 0;
}

static int grow(void **array, uint32_t n, uint32_t *room, size_t size)
{
	uint32_t more = *room ? *room * 2 : 64;
	void *p;

	if (n < *room)
		return 0;
	p = reallocarray(*array, more, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*room = more;
	return 0;
}

static int read_cell(struct reader *r, char *columns)
{
	struct numbered_cell c = {.line = r->line};
	int e;

	if (r->n_cells >= SURFACE_MAX_CELLS)
		return surface_reader_fail(r, -EFBIG, r->line, "more than %u cells",
					   SURFACE_MAX_CELLS);
	e = surface_reader_columns(r, &surface_cell_format, columns, &c.cell);
	if (e < 0)
		return e;
	e = check_config(r, c.cell.max_mhz, c.cell.shape);
	if (e < 0)
		return e;
	e = grow((void **)&r->cells, r->n_cells, &r->room_cells, sizeof(*r->cells));
	if (e < 0)
		return surface_reader_fail(r, e, r->line, "out of memory");
	r->cells[r->n_cells++] = c;
	return 0;
}

static int read_load(struct reader *r, char *columns)
{
	struct surface_load l = {0};
	int e;

	if (r->n_loads >= SURFACE_MAX_LOADS)
		return surface_reader_fail(r, -EFBIG, r->line, "more than %u load rows",
					   SURFACE_MAX_LOADS);
	e = surface_reader_columns(r, &surface_load_format, columns, &l);
	if (e < 0)
		return e;
	if (l.p50_ns > l.p95_ns || l.p95_ns > l.p99_ns)
		return bad(r, "expected p50_ns <= p95_ns <= p99_ns");
	e = check_config(r, l.max_mhz, l.shape);
	if (e < 0)
		return e;
	e = grow((void **)&r->surface->loads, r->n_loads, &r->room_loads, sizeof(l));
	if (e < 0)
		return surface_reader_fail(r, e, r->line, "out of memory");
	r->surface->loads[r->n_loads++] = l;
	return 0;
}

static int read_row(struct reader *r)
{
	int e;

	if (!r->in_rows) {
		e = check_header(r);
		if (e < 0)
			return e;
		r->in_rows = true;
	}
	if (strncmp(r->text, "cell,", 5) == 0)
		return read_cell(r, r->text + 5);
	if (strncmp(r->text, "load,", 5) == 0)
		return read_load(r, r->text + 5);
	if (*r->text == '#')
		return bad(r, "header line behind the first row");
	return bad(r, "expected a row that starts with 'cell,' or 'load,'");
}

#define COMPARE(a, b)                                                                              \
	do {                                                                                       \
		if ((a) != (b))                                                                    \
			return (a) < (b) ? -1 : 1;                                                 \
	} while (0)

static int compare_configs(const struct surface_cell *a, const struct surface_cell *b)
{
	COMPARE(a->max_mhz, b->max_mhz);
	COMPARE(cu_shape_cus(a->shape), cu_shape_cus(b->shape));
	COMPARE(a->shape.n_se, b->shape.n_se);
	COMPARE(a->batch, b->batch);
	COMPARE(a->workers, b->workers);
	return 0;
}

static int compare_cells(const void *a, const void *b)
{
	const struct numbered_cell *x = a, *y = b;
	int c = compare_configs(&x->cell, &y->cell);

	return c ? c : (x->line > y->line) - (x->line < y->line);
}

static int take_cells(struct reader *r)
{
	struct surface *s = r->surface;

	if (r->n_cells == 0)
		return bad_file(r, "no cell rows");
	qsort(r->cells, r->n_cells, sizeof(*r->cells), compare_cells);
	s->cells = calloc(r->n_cells, sizeof(*s->cells));
	if (!s->cells)
		return surface_reader_fail(r, -ENOMEM, 0, "out of memory");
	for (uint32_t i = 0; i < r->n_cells; i++) {
		const struct surface_cell *c = &r->cells[i].cell;

		if (i > 0 && compare_configs(c, &r->cells[i - 1].cell) == 0)
			return surface_reader_fail(
				r, -EBADMSG, r->cells[i].line,
				"second cell for %u MHz, %ux%u CUs, batch %u, %u workers; "
				"the first is in line %u",
				c->max_mhz, c->shape.n_se, c->shape.cus_per_se, c->batch,
				c->workers, r->cells[i - 1].line);
		s->cells[i] = *c;
	}
	s->n_cells = r->n_cells;
	return 0;
}

/* What only shows once all rows are there. */
static int check_whole(struct reader *r)
{
	const struct surface_cell *b = surface_baseline(r->surface);
	const struct surface *s = r->surface;

	if (!b)
		return bad_file(r,
				"no cell for the baseline: expected %u MHz on all %u CUs, batch "
				"%u, %u workers",
				s->level_mhz[s->n_levels - 1], s->n_cus, s->baseline_batch,
				s->workers);
	if (fabs(b->capacity_rps - s->capacity_rps) > 0.05 * s->capacity_rps)
		return bad_file(r, "capacity_rps is %.15g, but the baseline's cell has %.15g",
				s->capacity_rps, b->capacity_rps);
	return 0;
}

static bool header_has(const struct reader *r, const char *name)
{
	for (unsigned int i = 0; i < surface_n_header_fields; i++)
		if (strcmp(surface_header_fields[i].name, name) == 0)
			return r->seen & UINT64_C(1) << i;
	return false;
}

static int finish(struct reader *r)
{
	struct surface *s = r->surface;
	int e;

	if (!r->in_rows) {
		e = check_header(r);
		if (e < 0)
			return e;
	}
	if (header_has(r, "cells") && s->n_cells != r->n_cells)
		return bad_file(r, "truncated: expected %u cell rows, got %u", s->n_cells,
				r->n_cells);
	if (header_has(r, "loads") && s->n_loads != r->n_loads)
		return bad_file(r, "truncated: expected %u load rows, got %u", s->n_loads,
				r->n_loads);
	s->n_loads = r->n_loads;
	e = take_cells(r);
	if (e < 0)
		return e;
	return check_whole(r);
}

static int read_all(struct reader *r)
{
	int e;

	e = read_version(r);
	if (e < 0)
		return e;
	while ((e = read_line(r)) > 0) {
		e = *r->text == '#' && !r->in_rows ? read_header_line(r) : read_row(r);
		if (e < 0)
			return e;
	}
	return e < 0 ? e : finish(r);
}

int surface_read(FILE *f, struct surface **ret, struct surface_error *ret_error)
{
	_cleanup_(surface_freep) struct surface *s = NULL;
	_cleanup_(freep) struct reader *r = NULL;
	int e;

	s = calloc(1, sizeof(*s));
	r = calloc(1, sizeof(*r));
	if (!s || !r) {
		if (ret_error)
			*ret_error = (struct surface_error){.text = "out of memory"};
		return -ENOMEM;
	}
	r->file = f;
	r->surface = s;
	r->error = ret_error;
	e = read_all(r);
	free(r->cells);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(s);
	return 0;
}

/* Opens a regular file; anything else at the path (a FIFO) could block for ever. */
static int open_surface(const char *path, FILE **ret)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	FILE *f;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	f = fdopen(fd, "r");
	if (!f)
		return -errno;
	(void)TAKE_FD(fd);
	*ret = f;
	return 0;
}

int surface_load(const char *path, struct surface **ret, struct surface_error *ret_error)
{
	_cleanup_(fclosep) FILE *f = NULL;
	int r;

	r = open_surface(path, &f);
	if (r < 0) {
		if (ret_error) {
			ret_error->line = 0;
			(void)snprintf(ret_error->text, sizeof(ret_error->text), "%s",
				       strerror(-r));
		}
		return r;
	}
	return surface_read(f, ret, ret_error);
}
