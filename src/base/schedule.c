/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule: see schedule.h. */
#include "base/schedule.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT_NS 100000 /* the shortest that Linux grants */

/* The first fields of what sched_setattr takes; glibc has no name for it. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t slice_ns, deadline, period;
};

void schedule_promptly(void)
{
	/* Who runs the process in real time knows better. */
	if (sched_getscheduler(0) != SCHED_OTHER)
		return;
	int nice = getpriority(PRIO_PROCESS, 0);
	const struct attributes a = {.size = sizeof a, .nice = nice, .slice_ns = SHORT_NS};
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

void schedule_behind(int nice)
{
	/* No further ahead than the process was put. */
	if (getpriority(PRIO_PROCESS, 0) < nice)
		(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
}

void schedule_yield(void)
{
	sched_yield();
}
