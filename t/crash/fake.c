/* SPDX-License-Identifier: BSD-3-Clause */
/* fake: see fake.h. */
#include "fake.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until);
int __real_nanosleep(const struct timespec *want, struct timespec *left);
int __wrap_nanosleep(const struct timespec *want, struct timespec *left);
ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);
long __real_sysconf(int name);
long __wrap_sysconf(int name);

static _Atomic int64_t wall_ns, boot_ns;
static _Atomic uint64_t random_state = 1;
static _Atomic unsigned cores = 2;
static int64_t mono_zero, speed = 50;

static int64_t real_mono(void)
{
	struct timespec ts;
	__real_clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){ns / SECOND_NS, ns % SECOND_NS};
}

void fake_begin(int64_t wall_seconds, uint64_t seed)
{
	if (mono_zero == 0)
		mono_zero = real_mono() - SECOND_NS;
	atomic_store(&wall_ns, wall_seconds * SECOND_NS);
	atomic_store(&boot_ns, 1000 * SECOND_NS);
	atomic_store(&random_state, seed * 2 + 1);
}

int64_t fake_wall(void)
{
	return atomic_load(&wall_ns) / SECOND_NS;
}

void fake_pass(int64_t seconds)
{
	atomic_fetch_add(&wall_ns, seconds * SECOND_NS);
	atomic_fetch_add(&boot_ns, seconds * SECOND_NS);
}

void fake_set_wall(int64_t seconds)
{
	atomic_store(&wall_ns, seconds * SECOND_NS);
}

void fake_set_cores(unsigned n)
{
	atomic_store(&cores, n);
}

void fake_set_speed(unsigned n)
{
	speed = n;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	switch (id) {
	case CLOCK_REALTIME:
		*ts = timespec_of(atomic_load(&wall_ns));
		return 0;
	case CLOCK_BOOTTIME:
		*ts = timespec_of(atomic_load(&boot_ns));
		return 0;
	case CLOCK_MONOTONIC:
		*ts = timespec_of(mono_zero + (real_mono() - mono_zero) * speed);
		return 0;
	default:
		return __real_clock_gettime(id, ts);
	}
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	int64_t ns = until->tv_sec * SECOND_NS + until->tv_nsec;
	struct timespec real = timespec_of(mono_zero + (ns - mono_zero) / speed);
	return __real_pthread_cond_timedwait(cond, lock, &real);
}

int __wrap_nanosleep(const struct timespec *want, struct timespec *left)
{
	struct timespec real = timespec_of((want->tv_sec * SECOND_NS + want->tv_nsec) / speed);
	return __real_nanosleep(&real, left);
}

ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags)
{
	uint8_t *at = out;
	(void)flags;
	for (size_t i = 0; i < len; i++) {
		struct dice d = dice_make(atomic_fetch_add(&random_state, 1));
		at[i] = (uint8_t)dice_next(&d);
	}
	return (ssize_t)len;
}

long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? (long)atomic_load(&cores) : __real_sysconf(name);
}

/* ---- dice: splitmix64, public domain arithmetic ---- */

struct dice dice_make(uint64_t seed)
{
	return (struct dice){seed * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0x632be59bd9b4e019)};
}

uint64_t dice_next(struct dice *d)
{
	uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

unsigned dice_below(struct dice *d, unsigned n)
{
	return n ? (unsigned)(dice_next(d) % n) : 0;
}
