/* SPDX-License-Identifier: Apache-2.0 */
/* What cofrisctl top shows, drawn into memory from the daemon's documents: no terminal, no clock.
 */
#pragma once

#include "base/macros.h"
#include <jansson.h>

enum style {
	STYLE_PLAIN,
	STYLE_TITLE,
	STYLE_HEADER,
	STYLE_GOOD,
	STYLE_WARNING,
	STYLE_BAD,
	STYLE_DIM,
};

#define SCREEN_MIN_WIDTH  40
#define SCREEN_MAX_WIDTH  400
#define SCREEN_MAX_HEIGHT 400

/* Printable ASCII, so that a cell is a byte. */
struct screen {
	int width, height;
	int used; /* lines drawn to, of those that there are */
	char *text;
	unsigned char *styles; /* enum style */
};

/* Sizes are bounded by the limits above. */
int screen_new(int width, int height, struct screen **ret);
struct screen *screen_free(struct screen *s);
DEFINE_CLEANUP(struct screen *, screen_free)

static inline char screen_char(const struct screen *s, int y, int x)
{
	return s->text[y * s->width + x];
}

static inline enum style screen_style(const struct screen *s, int y, int x)
{
	return (enum style)s->styles[y * s->width + x];
}

/* Line y without the blanks at its end, for free(). */
char *screen_line(const struct screen *s, int y);

/* Draws over all of s. decisions and error may be NULL; with error, what became of the last call,
 * the status is the last one there was, or NULL. What does not fit is cut off. */
void screen_draw(struct screen *s, const json_t *status, const json_t *decisions,
		 const char *error);
