/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_cpu: the processor time a process has used, all its threads counted, from /proc. */
#ifndef TOOL_BENCH_CPU_H
#define TOOL_BENCH_CPU_H

#include <stdbool.h>
#include <sys/types.h>

struct bench_cpu {
	double user, system; /* seconds, in ticks of the kernel's; threads that ended are in */
	double run; /* seconds on a processor, to the nanosecond, of the threads alive; 0 where not told */
};

/* False when there is no such process. */
bool bench_cpu_read(pid_t pid, struct bench_cpu *ret_cpu);
/* Seconds used between two looks: by the finer clock, unless a thread ended between and took its share away.
 */
double bench_cpu_used(const struct bench_cpu *before, const struct bench_cpu *after);

#endif
