/* SPDX-License-Identifier: BSD-3-Clause */
/* model: what a cache must hold after each op of a history, and the oracle: whether what a recovery found is the state
 * after some prefix of it (faults.md, I1 to I6). Ops are numbered from 1; state n is what op n leaves. Every value says
 * which key and op it is of and carries a checksum, so that a wrong one tells where it comes from. */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "fake.h"

#define MODEL_KEYS  20u
#define MODEL_OPS   512u /* in one history, over all its lives */
#define MODEL_WORDS ((MODEL_OPS + 64) / 64)

enum op_kind {
	OP_SET,
	OP_ADD,
	OP_REPLACE,
	OP_APPEND,
	OP_PREPEND,
	OP_INCR,
	OP_DECR,
	OP_CAS,
	OP_DELETE,
	OP_TOUCH,
	OP_GAT,
	OP_GET,
	OP_FLUSH,    /* now */
	OP_FLUSH_AT, /* the delayed one */
	OP_FIRE,     /* it fell due */
	OP_KINDS
};

/* What a key holds from op `op` on. */
struct version {
	unsigned op;
	bool live, number;
	uint8_t *value; /* the model's */
	size_t len;
	uint32_t flags;
	int64_t expiry;
	uint64_t cas;
};

struct op {
	enum op_kind kind;
	unsigned key;
	uint8_t *value; /* what is set or added to it; the model's */
	size_t len;
	uint32_t flags;
	int64_t expiry;
	uint64_t delta, compare;
	int64_t now; /* Hearth time at which it was done */
	/* What came of it. */
	int64_t flush_due; /* the slot behind it */
	uint64_t seq;      /* the number that it took; 0 = none */
	uint64_t was;      /* the same in an earlier life */
	uint64_t wait;     /* what its reply waits for, as the engine says it */
	uint64_t need;     /* the number in that */
	uint64_t cas;
	uint32_t begun, acked; /* events of its life; acked 0: not yet */
	bool lost;             /* and never: the disk failed, the connection is closed */
};

struct model {
	unsigned n; /* ops so far */
	struct op op[MODEL_OPS + 1];
	struct version *version[MODEL_KEYS];
	unsigned versions[MODEL_KEYS];
};

void model_free(struct model *m);
/* What values are filled with: a few words, and a random byte in each, so that they can be packed. */
void model_filler(struct dice *d, uint8_t *out, size_t len);
/* The name of a key: lengths differ, one has 250 bytes. Returns its length. */
uint8_t model_key(unsigned key, char out[256]);
/* Draws the next op: kind, key, value and times; it is not done yet. large: size of a large value now and then, 0 = none. */
struct op model_draw(struct model *m, struct dice *d, int64_t now, size_t large);
/* What the key holds at this time by the model; NULL = nothing. */
const struct version *model_holds(const struct model *m, unsigned key, int64_t now);
/* Whether op succeeds now (a get hits, a cas compares equal, an add finds nothing). */
bool model_expects(const struct model *m, const struct op *op);
/* What incr and decr will show. */
uint64_t model_number(const struct model *m, const struct op *op);
/* The op was done: it is number m->n from here on. cas: the number its value got. op's value is the model's now. */
struct op *model_do(struct model *m, struct op op, uint64_t cas);
/* Forgets all ops beyond n. */
void model_truncate(struct model *m, unsigned n);

/* ---- the oracle ---- */

struct found_key {
	bool live;
	uint8_t *value; /* the finder's */
	size_t len;
	uint32_t flags;
	int64_t expiry;
	uint64_t cas;
};

struct found {
	struct found_key key[MODEL_KEYS];
	int64_t now;   /* Hearth time of the look */
	int64_t slack; /* seconds by which times may be off */
	int64_t flush_due;
	uint64_t items;
	uint64_t number; /* the first that was given out afterwards */
};

void found_free(struct found *f);
/* A clock that was mad when the files were written: recovery judged everything by it, then took so many seconds, rounded,
 * off all times. Undoes that. */
void found_turn_back(struct found *f, int64_t seconds);
bool found_same(const struct found *a, const struct found *b);

struct verdict {
	bool ok;
	unsigned n; /* the largest prefix that fits */
	char why[256];
};

/* Whether found is state n for some n from `least` to `most`. holes: keys may be missing besides (after damage). */
struct verdict model_judge(
    const struct model *m, const struct found *f, unsigned least, unsigned most, bool holes);

#endif
