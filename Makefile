# SPDX-License-Identifier: BSD-3-Clause
# Hearth. `make demo` and `make check` do all they need by themselves; README.md says what each target does.

BUILD   ?= build
PREFIX  ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR  ?= $(PREFIX)/share/man
VERSION  = 0.1.0
JOBS     = $(shell nproc)

CC       = gcc
CFLAGS  ?= -O2 -g
# gcc copies what is short or of unknown length with `rep`, which takes 30 cycles to begin: calls of the C library take fewer.
COPYING  = -mmemcpy-strategy=libcall:-1:noalign -mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign
COPY    := $(if $(and $(findstring gcc,$(CC)),$(findstring x86_64,$(shell $(CC) -dumpmachine))),$(COPYING))
WARN     = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wsign-compare -Wpointer-arith
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DHEARTH_VERSION='"$(VERSION)"' -Isrc -Iinclude $(WARN) $(CFLAGS) \
	$(COPY) -pthread -fno-strict-aliasing $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) $(if $(CI),-Werror)
ALL_LDFLAGS = -pthread -fno-lto $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN))
# gcc optimizes hearthd as a whole: 9 % fewer instructions a request. All else links the same objects as they are, sooner.
LTO     ?= $(if $(SAN)$(findstring coverage,$(CFLAGS)),,$(if $(findstring gcc,$(CC)),-flto=$(JOBS)))
HEARTHD_LDFLAGS = -pthread $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN)) $(if $(LTO),$(LTO) $(CFLAGS) $(COPY) $(WARN))

# The floors, bottom up: src/README.md is the map.
BASE    = check crc32c nodump buf vfs
BASE_D  = hash clock msg notify schedule
FORMAT  = status record records dict keyblock keyset block block_zstd segment segment_header segment_pack segment_resync \
	snapshot_frame snapshot_read snapshot_walk snapshot_write \
	manifest datadir datadir_aside datadir_list datadir_lock datadir_rebuild
STORE   = arena index ghost item ahead large large_next policy rent lane change rewrite put touch mark unpack load reclaim shrink scan walk drop \
	store
PROTO   = command base64 meta parse reply binary uri
PERSIST = ring files keys wal sync tail heal unsynced parallel spread part snap apply dicts load window replay stream hole lost report recover \
	rate life scrub quota room
ENGINE  = engine commands compress unpack background bound rotate drop start pin keep scrubber
SERVER  = out conn worker address inherited listener dispatch session retrieval storage meta update dump operator \
	observed watch watcher detail hot histogram sample latency cluster binary binary_items stats admin alive metrics page http server
MAIN    = hearthd config config_file config_value process reload cgroup stop
TOOL    = hearth options out json report moment progress client source walk history dump verdict check loss reach dicts plan forecast \
	target copy tar vault restore backup snapshot snapshots drop drop_offline offline pin set stats top top_screen top_stats top_view \
	table contents live origin summary keys writer export filler reader reader_csv reader_ndjson reader_text import diff \
	bench bench_answer bench_conn bench_cpu bench_encode bench_footprint bench_hist bench_load bench_options \
	bench_progress bench_random bench_report bench_sizes bench_stop bench_trace bench_value bench_worker

objs = $(patsubst %,$(BUILD)/$(1)/%.o,$(2))
LIB_OBJS    = $(call objs,base,$(BASE)) $(call objs,format,$(FORMAT))
DAEMON_OBJS = $(call objs,base,$(BASE_D)) $(call objs,store,$(STORE)) $(call objs,proto,$(PROTO)) \
	$(call objs,persist,$(PERSIST)) $(call objs,engine,$(ENGINE)) $(call objs,server,$(SERVER))
MAIN_OBJS   = $(patsubst %,$(BUILD)/%.o,$(MAIN))
TOOL_OBJS   = $(call objs,tool,$(TOOL)) $(call objs,base,$(BASE_D)) $(call objs,proto,base64 uri)
# The library goes to others, whose compiler may be another; the page is read by the assembler.
$(LIB_OBJS) $(call objs,tool,$(TOOL)) $(BUILD)/server/page.o: private LTO =
$(BUILD)/server/page.o: src/server/page.html
UNITS       = $(patsubst t/unit/%.c,$(BUILD)/t/%,$(sort $(wildcard t/unit/*.c)))
SECTIONS    = 1 5 7 8
SOURCES     = $(shell find src include t/unit t/crash t/fuzz t/bench -name '*.[ch]')

all: $(BUILD)/hearthd $(BUILD)/hearth

$(BUILD)/libhearth.a: $(LIB_OBJS)
	rm -f $@ && ar rcs $@ $^
# Everything of the daemon but its main, so that unit tests link it.
$(BUILD)/libdaemon.a: $(DAEMON_OBJS)
	rm -f $@ && ar rcs $@ $^
$(BUILD)/hearthd: $(MAIN_OBJS) $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(HEARTHD_LDFLAGS) -o $@ $^ -levent_extra -levent_core -lzstd
$(BUILD)/hearth: $(TOOL_OBJS) $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lzstd -ljansson -lm -lncurses
$(BUILD)/t/tool_%: $(BUILD)/t/tool_%.o $(filter-out %/hearth.o,$(TOOL_OBJS)) $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -lzstd -ljansson -lm -lncurses
$(BUILD)/t/%: $(BUILD)/t/%.o $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -levent_extra -levent_core -lcmocka -lzstd -lm
$(BUILD)/t/%.o: t/unit/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(if $(LTO),$(LTO) -ffat-lto-objects) -MMD -MP -c -o $@ $<
units: $(UNITS)

# One prove runs all: unit tests are programs that print TAP. TESTS=t/5001-answers.t runs one. Three at a time, as on two cores
# two wait for something half of the time.
TESTS ?= $(UNITS) $(sort $(wildcard t/*.t))
prove: all units
	CMOCKA_MESSAGE_OUTPUT=TAP HEARTH_BUILD=$(BUILD) prove --nocolor -j3 $(PROVEFLAGS) $(TESTS)

check:
	etc/install-packages test
	$(MAKE) -j$(JOBS) prove
# The same with more kills, more bytes and bits to damage, longer streams: the harness takes CHECK_MINUTES (60).
check-long:
	etc/install-packages browser
	command -v npm >/dev/null || etc/install-packages npm
	t/harness-table $(BUILD) --clear
	HEARTH_LONG=1 $(MAKE) -j$(JOBS) prove; status=$$?; t/harness-table $(BUILD); exit $$status
# Takes each rule of t/traps/rules out of a copy of the tree: its test must fail then. A line a rule.
traps: all units
	HEARTH_BUILD=$(BUILD) t/traps/run
# The same tests under a sanitizer, but for those that need strace or measure (they look at HEARTH_SANITIZER). A
# report ends the program with 99, or stands in its messages: both fail the test.
asan:
	etc/install-packages test
	HEARTH_SANITIZER=address ASAN_OPTIONS=detect_leaks=1:exitcode=99:abort_on_error=0 \
	LSAN_OPTIONS=exitcode=99 $(MAKE) -j$(JOBS) prove BUILD=build/asan SAN=address CFLAGS='-O1 -g'
ubsan:
	etc/install-packages test
	HEARTH_SANITIZER=undefined UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=99 \
	$(MAKE) -j$(JOBS) prove BUILD=build/ubsan SAN=undefined CFLAGS='-O1 -g -fno-sanitize-recover=all'
# detect_deadlocks=0: flush_all holds the locks of all shards, more than the 64 that its detector can count.
tsan:
	etc/install-packages test
	HEARTH_SANITIZER=thread TSAN_OPTIONS=detect_deadlocks=0:halt_on_error=1:exitcode=99 \
	$(MAKE) -j$(JOBS) prove BUILD=build/tsan SAN=thread CFLAGS='-O1 -g'
# Lines and branches that the tests reach, a row a file.
cov:
	etc/install-packages test
	HEARTH_SANITIZER=coverage $(MAKE) -j$(JOBS) prove BUILD=build/cov CFLAGS='-O0 -g --coverage' LDFLAGS='--coverage -Wl,-u,__gcov_dump'; \
	status=$$?; t/coverage build/cov && exit $$status

demo:
	etc/install-packages demo
	$(MAKE) -j$(JOBS) all
	HEARTH_BUILD=$(BUILD) etc/demo

format:
	clang-format -i $(SOURCES)
lint:
	etc/install-packages test
	clang-format --dry-run -Werror $(SOURCES)
	mandoc -Tlint -Wwarning $(wildcard man/*)
	prove --nocolor t/0001-floors.t t/0003-style.t
clean:
	rm -rf build

.PHONY: all units prove check check-long traps asan ubsan tsan cov demo format lint clean
.SECONDARY:
include etc/install.mk t/crash/crash.mk t/fuzz/fuzz.mk t/bench/bench.mk $(shell find $(BUILD) -name '*.d' 2>/dev/null)
