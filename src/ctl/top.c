/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl top: the screen of screen.h, painted by ncurses once a second; printed where there is
 * no terminal. */
#include "base/log.h"
#include "ctl/commands.h"
#include "ctl/output.h"
#include "ctl/screen.h"
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define PERIOD_MS     1000
#define N_DECISIONS   120 /* asked for: a minute of them */
#define BATCH_WIDTH   120
#define KEY_INTERRUPT 3 /* Ctrl-C, where the terminal sends it as it is */

struct documents {
	json_t *status, *decisions; /* the last that there were, or NULL */
	int first;		    /* line on top of the terminal */
};

static void documents_deinit(struct documents *d)
{
	json_decref(d->status);
	json_decref(d->decisions);
}

/* Where a call fails the last documents stay. */
static enum ctl_exit fetch(struct ctl_client *c, struct documents *d)
{
	json_t *status, *decisions;
	enum ctl_exit result = ctl_call_json(c, "GetStatus", &status, "");

	if (result != CTL_OK)
		return result;
	json_decref(d->status);
	d->status = status;
	result = ctl_call_json(c, "GetDecisions", &decisions, "ssu", "*", "*",
			       (uint32_t)N_DECISIONS);
	if (result != CTL_OK)
		return result;
	json_decref(d->decisions);
	d->decisions = decisions;
	return CTL_OK;
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- without a terminal ---- */

static int print_screen(const struct documents *d)
{
	_cleanup_(screen_freep) struct screen *s = NULL;
	int r = screen_new(BATCH_WIDTH, SCREEN_MAX_HEIGHT, &s);

	if (r < 0)
		return r;
	screen_draw(s, d->status, d->decisions, NULL);
	for (int y = 0; y < s->used; y++) {
		_cleanup_(freep) char *line = screen_line(s, y);

		if (!line || puts(line) < 0)
			return -EIO;
	}
	return fflush(stdout) == 0 ? 0 : -EIO;
}

/* A status each second: one document a line, so that it can be followed. */
static int print_status(const struct documents *d)
{
	int r = json_dumpf(d->status, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));

	return r < 0 || putchar('\n') < 0 || fflush(stdout) != 0 ? -EIO : 0;
}

static enum ctl_exit run_batch(struct ctl *ctl, struct documents *d)
{
	for (;;) {
		enum ctl_exit result = fetch(&ctl->client, d);
		int r;

		if (result != CTL_OK)
			return result;
		r = ctl_json(ctl) ? print_status(d) : print_screen(d);
		if (r < 0)
			return CTL_REFUSED;
		if (ctl->values[OPTION_ONCE])
			return CTL_OK;
		(void)poll(NULL, 0, PERIOD_MS);
		if (!ctl_json(ctl))
			(void)putchar('\n');
	}
}

/* ---- on a terminal ---- */

static void start_colours(void)
{
	static const short colours[][2] = {
		{STYLE_GOOD, COLOR_GREEN},
		{STYLE_WARNING, COLOR_YELLOW},
		{STYLE_BAD, COLOR_RED},
	};

	if (!has_colors() || start_color() == ERR)
		return;
	(void)use_default_colors();
	for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
		(void)init_pair(colours[i][0], colours[i][1], -1);
}

static chtype attributes(enum style style)
{
	static const chtype fixed[] = {
		[STYLE_PLAIN] = A_NORMAL, [STYLE_TITLE] = A_BOLD,   [STYLE_HEADER] = A_REVERSE,
		[STYLE_GOOD] = A_NORMAL,  [STYLE_WARNING] = A_BOLD, [STYLE_BAD] = A_BOLD,
		[STYLE_DIM] = A_DIM,
	};
	bool coloured = style == STYLE_GOOD || style == STYLE_WARNING || style == STYLE_BAD;

	return fixed[style] | (coloured && has_colors() ? COLOR_PAIR(style) : 0);
}

/* Drawn whole, and as much of it shown as the terminal has lines, but for the last one. */
static int paint(const struct ctl *ctl, struct documents *d)
{
	_cleanup_(screen_freep) struct screen *s = NULL;
	int lines = MAX(LINES - 1, 1), r = screen_new(COLS, SCREEN_MAX_HEIGHT, &s);

	if (r < 0)
		return r;
	screen_draw(s, d->status, d->decisions, ctl->client.error);
	d->first = CLAMP(d->first, 0, MAX(s->used - lines, 0));
	(void)erase();
	for (int y = 0; y < MIN(s->used - d->first, lines); y++)
		for (int x = 0; x < MIN(s->width, COLS); x++)
			(void)mvaddch(y, x,
				      (chtype)(unsigned char)screen_char(s, d->first + y, x) |
					      attributes(screen_style(s, d->first + y, x)));
	(void)mvaddnstr(LINES - 1, 0, s->used > lines ? " q quits, arrows scroll " : " q quits ",
			COLS);
	(void)refresh();
	return 0;
}

/* By how many lines a key moves the screen. */
static int scrolls(int key)
{
	switch (key) {
	case KEY_UP:
	case 'k':
		return -1;
	case KEY_DOWN:
	case 'j':
		return 1;
	case KEY_PPAGE:
		return -(LINES - 1);
	case KEY_NPAGE:
	case ' ':
		return LINES - 1;
	default:
		return 0;
	}
}

/* Whether to go on after the keys that were pressed, or a negative errno. */
static int take_keys(const struct ctl *ctl, struct documents *d)
{
	int key, r = 1;

	while (r > 0 && (key = getch()) != ERR) {
		if (key == 'q' || key == 'Q' || key == KEY_INTERRUPT)
			return 0;
		d->first += scrolls(key);
		/* ncurses makes a key of the signal that tells of another size. */
		if (key == KEY_RESIZE || scrolls(key) != 0)
			r = paint(ctl, d) < 0 ? -ENOMEM : 1;
	}
	return r;
}

/* Until the time, but not without a look at the keys. As take_keys(). */
static int wait_until(const struct ctl *ctl, struct documents *d, int64_t until_ms)
{
	for (;;) {
		struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
		int64_t left_ms;
		int r = take_keys(ctl, d);

		if (r <= 0)
			return r;
		left_ms = until_ms - now_ms();
		if (left_ms <= 0)
			return 1;
		if (poll(&fd, 1, (int)left_ms) < 0 && errno != EINTR)
			return -errno;
		if (fd.revents & (POLLHUP | POLLERR | POLLNVAL))
			return 0;
	}
}

static int run_live(struct ctl *ctl, struct documents *d)
{
	int64_t next_ms = now_ms();
	int r;

	do {
		(void)fetch(&ctl->client, d);
		r = paint(ctl, d);
		/* Not faster after a call that took its time. */
		next_ms = MAX(next_ms + PERIOD_MS, now_ms());
		if (r >= 0)
			r = wait_until(ctl, d, next_ms);
	} while (r > 0);
	return r;
}

static enum ctl_exit run_terminal(struct ctl *ctl, struct documents *d)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	int r;

	if (!screen) {
		log_error("Terminal '%s' is not known; try --once", getenv("TERM") ?: "");
		return CTL_REFUSED;
	}
	(void)raw();
	(void)noecho();
	(void)nodelay(stdscr, TRUE);
	(void)keypad(stdscr, TRUE);
	(void)curs_set(0);
	start_colours();
	r = run_live(ctl, d);
	(void)endwin();
	delscreen(screen);
	ctl->client.error[0] = '\0';
	return r < 0 ? CTL_REFUSED : CTL_OK;
}

enum ctl_exit run_top(struct ctl *ctl)
{
	_cleanup_(documents_deinit) struct documents d = {0};

	if (ctl->values[OPTION_ONCE] || ctl_json(ctl) || !isatty(STDOUT_FILENO) ||
	    !isatty(STDIN_FILENO))
		return run_batch(ctl, &d);
	return run_terminal(ctl, &d);
}
