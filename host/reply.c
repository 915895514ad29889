#include "reply.h"

#include "response.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MAX_INTERIMS 16
#define FIRST_HEADERS 16
#define MAX_LENGTH_DIGITS 18 /* any such number fits an int64_t */

enum stage {
    IN_HEAD,
    IN_SIZED,
    IN_CHUNKS,
    IN_REST, /* a body that ends with the connection */
    ENDED,
};

void peri_reply_init(struct peri_reply *reply, const struct peri_reply_limits *limits)
{
    *reply = (struct peri_reply){.limits = limits, .stage = ENDED};
}

void peri_reply_deinit(struct peri_reply *reply)
{
    peri_buf_deinit(&reply->head);
    free(reply->headers);
    reply->headers = NULL;
}

static void restart(struct peri_reply *reply)
{
    reply->head.len = 0;
    reply->header_count = 0;
    reply->has_length = false;
    reply->keep_alive = false;
    reply->stage = IN_HEAD;
}

void peri_reply_begin(struct peri_reply *reply, enum peri_reply_question question)
{
    reply->fault = NULL;
    reply->status = 0;
    reply->interims = 0;
    reply->question = (uint8_t) question;
    restart(reply);
}

static enum peri_reply_outcome refuse(struct peri_reply *reply, const char *fault)
{
    reply->fault = fault;
    reply->stage = ENDED;
    return PERI_REPLY_BAD;
}

/* --- the head: collected up to its empty line, then read in one go -----------------------------
 */

/* Looks for the empty line among the bytes behind `from`. Sets *end to the length of the head, or
 * leaves it. Returns false when a line ends with a bare LF. */
static bool find_end(const struct peri_buf *head, size_t from, size_t *end)
{
    const char *at = head->data + from;
    const char *stop = head->data + head->len;
    while ((at = memchr(at, '\n', (size_t) (stop - at))) != NULL) {
        size_t index = (size_t) (at - head->data);
        if (index == 0 || at[-1] != '\r')
            return false;
        if (index >= 2 && at[-2] == '\n') {
            *end = index + 1;
            return true;
        }
        at++;
    }
    return true;
}

/* The line at *at without its CR LF; *at goes behind it. The head has been checked to have one. */
static struct peri_span next_line(const struct peri_buf *head, uint32_t *at)
{
    const char *from = head->data + *at;
    const char *feed = memchr(from, '\n', head->len - *at);
    struct peri_span line = {*at, (uint32_t) (feed - 1 - from)};
    *at += line.len + 2;
    return line;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HTTP/1.x SP three digits [SP reason] */
static const char *read_status(struct peri_reply *reply, struct peri_span line)
{
    static const char fault[] = "its status line is malformed";
    const char *text = peri_reply_at(reply, line);
    if (line.len < 12 || memcmp(text, "HTTP/1.", 7) != 0 || text[8] != ' ' || !is_digit(text[9]) ||
        !is_digit(text[10]) || !is_digit(text[11]))
        return fault;
    if (text[7] != '0' && text[7] != '1')
        return "it speaks another version of HTTP";
    reply->minor = (uint8_t) (text[7] - '0');
    reply->status = (uint16_t) ((text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0'));
    if (reply->status < 100 || (line.len > 12 && text[12] != ' '))
        return fault;
    reply->reason = (struct peri_span){line.at + 12, 0};
    if (line.len > 13)
        reply->reason = (struct peri_span){line.at + 13, line.len - 13};
    const char *reason = peri_reply_at(reply, reply->reason);
    return peri_header_value_is_sound(reason, reply->reason.len) ? NULL : fault;
}

static struct peri_header *add_header(struct peri_reply *reply)
{
    if (reply->header_count == reply->header_cap) {
        uint32_t cap = reply->header_cap == 0 ? FIRST_HEADERS : reply->header_cap * 2;
        struct peri_header *headers = realloc(reply->headers, cap * sizeof(*headers));
        if (headers == NULL) {
            fputs("perigee: out of memory (headers of an answer)\n", stderr);
            abort();
        }
        reply->headers = headers;
        reply->header_cap = cap;
    }
    return &reply->headers[reply->header_count++];
}

static struct peri_span trimmed(const char *base, struct peri_span span)
{
    while (span.len > 0 && (base[span.at] == ' ' || base[span.at] == '\t')) {
        span.at++;
        span.len--;
    }
    while (span.len > 0 &&
           (base[span.at + span.len - 1] == ' ' || base[span.at + span.len - 1] == '\t'))
        span.len--;
    return span;
}

static const char *read_header(struct peri_reply *reply, struct peri_span line)
{
    const char *text = peri_reply_at(reply, line);
    const char *colon = memchr(text, ':', line.len);
    if (colon == NULL || !peri_header_name_is_sound(text, (size_t) (colon - text)))
        return "a header line is malformed";
    if (reply->header_count == reply->limits->max_headers)
        return "it has too many headers";
    uint32_t name_len = (uint32_t) (colon - text);
    struct peri_header *header = add_header(reply);
    header->name = (struct peri_span){line.at, name_len};
    header->value = trimmed(reply->head.data,
                            (struct peri_span){line.at + name_len + 1, line.len - name_len - 1});
    if (!peri_header_value_is_sound(peri_reply_at(reply, header->value), header->value.len))
        return "a header has a control character in its value";
    return NULL;
}

static bool span_is(const struct peri_reply *reply, struct peri_span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(peri_reply_at(reply, span), text, span.len) == 0;
}

int peri_reply_find(const struct peri_reply *reply, int from, const char *name)
{
    for (uint32_t i = (uint32_t) from; i < reply->header_count; i++) {
        if (span_is(reply, reply->headers[i].name, name))
            return (int) i;
    }
    return -1;
}

/* Whether a list of tokens, such as Connection's, has this one. */
static bool has_token(const struct peri_reply *reply, struct peri_span list, const char *token)
{
    const char *base = reply->head.data;
    while (list.len > 0) {
        const char *comma = memchr(base + list.at, ',', list.len);
        uint32_t len = comma != NULL ? (uint32_t) (comma - base) - list.at : list.len;
        if (span_is(reply, trimmed(base, (struct peri_span){list.at, len}), token))
            return true;
        uint32_t step = len < list.len ? len + 1 : len;
        list.at += step;
        list.len -= step;
    }
    return false;
}

static bool read_length(struct peri_reply *reply, struct peri_span value)
{
    uint64_t length = 0;
    if (value.len == 0 || value.len > MAX_LENGTH_DIGITS)
        return false;
    for (uint32_t i = 0; i < value.len; i++) {
        char c = reply->head.data[value.at + i];
        if (!is_digit(c))
            return false;
        length = length * 10 + (uint64_t) (c - '0');
    }
    reply->content_length = length;
    reply->has_length = true;
    return true;
}

/* How the body is framed (RFC 9112, 6.3), and whether the connection lives on. */
static const char *read_framing(struct peri_reply *reply, bool *chunked)
{
    bool close = false;
    bool keep = reply->minor == 1;
    for (uint32_t i = 0; i < reply->header_count; i++) {
        struct peri_span name = reply->headers[i].name;
        struct peri_span value = reply->headers[i].value;
        if (span_is(reply, name, "connection")) {
            close = close || has_token(reply, value, "close");
            keep = keep || has_token(reply, value, "keep-alive");
        } else if (span_is(reply, name, "content-length")) {
            if (reply->has_length)
                return "it has two lengths";
            if (!read_length(reply, value))
                return "its Content-Length is not a number";
        } else if (span_is(reply, name, "transfer-encoding")) {
            if (*chunked || !span_is(reply, value, "chunked"))
                return "its Transfer-Encoding is not chunked alone";
            *chunked = true;
        }
    }
    reply->keep_alive = keep && !close;
    if (*chunked && reply->has_length)
        return "it has both a length and a transfer coding";
    return *chunked && reply->minor == 0 ? "it is chunked in HTTP/1.0" : NULL;
}

static bool has_no_body(const struct peri_reply *reply)
{
    return reply->question == PERI_REPLY_TO_HEAD || reply->status == 204 || reply->status == 304 ||
           (reply->question == PERI_REPLY_TO_CONNECT && reply->status / 100 == 2);
}

static enum peri_reply_outcome read_head(struct peri_reply *reply)
{
    uint32_t at = 0;
    bool chunked = false;
    const char *fault = read_status(reply, next_line(&reply->head, &at));
    struct peri_span line;
    while (fault == NULL && (line = next_line(&reply->head, &at)).len > 0)
        fault = read_header(reply, line);
    if (fault == NULL)
        fault = read_framing(reply, &chunked);
    if (fault != NULL)
        return refuse(reply, fault);
    if (reply->status == 101)
        return refuse(reply, "it switches to another protocol unasked");
    if (reply->status < 200) {
        if (++reply->interims > MAX_INTERIMS)
            return refuse(reply, "it has too many interim answers");
        restart(reply);
        return PERI_REPLY_MORE;
    }
    if (has_no_body(reply)) {
        reply->left = 0;
        reply->stage = IN_SIZED;
    } else if (chunked) {
        peri_chunks_init(&reply->chunks, reply->limits->max_chunk_ext_bytes,
                         reply->limits->max_head_bytes);
        reply->stage = IN_CHUNKS;
    } else if (reply->has_length) {
        reply->left = reply->content_length;
        reply->stage = IN_SIZED;
    } else {
        reply->keep_alive = false;
        reply->stage = IN_REST;
    }
    return PERI_REPLY_HEAD;
}

/* Returns MORE also when an interim answer is over. */
static enum peri_reply_outcome feed_head(struct peri_reply *reply, const char **bytes, size_t *len)
{
    static const char start[] = "HTTP/1.";
    struct peri_buf *head = &reply->head;
    size_t before = head->len;
    size_t room = reply->limits->max_head_bytes - before;
    size_t piece = *len < room ? *len : room;
    peri_buf_add(head, *bytes, piece);
    size_t known = head->len < sizeof(start) - 1 ? head->len : sizeof(start) - 1;
    if (known > 0 && memcmp(head->data, start, known) != 0)
        return refuse(reply, "it does not speak HTTP/1.1");

    size_t end = 0;
    if (piece > 0 && !find_end(head, before, &end))
        return refuse(reply, "a line ends with a bare line feed");
    if (end > 0) {
        head->len = end;
        piece = end - before;
    }
    *bytes += piece;
    *len -= piece;
    if (end > 0)
        return read_head(reply);
    if (head->len == reply->limits->max_head_bytes)
        return refuse(reply, "its head is too long");
    return PERI_REPLY_MORE;
}

/* --- the body ----------------------------------------------------------------------------------
 */

static enum peri_reply_outcome give(const char **bytes, size_t *len, size_t piece,
                                    const char **data, size_t *data_len)
{
    *data = *bytes;
    *data_len = piece;
    *bytes += piece;
    *len -= piece;
    return PERI_REPLY_DATA;
}

static enum peri_reply_outcome feed_chunks(struct peri_reply *reply, const char **bytes,
                                           size_t *len, const char **data, size_t *data_len)
{
    switch (peri_chunks_next(&reply->chunks, bytes, len, data, data_len)) {
    case PERI_CHUNKS_DATA:
        return PERI_REPLY_DATA;
    case PERI_CHUNKS_MORE:
        return PERI_REPLY_MORE;
    case PERI_CHUNKS_END:
        reply->stage = ENDED;
        return PERI_REPLY_END;
    case PERI_CHUNKS_LONG:
        return refuse(reply, "its trailers are too long");
    case PERI_CHUNKS_BAD:
        break;
    }
    return refuse(reply, "its chunks are malformed");
}

enum peri_reply_outcome peri_reply_next(struct peri_reply *reply, const char **bytes, size_t *len,
                                        const char **data, size_t *data_len)
{
    size_t piece = *len;
    switch ((enum stage) reply->stage) {
    case IN_HEAD:
        while (reply->stage == IN_HEAD && *len > 0) {
            enum peri_reply_outcome outcome = feed_head(reply, bytes, len);
            if (outcome != PERI_REPLY_MORE)
                return outcome;
        }
        return PERI_REPLY_MORE;
    case IN_SIZED:
        if (reply->left == 0) {
            reply->stage = ENDED;
            return PERI_REPLY_END;
        }
        if (piece == 0)
            return PERI_REPLY_MORE;
        if (piece > reply->left)
            piece = (size_t) reply->left;
        reply->left -= piece;
        return give(bytes, len, piece, data, data_len);
    case IN_CHUNKS:
        return feed_chunks(reply, bytes, len, data, data_len);
    case IN_REST:
        return piece == 0 ? PERI_REPLY_MORE : give(bytes, len, piece, data, data_len);
    case ENDED:
        break;
    }
    return reply->fault != NULL ? PERI_REPLY_BAD : PERI_REPLY_END;
}

enum peri_reply_outcome peri_reply_cut(struct peri_reply *reply)
{
    switch ((enum stage) reply->stage) {
    case IN_HEAD:
        return refuse(reply, reply->head.len == 0 && reply->interims == 0
                                 ? "it closed the connection without an answer"
                                 : "it closed the connection in the middle of a head");
    case IN_SIZED:
        if (reply->left > 0)
            return refuse(reply, "it closed the connection in the middle of a body");
        break;
    case IN_CHUNKS:
        return refuse(reply, "it closed the connection in the middle of a chunked body");
    case IN_REST:
    case ENDED:
        break;
    }
    reply->stage = ENDED;
    return reply->fault != NULL ? PERI_REPLY_BAD : PERI_REPLY_END;
}
