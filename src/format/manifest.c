/* SPDX-License-Identifier: BSD-3-Clause */
/* manifest: the content of MANIFEST as bytes and as a struct; datadir.c has the file. Pure but for
 * allocation. Counts are checked against the bytes that are left before anything is allocated for them. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "format/datadir_dir.h"
#include "format/magic.h"

#define COPY_HEAD_SIZE 20u /* magic, version, body length, CRC */
#define CRC_AT         16u
#define SEGMENT_SIZE   40u
#define SNAPSHOT_SIZE  52u
#define UNLINK_SIZE    12u
#define BODY_FIXED     92u

enum manifest_flag { MANIFEST_UNTRUSTED = 1, MANIFEST_CLEAN = 2 };
enum snapshot_flag { SNAPSHOT_PINNED = 1 };

static const uint8_t manifest_magic[MAGIC_SIZE] = {'H', 'E', 'A', 'R', 'T', 'H', 'M', 'F'};

void manifest_free(struct manifest *m)
{
	free(m->segments);
	free(m->snapshots);
	free(m->unlinks);
	*m = (struct manifest){0};
}

/* One element more at the end of a list; NULL when memory is short. */
static void *append(void **list, size_t *n, size_t size)
{
	void *bigger = reallocarray(*list, *n + 1, size);
	if (bigger == NULL)
		return NULL;
	*list = bigger;
	return (uint8_t *)bigger + size * (*n)++;
}

bool manifest_add_segment(struct manifest *m, const struct manifest_segment *s)
{
	void *list = m->segments;
	struct manifest_segment *at = append(&list, &m->n_segments, sizeof(*at));
	m->segments = list;
	if (at != NULL)
		*at = *s;
	return at != NULL;
}

bool manifest_add_snapshot(struct manifest *m, const struct manifest_snapshot *s)
{
	void *list = m->snapshots;
	struct manifest_snapshot *at = append(&list, &m->n_snapshots, sizeof(*at));
	m->snapshots = list;
	if (at != NULL)
		*at = *s;
	return at != NULL;
}

bool manifest_add_unlink(struct manifest *m, enum datadir_kind kind, uint64_t number)
{
	void *list = m->unlinks;
	struct manifest_unlink *at = append(&list, &m->n_unlinks, sizeof(*at));
	m->unlinks = list;
	if (at != NULL)
		*at = (struct manifest_unlink){.kind = kind, .number = number};
	return at != NULL;
}

/* ---- writing ---- */

static void put_fixed(struct bytes_writer *w, const struct manifest *m)
{
	bytes_put32(w, m->features.compatible);
	bytes_put32(w, m->features.read_only);
	bytes_put32(w, m->features.incompatible);
	bytes_put(w, m->lineage, sizeof(m->lineage));
	bytes_put64(w, m->generation);
	bytes_put64(w, m->term);
	bytes_put64(w, m->next_segment);
	bytes_put64(w, m->next_snapshot);
	bytes_put64(w, m->high_water);
	bytes_put32(w, (m->untrusted ? MANIFEST_UNTRUSTED : 0u) | (m->clean ? MANIFEST_CLEAN : 0u));
	bytes_put64(w, m->last_seq);
	bytes_put32(w, (uint32_t)m->n_segments);
	bytes_put32(w, (uint32_t)m->n_snapshots);
	bytes_put32(w, (uint32_t)m->n_unlinks);
}

static void put_lists(struct bytes_writer *w, const struct manifest *m)
{
	for (size_t i = 0; i < m->n_segments; i++) {
		bytes_put64(w, m->segments[i].number);
		bytes_put64(w, m->segments[i].first);
		bytes_put64(w, m->segments[i].generation);
		bytes_put(w, m->segments[i].salt, sizeof(m->segments[i].salt));
	}
	for (size_t i = 0; i < m->n_snapshots; i++) {
		bytes_put64(w, m->snapshots[i].number);
		bytes_put64(w, m->snapshots[i].start);
		bytes_put64(w, m->snapshots[i].end);
		bytes_put64(w, m->snapshots[i].generation);
		bytes_put64(w, m->snapshots[i].bytes);
		bytes_put64(w, (uint64_t)m->snapshots[i].wall_ms);
		bytes_put32(w, m->snapshots[i].pinned ? SNAPSHOT_PINNED : 0u);
	}
	for (size_t i = 0; i < m->n_unlinks; i++) {
		bytes_put32(w, (uint32_t)m->unlinks[i].kind);
		bytes_put64(w, m->unlinks[i].number);
	}
}

enum hearth_status manifest_encode(const struct manifest *m, struct buf *out)
{
	if (m->n_segments > DATADIR_NAMES_MAX || m->n_snapshots > DATADIR_NAMES_MAX ||
	    m->n_unlinks > DATADIR_NAMES_MAX)
		return HEARTH_TOO_LARGE;
	size_t body = BODY_FIXED + m->n_segments * SEGMENT_SIZE + m->n_snapshots * SNAPSHOT_SIZE +
	              m->n_unlinks * UNLINK_SIZE;
	size_t copy = COPY_HEAD_SIZE + body;
	if (copy > MANIFEST_SIZE_MAX / 2)
		return HEARTH_TOO_LARGE;
	if (!buf_reserve(out, 2 * copy))
		return HEARTH_NOMEM;
	uint8_t *start = out->data + out->tail;
	struct bytes_writer w = bytes_writer(start, copy);
	bytes_put(&w, manifest_magic, sizeof(manifest_magic));
	bytes_put32(&w, DATADIR_VERSION);
	bytes_put32(&w, (uint32_t)body);
	bytes_put32(&w, 0); /* the CRC, below */
	put_fixed(&w, m);
	put_lists(&w, m);
	CHECK(!w.bad && w.at == w.end);
	bytes_store32(start + CRC_AT, crc32c(crc32c(0, start, CRC_AT), start + COPY_HEAD_SIZE, body));
	memcpy(start + copy, start, copy);
	out->tail += 2 * copy;
	return HEARTH_OK;
}

/* ---- reading ---- */

static void get_fixed(struct bytes_reader *r, struct manifest *m, uint64_t counts[3])
{
	m->features.compatible = bytes_get32(r);
	m->features.read_only = bytes_get32(r);
	m->features.incompatible = bytes_get32(r);
	const uint8_t *lineage = bytes_take(r, sizeof(m->lineage));
	if (lineage != NULL)
		memcpy(m->lineage, lineage, sizeof(m->lineage));
	m->generation = bytes_get64(r);
	m->term = bytes_get64(r);
	m->next_segment = bytes_get64(r);
	m->next_snapshot = bytes_get64(r);
	m->high_water = bytes_get64(r);
	uint32_t flags = bytes_get32(r);
	m->untrusted = (flags & MANIFEST_UNTRUSTED) != 0;
	m->clean = (flags & MANIFEST_CLEAN) != 0;
	m->last_seq = bytes_get64(r);
	for (unsigned i = 0; i < 3; i++)
		counts[i] = bytes_get32(r);
}

static enum hearth_status get_lists(struct bytes_reader *r, struct manifest *m)
{
	for (size_t i = 0; i < m->n_segments; i++) {
		m->segments[i].number = bytes_get64(r);
		m->segments[i].first = bytes_get64(r);
		m->segments[i].generation = bytes_get64(r);
		const uint8_t *salt = bytes_take(r, sizeof(m->segments[i].salt));
		if (salt != NULL)
			memcpy(m->segments[i].salt, salt, sizeof(m->segments[i].salt));
	}
	for (size_t i = 0; i < m->n_snapshots; i++) {
		m->snapshots[i].number = bytes_get64(r);
		m->snapshots[i].start = bytes_get64(r);
		m->snapshots[i].end = bytes_get64(r);
		m->snapshots[i].generation = bytes_get64(r);
		m->snapshots[i].bytes = bytes_get64(r);
		m->snapshots[i].wall_ms = (int64_t)bytes_get64(r);
		m->snapshots[i].pinned = (bytes_get32(r) & SNAPSHOT_PINNED) != 0;
	}
	for (size_t i = 0; i < m->n_unlinks; i++) {
		uint32_t kind = bytes_get32(r);
		if (kind != DATADIR_LOG && kind != DATADIR_SNAPSHOT)
			return HEARTH_NEWER; /* a kind of file that must not be taken for another and unlinked
			                      */
		m->unlinks[i].kind = (enum datadir_kind)kind;
		m->unlinks[i].number = bytes_get64(r);
	}
	return HEARTH_OK;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Numbers of files: possible ones that leave one to follow, and none twice, or one file would be read as often as it is
 * named. Sorts them. */
static bool files_hold(uint64_t *numbers, size_t n)
{
	qsort(numbers, n, sizeof(*numbers), by_value);
	for (size_t i = 0; i < n; i++) {
		if (numbers[i] == 0 || numbers[i] >= RECORD_SEQ_MAX ||
		    (i > 0 && numbers[i] == numbers[i - 1]))
			return false;
	}
	return true;
}

/* A number that is taken is never given out again, whatever the manifest says. */
static enum hearth_status check_numbers(struct manifest *m)
{
	bool holds = m->next_segment <= RECORD_SEQ_MAX && m->next_snapshot <= RECORD_SEQ_MAX &&
	             m->generation <= RECORD_SEQ_MAX && m->high_water <= RECORD_SEQ_MAX &&
	             m->last_seq <= RECORD_SEQ_MAX;
	uint64_t *numbers = calloc(m->n_segments + m->n_snapshots + 1, sizeof(*numbers));
	if (numbers == NULL)
		return HEARTH_NOMEM;
	for (size_t i = 0; i < m->n_segments; i++) {
		numbers[i] = m->segments[i].number;
		holds = holds && m->segments[i].first <= RECORD_SEQ_MAX;
	}
	holds = holds && files_hold(numbers, m->n_segments);
	if (m->n_segments > 0 && m->next_segment <= numbers[m->n_segments - 1])
		m->next_segment = numbers[m->n_segments - 1] + 1;
	for (size_t i = 0; i < m->n_snapshots; i++) {
		numbers[i] = m->snapshots[i].number;
		holds =
		    holds && m->snapshots[i].start <= RECORD_SEQ_MAX && m->snapshots[i].end <= RECORD_SEQ_MAX;
	}
	holds = holds && files_hold(numbers, m->n_snapshots);
	if (m->n_snapshots > 0 && m->next_snapshot <= numbers[m->n_snapshots - 1])
		m->next_snapshot = numbers[m->n_snapshots - 1] + 1;
	free(numbers);
	return holds ? HEARTH_OK : HEARTH_DAMAGED;
}

/* A body whose CRC holds. Bytes behind the lists belong to a compatible feature of a later version. */
static enum hearth_status get_body(const uint8_t *body, size_t len, struct manifest *m)
{
	struct bytes_reader r = bytes_reader(body, len);
	uint64_t counts[3];
	get_fixed(&r, m, counts);
	if (!r.bad && m->features.incompatible != 0)
		return HEARTH_NEWER;
	if (r.bad ||
	    counts[0] * SEGMENT_SIZE + counts[1] * SNAPSHOT_SIZE + counts[2] * UNLINK_SIZE > bytes_left(&r))
		return HEARTH_DAMAGED;
	m->n_segments = (size_t)counts[0];
	m->n_snapshots = (size_t)counts[1];
	m->n_unlinks = (size_t)counts[2];
	m->segments = calloc(m->n_segments + 1, sizeof(*m->segments));
	m->snapshots = calloc(m->n_snapshots + 1, sizeof(*m->snapshots));
	m->unlinks = calloc(m->n_unlinks + 1, sizeof(*m->unlinks));
	if (m->segments == NULL || m->snapshots == NULL || m->unlinks == NULL)
		return HEARTH_NOMEM;
	enum hearth_status status = get_lists(&r, m);
	CHECK(!r.bad);
	return status == HEARTH_OK ? check_numbers(m) : status;
}

/* Length of the copy that begins at data, 0 if none verifies there. */
static size_t copy_length(const uint8_t *data, size_t len)
{
	if (len < COPY_HEAD_SIZE || memcmp(data, manifest_magic, MAGIC_SIZE) != 0)
		return 0;
	size_t body = bytes_load32(data + 12);
	if (body > len - COPY_HEAD_SIZE)
		return 0;
	uint32_t crc = crc32c(crc32c(0, data, CRC_AT), data + COPY_HEAD_SIZE, body);
	return crc == bytes_load32(data + CRC_AT) ? COPY_HEAD_SIZE + body : 0;
}

/* The second copy: at half the size, or where its magic is found when the size is not what it was. */
static size_t find_second(const uint8_t *data, size_t len, size_t from, size_t *ret_length)
{
	size_t at = len / 2;
	*ret_length = at >= from ? copy_length(data + at, len - at) : 0;
	if (*ret_length > 0)
		return at;
	for (at = from; at + COPY_HEAD_SIZE <= len; at++) {
		const uint8_t *found = memmem(data + at, len - at, manifest_magic, MAGIC_SIZE);
		if (found == NULL)
			break;
		at = (size_t)(found - data);
		*ret_length = copy_length(found, len - at);
		if (*ret_length > 0)
			return at;
	}
	return 0;
}

static bool resembles(const uint8_t *data, size_t len)
{
	if (len >= MAGIC_SIZE && magic_resembles(data, manifest_magic))
		return true;
	return bytes_all_zero(data, len) || memmem(data, len, manifest_magic, MAGIC_SIZE) != NULL;
}

enum hearth_status manifest_decode(const void *data, size_t len, struct manifest *ret_m, bool *ret_repaired)
{
	const uint8_t *bytes = data;
	size_t second_len = 0, first_len = copy_length(bytes, len);
	size_t second = find_second(bytes, len, first_len > 0 ? first_len : 1, &second_len);
	memset(ret_m, 0, sizeof(*ret_m));
	*ret_repaired = false;
	if (first_len == 0 && second_len == 0)
		return resembles(bytes, len) ? HEARTH_DAMAGED : HEARTH_FOREIGN;
	if (first_len > 0 && second_len > 0) {
		/* Two worlds in one file: nobody can say which is today's. */
		if (first_len != second_len || memcmp(bytes, bytes + second, first_len) != 0)
			return HEARTH_DAMAGED;
	}
	*ret_repaired = first_len == 0 || second != first_len || len != 2 * first_len;
	const uint8_t *copy = first_len > 0 ? bytes : bytes + second;
	size_t copy_len = first_len > 0 ? first_len : second_len;
	uint32_t version = bytes_load32(copy + 8);
	enum hearth_status status = HEARTH_NEWER;
	if (version <= DATADIR_VERSION)
		status = version == 0 ? HEARTH_DAMAGED
		                      : get_body(copy + COPY_HEAD_SIZE, copy_len - COPY_HEAD_SIZE, ret_m);
	if (status != HEARTH_OK)
		manifest_free(ret_m);
	return status;
}
