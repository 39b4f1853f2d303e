/* SPDX-License-Identifier: BSD-3-Clause */
/* counters: what each worker counts for `stats`. One array a worker, written by its thread alone and read by
 * any, so a count costs one add and no shared cache line. */
#ifndef SERVER_COUNTERS_H
#define SERVER_COUNTERS_H

#include <stdint.h>

/* Rows: name as in memcached's stats. */
#define COUNTER_TABLE(X) \
	X(cmd_get) \
	X(cmd_set) \
	X(cmd_flush) \
	X(cmd_touch) \
	X(cmd_meta) \
	X(get_hits) \
	X(get_misses) \
	X(delete_misses) \
	X(delete_hits) \
	X(incr_misses) \
	X(incr_hits) \
	X(decr_misses) \
	X(decr_hits) \
	X(cas_misses) \
	X(cas_hits) \
	X(cas_badval) \
	X(touch_hits) \
	X(touch_misses) \
	X(store_too_large) \
	X(store_no_memory) \
	X(bytes_read) \
	X(bytes_written) \
	X(conn_yields) \
	X(conns_parked) \
	X(idle_kicks) \
	X(read_buf_count) \
	X(read_buf_oom) \
	X(response_obj_oom)

enum counter {
#define COUNTER_ID(name) COUNTER_##name,
	COUNTER_TABLE(COUNTER_ID)
#undef COUNTER_ID
	    COUNTERS
};

static inline uint64_t counter_read(const uint64_t *counters, enum counter c)
{
	return __atomic_load_n(&counters[c], __ATOMIC_RELAXED);
}

/* Only the thread that owns the array. */
static inline void counter_add(uint64_t *counters, enum counter c, uint64_t n)
{
	__atomic_store_n(&counters[c], counters[c] + n, __ATOMIC_RELAXED);
}

#endif
