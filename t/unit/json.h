/* SPDX-License-Identifier: BSD-3-Clause */
/* json: values as services keep them in caches: objects with the same names and other contents, which pack well together and
 * badly alone. */
#ifndef UNIT_JSON_H
#define UNIT_JSON_H

#include <stdint.h>
#include <stdio.h>
#include "unit.h"

/* What a value looks like. */
enum json_shape { JSON_PROFILE, JSON_ORDER };

static inline const char *json_word(uint32_t *rnd)
{
	static const char *const words[] = {"Berlin", "Paris", "London", "Madrid", "Vienna", "Oslo", "Rome",
	    "Prague", "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "John"};
	return words[unit_random(rnd) % 16];
}

/* The value of a key and a version: `items` parts more or less make it longer. out has JSON_ROOM(items) bytes. Returns its
 * length. */
#define JSON_ROOM(items) (512u + 160u * (items))
static inline size_t json_make(
    uint8_t *out, enum json_shape shape, uint32_t key, uint32_t version, unsigned items)
{
	uint32_t rnd = key * 2654435761u + version * 40503u + 12345u;
	char *at = (char *)out;
	if (shape == JSON_PROFILE)
		at += sprintf(at,
		    "{\"id\":%u,\"name\":\"%s "
		    "%s\",\"email\":\"%s.%u@example.org\",\"version\":%u,\"active\":%s,"
		    "\"created\":\"20%02u-%02u-%02uT00:00:00Z\",\"tags\":[\"t%u\",\"t%u\"],\"session\":\"%"
		    "08x\"",
		    key, json_word(&rnd), json_word(&rnd), json_word(&rnd), unit_random(&rnd) % 10000,
		    version, unit_random(&rnd) % 2 ? "true" : "false", unit_random(&rnd) % 26,
		    unit_random(&rnd) % 12 + 1, unit_random(&rnd) % 28 + 1, unit_random(&rnd) % 50,
		    unit_random(&rnd) % 50, unit_random(&rnd));
	else
		at += sprintf(at,
		    "<order number=\"%u\"><customer>%s</customer><state>%u</state><total>%u.%02u</total>",
		    key, json_word(&rnd), version, unit_random(&rnd) % 5000, unit_random(&rnd) % 100);
	for (unsigned i = 0; i < items; i++)
		at += sprintf(at,
		    shape == JSON_PROFILE ? ",\"item%u\":{\"sku\":\"%05u\",\"price\":%u.%02u,\"city\":\"%s\"}"
		                          : "<line pos=\"%u\" article=\"%05u\" net=\"%u.%02u\">%s</line>",
		    i, unit_random(&rnd) % 100000, unit_random(&rnd) % 500, unit_random(&rnd) % 100,
		    json_word(&rnd));
	at += sprintf(at, shape == JSON_PROFILE ? "}" : "</order>");
	return (size_t)(at - (char *)out);
}

#endif
