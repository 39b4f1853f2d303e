/* SPDX-License-Identifier: BSD-3-Clause */
/* reload: see reload.h. */
#include "reload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "engine/engine.h"

#define NO_VALUE "none" /* as a text that is not set is shown and asked for */

/* They bring into force what next says of one option, all else of which is in force. False: ret_why. */

static bool take_memory(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	snprintf(ret_why, SERVER_WHY_MAX, "too much, or too little for what is in use");
	return r->engine && engine_set_memory(r->engine, next->engine.memory);
}

static bool take_server(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	snprintf(ret_why, SERVER_WHY_MAX, "no descriptors for so many");
	return server_tune(r->server, &next->server);
}

/* The rest of it is told to be without effect, or is laid out at the start. */
static bool take_extended(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	const struct server_options *now = &r->config->server, *o = &next->server;
	if (o->watch_kib == now->watch_kib && o->buffers_mib == now->buffers_mib)
		return take_server(r, next, ret_why);
	snprintf(ret_why, SERVER_WHY_MAX, "watcher_logbuf_size and read_buf_mem_limit need a restart");
	return false;
}

static bool take_engine(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	(void)ret_why;
	if (r->engine)
		engine_tune(r->engine, &next->engine);
	return true;
}

static bool take_both(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	return take_server(r, next, ret_why) && take_engine(r, next, ret_why);
}

static bool take_bound(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	if (!r->engine || engine_set_max_disk(r->engine, next->engine.max_disk) == HEARTH_OK)
		return true;
	snprintf(ret_why, SERVER_WHY_MAX, "too little: as it was started it must be %" PRIu64 " or more",
	    engine_needs_disk(r->engine));
	return false;
}

static bool take_http(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	return server_move_http(r->server, &next->server, ret_why);
}

static bool take_cluster(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	return server_move_cluster(r->server, &next->server, ret_why);
}

static bool take_log_file(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	return process_move_log(r->process, next, ret_why);
}

static bool take_log_format(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	(void)r;
	(void)ret_why;
	msg_begin_log(next->json);
	return true;
}

/* It is looked up in the configuration in force when it matters. */
static bool take_as_it_is(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX])
{
	(void)r;
	(void)next;
	(void)ret_why;
	return true;
}

/* By long name: how it is brought into force; NULL: it matters at a start alone, and the next one reads it anyway. What is
 * not here only a start can change; hearth.conf(5) says why. */
static const struct live {
	const char *name;
	bool (*take)(struct reload *r, const struct config *next, char ret_why[SERVER_WHY_MAX]);
} lives[] = {
    {"verbose", take_server},
    {"memory-limit", take_memory},
    {"disable-evictions", take_both},
    {"conn-limit", take_server},
    {"max-reqs-per-event", take_server},
    {"listen-backlog", take_server},
    {"extended", take_extended},
    {"protocol", take_server},
    {"disable-flush-all", take_server},
    {"disable-dumping", take_server},
    {"disable-watch", take_server},
    {"disable-cas", take_server},
    {"enable-shutdown", take_server},
    {"fsync", take_engine},
    {"snapshot-interval", take_engine},
    {"snapshot-log-ratio", take_engine},
    {"snapshot-rate", take_engine},
    {"max-disk", take_bound},
    {"keep", take_engine},
    {"keep-days", take_engine},
    {"persist-min-ttl", take_engine},
    {"max-downtime", take_engine},
    {"on-disk-error", take_engine},
    {"scrub-interval", take_engine},
    {"cluster-file", take_cluster},
    {"log-file", take_log_file},
    {"log-format", take_log_format},
    {"stop-timeout", take_as_it_is},
    {"http", take_http},
    {"strict", NULL},
    {"restart-mode", NULL},
    {"clock-check", NULL},
};

static const struct live *find(const char *name)
{
	for (size_t i = 0; name && i < sizeof lives / sizeof lives[0]; i++) {
		if (strcmp(lives[i].name, name) == 0)
			return &lives[i];
	}
	return NULL;
}

static bool is_live(const char *name)
{
	const struct live *l = find(name);
	return l && l->take;
}

/* One option, tried on a copy, which is what is in force but for that. Told when it has changed; else ret_why begins with its
 * name and value. */
static bool change(struct reload *r, const char *name, const char *value, char ret_why[SERVER_WHY_MAX])
{
	struct config next;
	char reason[SERVER_WHY_MAX] = "no memory", wrong[CONFIG_WHY_MAX] = "";
	const char *shown = *value ? value : NO_VALUE;

	bool copied = config_copy(&next, r->config);
	bool ok = copied && config_change(&next, name, value, wrong);
	if (ok) {
		next.server.verbosity = next.verbosity;
		next.server.no_evict = next.engine.no_evict;
		ok = find(name)->take(r, &next, reason);
	}
	if (copied)
		config_free(&next);
	if (!ok) {
		snprintf(
		    ret_why, SERVER_WHY_MAX, "%.40s %.60s: %.150s", name, shown, *wrong ? wrong : reason);
		return false;
	}
	msg(MSG_INFO, "%s: now %s", name, shown);
	if (!config_change(r->config, name, value, wrong))
		msg(MSG_ERROR, "%s: the configuration in force is not shown right: %s", name, wrong);
	return true;
}

/* Each by itself: one that cannot be had takes no other with it. Returns how many could not. */
static unsigned change_all(struct reload *r, const struct config *next)
{
	struct config_option o;
	char why[SERVER_WHY_MAX];
	unsigned failed = 0;
	for (size_t i = 0; config_option(i, &o); i++) {
		if (!o.name || config_same(r->config, next, i))
			continue;
		char *value = config_value(next, i);
		if (!is_live(o.name)) {
			msg(MSG_WARN, "%s: %s needs a restart%s", o.name,
			    !value   ? "?"
			    : *value ? value
			             : NO_VALUE,
			    find(o.name) ? ", where alone it counts" : "");
		} else if (!value || !change(r, o.name, value, why)) {
			msg(MSG_ERROR, "%s", value ? why : "no memory");
			failed++;
		}
		free(value);
	}
	return failed;
}

static void on_hangup(void *arg)
{
	struct reload *r = arg;
	struct config next;
	int code;

	process_reopen_log(r->process);
	if (!config_read(&next, r->argc, r->argv, r->config->file, &code)) {
		msg(MSG_ERROR, "nothing was changed");
	} else {
		unsigned failed = change_all(r, &next);
		msg(failed ? MSG_ERROR : MSG_INFO, "configuration read again%s",
		    failed ? ", without what was not to be had" : "");
	}
	config_free(&next);
}

static bool on_change(void *arg, const char *name, const char *value, char *ret_why)
{
	if (!is_live(name)) {
		snprintf(ret_why, SERVER_WHY_MAX, "%.60s: cannot be changed while it runs", name);
		return false;
	}
	return change(arg, name, value, ret_why);
}

static char *on_list(void *arg)
{
	const struct reload *r = arg;
	struct config_option o;
	char *text = NULL, *value = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	for (size_t i = 0; out && config_option(i, &o); i++) {
		if (!is_live(o.name) || !(value = config_value(r->config, i)))
			continue;
		/* A path may have any byte but a zero: none of them ends the line. */
		for (char *c = value; *c; c++)
			*c = (unsigned char)*c < ' ' || *c == 127 ? '?' : *c;
		fprintf(out, "STAT %s %s\r\n", o.name, *value ? value : NO_VALUE);
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
