/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics: the text of /metrics, see metrics.h. Tables give name, help and where the figure lies; what has labels or is
 * computed is printed by a function of its own. What memcached has and Hearth cannot have (slab classes, its LRU's crawler)
 * is left out: a 0 would be a lie on somebody's dashboard. */
#include "server/metrics.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <event2/buffer.h>
#include "base/check.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "server/counters.h"
#include "server/dispatch.h"
#include "server/internal.h"
#include "server/latency.h"
#include "server/stats.h"

#define METRICS_MAGIC 0x4d455452u
#define FRESH_US      100000 /* a flood of requests looks at the store ten times a second */

struct figures {
	struct engine_stats e;
	uint64_t counters[COUNTERS];
	/* What is no counter of a worker. */
	uint64_t max_conns, conns, total_conns, rejected_conns, listen_disabled, accepting, set_hits,
	    resident, workers;
	uint64_t disk_free, disk_size;
	int64_t uptime_us, time_ms, start_ms, user_us, system_us;
	struct metrics_load load;
	struct latency_times latency;
};

struct metrics {
	uint32_t magic;
	struct server *server;
	int dirfd;
	int64_t collected_us; /* 0 = never */
	struct evbuffer *out;
	bool failed;
	struct figures f;
};

/* How a figure is stored, and with that how it is shown. */
enum form { COUNT, BOOL, SECONDS, SECONDS_MS, SECONDS_US, REAL };
enum type { COUNTER, GAUGE };

struct row {
	const char *name, *help;
	enum type type;
	enum form form;
	size_t at; /* in struct figures */
};

#define AT(field) offsetof(struct figures, field)

/* ---- memcached_exporter's names ---- */

static const struct row process_rows[] = {
    {"memcached_uptime_seconds", "Time since the start.", COUNTER, SECONDS_US, AT(uptime_us)},
    {"memcached_time_seconds", "Wall clock of the server.", GAUGE, SECONDS_MS, AT(time_ms)},
    {"memcached_process_user_cpu_seconds_total", "CPU time of the process in user space.", COUNTER,
        SECONDS_US, AT(user_us)},
    {"memcached_process_system_cpu_seconds_total", "CPU time of the process in the kernel.", COUNTER,
        SECONDS_US, AT(system_us)},
    {"memcached_max_connections", "Clients that may be connected at a time (-c).", GAUGE, COUNT,
        AT(max_conns)},
    {"process_start_time_seconds", "When the process was started.", GAUGE, SECONDS_MS, AT(start_ms)},
    {"process_resident_memory_bytes", "Memory of the process that is resident.", GAUGE, COUNT, AT(resident)},
};

static const struct row memcached_rows[] = {
    {"memcached_read_bytes_total", "Bytes read from clients.", COUNTER, COUNT,
        AT(counters[COUNTER_bytes_read])},
    {"memcached_written_bytes_total", "Bytes sent to clients.", COUNTER, COUNT,
        AT(counters[COUNTER_bytes_written])},
    {"memcached_current_connections", "Open connections.", GAUGE, COUNT, AT(conns)},
    {"memcached_connections_total", "Connections accepted.", COUNTER, COUNT, AT(total_conns)},
    {"memcached_connections_rejected_total", "Connections closed at once, because there were -c of them.",
        COUNTER, COUNT, AT(rejected_conns)},
    {"memcached_connections_yielded_total", "Times that a connection gave others their turn (-R).", COUNTER,
        COUNT, AT(counters[COUNTER_conn_yields])},
    {"memcached_connections_listener_disabled_total",
        "Times that nobody was accepted, because -c were connected.", COUNTER, COUNT, AT(listen_disabled)},
    {"memcached_accepting_connections", "Whether connections are accepted now.", GAUGE, COUNT, AT(accepting)},
    {"memcached_current_bytes", "Bytes of the items.", GAUGE, COUNT, AT(e.bytes)},
    {"memcached_limit_bytes", "Memory for items, index included (-m).", GAUGE, COUNT, AT(e.memory)},
    {"memcached_malloced_bytes", "Memory that is in use for items, index included.", GAUGE, COUNT,
        AT(e.memory_used)},
    {"memcached_current_items", "Items that are there.", GAUGE, COUNT, AT(e.items)},
    {"memcached_items_total", "Items stored since the start.", COUNTER, COUNT, AT(e.total_items)},
    {"memcached_items_evicted_total", "Items that made room for others before their time.", COUNTER, COUNT,
        AT(e.evictions)},
    {"memcached_items_reclaimed_total", "Items stored in the place of an expired one.", COUNTER, COUNT,
        AT(e.reclaimed)},
    {"memcached_item_too_large_total", "Items not stored, because they were larger than -I.", COUNTER, COUNT,
        AT(counters[COUNTER_store_too_large])},
    {"memcached_item_no_memory_total", "Items not stored for want of memory.", COUNTER, COUNT,
        AT(counters[COUNTER_store_no_memory])},
};

/* memcached_commands_total. memcached counts a cas among the sets, too: there it is taken off. */
static const struct {
	const char *command, *status;
	size_t at;
} commands[] = {
    {"get", "hit", AT(counters[COUNTER_get_hits])},
    {"get", "miss", AT(counters[COUNTER_get_misses])},
    {"delete", "hit", AT(counters[COUNTER_delete_hits])},
    {"delete", "miss", AT(counters[COUNTER_delete_misses])},
    {"incr", "hit", AT(counters[COUNTER_incr_hits])},
    {"incr", "miss", AT(counters[COUNTER_incr_misses])},
    {"decr", "hit", AT(counters[COUNTER_decr_hits])},
    {"decr", "miss", AT(counters[COUNTER_decr_misses])},
    {"cas", "hit", AT(counters[COUNTER_cas_hits])},
    {"cas", "miss", AT(counters[COUNTER_cas_misses])},
    {"cas", "badval", AT(counters[COUNTER_cas_badval])},
    {"touch", "hit", AT(counters[COUNTER_touch_hits])},
    {"touch", "miss", AT(counters[COUNTER_touch_misses])},
    {"flush", "hit", AT(counters[COUNTER_cmd_flush])},
    {"set", "hit", AT(set_hits)},
};

/* ---- Hearth's own ---- */

static const struct row store_rows[] = {
    {"hearth_memory_used_bytes", "Memory that counts for -m: items, index, ghosts, large values.", GAUGE,
        COUNT, AT(e.memory_used)},
    {"hearth_index_bytes", "Memory of the index.", GAUGE, COUNT, AT(e.index_bytes)},
    {"hearth_ghost_bytes", "Memory of what is known about evicted keys.", GAUGE, COUNT, AT(e.ghost_bytes)},
    {"hearth_large_bytes", "Memory of values with memory of their own.", GAUGE, COUNT, AT(e.large_bytes)},
    {"hearth_regions", "Regions that items are kept in.", GAUGE, COUNT, AT(e.regions)},
    {"hearth_regions_free", "Regions that are free.", GAUGE, COUNT, AT(e.regions_free)},
    {"hearth_region_size_bytes", "Size of a region.", GAUGE, COUNT, AT(e.region_size)},
    {"hearth_items_evicted_unfetched_total", "Items evicted that nobody had asked for.", COUNTER, COUNT,
        AT(e.evicted_unfetched)},
    {"hearth_items_expired_total", "Items found expired.", COUNTER, COUNT, AT(e.expired)},
    {"hearth_items_expired_unfetched_total", "Items expired that nobody had asked for.", COUNTER, COUNT,
        AT(e.expired_unfetched)},
    {"hearth_items_flushed_total", "Items found that a flush had killed.", COUNTER, COUNT, AT(e.flushed)},
    {"hearth_oldest_access_seconds", "Time since the next one to be evicted was last used.", GAUGE, SECONDS,
        AT(e.oldest_access)},
    {"hearth_meta_commands_total",
        "Requests of the meta protocol; they are in memcached_commands_total, too.", COUNTER, COUNT,
        AT(counters[COUNTER_cmd_meta])},
    {"hearth_connections_parked_total", "Times that a connection waited for the log.", COUNTER, COUNT,
        AT(counters[COUNTER_conns_parked])},
    {"hearth_workers", "Worker threads.", GAUGE, COUNT, AT(workers)},
    {"hearth_persistent", "Whether there is a data directory.", GAUGE, BOOL, AT(e.persist)},
};

static const struct row log_rows[] = {
    {"hearth_degraded", "Whether the disk fails or is full: not all that changes is kept.", GAUGE, BOOL,
        AT(e.degraded)},
    {"hearth_state_seconds", "Time in the current state.", GAUGE, SECONDS, AT(e.state_seconds)},
    {"hearth_heals_total", "Times that the log got well again.", COUNTER, COUNT, AT(e.heals)},
    {"hearth_changes_refused_total", "Changes refused for the state of the disk.", COUNTER, COUNT,
        AT(e.refused)},
    {"hearth_log_last_record", "Number of the last change.", GAUGE, COUNT, AT(e.last_seq)},
    {"hearth_log_written_record", "Number of the last change that is written.", GAUGE, COUNT,
        AT(e.written_seq)},
    {"hearth_log_durable_record", "Number of the last change that is synced.", GAUGE, COUNT,
        AT(e.durable_seq)},
    {"hearth_log_segments", "Segments begun since the start.", GAUGE, COUNT, AT(e.log_segments)},
    {"hearth_log_bytes", "Size of the log on disk that no snapshot has retired.", GAUGE, COUNT,
        AT(e.log_bytes)},
    {"hearth_log_written_bytes_total", "Bytes written to the log.", COUNTER, COUNT, AT(e.log_written_bytes)},
    {"hearth_log_writes_total", "Calls that wrote to the log.", COUNTER, COUNT, AT(e.log_writes)},
    {"hearth_log_waits_total", "Times that the log had no room for a change.", COUNTER, COUNT,
        AT(e.log_waits)},
    {"hearth_fsync_last_seconds", "How long the last sync of the log took.", GAUGE, SECONDS_US,
        AT(e.last_sync_us)},
    {"hearth_fsync_max_seconds", "The longest sync of the log since the start.", GAUGE, SECONDS_US,
        AT(e.max_sync_us)},
    {"hearth_disk_reserve_bytes", "Room in the log for deletes when the disk is full.", GAUGE, COUNT,
        AT(e.reserve_bytes)},
    {"hearth_snapshot_running", "Whether a snapshot is being written.", GAUGE, BOOL, AT(e.snapshot_running)},
    {"hearth_snapshot_interval_seconds", "--snapshot-interval; 0 = off.", GAUGE, SECONDS,
        AT(e.snapshot_interval)},
    {"hearth_snapshots_total", "Snapshots written since the start.", COUNTER, COUNT, AT(e.snapshots)},
    {"hearth_snapshot_errors_total", "Snapshots that failed.", COUNTER, COUNT, AT(e.snapshot_errors)},
    {"hearth_scrub_passes_total", "Passes that read and verified all sealed files.", COUNTER, COUNT,
        AT(e.scrub.passes)},
    {"hearth_scrub_bytes_total", "Bytes verified.", COUNTER, COUNT, AT(e.scrub.bytes)},
    {"hearth_scrub_errors_total", "Files found bad.", COUNTER, COUNT, AT(e.scrub.errors)},
    {"hearth_recovery_seconds", "How long the start took to load.", GAUGE, REAL, AT(e.recovery.seconds)},
    {"hearth_recovery_items", "Items that the start loaded.", GAUGE, COUNT, AT(e.recovery.items)},
    {"hearth_recovery_bytes", "Bytes of key and value of these.", GAUGE, COUNT, AT(e.recovery.bytes)},
    {"hearth_recovery_log_records", "Changes of the log that the start replayed.", GAUGE, COUNT,
        AT(e.recovery.log_records)},
    {"hearth_recovery_expired_items", "Items that had expired at the start.", GAUGE, COUNT,
        AT(e.recovery.expired)},
    {"hearth_recovery_dropped_items", "Items that the start had no room for.", GAUGE, COUNT,
        AT(e.recovery.dropped)},
    {"hearth_recovery_downtime_seconds", "How long it had been down.", GAUGE, REAL, AT(e.recovery.downtime)},
    {"hearth_recovery_left_out_bytes", "Bytes of a torn end and of damage.", GAUGE, COUNT,
        AT(e.recovery.left_out_bytes)},
    {"hearth_recovery_damaged_places", "Damaged places that the start found.", GAUGE, COUNT,
        AT(e.recovery.damaged)},
    {"hearth_recovery_started_empty", "Whether --max-downtime dropped everything.", GAUGE, BOOL,
        AT(e.recovery.empty)},
};

/* Of the last snapshot, once there is one. */
static const struct row snapshot_rows[] = {
    {"hearth_snapshot_last_timestamp_seconds", "When the last snapshot since the start ended.", GAUGE,
        SECONDS, AT(e.last_snapshot_time)},
    {"hearth_snapshot_last_seconds", "How long it took.", GAUGE, SECONDS_US, AT(e.last_snapshot_us)},
    {"hearth_snapshot_last_bytes", "Its size.", GAUGE, COUNT, AT(e.last_snapshot_bytes)},
    {"hearth_snapshot_last_items", "Items in it.", GAUGE, COUNT, AT(e.last_snapshot_items)},
};

static const struct row scrub_rows[] = {
    {"hearth_scrub_last_timestamp_seconds", "When the last pass ended.", GAUGE, SECONDS, AT(e.scrub.last)},
};

/* With --max-disk. */
static const struct row quota_rows[] = {
    {"hearth_disk_limit_bytes", "--max-disk.", GAUGE, COUNT, AT(e.disk_limit)},
    {"hearth_disk_bytes", "What the data directory takes of it.", GAUGE, COUNT, AT(e.disk_bytes)},
    {"hearth_disk_waiting", "Whether changes wait for room under it.", GAUGE, BOOL, AT(e.disk_waiting)},
    {"hearth_disk_early_snapshots_total", "Snapshots taken early to make room.", COUNTER, COUNT,
        AT(e.disk_early_snapshots)},
    {"hearth_disk_skipped_snapshots_total", "Snapshots not taken for want of room.", COUNTER, COUNT,
        AT(e.disk_skipped_snapshots)},
    {"hearth_disk_given_up_total", "Kept snapshots given up to make room.", COUNTER, COUNT,
        AT(e.disk_given_up)},
};

static const struct row disk_rows[] = {
    {"hearth_filesystem_size_bytes", "Size of the data directory's file system.", GAUGE, COUNT,
        AT(disk_size)},
    {"hearth_filesystem_free_bytes", "What is free there for Hearth.", GAUGE, COUNT, AT(disk_free)},
};

/* With --compress. */
static const struct row compress_rows[] = {
    {"hearth_compress_sets_total", "Values that were packed.", COUNTER, COUNT, AT(e.packing.sets)},
    {"hearth_compress_raw_bytes_total", "Bytes of these before.", COUNTER, COUNT, AT(e.packing.raw_bytes)},
    {"hearth_compress_stored_bytes_total", "Bytes of these afterwards.", COUNTER, COUNT,
        AT(e.packing.packed_bytes)},
    {"hearth_compress_refused_total", "Values that did not get smaller by enough.", COUNTER, COUNT,
        AT(e.packing.refused)},
    {"hearth_compress_errors_total", "Values that could not be unpacked.", COUNTER, COUNT,
        AT(e.packing.errors)},
    {"hearth_compress_dictionaries", "Dictionaries in use.", GAUGE, COUNT, AT(e.packing.dictionaries)},
};

static const struct row load_rows[] = {
    {"hearth_load_progress_ratio", "How much of the data is loaded, 0 to 1.", GAUGE, REAL, AT(load.ratio)},
    {"hearth_load_seconds", "How long it has been loading.", GAUGE, REAL, AT(load.seconds)},
    {"hearth_load_done_bytes", "Bytes of files that are loaded.", GAUGE, COUNT, AT(load.done_bytes)},
    {"hearth_load_all_bytes", "Bytes of files that are to be loaded.", GAUGE, COUNT, AT(load.all_bytes)},
    {"hearth_load_items", "Items loaded so far.", GAUGE, COUNT, AT(load.items)},
};

static const struct row left_rows[] = {
    {"hearth_load_left_seconds", "How long it will still be loading.", GAUGE, REAL, AT(load.left)},
};

/* ---- printing ---- */

static void print(struct metrics *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void print(struct metrics *m, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (evbuffer_add_vprintf(m->out, fmt, ap) < 0)
		m->failed = true;
	va_end(ap);
}

static void head(struct metrics *m, const char *name, const char *type, const char *help)
{
	print(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct metrics *m, const char *name, const char *help, uint64_t value)
{
	head(m, name, "gauge", help);
	print(m, "%s %" PRIu64 "\n", name, value);
}

static void print_row(struct metrics *m, const struct row *r)
{
	const char *at = (const char *)&m->f + r->at;

	head(m, r->name, r->type == COUNTER ? "counter" : "gauge", r->help);
	print(m, "%s ", r->name);
	switch (r->form) {
	case COUNT:
		print(m, "%" PRIu64 "\n", *(const uint64_t *)at);
		break;
	case BOOL:
		print(m, "%d\n", *(const bool *)at);
		break;
	case SECONDS:
		print(m, "%" PRId64 "\n", *(const int64_t *)at);
		break;
	case SECONDS_MS:
		print(m, "%.3f\n", (double)*(const int64_t *)at / 1e3);
		break;
	case SECONDS_US:
		print(m, "%.6f\n", (double)*(const int64_t *)at / 1e6);
		break;
	case REAL:
		print(m, "%.6f\n", *(const double *)at);
		break;
	}
}

static void print_rows(struct metrics *m, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		print_row(m, &rows[i]);
}

#define ROWS(m, rows) print_rows(m, rows, sizeof rows / sizeof rows[0])

/* The value of a label: what has a meaning in the format is escaped, and no control byte leaves. */
static void label(struct metrics *m, const char *name, const char *value)
{
	char text[512];
	size_t n = 0;

	for (const char *c = value; *c && n + 2 < sizeof text; c++) {
		if (*c == '\\' || *c == '"')
			text[n++] = '\\';
		text[n++] = (unsigned char)*c < ' ' || *c == 127 ? ' ' : *c;
	}
	text[n] = 0;
	print(m, "%s=\"%s\"", name, text);
}

static void print_commands(struct metrics *m)
{
	static const char name[] = "memcached_commands_total";
	head(m, name, "counter", "Requests by command and how they ended.");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		print(m, "%s{command=\"%s\",status=\"%s\"} %" PRIu64 "\n", name, commands[i].command,
		    commands[i].status, *(const uint64_t *)((const char *)&m->f + commands[i].at));
}

static void print_versions(struct metrics *m)
{
	head(m, "memcached_version", "gauge", "The version of memcached that clients are told.");
	print(m, "memcached_version{");
	label(m, "version", dispatch_protocol());
	print(m, "} 1\n");
	head(m, "hearth_build_info", "gauge", "The version of Hearth.");
	print(m, "hearth_build_info{");
	label(m, "version", HEARTH_VERSION);
	print(m, "} 1\n");
}

static void print_state(struct metrics *m)
{
	const struct engine_stats *e = &m->f.e;
	head(m, "hearth_state_info", "gauge", "The state of the log, and what last made it worse.");
	print(m, "hearth_state_info{");
	label(m, "state", e->state);
	print(m, ",");
	label(m, "reason", e->degraded ? e->state_reason : "");
	print(m, "} 1\n");
}

static void print_syncs(struct metrics *m)
{
	static const char name[] = "hearth_fsync_seconds";
	uint64_t sum = 0;

	head(m, name, "histogram", "How long syncs of the log took.");
	for (unsigned i = 0; i + 1 < ENGINE_SYNC_STEPS; i++) {
		sum += m->f.e.sync_counts[i];
		print(
		    m, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)ENGINE_SYNC_STEP_US(i) / 1e6, sum);
	}
	sum += m->f.e.sync_counts[ENGINE_SYNC_STEPS - 1];
	print(m, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, sum);
	print(m, "%s_sum %.6f\n%s_count %" PRIu64 "\n", name, (double)m->f.e.sync_us / 1e6, name, sum);
}

/* Two digits each, so that a bucket of the histogram ends there. */
static const uint64_t latency_steps[] = {1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
    1000000, 2500000, 5000000, 10000000, 25000000, 50000000, 100000000, 250000000, 500000000, 1000000000,
    2500000000, 5000000000, 10000000000};

static void print_latency_kind(
    struct metrics *m, const char *name, const char *kind, const struct histogram *h)
{
	uint64_t all = histogram_within(h, HISTOGRAM_MAX);

	for (unsigned i = 0; i < sizeof latency_steps / sizeof latency_steps[0]; i++)
		print(m, "%s_bucket{command=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, kind,
		    (double)latency_steps[i] / 1e9, histogram_within(h, latency_steps[i]));
	print(m, "%s_bucket{command=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, kind, all);
	print(m, "%s_sum{command=\"%s\"} %.9f\n%s_count{command=\"%s\"} %" PRIu64 "\n", name, kind,
	    (double)h->sum / 1e9, name, kind, all);
}

static void print_latency(struct metrics *m)
{
	static const char name[] = "hearth_request_duration_seconds";

	head(m, name, "histogram",
	    "How long requests took inside of the daemon, by one sampled turn of a connection in 64; set: "
	    "all "
	    "that changes items.");
	_Static_assert(LATENCY_EVERY == 64, "as the help says");
	print_latency_kind(m, name, "get", &m->f.latency.kind[LATENCY_GET]);
	print_latency_kind(m, name, "set", &m->f.latency.kind[LATENCY_SET]);
}

/* ---- figures ---- */

enum metrics_phase metrics_phase(const struct server *s)
{
	if (__atomic_load_n(&s->stop_asked, __ATOMIC_SEQ_CST))
		return METRICS_STOPPING;
	/* Acquire: what the start wrote before it let clients in is seen. */
	return __atomic_load_n(&s->loading, __ATOMIC_ACQUIRE) ? METRICS_LOADING : METRICS_SERVING;
}

void metrics_get_load(const struct server *s, struct metrics_load *ret)
{
	*ret = (struct metrics_load){
	    .done_bytes = __atomic_load_n(&s->load_done, __ATOMIC_RELAXED),
	    .all_bytes = __atomic_load_n(&s->load_all, __ATOMIC_RELAXED),
	    .items = __atomic_load_n(&s->load_items, __ATOMIC_RELAXED),
	    .seconds = (double)(clock_mono_us() - s->load_start_us) / 1e6,
	    .left = -1,
	    .settling = __atomic_load_n(&s->settling, __ATOMIC_RELAXED),
	};
	/* The two are read one after the other. */
	if (ret->done_bytes > ret->all_bytes)
		ret->done_bytes = ret->all_bytes;
	if (ret->all_bytes > 0)
		ret->ratio = (double)ret->done_bytes / (double)ret->all_bytes;
	if (ret->done_bytes > 0)
		ret->left = ret->seconds * (1 - ret->ratio) / ret->ratio;
}

static uint64_t resident_bytes(void)
{
	char text[128];
	unsigned long long size, resident = 0;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	return sscanf(text, "%llu %llu", &size, &resident) == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE)
	                                                        : 0;
}

static int64_t microseconds(const struct timeval *tv)
{
	return (int64_t)tv->tv_sec * 1000000 + tv->tv_usec;
}

static void collect_process(struct metrics *m)
{
	const struct server *s = m->server;
	struct figures *f = &m->f;
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	f->user_us = microseconds(&ru.ru_utime);
	f->system_us = microseconds(&ru.ru_stime);
	f->uptime_us = clock_mono_us() - s->start_us;
	f->time_ms = clock_wall_ms();
	/* Fixed once: computed anew it would waver, and each time look like a restart. */
	if (f->start_ms == 0)
		f->start_ms = f->time_ms - f->uptime_us / 1000;
	f->resident = resident_bytes();
	f->max_conns = SERVER_OPTION(s, max_conns);
	f->workers = s->options.workers;
}

static void collect_server(struct metrics *m)
{
	const struct server *s = m->server;
	struct figures *f = &m->f;
	int64_t now = clock_mono_us();

	f->conns = __atomic_load_n(&s->curr_conns, __ATOMIC_RELAXED);
	f->total_conns = __atomic_load_n(&s->total_conns, __ATOMIC_RELAXED);
	f->rejected_conns = __atomic_load_n(&s->rejected_conns, __ATOMIC_RELAXED);
	f->listen_disabled = __atomic_load_n(&s->listen_disabled, __ATOMIC_RELAXED);
	f->accepting = __atomic_load_n(&s->accepting, __ATOMIC_RELAXED);
	if (m->collected_us && now - m->collected_us < FRESH_US)
		return;
	m->collected_us = now;
	stats_collect(m->server, f->counters, &f->e);
	latency_collect(m->server, &f->latency);
	uint64_t cas =
	    f->counters[COUNTER_cas_hits] + f->counters[COUNTER_cas_misses] + f->counters[COUNTER_cas_badval];
	uint64_t set = f->counters[COUNTER_cmd_set];
	f->set_hits = set > cas ? set - cas : 0; /* they are read one after the other */
}

static bool collect_disk(struct metrics *m)
{
	struct statvfs vfs;
	if (m->dirfd < 0 || fstatvfs(m->dirfd, &vfs) != 0)
		return false;
	m->f.disk_size = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	m->f.disk_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	return true;
}

static void print_load(struct metrics *m)
{
	metrics_get_load(m->server, &m->f.load);
	ROWS(m, load_rows);
	if (m->f.load.left >= 0)
		ROWS(m, left_rows);
}

static void print_persist(struct metrics *m)
{
	print_state(m);
	ROWS(m, log_rows);
	print_syncs(m);
	if (m->f.e.last_snapshot_time)
		ROWS(m, snapshot_rows);
	if (m->f.e.scrub.last)
		ROWS(m, scrub_rows);
	if (m->f.e.disk_limit)
		ROWS(m, quota_rows);
}

bool metrics_print(struct metrics *m, struct evbuffer *out)
{
	CHECK_MAGIC(m, METRICS_MAGIC);
	enum metrics_phase phase = metrics_phase(m->server);
	bool loaded = !__atomic_load_n(&m->server->loading, __ATOMIC_ACQUIRE);

	m->out = out;
	m->failed = false;
	collect_process(m);
	single(m, "memcached_up", "Whether clients are served.", phase == METRICS_SERVING);
	print_versions(m);
	ROWS(m, process_rows);
	single(m, "hearth_loading", "Whether data is being loaded: nobody is served yet.",
	    phase == METRICS_LOADING);
	single(
	    m, "hearth_stopping", "Whether it ends: nobody is served any more.", phase == METRICS_STOPPING);
	if (collect_disk(m))
		ROWS(m, disk_rows);
	if (phase == METRICS_LOADING)
		print_load(m);
	if (loaded) {
		collect_server(m);
		ROWS(m, memcached_rows);
		print_commands(m);
		print_latency(m);
		ROWS(m, store_rows);
		if (m->f.e.persist)
			print_persist(m);
		if (m->f.e.packing.on)
			ROWS(m, compress_rows);
	}
	m->out = NULL;
	return !m->failed;
}

const char *metrics_state(struct metrics *m, const char **ret_reason)
{
	CHECK_MAGIC(m, METRICS_MAGIC);
	collect_server(m);
	*ret_reason = m->f.e.state_reason;
	return m->f.e.persist ? m->f.e.state : "";
}

struct metrics *metrics_open(struct server *s, int dirfd)
{
	struct metrics *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	m->magic = METRICS_MAGIC;
	m->server = s;
	m->dirfd = dirfd;
	return m;
}

void metrics_close(struct metrics **metrics)
{
	struct metrics *m = *metrics;
	*metrics = NULL;
	if (!m)
		return;
	CHECK_MAGIC(m, METRICS_MAGIC);
	m->magic = 0;
	free(m);
}
