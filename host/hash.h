/* A hash of what clients choose: with a key of this process, so that nobody outside can choose
 * values that collide. */
#ifndef PERI_HASH_H
#define PERI_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-1-3. */
uint64_t peri_keyed_hash(const void *bytes, size_t len);

#endif
