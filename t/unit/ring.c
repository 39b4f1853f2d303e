/* SPDX-License-Identifier: BSD-3-Clause */
/* ring: numbers and places are one reservation, whoever appends; what is referred to is unpinned once; a full ring
 * refuses, and says so to the consumer. */
#include <sched.h>
#include <stdatomic.h>
#include "support.h"
#include "persist/ring.h"

#define APPENDERS 4u
#define APPENDS   60000u

static _Atomic unsigned unpinned;

static void unpin(void *arg, struct store_pin *pin)
{
	assert_ptr_equal(arg, &unpinned);
	assert_true(store_pinned(pin));
	atomic_fetch_add(&unpinned, 1);
}

static struct ring *make(size_t capacity)
{
	struct ring *ring = ring_open(capacity, 1000, unpin, &unpinned);
	assert_non_null(ring);
	atomic_store(&unpinned, 0);
	return ring;
}

static uint64_t append(
    struct ring *ring, struct ring_credit *credit, const void *value, size_t len, bool refer)
{
	struct store_pin pin = {NULL, refer ? 7 : STORE_PIN_NONE};
	const struct record r = {.type = RECORD_SET,
	    .key = (const uint8_t *)"key",
	    .key_len = 3,
	    .value = value,
	    .value_len = len};
	return ring_append(ring, credit, &r, &pin);
}

static void *append_many(void *arg)
{
	struct ring *ring = arg;
	struct ring_credit credit = {0};
	uint64_t last = 0;
	for (unsigned i = 0; i < APPENDS; i++) {
		while (!ring_secure(ring, &credit, 3, 10))
			sched_yield();
		uint64_t seq = append(ring, &credit, "0123456789", 10, false);
		MUST(seq > last);
		last = seq;
	}
	return NULL;
}

/* trap 10: taken apart, a reply could leave for a number whose record lies behind what was written. */
static void trap10_numbers_are_in_the_order_of_places(void **state)
{
	(void)state;
	struct ring *ring = make(1 * MIB);
	pthread_t thread[APPENDERS];
	struct ring_entry e;
	uint64_t last = 1000, end = 1000 + APPENDERS * APPENDS;
	unsigned wrong = 0;
	for (unsigned i = 0; i < APPENDERS; i++)
		MUST(pthread_create(&thread[i], NULL, append_many, ring) == 0);
	for (uint64_t n = 1000; n < end;) {
		ring_wait(ring, 100);
		for (; ring_next(ring, &e); n++) {
			wrong += e.seq != last + 1;
			last = e.seq;
		}
		ring_release(ring);
	}
	for (unsigned i = 0; i < APPENDERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(ring_last(ring), end);
	ring_close(&ring);
}

static void values_that_are_referred_to_are_unpinned_once(void **state)
{
	(void)state;
	struct ring *ring = make(1 * MIB);
	struct ring_credit credit = {0};
	struct ring_entry e;
	static uint8_t value[STORE_COPY_MAX + 1];
	for (unsigned i = 0; i < 50; i++) {
		assert_true(ring_secure(ring, &credit, 3, sizeof(value)));
		append(ring, &credit, value, sizeof(value), true);
		if (i == 20) {
			assert_true(ring_wait(ring, 0));
			for (unsigned n = 0; n < 10; n++) {
				assert_true(ring_next(ring, &e));
				assert_ptr_equal(e.value, value);
				assert_int_equal(e.value_len, sizeof(value));
			}
			assert_int_equal(unpinned, 0);
			ring_release(ring);
			assert_int_equal(unpinned, 10);
		}
	}
	/* What a disk never took is unpinned too. */
	ring_close(&ring);
	assert_int_equal(unpinned, 50);
}

static void a_full_ring_refuses_until_it_is_released(void **state)
{
	(void)state;
	struct ring *ring = make(64 * KIB);
	static const uint8_t value[1000];
	struct ring_credit credit = {0}, other = {0};
	struct ring_entry e;
	unsigned n = 0;
	for (; ring_secure(ring, &credit, 3, 1000); n++)
		append(ring, &credit, value, sizeof(value), false);
	assert_in_range(n, 30, 64);
	assert_false(ring_secure(ring, &other, 3, 1000));
	assert_true(ring_wait(ring, 0));
	for (unsigned i = 0; i < n; i++)
		assert_true(ring_next(ring, &e));
	assert_false(ring_next(ring, &e));
	assert_false(ring_secure(ring, &other, 3, 1000));
	assert_true(ring_release(ring)); /* somebody was refused */
	assert_true(ring_secure(ring, &other, 3, 1000));
	assert_false(ring_release(ring));
	ring_settle(ring, &credit);
	ring_close(&ring);
}

/* Many times around, with entries of all sizes: where one does not fit before the end, it begins anew. */
static void records_come_out_as_they_went_in(void **state)
{
	(void)state;
	struct ring *ring = make(64 * KIB);
	struct ring_credit credit = {0};
	static uint8_t value[STORE_COPY_MAX + 1000];
	size_t len[32];
	uint32_t random = 1;
	unsigned referred = 0;
	unit_fill(value, sizeof(value), 7);
	for (unsigned round = 0; round < 300; round++) {
		unsigned n = 1 + unit_random(&random) % 12;
		struct ring_entry e;
		for (unsigned i = 0; i < n; i++) {
			len[i] = unit_random(&random) % sizeof(value);
			bool refer = len[i] > STORE_COPY_MAX;
			assert_true(ring_secure(ring, &credit, 3, len[i]));
			append(ring, &credit, value, len[i], refer);
			referred += refer;
		}
		ring_settle(ring, &credit);
		assert_true(ring_wait(ring, 0));
		for (unsigned i = 0; i < n; i++) {
			assert_true(ring_next(ring, &e));
			assert_int_equal(e.seq, ring_last(ring) - n + 1 + i);
			struct record r;
			size_t used;
			if (e.value) {
				assert_int_equal(e.value_len, len[i]);
				continue;
			}
			assert_int_equal(record_decode(e.head, e.head_len, &r, &used), HEARTH_OK);
			assert_int_equal(r.value_len, len[i]);
			assert_memory_equal(r.value, value, len[i]);
		}
		assert_false(ring_next(ring, &e));
		if (round % 3 == 0) {
			ring_rewind(ring);
			assert_true(ring_next(ring, &e));
			for (unsigned i = 1; i < n; i++)
				assert_true(ring_next(ring, &e));
		}
		ring_release(ring);
		assert_int_equal(unpinned, referred);
	}
	ring_close(&ring);
}

/* ---- many appenders, and a consumer that stops anywhere, goes back, and releases what it has ---- */

#define WORN     2500u
#define REFERRED 4u /* values of each appender that the ring may hold at once */

struct appender {
	struct ring *ring;
	uint32_t number;
	pthread_t thread;
	uint8_t value[REFERRED][STORE_COPY_MAX + 800];
	_Atomic bool lent[REFERRED];
};

static struct appender appenders[APPENDERS];

static void give_back(void *arg, struct store_pin *pin)
{
	struct appender *a = &((struct appender *)arg)[pin->region / REFERRED];
	MUST(atomic_exchange(&a->lent[pin->region % REFERRED], false));
}

static unsigned free_value(struct appender *a)
{
	for (unsigned i = 0;; i = (i + 1) % REFERRED) {
		if (!atomic_load(&a->lent[i]))
			return i;
		if (i == REFERRED - 1)
			sched_yield();
	}
}

static void *append_sizes(void *arg)
{
	struct appender *a = arg;
	struct ring_credit credit = {0};
	uint32_t random = a->number + 1;
	uint8_t key = (uint8_t)('0' + a->number);
	for (uint32_t i = 0; i < WORN; i++) {
		uint32_t r = unit_random(&random);
		size_t len =
		    r & 3 ? VALUE_LEAST + (r >> 8 & 127) : VALUE_LEAST + (r >> 8) % (STORE_COPY_MAX + 700);
		bool refers = len > STORE_COPY_MAX;
		unsigned slot = free_value(a);
		value_make(a->value[slot], len, a->number, i);
		while (!ring_secure(a->ring, &credit, 1, len))
			sched_yield();
		atomic_store(&a->lent[slot], refers);
		struct store_pin pin = {NULL, refers ? a->number * REFERRED + slot : STORE_PIN_NONE};
		const struct record rec = {
		    .type = RECORD_SET, .key = &key, .key_len = 1, .value = a->value[slot], .value_len = len};
		ring_append(a->ring, &credit, &rec, &pin);
		ring_settle(a->ring, &credit);
		if (r >> 28 == 0)
			ring_kick(a->ring);
	}
	return NULL;
}

/* The appender's next value, whole. */
static void must_be_next(const struct ring_entry *e, uint32_t next[APPENDERS])
{
	uint8_t bytes[RECORD_OVERHEAD_MAX + STORE_COPY_MAX + 800];
	struct record r;
	size_t used;
	uint32_t version;
	memcpy(bytes, e->head, e->head_len);
	if (e->value)
		memcpy(bytes + e->head_len, e->value, e->value_len);
	MUST(record_decode(bytes, e->head_len + e->value_len, &r, &used) == HEARTH_OK && r.key_len == 1);
	unsigned number = r.key[0] - '0';
	MUST(number < APPENDERS && value_verify(r.value, r.value_len, number, &version));
	MUST(version == next[number]);
	next[number]++;
}

static void a_consumer_may_stop_anywhere_and_go_back(void **state)
{
	(void)state;
	struct ring *ring = ring_open(160 * KIB, 0, give_back, appenders);
	uint32_t random = 5, next[APPENDERS] = {0}, kept[APPENDERS] = {0};
	uint64_t seq = 0, kept_seq = 0;
	for (uint32_t i = 0; i < APPENDERS; i++) {
		appenders[i].ring = ring;
		appenders[i].number = i;
		MUST(pthread_create(&appenders[i].thread, NULL, append_sizes, &appenders[i]) == 0);
	}
	while (kept_seq < APPENDERS * WORN) {
		uint32_t r = unit_random(&random), most = r & 1 ? UINT32_MAX : r >> 8 & 7;
		struct ring_entry e;
		ring_wait(ring, 1);
		for (; most > 0 && ring_next(ring, &e); most--) {
			MUST(e.seq == ++seq);
			must_be_next(&e, next);
		}
		switch (r >> 4 & 3) {
		case 0:
			ring_rewind(ring);
			seq = kept_seq;
			memcpy(next, kept, sizeof(next));
			break;
		case 1:
			break; /* reads on */
		default:
			ring_release(ring);
			kept_seq = seq;
			memcpy(kept, next, sizeof(next));
		}
	}
	for (uint32_t i = 0; i < APPENDERS; i++) {
		pthread_join(appenders[i].thread, NULL);
		assert_int_equal(kept[i], WORN);
		for (unsigned k = 0; k < REFERRED; k++)
			assert_false(appenders[i].lent[k]);
	}
	/* All of it is free again. */
	struct ring_credit credit = {0};
	assert_true(ring_secure(ring, &credit, 1, STORE_COPY_MAX));
	ring_close(&ring);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_come_out_as_they_went_in),
    cmocka_unit_test(a_consumer_may_stop_anywhere_and_go_back),
    cmocka_unit_test(trap10_numbers_are_in_the_order_of_places),
    cmocka_unit_test(values_that_are_referred_to_are_unpinned_once),
    cmocka_unit_test(a_full_ring_refuses_until_it_is_released),
};
UNIT_MAIN(tests)
