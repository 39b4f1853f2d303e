/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_conn: see bench_conn.h. Output is made as the socket takes it: the command line of a request whole,
 * the end of a value in pieces. Input is parsed where it lies; a value that is not to be verified is only
 * counted off, so that it may be larger than the buffer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"
#include "tool/bench_conn.h"

#define CONN_MAGIC    0xbc044u
#define OUT_ROOM_SIZE (64u * 1024)
#define IN_ROOM_SIZE  (256u * 1024)
#define TAIL          "\r\nEND\r\n"
#define TAIL_LEN      7u

enum parsed { PARSED, PARTIAL, BROKEN };

struct bench_conn {
	uint32_t magic;
	int fd;
	enum bench_state state;
	struct bench_shared *shared;
	struct bench_request *batch; /* those of this batch */
	struct bench_request *missed;
	unsigned room; /* of both */
	unsigned count, encoded, answered;
	unsigned n_missed;
	uint64_t begun; /* when the batch was */

	char *out;
	size_t out_head, out_tail;
	struct bench_body body; /* what is left of a value */
	bool body_ends;         /* the two bytes behind it are still to come */

	char *in;
	size_t in_size, in_head, in_tail;
	uint64_t skip; /* bytes of a value still to come, nobody looks at them */
	bool tail;     /* then the end of its answer */
};

uint64_t bench_conn_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct bench_conn *bench_conn_open(int fd, struct bench_shared *shared)
{
	struct bench_conn *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->magic = CONN_MAGIC;
	c->fd = fd;
	c->shared = shared;
	const struct bench_load *load = shared->load;
	uint32_t largest = load->trace ? load->trace->size_max : load->value_max;
	/* A value to be verified must lie in the buffer whole. */
	c->in_size = IN_ROOM_SIZE + (load->verify ? largest : 0);
	c->in = malloc(c->in_size);
	c->out = malloc(OUT_ROOM_SIZE);
	if (!c->in || !c->out || !bench_conn_room(c, shared->batch)) {
		c->fd = -1;
		bench_conn_close(&c);
	}
	return c;
}

void bench_conn_close(struct bench_conn **conn)
{
	struct bench_conn *c = *conn;
	if (!c)
		return;
	CHECK_MAGIC(c, CONN_MAGIC);
	if (c->fd >= 0)
		close(c->fd);
	free(c->batch);
	free(c->missed);
	free(c->in);
	free(c->out);
	c->magic = 0;
	free(c);
	*conn = NULL;
}

int bench_conn_fd(const struct bench_conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	return c->fd;
}

bool bench_conn_room(struct bench_conn *c, unsigned batch)
{
	if (batch <= c->room)
		return true;
	free(c->batch);
	free(c->missed);
	c->batch = calloc(batch, sizeof(*c->batch));
	c->missed = calloc(batch, sizeof(*c->missed));
	c->room = c->batch && c->missed ? batch : 0;
	return c->room > 0;
}

/* The next requests: what was missed, then what the stock holds. False when there is nothing. */
static bool begin_batch(struct bench_conn *c, uint64_t now)
{
	struct bench_shared *s = c->shared;
	c->count = c->n_missed;
	memcpy(c->batch, c->missed, c->n_missed * sizeof(*c->batch));
	c->n_missed = 0;
	if (c->count < s->batch && now < s->deadline) {
		unsigned n = bench_source_claim(&s->source, s->load, s->batch - c->count);
		for (unsigned i = 0; i < n; i++)
			c->batch[c->count++] = bench_source_next(&s->source);
	}
	c->encoded = c->answered = 0;
	c->begun = now;
	return c->count > 0;
}

/* Bytes of the batch into the output buffer, as far as it holds them. */
static void encode(struct bench_conn *c)
{
	if (c->out_head == c->out_tail)
		c->out_head = c->out_tail = 0;
	for (;;) {
		size_t room = OUT_ROOM_SIZE - c->out_tail;
		if (c->body.len > 0) {
			size_t n = c->body.len < room ? c->body.len : room;
			memcpy(c->out + c->out_tail, c->body.data, n);
			c->out_tail += n;
			c->body.data += n;
			c->body.len -= (uint32_t)n;
			room -= n;
		}
		if (c->body.len > 0 || room < 2)
			return;
		if (c->body_ends) {
			memcpy(c->out + c->out_tail, "\r\n", 2);
			c->out_tail += 2;
			room -= 2;
			c->body_ends = false;
		}
		if (c->encoded == c->count || room < BENCH_HEAD_MAX)
			return;
		c->out_tail += bench_source_encode(
		    &c->shared->source, &c->batch[c->encoded++], c->out + c->out_tail, &c->body);
		c->body_ends = c->body.data != NULL;
	}
}

/* BENCH_READ when all of the batch is out. */
static enum bench_state send_batch(struct bench_conn *c)
{
	for (;;) {
		encode(c);
		if (c->out_head == c->out_tail)
			return BENCH_READ;
		ssize_t n = send(c->fd, c->out + c->out_head, c->out_tail - c->out_head, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? BENCH_WRITE : BENCH_LOST;
		c->out_head += (size_t)n;
		c->shared->result.bytes_out += (uint64_t)n;
		if (c->out_head == c->out_tail && c->encoded == c->count && c->body.len == 0 && !c->body_ends)
			return BENCH_READ;
	}
}

static void remember(struct bench_result *r, const char *what, const char *text, size_t len)
{
	if (r->first_error[0] == '\0')
		snprintf(
		    r->first_error, sizeof(r->first_error), "%s%.*s", what, len > 100 ? 100 : (int)len, text);
}

static inline bool starts(const char *p, size_t len, const char *with)
{
	size_t n = strlen(with);
	return len >= n && memcmp(p, with, n) == 0;
}

/* A line that is not what the request hoped for, its newline at `end`. */
static enum parsed error_line(struct bench_conn *c, const char *p, const char *end)
{
	struct bench_result *r = &c->shared->result;
	size_t len = (size_t)(end - p);
	bool set = c->batch[c->answered].kind == BENCH_SET;
	bool known = starts(p, len, "SERVER_ERROR") || starts(p, len, "CLIENT_ERROR") ||
	             starts(p, len, "ERROR") || (set && starts(p, len, "NOT_STORED"));
	remember(
	    r, known ? "answer: " : "unexpected answer: ", p, len > 0 && end[-1] == '\r' ? len - 1 : len);
	if (!known)
		return BROKEN;
	r->errors++;
	c->in_head += len + 1;
	return PARSED;
}

static enum parsed other_line(struct bench_conn *c)
{
	const char *p = c->in + c->in_head;
	size_t len = c->in_tail - c->in_head;
	const char *end = len > 0 ? memchr(p, '\n', len) : NULL;
	if (end)
		return error_line(c, p, end);
	return len < 4096 ? PARTIAL : BROKEN;
}

static void miss(struct bench_conn *c)
{
	if (!c->shared->miss_set)
		return;
	c->missed[c->n_missed] = c->batch[c->answered];
	c->missed[c->n_missed++].kind = BENCH_SET;
}

static enum parsed wrong(struct bench_conn *c, const char *what, const char *key, unsigned key_len)
{
	c->shared->result.wrong++;
	remember(&c->shared->result, what, key, key_len);
	return BROKEN;
}

/* Behind the VALUE line, at `at`: the value and the end of the answer. */
static enum parsed value_bytes(
    struct bench_conn *c, const char *at, uint32_t len, const char *key, unsigned key_len)
{
	const struct bench_load *load = c->shared->load;
	size_t there = c->in_tail - (size_t)(at - c->in);
	if (there >= (size_t)len + TAIL_LEN) {
		if (memcmp(at + len, TAIL, TAIL_LEN) != 0)
			return wrong(c, "no end behind the value of ", key, key_len);
		if (load->verify && !bench_load_check(load, key, key_len, at, len)) {
			wrong(c, "wrong value for ", key, key_len);
			c->shared->result.hits--;
		}
		c->in_head = (size_t)(at - c->in) + len + TAIL_LEN;
		c->shared->result.hits++;
		return PARSED;
	}
	if (load->verify) {
		/* Wait for the rest, which the buffer can hold unless the length is a lie. */
		bool fits = (size_t)len + TAIL_LEN + BENCH_HEAD_MAX <= c->in_size;
		return fits ? PARTIAL : wrong(c, "too long a value for ", key, key_len);
	}
	size_t now = there < len ? there : len;
	c->in_head = (size_t)(at - c->in) + now;
	c->skip = len - now;
	c->tail = true;
	return PARTIAL;
}

/* VALUE <key> <flags> <bytes> */
static enum parsed value_line(struct bench_conn *c)
{
	char key[RECORD_KEY_MAX];
	unsigned key_len = bench_load_key(c->shared->load, &c->batch[c->answered], key);
	const char *p = c->in + c->in_head, *end = c->in + c->in_tail;
	if ((size_t)(end - p) < 6 + key_len + 6)
		return memchr(p, '\n', (size_t)(end - p)) ? other_line(c) : PARTIAL;
	if (memcmp(p, "VALUE ", 6) != 0)
		return other_line(c);
	if (memcmp(p + 6, key, key_len) != 0 || p[6 + key_len] != ' ')
		return wrong(c, "an answer for another key than ", key, key_len);
	p += 6 + key_len + 1;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	if (p < end && *p++ != ' ')
		return wrong(c, "no flags behind ", key, key_len);
	uint64_t len = 0;
	while (p < end && *p >= '0' && *p <= '9' && len <= RECORD_VALUE_MAX)
		len = len * 10 + (uint64_t)(*p++ - '0');
	if (end - p < 2)
		return PARTIAL;
	if (p[0] != '\r' || p[1] != '\n' || len > RECORD_VALUE_MAX)
		return wrong(c, "no length behind ", key, key_len);
	return value_bytes(c, p + 2, (uint32_t)len, key, key_len);
}

/* The end of an answer whose value was skipped. */
static enum parsed value_tail(struct bench_conn *c)
{
	size_t there = c->in_tail - c->in_head;
	size_t n = there < c->skip ? there : (size_t)c->skip;
	c->in_head += n;
	c->skip -= n;
	if (c->skip > 0 || there - n < TAIL_LEN)
		return PARTIAL;
	if (memcmp(c->in + c->in_head, TAIL, TAIL_LEN) != 0)
		return wrong(c, "no end behind a value", "", 0);
	c->in_head += TAIL_LEN;
	c->tail = false;
	c->shared->result.hits++;
	return PARSED;
}

/* The answer to batch[answered]. */
static enum parsed parse_answer(struct bench_conn *c)
{
	const char *p = c->in + c->in_head;
	size_t len = c->in_tail - c->in_head;
	if (c->tail)
		return value_tail(c);
	if (c->batch[c->answered].kind == BENCH_SET) {
		if (!starts(p, len, "STORED\r\n"))
			return other_line(c);
		c->in_head += 8;
		return PARSED;
	}
	if (len > 0 && *p == 'V')
		return value_line(c);
	if (!starts(p, len, "END\r\n"))
		return other_line(c);
	c->in_head += 5;
	miss(c);
	return PARSED;
}

/* All answers that are there. False when the connection is of no more use. */
static bool parse(struct bench_conn *c)
{
	struct bench_result *r = &c->shared->result;
	uint64_t gets = 0, sets = 0;
	enum parsed parsed = PARTIAL;
	while (c->answered < c->encoded && (parsed = parse_answer(c)) == PARSED) {
		if (c->batch[c->answered++].kind == BENCH_GET)
			gets++;
		else
			sets++;
	}
	if (gets + sets > 0) {
		uint64_t ns = bench_conn_now() - c->begun;
		r->gets += gets;
		r->sets += sets;
		bench_hist_add(&r->get_ns, ns, gets);
		bench_hist_add(&r->set_ns, ns, sets);
	}
	bool extra = c->answered == c->count && c->in_head < c->in_tail;
	if (extra)
		remember(r, "an answer that nobody asked for: ", c->in + c->in_head, c->in_tail - c->in_head);
	size_t left = c->in_tail - c->in_head;
	if (c->in_head > 0)
		memmove(c->in, c->in + c->in_head, left);
	c->in_head = 0;
	c->in_tail = left;
	return parsed != BROKEN && !extra;
}

static enum bench_state next_batch(struct bench_conn *c)
{
	return begin_batch(c, bench_conn_now()) ? send_batch(c) : BENCH_IDLE;
}

static enum bench_state turn(struct bench_conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_tail, c->in_size - c->in_tail, 0);
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		remember(&c->shared->result, "connection: ", strerror(errno), 100);
		return BENCH_LOST;
	}
	if (n == 0) {
		remember(&c->shared->result, "the server closed a connection", "", 0);
		return BENCH_LOST;
	}
	if (n > 0) {
		c->in_tail += (size_t)n;
		c->shared->result.bytes_in += (uint64_t)n;
		if (!parse(c))
			return BENCH_LOST;
	}
	if (c->answered == c->count)
		return next_batch(c);
	bool unsent = c->state == BENCH_WRITE || c->encoded < c->count || c->out_head < c->out_tail;
	return unsent ? send_batch(c) : BENCH_READ;
}

enum bench_state bench_conn_state(const struct bench_conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	return c->state;
}

enum bench_state bench_conn_start(struct bench_conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	c->n_missed = 0;
	return c->state = next_batch(c);
}

enum bench_state bench_conn_turn(struct bench_conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	return c->state = turn(c);
}
