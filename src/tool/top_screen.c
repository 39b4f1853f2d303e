/* SPDX-License-Identifier: BSD-3-Clause */
/* top_screen: see top_screen.h. */
#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include "tool/top_screen.h"

#define LINES_ABOVE 15 /* the keys' head included */

static SCREEN *screen;

bool top_screen_open(void)
{
	/* initscr would end the program where the terminal is not known. */
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return false;
	set_term(screen);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	curs_set(0);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_RED, -1);
	}
	return true;
}

void top_screen_close(void)
{
	if (!screen)
		return;
	endwin();
	delscreen(screen);
	screen = NULL;
}

unsigned top_screen_keys(void)
{
	return LINES > LINES_ABOVE + 1 ? (unsigned)(LINES - LINES_ABOVE - 1) : 0;
}

static void put(int row, const char *text, attr_t attr)
{
	attron(attr);
	mvaddnstr(row, 0, text, COLS);
	attroff(attr);
}

void top_screen_draw(const struct top_text *t, const char *foot)
{
	/* A terminal of one line shows what may be wrong, and no foot. */
	int rows = LINES > 2 ? LINES - 1 : LINES;
	attr_t alarm = has_colors() ? A_BOLD | (attr_t)COLOR_PAIR(1) : A_REVERSE;
	erase();
	unsigned first = rows == 1 && t->warning ? t->warning : 0;
	for (unsigned i = first; i < t->n && (int)(i - first) < rows; i++)
		put((int)(i - first), t->line[i],
		    t->warning && i == t->warning ? alarm
		    : i == 0                      ? A_BOLD
		                                  : A_NORMAL);
	if (LINES > 2)
		put(LINES - 1, foot, A_DIM);
	refresh();
}

void top_screen_help(void)
{
	static const char *const lines[] = {"hearth top", "", "q      ends", "p      pauses, and goes on",
	    "+ -    a longer, a shorter interval",
	    "s      sorts hot keys: by count, by what is certain, by key", "h ?    this; any key goes back",
	    "", "Times and hot keys are samples, one in 64, of the last half minute to minute.",
	    "Times are those in the daemon: from the read of a request until its answer is",
	    "given to the kernel, the log included; set time is that of all that changes",
	    "items. A count of a key may be too high by what stands beside it."};
	erase();
	for (int i = 0; i < (int)(sizeof(lines) / sizeof(lines[0])) && i < LINES; i++)
		put(i, lines[i], i == 0 ? A_BOLD : A_NORMAL);
	refresh();
}

enum top_order top_screen_wait(int ms)
{
	timeout(ms > 0 ? ms : 0);
	switch (getch()) {
	case 'q':
	case 'Q':
	case 3: /* ^C, where the terminal makes no signal of it */
		return TOP_QUIT;
	case 'p':
	case ' ':
		return TOP_PAUSE;
	case '+':
		return TOP_SLOWER;
	case '-':
		return TOP_FASTER;
	case 's':
		return TOP_SORT;
	case 'h':
	case '?':
		return TOP_HELP;
	case ERR:
		return TOP_NOTHING;
	default: /* KEY_RESIZE, and what means nothing */
		return TOP_REDRAW;
	}
}
