/* SPDX-License-Identifier: BSD-3-Clause */
/* keys: lists the keys of files or of a running server, or sums them up. */
#include "tool/options.h"
#include "tool/origin.h"
#include "tool/report.h"
#include "tool/summary.h"
#include "tool/tool.h"
#include "tool/writer.h"

#define TOP_MAX 1000000u

enum {
	ROW_SERVER,
	ROW_PREFIX,
	ROW_EXPIRED,
	ROW_PREFIXES,
	ROW_DELIMITER,
	ROW_SIZES,
	ROW_TTL,
	ROW_TOP,
	ROW_JSON,
	N_ROWS
};
static const struct options_row ROWS[N_ROWS] = {
    [ROW_SERVER] = {"server", "HOST:PORT|PATH", "of a running server, or its unix socket"},
    [ROW_PREFIX] = {"prefix", "PREFIX", "only keys that begin so"},
    [ROW_EXPIRED] = {"expired", NULL, "of files, also what has expired"},
    [ROW_PREFIXES] = {"prefixes", "N", "sum up by prefix, the N largest of them"},
    [ROW_DELIMITER] = {"delimiter", "TEXT", "what ends a prefix (:)"},
    [ROW_SIZES] = {"sizes", NULL, "sum up by size"},
    [ROW_TTL] = {"ttl", NULL, "sum up by the time that is left"},
    [ROW_TOP] = {"top", "N", "the N largest items"},
    [ROW_JSON] = {"json", NULL, "one JSON object a key, or one for all that is summed up"},
};
static const struct options_spec SPEC = {"keys", "FILE|DIR",
    "Lists the keys of a data directory, a snapshot, a log segment or a running server, or sums them up.",
    ROWS, N_ROWS};

struct keys {
	struct origin origin;
	struct item_wish wish;
	struct summary_options options;
	struct summary summary;
	struct out out;
	bool summed, json;
};

static int take(void *arg, const struct item *item)
{
	struct keys *k = arg;
	if (k->summed)
		return summary_add(&k->summary, item) ? TOOL_OK : report_no_memory();
	if (k->json) {
		writer_put_json(&k->out, item);
	} else {
		summary_key(&k->out, item->key, item->key_len);
		out_char(&k->out, '\n');
	}
	return k->out.error == 0 ? TOOL_OK : TOOL_IO;
}

static int run(struct keys *k)
{
	if (!out_open(&k->out, 1))
		return report_no_memory();
	int exit_code = k->summed ? summary_open(&k->summary, &k->options) : TOOL_OK;
	if (exit_code == TOOL_OK) {
		exit_code = origin_each(&k->origin, &k->wish, take, k);
		/* What was damaged is left out and named; what could not be read to its end is no sum. */
		if (k->summed && exit_code <= TOOL_DAMAGE)
			summary_print(&k->summary, &k->out, k->json);
	}
	if (k->summed)
		summary_close(&k->summary);
	return out_close(&k->out) ? exit_code : TOOL_IO;
}

static bool take_option(void *arg, int row, const char *value)
{
	struct keys *k = arg;
	switch (row) {
	case ROW_SERVER:
		k->origin.server = value;
		return true;
	case ROW_PREFIX:
		k->wish.prefix = value;
		k->wish.prefix_len = strlen(value);
		return true;
	case ROW_EXPIRED:
		return k->wish.expired = true;
	case ROW_PREFIXES:
		k->summed = true;
		return options_number(&SPEC, row, value, 1, SUMMARY_PREFIXES_MAX, &k->options.prefixes);
	case ROW_DELIMITER:
		k->options.delimiter = value;
		if (value[0] != '\0')
			return true;
		options_usage(&SPEC, "--delimiter is empty");
		return false;
	case ROW_SIZES:
		return k->summed = k->options.sizes = true;
	case ROW_TTL:
		return k->summed = k->options.ttl = true;
	case ROW_TOP:
		k->summed = true;
		return options_number(&SPEC, row, value, 1, TOP_MAX, &k->options.top);
	default:
		return k->json = true;
	}
}

int keys_main(int argc, char **argv)
{
	struct options o;
	struct keys k = {.options.delimiter = ":"};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &k))
		return o.exit;
	char **args = options_arguments(&o, k.origin.server ? 0 : 1, k.origin.server ? 0 : 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (k.origin.server && k.wish.expired)
		return options_usage(&SPEC, "a server has nothing that has expired: --expired is for files");
	k.origin.path = args[0];
	k.wish.printed = !k.summed;
	return run(&k);
}
