/* SPDX-License-Identifier: BSD-3-Clause */
/* backup: a data directory as it is now, in a directory or a tar stream. Of a running daemon it asks for a rotation:
 * then all but the segment being written is sealed and durable, and is linked or copied as it is. The log of the
 * backup ends with a segment of its own, which holds nothing but says where the last one ends, and begins above every
 * number that the daemon may have given out. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/client.h"
#include "tool/copy.h"
#include "tool/json.h"
#include "tool/moment.h"
#include "tool/options.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/vault.h"
#include "tool/verdict.h"
#include "tool/walk.h"

/* Between a rotation and our look at the manifest a snapshot may be published that needs what was written since. */
#define TRIES 20

enum { ROW_TO, ROW_JSON, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_TO] = {"to", "NEWDIR|-",
        "the directory to make, which must be empty; - is a tar stream on standard output"},
    [ROW_JSON] = {"json", NULL, "the summary as one JSON object"},
};
static const struct options_spec SPEC = {"backup", "DIR",
    "Copies a data directory, whose daemon may be running, as it is at this moment.", ROWS, N_ROWS};

struct backup {
	const char *from, *to;
	bool json;
	bool live; /* a daemon runs */
	struct source source;
	struct progress progress;
	struct vault *vault;
	struct manifest m;               /* of the backup */
	size_t edge;                     /* of a running daemon: the segment being written, which stays out */
	const struct source_file *final; /* the last segment that comes along */
	struct segment_header mark;      /* of the backup's own segment; number 0 = there is none */
	uint64_t final_end;              /* where the log ends in the final segment of a stopped daemon */
	int damage;
	struct dicts dicts;
};

/* ---- sealing ---- */

/* The daemon's answer to one request; NULL after a message. */
static const char *ask(struct client *client)
{
	for (unsigned try = 0;; try++) {
		const char *line = client_send(client, "rotate") ? client_line(client) : NULL;
		/* Another backup asks, too. */
		if (!line || strcmp(line, "ERROR a rotation is under way") != 0 || try == 10 * TRIES)
			return line;
		nanosleep(&(struct timespec){0, 50000000}, NULL);
	}
}

/* TOOL_OK when all before this moment is sealed and durable, or no daemon runs. */
static int seal(struct backup *b)
{
	struct client *client;
	int exit_code = client_try_admin(&client, b->from);
	b->live = client != NULL;
	if (!client)
		return exit_code;
	const char *line = ask(client);
	exit_code = line ? TOOL_OK : TOOL_NO_DAEMON;
	if (line && strncmp(line, "OK ", 3) != 0) {
		msg(MSG_ERROR, "%s: the daemon: %s", b->from, client_refusal(line));
		exit_code = TOOL_IO;
	}
	client_close(&client);
	return exit_code;
}

static uint64_t end_of_snapshots(const struct source *s)
{
	uint64_t end = 0;
	for (size_t i = 0; i < s->manifest.n_snapshots; i++)
		if (s->manifest.snapshots[i].end > end)
			end = s->manifest.snapshots[i].end;
	return end;
}

/* The last segment that has begun; false when there is none. */
static bool find_last(const struct source *s, size_t *ret_i)
{
	for (size_t i = s->n_files; i-- > 0;) {
		const struct source_file *f = &s->files[i];
		*ret_i = i;
		if (f->kind == DATADIR_LOG && f->status != HEARTH_END && !f->left)
			return true;
	}
	return false;
}

/* The directory with all of its files open, and everything in them that the backup needs sealed. */
static int open_sealed(struct backup *b)
{
	for (unsigned try = 0;; try++) {
		int exit_code = seal(b);
		if (exit_code != TOOL_OK)
			return exit_code;
		enum hearth_status status = source_open(&b->source, b->from);
		if (status != HEARTH_OK)
			return tool_worse(report_exit(status), TOOL_DATA);
		b->edge = b->source.n_files;
		if (!b->live)
			return TOOL_OK;
		const struct source_file *last = NULL;
		if (find_last(&b->source, &b->edge) && b->source.files[b->edge].segment)
			last = &b->source.files[b->edge];
		if (last && segment_get_header(last->segment)->first > end_of_snapshots(&b->source))
			return TOOL_OK;
		source_close(&b->source);
		if (try == TRIES) {
			msg(MSG_ERROR, "%s: no state of it could be caught between its snapshots", b->from);
			return TOOL_IO;
		}
	}
}

/* ---- what comes along ---- */

static bool comes_along(const struct backup *b, size_t i)
{
	const struct source_file *f = &b->source.files[i];
	return i != b->edge && !f->missing && !f->left && f->status != HEARTH_END;
}

/* Verifies all of it. Damage is named and comes along as it is; what cannot be read ends the backup. */
static int verify(struct backup *b)
{
	bool ended = false;
	uint64_t bytes = 0;
	for (size_t i = 0; i < b->source.n_files; i++) {
		struct source_file *f = &b->source.files[i];
		struct verdict v;
		if (i == b->edge || f->left || f->status == HEARTH_END)
			continue;
		if (ended && f->kind == DATADIR_LOG) {
			f->left = true;
			continue;
		}
		verdict_judge(&v, f, false, &b->dicts);
		ended = ended || v.ends;
		bytes += v.bytes;
		if (v.exit >= TOOL_USAGE)
			return v.exit;
		b->damage = v.exit == TOOL_DAMAGE ? TOOL_DAMAGE : b->damage;
		if (f->kind == DATADIR_LOG && f->segment)
			b->final = f;
	}
	progress_begin(&b->progress, "copying", bytes);
	return TOOL_OK;
}

/* Where the log of a stopped daemon ends, as recovery would find it. */
static int find_end(struct backup *b)
{
	const struct segment_header *h = segment_get_header(b->final->segment);
	struct walk w;
	struct segment_block block;
	struct walk_hole hole;
	struct hearth_error err;
	enum walk_event event;
	bool known = true;
	b->mark = (struct segment_header){.flush_due = h->flush_due, .hearth_ms = h->hearth_ms};
	walk_begin(&w, b->final);
	do {
		event = walk_next(&w, &block, &hole, &err);
		if (event == WALK_BLOCK) {
			known = true;
			b->mark.flush_due = block.head.flush_due;
			if (block.head.time_ms > b->mark.hearth_ms)
				b->mark.hearth_ms = block.head.time_ms;
		} else if (event == WALK_BAD) {
			known = false;
		}
	} while (event == WALK_BLOCK || event == WALK_BAD);
	if (event == WALK_FAILED) {
		report_error(b->final->path, &err);
		return tool_worse(report_exit(err.status), TOOL_DATA);
	}
	b->final_end = known ? w.end : segment_size(b->final->segment);
	if (!known)
		return TOOL_OK; /* nobody can say how many numbers are lost: recovery has to decide again */
	b->mark.number = b->source.manifest.next_segment;
	b->mark.prev_number = h->number;
	b->mark.prev_end = w.end;
	b->mark.prev_last = w.next - 1;
	b->mark.prev_crc = w.crc;
	return TOOL_OK;
}

static int make_mark(struct backup *b)
{
	const struct plan plan = {0};
	b->mark = (struct segment_header){.number = 0};
	b->final_end = UINT64_MAX;
	if (!b->final)
		return TOOL_OK;
	if (b->live)
		b->mark = *segment_get_header(b->source.files[b->edge].segment);
	else if (find_end(b) != TOOL_OK)
		return TOOL_IO;
	if (b->mark.number == 0)
		return TOOL_OK;
	const struct segment_header *h = segment_get_header(b->final->segment);
	b->mark.features = (struct hearth_features){0};
	memcpy(b->mark.lineage, h->lineage, sizeof(b->mark.lineage));
	b->mark.generation = b->live ? b->mark.generation : h->generation;
	b->mark.term = h->term;
	b->mark.high_water = copy_high_water(&b->source, &plan);
	if (b->mark.high_water < b->mark.prev_last)
		b->mark.high_water = b->mark.prev_last;
	b->mark.first = b->mark.high_water + 1;
	b->mark.wall_ms = clock_wall_ms();
	bool boot = datadir_boot_id(NULL, b->mark.boot_id, NULL) == HEARTH_OK;
	if (boot && datadir_random_id(b->mark.salt) == 0)
		return TOOL_OK;
	msg(MSG_ERROR, "%s: %s", b->to,
	    boot ? "no random bytes for a salt" : "the boot of the kernel cannot be read");
	return TOOL_SYSTEM;
}

/* ---- carrying ---- */

static int put_introduction(struct backup *b)
{
	char text[512], now[MOMENT_SIZE];
	moment_text(clock_wall_ms(), now);
	snprintf(text, sizeof(text),
	    "A backup of a Hearth data directory, made %s by hearth %s.\n"
	    "It is complete if there is a MANIFEST. To use it:\n\n"
	    "    hearth restore THIS-DIRECTORY --to NEW-DIRECTORY\n",
	    now, HEARTH_VERSION);
	return vault_put_bytes(b->vault, DATADIR_BACKUP, text, strlen(text));
}

static int put_unreadable(struct backup *b, const struct source_file *f)
{
	int fd = openat(f->dirfd, f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int exit_code = TOOL_OK;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		exit_code = vault_put_file(b->vault, f->dirfd, f->name, fd, (uint64_t)st.st_size, true);
	if (fd >= 0)
		close(fd);
	return exit_code;
}

static int put_file(struct backup *b, const struct source_file *f)
{
	if (f->snapshot)
		return vault_put_file(b->vault, f->dirfd, f->name, snapshot_get_fd(f->snapshot),
		    snapshot_size(f->snapshot), true);
	if (!f->segment)
		return put_unreadable(b, f);
	/* Without a daemon that could say so, nobody knows whether the last segment is written to. */
	bool whole = f != b->final || b->live;
	return vault_put_file(b->vault, f->dirfd, f->name, segment_get_fd(f->segment),
	    whole ? segment_size(f->segment) : b->final_end, whole);
}

static bool name_file(struct backup *b, const struct source_file *f)
{
	if (f->kind == DATADIR_SNAPSHOT)
		return manifest_add_snapshot(&b->m, f->named_snapshot);
	const struct manifest *m = &b->source.manifest;
	for (size_t i = 0; i < m->n_segments; i++)
		if (m->segments[i].number == f->number)
			return manifest_add_segment(&b->m, &m->segments[i]);
	return true;
}

static int put_mark(struct backup *b)
{
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	char name[DATADIR_NAME_SIZE];
	struct manifest_segment named = {
	    .number = b->mark.number, .first = b->mark.first, .generation = b->mark.generation};
	if (b->mark.number == 0)
		return TOOL_OK;
	segment_encode_header(&b->mark, bytes);
	memcpy(named.salt, b->mark.salt, sizeof(named.salt));
	datadir_name(DATADIR_LOG, b->mark.number, name);
	if (!manifest_add_segment(&b->m, &named))
		return report_no_memory();
	b->m.clean = true;
	b->m.last_seq = b->mark.prev_last;
	b->m.high_water = b->mark.high_water;
	if (b->m.next_segment <= b->mark.number)
		b->m.next_segment = b->mark.number + 1;
	return vault_put_bytes(b->vault, name, bytes, sizeof(bytes));
}

static int carry(struct backup *b)
{
	const struct manifest *m = &b->source.manifest;
	b->m = (struct manifest){.features = m->features,
	    .generation = m->generation,
	    .term = m->term,
	    .next_segment = m->next_segment,
	    .next_snapshot = m->next_snapshot,
	    .high_water = m->high_water,
	    .untrusted = m->untrusted,
	    .clean = m->clean,
	    .last_seq = m->last_seq};
	memcpy(b->m.lineage, m->lineage, sizeof(b->m.lineage));
	int exit_code = put_introduction(b);
	for (size_t i = 0; i < b->source.n_files && exit_code == TOOL_OK; i++) {
		if (!comes_along(b, i))
			continue;
		exit_code = put_file(b, &b->source.files[i]);
		if (exit_code == TOOL_OK && !name_file(b, &b->source.files[i]))
			exit_code = report_no_memory();
	}
	if (exit_code == TOOL_OK)
		exit_code = put_mark(b);
	progress_end(&b->progress);
	return exit_code == TOOL_OK ? vault_finish(b->vault, &b->m) : exit_code;
}

/* ---- telling ---- */

static int tell(const struct backup *b)
{
	struct vault_counts n = vault_get_counts(b->vault);
	uint64_t last = b->mark.number ? b->mark.prev_last : b->m.last_seq;
	struct out out;
	if (strcmp(b->to, "-") == 0) {
		msg(MSG_INFO, "%s: %" PRIu64 " files, %" PRIu64 " bytes, up to number %" PRIu64, b->from,
		    n.files, n.bytes, last);
		return TOOL_OK;
	}
	if (!out_open(&out, 1))
		return report_no_memory();
	if (b->json) {
		struct json j = json_begin(&out);
		json_bytes(&j, "directory", b->to, strlen(b->to));
		json_u64(&j, "files", n.files);
		json_u64(&j, "bytes", n.bytes);
		json_u64(&j, "linked", n.linked);
		json_u64(&j, "copied", n.copied);
		json_u64(&j, "seq", last);
		json_bool(&j, "live", b->live);
		json_bool(&j, "damaged", b->damage != TOOL_OK);
		json_end(&j);
	} else {
		char text[160];
		snprintf(text, sizeof(text),
		    ": %" PRIu64 " files, %" PRIu64 " bytes, up to number %" PRIu64 "; %" PRIu64
		    " linked, %" PRIu64 " copied\n",
		    n.files, n.bytes, last, n.linked, n.copied);
		out_escaped(&out, b->to, strlen(b->to));
		out_text(&out, text);
	}
	return out_close(&out) ? TOOL_OK : TOOL_IO;
}

static int run(struct backup *b)
{
	if (b->source.manifest_status == HEARTH_END) {
		msg(MSG_ERROR, "%s: holds no data", b->from);
		return TOOL_DATA;
	}
	if (b->source.manifest_status == HEARTH_DAMAGED || b->source.repaired) {
		msg(MSG_ERROR, "%s/%s: damaged; the backup gets a good one", b->from, DATADIR_MANIFEST);
		b->damage = TOOL_DAMAGE;
	}
	struct progress progress;
	source_watch(&b->source, &progress, "verifying");
	int exit_code = dicts_open(&b->dicts) ? verify(b) : report_no_memory();
	source_unwatch(&b->source);
	dicts_close(&b->dicts);
	if (exit_code == TOOL_OK)
		exit_code = make_mark(b);
	if (exit_code == TOOL_OK)
		exit_code = vault_open(&b->vault, b->to, &b->progress);
	if (exit_code == TOOL_OK)
		exit_code = carry(b);
	if (exit_code == TOOL_OK)
		exit_code = tell(b);
	vault_close(&b->vault);
	manifest_free(&b->m);
	return tool_worse(exit_code, b->damage);
}

static bool take_option(void *arg, int row, const char *value)
{
	struct backup *b = arg;
	if (row == ROW_TO)
		b->to = value;
	else
		b->json = true;
	return true;
}

int backup_main(int argc, char **argv)
{
	struct options o;
	struct backup b = {.damage = TOOL_OK};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &b))
		return o.exit;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (!b.to)
		return options_usage(&SPEC, "--to is missing");
	bool stream = strcmp(b.to, "-") == 0;
	if (stream && isatty(STDOUT_FILENO))
		return options_usage(&SPEC, "a tar stream is not for a terminal: redirect standard output");
	if (stream && b.json)
		return options_usage(&SPEC, "--json has no room beside a tar stream on standard output");
	b.from = args[0];
	struct stat st;
	if (stat(b.from, &st) == 0 && !S_ISDIR(st.st_mode))
		return options_usage(&SPEC, "%s is no data directory", b.from);
	int exit_code = stream ? TOOL_OK : target_look(b.to);
	if (exit_code == TOOL_OK)
		exit_code = open_sealed(&b);
	if (exit_code != TOOL_OK)
		return exit_code;
	exit_code = run(&b);
	source_close(&b.source);
	return exit_code;
}
