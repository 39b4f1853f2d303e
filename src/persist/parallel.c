/* SPDX-License-Identifier: BSD-3-Clause */
/* parallel: see parallel.h. */
#include "persist/parallel.h"

#include <pthread.h>
#include <stdbool.h>

#define THREADS_MAX 64u

struct part {
	pthread_t thread;
	void (*run)(void *arg, unsigned i);
	void *arg;
	unsigned i;
	bool started;
};

static void *part_main(void *p)
{
	struct part *part = p;
	part->run(part->arg, part->i);
	return NULL;
}

void parallel_run(unsigned n, void (*run)(void *arg, unsigned i), void *arg)
{
	struct part parts[THREADS_MAX];
	for (unsigned i = 1; i < n && i < THREADS_MAX; i++) {
		parts[i] = (struct part){.run = run, .arg = arg, .i = i};
		parts[i].started = pthread_create(&parts[i].thread, NULL, part_main, &parts[i]) == 0;
	}
	run(arg, 0);
	for (unsigned i = 1; i < n; i++) {
		if (i < THREADS_MAX && parts[i].started)
			pthread_join(parts[i].thread, NULL);
		else
			run(arg, i);
	}
}
