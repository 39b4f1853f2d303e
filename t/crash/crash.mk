# SPDX-License-Identifier: BSD-3-Clause
# The in-process half of the crash harness. It takes clocks, waiting, random bytes and the number of cores from fake.c.
CRASH      = $(BUILD)/crash/images
CRASH_OBJS = $(call objs,crash,$(filter-out malloc,$(patsubst t/crash/%.c,%,$(wildcard t/crash/*.c))))
CRASH_WRAP = $(addprefix -Wl$(comma)--wrap=,clock_gettime pthread_cond_timedwait nanosleep getrandom sysconf)
comma      = ,

units: $(CRASH)
# Its time runs fast too.
$(BUILD)/t/engine_faults: private ALL_LDFLAGS += $(CRASH_WRAP)
$(BUILD)/t/engine_faults: $(BUILD)/crash/fake.o
$(BUILD)/crash/images: $(CRASH_OBJS) $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) $(CRASH_WRAP) -o $@ $^ -levent_core -lzstd -lm
$(BUILD)/crash/%.o: t/crash/%.c Makefile t/crash/crash.mk
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
