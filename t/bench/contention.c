/* SPDX-License-Identifier: BSD-3-Clause */
/* contention: what the words cost that threads of Hearth share, by one thread and by two, on the same cache line and on
 * different ones, and what follows from that for more cores than the machine has.
 *
 *   contention [-r US] [-l US] [-t NS] [-h PERCENT]
 *
 * -r: microseconds of a core that a request takes (1.5); -l: of the log thread that a change takes (0.35); t/bench/run and
 * t/bench/contended measure both. -t: nanoseconds until a line that another core has written is here (measured on this machine;
 * 40 to 100 within one socket, twice as much between sockets). -h: share of a request that a shard's lock is held (10).
 *
 * The model is a bound, not a simulation: a word that every operation writes takes operations one after the other, each for
 * as long as it is held plus a transfer of its line, however many cores there are. Two workers meet in a shard when one asks
 * while another holds it: (cores - 1) * (share of time held) * (sum of the squares of the shards' shares of the requests). */
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <hearth/record.h>
#include "persist/ring.h"
#include "store/index.h"
#include "store/store.h"

#define THREADS 2u
#define ROUNDS  60
#define LINE    64

struct cell {
	_Atomic uint64_t word;
	pthread_mutex_t lock;
} __attribute__((aligned(2 * LINE)));

static struct cell cells[THREADS];
static struct ring *ring;
static struct store *store;
static struct store_thread *store_threads[THREADS];
static _Atomic unsigned arrived;
static _Atomic bool drained;

struct job {
	unsigned self, place, threads; /* place: which cell or key, the same for all or each its own */
	uint64_t times;
	void (*run)(const struct job *job);
	int64_t began, ended; /* nanoseconds */
};

/* ---- what is measured ---- */

static void add_word(const struct job *j)
{
	for (uint64_t i = 0; i < j->times; i++)
		atomic_fetch_add_explicit(&cells[j->place].word, 1, memory_order_relaxed);
}

static void take_lock(const struct job *j)
{
	for (uint64_t i = 0; i < j->times; i++) {
		pthread_mutex_lock(&cells[j->place].lock);
		cells[j->place].word++;
		pthread_mutex_unlock(&cells[j->place].lock);
	}
}

/* Each waits for what the other one wrote: two transfers a time. */
static void toss(const struct job *j)
{
	for (uint64_t i = 0; i < j->times; i++) {
		while ((atomic_load_explicit(&cells[0].word, memory_order_acquire) & 1) != j->self)
			;
		atomic_store_explicit(&cells[0].word, cells[0].word + 1, memory_order_release);
	}
}

static void append(const struct job *j)
{
	uint8_t key[20] = {0}, value[100] = {0};
	struct record r = {.type = RECORD_SET, .key = key, .key_len = 20, .value = value, .value_len = 100};
	struct ring_credit credit = {0};
	struct store_pin none = {NULL, STORE_PIN_NONE};
	for (uint64_t i = 0; i < j->times; i++) {
		while (!ring_secure(ring, &credit, 20, 100))
			ring_kick(ring);
		ring_append(ring, &credit, &r, &none);
		if (i % 16 == 15)
			ring_kick(ring);
	}
}

static void *drain(void *arg)
{
	struct ring_entry e;
	(void)arg;
	while (!atomic_load(&drained)) {
		ring_wait(ring, 1);
		while (ring_next(ring, &e))
			;
		ring_release(ring);
	}
	return NULL;
}

static bool seen(void *arg, const struct store_view *view)
{
	*(size_t *)arg += view->value_len;
	return true;
}

static void get(const struct job *j)
{
	size_t sum = 0;
	struct store_outcome out;
	struct store_key key = store_key(store, j->place ? "another" : "one", j->place ? 7 : 3);
	for (uint64_t i = 0; i < j->times; i++)
		store_get(store_threads[j->self], &key, seen, &sum, &out);
}

static void put(const struct job *j)
{
	struct store_outcome out;
	struct store_key key = store_key(store, j->place ? "another" : "one", j->place ? 7 : 3);
	const struct store_put p = {
	    .mode = STORE_SET, .value = (const uint8_t *)"0123456789", .value_len = 10};
	for (uint64_t i = 0; i < j->times; i++)
		store_put(store_threads[j->self], &key, &p, 0, &out);
}

/* ---- measuring ---- */

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *work(void *arg)
{
	struct job *j = arg;
	cpu_set_t own;
	CPU_ZERO(&own);
	CPU_SET(j->self, &own);
	/* Where that fails, threads may share a core for a while: rounds are short, the best one counts. */
	pthread_setaffinity_np(pthread_self(), sizeof(own), &own);
	atomic_fetch_add(&arrived, 1);
	while (atomic_load(&arrived) < j->threads)
		;
	j->began = now_ns();
	j->run(j);
	j->ended = now_ns();
	return NULL;
}

/* One round; nanoseconds a time, or infinity when the threads did not run side by side almost all of it. */
static double once(void (*run)(const struct job *), unsigned threads, bool same, uint64_t times)
{
	struct job job[THREADS];
	pthread_t thread[THREADS];
	int64_t began = INT64_MAX, ended = 0, shortest = INT64_MAX;
	atomic_store(&arrived, 0);
	atomic_store(&cells[0].word, 0);
	for (unsigned i = 0; i < threads; i++) {
		job[i] = (struct job){i, same ? 0 : i, threads, times, run, 0, 0};
		if (pthread_create(&thread[i], NULL, work, &job[i]) != 0)
			exit(1);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		int64_t took = job[i].ended - job[i].began;
		began = job[i].began < began ? job[i].began : began;
		ended = job[i].ended > ended ? job[i].ended : ended;
		shortest = took < shortest ? took : shortest;
	}
	return (ended - began) * 4 > shortest * 5 ? INFINITY : (double)(ended - began) / (double)times;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* The median of the better half of the rounds: others use the machine, too. */
static double measure(void (*run)(const struct job *), unsigned threads, bool same, uint64_t times)
{
	double ns[ROUNDS];
	for (int round = 0; round < ROUNDS; round++)
		ns[round] = once(run, threads, same, times);
	qsort(ns, ROUNDS, sizeof(ns[0]), by_size);
	return ns[ROUNDS / 4];
}

struct row {
	const char *name;
	void (*run)(const struct job *);
	uint64_t times;
	bool shared; /* there is only one */
};

static const struct row rows[] = {
    {"an atomic add (region's live bytes, stats)", add_word, 50000, false},
    {"a lock and a word beside it", take_lock, 20000, false},
    {"a get (its shard's lock)", get, 5000, false},
    {"a set in place (its shard's lock)", put, 5000, false},
    {"an append to the ring, with the log thread", append, 5000, true},
};

/* Numbers from a word of each thread's own: the one that the log gives is measured by itself. */
static uint64_t number(void *owner, const struct store_change *change)
{
	(void)change;
	return ++*(uint64_t *)owner;
}

static void unpin(void *arg, struct store_pin *pin)
{
	(void)arg;
	(void)pin;
}

static void prepare(void)
{
	const struct store_options o = {.memory = 64 << 20, .item_max = 1 << 20, .threads = THREADS};
	store = store_open(&o);
	ring = ring_open(8 << 20, 0, unpin, NULL);
	if (!store || !ring)
		exit(1);
	store_set_observer(store, number);
	for (unsigned i = 0; i < THREADS; i++) {
		static uint64_t numbers[THREADS][LINE];
		store_threads[i] = store_thread_open(store, &numbers[i]);
		store_thread_set_now(store_threads[i], 1700000000);
		pthread_mutex_init(&cells[i].lock, NULL);
		/* By its own thread: each has a region of its own, so that the items share no line. */
		put(&(struct job){.self = i, .place = i, .times = 1});
	}
}

/* Prints the table; the cost of a transfer. */
static double measure_all(void)
{
	pthread_t consumer;
	double transfer = measure(toss, 2, true, 2000) / 2;
	printf("A line that the other core has written is here after %.0f ns.\n\n", transfer);
	printf("%-46s %10s %14s %14s\n", "nanoseconds a time", "1 thread", "2, own words", "2, same word");
	if (pthread_create(&consumer, NULL, drain, NULL) != 0)
		exit(1);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		printf("%-46s %10.1f ", r->name, measure(r->run, 1, true, r->times));
		if (r->shared)
			printf("%14s ", "-");
		else
			printf("%14.1f ", measure(r->run, 2, false, r->times));
		printf("%14.1f\n", measure(r->run, 2, true, r->times));
		fflush(stdout);
	}
	atomic_store(&drained, true);
	pthread_join(consumer, NULL);
	return transfer;
}

/* ---- the model ---- */

struct model {
	double request_us, log_us, transfer_ns, held; /* held: share of a request */
};

/* Of keys by Zipf: the first key's share, and the sum of the squares of all. */
static void zipf(double s, uint32_t keys, double *ret_first, double *ret_squares)
{
	double sum = 0, squares = 0;
	for (uint32_t i = 1; i <= keys; i++) {
		double p = pow(i, -s);
		sum += p;
		squares += p * p;
	}
	*ret_first = 1 / sum;
	*ret_squares = squares / (sum * sum);
}

static void extrapolate(const struct model *m)
{
	static const unsigned cores[] = {2, 8, 16, 32, 64};
	const double append_ns = 10 + m->transfer_ns;                      /* ten instructions and one line */
	const double hold_ns = m->held * m->request_us * 1000;             /* a shard's lock */
	const double ring_max = 1000 / append_ns, log_max = 1 / m->log_us; /* millions a second */
	const double key_max = 1000 / (hold_ns + m->transfer_ns);
	double first, squares;
	zipf(0.99, 1000000, &first, &squares);
	printf("\nWith %.2f us a request, %.2f us of the log thread a change, %.0f ns a transfer:\n",
	    m->request_us, m->log_us, m->transfer_ns);
	printf("the ring takes %.1f million changes a second, the log thread %.1f, one key %.1f million "
	       "requests;\n",
	    ring_max, log_max, key_max);
	printf("by Zipf 0.99 over a million keys the first has %.1f %% of the requests.\n\n", 100 * first);
	printf("%5s %12s | %9s %9s %9s | %9s %9s | %10s %10s %9s\n", "", "", "10 % sets", "", "",
	    "100 % sets", "", "two meet", "two meet", "first key");
	printf("%5s %12s | %9s %9s %9s | %9s %9s | %10s %10s %9s\n", "cores", "million/s", "changes", "ring",
	    "log", "ring", "log", "uniform", "Zipf", "busy");
	for (unsigned i = 0; i < sizeof(cores) / sizeof(cores[0]); i++) {
		double rate = cores[i] / m->request_us, others = cores[i] - 1.0;
		printf(
		    "%5u %12.1f | %9.1f %7.0f %% %7.0f %% | %7.0f %% %7.0f %% | %8.2f %% %8.1f %% %7.0f %%\n",
		    cores[i], rate, rate / 10, 10 * rate / ring_max, 10 * rate / log_max,
		    100 * rate / ring_max, 100 * rate / log_max, 100 * others * m->held / 4096,
		    100 * others * m->held * (squares + 1.0 / 4096), 100 * rate * first / key_max);
	}
	printf("\nPercent of what each can take: beyond 100 it is the bound. 4096 shards are those of a "
	       "gigabyte.\n");
}

int main(int argc, char **argv)
{
	struct model m = {.request_us = 1.5, .log_us = 0.35, .transfer_ns = 0, .held = 0.1};
	int c;
	while ((c = getopt(argc, argv, "r:l:t:h:")) != -1) {
		double value = c == '?' ? 0 : atof(optarg);
		if (value <= 0) {
			fputs("usage: contention [-r US] [-l US] [-t NS] [-h PERCENT]\n", stderr);
			return 64;
		}
		*(c == 'r'     ? &m.request_us
		    : c == 'l' ? &m.log_us
		    : c == 't' ? &m.transfer_ns
		               : &m.held) = c == 'h' ? value / 100 : value;
	}
	prepare();
	double transfer = measure_all();
	if (m.transfer_ns <= 0)
		m.transfer_ns = transfer;
	extrapolate(&m);
	return 0;
}
