/* SPDX-License-Identifier: BSD-3-Clause */
/* process: the daemon's process, see process.h. With -d the parent stays until the child serves, so that a
 * start that fails is seen by whoever started it. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/msg.h"
#include "base/notify.h"
#include "cgroup.h"
#include "server/inherited.h"

static int find_user(struct process *p, const struct config *c)
{
	if (!c->user) {
		if (geteuid() == 0)
			msg(MSG_INFO, "running as root: -u names a user to become");
		return 0;
	}
	errno = 0;
	struct passwd *pw = getpwnam(c->user);
	if (!pw) {
		msg(MSG_ERROR, "-u %s: %s", c->user, errno ? strerror(errno) : "no such user");
		return HEARTH_EXIT_NOUSER;
	}
	p->become = geteuid() == 0 && pw->pw_uid != 0;
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	return 0;
}

static int allow_cores(void)
{
	struct rlimit rl = {RLIM_INFINITY, RLIM_INFINITY};
	if (setrlimit(RLIMIT_CORE, &rl) == 0)
		return 0;
	if (getrlimit(RLIMIT_CORE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		if (rl.rlim_max != 0 && setrlimit(RLIMIT_CORE, &rl) == 0)
			return 0;
	}
	msg(MSG_ERROR, "-r: the limit on core files cannot be raised");
	return HEARTH_EXIT_OSERR;
}

/* The kernel would end the daemon once it holds more than its control group may. */
static void check_memory(const struct config *c)
{
	char file[CGROUP_FILE_MAX];
	bool persist = !c->data_dir || strcmp(c->data_dir, "none") != 0;
	uint64_t limit, beside = engine_memory_beside(&c->engine, persist);
	if (cgroup_memory_limit(&limit, file) && c->engine.memory + beside > limit)
		msg(MSG_WARN,
		    "-m %" PRIu64 " and %" PRIu64 " MiB that may come on top are more than the %" PRIu64
		    " MiB of %s: the kernel may end the daemon",
		    c->engine.memory >> 20, (beside >> 20) + 1, limit >> 20, file);
}

int process_init(struct process *p, const struct config *c)
{
	*p = (struct process){.ready_fd = -1, .told_fd = -1};
	msg_begin_log(c->json);
	signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a failed write, not the end */
	int code = find_user(p, c);
	if (code == 0 && c->core_dumps)
		code = allow_cores();
	if (code == 0)
		check_memory(c);
	return code;
}

/* Appends, so that several lines at once, and whoever cuts the file off, do no harm. */
static bool log_to(struct process *p, const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	bool ok = fd >= 0 && (!p->become || fchown(fd, p->uid, p->gid) == 0 || geteuid() != 0);
	ok = ok && dup2(fd, STDERR_FILENO) >= 0;
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return ok;
}

static bool log_or_tell(struct process *p, const char *path)
{
	bool ok = log_to(p, path);
	if (!ok)
		msg(MSG_ERROR, "--log-file %s: %s", path, strerror(errno));
	return ok;
}

int process_open_log(struct process *p, const struct config *c)
{
	if (!c->log_file)
		return 0;
	p->told_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (!log_or_tell(p, c->log_file))
		return HEARTH_EXIT_IOERR;
	msg_begin_log(c->json); /* it may have been the journal */
	if (!realpath(c->log_file, p->log_file))
		p->log_file[0] = 0;
	return 0;
}

void process_reopen_log(struct process *p)
{
	if (p->log_file[0])
		log_or_tell(p, p->log_file);
}

bool process_move_log(struct process *p, const struct config *c, char *ret_why)
{
	char path[sizeof p->log_file];
	const char *why = NULL;

	if (!c->log_file)
		why = "where messages went before is closed";
	else if (c->daemon && c->log_file[0] != '/')
		why = "not a whole path";
	else if (!log_to(p, c->log_file))
		why = strerror(errno);
	if (why) {
		snprintf(ret_why, CONFIG_WHY_MAX, "%s", why);
		return false;
	}
	msg_begin_log(c->json);
	snprintf(p->log_file, sizeof p->log_file, "%s", realpath(c->log_file, path) ? path : "");
	return true;
}

/* Where messages went before, once: whoever started it looks there. */
static void point_to_log(struct process *p, int code)
{
	if (p->told_fd < 0)
		return;
	if (code != 0 && p->log_file[0])
		dprintf(p->told_fd, "hearthd: error: stopped with code %d: %s says why\n", code, p->log_file);
	close(p->told_fd);
	p->told_fd = -1;
}

/* In the parent: until the child says its code, or dies. */
static int wait_ready(struct process *p, int fd)
{
	unsigned char code;
	ssize_t n;
	do {
		n = read(fd, &code, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return code;
	msg(MSG_ERROR, "-d: the daemon was killed before it served");
	point_to_log(p, HEARTH_EXIT_OSERR);
	return HEARTH_EXIT_OSERR;
}

int process_background(struct process *p, const struct config *c)
{
	int ends[2];

	/* In the process that the manager knows: it is the one that WATCHDOG_PID and LISTEN_PID name. */
	notify_open();
	bool inherits = inherited_are_own();
	if (!c->daemon)
		return 0;
	if (pipe2(ends, O_CLOEXEC) != 0)
		goto fail;
	pid_t pid = fork();
	if (pid < 0)
		goto fail;
	if (pid > 0) {
		close(ends[1]);
		int code = wait_ready(p, ends[0]);
		waitpid(pid, NULL, 0);
		_exit(code);
	}
	close(ends[0]);
	p->ready_fd = ends[1];
	setsid();
	pid = fork(); /* no session leader: it cannot get a terminal again */
	if (pid < 0)
		goto fail;
	if (pid > 0)
		_exit(0);
	if (inherits)
		inherited_adopt();
	return 0;
fail:
	msg(MSG_ERROR, "-d: %s", strerror(errno));
	return HEARTH_EXIT_OSERR;
}

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	struct __user_cap_data_struct left[_LINUX_CAPABILITY_U32S_3] = {{0}};
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Also those that would be inherited, which a change of user leaves. */
	if (syscall(SYS_capset, &head, none) != 0 || syscall(SYS_capget, &head, left) != 0)
		return false;
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		if (left[i].effective || left[i].permitted || left[i].inheritable)
			return false;
	}
	return true;
}

/* Nothing of root is left, and no program that this one could start would bring it back. errno says why not. */
static bool drop_privileges(const struct process *p, const char *user)
{
	uid_t real, effective, saved;
	gid_t groups[3];
	/* Bounds first, while it may: what is not there fails, and that ends the loop. */
	for (unsigned cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (initgroups(user, p->gid) != 0 || setresgid(p->gid, p->gid, p->gid) != 0 ||
	    setresuid(p->uid, p->uid, p->uid) != 0 || !drop_capabilities() ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return false;
	if (getresuid(&real, &effective, &saved) != 0 || getresgid(&groups[0], &groups[1], &groups[2]) != 0)
		return false;
	errno = EPERM;
	for (unsigned i = 0; i < 3; i++) {
		if (groups[i] != p->gid)
			return false;
	}
	return real == p->uid && effective == p->uid && saved == p->uid && setuid(0) != 0;
}

/* While it may: the right to lock more than the limit says goes with the others. */
static void raise_lock_limit(void)
{
	struct rlimit rl = {RLIM_INFINITY, RLIM_INFINITY};
	if (setrlimit(RLIMIT_MEMLOCK, &rl) == 0 || getrlimit(RLIMIT_MEMLOCK, &rl) != 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &rl);
}

/* Under a limit that is too low what is there now could be locked, and the store's memory would then not be had. */
static void lock_memory(const struct config *c)
{
	struct rlimit rl;
	uint64_t need = c->engine.memory + engine_memory_beside(&c->engine, true);
	if (geteuid() != 0 && getrlimit(RLIMIT_MEMLOCK, &rl) == 0 && rl.rlim_cur < need)
		msg(MSG_WARN,
		    "-k: memory is not locked: the limit of %" PRIu64 " KiB is less than the %" PRIu64
		    " of -m",
		    (uint64_t)rl.rlim_cur >> 10, need >> 10);
	else if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		msg(MSG_WARN, "-k: memory is not locked: %s", strerror(errno));
}

int process_become_user(struct process *p, const struct config *c, struct server *s, int dirfd, bool fresh)
{
	if (c->lock_memory)
		raise_lock_limit();
	if (p->become) {
		server_chown(s, p->uid, p->gid);
		if (dirfd >= 0 && fresh && fchown(dirfd, p->uid, p->gid) != 0) {
			msg(MSG_ERROR, "-u %s: the data directory cannot be handed over: %s", c->user,
			    strerror(errno));
			return HEARTH_EXIT_IOERR;
		}
		if (!drop_privileges(p, c->user)) {
			msg(MSG_ERROR, "-u %s: root's rights cannot be given up: %s", c->user,
			    strerror(errno));
			return HEARTH_EXIT_OSERR;
		}
		if (c->core_dumps)
			prctl(PR_SET_DUMPABLE, 1); /* lost with the change of user */
	}
	if (c->lock_memory)
		lock_memory(c);
	return 0;
}

/* Replaces the file as a whole, so that nobody reads half a number. */
static bool write_file(const char *path, const char *text)
{
	char temporary[PATH_MAX];
	int n = snprintf(temporary, sizeof temporary, "%s.tmp", path);
	FILE *f = n < (int)sizeof temporary ? fopen(temporary, "we") : NULL;
	bool ok = f != NULL;
	if (f) {
		ok = fputs(text, f) >= 0;
		ok = fclose(f) == 0 && ok;
		ok = ok && rename(temporary, path) == 0;
	}
	if (!ok)
		msg(MSG_WARN, "%s: cannot be written: %s", path, strerror(errno));
	return ok;
}

static void detach(const struct process *p, const struct config *c)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (c->verbosity == 0 && !p->log_file[0])
		dup2(null, STDERR_FILENO);
	close(null);
	if (chdir("/") != 0)
		msg(MSG_WARN, "/: %s", strerror(errno));
}

static void to_parent(struct process *p, int code)
{
	unsigned char byte = (unsigned char)code;
	if (p->ready_fd < 0)
		return;
	ssize_t n = write(p->ready_fd, &byte, 1);
	(void)n;
	close(p->ready_fd);
	p->ready_fd = -1;
}

void process_ready(struct process *p, const struct config *c, int port)
{
	const char *port_file = getenv("MEMCACHED_PORT_FILENAME");
	char text[64];

	if (c->pid_file) {
		snprintf(text, sizeof text, "%ld\n", (long)getpid());
		/* Absolute, as -d leaves the folder. */
		if (write_file(c->pid_file, text) && !realpath(c->pid_file, p->pid_file))
			p->pid_file[0] = 0;
	}
	if (port_file && port > 0) {
		snprintf(text, sizeof text, "TCP INET: %d\n", port);
		write_file(port_file, text);
	}
	point_to_log(p, 0);
	/* Before the process that the manager knows is gone. */
	if (port > 0)
		notify_started("serving on port %d", port);
	else
		notify_started(
		    "serving on %s", c->server.unix_path ? c->server.unix_path : "inherited sockets");
	to_parent(p, 0);
	if (c->daemon)
		detach(p, c);
}

int process_abandoned(struct process *p)
{
	int code = p->ready_fd < 0 ? 0 : HEARTH_EXIT_STOPPED;
	if (code)
		msg(MSG_ERROR, "-d: told to stop while it was loading: it does not run");
	process_end(p, code);
	return code;
}

void process_end(struct process *p, int code)
{
	point_to_log(p, code);
	to_parent(p, code);
	if (p->pid_file[0])
		unlink(p->pid_file);
	notify_close();
}
