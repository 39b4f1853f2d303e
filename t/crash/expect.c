/* SPDX-License-Identifier: BSD-3-Clause */
/* expect: an image as a directory DIR/data and what may be found in it as DIR/expect, for the real daemon (t/6050) and for
 * booting a failed case again. Lines of expect, fields separated by blanks:
 *   range LEAST MOST HOLES   the prefix of the history, by op; HOLES 1: keys may be missing besides
 *   boot other|same          than the one that wrote it
 *   told NUMBER              no such CAS number, or a lower one, may be given out again
 *   wall SECONDS             the wall clock when it was written
 *   case TEXT
 *   policy N, bootid N       of the life that left it, for booting it again
 *   flush FROM TO TIME       between these ops a flush is due then; 0 = none
 *   key K NAME               whose versions follow
 *   v FROM TO FLAGS EXPIRY CAS HEX    from op FROM to op TO the key holds this; HEX "-" when empty
 *   none FROM TO             there is no such key
 */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/check.h"

static void write_key(FILE *f, const struct model *m, unsigned k)
{
	char name[256];
	const struct version *v = m->version[k];
	unsigned n = m->versions[k];
	model_key(k, name);
	fprintf(f, "key %u %s\n", k, name);
	unsigned first = n ? v[0].op : m->n + 1;
	if (first > 0)
		fprintf(f, "none 0 %u\n", first - 1);
	for (unsigned i = 0; i < n; i++) {
		unsigned to = i + 1 < n ? v[i + 1].op - 1 : m->n;
		if (v[i].op > to)
			continue;
		if (!v[i].live) {
			fprintf(f, "none %u %u\n", v[i].op, to);
			continue;
		}
		fprintf(
		    f, "v %u %u %u %" PRId64 " %" PRIu64 " ", v[i].op, to, v[i].flags, v[i].expiry, v[i].cas);
		for (size_t b = 0; b < v[i].len; b++)
			fprintf(f, "%02x", v[i].value[b]);
		fprintf(f, "%s\n", v[i].len ? "" : "-");
	}
}

static void write_flushes(FILE *f, const struct model *m)
{
	for (unsigned i = 0, from = 0; i <= m->n; i++)
		if (i == m->n || m->op[i + 1].flush_due != m->op[i].flush_due) {
			fprintf(f, "flush %u %u %" PRId64 "\n", from, i, m->op[i].flush_due);
			from = i + 1;
		}
}

bool expect_write(const struct trial *t, const struct image *im, const char *path)
{
	char file[500];
	snprintf(file, sizeof(file), "%s/data", path);
	if (mkdir(path, 0700) != 0 || !image_write(im, file))
		return false;
	snprintf(file, sizeof(file), "%s/expect", path);
	FILE *f = fopen(file, "we");
	if (!f)
		return false;
	fprintf(f, "range %u %u %d\nboot %s\ntold %" PRIu64 "\nwall %" PRId64 "\ncase %s\n", t->least,
	    t->most, t->holes, t->other_boot ? "other" : "same", t->told, fake_wall(), t->name);
	fprintf(f, "policy %d\nbootid %" PRIu64 "\n", (int)t->options.fsync, t->options.boot);
	write_flushes(f, t->m);
	for (unsigned k = 0; k < MODEL_KEYS; k++)
		write_key(f, t->m, k);
	return fclose(f) == 0;
}

/* ---- reading it again ---- */

static uint8_t *unhex(const char *text, size_t *ret_len)
{
	size_t len = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
	uint8_t *value = must_alloc(len);
	for (size_t i = 0; i < len; i++) {
		unsigned byte = 0;
		CHECK(sscanf(text + 2 * i, "%2x", &byte) == 1);
		value[i] = (uint8_t)byte;
	}
	*ret_len = len;
	return value;
}

static void read_version(struct model *m, unsigned k, const char *line)
{
	struct version v = {.live = true};
	unsigned from, to;
	char *hex = must_alloc(strlen(line) + 1);
	if (sscanf(line, "v %u %u %u %" SCNd64 " %" SCNu64 " %s", &from, &to, &v.flags, &v.expiry, &v.cas,
	        hex) == 6)
		v.value = unhex(hex, &v.len);
	else if (sscanf(line, "none %u %u", &from, &to) == 2)
		v.live = false;
	else
		CHECK(!"a line of expect that is understood");
	free(hex);
	v.op = from;
	m->version[k] = must_realloc(m->version[k], (m->versions[k] + 1) * sizeof(v));
	m->version[k][m->versions[k]++] = v;
	if (to > m->n)
		m->n = to;
}

static void read_line(struct model *m, struct trial *t, unsigned *key, int64_t *wall, char *line)
{
	int holes, policy;
	unsigned from, to;
	int64_t due;
	char word[16];
	line[strcspn(line, "\n")] = 0;
	if (sscanf(line, "range %u %u %d", &t->least, &t->most, &holes) == 3)
		t->holes = holes;
	else if (sscanf(line, "boot %15s", word) == 1)
		t->other_boot = strcmp(word, "other") == 0;
	else if (strncmp(line, "case ", 5) == 0)
		snprintf(t->name, sizeof(t->name), "%s", line + 5);
	else if (sscanf(line, "policy %d", &policy) == 1)
		t->options.fsync = (enum engine_fsync)policy;
	else if (sscanf(line, "flush %u %u %" SCNd64, &from, &to, &due) == 3)
		for (unsigned i = from; i <= to && i <= MODEL_OPS; i++)
			m->op[i].flush_due = due;
	else if (sscanf(line, "key %u", key) != 1 && sscanf(line, "told %" SCNu64, &t->told) != 1 &&
	         sscanf(line, "wall %" SCNd64, wall) != 1 &&
	         sscanf(line, "bootid %" SCNu64, &t->options.boot) != 1)
		read_version(m, *key, line);
}

int expect_replay(const char *path)
{
	struct model *m = must_alloc(sizeof(*m));
	struct dice dice = dice_make(1);
	struct trial t = {.m = m, .options = stint_draw_options(&dice)};
	struct image im;
	char file[500], *line = NULL;
	size_t size = 0;
	unsigned key = 0;
	int64_t wall = 0;
	snprintf(file, sizeof(file), "%s/expect", path);
	FILE *f = fopen(file, "re");
	snprintf(file, sizeof(file), "%s/data", path);
	if (!f || !image_read(&im, file)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	while (getline(&line, &size, f) > 0)
		read_line(m, &t, &key, &wall, line);
	fclose(f);
	free(line);
	fake_begin(wall, 1);
	struct image_file *segment[64];
	unsigned n = image_list(&im, "log-", segment, 64);
	for (unsigned i = 0; i < n; i++)
		printf("# %s: %zu bytes\n", segment[i]->name, segment[i]->bytes.len);
	struct outcome o;
	bool ok = trial_boot(&t, &im, &o);
	printf("# %s: %s\n# state %u of %u..%u, %" PRIu64 " damaged, %" PRIu64 " bytes left out; %s\n",
	    t.name, ok ? "as expected" : "NOT as expected", o.verdict.n, t.least, t.most, o.recovery.damaged,
	    o.recovery.left_out_bytes, o.recovery.note);
	outcome_free(&o);
	image_free(&im);
	model_free(m);
	free(m);
	return ok ? 0 : 1;
}
