/* SPDX-License-Identifier: BSD-3-Clause */
/* format_faults: whatever call or allocation fails, a floor-1 call says that it was this: it neither takes good data for
 * damaged nor bad for good, leaks no descriptor, and leaves what was there before. Each scenario is run with its n-th call
 * failing, for n = 1, 2, 3, until none is left; once, and from there on; then the same with its allocations. */
#include "failing.h"
#include "written.h"

struct scene {
	struct written w; /* what lies in the directory */
	struct failing_vfs u;
	const struct vfs *vfs;
	struct hearth_error err;
};

/* What calls fail with. EIO on a file counts as damage to it where files are searched for. */
static int with_errno = EIO;

typedef enum hearth_status scenario(struct scene *sc);
typedef void prepare(struct scene *sc);

static enum hearth_status guarded(struct scene *sc, scenario *run, bool memory, unsigned n, bool on)
{
	struct failing f = {.at = n, .on = on};
	unsigned files = failing_open_files();
	*(memory ? &failing_memory : &sc->u.failing) = f;
	enum hearth_status status = run(sc);
	if (memory)
		f = failing_memory;
	/* libc's opendir wants memory too: that is the call's failure. */
	if (memory && status == HEARTH_IO && sc->err.sys_errno == ENOMEM)
		status = HEARTH_NOMEM;
	failing_memory.at = sc->u.failing.at = 0;
	if (!memory)
		f = sc->u.failing;
	assert_int_equal(failing_open_files(), files);
	if (f.hit && status != HEARTH_OK && status != (memory ? HEARTH_NOMEM : HEARTH_IO))
		print_error("call %u: %s: %s\n", n, sc->err.file, sc->err.what);
	if (f.hit && status != HEARTH_OK)
		assert_int_equal(status, memory ? HEARTH_NOMEM : HEARTH_IO);
	if (!f.hit)
		assert_int_equal(status, HEARTH_OK);
	return f.hit ? HEARTH_OK : HEARTH_END;
}

/* Returns how many failures were tried. prepare makes the directory anew each time when the scenario changes it. */
static unsigned fail_each(prepare *make, scenario *run, bool changes)
{
	unsigned cases = 0;
	for (unsigned kind = 0; kind < (FAILING_MEMORY ? 4 : 2); kind++) {
		struct scene sc = {0};
		bool made = false;
		for (unsigned n = 1;; n++) {
			if (!made) {
				sc = (struct scene){0};
				make(&sc);
				failing_vfs_init(&sc.u);
				sc.u.error = with_errno;
				sc.vfs = &sc.u.vfs;
			}
			enum hearth_status more = guarded(&sc, run, kind >= 2, n, kind & 1);
			cases++;
			made = !changes && more == HEARTH_OK;
			if (!made)
				written_end(&sc.w);
			if (more == HEARTH_END)
				break;
			assert_true(n < 5000);
		}
	}
	return cases;
}

/* ---- directories ---- */

static void nothing(struct scene *sc)
{
	sc->w = written_begin();
}

static char large[300001];

/* Three segments, one of them packed, and two snapshots. */
static void everything(struct scene *sc)
{
	struct written *w = &sc->w;
	struct record r[3] = {set_record(1, "one", 0), set_record(2, "two", 0), set_record(3, "three", 0)};
	*w = written_begin();
	memset(large, 'l', sizeof(large) - 1);
	for (unsigned i = 0; i < 3; i++)
		r[i].seq = i + 1;
	written_segment(w);
	for (unsigned i = 0; i < 40; i++)
		written_set(w, i, "a value that packs", 0);
	uint64_t end = w->offset;
	written_segment(w);
	written_set(w, 1, large, 0);
	written_set(w, 2, "small", 0);
	written_segment(w);
	written_set(w, 3, "last", 0);
	written_snapshot(w, r, 3, 3, 3);
	written_snapshot(w, r, 3, 41, 41);
	written_manifest(w);
	assert_int_equal(segment_pack(NULL, w->s.fd, "log-0000000001", "packed", end, NULL), HEARTH_OK);
	assert_int_equal(renameat(w->s.fd, "packed", w->s.fd, "log-0000000001"), 0);
}

static struct datadir *open_scene(struct scene *sc, enum hearth_status *ret_status)
{
	struct datadir *dir;
	*ret_status = datadir_open(&dir, sc->vfs, sc->w.s.path, true, true, NULL, &sc->err);
	assert_true((*ret_status == HEARTH_OK) == (dir != NULL));
	return dir;
}

static enum hearth_status make_directory(struct scene *sc)
{
	char path[300];
	struct datadir *dir;
	struct manifest m;
	bool repaired;
	snprintf(path, sizeof(path), "%s/new", sc->w.s.path);
	enum hearth_status status = datadir_open(&dir, sc->vfs, path, true, true, NULL, &sc->err);
	if (status != HEARTH_OK)
		return status;
	status = datadir_read_manifest(dir, &m, &repaired, &sc->err);
	assert_true(status != HEARTH_OK);
	datadir_close(&dir);
	return status == HEARTH_END ? HEARTH_OK : status;
}

static enum hearth_status write_manifest(struct scene *sc)
{
	enum hearth_status status;
	struct manifest m = {.generation = 1};
	struct datadir *dir = open_scene(sc, &status);
	if (dir == NULL)
		return status;
	for (uint64_t i = 1; i < 30 && status == HEARTH_OK; i++) {
		struct manifest_segment segment = {.number = i, .first = i};
		struct manifest_snapshot entry = {.number = i, .start = i};
		if (!manifest_add_segment(&m, &segment) || !manifest_add_snapshot(&m, &entry) ||
		    !manifest_add_unlink(&m, DATADIR_LOG, i))
			status = HEARTH_NOMEM;
	}
	if (status == HEARTH_OK)
		status = datadir_write_manifest(dir, &m, &sc->err);
	manifest_free(&m);
	datadir_close(&dir);
	return status;
}

static enum hearth_status read_manifest(struct scene *sc)
{
	enum hearth_status status;
	struct manifest m;
	bool repaired;
	struct datadir *dir = open_scene(sc, &status);
	if (dir == NULL)
		return status;
	status = datadir_read_manifest(dir, &m, &repaired, &sc->err);
	if (status == HEARTH_OK) {
		assert_false(repaired);
		assert_int_equal(m.n_segments, 3);
		assert_int_equal(m.n_snapshots, 2);
		manifest_free(&m);
	}
	datadir_close(&dir);
	return status;
}

static enum hearth_status rebuild_manifest(struct scene *sc)
{
	enum hearth_status status;
	struct manifest m;
	struct datadir *dir = open_scene(sc, &status);
	if (dir == NULL)
		return status;
	status = datadir_rebuild_manifest(dir, &m, &sc->err);
	if (status == HEARTH_OK) {
		assert_int_equal(m.next_segment, 4);
		manifest_free(&m);
	}
	datadir_close(&dir);
	return status;
}

/* The manifest names the first segment only. */
static enum hearth_status adopt_segments(struct scene *sc)
{
	enum hearth_status status;
	struct manifest m = {.generation = 1, .next_segment = 2};
	struct manifest_segment first = sc->w.m.segments[0];
	struct datadir *dir = open_scene(sc, &status);
	if (dir == NULL)
		return status;
	memcpy(m.lineage, sc->w.m.lineage, sizeof(m.lineage));
	status = manifest_add_segment(&m, &first) && manifest_add_unlink(&m, DATADIR_SNAPSHOT, 2)
	             ? HEARTH_OK
	             : HEARTH_NOMEM;
	if (status == HEARTH_OK)
		status = datadir_adopt_segments(dir, &m, &sc->err);
	assert_true(status != HEARTH_OK || m.next_segment == 4 || sc->u.failing.hit || failing_memory.hit);
	manifest_free(&m);
	datadir_close(&dir);
	return status;
}

static enum hearth_status set_aside(struct scene *sc)
{
	enum hearth_status status;
	char name[96];
	struct datadir *dir = open_scene(sc, &status);
	if (dir == NULL)
		return status;
	status = datadir_set_aside(dir, "log-0000000002", name, sizeof(name), &sc->err);
	assert_true(unit_exists(sc->w.s.fd, "log-0000000002"));
	datadir_close(&dir);
	return status;
}

static enum hearth_status set_aside_by_copy(struct scene *sc)
{
	sc->u.no_links = true;
	return set_aside(sc);
}

static void leftovers(struct scene *sc)
{
	nothing(sc);
	unit_write_file(sc->w.s.fd, "MANIFEST.tmp", "x", 1);
	unit_write_file(sc->w.s.fd, "snapshot-0000000001.tmp", "x", 1);
}

static enum hearth_status sweep_temporary(struct scene *sc)
{
	enum hearth_status status;
	struct datadir *dir = open_scene(sc, &status);
	if (dir == NULL)
		return status;
	status = datadir_sweep_temporary(dir, &sc->err);
	assert_true(status != HEARTH_OK || !unit_exists(sc->w.s.fd, "MANIFEST.tmp"));
	datadir_close(&dir);
	return status;
}

static void directories_say_what_failed(void **state)
{
	(void)state;
	unsigned cases = fail_each(nothing, make_directory, true);
	cases += fail_each(nothing, write_manifest, true);
	cases += fail_each(everything, read_manifest, false);
	with_errno = EMFILE;
	cases += fail_each(everything, rebuild_manifest, false);
	cases += fail_each(everything, adopt_segments, false);
	with_errno = EIO;
	cases += fail_each(everything, set_aside, true);
	cases += fail_each(everything, set_aside_by_copy, true);
	cases += fail_each(leftovers, sweep_temporary, true);
	print_message("# %u failures\n", cases);
	assert_true(cases > 200);
}

/* ---- segments ---- */

static enum hearth_status read_segment(struct scene *sc, const char *name, unsigned n)
{
	struct segment_reader *reader;
	struct segment_block block, again;
	uint8_t *buf = NULL;
	size_t size = 0;
	uint64_t offset = 0;
	unsigned records = 0;
	enum hearth_status status =
	    segment_open(&reader, sc->vfs, sc->w.s.fd, name, sc->w.m.lineage, &sc->err);
	if (status != HEARTH_OK) {
		assert_null(reader);
		return status;
	}
	while ((status = segment_next(reader, &block, &sc->err)) == HEARTH_OK) {
		struct segment_records walk = segment_records(&block);
		struct record r;
		while (segment_next_record(&walk, &r) == HEARTH_OK)
			records++;
		offset = block.offset;
	}
	assert_true(status != HEARTH_END || records == n);
	if (status == HEARTH_END)
		status = segment_load(reader, offset, &buf, &size, &again, &sc->err);
	segment_seek(reader, SEGMENT_HEADER_SIZE);
	if (status == HEARTH_OK)
		status = segment_skim(reader, &again, &sc->err);
	segment_seek(reader, SEGMENT_HEADER_SIZE + 1);
	if (status == HEARTH_OK) {
		status = segment_resync(reader, &sc->err);
		assert_true(status != HEARTH_DAMAGED);
		if (status == HEARTH_END)
			status = HEARTH_OK; /* one block only */
	}
	free(buf);
	segment_close(&reader);
	return status;
}

static enum hearth_status read_packed(struct scene *sc)
{
	return read_segment(sc, "log-0000000001", 40);
}

static enum hearth_status read_large(struct scene *sc)
{
	return read_segment(sc, "log-0000000002", 2);
}

static enum hearth_status find_block(struct scene *sc)
{
	uint64_t offset;
	int fd = vfs_open(sc->vfs, sc->w.s.fd, "log-0000000002", O_RDONLY);
	if (fd < 0)
		return HEARTH_IO;
	enum hearth_status status = segment_find(sc->vfs, fd, sc->w.m.segments[1].salt, 1, 1 << 20, &offset);
	assert_true(status != HEARTH_OK || offset >= SEGMENT_HEADER_SIZE);
	sc->vfs->close(sc->vfs->ctx, fd);
	return status;
}

/* The file that is to be packed is left alone, and a failure leaves no other. */
static enum hearth_status pack_segment(struct scene *sc)
{
	enum hearth_status status =
	    segment_pack(sc->vfs, sc->w.s.fd, "log-0000000002", "to", UINT64_MAX, &sc->err);
	assert_true(unit_exists(sc->w.s.fd, "log-0000000002"));
	/* Where removing it was what failed, it may stay. */
	assert_true(status == HEARTH_OK || sc->u.failing.hit || !unit_exists(sc->w.s.fd, "to"));
	return status;
}

static void segments_say_what_failed(void **state)
{
	(void)state;
	unsigned cases = fail_each(everything, read_packed, false);
	cases += fail_each(everything, read_large, false);
	cases += fail_each(everything, find_block, false);
	cases += fail_each(everything, pack_segment, true);
	print_message("# %u failures\n", cases);
	assert_true(cases > 100);
}

/* ---- snapshots ---- */

static enum hearth_status write_snapshot(struct scene *sc)
{
	struct snapshot_header h = {.number = 1};
	struct snapshot_footer f = {.end = 1};
	struct snapshot_writer *writer;
	struct record r = set_record(1, "value", 0);
	uint8_t out[RECORD_OVERHEAD_MAX];
	r.seq = 1;
	size_t len = record_encode(&r, out);
	int fd = vfs_open(sc->vfs, sc->w.s.fd, "snapshot", O_WRONLY | O_CREAT);
	if (fd < 0)
		return HEARTH_IO;
	enum hearth_status status = snapshot_writer_open(&writer, sc->vfs, fd, &h, 1, &sc->err);
	assert_true((status == HEARTH_OK) == (writer != NULL));
	for (unsigned i = 0; i < 70 && status == HEARTH_OK; i++)
		status = snapshot_writer_block(writer, out, len, 1, 1, &sc->err);
	if (status == HEARTH_OK)
		status = snapshot_writer_finish(writer, &f, &sc->err);
	/* What has failed once stays failed. */
	if (writer && status != HEARTH_OK && status != HEARTH_NOMEM)
		assert_int_equal(snapshot_writer_block(writer, out, len, 1, 1, &sc->err), status);
	if (writer)
		snapshot_writer_close(&writer);
	sc->vfs->close(sc->vfs->ctx, fd);
	return status;
}

static enum hearth_status read_snapshot(struct scene *sc)
{
	struct snapshot_reader *reader;
	uint8_t *buf = NULL;
	size_t size = 0, len;
	const uint8_t *data;
	enum hearth_status status =
	    snapshot_open(&reader, sc->vfs, sc->w.s.fd, "snapshot-0000000002", sc->w.m.lineage, &sc->err);
	if (status == HEARTH_OK) {
		assert_int_equal(snapshot_blocks(reader), 3);
		for (size_t i = 0; i < 3 && status == HEARTH_OK; i++)
			status = snapshot_load(reader, i, &buf, &size, &data, &len, &sc->err);
		if (status == HEARTH_OK)
			status = snapshot_verify(reader, &sc->err);
	}
	free(buf);
	snapshot_close(&reader);
	return status;
}

/* The footer is cut off: the blocks are found by walking. */
static void cut_snapshot(struct scene *sc)
{
	everything(sc);
	size_t len;
	uint8_t *data = unit_read_file(sc->w.s.fd, "snapshot-0000000002", &len);
	data[len / 2] ^= 1;
	unit_write_file(sc->w.s.fd, "snapshot-0000000002", data, len - 30);
	free(data);
}

static enum hearth_status walk_snapshot(struct scene *sc)
{
	struct snapshot_reader *reader;
	enum hearth_status status =
	    snapshot_open(&reader, sc->vfs, sc->w.s.fd, "snapshot-0000000002", sc->w.m.lineage, &sc->err);
	assert_true(status != HEARTH_OK);
	if (status == HEARTH_DAMAGED || status == HEARTH_TORN) {
		assert_non_null(reader);
		assert_true(snapshot_blocks(reader) >= 2);
		status = HEARTH_OK;
	}
	snapshot_close(&reader);
	return status;
}

/* One record, too large to be unpacked whole. */
static void giant_snapshot(struct scene *sc)
{
	struct snapshot_header h = {.number = 1};
	struct snapshot_footer f = {.end = 1};
	struct snapshot_writer *writer;
	struct record r = set_record(1, "", 0);
	nothing(sc);
	unit_fill(large, sizeof(large), 5);
	r.seq = 1;
	r.value = (const uint8_t *)large;
	r.value_len = sizeof(large);
	uint8_t *out = malloc(record_size(&r));
	assert_non_null(out);
	size_t len = record_encode(&r, out);
	int fd = openat(sc->w.s.fd, "giant", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(snapshot_writer_open(&writer, vfs_posix(), fd, &h, 1, NULL), HEARTH_OK);
	assert_int_equal(snapshot_writer_block(writer, out, len, 1, 1, NULL), HEARTH_OK);
	assert_int_equal(snapshot_writer_finish(writer, &f, NULL), HEARTH_OK);
	snapshot_writer_close(&writer);
	close(fd);
	free(out);
}

static enum hearth_status read_giant(struct scene *sc)
{
	struct snapshot_reader *reader;
	struct record r;
	uint8_t head[RECORD_OVERHEAD_MAX];
	enum hearth_status status = snapshot_open(&reader, sc->vfs, sc->w.s.fd, "giant", NULL, &sc->err);
	if (status == HEARTH_OK)
		status = snapshot_load_head(reader, 0, head, &r, &sc->err);
	assert_true(status != HEARTH_OK || r.value_len == sizeof(large));
	snapshot_close(&reader);
	return status;
}

static void snapshots_say_what_failed(void **state)
{
	(void)state;
	unsigned cases = fail_each(nothing, write_snapshot, true);
	cases += fail_each(everything, read_snapshot, false);
	cases += fail_each(cut_snapshot, walk_snapshot, false);
	cases += fail_each(giant_snapshot, read_giant, false);
	print_message("# %u failures\n", cases);
	assert_true(cases > 100);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(directories_say_what_failed),
    cmocka_unit_test(segments_say_what_failed),
    cmocka_unit_test(snapshots_say_what_failed),
};
UNIT_MAIN(tests)
