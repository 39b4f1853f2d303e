# SPDX-License-Identifier: BSD-3-Clause
# Fuzz targets: `make fuzz` runs each for FUZZ_SECONDS under libFuzzer (clang); `make check` runs each over its corpus.
FUZZ         = record dict block segment snapshot manifest text binary items
FUZZ_SECONDS ?= 60
FUZZ_SAN     = fuzzer,address,undefined
FUZZ_PLAIN   = $(patsubst %,$(BUILD)/fuzz/%,$(FUZZ))
FUZZ_CLANG   = $(patsubst %,$(BUILD)/fuzz/clang/%,$(FUZZ))
FUZZ_SOURCES = $(patsubst %,src/base/%.c,$(BASE)) $(patsubst %,src/format/%.c,$(FORMAT)) \
	$(patsubst %,src/proto/%.c,$(PROTO))
# What import reads belongs to the tool.
FUZZ_TOOL    = reader reader_csv reader_ndjson reader_text writer out json
FUZZ_ITEMS   = $(patsubst %,src/tool/%.c,$(FUZZ_TOOL)) src/base/msg.c src/base/clock.c
$(BUILD)/fuzz/items: $(call objs,tool,$(FUZZ_TOOL))
$(BUILD)/fuzz/clang/items: $(FUZZ_ITEMS)
$(BUILD)/fuzz/clang/items: FUZZ_SOURCES += $(FUZZ_ITEMS)

units: $(FUZZ_PLAIN)
$(BUILD)/fuzz/clang/%: t/fuzz/%.c t/fuzz/fuzz.h $(FUZZ_SOURCES)
	@mkdir -p $(@D)
	clang -std=gnu11 -D_GNU_SOURCE -Isrc -Iinclude -g -O1 -fno-sanitize-recover=all -fsanitize=$(FUZZ_SAN) -o $@ \
		$< $(FUZZ_SOURCES) -lzstd -ljansson -lm
$(BUILD)/fuzz/%: $(BUILD)/fuzz/%.o $(BUILD)/fuzz/replay.o $(BUILD)/libdaemon.a $(BUILD)/libhearth.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lzstd -ljansson -lm
$(BUILD)/fuzz/%.o: t/fuzz/%.c Makefile t/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# What a run finds anew stays in the build; a crash is left there by name, and belongs into the corpus when mended.
fuzz: $(FUZZ_CLANG)
	for t in $(FUZZ); do mkdir -p $(BUILD)/fuzz/found/$$t && \
		$(BUILD)/fuzz/clang/$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
		-print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/$$t- $(BUILD)/fuzz/found/$$t t/fuzz/corpus/$$t \
		2>$(BUILD)/fuzz/$$t.log || { tail -40 $(BUILD)/fuzz/$$t.log; exit 1; }; \
		echo "$$t: $$(sed -n 's/^stat::number_of_executed_units: //p' $(BUILD)/fuzz/$$t.log) runs"; done
.PHONY: fuzz
