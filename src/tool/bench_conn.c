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
#include "tool/bench_answer.h"
#include "tool/bench_conn.h"
#include "tool/bench_encode.h"

#define CONN_MAGIC    0xbc044u
#define OUT_ROOM_SIZE (64u * 1024)
#define IN_ROOM_SIZE  (256u * 1024)

enum parsed { PARSED, PARTIAL, BROKEN };

struct bench_conn {
	uint32_t magic;
	int fd;
	enum bench_state state;
	struct bench_shared *shared;
	struct bench_request *batch; /* those of this batch */
	struct bench_request *after; /* sets that its answers ask for */
	unsigned room;               /* of both */
	unsigned count, encoded, answered;
	unsigned n_after;
	uint64_t begun; /* when the batch was */

	char *out;
	size_t out_head, out_tail;
	struct bench_body body; /* what is left of a value */

	char *in;
	size_t in_size, in_head, in_tail;
	uint64_t skip; /* bytes of a value still to come, nobody looks at them */
	bool in_value; /* then the end of its answer */
	const char *tail;
	unsigned tail_len;
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
	c->tail = bench_answer_tail(load->protocol, &c->tail_len);
	/* A value to be verified must lie in the buffer whole. */
	c->in_size = IN_ROOM_SIZE + (load->verify ? bench_load_largest(load) : 0);
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
	free(c->after);
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
	free(c->after);
	c->batch = calloc(batch, sizeof(*c->batch));
	c->after = calloc(batch, sizeof(*c->after));
	c->room = c->batch && c->after ? batch : 0;
	return c->room > 0;
}

/* The next requests: what the last answers ask for, then what the stock holds. False when there is nothing. */
static bool begin_batch(struct bench_conn *c, uint64_t now)
{
	struct bench_shared *s = c->shared;
	c->count = c->n_after;
	memcpy(c->batch, c->after, c->n_after * sizeof(*c->batch));
	c->n_after = 0;
	if (c->count < s->batch && now < s->deadline) {
		unsigned n = bench_source_claim(&s->source, s->load, s->batch - c->count, now);
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
		if (c->body.line) {
			memcpy(c->out + c->out_tail, "\r\n", 2);
			c->out_tail += 2;
			room -= 2;
			c->body.line = false;
		}
		if (c->encoded == c->count || room < BENCH_HEAD_MAX)
			return;
		c->out_tail +=
		    bench_encode(&c->shared->source, &c->batch[c->encoded++], c->out + c->out_tail, &c->body);
	}
}

void bench_conn_remember(struct bench_result *r, const char *what, const char *text, size_t len)
{
	if (r->first_error[0] == '\0')
		snprintf(
		    r->first_error, sizeof(r->first_error), "%s%.*s", what, len > 100 ? 100 : (int)len, text);
}

static enum bench_state failed(struct bench_conn *c)
{
	const char *reason = strerror(errno);
	bench_conn_remember(&c->shared->result, "connection: ", reason, strlen(reason));
	return BENCH_LOST;
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
			return errno == EAGAIN || errno == EWOULDBLOCK ? BENCH_WRITE : failed(c);
		c->out_head += (size_t)n;
		c->shared->result.bytes_out += (uint64_t)n;
		if (c->out_head == c->out_tail && c->encoded == c->count && c->body.len == 0 && !c->body.line)
			return BENCH_READ;
	}
}

/* Notes what an answer failed by; the key where the server said nothing of use. */
static void remember_answer(struct bench_conn *c, const struct bench_answer *a)
{
	char key[RECORD_KEY_MAX];
	if (a->text)
		bench_conn_remember(&c->shared->result, a->what, a->text, a->text_len);
	else
		bench_conn_remember(&c->shared->result, a->what, key,
		    bench_load_key(c->shared->load, &c->batch[c->answered], key));
}

static enum parsed wrong(struct bench_conn *c, const char *what)
{
	c->shared->result.wrong++;
	remember_answer(c, &(struct bench_answer){.what = what});
	return BROKEN;
}

/* A set that the answer to a get asks for goes first in the next batch. */
static void miss(struct bench_conn *c)
{
	if (!c->shared->miss_set)
		return;
	struct bench_request *set = &c->after[c->n_after++];
	*set = c->batch[c->answered];
	set->kind = BENCH_SET;
	set->follows = true;
}

static void hit(struct bench_conn *c)
{
	c->shared->result.hits++;
	c->after[c->n_after] = c->batch[c->answered];
	c->n_after += bench_load_overwrites(c->shared->load, &c->after[c->n_after]);
}

/* The end of a value, at `at`. */
static enum parsed value_end(struct bench_conn *c, const char *at)
{
	if (memcmp(at, c->tail, c->tail_len) != 0)
		return wrong(c, "no end behind the value of ");
	c->in_head = (size_t)(at - c->in) + c->tail_len;
	c->in_value = false;
	hit(c);
	return PARSED;
}

/* Whether a value that lies in the buffer is right. */
static bool value_right(struct bench_conn *c, const char *at, uint32_t len)
{
	char key[RECORD_KEY_MAX];
	unsigned key_len = bench_load_key(c->shared->load, &c->batch[c->answered], key);
	return bench_load_check(c->shared->load, key, key_len, at, len);
}

/* Behind the head of a value: its bytes and the end of the answer. */
static enum parsed value_bytes(struct bench_conn *c, const struct bench_answer *a)
{
	size_t there = c->in_tail - c->in_head, whole = a->head + a->value_len + c->tail_len;
	const char *at = c->in + c->in_head + a->head;
	bool verify = c->shared->load->verify;
	/* One to be verified waits for its rest, which the buffer holds unless the length is a lie. */
	if (verify && there < whole)
		return whole <= c->in_size ? PARTIAL : wrong(c, "too long a value for ");
	if (verify && !value_right(c, at, a->value_len)) {
		wrong(c, "wrong value for ");
		c->shared->result.hits--;
	}
	if (there >= whole)
		return value_end(c, at + a->value_len);
	size_t now = there - a->head < a->value_len ? there - a->head : a->value_len;
	c->in_head += a->head + now;
	c->skip = a->value_len - now;
	c->in_value = true;
	return PARTIAL;
}

/* The rest of a value that is only counted off, and its end. */
static enum parsed skip_value(struct bench_conn *c)
{
	size_t there = c->in_tail - c->in_head;
	size_t n = there < c->skip ? there : (size_t)c->skip;
	c->in_head += n;
	c->skip -= n;
	if (c->skip > 0 || there - n < c->tail_len)
		return PARTIAL;
	return value_end(c, c->in + c->in_head);
}

/* The answer to batch[answered]. */
static enum parsed parse_answer(struct bench_conn *c)
{
	struct bench_result *r = &c->shared->result;
	struct bench_answer a;
	if (c->in_value)
		return skip_value(c);
	switch (bench_answer(
	    c->shared->load, &c->batch[c->answered], c->in + c->in_head, c->in_tail - c->in_head, &a)) {
	case BENCH_PARTIAL:
		return PARTIAL;
	case BENCH_VALUE:
		return value_bytes(c, &a);
	case BENCH_STORED:
		break;
	case BENCH_MISS:
		miss(c);
		break;
	case BENCH_REFUSED:
		r->errors++;
		remember_answer(c, &a);
		break;
	case BENCH_WRONG:
		r->wrong++;
		remember_answer(c, &a);
		return BROKEN;
	case BENCH_BROKEN:
		remember_answer(c, &a);
		return BROKEN;
	}
	c->in_head += a.head;
	return PARSED;
}

/* Counts the answers of batch[from, answered) and how long they took: since the batch began, or since each was due. */
static void count(struct bench_conn *c, unsigned from)
{
	struct bench_result *r = &c->shared->result;
	const struct bench_load *load = c->shared->load;
	uint64_t now = bench_conn_now(), gets = 0, sets = 0;
	bool paced = bench_load_paced(load);
	for (unsigned i = from; i < c->answered; i++) {
		const struct bench_request *q = &c->batch[i];
		bool get = q->kind == BENCH_GET;
		gets += get;
		sets += !get;
		if (paced)
			bench_hist_add(get ? &r->get_ns : &r->set_ns,
			    now - (q->follows ? c->begun : bench_load_due(load, q->number)), 1);
	}
	r->gets += gets;
	r->sets += sets;
	if (!paced) {
		bench_hist_add(&r->get_ns, now - c->begun, gets);
		bench_hist_add(&r->set_ns, now - c->begun, sets);
	}
}

/* All answers that are there. False when the connection is of no more use. */
static bool parse(struct bench_conn *c)
{
	unsigned before = c->answered;
	enum parsed parsed = PARTIAL;
	while (c->answered < c->encoded && (parsed = parse_answer(c)) == PARSED)
		c->answered++;
	if (c->answered > before)
		count(c, before);
	bool extra = c->answered == c->count && c->in_head < c->in_tail;
	if (extra)
		bench_conn_remember(&c->shared->result,
		    "an answer that nobody asked for: ", c->in + c->in_head, c->in_tail - c->in_head);
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
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		return failed(c);
	if (n == 0) {
		bench_conn_remember(&c->shared->result, "the server closed a connection", "", 0);
		return BENCH_LOST;
	}
	if (n > 0) {
		c->in_tail += (size_t)n;
		c->shared->result.bytes_in += (uint64_t)n;
		if (!parse(c))
			return BENCH_LOST;
	}
	if (c->state == BENCH_IDLE)
		return BENCH_IDLE; /* its batch begins when the thread says so */
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
	c->n_after = 0;
	return c->state = next_batch(c);
}

enum bench_state bench_conn_turn(struct bench_conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	return c->state = turn(c);
}
