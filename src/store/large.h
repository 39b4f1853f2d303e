/* SPDX-License-Identifier: BSD-3-Clause */
/* large: values above a quarter of a region, with memory of their own, counted against -m and shared by
 * reference: the item holds one reference, every reply, ring entry and scan that uses the bytes one more. Any
 * thread. The bytes are written by the connection that receives them and never change once linked. */
#ifndef STORE_LARGE_H
#define STORE_LARGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct store_large;

/* One reference; counter gets the bytes taken and loses them when the last reference goes. NULL: memory is
 * short. */
struct store_large *large_make(size_t len, _Atomic uint64_t *counter);
struct store_large *large_ref(struct store_large *large);
void large_unref(struct store_large **large);
uint8_t *large_data(struct store_large *large);
size_t large_len(const struct store_large *large);
/* Bytes it takes from -m. */
size_t large_cost(const struct store_large *large);

#endif
