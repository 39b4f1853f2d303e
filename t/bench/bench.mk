# SPDX-License-Identifier: BSD-3-Clause
# make bench: what it needs, and t/bench/results, which says what it takes.
BENCH = $(BUILD)/replay $(BUILD)/floor

bench:
	etc/install-packages bench
	$(MAKE) -j$(JOBS) all $(BENCH)
	HEARTH_BUILD=$(BUILD) t/bench/results
# The store alone against a trace, beside exact LRU and Belady.
$(BUILD)/replay: t/bench/replay.c $(BUILD)/tool/bench_trace.o $(BUILD)/tool/bench_random.o $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lzstd -lm
# What an event loop costs that does nothing else; a test holds its answers against the daemon's.
$(BUILD)/floor: t/bench/floor.c t/bench/bench.mk
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $<
# What shared words cost, and a model of more cores.
$(BUILD)/contention: t/bench/contention.c $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lzstd -lm

units: $(BUILD)/floor
.PHONY: bench
