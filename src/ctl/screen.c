/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/screen.h"
#include "base/macros.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define CARD_COLUMNS  79 /* of a card's line */
#define MAX_DECISIONS 20

int screen_new(int width, int height, struct screen **ret)
{
	_cleanup_(screen_freep) struct screen *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->width = CLAMP(width, SCREEN_MIN_WIDTH, SCREEN_MAX_WIDTH);
	s->height = CLAMP(height, 1, SCREEN_MAX_HEIGHT);
	s->text = malloc((size_t)s->width * (size_t)s->height);
	s->styles = malloc((size_t)s->width * (size_t)s->height);
	if (!s->text || !s->styles)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

struct screen *screen_free(struct screen *s)
{
	if (s) {
		free(s->text);
		free(s->styles);
	}
	free(s);
	return NULL;
}

char *screen_line(const struct screen *s, int y)
{
	const char *line = s->text + y * s->width;
	size_t n = (size_t)s->width;

	while (n > 0 && line[n - 1] == ' ')
		n--;
	return strndup(line, n);
}

/* Where the next text goes. */
struct pen {
	struct screen *s;
	int y, x;
};

/* Bytes that are no printable ASCII would move the cursor, or more. */
static void put(struct pen *p, enum style style, const char *format, ...) _printf_(3, 4);
static void put(struct pen *p, enum style style, const char *format, ...)
{
	char text[SCREEN_MAX_WIDTH + 1];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	for (const char *c = text; *c && p->y < p->s->height; c++) {
		if (p->x >= p->s->width)
			break;
		p->s->text[p->y * p->s->width + p->x] = *c >= ' ' && *c <= '~' ? *c : '?';
		p->s->styles[p->y * p->s->width + p->x] = (unsigned char)style;
		p->x++;
	}
}

static void next_line(struct pen *p)
{
	p->y++;
	p->x = 0;
	p->s->used = MIN(p->y, p->s->height);
}

/* A line with one style to its end. */
static void put_line(struct pen *p, enum style style, const char *format, ...) _printf_(3, 4);
static void put_line(struct pen *p, enum style style, const char *format, ...)
{
	char text[SCREEN_MAX_WIDTH + 1];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	put(p, style, "%-*s", p->s->width, text);
	next_line(p);
}

static const char *text_in(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key)) ?: "";
}

static double number_in(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Three digits, or "-" where it is not known; buffer has 16 bytes. */
static const char *number(char *buffer, double x)
{
	if (isnan(x))
		return "-";
	(void)snprintf(buffer, 16, "%.*f", fabs(x) >= 100 ? 0 : fabs(x) >= 10 ? 1 : 2, x);
	return buffer;
}

static const char *whole(char *buffer, double x)
{
	if (isnan(x))
		return "-";
	(void)snprintf(buffer, 16, "%.0f", x);
	return buffer;
}

/* How much of limit x is: "[####------]"; from what share on it is a warning, and bad. */
static void put_bar(struct pen *p, int width, double x, double limit, double warning, double bad)
{
	double share = x / limit;
	enum style style = share >= bad ? STYLE_BAD : share >= warning ? STYLE_WARNING : STYLE_GOOD;
	int n = isfinite(share) ? (int)lround(CLAMP(share, 0.0, 1.0) * width) : 0;

	put(p, STYLE_DIM, "[");
	for (int i = 0; i < width; i++)
		put(p, i < n ? style : STYLE_DIM, "%c", i < n ? '#' : '-');
	put(p, STYLE_DIM, "]");
}

/* ---- the lines on top ---- */

static void draw_title(struct pen *p, const json_t *status)
{
	static const char simulated[] = " SIMULATED ";

	put(p, STYLE_TITLE, "cofris %s: %s", text_in(status, "version"), text_in(status, "status"));
	if (json_is_true(json_object_get(status, "simulated"))) {
		p->x = p->s->width - (int)strlen(simulated);
		put(p, STYLE_WARNING, "%s", simulated);
	}
	next_line(p);
}

static void draw_pause(struct pen *p, const json_t *pause)
{
	double left_s = number_in(pause, "left_s");

	put(p, STYLE_WARNING, "paused: %s by uid %.0f", text_in(pause, "gpu"),
	    number_in(pause, "uid"));
	if (!isnan(left_s))
		put(p, STYLE_WARNING, ", %.0f min left", ceil(left_s / 60));
	put(p, STYLE_WARNING, ": %s", text_in(pause, "reason"));
	next_line(p);
}

static void draw_notices(struct pen *p, const json_t *status)
{
	const char *actuator = text_in(status, "actuator");
	const json_t *o;
	size_t i;

	if (strcmp(actuator, "connected") != 0)
		put_line(p, STYLE_BAD, "no actuator: %s", actuator);
	if (json_is_string(json_object_get(status, "config_error")))
		put_line(p, STYLE_BAD, "configuration not loaded: %s",
			 text_in(status, "config_error"));
	json_array_foreach(json_object_get(status, "pauses"), i, o) draw_pause(p, o);
	json_array_foreach(json_object_get(status, "holds"), i, o)
	{
		put(p, STYLE_WARNING, "held: %s at %s by %s (pid %.0f): %s", text_in(o, "model"),
		    text_in(o, "level"), text_in(o, "comm"), number_in(o, "pid"),
		    text_in(o, "reason"));
		next_line(p);
	}
}

/* ---- cards and models ---- */

static enum style style_of_state(const char *state)
{
	if (strcmp(state, "governed") == 0)
		return STYLE_GOOD;
	if (strcmp(state, "absent") == 0 || strcmp(state, "quarantined") == 0)
		return STYLE_BAD;
	return STYLE_WARNING;
}

/* Of all its models' workers; where they share CUs that is no sum, so at most all. */
static double cus_in_use(const json_t *gpu)
{
	const json_t *model;
	double sum = 0, all = number_in(gpu, "cus");
	bool any = false;
	size_t i;

	json_array_foreach(json_object_get(gpu, "models"), i, model)
	{
		double cus = number_in(model, "cus");

		if (number_in(model, "workers") > 0 && !isnan(cus)) {
			sum += cus;
			any = true;
		}
	}
	return any ? fmin(sum, all) : NAN;
}

static void draw_gpu(struct pen *p, const json_t *gpu)
{
	const char *state = text_in(gpu, "state"), *reason = text_in(gpu, "state_reason");
	double cap_w = number_in(json_object_get(gpu, "cap"), "in_force_w"), watts;
	char a[16], b[16], c[16], both[64];

	if (isnan(cap_w))
		cap_w = number_in(gpu, "power_cap_w");
	watts = number_in(gpu, "power_w");
	put(p, STYLE_TITLE, "%-12.12s ", text_in(gpu, "bdf"));
	(void)snprintf(both, sizeof(both), *reason ? "%s: %s" : "%s", state, reason);
	put(p, style_of_state(state), "%-22.22s ", both);
	put(p, STYLE_PLAIN, "%5s %5s ", whole(a, number_in(gpu, "sclk_mhz")),
	    whole(b, number_in(gpu, "max_mhz")));
	(void)snprintf(both, sizeof(both), "%s/%s", whole(a, cus_in_use(gpu)),
		       whole(b, number_in(gpu, "cus")));
	put(p, STYLE_PLAIN, "%7s ", both);
	put(p, watts > cap_w ? STYLE_BAD : STYLE_PLAIN, "%5s ", number(a, watts));
	put(p, STYLE_PLAIN, "%5s %5s %5s", whole(a, cap_w),
	    number(b, number_in(gpu, "temperature_c")), whole(c, number_in(gpu, "busy_percent")));
	if (json_is_true(json_object_get(gpu, "simulated")))
		put(p, STYLE_DIM, "  simulated");
	if (!isnan(number_in(gpu, "retry_s")))
		put(p, STYLE_WARNING, "  tried again in %.0f s", number_in(gpu, "retry_s"));
	next_line(p);
}

/* The widths that the terminal leaves for the bars. */
static int bar_width(const struct screen *s)
{
	return CLAMP((s->width - CARD_COLUMNS) / 2, 3, 20);
}

static void draw_model_header(struct pen *p)
{
	int bar = bar_width(p->s) + 2;

	put_line(p, STYLE_DIM, "  %-13s %13s %-*s %3s %17s %-*s %6s %s", "MODEL", "RPS OF", bar,
		 "MOST", "CUS", "MS OF SLO", bar, "", "P99 MS", "DECIDED");
}

static void draw_model(struct pen *p, const json_t *model)
{
	double rps = number_in(model, "rate_rps"), most = number_in(model, "capacity_rps");
	double tail_ms = number_in(model, "tail_ms"), slo_ms = number_in(model, "slo_ms");
	const char *reason = text_in(model, "reason");
	bool overload = strcmp(reason, "overload") == 0 || strcmp(reason, "gives-way") == 0;
	char a[16], b[16], c[16];

	put(p, STYLE_PLAIN, "  %-13.13s %6s/%6s ", text_in(model, "name"), number(a, rps),
	    number(b, most));
	put_bar(p, bar_width(p->s), rps, most, 0.8, 1);
	put(p, STYLE_PLAIN, " %3s ", whole(a, number_in(model, "cus")));
	put(p, STYLE_PLAIN, "p%-2s %6s/%6s ", whole(a, number_in(model, "percentile")),
	    number(b, tail_ms), number(c, slo_ms));
	put_bar(p, bar_width(p->s), tail_ms, slo_ms, 0.9, 1);
	put(p, STYLE_PLAIN, " %6s", number(a, number_in(model, "p99_ms")));
	put(p, overload ? STYLE_BAD : STYLE_PLAIN, " %s", reason);
	next_line(p);
}

static void draw_cards(struct pen *p, const json_t *status)
{
	const json_t *gpu, *model, *gpus = json_object_get(status, "gpus");
	size_t i, k;

	put_line(p, STYLE_HEADER, "%-12s %-22s %5s %5s %7s %5s %5s %5s %5s", "GPU", "STATE", "MHZ",
		 "LIMIT", "CUS", "W", "CAP W", "C", "BUSY%");
	if (json_array_size(gpus) == 0)
		put_line(p, STYLE_DIM, "no governed card yet");
	json_array_foreach(gpus, i, gpu)
	{
		bool first = true;

		draw_gpu(p, gpu);
		json_array_foreach(json_object_get(gpu, "models"), k, model)
		{
			if (!(number_in(model, "workers") > 0))
				continue;
			if (first)
				draw_model_header(p);
			first = false;
			draw_model(p, model);
		}
	}
}

/* ---- what was decided last ---- */

static void draw_decision(struct pen *p, const char *bdf, const json_t *decision)
{
	const json_t *model;
	char a[16], b[16], c[16];
	size_t i;

	put(p, STYLE_PLAIN, "%6s s  %-12.12s  %5s MHz %6s W ",
	    number(a, number_in(decision, "age_s")), bdf, whole(b, number_in(decision, "max_mhz")),
	    number(c, number_in(decision, "predicted_power_w")));
	json_array_foreach(json_object_get(decision, "models"), i, model)
	{
		put(p, STYLE_PLAIN, "%s %.13s for %s rps on %s CUs", i > 0 ? ";" : "",
		    text_in(model, "name"), number(a, number_in(model, "demand_rps")),
		    text_in(model, "shape"));
		if (number_in(model, "max_batch") > 1)
			put(p, STYLE_PLAIN, ", batches of %.0f", number_in(model, "max_batch"));
		put(p, STYLE_PLAIN, ": %s", text_in(model, "reason"));
	}
	if (json_array_size(json_object_get(decision, "models")) == 0)
		put(p, STYLE_PLAIN, " %s", text_in(decision, "reason"));
	next_line(p);
}

/* A place among the decisions, the youngest first; those of one tick by card. */
struct place {
	double age_s;
	size_t gpu;
};

static bool is_behind(struct place a, struct place b)
{
	return a.age_s > b.age_s || (a.age_s == b.age_s && a.gpu > b.gpu);
}

/* The first behind *place that changed something, which becomes the place; NULL: no more. */
static const json_t *next_decision(const json_t *decisions, struct place *place,
				   const char **ret_bdf)
{
	const json_t *gpu, *d, *found = NULL;
	struct place best = {INFINITY, 0};
	size_t i, k;

	json_array_foreach(json_object_get(decisions, "gpus"), i, gpu)
		json_array_foreach(json_object_get(gpu, "decisions"), k, d)
	{
		struct place here = {number_in(d, "age_s"), i};

		if (json_is_true(json_object_get(d, "changed")) && is_behind(here, *place) &&
		    is_behind(best, here)) {
			found = d;
			best = here;
			*ret_bdf = text_in(gpu, "bdf");
		}
	}
	*place = best;
	return found;
}

static void draw_decisions(struct pen *p, const json_t *decisions)
{
	struct place place = {-1, 0};
	const char *bdf = "";
	const json_t *d = next_decision(decisions, &place, &bdf);

	if (!d || p->y + 2 >= p->s->height)
		return;
	next_line(p);
	put_line(p, STYLE_HEADER, "%8s  %-12s  %9s %8s  %s", "AGO", "GPU", "LIMIT", "EXPECTED",
		 "WHAT CHANGED");
	for (int i = 0; d && i < MAX_DECISIONS && p->y < p->s->height; i++) {
		draw_decision(p, bdf, d);
		d = next_decision(decisions, &place, &bdf);
	}
}

void screen_draw(struct screen *s, const json_t *status, const json_t *decisions, const char *error)
{
	struct pen p = {.s = s};

	memset(s->text, ' ', (size_t)s->width * (size_t)s->height);
	memset(s->styles, STYLE_PLAIN, (size_t)s->width * (size_t)s->height);
	s->used = 0;
	if (error && *error)
		put_line(&p, STYLE_BAD, "%s", error);
	if (!status)
		return;
	draw_title(&p, status);
	draw_notices(&p, status);
	next_line(&p);
	draw_cards(&p, status);
	draw_decisions(&p, decisions);
}
