/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_cpu: see bench_cpu.h. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tool/bench_cpu.h"

static bool read_stat(pid_t pid, struct bench_cpu *cpu)
{
	char path[64], line[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t n = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	line[n] = '\0';
	/* The second field is the program's name in brackets and may hold anything; what follows is numbers.
	 */
	char *rest = strrchr(line, ')');
	unsigned long long user, system;
	if (!rest ||
	    sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
		return false;
	double tick = (double)sysconf(_SC_CLK_TCK);
	cpu->user = (double)user / tick;
	cpu->system = (double)system / tick;
	return true;
}

static double read_thread(pid_t pid, const char *thread)
{
	char path[320];
	snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, thread);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	unsigned long long ns = 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return (double)ns / 1e9;
}

bool bench_cpu_read(pid_t pid, struct bench_cpu *ret_cpu)
{
	memset(ret_cpu, 0, sizeof(*ret_cpu));
	if (!read_stat(pid, ret_cpu))
		return false;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return false;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] != '.')
			ret_cpu->run += read_thread(pid, e->d_name);
	}
	closedir(dir);
	return true;
}

double bench_cpu_used(const struct bench_cpu *before, const struct bench_cpu *after)
{
	double coarse = after->user + after->system - before->user - before->system;
	double fine = after->run - before->run;
	double ticks = 4 / (double)sysconf(_SC_CLK_TCK);
	return fabs(coarse - fine) <= ticks ? fine : coarse;
}
