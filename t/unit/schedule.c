/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule: what a thread asks for is what the system then says of it, and no other thread has it. */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/schedule.h"

static int own_nice(void)
{
	return getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
}

/* Of the calling thread, nanoseconds; 0: this system does not say. */
static unsigned long own_slice(void)
{
	FILE *f = fopen("/proc/thread-self/sched", "r");
	char line[256];
	unsigned long ns = 0;
	while (f && ns == 0 && fgets(line, sizeof line, f))
		(void)sscanf(line, "se.slice : %lu", &ns);
	if (f)
		fclose(f);
	return ns;
}

struct seen {
	int nice;
	unsigned long slice;
};

static void *behind(void *arg)
{
	struct seen *seen = arg;
	schedule_behind(7);
	schedule_yield();
	*seen = (struct seen){own_nice(), own_slice()};
	return NULL;
}

static void *promptly(void *arg)
{
	struct seen *seen = arg;
	schedule_behind(3);
	schedule_promptly();
	*seen = (struct seen){own_nice(), own_slice()};
	return NULL;
}

static struct seen seen_by(void *(*run)(void *))
{
	struct seen seen = {0};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, run, &seen), 0);
	pthread_join(thread, NULL);
	return seen;
}

static void each_thread_has_its_own(void **state)
{
	(void)state;
	int nice = own_nice();
	unsigned long slice = own_slice();
	assert_int_equal(seen_by(behind).nice, 7 > nice ? 7 : nice);
	struct seen prompt = seen_by(promptly);
	/* Being prompt changes no weight. */
	assert_int_equal(prompt.nice, 3 > nice ? 3 : nice);
	/* Systems before Linux 6.12, or without that file, have nothing to show. */
	if (slice != 0 && prompt.slice != slice)
		assert_int_equal(prompt.slice, 100000);
	assert_int_equal(own_nice(), nice);
	assert_int_equal(own_slice(), slice);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_thread_has_its_own),
};
UNIT_MAIN(tests)
