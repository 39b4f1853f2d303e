/* SPDX-License-Identifier: BSD-3-Clause */
/* top: what a daemon does, live: on a terminal as a screen, else as lines or JSON. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/options.h"
#include "tool/tool.h"
#include "tool/top_screen.h"
#include "tool/top_view.h"

#define SCREEN_MS  2000 /* so long an answer is waited for: keys wait, too */
#define LINES_MS   10000
#define PLAIN_KEYS 10u

enum { ROW_SERVER, ROW_INTERVAL, ROW_ONCE, ROW_PLAIN, ROW_JSON, ROW_NO_SAMPLES, N_ROWS };
static const struct options_row ROWS[] = {
    [ROW_SERVER] = {"server", "HOST:PORT",
        "ask this port, or the socket of this path, instead of DIR's daemon"},
    [ROW_INTERVAL] = {"interval", "SECONDS", "between two looks, 0.1 to 3600 (1)"},
    [ROW_ONCE] = {"once", NULL, "one look over one interval, then end"},
    [ROW_PLAIN] = {"plain", NULL, "lines also on a terminal"},
    [ROW_JSON] = {"json", NULL, "one JSON object a line for each look"},
    [ROW_NO_SAMPLES] = {"no-samples", NULL, "have no hot keys sampled"},
};
static const struct options_spec SPEC = {
    "top", "[DIR]", "Shows live what the daemon on DIR, or a server, does.", ROWS, N_ROWS};

static const double STEPS[] = {0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600};
#define N_STEPS (sizeof(STEPS) / sizeof(STEPS[0]))

struct top {
	struct top_target target;
	double interval;
	bool once, plain, json, samples;
	int patience_ms;
	struct top_stats before, now;
	bool has_before;
	struct top_view view;
	char why[TOP_TEXT];
	/* Of the screen. */
	enum top_sort sort;
	bool answered, paused;
	int64_t answered_us;
};

static volatile sig_atomic_t stopped_by;

static void on_signal(int signal)
{
	stopped_by = signal;
}

/* Once: a second one that comes while it ends must not leave the terminal as it is. */
static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction a = {.sa_handler = on_signal};
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &a, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* A look; with what was seen before it becomes rates. False: nobody answered. */
static bool look(struct top *t)
{
	/* It goes off by itself when nobody looks any more. */
	unsigned sample = t->samples ? (unsigned)(2 * t->interval) + 3 : 0;
	struct top_stats *fresh = malloc(sizeof(*fresh));
	if (!fresh) {
		snprintf(t->why, sizeof(t->why), "memory is short");
		return false;
	}
	bool ok = top_stats_ask(&t->target, sample > 3600 ? 3600 : sample, t->patience_ms, fresh, t->why);
	if (ok) {
		t->before = t->now;
		t->now = *fresh;
		top_view_make(&t->view, t->has_before ? &t->before : NULL, &t->now);
		t->has_before = true;
	} else {
		t->has_before = false;
	}
	free(fresh);
	return ok;
}

/* ---- lines ---- */

static void sleep_until(int64_t us)
{
	while (!stopped_by) {
		int64_t left = us - clock_mono_us();
		if (left <= 0)
			return;
		struct timespec slice = {left / 1000000, left % 1000000 * 1000};
		nanosleep(&slice, NULL);
	}
}

static bool print(struct top *t, bool first)
{
	struct out out;
	if (!out_open(&out, 1))
		return false;
	if (t->json) {
		top_view_json(&out, &t->view, &t->now, t->target.name);
	} else {
		struct top_text text;
		top_view_lines(&text, &t->view, &t->now, t->target.name, TOP_BY_SURE, PLAIN_KEYS);
		if (!first)
			out_char(&out, '\n');
		for (unsigned i = 0; i < text.n; i++) {
			out_text(&out, text.line[i]);
			out_char(&out, '\n');
		}
	}
	return out_close(&out);
}

static int run_lines(struct top *t)
{
	int64_t next = clock_mono_us();
	bool first = true;
	/* The first look is what rates are counted from. */
	if (!look(t))
		goto silent;
	while (!stopped_by) {
		next += (int64_t)(t->interval * 1e6);
		sleep_until(next);
		if (stopped_by)
			break;
		if (!look(t))
			goto silent;
		if (!print(t, first))
			return TOOL_IO;
		first = false;
		if (t->once)
			break;
	}
	return TOOL_OK;
silent:
	msg(MSG_ERROR, "%s: %s", t->target.name, t->why);
	return TOOL_NO_DAEMON;
}

/* ---- the screen ---- */

static void draw(struct top *t)
{
	struct top_text text = {0};
	char foot[TOP_COLUMNS + 1];
	if (t->answered) {
		top_view_lines(&text, &t->view, &t->now, t->target.name, t->sort, top_screen_keys());
	} else {
		text.n = 2;
		text.warning = 1;
		snprintf(text.line[0], sizeof(text.line[0]), "hearth top %.150s", t->target.name);
		if (t->answered_us)
			snprintf(text.line[1], sizeof(text.line[1]), "NO ANSWER  for %.0f s: %s",
			    (double)(clock_mono_us() - t->answered_us) / 1e6, t->why);
		else
			snprintf(text.line[1], sizeof(text.line[1]), "NO ANSWER  %s", t->why);
	}
	snprintf(foot, sizeof(foot), "%severy %g s   q quit  p pause  +/- interval  s sort  h help",
	    t->paused ? "PAUSED   " : "", t->interval);
	top_screen_draw(&text, foot);
}

static void change_interval(struct top *t, bool longer)
{
	if (longer) {
		size_t i = 0;
		while (i + 1 < N_STEPS && STEPS[i] <= t->interval)
			i++;
		t->interval = STEPS[i];
	} else {
		size_t i = N_STEPS - 1;
		while (i > 0 && STEPS[i] >= t->interval)
			i--;
		t->interval = STEPS[i];
	}
}

/* Until a key. What changes behind it is not looked at. */
static void help(void)
{
	top_screen_help();
	while (!stopped_by && top_screen_wait(200) == TOP_NOTHING) {
	}
}

static void run_screen(struct top *t)
{
	int64_t next = 0;
	while (!stopped_by) {
		int64_t now = clock_mono_us();
		if (!t->paused && now >= next) {
			next = now + (int64_t)(t->interval * 1e6);
			t->answered = look(t);
			if (t->answered)
				t->answered_us = clock_mono_us();
			draw(t);
		}
		int64_t left = (next - clock_mono_us()) / 1000;
		/* A signal may come between two looks at it. */
		enum top_order o = top_screen_wait(t->paused || left > 200 ? 200 : (int)left + 1);
		if (o == TOP_QUIT)
			return;
		if (o == TOP_PAUSE)
			t->paused = !t->paused;
		if (o == TOP_SORT)
			t->sort = (t->sort + 1) % TOP_SORTS;
		if (o == TOP_SLOWER || o == TOP_FASTER) {
			change_interval(t, o == TOP_SLOWER);
			next = clock_mono_us() + (int64_t)(t->interval * 1e6);
		}
		if (o == TOP_HELP)
			help();
		if (o != TOP_NOTHING)
			draw(t);
	}
}

/* ---- the command ---- */

static bool take_option(void *arg, int row, const char *value)
{
	struct top *t = arg;
	char *end;
	switch (row) {
	case ROW_SERVER:
		if (!client_resolve(value, &t->target.address))
			return false;
		snprintf(t->target.name, sizeof(t->target.name), "%s", value);
		break;
	case ROW_INTERVAL:
		t->interval = strtod(value, &end);
		if (end == value || *end || !(t->interval >= 0.1 && t->interval <= 3600)) {
			options_usage(&SPEC, "--interval takes 0.1 to 3600 seconds, not %s", value);
			return false;
		}
		break;
	case ROW_ONCE:
		t->once = true;
		break;
	case ROW_PLAIN:
		t->plain = true;
		break;
	case ROW_JSON:
		t->json = true;
		break;
	default:
		t->samples = false;
	}
	return true;
}

static int run(struct top *t)
{
	int exit_code = TOOL_OK;
	bool screen = !t->plain && !t->json && !t->once && isatty(0) == 1 && isatty(1) == 1;
	catch_signals();
	if (screen && top_screen_open()) {
		t->patience_ms = SCREEN_MS;
		run_screen(t);
		top_screen_close();
	} else {
		if (screen)
			msg(MSG_WARN, "the terminal is of no known kind (TERM): lines are printed");
		exit_code = run_lines(t);
	}
	/* Who called is told as if it had not been caught. */
	if (stopped_by) {
		signal(stopped_by, SIG_DFL);
		raise(stopped_by);
	}
	return exit_code;
}

int top_main(int argc, char **argv)
{
	struct options o;
	int n;
	struct top *t = calloc(1, sizeof(*t));
	if (!t) {
		msg(MSG_ERROR, "memory is short");
		return TOOL_SYSTEM;
	}
	t->interval = 1;
	t->samples = true;
	t->patience_ms = LINES_MS;
	int exit_code = TOOL_USAGE;
	if (!options_read(&o, &SPEC, argc, argv, take_option, t)) {
		exit_code = o.exit;
		goto out;
	}
	char **args = options_arguments(&o, 0, 1, &n);
	if (!args)
		goto out;
	if ((n == 1) == (t->target.name[0] != '\0')) {
		exit_code = options_usage(&SPEC, "a data directory or --server is wanted, and one of them");
		goto out;
	}
	if (n == 1) {
		t->target.directory = args[0];
		snprintf(t->target.name, sizeof(t->target.name), "%s", args[0]);
	}
	exit_code = run(t);
out:
	free(t);
	return exit_code;
}
