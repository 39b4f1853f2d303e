/* SPDX-License-Identifier: BSD-3-Clause */
/* parallel: see parallel.h. */
#include "persist/parallel.h"

#include <pthread.h>
#include <stdbool.h>
#include "base/check.h"

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
	struct part parts[PARALLEL_MAX];
	CHECK(n >= 1 && n <= PARALLEL_MAX);
	for (unsigned i = 1; i < n; i++) {
		parts[i] = (struct part){.run = run, .arg = arg, .i = i};
		parts[i].started = pthread_create(&parts[i].thread, NULL, part_main, &parts[i]) == 0;
	}
	run(arg, 0);
	for (unsigned i = 1; i < n; i++) {
		if (parts[i].started)
			pthread_join(parts[i].thread, NULL);
		else
			run(arg, i);
	}
}
