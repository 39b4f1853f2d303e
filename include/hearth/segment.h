/* SPDX-License-Identifier: BSD-3-Clause */
/* segment: one file of the log. A 256-byte header, then blocks back to back. The file is append-only and never
 * truncated; the header of the next segment names where this one ends.
 * A reader belongs to one thread; several may read one file, live or not: HEARTH_END at the end of what is there
 * can become a block later (a live follower calls again). */
#ifndef HEARTH_SEGMENT_H
#define HEARTH_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/block.h>
#include <hearth/record.h>
#include <hearth/status.h>

struct vfs;

#define SEGMENT_HEADER_SIZE 256
#define SEGMENT_VERSION     1
#define HEARTH_ID_SIZE      16

/* Feature bits: unknown `incompatible` bits refuse the file, unknown `read_only` bits refuse writing behind it,
 * `compatible` bits are ignored but for what SEGMENT_PACKED says. */
struct hearth_features {
	uint32_t compatible;
	uint32_t read_only;
	uint32_t incompatible;
};

/* Compatible feature: the blocks were merged and compressed after the segment had been left. The successor's prev_end and
 * prev_crc speak of the file before that; numbers are the same. */
#define SEGMENT_PACKED 1u

struct segment_header {
	struct hearth_features features;
	uint8_t lineage
	    [HEARTH_ID_SIZE]; /* random, made with the data directory; a copy keeps it, a restore does not */
	uint64_t generation;  /* raised by each healing snapshot */
	uint64_t term;        /* 0 until replication */
	uint64_t number;      /* that of the file name */
	uint64_t first;       /* sequence number of the first record to come */
	uint64_t prev_number; /* the segment before, 0 = none */
	uint64_t prev_end;    /* offset at which it ends; bytes behind it are not part of the log */
	uint64_t prev_last;   /* last sequence number in it */
	uint32_t prev_crc;    /* CRC of its last block, or of its header when it has none */
	uint8_t boot_id[HEARTH_ID_SIZE]; /* of the kernel that wrote it */
	int64_t wall_ms;
	int64_t hearth_ms;
	uint8_t salt[BLOCK_SALT_SIZE];
	int64_t flush_due;   /* pending delayed flush, 0 = none */
	uint64_t high_water; /* no number beyond this was given out before a later mark was durable */
	int64_t boot_ms;     /* CLOCK_BOOTTIME beside wall_ms; 0 = not said */
	uint32_t crc;        /* of this header; set by decode and encode */
};

void segment_encode_header(struct segment_header *h, uint8_t out[SEGMENT_HEADER_SIZE]);
/* HEARTH_END: all zero, a segment made ahead that never began. HEARTH_TORN, DAMAGED, NEWER or FOREIGN else. */
enum hearth_status segment_decode_header(const uint8_t *in, size_t len, struct segment_header *ret_h);

struct segment_reader;

/* One verified block. payload is raw (unpacked) and the reader's until the next call. */
struct segment_block {
	struct block_header head;
	uint64_t offset; /* of its header in the file */
	uint64_t end;    /* offset behind it */
	const uint8_t *payload;
	size_t payload_len;
};

/* Opens `name` below dirfd (vfs NULL = the real file system). The header is read and verified; lineage NULL = any.
 * *ret_reader is NULL unless HEARTH_OK. HEARTH_END: the header and what follows are zeros, the segment never began. */
enum hearth_status segment_open(struct segment_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const uint8_t *lineage, struct hearth_error *ret_err);
/* One whose header is bad: what a manifest knows of it (number, first, generation, salt) is `assumed` in its place. */
enum hearth_status segment_open_headless(struct segment_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const struct segment_header *assumed, struct hearth_error *ret_err);
void segment_close(struct segment_reader **reader);
const struct segment_header *segment_get_header(const struct segment_reader *reader);
/* Bytes of the file, as of the last look. */
uint64_t segment_size(const struct segment_reader *reader);
/* The reader's own descriptor, to read or sync by offset: the file, whatever its name is by now. */
int segment_get_fd(const struct segment_reader *reader);
/* Where the next call reads. */
uint64_t segment_offset(const struct segment_reader *reader);
/* Continue at an offset (of a block header known from before, or SEGMENT_HEADER_SIZE). */
void segment_seek(struct segment_reader *reader, uint64_t offset);
/* The next block. HEARTH_OK; HEARTH_END exactly at the end of the file; HEARTH_TORN when the file ends inside the
 * block, HEARTH_DAMAGED when it does not verify (offset says where), HEARTH_NEWER when it verifies and has an unknown
 * flag, HEARTH_IO. The position stays on failure.
 * Checks CRC and lengths; the chain (prev_crc, first) is for the caller, who may begin in the middle. */
enum hearth_status segment_next(
    struct segment_reader *reader, struct segment_block *ret_block, struct hearth_error *ret_err);
/* From the position + 1 on, finds the next offset at which a block verifies, and moves there. HEARTH_OK, HEARTH_END
 * when there is none, HEARTH_IO, HEARTH_NOMEM. Reads each byte of the file once, whatever the headers in it claim. */
enum hearth_status segment_resync(struct segment_reader *reader, struct hearth_error *ret_err);
/* The index of blocks only: like segment_next without verifying or unpacking the payload (ret_block->payload is
 * NULL), for handing the verification to many threads; those use segment_load with a buffer of their own. */
enum hearth_status segment_skim(
    struct segment_reader *reader, struct segment_block *ret_block, struct hearth_error *ret_err);

/* Thread-safe, also beside a thread that moves the reader: reads, verifies and unpacks the block at `offset` into *buf
 * (NULL or malloc'ed, grown as needed, *buf_size its size, the caller frees). On HEARTH_OK ret_block->payload points
 * into *buf. Fails as segment_next does. */
enum hearth_status segment_load(const struct segment_reader *reader, uint64_t offset, uint8_t **buf,
    size_t *buf_size, struct segment_block *ret_block, struct hearth_error *ret_err);

/* The offset of a block at `from` or behind whose CRC holds under this salt and that ends within `size`; of those that do,
 * the one that ends first. For a segment whose own header is bad. HEARTH_END when there is none, HEARTH_IO, HEARTH_NOMEM.
 * Reads every byte once. */
enum hearth_status segment_find(const struct vfs *vfs, int fd, const uint8_t salt[BLOCK_SALT_SIZE],
    uint64_t from, uint64_t size, uint64_t *ret_offset);

/* Writes the blocks of segment `from` that lie before offset `end` packed to a new file `to` beside it, synced; the caller
 * renames it. HEARTH_END: it is packed already, nothing was written. */
enum hearth_status segment_pack(const struct vfs *vfs, int dirfd, const char *from, const char *to,
    uint64_t end, struct hearth_error *ret_err);

/* Walks the records of a verified payload. Begin with segment_records(). */
struct segment_records {
	const uint8_t *at;
	size_t left;
	uint64_t next_seq;
	uint64_t end_seq; /* the block's header says that its records end here */
};
struct segment_records segment_records(const struct segment_block *block);
/* The next record with r->seq set from the block (records that take none get the next number to come). HEARTH_OK,
 * HEARTH_END, HEARTH_DAMAGED (also when there are not as many as the header counts), HEARTH_NEWER. */
enum hearth_status segment_next_record(struct segment_records *records, struct record *ret_record);

#endif
