/* Short runs of bytes, looked at without a call: names, keys and values have a few bytes, and
 * calling memcmp() or memchr() for those costs more than the work does. */
#ifndef PERI_BYTES_H
#define PERI_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PERI_WORD 8 /* bytes that are looked at together */

/* The same byte eight times. */
#define PERI_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight bytes, the first one lowest. */
static inline uint64_t peri_load_word(const char *at)
{
    uint64_t word = 0;
    memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void peri_store_word(char *at, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(at, &word, sizeof(word));
}

static inline uint64_t peri_load_half(const char *at)
{
    uint32_t half = 0;
    memcpy(&half, at, sizeof(half));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    half = __builtin_bswap32(half);
#endif
    return half;
}

/* Fewer than eight bytes, zeros above them. Bytes that two loads have in common fall together. */
static inline uint64_t peri_load_rest(const char *at, size_t len)
{
    if (len >= 4)
        return peri_load_half(at) | peri_load_half(at + len - 4) << (8 * (len - 4));
    if (len == 0)
        return 0;
    return (uint64_t) (unsigned char) at[0] |
           (uint64_t) (unsigned char) at[len / 2] << (8 * (len / 2)) |
           (uint64_t) (unsigned char) at[len - 1] << (8 * (len - 1));
}

static inline bool peri_bytes_equal(const char *a, const char *b, size_t len)
{
    if (len < PERI_WORD)
        return peri_load_rest(a, len) == peri_load_rest(b, len);
    for (; len > PERI_WORD; a += PERI_WORD, b += PERI_WORD, len -= PERI_WORD) {
        if (peri_load_word(a) != peri_load_word(b))
            return false;
    }
    size_t seen = PERI_WORD - len; /* the last word reaches back */
    return peri_load_word(a - seen) == peri_load_word(b - seen);
}

static inline bool peri_bytes_are_ascii(const char *at, size_t len)
{
    uint64_t all = 0;
    for (; len >= PERI_WORD; at += PERI_WORD, len -= PERI_WORD)
        all |= peri_load_word(at);
    return ((all | peri_load_rest(at, len)) & PERI_EACH(0x80)) == 0;
}

#endif
