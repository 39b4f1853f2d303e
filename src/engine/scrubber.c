/* SPDX-License-Identifier: BSD-3-Clause */
/* scrubber: the thread that reads sealed files again, once an interval, and what follows from a bad one: memory still has
 * all of it, so a fresh snapshot takes the place of what rotted. */
#include "engine/private.h"

#include <stdio.h>
#include <string.h>
#include "base/schedule.h"
#include "persist/scrub.h"

#define RATE        (UINT64_C(16) << 20)
#define FIRST_SHARE 10 /* the first pass begins after this part of an interval */
#define HOUR_US     INT64_C(3600000000)

static bool known(void *arg, enum datadir_kind kind, uint64_t number)
{
	struct engine *e = arg;
	bool found = false;
	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < e->scrub.n_bad && i < ENGINE_SCRUB_BAD; i++)
		found |= e->scrub.bad[i].kind == kind && e->scrub.bad[i].number == number;
	pthread_mutex_unlock(&e->lock);
	return found;
}

static void bad(void *arg, enum datadir_kind kind, uint64_t number, const char *name, const char *aside)
{
	struct engine *e = arg;
	(void)aside;
	pthread_mutex_lock(&e->lock);
	e->scrub.bad[e->scrub.n_bad++ % ENGINE_SCRUB_BAD] = (struct manifest_unlink){kind, number};
	snprintf(e->scrub.name, sizeof(e->scrub.name), "%s", name);
	pthread_mutex_unlock(&e->lock);
	engine_snapshot(e, NULL, NULL);
}

/* Until a part of the interval, which may change meanwhile, has passed since then; without one to the end. False at the
 * end. */
static bool await_pass(struct engine *e, int64_t since_us, unsigned share)
{
	pthread_mutex_lock(&e->lock);
	while (!atomic_load(&e->stopping)) {
		int64_t interval = e->options.scrub_interval * 1000000;
		int64_t left = interval ? since_us + interval / share - clock_mono_us() : HOUR_US;
		if (left <= 0)
			break;
		struct timespec until = clock_deadline(left >= HOUR_US ? 3600000 : (int)(left / 1000) + 1);
		pthread_cond_timedwait(&e->wake_scrubber, &e->lock, &until);
	}
	pthread_mutex_unlock(&e->lock);
	return !atomic_load(&e->stopping);
}

static void *scrubber_main(void *arg)
{
	struct engine *e = arg;
	const struct scrub_options so = {.wal = e->wal,
	    .rate = RATE,
	    .cancel = &e->stopping,
	    .bad = bad,
	    .known = known,
	    .arg = e,
	    .bytes = &e->scrub.bytes};
	int64_t since = clock_mono_us();
	unsigned share = FIRST_SHARE;
	schedule_behind(19);
	while (await_pass(e, since, share)) {
		since = clock_mono_us();
		share = 1;
		if (scrub_run(&so) != HEARTH_OK)
			continue;
		pthread_mutex_lock(&e->lock);
		e->scrub.passes++;
		e->scrub.last = clock_wall_ms() / 1000;
		pthread_mutex_unlock(&e->lock);
	}
	return NULL;
}

bool scrubber_start(struct engine *e)
{
	if (!e->wal)
		return true; /* it is there without an interval, too: one may be set */
	e->scrubber_running = pthread_create(&e->scrubber, NULL, scrubber_main, e) == 0;
	return e->scrubber_running;
}

void scrubber_set_interval(struct engine *e, int64_t seconds)
{
	pthread_mutex_lock(&e->lock);
	e->options.scrub_interval = seconds;
	pthread_cond_signal(&e->wake_scrubber);
	pthread_mutex_unlock(&e->lock);
}

void scrubber_stop(struct engine *e)
{
	if (!e->scrubber_running)
		return;
	pthread_mutex_lock(&e->lock);
	pthread_cond_signal(&e->wake_scrubber);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->scrubber, NULL);
	e->scrubber_running = false;
}

void scrubber_get_stats(struct engine *e, struct engine_scrub *ret)
{
	pthread_mutex_lock(&e->lock);
	*ret =
	    (struct engine_scrub){.passes = e->scrub.passes, .errors = e->scrub.n_bad, .last = e->scrub.last};
	memcpy(ret->bad, e->scrub.name, sizeof(ret->bad));
	pthread_mutex_unlock(&e->lock);
	ret->bytes = atomic_load(&e->scrub.bytes);
}
