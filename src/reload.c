/* SPDX-License-Identifier: BSD-3-Clause */
/* reload: see reload.h. */
#include "reload.h"

#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "engine/engine.h"

enum effect {
	NEVER, /* only a start can */
	START, /* it matters at a start alone, and the next one reads it anyway */
	LIVE,
};

/* By long name. What is not here is NEVER. */
static const struct {
	const char *name;
	enum effect effect;
} effects[] = {
    {"verbose", LIVE},
    {"memory-limit", LIVE},
    {"conn-limit", LIVE},
    {"max-reqs-per-event", LIVE},
    {"disable-flush-all", LIVE},
    {"disable-dumping", LIVE},
    {"disable-watch", LIVE},
    {"enable-shutdown", LIVE},
    {"fsync", LIVE},
    {"snapshot-interval", LIVE},
    {"snapshot-log-ratio", LIVE},
    {"snapshot-rate", LIVE},
    {"keep", LIVE},
    {"keep-days", LIVE},
    {"strict", START},
    {"restart-mode", START},
    {"clock-check", START},
};

static enum effect effect_of(const char *name)
{
	for (size_t i = 0; name && i < sizeof effects / sizeof effects[0]; i++) {
		if (strcmp(effects[i].name, name) == 0)
			return effects[i].effect;
	}
	return NEVER;
}

/* Brings into force what next says of live options. False: ret_why; memory may be in force then, and is in the configuration
 * as well. */
static bool apply(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	struct config *c = r->config;
	bool memory = next->engine.memory != c->engine.memory;
	if (memory && (!r->engine || !engine_set_memory(r->engine, next->engine.memory))) {
		snprintf(ret_why, SERVER_WHY_MAX, "memory-limit: too much, or too little for what is in use");
		return false;
	}
	if (!server_tune(r->server, &next->server)) {
		c->engine.memory = next->engine.memory;
		snprintf(ret_why, SERVER_WHY_MAX, "conn-limit: no descriptors for so many");
		return false;
	}
	if (r->engine)
		engine_tune(r->engine, &next->engine);
	return true;
}

/* Names what differs; of what only a start can change, back to what is in force. */
static void tell_differences(const struct config *old, const struct config *next)
{
	struct config_option o;
	for (size_t i = 0; config_option(i, &o); i++) {
		if (!o.name || config_same(old, next, i))
			continue;
		char *value = config_value(next, i);
		if (effect_of(o.name) == LIVE)
			msg(MSG_INFO, "%s: now %s", o.name, value ? value : "?");
		else
			msg(MSG_WARN, "%s: %s needs a restart%s", o.name, value ? value : "?",
			    effect_of(o.name) == START ? ", where alone it counts" : "");
		free(value);
	}
}

/* Of what can be changed, into c. */
static bool take_live(struct config *c, const struct config *next, char ret_why[CONFIG_WHY_MAX])
{
	struct config_option o;
	bool ok = true;
	for (size_t i = 0; ok && config_option(i, &o); i++) {
		if (effect_of(o.name) != LIVE || config_same(c, next, i))
			continue;
		char *value = config_value(next, i);
		snprintf(ret_why, CONFIG_WHY_MAX, "no memory");
		ok = value && config_change(c, o.name, value, ret_why);
		free(value);
	}
	return ok;
}

static void on_hangup(void *arg)
{
	struct reload *r = arg;
	struct config next;
	char why[SERVER_WHY_MAX];
	int code;

	process_reopen_log(r->process);
	if (!config_read(&next, r->argc, r->argv, r->config->file, &code)) {
		msg(MSG_ERROR, "nothing was changed");
	} else if (!apply(r, &next, why)) {
		msg(MSG_ERROR, "%s", why);
	} else {
		tell_differences(r->config, &next);
		if (take_live(r->config, &next, why))
			msg(MSG_INFO, "configuration read again");
		else
			msg(MSG_ERROR, "the configuration in force is not shown right: %s", why);
	}
	config_free(&next);
}

/* Tries it on a copy, which is what is in force but for the one option. */
static bool on_change(void *arg, const char *name, const char *value, char *ret_why)
{
	struct reload *r = arg;
	struct config next = *r->config;
	char why[CONFIG_WHY_MAX];

	if (effect_of(name) != LIVE) {
		snprintf(ret_why, SERVER_WHY_MAX, "%.60s: cannot be changed while it runs", name);
		return false;
	}
	/* None of these owns memory, so a flat copy does. */
	if (!config_change(&next, name, value, why)) {
		snprintf(ret_why, SERVER_WHY_MAX, "%.40s %.40s: %s", name, value, why);
		return false;
	}
	next.server.verbosity = next.verbosity;
	if (!apply(r, &next, ret_why))
		return false;
	*r->config = next;
	msg(MSG_INFO, "%s: now %s", name, value);
	return true;
}

static char *on_list(void *arg)
{
	const struct reload *r = arg;
	struct config_option o;
	char *text = NULL, *value = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	for (size_t i = 0; out && config_option(i, &o); i++) {
		if (effect_of(o.name) != LIVE || !(value = config_value(r->config, i)))
			continue;
		fprintf(out, "STAT %s %s\r\n", o.name, value);
		free(value);
	}
	if (out && fclose(out) != 0) {
		free(text);
		text = NULL;
	}
	return text;
}

static int on_abandoned(void *arg)
{
	const struct reload *r = arg;
	return process_abandoned(r->process);
}

void reload_hook(struct reload *r)
{
	const struct server_hooks hooks = {.arg = r,
	    .reload = on_hangup,
	    .change = on_change,
	    .changeable = on_list,
	    .abandoned = on_abandoned};
	server_set_hooks(r->server, &hooks);
}
