#include "chunks.h"

#include "response.h"

#define MAX_DIGITS 16

enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
};

void peri_chunks_init(struct peri_chunks *chunks, uint32_t max_extension_bytes,
                      uint32_t max_trailer_bytes)
{
    *chunks = (struct peri_chunks){
        .max_extension_bytes = max_extension_bytes,
        .max_trailer_bytes = max_trailer_bytes,
    };
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A size line up to its CR. Returns the next state, or -1. */
static int size_byte(struct peri_chunks *chunks, char c)
{
    int digit = hex(c);
    if (digit >= 0) {
        if (++chunks->digits > MAX_DIGITS)
            return -1;
        chunks->left = chunks->left << 4 | (unsigned) digit;
        return SIZE;
    }
    if (chunks->digits == 0)
        return -1;
    if (c == ';')
        return EXTENSION;
    return c == '\r' ? SIZE_LF : -1;
}

/* Every byte but those of the data. Returns the next state, or -1. */
static int line_byte(struct peri_chunks *chunks, char c)
{
    switch ((enum state) chunks->state) {
    case SIZE:
        return size_byte(chunks, c);
    case EXTENSION:
        if (c == '\r')
            return SIZE_LF;
        if (++chunks->extension_bytes > chunks->max_extension_bytes)
            return -1;
        return peri_header_value_is_sound(&c, 1) ? EXTENSION : -1;
    case SIZE_LF:
        if (c != '\n')
            return -1;
        chunks->digits = 0;
        return chunks->left > 0 ? DATA : TRAILER_START;
    case DATA_CR:
        return c == '\r' ? DATA_LF : -1;
    case DATA_LF:
        return c == '\n' ? SIZE : -1;
    case TRAILER_START:
        if (c == '\r')
            return LAST_LF;
        return peri_header_name_is_sound(&c, 1) ? TRAILER_NAME : -1;
    case TRAILER_NAME:
        if (c == ':')
            return TRAILER_VALUE;
        return peri_header_name_is_sound(&c, 1) ? TRAILER_NAME : -1;
    case TRAILER_VALUE:
        if (c == '\r')
            return TRAILER_LF;
        return peri_header_value_is_sound(&c, 1) ? TRAILER_VALUE : -1;
    case TRAILER_LF:
        return c == '\n' ? TRAILER_START : -1;
    case DATA:
    case LAST_LF:
        break;
    }
    return -1;
}

enum peri_chunks_outcome peri_chunks_next(struct peri_chunks *chunks, const char **bytes,
                                          size_t *len, const char **data, size_t *data_len)
{
    while (*len > 0) {
        if (chunks->state == DATA) {
            *data = *bytes;
            *data_len = *len < chunks->left ? *len : (size_t) chunks->left;
            *bytes += *data_len;
            *len -= *data_len;
            chunks->left -= *data_len;
            if (chunks->left == 0)
                chunks->state = DATA_CR;
            return PERI_CHUNKS_DATA;
        }
        char c = **bytes;
        ++*bytes;
        --*len;
        if (chunks->state == LAST_LF)
            return c == '\n' ? PERI_CHUNKS_END : PERI_CHUNKS_BAD;
        if (chunks->state >= TRAILER_START && ++chunks->trailer_bytes > chunks->max_trailer_bytes)
            return PERI_CHUNKS_LONG;
        int next = line_byte(chunks, c);
        if (next < 0)
            return PERI_CHUNKS_BAD;
        chunks->state = (uint8_t) next;
    }
    return PERI_CHUNKS_MORE;
}
