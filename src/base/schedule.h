/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule: which thread goes first when there are fewer cores than threads that want one. Of the calling thread; where
 * the system knows less (slices of one's own need Linux 6.12) or refuses, it does without. */
#ifndef BASE_SCHEDULE_H
#define BASE_SCHEDULE_H

/* Requests wait for this thread: when it wakes it takes the place of one that has begun a longer slice, milliseconds long. */
void schedule_promptly(void);
/* Others go first. nice: 0 to 19. Not SCHED_IDLE: what takes locks must get on with it while others have all cores. */
void schedule_behind(int nice);
/* A good place for others to go first, at once. Whoever does it often gets next to nothing while a core is wanted by more. */
void schedule_yield(void);

#endif
