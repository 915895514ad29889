/* Growable bytes. A zeroed struct is an empty buffer. The holder frees it with peri_buf_deinit().
 *
 * Out of memory is not an error code here: growing aborts the process with a message (as libuv and
 * Lua's auxiliary buffer would leave a half-written answer behind). Every buffer that a client can
 * make grow is bounded by a limit of its room before it is asked to grow. */
#ifndef PERI_BUF_H
#define PERI_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct peri_buf {
    char *data; /* may be NULL while cap is 0; never NUL-terminated by itself */
    size_t len;
    size_t cap;
};

void peri_buf_deinit(struct peri_buf *buf);

/* Makes room for `more` bytes behind len; the slow half of peri_buf_reserve(). */
void peri_buf_grow(struct peri_buf *buf, size_t more);

/* Room for at least `more` bytes behind len. The answer points at the first of them and is valid
 * until the buffer grows again; the caller writes there and adds to len. */
static inline char *peri_buf_reserve(struct peri_buf *buf, size_t more)
{
    if (buf->cap - buf->len < more)
        peri_buf_grow(buf, more);
    return buf->data + buf->len;
}

static inline void peri_buf_add(struct peri_buf *buf, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    memcpy(peri_buf_reserve(buf, len), bytes, len);
    buf->len += len;
}

static inline void peri_buf_add_byte(struct peri_buf *buf, char byte)
{
    *peri_buf_reserve(buf, 1) = byte;
    buf->len++;
}

static inline void peri_buf_add_str(struct peri_buf *buf, const char *str)
{
    peri_buf_add(buf, str, strlen(str));
}

#define peri_buf_add_lit(buf, literal) peri_buf_add((buf), "" literal, sizeof(literal) - 1)

/* The shortest decimal form. */
void peri_buf_add_int(struct peri_buf *buf, int64_t value);

__attribute__((format(printf, 2, 3))) void peri_buf_addf(struct peri_buf *buf, const char *format,
                                                         ...);

/* Takes `len` bytes away from the front. */
void peri_buf_consume(struct peri_buf *buf, size_t len);

/* Empties the buffer; memory beyond `keep` bytes goes back to the system. */
void peri_buf_reset(struct peri_buf *buf, size_t keep);

#endif
