/* For fuzz targets of parsers that are fed piece by piece: however the bytes are cut, they must be
 * read the same. */
#ifndef PERI_FUZZ_PIECES_H
#define PERI_FUZZ_PIECES_H

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One way of feeding; `record` tells what came of it. */
struct reading {
    struct peri_buf record;
    struct peri_buf body;
    uint32_t random; /* 0: all at once; 1: byte by byte */
    int refused;     /* for the target: the status of what was refused; 0: nothing was */
};

static inline void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* How many of the bytes that are left come next. */
static inline size_t next_piece(struct reading *reading, size_t left)
{
    if (reading->random <= 1)
        return reading->random == 0 ? left : 1;
    reading->random = reading->random * 1664525 + 1013904223;
    size_t most = left < 64 || (reading->random & 0x100) ? left : 64;
    return 1 + (reading->random >> 9) % most;
}

static inline bool reads_the_same(const struct reading *left, const struct reading *right)
{
    size_t len = left->record.len;
    return len == right->record.len &&
           (len == 0 || memcmp(left->record.data, right->record.data, len) == 0);
}

/* Has `read` read the bytes whole, byte by byte and in random pieces, and requires the same record
 * of each; `check` (may be NULL) compares the rest. */
static inline void
read_in_pieces(const uint8_t *data, size_t size,
               void (*read)(struct reading *reading, const char *text, size_t len),
               void (*check)(const struct reading *whole, const struct reading *pieces))
{
    struct reading whole = {0};
    uint32_t hash = 2166136261;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619;
    read(&whole, (const char *) data, size);
    for (uint32_t round = 0; round < 3; round++) {
        struct reading pieces = {.random = round == 0 ? 1 : (hash ^ round) | 2};
        read(&pieces, (const char *) data, size);
        require(reads_the_same(&whole, &pieces), "something else in pieces");
        if (check != NULL)
            check(&whole, &pieces);
        peri_buf_deinit(&pieces.record);
        peri_buf_deinit(&pieces.body);
    }
    peri_buf_deinit(&whole.record);
    peri_buf_deinit(&whole.body);
}

#endif
