/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_stop: see bench_stop.h. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "tool/bench_stop.h"

static int stop_fd = -1;
static atomic_bool stopped;
static atomic_int stopped_by;

int bench_stop_open(void)
{
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return stop_fd;
}

void bench_stop_now(void)
{
	/* Nobody reads it: what cannot be added is there already. */
	const uint64_t one = 1;
	atomic_store(&stopped, true);
	ssize_t n = write(stop_fd, &one, sizeof(one));
	(void)n;
}

static void on_signal(int signal)
{
	int saved = errno;
	atomic_store(&stopped_by, signal);
	bench_stop_now();
	errno = saved;
}

void bench_stop_catch(void)
{
	static const int signals[] = {SIGINT, SIGTERM};
	const struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction before;
		if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &stop, NULL);
	}
}

bool bench_stopped(void)
{
	return atomic_load(&stopped);
}

bool bench_stop_signalled(void)
{
	return atomic_load(&stopped_by) != 0;
}

void bench_stop_pass_on(void)
{
	int by = atomic_load(&stopped_by);
	if (by == 0)
		return;
	signal(by, SIG_DFL);
	raise(by);
}
