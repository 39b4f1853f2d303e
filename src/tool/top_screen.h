/* SPDX-License-Identifier: BSD-3-Clause */
/* top_screen: the terminal of `hearth top`, by ncurses. It is given back whatever ends the program, but for SIGKILL. One
 * thread, one screen. */
#ifndef TOOL_TOP_SCREEN_H
#define TOOL_TOP_SCREEN_H

#include <stdbool.h>
#include "tool/top_view.h"

/* What a key, or a signal, asks for. */
enum top_order { TOP_NOTHING, TOP_QUIT, TOP_PAUSE, TOP_SLOWER, TOP_FASTER, TOP_SORT, TOP_HELP, TOP_REDRAW };

/* False: the terminal is of no known kind. */
bool top_screen_open(void);
/* Gives the terminal back. */
void top_screen_close(void);
/* So many hot keys fit under the rest. */
unsigned top_screen_keys(void);
/* As much of the text as fits; foot is the last line. */
void top_screen_draw(const struct top_text *t, const char *foot);
void top_screen_help(void);
/* Waits so long for one. */
enum top_order top_screen_wait(int ms);

#endif
