/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_report: see bench_report.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/bench_report.h"
#include "tool/json.h"
#include "tool/tool.h"

struct percentile {
	const char *name; /* in JSON */
	const char *text;
	double share;
};

static const struct percentile PERCENTILES[] = {{"p50", "p50", 0.5}, {"p90", "p90", 0.9},
    {"p99", "p99", 0.99}, {"p999", "p99.9", 0.999}, {"max", "max", 1}};
#define N_PERCENTILES (sizeof(PERCENTILES) / sizeof(PERCENTILES[0]))

static double micro(const struct bench_hist *h, const struct percentile *p)
{
	return (double)bench_hist_percentile(h, p->share) / 1e3;
}

static double per(double a, double b)
{
	return b > 0 ? a / b : 0;
}

int bench_report_exit(const struct bench_report *report)
{
	const struct bench_result *r = &report->result;
	if (r->errors + r->wrong + r->lost > 0)
		msg(r->wrong + r->lost > 0 ? MSG_ERROR : MSG_WARN,
		    "%s: %llu errors, %llu wrong values, %llu lost connections; the first: %s", report->phase,
		    (unsigned long long)r->errors, (unsigned long long)r->wrong, (unsigned long long)r->lost,
		    r->first_error);
	if (r->lost > 0)
		return TOOL_IO;
	return r->wrong > 0 ? TOOL_DATA : TOOL_OK;
}

static void json_latency(struct json *j, const char *what, const struct bench_hist *h)
{
	for (size_t i = 0; h->count > 0 && i < N_PERCENTILES; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%s_%s_us", what, PERCENTILES[i].name);
		json_double(j, name, micro(h, &PERCENTILES[i]));
	}
}

static void print_json(struct out *out, const struct bench_report *report, const struct bench_hist *all)
{
	const struct bench_result *r = &report->result;
	double requests = (double)(r->gets + r->sets);
	struct json j = json_begin(out);
	json_text(&j, "phase", report->phase);
	json_u64(&j, "requests", r->gets + r->sets);
	json_double(&j, "seconds", report->seconds);
	json_double(&j, "requests_per_second", per(requests, report->seconds));
	if (report->rate > 0)
		json_double(&j, "rate", report->rate);
	if (report->scale > 0)
		json_double(&j, "scale", report->scale);
	json_u64(&j, "gets", r->gets);
	json_u64(&j, "sets", r->sets);
	json_u64(&j, "hits", r->hits);
	json_u64(&j, "misses", r->gets - r->hits);
	if (r->gets > 0)
		json_double(&j, "hit_ratio", per((double)r->hits, (double)r->gets));
	json_u64(&j, "errors", r->errors);
	json_u64(&j, "wrong", r->wrong);
	json_u64(&j, "lost", r->lost);
	json_u64(&j, "bytes_in", r->bytes_in);
	json_u64(&j, "bytes_out", r->bytes_out);
	json_latency(&j, "all", all);
	json_latency(&j, "get", &r->get_ns);
	json_latency(&j, "set", &r->set_ns);
	if (report->cpu_known) {
		json_double(&j, "server_cpu_us_per_request", per(report->cpu * 1e6, requests));
		json_double(&j, "server_cpu_seconds", report->cpu);
		json_double(&j, "server_user_seconds", report->cpu_user);
		json_double(&j, "server_system_seconds", report->cpu_system);
	}
	json_end(&j);
}

static void print_latency(const char *what, const struct bench_hist *h)
{
	if (h->count == 0)
		return;
	printf("%-6s %-4s", "", what);
	for (size_t i = 0; i < N_PERCENTILES; i++)
		printf("  %s %.0f us", PERCENTILES[i].text, micro(h, &PERCENTILES[i]));
	putchar('\n');
}

static void print_text(const struct bench_report *report, const struct bench_hist *all)
{
	const struct bench_result *r = &report->result;
	double requests = (double)(r->gets + r->sets);
	printf("%-6s %llu requests in %.3f s: %.0f a second\n", report->phase,
	    (unsigned long long)(r->gets + r->sets), report->seconds, per(requests, report->seconds));
	if (report->rate > 0)
		printf("%-6s %.0f a second asked for; latencies count from when each request was due\n", "",
		    report->rate);
	if (report->scale > 0)
		printf("%-6s value sizes of the trace times %.6g\n", "", report->scale);
	if (r->gets > 0)
		printf("%-6s %llu gets, %llu hits, hit ratio %.4f; %llu sets\n", "",
		    (unsigned long long)r->gets, (unsigned long long)r->hits,
		    per((double)r->hits, (double)r->gets), (unsigned long long)r->sets);
	if (r->gets > 0 && r->sets > 0)
		print_latency("all", all);
	print_latency("get", &r->get_ns);
	print_latency("set", &r->set_ns);
	printf("%-6s %llu errors, %llu wrong values, %llu lost connections\n", "",
	    (unsigned long long)r->errors, (unsigned long long)r->wrong, (unsigned long long)r->lost);
	if (report->cpu_known)
		printf("%-6s server: %.3f us of CPU a request (%.2f s user, %.2f s system)\n", "",
		    per(report->cpu * 1e6, requests), report->cpu_user, report->cpu_system);
}

bool bench_report_print(const struct bench_report *report, bool as_json)
{
	static struct bench_hist all;
	memset(&all, 0, sizeof(all));
	bench_hist_merge(&all, &report->result.get_ns);
	bench_hist_merge(&all, &report->result.set_ns);
	if (!as_json) {
		print_text(report, &all);
		bool printed = fflush(stdout) == 0 && !ferror(stdout);
		if (!printed)
			msg(MSG_ERROR, "standard output: %s", strerror(errno));
		return printed;
	}
	struct out out;
	if (!out_open(&out, 1)) {
		msg(MSG_ERROR, "memory is short");
		return false;
	}
	print_json(&out, report, &all);
	return out_close(&out);
}
