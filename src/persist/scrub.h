/* SPDX-License-Identifier: BSD-3-Clause */
/* scrub: reads sealed files again, slowly, and verifies them as recovery would, so that what rots is found while memory
 * still has the data. A bad file is set aside and named; whoever called takes a fresh snapshot. One thread of its own: it
 * reads with libhearth's readers through a vfs that waits. */
#ifndef PERSIST_SCRUB_H
#define PERSIST_SCRUB_H

#include <stdatomic.h>
#include <hearth/datadir.h>
#include "persist/wal.h"

struct scrub_options {
	struct wal *wal;
	uint64_t rate; /* bytes a second */
	_Atomic bool *cancel;
	/* A bad file: its name, and where it went; from the caller's thread. */
	void (*bad)(void *arg, enum datadir_kind kind, uint64_t number, const char *name, const char *aside);
	/* Whether it was reported before: then it is passed over. */
	bool (*known)(void *arg, enum datadir_kind kind, uint64_t number);
	void *arg;
	_Atomic uint64_t *bytes; /* read so far */
};

/* One pass. HEARTH_OK; HEARTH_BUSY when cancelled; HEARTH_IO, HEARTH_NOMEM when it could not go on. */
enum hearth_status scrub_run(const struct scrub_options *options);

#endif
