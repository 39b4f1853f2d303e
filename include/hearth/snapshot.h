/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: a file of SET records, each with its number, that together with the log behind S0 gives the state. It
 * is a standard zstd stream: header, block heads, index and footer are skippable frames, each block of records is
 * one data frame, so `zstd -t` passes and `zstdcat` prints the records.
 *
 *   skippable 0x184D2A50: header, 256 bytes of content (CRC at its end)
 *   per block: skippable 0x184D2A51: block head, 48 bytes of content | zstd frame
 *   skippable 0x184D2A52: index, a copy of all block heads with their offsets, CRC
 *   skippable 0x184D2A53: footer, 128 bytes of content (CRC at its end)
 * hearth-snapshot(5) has the fields. The format holds only what is here: a snapshot without its footer is
 * unfinished, and the daemon never publishes one. */
#ifndef HEARTH_SNAPSHOT_H
#define HEARTH_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include <hearth/segment.h>
#include <hearth/status.h>

#define SNAPSHOT_VERSION 1
/* Raw bytes of a block with more than one record; a head that says otherwise is damaged. */
#define SNAPSHOT_PAYLOAD_MAX (256u * 1024)
/* Without an index no more blocks than these are found: a terabyte of records. */
#define SNAPSHOT_FOUND_MAX (1u << 22)

struct snapshot_header {
	struct hearth_features features;
	uint8_t lineage[HEARTH_ID_SIZE];
	uint64_t generation;
	uint64_t term;
	uint64_t number;
	/* S0: every change up to this number is in here or was superseded; replay begins behind it. */
	uint64_t start;
	int64_t wall_ms;
	int64_t hearth_ms;
	uint8_t salt[BLOCK_SALT_SIZE];
	int64_t flush_due;   /* as of S0 */
	uint64_t high_water; /* as in segments */
};

struct snapshot_footer {
	uint64_t blocks;
	uint64_t items;
	uint64_t raw_bytes;
	/* Last number given out when the scan ended; the log was durable up to it when this was published. */
	uint64_t end;
	int64_t flush_due;
	uint64_t high_water;
	int64_t hearth_ms;
	uint64_t index_offset;
};

struct snapshot_block {
	uint64_t offset;     /* of its block head's frame */
	uint32_t stored_len; /* of the zstd frame */
	uint32_t raw_len;
	uint32_t crc; /* CRC32C over salt and stored bytes: damage is found before zstd sees it */
	uint32_t items;
	uint64_t upto; /* the number up to which its items are current */
};

/* ---- writing: one thread ---- */
struct snapshot_writer;

/* Begins a file on fd, which the writer does not own: the caller makes, syncs, renames and closes it. level: zstd's. */
enum hearth_status snapshot_writer_open(struct snapshot_writer **ret_w, const struct vfs *vfs, int fd,
    const struct snapshot_header *header, int level, struct hearth_error *ret_err);
/* pause is called from within snapshot_writer_block, every 0.1 ms or so, so that a writer beside others that are in a hurry
 * can let them go first. It may not call the writer. */
void snapshot_writer_pauses(struct snapshot_writer *w, void (*pause)(void *arg), void *arg);
/* Appends one block of `items` encoded records (all with RECORD_HAS_SEQ). */
enum hearth_status snapshot_writer_block(struct snapshot_writer *w, const void *records, size_t len,
    uint32_t items, uint64_t upto, struct hearth_error *ret_err);
/* Writes index and footer (blocks, items, raw_bytes and index_offset are filled in). */
enum hearth_status snapshot_writer_finish(
    struct snapshot_writer *w, struct snapshot_footer *footer, struct hearth_error *ret_err);
uint64_t snapshot_writer_bytes(const struct snapshot_writer *w); /* bytes written to the file so far */
void snapshot_writer_close(struct snapshot_writer **w);

/* ---- reading: the open reader is read-only afterwards and may be used by many threads ---- */
struct snapshot_reader;

/* Reads header, footer and index. A bad index or footer is no failure: the blocks are then found by walking and
 * searching the file, *ret_err says what was wrong and the call returns HEARTH_DAMAGED (or HEARTH_TORN) with
 * *ret_reader set and usable. *ret_reader is NULL when not even the header verifies. lineage NULL = any. */
enum hearth_status snapshot_open(struct snapshot_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const uint8_t *lineage, struct hearth_error *ret_err);
void snapshot_close(struct snapshot_reader **reader);
const struct snapshot_header *snapshot_get_header(const struct snapshot_reader *reader);
/* NULL when the footer was bad. */
const struct snapshot_footer *snapshot_get_footer(const struct snapshot_reader *reader);
/* Bytes of the file when it was opened. */
uint64_t snapshot_size(const struct snapshot_reader *reader);
/* As segment_get_fd. */
int snapshot_get_fd(const struct snapshot_reader *reader);
size_t snapshot_blocks(const struct snapshot_reader *reader);
/* Read from the file at each call: the reader holds no list, which a hostile file could make as long as it likes. All
 * zero when that fails or the file has changed; snapshot_load says why. */
struct snapshot_block snapshot_get_block(const struct snapshot_reader *reader, size_t i);
/* Blocks without items hold dictionaries. False also for one that snapshot_get_block could not read: it has no length. */
static inline bool snapshot_has_dicts(const struct snapshot_block *block)
{
	return block->items == 0 && block->raw_len > 0 && block->raw_len <= SNAPSHOT_PAYLOAD_MAX;
}
/* Reads, verifies and unpacks block i into *buf as segment_load does; walk it with snapshot_records(). */
enum hearth_status snapshot_load(const struct snapshot_reader *reader, size_t i, uint8_t **buf,
    size_t *buf_size, const uint8_t **ret_records, size_t *ret_len, struct hearth_error *ret_err);
/* Of block i, which holds one record too large to be of use, verifies all and unpacks the record's head: all but its
 * value (record_decode_head). Reads in pieces. */
enum hearth_status snapshot_load_head(const struct snapshot_reader *reader, size_t i,
    uint8_t head[RECORD_OVERHEAD_MAX], struct record *ret_record, struct hearth_error *ret_err);
/* Walks the records of a loaded block: SET records with their numbers, and types that may be skipped (only type set).
 * HEARTH_OK, HEARTH_END, HEARTH_DAMAGED, HEARTH_NEWER. */
struct snapshot_records {
	const uint8_t *at;
	size_t left;
};
struct snapshot_records snapshot_records(const uint8_t *records, size_t len);
enum hearth_status snapshot_next_record(struct snapshot_records *records, struct record *ret_record);

/* Whether the whole file verifies: every byte belongs to a frame that was checked. Used by `hearth check`. */
enum hearth_status snapshot_verify(const struct snapshot_reader *reader, struct hearth_error *ret_err);

#endif
