# SPDX-License-Identifier: BSD-3-Clause
# The in-process half of the crash harness. It takes clocks, waiting, random bytes and the number of cores from fake.c; in
# malloc.c allocations fail, too.
CRASH      = $(BUILD)/crash/images $(BUILD)/crash/malloc
CRASH_OBJS = $(call objs,crash,fake world memfs image model stint history run expect)
CRASH_MAIN = $(call objs,crash,clocks damage fault images power)
CRASH_WRAP = $(addprefix -Wl$(comma)--wrap=,clock_gettime pthread_cond_timedwait nanosleep getrandom sysconf)
CRASH_HEAP = $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc aligned_alloc reallocarray strdup nodump_alloc)
comma      = ,

units: $(CRASH)
# Its time runs fast too.
FAST = $(addprefix $(BUILD)/t/,engine engine_faults wal)
$(FAST): private ALL_LDFLAGS += $(CRASH_WRAP)
$(FAST): $(BUILD)/crash/fake.o
# Threads that cannot be started.
$(BUILD)/t/engine $(BUILD)/t/wal: private ALL_LDFLAGS += -Wl,--wrap=pthread_create
$(BUILD)/crash/images: $(CRASH_MAIN) $(CRASH_OBJS) $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) $(CRASH_WRAP) -o $@ $^ -levent_core -lzstd -lm
$(BUILD)/crash/malloc: $(BUILD)/crash/malloc.o $(CRASH_OBJS) $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) $(CRASH_WRAP) $(CRASH_HEAP) -o $@ $^ -levent_core -lzstd -lm
$(BUILD)/crash/%.o: t/crash/%.c Makefile t/crash/crash.mk
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
