/* What reading (json.c) and writing (json_write.c) JSON share: how texts are scanned, eight bytes
 * at a time, and what ends when there is no memory. */
#ifndef PERI_JSON_TEXT_H
#define PERI_JSON_TEXT_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sets the high bit of every byte that a string cannot hold as it is, or that is not ASCII. Borrows
 * run upwards from marked bytes only, so the lowest mark is always true. */
static inline uint64_t peri_mark_special(uint64_t word)
{
    uint64_t quote = word ^ PERI_EACH('"');
    uint64_t backslash = word ^ PERI_EACH('\\');
    return ((word - PERI_EACH(' ')) | (quote - PERI_EACH(1)) | (backslash - PERI_EACH(1)) | word) &
           PERI_EACH(0x80);
}

static inline bool peri_is_special(char c)
{
    return (unsigned char) c < ' ' || c == '"' || c == '\\' || (unsigned char) c >= 0x80;
}

/* The first byte that peri_mark_special() means, or `end`. */
static inline const char *peri_skip_plain(const char *at, const char *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t marks = peri_mark_special(peri_load_word(at));
        if (marks != 0)
            return at + (__builtin_ctzll(marks) >> 3);
    }
    while (at < end && !peri_is_special(*at))
        at++;
    return at;
}

/* Length of the well-formed sequence (RFC 3629) that begins with the byte at `at`, which is above
 * 0x7f; 0 if there is none: overlong, a surrogate, beyond U+10FFFF, cut short. */
unsigned peri_utf8_sequence(const char *at, const char *end);

/* Says so and ends the process. */
_Noreturn void peri_json_out_of_memory(size_t bytes);

#endif
