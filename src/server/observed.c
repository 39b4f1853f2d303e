/* SPDX-License-Identifier: BSD-3-Clause */
/* observed: what requests did to keys, for those who watch and for stats detail. Called only when somebody asked. */
#include "server/session.h"

#include <inttypes.h>
#include <string.h>
#include "proto/uri.h"
#include "server/detail.h"

#define KEY_TEXT (URI_ENCODED_MAX(STORE_KEY_MAX) + 1)

void observed_update(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	bool on =
	    detail_is_on(s) || watch_wants(s->watch, WATCH_FETCHERS | WATCH_MUTATIONS | WATCH_DELETIONS);
	__atomic_store_n(&s->observed, on, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
}

static const char *key_text(char out[KEY_TEXT], const struct store_key *key)
{
	*uri_encode((uint8_t *)out, key->data, key->len) = 0;
	return out;
}

struct look {
	struct observed_item item;
	struct store_pin pin;
};

static bool see(void *arg, const struct store_view *view)
{
	struct look *look = arg;
	look->item.found = true;
	look->item.value_len = view->value_len;
	look->pin = view->pin;
	return true;
}

struct observed_item observed_look(struct conn *c, const struct store_key *key)
{
	struct look look = {.item.told = true, .pin = {NULL, STORE_PIN_NONE}};
	/* A store is told as the look and the change that it is. */
	if (watch_wants(c->worker->server->watch, WATCH_FETCHERS | WATCH_DELETIONS))
		engine_peek(c->worker->engine, key, see, &look);
	if (store_pinned(&look.pin))
		engine_unpin(c->worker->engine, &look.pin);
	return look.item;
}

static void tell_get(struct conn *c, const struct store_key *key, bool found, size_t value_len)
{
	char text[KEY_TEXT];
	struct watch *w = c->worker->server->watch;
	if (watch_wants(w, WATCH_FETCHERS))
		watch_tell(w, WATCH_FETCHERS, "type=item_get key=%s status=%s clsid=%d cfd=%d size=%zu",
		    key_text(text, key), found ? "found" : "not_found", found, c->fd, found ? value_len : 0);
}

void observed_get(struct conn *c, const struct store_key *key, bool found, size_t value_len)
{
	struct server *s = c->worker->server;
	if (detail_is_on(s))
		detail_count(s->detail, found ? DETAIL_HIT : DETAIL_MISS, key->data, key->len);
	tell_get(c, key, found, value_len);
}

static const char *status_text(enum store_result r)
{
	switch (r) {
	case STORE_OK:
		return "stored";
	case STORE_EXISTS:
		return "exists";
	case STORE_NOT_FOUND:
		return "not_found";
	case STORE_TOO_LARGE:
		return "too_large";
	case STORE_NO_MEMORY:
		return "no_memory";
	default:
		return "not_stored";
	}
}

void observed_put(struct conn *c, const char *command, const struct store_key *key,
    const struct store_put *put, const struct observed_item *before, enum store_result r)
{
	char text[KEY_TEXT];
	struct server *s = c->worker->server;
	if (detail_is_on(s))
		detail_count(s->detail, DETAIL_SET, key->data, key->len);
	tell_get(c, key, before->found, before->value_len);
	if (!watch_wants(s->watch, WATCH_MUTATIONS))
		return;
	int64_t ttl =
	    put->expiry > engine_now(c->worker->engine) ? put->expiry - engine_now(c->worker->engine) : 0;
	watch_tell(s->watch, WATCH_MUTATIONS,
	    "type=item_store key=%s status=%s cmd=%s ttl=%" PRId64 " clsid=1 cfd=%d size=%zu",
	    key_text(text, key), status_text(r), command, ttl, c->fd, put->value_len);
}

void observed_delete(struct conn *c, const char *command, const struct store_key *key,
    const struct observed_item *before, enum store_result r)
{
	char text[KEY_TEXT];
	struct server *s = c->worker->server;
	if (detail_is_on(s))
		detail_count(s->detail, DETAIL_DELETE, key->data, key->len);
	if (r == STORE_OK && watch_wants(s->watch, WATCH_DELETIONS))
		watch_tell(s->watch, WATCH_DELETIONS, "type=deleted key=%s cmd=%s clsid=1 cfd=%d size=%zu",
		    key_text(text, key), command, c->fd, before->value_len);
}
