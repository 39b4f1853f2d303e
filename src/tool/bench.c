/* SPDX-License-Identifier: BSD-3-Clause */
/* bench: loads a server and measures it: runs the phases (fill, warm-up, then mix or trace) and hands each to the
 * report. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "base/msg.h"
#include "tool/bench_cpu.h"
#include "tool/bench_footprint.h"
#include "tool/bench_options.h"
#include "tool/bench_progress.h"
#include "tool/bench_report.h"
#include "tool/bench_stop.h"
#include "tool/bench_worker.h"
#include "tool/client.h"
#include "tool/tool.h"

#define REQUESTS_DEFAULT 1000000u
/* Filling asks for nothing but speed. */
#define FILL_BATCH 64u
/* When the time is up, answers may come for so long. */
#define PATIENCE_NS 10000000000u
/* Descriptors beside those of connections and threads. */
#define OTHER_FILES 16u

struct bench {
	struct bench_options o;
	struct bench_trace trace;
	struct client_address address;
	struct bench_worker *workers;
};

/* A part of the run: requests [first, stock), for so many seconds (0 = no limit). */
struct part {
	const char *name;
	enum bench_phase phase;
	uint64_t first, stock, seconds;
	unsigned batch;
	bool counted;
};

/* As many descriptors as connections ask for, if the limit can be raised. */
static bool enough_files(const struct bench_options *o)
{
	struct rlimit limit;
	rlim_t wanted = o->connections + o->threads + OTHER_FILES;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return true;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (limit.rlim_cur == wanted && setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return true;
	msg(MSG_ERROR, "--connections %llu: that needs %llu open files, and %llu are allowed (ulimit -n)",
	    (unsigned long long)o->connections, (unsigned long long)wanted,
	    (unsigned long long)limit.rlim_cur);
	return false;
}

static bool open_workers(struct bench *b)
{
	int stop = bench_stop_open();
	if (stop < 0) {
		msg(MSG_ERROR, "eventfd: %s", strerror(errno));
		return false;
	}
	b->workers = calloc(b->o.threads, sizeof(*b->workers));
	if (!b->workers) {
		msg(MSG_ERROR, "memory is short");
		return false;
	}
	for (unsigned i = 0; i < b->o.threads; i++) {
		struct bench_worker *w = &b->workers[i];
		unsigned share =
		    (unsigned)(b->o.connections / b->o.threads + (i < b->o.connections % b->o.threads));
		w->shared.load = &b->o.load;
		w->shared.batch = (unsigned)b->o.pipeline;
		w->shared.miss_set = b->o.miss_set || b->o.trace;
		if (!bench_worker_open(w, i, &b->address, share, stop))
			return false;
	}
	return true;
}

static void merge(struct bench_result *into, const struct bench_result *from)
{
	into->gets += from->gets;
	into->hits += from->hits;
	into->sets += from->sets;
	into->errors += from->errors;
	into->wrong += from->wrong;
	into->lost += from->lost;
	into->bytes_in += from->bytes_in;
	into->bytes_out += from->bytes_out;
	if (into->first_error[0] == '\0')
		memcpy(into->first_error, from->first_error, sizeof(into->first_error));
	bench_hist_merge(&into->get_ns, &from->get_ns);
	bench_hist_merge(&into->set_ns, &from->set_ns);
}

/* What the threads have done so far. */
static bool look(const struct bench *b, struct bench_progress *p)
{
	bool ended = true;
	p->done = p->gets = p->hits = 0;
	for (unsigned i = 0; i < b->o.threads; i++) {
		const struct bench_worker *w = &b->workers[i];
		p->done += atomic_load_explicit(&w->done, memory_order_relaxed);
		p->gets += atomic_load_explicit(&w->gets, memory_order_relaxed);
		p->hits += atomic_load_explicit(&w->hits, memory_order_relaxed);
		ended = ended && atomic_load(&w->ended);
	}
	return !ended;
}

static bool run_workers(struct bench *b, const struct part *part, uint64_t begin)
{
	unsigned started = 0;
	uint64_t deadline = part->seconds ? begin + part->seconds * 1000000000u : UINT64_MAX;
	uint64_t until = part->seconds ? deadline + PATIENCE_NS : UINT64_MAX;
	while (started < b->o.threads && bench_worker_start(&b->workers[started], part->batch, deadline))
		started++;
	struct bench_progress p = {.name = part->name, .begun = begin, .deadline = deadline};
	p.claimed = &b->o.load.claimed;
	p.first = part->first;
	p.stock = part->stock;
	if (started == b->o.threads && bench_progress_wanted()) {
		while (look(b, &p) && bench_conn_now() < until)
			bench_progress_show(&p);
		bench_progress_end(&p);
	}
	for (unsigned i = 0; i < started; i++) {
		if (bench_worker_join(&b->workers[i], until))
			continue;
		bench_stop_now();
		bench_worker_join(&b->workers[i], UINT64_MAX);
	}
	return started == b->o.threads;
}

static void collect(struct bench *b, struct bench_report *report)
{
	for (unsigned i = 0; i < b->o.threads; i++) {
		merge(&report->result, &b->workers[i].shared.result);
		memset(&b->workers[i].shared.result, 0, sizeof(struct bench_result));
	}
}

/* One part from first request to last answer, reported if it is counted. */
static int run_part(struct bench *b, const struct part *part)
{
	static struct bench_report report;
	struct bench_cpu before, after;
	memset(&report, 0, sizeof(report));
	report.phase = part->name;
	report.scale = part->phase == BENCH_TRACE ? b->o.scale : 0;
	report.rate = b->o.load.interval > 0 && part->phase != BENCH_FILL ? 1e9 / b->o.load.interval : 0;
	bool known = b->o.pid != 0 && bench_cpu_read((pid_t)b->o.pid, &before);
	uint64_t begin = bench_conn_now();
	bench_load_start(&b->o.load, part->phase, part->first, part->stock, begin);
	if (!run_workers(b, part, begin))
		return TOOL_SYSTEM;
	report.seconds = (double)(bench_conn_now() - begin) / 1e9;
	report.cpu_known = known && bench_cpu_read((pid_t)b->o.pid, &after);
	if (report.cpu_known) {
		report.cpu = bench_cpu_used(&before, &after);
		report.cpu_user = after.user - before.user;
		report.cpu_system = after.system - before.system;
	}
	collect(b, &report);
	int exit_code = bench_report_exit(&report);
	return !part->counted || bench_report_print(&report, b->o.json) ? exit_code : TOOL_IO;
}

/* Requests that are counted, without a limit UINT64_MAX. */
static uint64_t wanted(const struct bench *b, uint64_t warmed_up)
{
	if (b->o.requests_given)
		return b->o.requests;
	if (!b->o.trace)
		return b->o.seconds ? UINT64_MAX : REQUESTS_DEFAULT;
	return b->trace.n > warmed_up ? b->trace.n - warmed_up : 0;
}

static int run_parts(struct bench *b)
{
	const struct bench_options *o = &b->o;
	struct part part = {.name = "fill", .stock = o->load.keys, .counted = true};
	int exit_code = TOOL_OK;
	part.batch = o->pipeline > FILL_BATCH ? (unsigned)o->pipeline : FILL_BATCH;
	part.phase = BENCH_FILL;
	if (o->fill)
		exit_code = run_part(b, &part);
	part = (struct part){.name = "warm-up", .phase = o->trace ? BENCH_TRACE : BENCH_MIX};
	part.batch = (unsigned)o->pipeline;
	part.stock = o->warm_up_seconds ? INT64_MAX : o->warm_up;
	part.seconds = o->warm_up_seconds;
	if (part.stock > 0 && exit_code != TOOL_IO && !bench_stopped()) {
		exit_code = tool_worse(exit_code, run_part(b, &part));
		part.first = atomic_load(&b->o.load.claimed);
	}
	part.name = o->trace ? "trace" : "mix";
	part.counted = true;
	part.seconds = o->seconds;
	uint64_t n = wanted(b, part.first);
	part.stock = n > UINT64_MAX - part.first ? UINT64_MAX : part.first + n;
	if (n > 0 && exit_code != TOOL_IO && !bench_stopped())
		exit_code = tool_worse(exit_code, run_part(b, &part));
	return exit_code;
}

static bool load_trace(struct bench *b)
{
	struct bench_options *o = &b->o;
	if (!bench_trace_load(&b->trace, o->trace))
		return false;
	/* What is not replayed has no part in the footprint. */
	uint64_t replayed = o->warm_up + o->requests;
	if (o->requests_given && !o->warm_up_seconds && replayed > 0 && replayed < b->trace.n)
		b->trace.n = replayed;
	if (o->scale_to > 0 && !bench_footprint_factor(&b->trace, o->scale_to / o->scale_share, &o->scale))
		return false;
	if (o->scale > 0)
		bench_trace_scale(&b->trace, o->scale);
	o->load.trace = &b->trace;
	return true;
}

static int run(struct bench *b)
{
	struct bench_cpu cpu;
	if (b->o.trace && !load_trace(b))
		return TOOL_IO;
	if (b->o.pid != 0 && !bench_cpu_read((pid_t)b->o.pid, &cpu)) {
		msg(MSG_ERROR, "--pid %llu: no such process", (unsigned long long)b->o.pid);
		return TOOL_USAGE;
	}
	if (!bench_load_init(&b->o.load)) {
		msg(MSG_ERROR, "memory is short");
		return TOOL_SYSTEM;
	}
	if (!enough_files(&b->o))
		return TOOL_SYSTEM;
	if (!client_resolve(b->o.server, &b->address))
		return TOOL_USAGE;
	if (!open_workers(b))
		return TOOL_NO_DAEMON;
	bench_stop_catch();
	return run_parts(b);
}

int bench_main(int argc, char **argv)
{
	static struct bench b;
	int exit_code;
	if (!bench_options_parse(&b.o, argc, argv, &exit_code))
		return exit_code;
	exit_code = run(&b);
	for (unsigned i = 0; b.workers && i < b.o.threads; i++)
		bench_worker_close(&b.workers[i]);
	free(b.workers);
	bench_load_free(&b.o.load);
	bench_trace_free(&b.trace);
	bench_stop_pass_on();
	return exit_code;
}
