/* SPDX-License-Identifier: BSD-3-Clause */
/* records: walks the records of a verified payload, of a log block or of a snapshot block. Pure; any thread.
 * The CRC says that a Hearth wrote these bytes; what does not decode nevertheless is reported, not guessed
 * at. */
#include <hearth/segment.h>
#include <hearth/snapshot.h>

struct segment_records segment_records(const struct segment_block *block)
{
	return (struct segment_records){.at = block->payload,
	    .left = block->payload_len,
	    .next_seq = block->head.first,
	    .end_seq = block->head.first + block->head.count};
}

enum hearth_status segment_next_record(struct segment_records *records, struct record *ret_record)
{
	size_t len;
	enum hearth_status status = record_decode(records->at, records->left, ret_record, &len);
	if (status == HEARTH_END && records->next_seq != records->end_seq)
		return HEARTH_DAMAGED; /* fewer than the header counts */
	if (status != HEARTH_OK)
		return status;
	bool takes = record_takes_number(ret_record->type);
	if (takes && records->next_seq == records->end_seq)
		return HEARTH_DAMAGED;
	if (ret_record->seq != 0 && ret_record->seq != records->next_seq)
		return HEARTH_DAMAGED;
	ret_record->seq = records->next_seq;
	records->next_seq += takes;
	records->at += len;
	records->left -= len;
	return HEARTH_OK;
}

struct snapshot_records snapshot_records(const uint8_t *records, size_t len)
{
	return (struct snapshot_records){.at = records, .left = len};
}

enum hearth_status snapshot_next_record(struct snapshot_records *records, struct record *ret_record)
{
	size_t len;
	enum hearth_status status = record_decode(records->at, records->left, ret_record, &len);
	if (status != HEARTH_OK)
		return status;
	bool set =
	    ret_record->type == RECORD_SET && ret_record->seq != 0 && ret_record->seq <= RECORD_SEQ_MAX;
	bool other = ret_record->type == RECORD_DICT || ret_record->type & RECORD_MAY_SKIP;
	if (!set && !other)
		return HEARTH_DAMAGED;
	records->at += len;
	records->left -= len;
	return HEARTH_OK;
}
