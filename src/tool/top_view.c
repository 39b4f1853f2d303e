/* SPDX-License-Identifier: BSD-3-Clause */
/* top_view: see top_view.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "tool/top_view.h"

/* ---- figures ---- */

static double value(const struct top_stats *s, enum top_figure f)
{
	return s->figure[f];
}

static bool is_yes(const struct top_stats *s, enum top_word w)
{
	return strcmp(s->word[w], "yes") == 0;
}

/* Since the answer before; a counter that went back was reset, and has counted this much since. */
static double grown(const struct top_stats *before, const struct top_stats *now, enum top_figure f)
{
	double d = value(now, f);
	return before && value(before, f) <= d ? d - value(before, f) : d;
}

static double share(double part, double rest)
{
	return part + rest > 0 ? part / (part + rest) : -1;
}

void top_view_make(struct top_view *v, const struct top_stats *before, const struct top_stats *now)
{
	/* An uptime that is shorter is another daemon's. */
	if (before && value(before, TOP_uptime) > value(now, TOP_uptime))
		before = NULL;
	double seconds = before ? (double)(now->at_us - before->at_us) / 1e6 : value(now, TOP_uptime);
	*v = (struct top_view){.seconds = seconds > 0.001 ? seconds : 1, .since_start = !before};
	double per = 1 / v->seconds;
	v->gets = per * grown(before, now, TOP_cmd_get);
	v->sets = per * grown(before, now, TOP_cmd_set);
	v->touches = per * grown(before, now, TOP_cmd_touch);
	v->metas = per * grown(before, now, TOP_cmd_meta);
	v->deletes = per * (grown(before, now, TOP_delete_hits) + grown(before, now, TOP_delete_misses));
	v->counts = per * (grown(before, now, TOP_incr_hits) + grown(before, now, TOP_incr_misses) +
	                      grown(before, now, TOP_decr_hits) + grown(before, now, TOP_decr_misses));
	v->all =
	    v->gets + v->sets + v->touches + v->deletes + v->counts + per * grown(before, now, TOP_cmd_flush);
	v->in = per * grown(before, now, TOP_bytes_read);
	v->out = per * grown(before, now, TOP_bytes_written);
	v->evictions = per * grown(before, now, TOP_evictions);
	v->expirations = per * grown(before, now, TOP_get_expired);
	v->log = per * grown(before, now, TOP_log_written_bytes);
	v->syncs = per * grown(before, now, TOP_log_syncs);
	v->refused = per * grown(before, now, TOP_refused_changes);
	v->hits = share(grown(before, now, TOP_get_hits), grown(before, now, TOP_get_misses));
	v->hits_ever = share(value(now, TOP_get_hits), value(now, TOP_get_misses));
}

/* ---- words ---- */

#define SHORT 24
struct word {
	char text[SHORT];
};

/* Three digits that count, and a unit. */
static struct word scaled(double d, double step, const char *const *units, unsigned n)
{
	struct word w;
	unsigned i = 0;
	while (i + 1 < n && d >= 999.5) {
		d /= step;
		i++;
	}
	bool whole = (i == 0 && d == (double)(uint64_t)d) || d >= 99.95;
	snprintf(w.text, sizeof(w.text), "%.*f%s", whole ? 0 : d < 9.995 ? 2 : 1, d, units[i]);
	return w;
}

static struct word number(double d)
{
	static const char *const units[] = {"", "k", "M", "G", "T"};
	return scaled(d, 1000, units, 5);
}

/* Such as people set themselves: all digits. */
static struct word whole(double d)
{
	struct word w;
	snprintf(w.text, sizeof(w.text), "%.0f", d);
	return w;
}

static struct word bytes(double d)
{
	static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
	return scaled(d, 1024, units, 6);
}

static struct word micros(double us)
{
	static const char *const units[] = {" us", " ms", " s"};
	return scaled(us, 1000, units, 3);
}

static struct word duration(double seconds)
{
	struct word w;
	unsigned long s = seconds < 0 ? 0 : (unsigned long)seconds;
	if (s < 120)
		snprintf(w.text, sizeof(w.text), "%lu s", s);
	else if (s < 7200)
		snprintf(w.text, sizeof(w.text), "%lu min", s / 60);
	else if (s < 172800)
		snprintf(w.text, sizeof(w.text), "%lu h %lu min", s / 3600, s / 60 % 60);
	else
		snprintf(w.text, sizeof(w.text), "%lu d %lu h", s / 86400, s / 3600 % 24);
	return w;
}

static struct word percent(double part)
{
	struct word w;
	if (part < 0)
		snprintf(w.text, sizeof(w.text), "-");
	else
		snprintf(w.text, sizeof(w.text), "%.1f %%", 100 * part);
	return w;
}

static double part_of(double part, double whole)
{
	return whole > 0 ? (part < whole ? part / whole : 1) : 0;
}

/* ---- lines ---- */

static void add(struct top_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct top_text *t, const char *fmt, ...)
{
	va_list ap;
	if (t->n == TOP_LINES)
		return;
	va_start(ap, fmt);
	vsnprintf(t->line[t->n++], sizeof(t->line[0]), fmt, ap);
	va_end(ap);
}

/* What a state of the log means for who uses it. */
static const char *meaning(const char *state)
{
	static const struct {
		const char *state, *means;
	} rows[] = {
	    {"reserve", "changes are refused, deletes are kept"},
	    {"stopped", "changes are refused; nothing acknowledged is missing on disk"},
	    {"untrusted", "deletes are in memory alone, a start now would begin empty"},
	    {"healing", "getting well: a snapshot for the new log is being written"},
	    {"lost", "changes are refused, a start could bring deleted items back"},
	};
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].state, state) == 0)
			return rows[i].means;
	return "see hearthd(8)";
}

static void add_state(struct top_text *t, const struct top_stats *s)
{
	if (is_yes(s, TOP_loading)) {
		double done = value(s, TOP_loading_done_bytes), all = value(s, TOP_loading_all_bytes);
		t->warning = t->n;
		add(t, "loading    %s of %s, %s items so far", percent(part_of(done, all)).text,
		    bytes(all).text, number(value(s, TOP_loading_items)).text);
	} else if (is_yes(s, TOP_degraded)) {
		t->warning = t->n;
		add(t, "DEGRADED   %s for %s: %s (%s)", s->word[TOP_state],
		    duration(value(s, TOP_state_seconds)).text, meaning(s->word[TOP_state]),
		    s->word[TOP_state_reason]);
	} else if (is_yes(s, TOP_disk_waiting)) {
		t->warning = t->n;
		add(t, "WAITING    changes wait for room under --max-disk: %s of %s taken",
		    bytes(value(s, TOP_disk_bytes)).text, bytes(value(s, TOP_disk_limit)).text);
	} else if (!s->word[TOP_hearth_version][0]) {
		add(t, "state      a memcached: it keeps nothing over a restart");
	} else if (!is_yes(s, TOP_persist)) {
		add(t, "state      serving; nothing is kept on disk");
	} else {
		add(t, "state      healthy; %s items recovered in %.1f s at the start",
		    number(value(s, TOP_recovery_items)).text, value(s, TOP_recovery_seconds));
	}
}

/* What is told together, of one kind of requests. */
struct times {
	enum top_figure timed, p50, p99, p999, max;
};
static const struct times GET = {TOP_latency_get_timed, TOP_latency_get_p50_us, TOP_latency_get_p99_us,
    TOP_latency_get_p999_us, TOP_latency_get_max_us};
static const struct times SET = {TOP_latency_set_timed, TOP_latency_set_p50_us, TOP_latency_set_p99_us,
    TOP_latency_set_p999_us, TOP_latency_set_max_us};

static void add_times(struct top_text *t, const struct top_stats *s, const char *name, const struct times *k)
{
	if (!s->has[k->timed])
		return;
	if (s->has[k->p50])
		add(t, "%s   p50 %s, p99 %s, p99.9 %s, max %s (sampled)", name, micros(value(s, k->p50)).text,
		    micros(value(s, k->p99)).text, micros(value(s, k->p999)).text,
		    micros(value(s, k->max)).text);
	else
		add(t, "%s   none sampled in the last %.0f s", name, value(s, TOP_latency_seconds));
}

static void add_requests(struct top_text *t, const struct top_view *v, const struct top_stats *s)
{
	add(t, "requests   %s/s%s: get %s, set %s, delete %s, touch %s, incr/decr %s", number(v->all).text,
	    v->since_start ? " since the start" : "", number(v->gets).text, number(v->sets).text,
	    number(v->deletes).text, number(v->touches).text, number(v->counts).text);
	add(t, "hits       %s now, %s since the start; %s/s of the requests are meta", percent(v->hits).text,
	    percent(v->hits_ever).text, number(v->metas).text);
	add_times(t, s, "get time", &GET);
	add_times(t, s, "set time", &SET);
	add(t, "network    %s connections of %s, in %s/s, out %s/s",
	    whole(value(s, TOP_curr_connections)).text, whole(value(s, TOP_max_connections)).text,
	    bytes(v->in).text, bytes(v->out).text);
}

static void add_memory(struct top_text *t, const struct top_view *v, const struct top_stats *s)
{
	bool own = s->has[TOP_memory_used];
	double used = value(s, own ? TOP_memory_used : TOP_bytes);
	double limit = value(s, own ? TOP_memory_limit : TOP_limit_maxbytes);
	add(t, "memory     %s of %s (%.0f %%), %s items", bytes(used).text, bytes(limit).text,
	    100 * part_of(used, limit), number(value(s, TOP_curr_items)).text);
	add(t, "leaving    evicted %s/s, expired %s/s", number(v->evictions).text,
	    number(v->expirations).text);
}

static void add_snapshot(struct top_text *t, const struct top_stats *s)
{
	char last[80] = "none yet", next[100] = "only when asked for";
	double ago = value(s, TOP_time) - value(s, TOP_last_snapshot_time);
	double wait = value(s, TOP_snapshot_due_seconds);
	double limit = value(s, TOP_snapshot_due_log_bytes), more = limit - value(s, TOP_log_since_snapshot);
	if (value(s, TOP_last_snapshot_time) > 0)
		snprintf(last, sizeof(last), "number %.0f, %s ago, %s", value(s, TOP_last_snapshot),
		    duration(ago).text, bytes(value(s, TOP_last_snapshot_bytes)).text);
	const struct word after = bytes(more > 0 ? more : 0);
	if (value(s, TOP_snapshot_interval) > 0 && limit > 0)
		snprintf(next, sizeof(next), "in %s or %s of log", duration(wait).text, after.text);
	else if (value(s, TOP_snapshot_interval) > 0)
		snprintf(next, sizeof(next), "in %s", duration(wait).text);
	else if (limit > 0)
		snprintf(next, sizeof(next), "after %s of log", after.text);
	if (is_yes(s, TOP_snapshot_running))
		add(t, "snapshot   running, %.0f %%; last: %s",
		    100 * part_of(value(s, TOP_snapshot_written_items), value(s, TOP_curr_items)), last);
	else
		add(t, "snapshot   %s; next %s", last, next);
}

static void add_log(struct top_text *t, const struct top_view *v, const struct top_stats *s)
{
	double behind = value(s, TOP_written_seq) - value(s, TOP_durable_seq);
	if (!is_yes(s, TOP_persist) || is_yes(s, TOP_loading))
		return;
	add(t, "log        +%s/s, %s, %s changes not synced yet", bytes(v->log).text,
	    bytes(value(s, TOP_log_bytes)).text, number(behind > 0 ? behind : 0).text);
	add(t, "fsync      %s/s, last %s, longest %s", number(v->syncs).text,
	    micros(value(s, TOP_last_sync_us)).text, micros(value(s, TOP_max_sync_us)).text);
	if (v->refused > 0)
		add(t, "refused    %s changes/s", number(v->refused).text);
	add_snapshot(t, s);
}

/* ---- hot keys ---- */

static enum top_sort order; /* of the sort that is under way: one thread */

static int compare(const void *a, const void *b)
{
	const struct top_key *x = *(const struct top_key *const *)a, *y = *(const struct top_key *const *)b;
	uint64_t m = order == TOP_BY_SURE ? x->count - x->error : x->count;
	uint64_t n = order == TOP_BY_SURE ? y->count - y->error : y->count;
	if (order != TOP_BY_KEY && m != n)
		return m > n ? -1 : 1;
	size_t len = x->len < y->len ? x->len : y->len;
	int c = memcmp(x->key, y->key, len);
	return c ? c : x->len < y->len ? -1 : x->len > y->len;
}

/* Escapes of four letters are not cut in the middle. */
static void show_key(char *out, size_t size, const struct top_key *k)
{
	size_t n = 0;
	for (size_t i = 0; i < k->len && n + 5 < size; i++) {
		uint8_t c = k->key[i];
		if (c > ' ' && c < 127 && c != '\\')
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
	}
	out[n] = '\0';
}

/* Fewer samples than this are no sign of anything: in a load without hot keys the table holds whatever came last. */
#define SIGN 3

/* Those that stand out, in their order. */
static unsigned pick(const struct top_stats *s, enum top_sort sort, const struct top_key *rows[TOP_KEYS])
{
	unsigned n = 0;
	for (unsigned i = 0; i < s->n_keys; i++)
		if (s->key[i].count - s->key[i].error >= SIGN)
			rows[n++] = &s->key[i];
	order = sort;
	qsort(rows, n, sizeof(*rows), compare);
	return n;
}

static void add_keys(struct top_text *t, const struct top_stats *s, enum top_sort sort, unsigned max)
{
	static const char *const by[] = {"what is certain", "what may be", "key"};
	const struct top_key *rows[TOP_KEYS];
	double all = value(s, TOP_hotkeys_sampled);
	if (!s->has[TOP_hotkeys_sampled] || max == 0)
		return;
	unsigned n = pick(s, sort, rows);
	add(t, "%s", "");
	add(t, "hot keys   sampled: 1 key in %.0f, %s in the last %.0f s; by %s", value(s, TOP_hotkeys_every),
	    number(all).text, value(s, TOP_hotkeys_seconds), by[sort]);
	add(t, n ? "  at least   at most   samples  key" : "  none stands out");
	for (unsigned i = 0; i < n && i < max; i++) {
		char key[TOP_COLUMNS - 40];
		double count = (double)rows[i]->count, sure = count - (double)rows[i]->error;
		show_key(key, sizeof(key), rows[i]);
		add(t, "  %8s  %8s  %8.0f  %s", percent(part_of(sure, all)).text,
		    percent(part_of(count, all)).text, sure, key);
	}
}

void top_view_lines(struct top_text *t, const struct top_view *v, const struct top_stats *s, const char *name,
    enum top_sort sort, unsigned keys)
{
	t->n = t->warning = 0;
	const char *version = s->word[TOP_hearth_version];
	add(t, "hearth top %s: %s %s, up %s", name, *version ? "hearthd" : "memcached",
	    *version ? version : s->word[TOP_version], duration(value(s, TOP_uptime)).text);
	add_state(t, s);
	if (!is_yes(s, TOP_loading)) {
		add_requests(t, v, s);
		add_memory(t, v, s);
		add_log(t, v, s);
		add_keys(t, s, sort, keys);
	}
}

/* ---- JSON ---- */

static void put_figure(struct json *j, const char *name, const struct top_stats *s, enum top_figure f)
{
	if (s->has[f])
		json_double(j, name, value(s, f));
	else
		json_null(j, name);
}

static void put_share(struct json *j, const char *name, double share)
{
	if (share < 0)
		json_null(j, name);
	else
		json_double(j, name, share);
}

static void put_rates(struct json *j, const struct top_view *v)
{
	json_double(j, "seconds", v->seconds);
	json_bool(j, "since_start", v->since_start);
	json_double(j, "requests_per_second", v->all);
	json_double(j, "get_per_second", v->gets);
	json_double(j, "set_per_second", v->sets);
	json_double(j, "delete_per_second", v->deletes);
	json_double(j, "touch_per_second", v->touches);
	json_double(j, "incr_decr_per_second", v->counts);
	json_double(j, "meta_per_second", v->metas);
	put_share(j, "hit_ratio", v->hits);
	put_share(j, "hit_ratio_ever", v->hits_ever);
	json_double(j, "received_bytes_per_second", v->in);
	json_double(j, "sent_bytes_per_second", v->out);
	json_double(j, "evictions_per_second", v->evictions);
	json_double(j, "expirations_per_second", v->expirations);
	json_double(j, "log_bytes_per_second", v->log);
	json_double(j, "fsyncs_per_second", v->syncs);
	json_double(j, "refused_per_second", v->refused);
}

static void put_figures(struct json *j, const struct top_stats *s)
{
	static const struct {
		const char *name;
		enum top_figure figure;
	} rows[] = {{"uptime_seconds", TOP_uptime}, {"connections", TOP_curr_connections},
	    {"items", TOP_curr_items}, {"memory_bytes", TOP_memory_used},
	    {"memory_limit_bytes", TOP_memory_limit}, {"log_bytes", TOP_log_bytes},
	    {"log_segments", TOP_log_segments}, {"last_fsync_us", TOP_last_sync_us},
	    {"max_fsync_us", TOP_max_sync_us}, {"snapshot_written_items", TOP_snapshot_written_items},
	    {"last_snapshot", TOP_last_snapshot}, {"last_snapshot_time", TOP_last_snapshot_time},
	    {"next_snapshot_seconds", TOP_snapshot_due_seconds},
	    {"next_snapshot_log_bytes", TOP_snapshot_due_log_bytes},
	    {"log_bytes_since_snapshot", TOP_log_since_snapshot},
	    {"loading_done_bytes", TOP_loading_done_bytes}, {"loading_all_bytes", TOP_loading_all_bytes},
	    {"get_p50_us", TOP_latency_get_p50_us}, {"get_p99_us", TOP_latency_get_p99_us},
	    {"get_p999_us", TOP_latency_get_p999_us}, {"get_max_us", TOP_latency_get_max_us},
	    {"get_timed", TOP_latency_get_timed}, {"set_p50_us", TOP_latency_set_p50_us},
	    {"set_p99_us", TOP_latency_set_p99_us}, {"set_p999_us", TOP_latency_set_p999_us},
	    {"set_max_us", TOP_latency_set_max_us}, {"set_timed", TOP_latency_set_timed},
	    {"timed_one_in", TOP_latency_every}, {"timed_seconds", TOP_latency_seconds},
	    {"keys_sampled", TOP_hotkeys_sampled}, {"sampled_one_in", TOP_hotkeys_every},
	    {"sampled_seconds", TOP_hotkeys_seconds}};
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put_figure(j, rows[i].name, s, rows[i].figure);
	if (s->has[TOP_written_seq])
		json_double(j, "unsynced_changes", value(s, TOP_written_seq) - value(s, TOP_durable_seq));
}

void top_view_json(struct out *out, const struct top_view *v, const struct top_stats *s, const char *name)
{
	struct json j = json_begin(out);
	json_text(&j, "server", name);
	json_i64(&j, "time_ms", clock_wall_ms());
	json_text(&j, "version", s->word[*s->word[TOP_hearth_version] ? TOP_hearth_version : TOP_version]);
	json_bool(&j, "persist", is_yes(s, TOP_persist));
	json_bool(&j, "loading", is_yes(s, TOP_loading));
	json_bool(&j, "degraded", is_yes(s, TOP_degraded));
	json_text(&j, "state", s->word[TOP_state]);
	json_text(&j, "state_reason", s->word[TOP_state_reason]);
	json_bool(&j, "snapshot_running", is_yes(s, TOP_snapshot_running));
	put_rates(&j, v);
	put_figures(&j, s);
	json_name(&j, "hot_keys");
	out_char(out, '[');
	for (unsigned i = 0; i < s->n_keys; i++) {
		struct json k = {out, true};
		out_text(out, i ? ",{" : "{");
		json_bytes(&k, "key", s->key[i].key, s->key[i].len);
		json_u64(&k, "samples", s->key[i].count);
		json_u64(&k, "too_high_by", s->key[i].error);
		out_char(out, '}');
	}
	out_char(out, ']');
	json_end(&j);
}
