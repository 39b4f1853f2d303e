/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_options: see bench_options.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tool/bench_options.h"
#include "tool/options.h"
#include "tool/tool.h"

#define BATCH_MAX   65536u
#define THREADS_MAX 256u
#define SCALE_MAX   1e9
/* Below the prime that spreads ranks; see bench_load.c. */
#define KEYS_MAX 4000000000u

enum row {
	ROW_SERVER,
	ROW_PROTOCOL,
	ROW_CONNECTIONS,
	ROW_THREADS,
	ROW_PIPELINE,
	ROW_RATE,
	ROW_GET,
	ROW_KEYS,
	ROW_KEY_SIZE,
	ROW_VALUE_SIZE,
	ROW_DISTRIBUTION,
	ROW_REQUESTS,
	ROW_SECONDS,
	ROW_WARM_UP,
	ROW_FILL,
	ROW_JSON_VALUES,
	ROW_VERIFY,
	ROW_MISS_SET,
	ROW_OVERWRITE,
	ROW_TTL,
	ROW_TRACE,
	ROW_SCALE,
	ROW_SCALE_TO,
	ROW_PID,
	ROW_SEED,
	ROW_JSON,
	N_ROWS
};

static const struct options_row ROWS[N_ROWS] = {
    [ROW_SERVER] = {"server", "HOST:PORT|PATH", "the server, or its unix socket (127.0.0.1:11211)"},
    [ROW_PROTOCOL] = {"protocol", "text|meta|binary|resp", "what to speak; resp is that of Redis (text)"},
    [ROW_CONNECTIONS] = {"connections", "N", "connections in all (32)"},
    [ROW_THREADS] = {"threads", "N", "threads that share them (1)"},
    [ROW_PIPELINE] = {"pipeline", "N", "requests sent at once on a connection (1)"},
    [ROW_RATE] = {"rate", "N", "requests a second in all; latency counts from when each is due"},
    [ROW_GET] = {"get", "PERCENT", "share of gets, the rest are sets (90)"},
    [ROW_KEYS] = {"keys", "N", "different keys (100000)"},
    [ROW_KEY_SIZE] = {"key-size", "N|A-B", "bytes of a key, or even between two sizes (20)"},
    [ROW_VALUE_SIZE] = {"value-size", "N|A-B|lognormal=MEDIAN[:SIGMA[:MIN-MAX]]",
        "bytes of a value, even between two sizes, or lognormal (100)"},
    [ROW_DISTRIBUTION] = {"distribution", "uniform|zipf[=S]",
        "how often a key is asked for (uniform; S is 0.99)"},
    [ROW_REQUESTS] = {"requests", "N", "end after N requests (1000000, or the whole trace)"},
    [ROW_SECONDS] = {"seconds", "N", "end after N seconds"},
    [ROW_WARM_UP] = {"warm-up", "N|Ns", "requests, or seconds, that come first and are not counted"},
    [ROW_FILL] = {"fill", NULL, "first set each key once, in order"},
    [ROW_JSON_VALUES] = {"json-values", NULL, "values look like JSON, for servers that compress"},
    [ROW_VERIFY] = {"verify", NULL, "values say whose they are; check each that is read"},
    [ROW_MISS_SET] = {"miss-set", NULL, "a get that misses is followed by a set of its key"},
    [ROW_OVERWRITE] = {"overwrite", "PERCENT", "share of hits followed by a set with another size (0)"},
    [ROW_TTL] = {"ttl", "PERCENT", "share of what is stored that expires in a minute to a day (0)"},
    [ROW_TRACE] = {"trace", "FILE",
        "replay \"seconds key size\" lines (plain or zstd): get, set what misses"},
    [ROW_SCALE] = {"scale", "FACTOR", "multiply the trace's value sizes"},
    [ROW_SCALE_TO] = {"scale-to", "SHARE%:MIB", "so that SHARE of the trace's keys and values take MIB MiB"},
    [ROW_PID] = {"pid", "PID", "the server's process: report its CPU time a request"},
    [ROW_SEED] = {"seed", "N", "seed of the random numbers (1)"},
    [ROW_JSON] = {"json", NULL, "one JSON object for each phase"},
};
static const struct options_spec SPEC = {"bench", "",
    "Loads a memcached, Hearth or Redis server and reports throughput, hit ratio and latency.", ROWS, N_ROWS};

static bool parse_protocol(struct bench_load *load, const char *text)
{
	static const char *const names[] = {
	    [BENCH_TEXT] = "text", [BENCH_META] = "meta", [BENCH_BINARY] = "binary", [BENCH_RESP] = "resp"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			load->protocol = (enum bench_protocol)i;
			return true;
		}
	}
	options_usage(&SPEC, "--protocol takes text, meta, binary or resp, not \"%s\"", text);
	return false;
}

static bool parse_key_sizes(struct bench_load *load, const char *text)
{
	if (bench_sizes_parse_range(&load->key_sizes, text, 2, RECORD_KEY_MAX))
		return true;
	options_usage(&SPEC, "--key-size takes a size or two, A-B, from 2 to %u bytes, not \"%s\"",
	    RECORD_KEY_MAX, text);
	return false;
}

static bool parse_value_sizes(struct bench_load *load, const char *text)
{
	if (bench_sizes_parse(&load->value_sizes, text, 0, RECORD_VALUE_MAX))
		return true;
	options_usage(&SPEC,
	    "--value-size takes a size or two, A-B, of at most %u bytes, or lognormal=MEDIAN:SIGMA:MIN-MAX "
	    "with SIGMA "
	    "from 0 to 10, not \"%s\"",
	    RECORD_VALUE_MAX, text);
	return false;
}

/* A decimal number above 0 that ends at *ret_end; 0 = none. */
static double decimal(const char *text, char **ret_end)
{
	*ret_end = (char *)text;
	bool digit = text[0] >= '0' && text[0] <= '9';
	double n = digit || text[0] == '.' ? strtod(text, ret_end) : 0;
	return isfinite(n) && n > 0 ? n : 0;
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

static bool parse_scale(struct bench_options *o, const char *text)
{
	char *end;
	o->scale = decimal(text, &end);
	if (o->scale > 0 && o->scale <= SCALE_MAX && *end == '\0')
		return true;
	options_usage(&SPEC, "--scale takes a number above 0, as 2.5, not \"%s\"", text);
	return false;
}

static bool parse_scale_to(struct bench_options *o, const char *text)
{
	char *end, *last = "";
	o->scale_share = decimal(text, &end) / 100;
	double mib = end[0] == '%' && end[1] == ':' ? decimal(end + 2, &last) : 0;
	o->scale_to = mib * 1024 * 1024;
	if (o->scale_share > 0 && mib > 0 && *last == '\0')
		return true;
	options_usage(&SPEC, "--scale-to takes a share and MiB, as 10%%:64, not \"%s\"", text);
	return false;
}

/* N requests, or seconds: Ns. */
static bool parse_warm_up(struct bench_options *o, const char *text)
{
	char *end = (char *)text;
	unsigned long long n = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
	bool seconds = strcmp(end, "s") == 0;
	o->warm_up = seconds ? 0 : n;
	o->warm_up_seconds = seconds ? n : 0;
	if (end > text && n <= (seconds ? 1000000u : (unsigned long long)INT64_MAX) &&
	    (seconds || *end == '\0'))
		return true;
	options_usage(&SPEC, "--warm-up takes a number of requests, or seconds as 5s, not \"%s\"", text);
	return false;
}

static bool take_percent(int row, const char *value, unsigned *ret)
{
	uint64_t n = 0;
	bool ok = options_number(&SPEC, row, value, 0, 100, &n);
	*ret = (unsigned)n;
	return ok;
}

static bool take_number(struct bench_options *o, int row, const char *value)
{
	struct bench_load *load = &o->load;
	uint64_t n = 1;
	bool ok;
	switch ((enum row)row) {
	case ROW_CONNECTIONS:
		return options_number(&SPEC, row, value, 1, 100000, &o->connections);
	case ROW_THREADS:
		return options_number(&SPEC, row, value, 1, THREADS_MAX, &o->threads);
	case ROW_PIPELINE:
		return options_number(&SPEC, row, value, 1, BATCH_MAX, &o->pipeline);
	case ROW_RATE:
		ok = options_number(&SPEC, row, value, 1, 1000000000, &n);
		load->interval = 1e9 / (double)n;
		return ok;
	case ROW_GET:
		return take_percent(row, value, &load->get_percent);
	case ROW_OVERWRITE:
		return take_percent(row, value, &load->overwrite_percent);
	case ROW_TTL:
		return take_percent(row, value, &load->ttl_percent);
	case ROW_KEYS:
		return options_number(&SPEC, row, value, 1, KEYS_MAX, &load->keys);
	case ROW_REQUESTS:
		o->requests_given = true;
		return options_number(&SPEC, row, value, 0, INT64_MAX, &o->requests);
	case ROW_SECONDS:
		return options_number(&SPEC, row, value, 1, 1000000, &o->seconds);
	case ROW_PID:
		return options_number(&SPEC, row, value, 1, INT32_MAX, &o->pid);
	case ROW_SEED:
		return options_number(&SPEC, row, value, 0, UINT64_MAX, &load->seed);
	default:
		return false;
	}
}

static bool take_option(void *arg, int row, const char *value)
{
	struct bench_options *o = arg;
	switch ((enum row)row) {
	case ROW_SERVER:
		o->server = value;
		return true;
	case ROW_PROTOCOL:
		return parse_protocol(&o->load, value);
	case ROW_KEY_SIZE:
		return parse_key_sizes(&o->load, value);
	case ROW_VALUE_SIZE:
		return parse_value_sizes(&o->load, value);
	case ROW_DISTRIBUTION:
		return parse_distribution(&o->load, value);
	case ROW_WARM_UP:
		return parse_warm_up(o, value);
	case ROW_TRACE:
		o->trace = value;
		return true;
	case ROW_SCALE:
		return parse_scale(o, value);
	case ROW_SCALE_TO:
		return parse_scale_to(o, value);
	case ROW_FILL:
		return o->fill = true;
	case ROW_VERIFY:
		return o->load.verify = true;
	case ROW_JSON_VALUES:
		return o->load.json = true;
	case ROW_MISS_SET:
		return o->miss_set = true;
	case ROW_JSON:
		return o->json = true;
	default:
		return take_number(o, row, value);
	}
}

/* What no option by itself gets wrong. */
static bool agree(const struct bench_options *o)
{
	const struct bench_load *load = &o->load;
	unsigned digits = 1;
	for (uint64_t n = load->keys - 1; n >= 10; n /= 10)
		digits++;
	if (o->connections < o->threads)
		options_usage(&SPEC, "--connections must not be fewer than --threads");
	else if (o->trace && o->fill)
		options_usage(&SPEC, "--trace and --fill exclude each other");
	else if (o->scale > 0 && o->scale_to > 0)
		options_usage(&SPEC, "--scale and --scale-to exclude each other");
	else if (!o->trace && (o->scale > 0 || o->scale_to > 0))
		options_usage(&SPEC, "--scale and --scale-to are of no use without --trace");
	else if (!o->trace && load->key_sizes.min < digits + 1)
		options_usage(&SPEC, "%llu keys need a --key-size of %u or more",
		    (unsigned long long)load->keys, digits + 1);
	else if (!o->trace && load->verify &&
	         bench_load_smallest(load) < bench_value_head(load->key_sizes.max))
		options_usage(&SPEC, "--verify needs a --value-size of %u or more",
		    bench_value_head(load->key_sizes.max) * (load->overwrite_percent > 0 ? 2 : 1));
	else
		return true;
	return false;
}

bool bench_options_parse(struct bench_options *o, int argc, char **argv, int *ret_exit)
{
	struct options options;
	int n;
	*o = (struct bench_options){
	    .server = "127.0.0.1:11211", .connections = 32, .threads = 1, .pipeline = 1};
	o->load = (struct bench_load){.keys = 100000,
	    .key_sizes = {.min = 20, .max = 20},
	    .value_sizes = {.min = 100, .max = 100},
	    .get_percent = 90,
	    .seed = 1};
	*ret_exit = TOOL_USAGE;
	if (!options_read(&options, &SPEC, argc, argv, take_option, o)) {
		*ret_exit = options.exit;
		return false;
	}
	o->load.sizes_by_key = o->miss_set;
	return options_arguments(&options, 0, 0, &n) && agree(o);
}
