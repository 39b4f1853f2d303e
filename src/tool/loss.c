/* SPDX-License-Identifier: BSD-3-Clause */
/* loss: see loss.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/msg.h"
#include "tool/loss.h"

static void numbers(const struct loss *l, char *out, size_t size)
{
	if (l->from == 0 || (l->to != 0 && l->to < l->from))
		snprintf(out, size, "changes without number");
	else if (l->to == 0)
		snprintf(out, size, "changes from %" PRIu64 " on", l->from);
	else
		snprintf(out, size, "changes %" PRIu64 " to %" PRIu64, l->from, l->to);
}

void loss_text(const struct loss *l, char out[LOSS_TEXT_SIZE])
{
	char which[96];
	numbers(l, which, sizeof(which));
	switch (l->kind) {
	case LOSS_NOTHING:
		snprintf(out, LOSS_TEXT_SIZE, "%s: nothing is lost by it", l->what);
		return;
	case LOSS_TAIL:
		snprintf(out, LOSS_TEXT_SIZE, "%s: the log ends here, %" PRIu64 " bytes are left out",
		    l->what, l->length);
		return;
	case LOSS_KEYS:
		snprintf(out, LOSS_TEXT_SIZE, "%s: %s are lost, and %" PRIu64 " %s that they changed",
		    l->what, which, l->keys, l->keys == 1 ? "key" : "keys");
		return;
	case LOSS_OLDER:
		snprintf(out, LOSS_TEXT_SIZE,
		    "%s: %s are lost; everything older is left out, as it may be outdated%s%s", l->what,
		    which, l->why ? ": " : "", l->why ? l->why : "");
		return;
	case LOSS_CHANGES:
		snprintf(out, LOSS_TEXT_SIZE, "%s: %s are lost", l->what, which);
		return;
	case LOSS_SNAPSHOT:
		snprintf(out, LOSS_TEXT_SIZE, "%s", l->what);
		return;
	}
}

const char *loss_word(enum loss_kind kind)
{
	static const char *const words[] = {[LOSS_NOTHING] = "nothing",
	    [LOSS_TAIL] = "tail",
	    [LOSS_KEYS] = "keys",
	    [LOSS_OLDER] = "older",
	    [LOSS_CHANGES] = "changes",
	    [LOSS_SNAPSHOT] = "snapshot"};
	return words[kind];
}

void loss_report(const struct loss *l)
{
	char text[LOSS_TEXT_SIZE];
	loss_text(l, text);
	msg(l->kind == LOSS_NOTHING || l->kind == LOSS_TAIL ? MSG_WARN : MSG_ERROR,
	    "%s: at offset %" PRIu64 ": %s", l->path, l->offset, text);
}

bool losses_add(struct losses *losses, const struct loss *loss)
{
	struct loss *list = reallocarray(losses->list, losses->n + 1, sizeof(*list));
	if (!list)
		return false;
	losses->list = list;
	list[losses->n++] = *loss;
	return true;
}

void losses_free(struct losses *losses)
{
	free(losses->list);
	*losses = (struct losses){0};
}
