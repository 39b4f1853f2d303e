/* SPDX-License-Identifier: BSD-3-Clause */
/* top_stats: what `hearth top` asks a daemon for, by its port or its admin socket, with a bound on how long it waits. A
 * memcached answers as well, and has less to say. One thread. */
#ifndef TOOL_TOP_STATS_H
#define TOOL_TOP_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tool/client.h"

#define TOP_KEYS    50u
#define TOP_TEXT    160u
#define TOP_KEY_MAX 250u

/* Figures that are taken, by their names in stats, stats persist, stats latency and stats hotkeys. */
#define TOP_FIGURES(X) \
	X(uptime) \
	X(curr_connections) \
	X(rejected_connections) \
	X(max_connections) \
	X(threads) \
	X(cmd_get) \
	X(cmd_set) \
	X(cmd_touch) \
	X(cmd_flush) \
	X(cmd_meta) \
	X(get_hits) \
	X(get_misses) \
	X(delete_hits) \
	X(delete_misses) \
	X(incr_hits) \
	X(incr_misses) \
	X(decr_hits) \
	X(decr_misses) \
	X(bytes_read) \
	X(bytes_written) \
	X(curr_items) \
	X(bytes) \
	X(limit_maxbytes) \
	X(evictions) \
	X(reclaimed) \
	X(get_expired) \
	X(memory_limit) \
	X(memory_used) \
	X(conns_parked) \
	X(state_seconds) \
	X(refused_changes) \
	X(disk_limit) \
	X(disk_bytes) \
	X(written_seq) \
	X(durable_seq) \
	X(log_bytes) \
	X(log_written_bytes) \
	X(log_segments) \
	X(log_syncs) \
	X(last_sync_us) \
	X(max_sync_us) \
	X(snapshots) \
	X(snapshot_errors) \
	X(last_snapshot) \
	X(last_snapshot_time) \
	X(last_snapshot_bytes) \
	X(snapshot_written_items) \
	X(snapshot_interval) \
	X(snapshot_due_seconds) \
	X(snapshot_due_log_bytes) \
	X(log_since_snapshot) \
	X(loading_done_bytes) \
	X(loading_all_bytes) \
	X(loading_items) \
	X(recovery_seconds) \
	X(recovery_items) \
	X(time) \
	X(hotkeys_every) \
	X(hotkeys_seconds) \
	X(hotkeys_sampled) \
	X(latency_every) \
	X(latency_seconds) \
	X(latency_get_timed) \
	X(latency_get_p50_us) \
	X(latency_get_p99_us) \
	X(latency_get_p999_us) \
	X(latency_get_max_us) \
	X(latency_set_timed) \
	X(latency_set_p50_us) \
	X(latency_set_p99_us) \
	X(latency_set_p999_us) \
	X(latency_set_max_us)
/* And words. */
#define TOP_WORDS(X) \
	X(version) \
	X(hearth_version) \
	X(persist) \
	X(degraded) \
	X(state) \
	X(state_reason) \
	X(disk_waiting) \
	X(snapshot_running) \
	X(loading) \
	X(hotkeys_on)

#define TOP_ENUM(name) TOP_##name,
enum top_figure { TOP_FIGURES(TOP_ENUM) TOP_N_FIGURES };
enum top_word { TOP_WORDS(TOP_ENUM) TOP_N_WORDS };
#undef TOP_ENUM

struct top_key {
	uint8_t key[TOP_KEY_MAX];
	size_t len;
	uint64_t count, error; /* samples; too high by no more than error */
};

struct top_stats {
	int64_t at_us; /* clock_mono_us when it was asked */
	bool has[TOP_N_FIGURES];
	double figure[TOP_N_FIGURES];
	char word[TOP_N_WORDS][TOP_TEXT]; /* empty: not told */
	unsigned n_keys;
	struct top_key key[TOP_KEYS];
};

/* One line of an answer, without its end: "STAT name value" is taken if it is wanted. Writes into line. False: it is no such
 * line. */
bool top_stats_take(struct top_stats *s, char *line);

/* The daemon that is asked. */
struct top_target {
	const char *directory;         /* of the admin socket; or NULL: */
	struct client_address address; /* its port or socket */
	char name[256];
};

/* Asks, with hot keys sampled for `sample` more seconds (0: not asked for). False with why: nobody answers within
 * `ms`, or what answers is no memcached. */
bool top_stats_ask(
    const struct top_target *t, unsigned sample, int ms, struct top_stats *ret, char why[TOP_TEXT]);

#endif
