#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SMALLEST 256
#define MOST_DIGITS 20 /* of 64 bits */

void peri_buf_deinit(struct peri_buf *buf)
{
    free(buf->data);
    *buf = (struct peri_buf){0};
}

void peri_buf_grow(struct peri_buf *buf, size_t more)
{
    size_t need = 0;
    if (__builtin_add_overflow(buf->len, more, &need))
        abort();
    size_t cap = buf->cap < SMALLEST ? SMALLEST : buf->cap;
    while (cap < need)
        cap += cap / 2;
    char *data = realloc(buf->data, cap);
    if (data == NULL) {
        fprintf(stderr, "perigee: out of memory (a buffer of %zu bytes)\n", cap);
        abort();
    }
    buf->data = data;
    buf->cap = cap;
}

void peri_buf_add_int(struct peri_buf *buf, int64_t value)
{
    char *at = peri_buf_reserve(buf, MOST_DIGITS + 1);
    if ((uint64_t) value < 10) { /* as most of them are */
        *at = (char) ('0' + value);
        buf->len++;
        return;
    }
    uint64_t rest = (uint64_t) value;
    if (value < 0) {
        *at++ = '-';
        rest = 0 - rest;
    }
    unsigned count = 1;
    for (uint64_t least = 10; count < MOST_DIGITS && rest >= least; least *= 10)
        count++;
    for (unsigned i = count; i-- > 0; rest /= 10)
        at[i] = (char) ('0' + rest % 10);
    buf->len = (size_t) (at + count - buf->data);
}

void peri_buf_addf(struct peri_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len > 0) {
        peri_buf_reserve(buf, (size_t) len + 1); /* vsnprintf ends its text with a NUL */
        vsnprintf(buf->data + buf->len, (size_t) len + 1, format, again);
        buf->len += (size_t) len;
    }
    va_end(again);
}

void peri_buf_consume(struct peri_buf *buf, size_t len)
{
    buf->len -= len;
    if (buf->len > 0)
        memmove(buf->data, buf->data + len, buf->len);
}

void peri_buf_reset(struct peri_buf *buf, size_t keep)
{
    if (buf->cap > keep)
        peri_buf_deinit(buf);
    buf->len = 0;
}
