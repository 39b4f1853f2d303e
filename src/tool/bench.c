/* SPDX-License-Identifier: BSD-3-Clause */
/* bench: loads a server with the text protocol of memcached and measures it: reads the options, runs the
 * phases (fill, then mix or trace) and hands each to the report. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/msg.h"
#include "tool/bench_cpu.h"
#include "tool/bench_report.h"
#include "tool/bench_worker.h"
#include "tool/client.h"
#include "tool/options.h"
#include "tool/tool.h"

#define REQUESTS_DEFAULT 1000000u
/* Filling asks for nothing but speed. */
#define FILL_BATCH  64u
#define BATCH_MAX   65536u
#define THREADS_MAX 256u
/* Below the prime that spreads ranks; see bench_load.c. */
#define KEYS_MAX 4000000000u

enum row {
	ROW_SERVER,
	ROW_CONNECTIONS,
	ROW_THREADS,
	ROW_PIPELINE,
	ROW_GET,
	ROW_KEYS,
	ROW_KEY_SIZE,
	ROW_VALUE_SIZE,
	ROW_DISTRIBUTION,
	ROW_REQUESTS,
	ROW_SECONDS,
	ROW_FILL,
	ROW_VERIFY,
	ROW_MISS_SET,
	ROW_TRACE,
	ROW_PID,
	ROW_SEED,
	ROW_JSON,
	N_ROWS
};

static const struct options_row ROWS[N_ROWS] = {
    [ROW_SERVER] = {"server", "HOST:PORT|PATH", "the server, or its unix socket (127.0.0.1:11211)"},
    [ROW_CONNECTIONS] = {"connections", "N", "connections in all (32)"},
    [ROW_THREADS] = {"threads", "N", "threads that share them (1)"},
    [ROW_PIPELINE] = {"pipeline", "N", "requests sent at once on a connection (1)"},
    [ROW_GET] = {"get", "PERCENT", "share of gets, the rest are sets (90)"},
    [ROW_KEYS] = {"keys", "N", "different keys (100000)"},
    [ROW_KEY_SIZE] = {"key-size", "N", "bytes of a key (20)"},
    [ROW_VALUE_SIZE] = {"value-size", "N|A-B", "bytes of a value, or even between two sizes (100)"},
    [ROW_DISTRIBUTION] = {"distribution", "uniform|zipf[=S]",
        "how often a key is asked for (uniform; S is 0.99)"},
    [ROW_REQUESTS] = {"requests", "N", "end after N requests (1000000, or the whole trace)"},
    [ROW_SECONDS] = {"seconds", "N", "end after N seconds"},
    [ROW_FILL] = {"fill", NULL, "first set each key once, in order"},
    [ROW_VERIFY] = {"verify", NULL, "values say whose they are; check each that is read"},
    [ROW_MISS_SET] = {"miss-set", NULL, "a get that misses is followed by a set of its key"},
    [ROW_TRACE] = {"trace", "FILE",
        "replay \"seconds key size\" lines (plain or zstd): get, set what misses"},
    [ROW_PID] = {"pid", "PID", "the server's process: report its CPU time a request"},
    [ROW_SEED] = {"seed", "N", "seed of the random numbers (1)"},
    [ROW_JSON] = {"json", NULL, "one JSON object for each phase"},
};
static const struct options_spec SPEC = {"bench", "",
    "Loads a memcached or Hearth server and reports throughput, hit ratio and latency.", ROWS, N_ROWS};

struct bench {
	const char *server, *trace_path;
	uint64_t connections, threads, pipeline, seconds, requests, pid;
	bool requests_given, fill, miss_set, json;
	struct bench_load load;
	struct bench_trace trace;
	struct client_address address;
	struct bench_worker *workers;
};

static bool parse_sizes(struct bench_load *load, const char *text)
{
	char *end;
	errno = 0;
	unsigned long long low = strtoull(text, &end, 10), high = low;
	bool ok = text[0] >= '0' && text[0] <= '9';
	if (ok && *end == '-') {
		ok = end[1] >= '0' && end[1] <= '9';
		high = strtoull(end + 1, &end, 10);
	}
	if (!ok || *end != '\0' || errno != 0 || low > high || high > RECORD_VALUE_MAX) {
		options_usage(&SPEC, "--value-size takes a size or two, A-B, of at most %u bytes, not \"%s\"",
		    RECORD_VALUE_MAX, text);
		return false;
	}
	load->value_min = (uint32_t)low;
	load->value_max = (uint32_t)high;
	return true;
}

static bool parse_distribution(struct bench_load *load, const char *text)
{
	load->zipf = 0;
	if (strcmp(text, "uniform") == 0)
		return true;
	char *end = "";
	load->zipf = strcmp(text, "zipf") == 0        ? 0.99
	             : strncmp(text, "zipf=", 5) == 0 ? strtod(text + 5, &end)
	                                              : 0;
	if (load->zipf >= 0.01 && load->zipf <= 10 && *end == '\0')
		return true;
	options_usage(
	    &SPEC, "--distribution takes uniform, zipf or zipf=S with S from 0.01 to 10, not \"%s\"", text);
	return false;
}

static bool take_number(struct bench *b, int row, const char *value)
{
	struct bench_load *load = &b->load;
	uint64_t n;
	bool ok = true;
	switch ((enum row)row) {
	case ROW_CONNECTIONS:
		return options_number(&SPEC, row, value, 1, 100000, &b->connections);
	case ROW_THREADS:
		return options_number(&SPEC, row, value, 1, THREADS_MAX, &b->threads);
	case ROW_PIPELINE:
		return options_number(&SPEC, row, value, 1, BATCH_MAX, &b->pipeline);
	case ROW_GET:
		ok = options_number(&SPEC, row, value, 0, 100, &n);
		load->get_percent = (unsigned)n;
		return ok;
	case ROW_KEYS:
		return options_number(&SPEC, row, value, 1, KEYS_MAX, &load->keys);
	case ROW_KEY_SIZE:
		ok = options_number(&SPEC, row, value, 2, RECORD_KEY_MAX, &n);
		load->key_size = (unsigned)n;
		return ok;
	case ROW_REQUESTS:
		b->requests_given = true;
		return options_number(&SPEC, row, value, 0, INT64_MAX, &b->requests);
	case ROW_SECONDS:
		return options_number(&SPEC, row, value, 1, 1000000, &b->seconds);
	case ROW_PID:
		return options_number(&SPEC, row, value, 1, INT32_MAX, &b->pid);
	case ROW_SEED:
		return options_number(&SPEC, row, value, 0, UINT64_MAX, &load->seed);
	default:
		return false;
	}
}

static bool take_option(struct bench *b, int row, const char *value)
{
	switch ((enum row)row) {
	case ROW_SERVER:
		b->server = value;
		return true;
	case ROW_VALUE_SIZE:
		return parse_sizes(&b->load, value);
	case ROW_DISTRIBUTION:
		return parse_distribution(&b->load, value);
	case ROW_TRACE:
		b->trace_path = value;
		return true;
	case ROW_FILL:
		return b->fill = true;
	case ROW_VERIFY:
		return b->load.verify = true;
	case ROW_MISS_SET:
		return b->miss_set = true;
	case ROW_JSON:
		return b->json = true;
	default:
		return take_number(b, row, value);
	}
}

/* What no option by itself gets wrong. */
static bool agree(const struct bench *b)
{
	const struct bench_load *load = &b->load;
	unsigned digits = 1;
	for (uint64_t n = load->keys - 1; n >= 10; n /= 10)
		digits++;
	if (b->connections < b->threads)
		options_usage(&SPEC, "--connections must not be fewer than --threads");
	else if (b->trace_path && b->fill)
		options_usage(&SPEC, "--trace and --fill exclude each other");
	else if (!b->trace_path && load->key_size < digits + 1)
		options_usage(&SPEC, "%llu keys need a --key-size of %u or more",
		    (unsigned long long)load->keys, digits + 1);
	else if (!b->trace_path && load->verify && load->value_min < bench_load_head(load->key_size))
		options_usage(
		    &SPEC, "--verify needs a --value-size of %u or more", bench_load_head(load->key_size));
	else
		return true;
	return false;
}

static bool open_workers(struct bench *b)
{
	b->workers = calloc(b->threads, sizeof(*b->workers));
	if (!b->workers) {
		msg(MSG_ERROR, "memory is short");
		return false;
	}
	for (unsigned i = 0; i < b->threads; i++) {
		struct bench_worker *w = &b->workers[i];
		unsigned share = (unsigned)(b->connections / b->threads + (i < b->connections % b->threads));
		w->shared.load = &b->load;
		w->shared.batch = (unsigned)b->pipeline;
		w->shared.miss_set = b->miss_set || b->trace_path;
		if (!bench_worker_open(w, i, &b->address, share))
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

/* A line that is overwritten, on a terminal only, until all threads have ended. */
static void show_progress(const struct bench *b, const char *phase)
{
	if (!isatty(STDERR_FILENO))
		return;
	for (bool ended = false; !ended;) {
		uint64_t done = 0;
		ended = true;
		for (unsigned i = 0; i < b->threads; i++) {
			done += atomic_load_explicit(&b->workers[i].done, memory_order_relaxed);
			ended = ended && atomic_load(&b->workers[i].ended);
		}
		fprintf(stderr, "\r%s: %llu requests", phase, (unsigned long long)done);
		nanosleep(&(struct timespec){0, 100000000}, NULL);
	}
	fputs("\r\033[K", stderr);
}

static bool run_workers(struct bench *b, const char *phase, unsigned batch, uint64_t deadline)
{
	unsigned started = 0;
	while (started < b->threads && bench_worker_start(&b->workers[started], batch, deadline))
		started++;
	if (started == b->threads)
		show_progress(b, phase);
	for (unsigned i = 0; i < started; i++)
		bench_worker_join(&b->workers[i]);
	return started == b->threads;
}

/* One phase from first request to last answer, reported. */
static int run_phase(
    struct bench *b, enum bench_phase phase, uint64_t stock, unsigned batch, uint64_t seconds)
{
	static const char *const names[] = {
	    [BENCH_FILL] = "fill", [BENCH_MIX] = "mix", [BENCH_TRACE] = "trace"};
	static struct bench_report report;
	struct bench_cpu before, after;
	memset(&report, 0, sizeof(report));
	report.phase = names[phase];
	bench_load_start(&b->load, phase, stock);
	bool known = b->pid != 0 && bench_cpu_read((pid_t)b->pid, &before);
	uint64_t begin = bench_conn_now();
	if (!run_workers(b, names[phase], batch, seconds ? begin + seconds * 1000000000u : UINT64_MAX))
		return TOOL_SYSTEM;
	report.seconds = (double)(bench_conn_now() - begin) / 1e9;
	report.cpu_known = known && bench_cpu_read((pid_t)b->pid, &after);
	if (report.cpu_known) {
		report.cpu = bench_cpu_used(&before, &after);
		report.cpu_user = after.user - before.user;
		report.cpu_system = after.system - before.system;
	}
	for (unsigned i = 0; i < b->threads; i++) {
		merge(&report.result, &b->workers[i].shared.result);
		memset(&b->workers[i].shared.result, 0, sizeof(struct bench_result));
	}
	int exit_code = bench_report_exit(&report);
	return bench_report_print(&report, b->json) ? exit_code : TOOL_IO;
}

static int run(struct bench *b)
{
	struct bench_cpu cpu;
	if (b->trace_path) {
		if (!bench_trace_load(&b->trace, b->trace_path))
			return TOOL_IO;
		b->load.trace = &b->trace;
	}
	if (b->pid != 0 && !bench_cpu_read((pid_t)b->pid, &cpu)) {
		msg(MSG_ERROR, "--pid %llu: no such process", (unsigned long long)b->pid);
		return TOOL_USAGE;
	}
	if (!bench_load_init(&b->load)) {
		msg(MSG_ERROR, "memory is short");
		return TOOL_SYSTEM;
	}
	if (!client_resolve(b->server, &b->address))
		return TOOL_USAGE;
	if (!open_workers(b))
		return TOOL_NO_DAEMON;

	unsigned batch = (unsigned)b->pipeline;
	int exit_code = TOOL_OK;
	if (b->fill)
		exit_code =
		    run_phase(b, BENCH_FILL, b->load.keys, batch > FILL_BATCH ? batch : FILL_BATCH, 0);
	uint64_t stock = b->requests;
	if (!b->requests_given)
		stock = b->trace_path ? b->trace.n : b->seconds ? UINT64_MAX : REQUESTS_DEFAULT;
	if (stock > 0 && exit_code != TOOL_IO)
		exit_code = tool_worse(exit_code,
		    run_phase(b, b->trace_path ? BENCH_TRACE : BENCH_MIX, stock, batch, b->seconds));
	return exit_code;
}

int bench_main(int argc, char **argv)
{
	struct options o;
	const char *value;
	struct bench b = {.server = "127.0.0.1:11211", .connections = 32, .threads = 1, .pipeline = 1};
	b.load = (struct bench_load){
	    .keys = 100000, .key_size = 20, .value_min = 100, .value_max = 100, .get_percent = 90, .seed = 1};
	int row, n;
	options_init(&o, &SPEC, argc, argv);
	while ((row = options_next(&o, &value)) >= 0) {
		if (!take_option(&b, row, value))
			return TOOL_USAGE;
	}
	if (row == OPTIONS_EXIT)
		return o.exit;
	if (!options_arguments(&o, 0, 0, &n) || !agree(&b))
		return TOOL_USAGE;
	int exit_code = run(&b);
	for (unsigned i = 0; b.workers && i < b.threads; i++)
		bench_worker_close(&b.workers[i]);
	free(b.workers);
	bench_load_free(&b.load);
	bench_trace_free(&b.trace);
	return exit_code;
}
