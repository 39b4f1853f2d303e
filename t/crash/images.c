/* SPDX-License-Identifier: BSD-3-Clause */
/* images: the crash harness in one process: histories of a cache on a file system in memory, the on-disk states that
 * crashes and damage leave of them, each booted through the engine and held against the model. Prints TAP; t/6050-images.t
 * runs it and has every twentieth state booted by the real daemon. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "clocks.h"
#include "damage.h"
#include "fault.h"
#include "power.h"
#include "run.h"

const struct family families[] = {
    {"kill", "kill -9 at every write, and within it", kill_piece, 3},
    {"power", "power cut at every write", power_piece, 5},
    {"recovery", "recovery cut off at every write", recovery_piece, 2},
    {"cut", "T4: each file cut at every byte", cut_piece, 2},
    {"flip", "T5: every bit of every file flipped", flip_piece, 4},
    {"splice", "T6: zeroed, swapped, doubled, foreign, garbage", splice_piece, 2},
    {"fault", "T7, T8, T10: failing calls while it runs and stops", fault_piece, 3},
    {"start", "failing calls while it starts", fault_start_piece, 1},
    {"clocks", "T15: the wall clock is set", clocks_piece, 1},
    {0},
};

static const char usage[] =
    "images [--seconds N] [--jobs N] [--seed N] [--family NAME] [--piece SEED] [--keep DIR]\n"
    "       [--export DIR [--every N]]     write every N-th new image there, for the real daemon\n"
    "       [--wall SECONDS] [--speed N]   when histories begin; how fast time runs\n"
    "images --replay DIR                  boot a kept or exported image again\n";

static int help(int code)
{
	fputs(usage, code ? stderr : stdout);
	for (int i = 0; families[i].name; i++)
		fprintf(code ? stderr : stdout, "  %-10s %s\n", families[i].name, families[i].what);
	return code;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seconds", 1, NULL, 's'}, {"jobs", 1, NULL, 'j'},
	    {"seed", 1, NULL, 'S'}, {"family", 1, NULL, 'f'}, {"piece", 1, NULL, 'p'}, {"keep", 1, NULL, 'k'},
	    {"export", 1, NULL, 'e'}, {"every", 1, NULL, 'n'}, {"replay", 1, NULL, 'r'},
	    {"speed", 1, NULL, 'v'}, {"wall", 1, NULL, 'w'}, {"help", 0, NULL, 'h'}, {0}};
	struct run_options run = {
	    .seconds = 10, .jobs = 2, .every = 20, .wall = 1800000000, .seed = (uint64_t)time(NULL)};
	const char *replay = NULL;
	int c;
	if (getenv("HEARTH_SEED"))
		run.seed = strtoull(getenv("HEARTH_SEED"), NULL, 10);
	/* One process boots thousands of engines: their rings and buffers stay mapped in between. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			run.seconds = atof(optarg);
			break;
		case 'j':
			run.jobs = (unsigned)atoi(optarg);
			break;
		case 'S':
			run.seed = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			run.family = optarg;
			break;
		case 'p':
			run.one = true;
			run.seed = strtoull(optarg, NULL, 10);
			break;
		case 'k':
			run.keep = optarg;
			break;
		case 'e':
			run.export = optarg;
			break;
		case 'n':
			run.every = (unsigned)atoi(optarg);
			break;
		case 'r':
			replay = optarg;
			break;
		case 'v':
			fake_set_speed((unsigned)atoi(optarg));
			break;
		case 'w':
			run.wall = strtoll(optarg, NULL, 10);
			break;
		case 'h':
			return help(0);
		default:
			return help(2);
		}
	}
	if (run.jobs < 1 || run.jobs > 16 || run.every < 1)
		return help(2);
	run_prepare(&run);
	return replay ? expect_replay(replay) : run_all();
}
