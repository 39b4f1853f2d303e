/* SPDX-License-Identifier: BSD-3-Clause */
/* stats: statistics, see stats.h. The general part holds exactly the names of memcached 1.6; what has no
 * meaning here is 0, as it is in a memcached that does not use it. */
#include "server/stats.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "engine/engine.h"
#include "server/counters.h"
#include "server/detail.h"
#include "server/dispatch.h"
#include "server/internal.h"
#include "server/latency.h"
#include "server/listener.h"

#define LINE_MAX_LEN 640

struct print {
	struct server *s;
	const struct conn *asker; /* NULL: none of the server's list */
	struct buf *out;
	struct engine_stats e;
	uint64_t counters[COUNTERS];
	bool failed;
};

/* One line: name, and a value in which anything that would end a word becomes '_'. */
static void line(struct print *p, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void line(struct print *p, const char *name, const char *fmt, ...)
{
	char text[LINE_MAX_LEN], value[LINE_MAX_LEN - 64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	for (char *c = value; *c; c++) {
		if ((unsigned char)*c <= ' ' || *c == 127)
			*c = '_';
	}
	int n = snprintf(text, sizeof text, "STAT %.60s %s\r\n", name, value);
	if (!buf_append(p->out, text, (size_t)n))
		p->failed = true;
}

static void number(struct print *p, const char *name, uint64_t v)
{
	line(p, name, "%" PRIu64, v);
}

static const char *yes(bool b)
{
	return b ? "yes" : "no";
}

static void numbers(struct print *p, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		number(p, names[i], 0);
}

#define ZEROS(p, ...) \
	numbers(p, (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

static uint64_t load(const uint64_t *v)
{
	return __atomic_load_n(v, __ATOMIC_RELAXED);
}

void stats_collect(struct server *s, uint64_t ret_counters[COUNTERS], struct engine_stats *ret_engine)
{
	uint64_t reset[COUNTERS];
	/* What was counted before the last reset; read first, so that one in between makes nothing negative. */
	for (unsigned c = 0; c < COUNTERS; c++)
		reset[c] = __atomic_load_n(&s->reset_counters[c], __ATOMIC_ACQUIRE);
	for (unsigned c = 0; c < COUNTERS; c++) {
		ret_counters[c] = -reset[c];
		for (unsigned i = 0; i < s->n_workers; i++)
			ret_counters[c] += counter_read(s->workers[i].counters, c);
	}
	engine_get_stats(s->engine, ret_engine);
}

static void collect(struct print *p)
{
	stats_collect(p->s, p->counters, &p->e);
}

static void print_process(struct print *p)
{
	struct server *s = p->s;
	struct rusage ru;
	int64_t up = (clock_mono_us() - s->start_us) / 1000000;

	getrusage(RUSAGE_SELF, &ru);
	number(p, "pid", (uint64_t)getpid());
	number(p, "uptime", (uint64_t)up);
	number(p, "time", (uint64_t)(clock_wall_ms() / 1000));
	line(p, "version", "%s", dispatch_protocol());
	line(p, "libevent", "%s", event_get_version());
	number(p, "pointer_size", 8 * sizeof(void *));
	line(p, "rusage_user", "%ld.%06ld", (long)ru.ru_utime.tv_sec, (long)ru.ru_utime.tv_usec);
	line(p, "rusage_system", "%ld.%06ld", (long)ru.ru_stime.tv_sec, (long)ru.ru_stime.tv_usec);
	number(p, "max_connections", SERVER_OPTION(s, max_conns));
	number(p, "curr_connections", __atomic_load_n(&s->curr_conns, __ATOMIC_RELAXED));
	number(p, "total_connections", load(&s->total_conns));
	number(p, "rejected_connections", load(&s->rejected_conns));
	number(p, "connection_structures", __atomic_load_n(&s->curr_conns, __ATOMIC_RELAXED));
	number(p, "response_obj_oom", p->counters[COUNTER_response_obj_oom]);
	ZEROS(p, "response_obj_count", "response_obj_bytes");
	number(p, "read_buf_count", p->counters[COUNTER_read_buf_count]);
	number(p, "read_buf_bytes", p->counters[COUNTER_read_buf_count] * CONN_CHUNK);
	ZEROS(p, "read_buf_bytes_free");
	number(p, "read_buf_oom", p->counters[COUNTER_read_buf_oom]);
	number(p, "reserved_fds", 5 * s->options.workers);
}

static const char *const counter_names[COUNTERS] = {
#define COUNTER_NAME(name) #name,
    COUNTER_TABLE(COUNTER_NAME)
#undef COUNTER_NAME
};

static void print_counters(struct print *p, enum counter first, enum counter last)
{
	for (unsigned c = first; c <= last; c++)
		number(p, counter_names[c], p->counters[c]);
}

static void print_watch(struct print *p)
{
	struct watch_figures f;
	watch_get_figures(p->s->watch, &f);
	number(p, "log_worker_written", f.written);
	number(p, "log_watcher_skipped", f.skipped);
	number(p, "log_watcher_sent", f.sent);
	number(p, "log_watchers", f.watchers);
}

static void print_general(struct print *p)
{
	struct server *s = p->s;

	collect(p);
	print_process(p);
	print_counters(p, COUNTER_cmd_get, COUNTER_get_misses);
	number(p, "get_expired", p->e.expired);
	number(p, "get_flushed", p->e.flushed);
	print_counters(p, COUNTER_delete_misses, COUNTER_store_no_memory);
	if (SERVER_OPTION(s, idle_timeout))
		number(p, "idle_kicks", p->counters[COUNTER_idle_kicks]);
	ZEROS(p, "auth_cmds", "auth_errors");
	print_counters(p, COUNTER_bytes_read, COUNTER_bytes_written);
	number(p, "limit_maxbytes", p->e.memory);
	number(p, "accepting_conns", __atomic_load_n(&s->accepting, __ATOMIC_RELAXED));
	number(p, "listen_disabled_num", load(&s->listen_disabled));
	number(p, "time_in_listen_disabled_us", load(&s->listen_disabled_us));
	number(p, "threads", s->options.workers);
	number(p, "conn_yields", p->counters[COUNTER_conn_yields]);
	unsigned level = 0;
	while (level < 63 && (1ull << (level + 1)) <= p->e.index_buckets)
		level++;
	number(p, "hash_power_level", level);
	number(p, "hash_bytes", p->e.index_bytes);
	ZEROS(p, "hash_is_expanding", "slab_reassign_rescues", "slab_reassign_chunk_rescues",
	    "slab_reassign_evictions_nomem", "slab_reassign_inline_reclaim", "slab_reassign_busy_items",
	    "slab_reassign_busy_deletes", "slab_reassign_running", "slabs_moved", "lru_crawler_running",
	    "lru_crawler_starts", "lru_maintainer_juggles", "malloc_fails", "log_worker_dropped",
	    "unexpected_napi_ids", "round_robin_fallback");
	print_watch(p);
	number(p, "bytes", p->e.bytes);
	number(p, "curr_items", p->e.items);
	number(p, "total_items", p->e.total_items);
	ZEROS(p, "slab_global_page_pool");
	number(p, "expired_unfetched", p->e.expired_unfetched);
	number(p, "evicted_unfetched", p->e.evicted_unfetched);
	ZEROS(p, "evicted_active");
	number(p, "evictions", p->e.evictions);
	number(p, "reclaimed", p->e.reclaimed);
	ZEROS(p, "crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked", "moves_to_cold",
	    "moves_to_warm", "moves_within_lru", "direct_reclaims", "lru_bumps_dropped");
}

static void print_settings(struct print *p)
{
	const struct server_options *o = &p->s->options;

	collect(p);
	number(p, "maxbytes", p->e.memory);
	number(p, "maxconns", SERVER_OPTION(p->s, max_conns));
	number(p, "tcpport", (uint64_t)p->s->port);
	number(p, "udpport", 0);
	line(p, "inter", "%s", o->listen ? o->listen : "127.0.0.1,::1");
	number(p, "verbosity", (uint64_t)__atomic_load_n(&p->s->verbosity, __ATOMIC_RELAXED));
	number(p, "oldest", 0);
	line(p, "evictions", "%s", SERVER_OPTION(p->s, no_evict) ? "off" : "on");
	line(p, "domain_socket", "%s", o->unix_path ? o->unix_path : "NULL");
	line(p, "umask", "%o", o->unix_mask);
	line(p, "shutdown_command", "%s", yes(SERVER_OPTION(p->s, shutdown)));
	line(p, "growth_factor", "1.25");
	number(p, "chunk_size", 48);
	number(p, "num_threads", o->workers);
	number(p, "num_threads_per_udp", 0);
	line(p, "stat_key_prefix", "%c", o->detail ? o->detail : ':');
	line(p, "detail_enabled", "%s", yes(detail_is_on(p->s)));
	number(p, "reqs_per_event", SERVER_OPTION(p->s, turn_requests));
	line(p, "cas_enabled", "%s", yes(!SERVER_OPTION(p->s, no_cas)));
	number(p, "tcp_backlog", SERVER_OPTION(p->s, backlog));
	static const char *const spoken[] = {"auto-negotiate", "ascii", "binary"};
	line(p, "binding_protocol", "%s", spoken[SERVER_OPTION(p->s, protocol)]);
	line(p, "auth_enabled_sasl", "no");
	line(p, "auth_enabled_ascii", "no");
	number(p, "item_size_max", o->item_max);
	line(p, "maxconns_fast", "%s", yes(SERVER_OPTION(p->s, maxconns_fast)));
	ZEROS(p, "hashpower_init");
	line(p, "slab_reassign", "no");
	ZEROS(p, "slab_automove");
	line(p, "slab_automove_ratio", "0.80");
	number(p, "slab_automove_window", 30);
	number(p, "slab_chunk_max", o->item_max);
	line(p, "lru_crawler", "no");
	number(p, "lru_crawler_sleep", 100);
	ZEROS(p, "lru_crawler_tocrawl", "tail_repair_time");
	line(p, "flush_enabled", "%s", yes(!SERVER_OPTION(p->s, no_flush)));
	line(p, "dump_enabled", "%s", yes(!SERVER_OPTION(p->s, no_dump)));
	line(p, "hash_algorithm", "xxh3");
	line(p, "lru_maintainer_thread", "no");
	line(p, "lru_segmented", "no");
	number(p, "hot_lru_pct", 20);
	number(p, "warm_lru_pct", 40);
	line(p, "hot_max_factor", "0.20");
	line(p, "warm_max_factor", "2.00");
	line(p, "temp_lru", "no");
	number(p, "temporary_ttl", 61);
	number(p, "idle_timeout", SERVER_OPTION(p->s, idle_timeout));
	number(p, "watcher_logbuf_size", o->watch_kib ? o->watch_kib : WATCH_ROOM);
	ZEROS(p, "worker_logbuf_size");
	number(p, "read_buf_mem_limit", (uint64_t)o->buffers_mib << 20);
	line(p, "track_sizes", "no");
	line(p, "inline_ascii_response", "no");
	line(p, "ssl_enabled", "no");
	line(p, "num_napi_ids", "(null)");
	line(p, "memory_file", "(null)");
}

/* Everything is in one class, called 1: exporters and GUIs ask for classes. */
static void print_items(struct print *p)
{
	collect(p);
	if (p->e.items == 0)
		return;
	number(p, "items:1:number", p->e.items);
	ZEROS(p, "items:1:number_hot", "items:1:number_warm");
	number(p, "items:1:number_cold", p->e.items);
	ZEROS(p, "items:1:age_hot", "items:1:age_warm");
	number(p, "items:1:age", p->e.oldest_access > 0 ? (uint64_t)p->e.oldest_access : 0);
	number(p, "items:1:mem_requested", p->e.bytes);
	number(p, "items:1:evicted", p->e.evictions);
	ZEROS(p, "items:1:evicted_nonzero", "items:1:evicted_time");
	number(p, "items:1:outofmemory", p->counters[COUNTER_store_no_memory]);
	ZEROS(p, "items:1:tailrepairs");
	number(p, "items:1:reclaimed", p->e.reclaimed);
	number(p, "items:1:expired_unfetched", p->e.expired_unfetched);
	number(p, "items:1:evicted_unfetched", p->e.evicted_unfetched);
	ZEROS(p, "items:1:evicted_active", "items:1:crawler_reclaimed", "items:1:crawler_items_checked",
	    "items:1:lrutail_reflocked", "items:1:moves_to_cold", "items:1:moves_to_warm",
	    "items:1:moves_within_lru", "items:1:direct_reclaims", "items:1:hits_to_hot",
	    "items:1:hits_to_warm");
	number(p, "items:1:hits_to_cold", p->counters[COUNTER_get_hits]);
	ZEROS(p, "items:1:hits_to_temp");
}

/* A chunk is the mean item, a page a region: the figures agree with each other. */
static void print_slabs(struct print *p)
{
	collect(p);
	uint64_t chunk = p->e.items > 0 ? (p->e.bytes + p->e.items - 1) / p->e.items : 0;
	uint64_t page = p->e.region_size ? p->e.region_size : 1 << 20;
	if (chunk > 0) {
		uint64_t per_page = page / chunk > 0 ? page / chunk : 1;
		uint64_t pages = p->e.regions - p->e.regions_free;
		if (pages * per_page < p->e.items)
			pages = (p->e.items + per_page - 1) / per_page;
		number(p, "1:chunk_size", chunk);
		number(p, "1:chunks_per_page", per_page);
		number(p, "1:total_pages", pages);
		number(p, "1:total_chunks", pages * per_page);
		number(p, "1:used_chunks", p->e.items);
		number(p, "1:free_chunks", pages * per_page - p->e.items);
		ZEROS(p, "1:free_chunks_end");
		number(p, "1:get_hits", p->counters[COUNTER_get_hits]);
		number(p, "1:cmd_set", p->counters[COUNTER_cmd_set]);
		number(p, "1:delete_hits", p->counters[COUNTER_delete_hits]);
		number(p, "1:incr_hits", p->counters[COUNTER_incr_hits]);
		number(p, "1:decr_hits", p->counters[COUNTER_decr_hits]);
		number(p, "1:cas_hits", p->counters[COUNTER_cas_hits]);
		number(p, "1:cas_badval", p->counters[COUNTER_cas_badval]);
		number(p, "1:touch_hits", p->counters[COUNTER_touch_hits]);
	}
	number(p, "active_slabs", chunk > 0);
	number(p, "total_malloced", p->e.memory_used);
}

static void address(const struct sockaddr_storage *ss, char *ret_text, size_t size)
{
	char ip[INET6_ADDRSTRLEN];
	unsigned port;
	if (!conn_address(ss, ip, &port))
		snprintf(ret_text, size, "unix:%s", ((const struct sockaddr_un *)ss)->sun_path);
	else
		snprintf(ret_text, size, ss->ss_family == AF_INET6 ? "tcp6:[%s]:%u" : "tcp:%s:%u", ip, port);
}

/* One socket: its peer when it has one, its own address, what it does. */
static void print_socket(struct print *p, int fd, bool is_unix, bool listens, const char *state, int64_t idle)
{
	struct sockaddr_storage peer = {0}, own = {0};
	socklen_t peer_len = sizeof peer, own_len = sizeof own;
	char name[64], text[160];

	getsockname(fd, (struct sockaddr *)&own, &own_len);
	if (!listens)
		getpeername(fd, (struct sockaddr *)&peer, &peer_len);
	snprintf(name, sizeof name, "%d:addr", fd);
	address(listens || is_unix ? &own : &peer, text, sizeof text);
	line(p, name, "%s", text);
	if (!listens) {
		snprintf(name, sizeof name, "%d:listen_addr", fd);
		address(&own, text, sizeof text);
		line(p, name, "%s", text);
	}
	snprintf(name, sizeof name, "%d:state", fd);
	line(p, name, "%s", state);
	snprintf(name, sizeof name, "%d:secs_since_last_cmd", fd);
	line(p, name, "%" PRId64, idle);
}

/* memcached's names, and two of our own. */
static const char *state_name(const struct print *p, const struct conn *c)
{
	static const char *const states[] = {
	    "conn_read", "conn_parse_cmd", "conn_parked", "conn_waiting", "conn_mwrite"};
	uint8_t state = __atomic_load_n(&c->state, __ATOMIC_RELAXED);
	if (c == p->asker)
		return "conn_parse_cmd";
	return state == CONN_READING && __atomic_load_n(&c->partial, __ATOMIC_RELAXED) ? "conn_nread"
	                                                                               : states[state];
}

static void print_conns(struct print *p)
{
	struct server *s = p->s;
	struct conn *c;
	int fds[LISTENER_MAX];
	unsigned n = listener_fds(s->listener, fds, LISTENER_MAX);
	int64_t now = 0;

	for (unsigned i = 0; i < n; i++)
		print_socket(
		    p, fds[i], false, true, "conn_listening", (clock_mono_us() - s->start_us) / 1000000);
	pthread_mutex_lock(&s->lock);
	/* The newest command of all is now, or a moment ago: this one is being answered. */
	TAILQ_FOREACH(c, &s->conns, all)
	{
		int64_t last = __atomic_load_n(&c->last_command, __ATOMIC_RELAXED);
		now = last > now ? last : now;
	}
	TAILQ_FOREACH(c, &s->conns, all)
	{
		int64_t last = __atomic_load_n(&c->last_command, __ATOMIC_RELAXED);
		print_socket(p, c->fd, c->is_unix, false, state_name(p, c), last > 0 ? now - last : 0);
	}
	pthread_mutex_unlock(&s->lock);
}

static void print_recovery(struct print *p)
{
	const struct engine_recovery *r = &p->e.recovery;
	bool loading = __atomic_load_n(&p->s->loading, __ATOMIC_RELAXED);

	line(p, "loading", "%s", yes(loading));
	if (loading) {
		number(p, "loading_done_bytes", load(&p->s->load_done));
		number(p, "loading_all_bytes", load(&p->s->load_all));
		number(p, "loading_items", load(&p->s->load_items));
	}
	number(p, "recovery_items", r->items);
	number(p, "recovery_bytes", r->bytes);
	line(p, "recovery_seconds", "%.3f", r->seconds);
	number(p, "recovery_snapshot", r->snapshot);
	number(p, "recovery_log_records", r->log_records);
	number(p, "recovery_expired", r->expired);
	number(p, "recovery_dropped", r->dropped);
	line(p, "recovery_downtime", "%.3f", r->downtime);
	line(p, "recovery_started_empty", "%s", yes(r->empty));
	line(p, "recovery_clock", "%s", r->clock ? r->clock : "agrees");
	number(p, "recovery_clock_set_back", (uint64_t)r->clock_back);
	number(p, "recovery_left_out_bytes", r->left_out_bytes);
	number(p, "recovery_damaged", r->damaged);
	line(p, "recovery_note", "%s", r->note[0] ? r->note : "none");
}

static void print_log(struct print *p)
{
	const struct engine_stats *e = &p->e;
	char lineage[2 * HEARTH_ID_SIZE + 1];

	for (int i = 0; i < HEARTH_ID_SIZE; i++)
		snprintf(lineage + 2 * i, 3, "%02x", e->lineage[i]);
	line(p, "lineage", "%s", lineage);
	number(p, "generation", e->generation);
	line(p, "degraded", "%s", yes(e->degraded));
	line(p, "state", "%s", e->state);
	line(p, "state_reason", "%s", e->state_reason[0] ? e->state_reason : "none");
	number(p, "state_seconds", (uint64_t)e->state_seconds);
	line(p, "on_disk_error", "%s", e->serve ? "serve" : "refuse");
	number(p, "heals", e->heals);
	number(p, "refused_changes", e->refused);
	number(p, "reserve_bytes", e->reserve_bytes);
	number(p, "disk_limit", e->disk_limit);
	number(p, "disk_bytes", e->disk_bytes);
	line(p, "disk_waiting", "%s", yes(e->disk_waiting));
	number(p, "disk_early_snapshots", e->disk_early_snapshots);
	number(p, "disk_skipped_snapshots", e->disk_skipped_snapshots);
	number(p, "disk_given_up", e->disk_given_up);
	number(p, "last_seq", e->last_seq);
	number(p, "written_seq", e->written_seq);
	number(p, "durable_seq", e->durable_seq);
	number(p, "log_segments", e->log_segments);
	number(p, "log_bytes", e->log_bytes);
	number(p, "log_written_bytes", e->log_written_bytes);
	number(p, "log_writes", e->log_writes);
	number(p, "log_syncs", e->log_syncs);
	number(p, "log_waits", e->log_waits);
	number(p, "last_sync_us", e->last_sync_us);
	number(p, "max_sync_us", e->max_sync_us);
	number(p, "snapshots", e->snapshots);
	number(p, "snapshot_errors", e->snapshot_errors);
	line(p, "snapshot_running", "%s", yes(e->snapshot_running));
	number(p, "snapshot_written_items", e->snapshot_written);
	number(p, "snapshot_interval", (uint64_t)e->snapshot_interval);
	number(p, "snapshot_due_seconds", (uint64_t)e->snapshot_wait);
	number(p, "snapshot_due_log_bytes", e->snapshot_log_bytes);
	number(p, "log_since_snapshot", e->log_since_snapshot);
	number(p, "last_snapshot", e->last_snapshot);
	number(p, "last_snapshot_items", e->last_snapshot_items);
	number(p, "last_snapshot_bytes", e->last_snapshot_bytes);
	number(p, "last_snapshot_time", (uint64_t)e->last_snapshot_time);
	number(p, "last_snapshot_us", e->last_snapshot_us);
	number(p, "scrub_passes", e->scrub.passes);
	number(p, "scrub_bytes", e->scrub.bytes);
	number(p, "scrub_errors", e->scrub.errors);
	number(p, "scrub_last", (uint64_t)e->scrub.last);
	line(p, "scrub_bad_file", "%s", e->scrub.bad[0] ? e->scrub.bad : "none");
}

static void print_persist(struct print *p)
{
	const struct engine_stats *e = &p->e;

	collect(p);
	line(p, "hearth_version", "%s", HEARTH_VERSION);
	line(p, "persist", "%s", yes(e->persist));
	number(p, "memory_limit", e->memory);
	number(p, "memory_used", e->memory_used);
	number(p, "regions", e->regions);
	number(p, "regions_free", e->regions_free);
	number(p, "region_size", e->region_size);
	number(p, "index_bytes", e->index_bytes);
	number(p, "ghost_bytes", e->ghost_bytes);
	number(p, "large_bytes", e->large_bytes);
	number(p, "conns_parked", p->counters[COUNTER_conns_parked]);
	number(p, "flush_due", (uint64_t)e->flush_due);
	if (!e->persist)
		return;
	print_log(p);
	print_recovery(p);
}

static void print_compress(struct print *p)
{
	const struct engine_packing *k = &p->e.packing;

	collect(p);
	line(p, "compress", "%s", yes(k->on));
	number(p, "compress_dictionaries", k->dictionaries);
	number(p, "compress_trainings", k->trainings);
	number(p, "compress_sets", k->sets);
	number(p, "compress_raw_bytes", k->raw_bytes);
	number(p, "compress_stored_bytes", k->packed_bytes);
	number(p, "compress_refused", k->refused);
	number(p, "compress_unpacked", k->unpacked);
	number(p, "compress_errors", k->errors);
}

/* Percentiles of nothing are left out. */
static void print_kind(struct print *p, const char *kind, const struct histogram *times)
{
	static const struct {
		const char *name;
		unsigned permille;
	} rows[] = {{"p50", 500}, {"p99", 990}, {"p999", 999}, {"max", 1000}};
	uint64_t timed = histogram_within(times, HISTOGRAM_MAX);
	char name[64];

	snprintf(name, sizeof name, "latency_%s_timed", kind);
	number(p, name, timed);
	for (unsigned i = 0; timed && i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(name, sizeof name, "latency_%s_%s_us", kind, rows[i].name);
		line(p, name, "%.1f", (double)histogram_permille(times, rows[i].permille) / 1000);
	}
}

static void print_latency(struct print *p)
{
	struct latency_times times;
	double seconds;

	latency_recent(p->s, clock_mono_us(), &times, &seconds);
	number(p, "latency_every", LATENCY_EVERY);
	line(p, "latency_seconds", "%.1f", seconds);
	print_kind(p, "get", &times.kind[LATENCY_GET]);
	print_kind(p, "set", &times.kind[LATENCY_SET]);
}

static void print_sizes(struct print *p)
{
	line(p, "sizes_status", "disabled");
}

static const struct {
	const char *word;
	void (*print)(struct print *);
} parts[] = {
    [STATS_GENERAL] = {"", print_general},
    [STATS_SETTINGS] = {"settings", print_settings},
    [STATS_ITEMS] = {"items", print_items},
    [STATS_SLABS] = {"slabs", print_slabs},
    [STATS_SIZES] = {"sizes", print_sizes},
    [STATS_CONNS] = {"conns", print_conns},
    [STATS_PERSIST] = {"persist", print_persist},
    [STATS_COMPRESS] = {"compress", print_compress},
    [STATS_LATENCY] = {"latency", print_latency},
};

bool stats_find(const char *word, enum stats_part *ret_part)
{
	for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (strcmp(parts[i].word, word) == 0) {
			*ret_part = i;
			return true;
		}
	}
	return false;
}

bool stats_print(struct server *s, enum stats_part part, const struct conn *asker, struct buf *out)
{
	struct print p = {.s = s, .asker = asker, .out = out};
	CHECK_MAGIC(s, SERVER_MAGIC);
	parts[part].print(&p);
	return !p.failed;
}

void stats_reset(struct server *s)
{
	CHECK_MAGIC(s, SERVER_MAGIC);
	for (unsigned c = 0; c < COUNTERS; c++) {
		uint64_t sum = 0;
		if (c == COUNTER_read_buf_count)
			continue; /* a level, not a count */
		for (unsigned i = 0; i < s->n_workers; i++)
			sum += counter_read(s->workers[i].counters, c);
		__atomic_store_n(&s->reset_counters[c], sum, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&s->total_conns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->rejected_conns, 0, __ATOMIC_RELAXED);
	detail_reset(s->detail);
	latency_reset(s, clock_mono_us());
	engine_reset_stats(s->engine);
}

void stats_set_verbosity(struct server *s, int verbosity)
{
	__atomic_store_n(&s->verbosity, verbosity, __ATOMIC_RELAXED);
	msg_set_verbosity(verbosity);
}
