/* SPDX-License-Identifier: BSD-3-Clause */
/* hearthd: the daemon. main is the order of the start: what can fail without touching data fails first, the
 * admin socket answers while data is loaded, and clients are let in when all of it is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/msg.h"
#include "base/vfs.h"
#include "config.h"
#include "engine/engine.h"
#include "process.h"
#include "reload.h"
#include "server/server.h"
#include "stop.h"

struct daemon {
	struct config config;
	struct process process;
	struct reload reload;
	struct server *server;
	char *path; /* of the data directory; NULL = keep nothing */
	struct datadir *dir;
	int dirfd;
	bool fresh; /* the directory was not there before */
	struct engine *engine;
	struct stop_load *load;
};

static int exit_of_server(enum server_status status)
{
	static const int codes[] = {[SERVER_OK] = 0,
	    [SERVER_UNAVAILABLE] = HEARTH_EXIT_UNAVAILABLE,
	    [SERVER_SYSTEM] = HEARTH_EXIT_OSERR,
	    [SERVER_IO] = HEARTH_EXIT_IOERR,
	    [SERVER_USAGE] = HEARTH_EXIT_USAGE};
	return codes[status];
}

static int exit_of(enum hearth_status status)
{
	switch (status) {
	case HEARTH_OK:
		return 0;
	case HEARTH_BUSY:
		return HEARTH_EXIT_BUSY;
	case HEARTH_NOMEM:
	case HEARTH_TOO_LARGE:
		return HEARTH_EXIT_OSERR;
	case HEARTH_IO:
		return HEARTH_EXIT_IOERR;
	default:
		return HEARTH_EXIT_DATA;
	}
}

/* One line: file, offset, what, and why the system refused. Returns the exit code. */
static int failed(const struct daemon *d, enum hearth_status status, const struct hearth_error *err)
{
	char at[32] = "", file[96] = "";
	if (err->file[0] && (!d->path || strcmp(err->file, d->path) != 0))
		snprintf(file, sizeof file, "/%s", err->file);
	if (err->offset)
		snprintf(at, sizeof at, " at %" PRIu64, err->offset);
	msg(MSG_ERROR, "%s%s%s: %s%s%s", d->path ? d->path : "store", d->path ? file : "", at,
	    err->what ? err->what : hearth_status_text(status), err->sys_errno ? ": " : "",
	    err->sys_errno ? strerror(err->sys_errno) : "");
	return exit_of(status);
}

static int open_directory(struct daemon *d)
{
	struct hearth_error err = {0};
	struct stat st;
	int pid = 0;
	bool none;

	d->path = config_data_dir(&d->config, server_port(d->server), &none);
	if (none)
		return 0;
	if (!d->path) {
		msg(MSG_ERROR, "--data-dir: %s", strerror(errno));
		return HEARTH_EXIT_OSERR;
	}
	d->fresh = stat(d->path, &st) != 0;
	enum hearth_status status = datadir_open(&d->dir, vfs_posix(), d->path, true, true, &pid, &err);
	if (status == HEARTH_BUSY) {
		msg(MSG_ERROR, "--data-dir %s: in use by process %d", d->path, pid);
		return HEARTH_EXIT_BUSY;
	}
	if (status != HEARTH_OK)
		return failed(d, status, &err);
	d->dirfd = datadir_fd(d->dir);
	return 0;
}

static int open_engine(struct daemon *d)
{
	struct hearth_error err = {0};
	struct engine_options *o = &d->config.engine;

	o->progress = server_progress;
	o->progress_arg = d->server;
	o->loading = server_loading;
	o->settling = server_settling;
	o->loading_arg = d->server;
	enum hearth_status status = engine_open(&d->engine, o, d->dir, &err);
	if (status != HEARTH_OK)
		return failed(d, status, &err);
	d->dir = NULL; /* the engine's now */
	d->reload.engine = d->engine;
	server_set_engine(d->server, d->engine);
	return 0;
}

/* One line for each thing that a start did not take as it was. */
static void tell_times(const struct engine_recovery *r, const struct config *c)
{
	if (r->empty)
		msg(MSG_WARN, "down for %.0f seconds, longer than --max-downtime %" PRId64 ": started empty",
		    r->downtime, c->engine.max_downtime);
	if (r->clock && r->clock_back)
		msg(MSG_WARN, "%s: time goes on by the clock, and what is left keeps the time it had left",
		    r->clock);
	else if (r->clock)
		msg(MSG_WARN, "%s: expiry is judged by the later of the two", r->clock);
}

static int recover(struct daemon *d)
{
	struct engine_recovery r = {0};
	struct hearth_error err = {0};
	enum hearth_status status = engine_recover(d->engine, &r, &err);
	stop_load_end(&d->load);
	if (status != HEARTH_OK)
		return failed(d, status, &err);
	if (d->path) {
		msg(MSG_INFO, "data directory %s", d->path);
		msg(MSG_INFO,
		    "recovered %" PRIu64 " items, %" PRIu64 " bytes in %.3f seconds after %.0f down%s%s",
		    r.items, r.bytes, r.seconds, r.downtime, r.note[0] ? "; left out: " : "", r.note);
		tell_times(&r, &d->config);
	} else {
		msg(MSG_INFO, "keeping nothing: --data-dir none");
	}
	return 0;
}

/* Nobody is served any more, then everything that was acknowledged is written and synced. */
static int stop_serving(struct daemon *d, int code)
{
	struct hearth_error err = {0};
	struct stop *stop = stop_begin(d->engine, d->config.stop_timeout, d->process.pid_file);
	server_stop(d->server);
	enum hearth_status status = engine_stop(d->engine, &err);
	stop_end(&stop);
	if (status != HEARTH_OK)
		return failed(d, status, &err);
	return code;
}

int main(int argc, char **argv)
{
	struct daemon d = {.dirfd = -1};
	int code;

	msg_init("hearthd", 0);
	if (!config_read(&d.config, argc, argv, NULL, &code)) {
		config_free(&d.config);
		return code;
	}
	msg_set_verbosity(d.config.verbosity);
	if ((code = process_init(&d.process, &d.config)) != 0)
		goto out;
	if ((code = process_open_log(&d.process, &d.config)) != 0)
		goto out;
	if ((code = process_background(&d.process, &d.config)) != 0)
		goto out;
	if ((code = exit_of_server(server_bind(&d.server, &d.config.server))) != 0)
		goto out;
	d.reload = (struct reload){&d.config, &d.process, d.server, NULL, argc, argv};
	reload_hook(&d.reload);
	if ((code = open_directory(&d)) != 0)
		goto out;
	if ((code = process_become_user(&d.process, &d.config, d.server, d.dirfd, d.fresh)) != 0)
		goto out;
	d.load = stop_load_begin(d.server, d.config.stop_timeout, d.process.pid_file);
	if ((code = open_engine(&d)) != 0)
		goto out;
	if (d.path && (code = exit_of_server(server_admin(d.server, d.dirfd, d.path))) != 0)
		goto out;
	if ((code = exit_of_server(server_http(d.server, d.dirfd))) != 0)
		goto out;
	if ((code = recover(&d)) != 0)
		goto out;
	if ((code = exit_of_server(server_listen(d.server))) != 0)
		goto stop;
	process_ready(&d.process, &d.config, server_port(d.server));
	server_serve(d.server);
stop:
	code = stop_serving(&d, code);
out:
	stop_load_end(&d.load);
	server_end_http(d.server);
	engine_close(&d.engine);
	server_close(&d.server);
	datadir_close(&d.dir);
	process_end(&d.process, code);
	free(d.path);
	config_free(&d.config);
	return code;
}
