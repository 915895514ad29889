#include "http.h"

#include <string.h>

static int refuse(struct peri_http *http, int status)
{
    http->status = (uint16_t) status;
    return -1;
}

/* --- the head, by llhttp -----------------------------------------------------------------------
 */

static struct peri_http *http_of(llhttp_t *parser)
{
    return parser->data;
}

/* Spans of one part may come in pieces; as the head is contiguous, a piece only lengthens it.
 * Returns false when the bytes do not continue the part. */
static bool extend(struct peri_http *http, struct peri_span *span, const char *bytes, size_t len)
{
    uint32_t at = (uint32_t) (bytes - http->origin);
    if (span->len == 0)
        span->at = at;
    else if (span->at + span->len != at)
        return false;
    span->len += (uint32_t) len;
    return true;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    if (!extend(http, &http->request->target, at, len))
        return refuse(http, 400);
    return http->request->target.len > http->limits->max_target_bytes ? refuse(http, 414) : 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    struct peri_request *request = http->request;
    if (request->header_count > 0 &&
        extend(http, &request->headers[request->header_count - 1].name, at, len))
        return 0;
    if (request->header_count >= http->limits->max_headers)
        return refuse(http, 431);
    struct peri_header *header = &request->headers[request->header_count++];
    *header = (struct peri_header){0};
    extend(http, &header->name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    struct peri_request *request = http->request;
    if (request->header_count == 0 ||
        !extend(http, &request->headers[request->header_count - 1].value, at, len))
        return refuse(http, 400); /* a line without a name, or a folded one */
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct peri_http *http = http_of(parser);
    struct peri_request *request = http->request;

    request->method = http->other != 0 ? PERI_METHOD_OTHER : parser->method;
    if (llhttp_should_keep_alive(parser) && !(parser->flags & F_CONNECTION_CLOSE))
        request->flags |= PERI_REQUEST_KEEP_ALIVE;
    if (parser->http_minor == 0)
        request->flags |= PERI_REQUEST_HTTP_1_0;
    if (parser->flags & F_CHUNKED)
        request->flags |= PERI_REQUEST_CHUNKED;
    if (parser->flags & F_CONTENT_LENGTH) {
        request->flags |= PERI_REQUEST_HAS_LENGTH;
        request->content_length = parser->content_length;
    }
    /* An upgrade is only an offer: unless the handler takes it, the message is an ordinary one.
     * HTTP/1.0 cannot make one (RFC 9110, 7.8). */
    if (parser->upgrade && parser->http_minor != 0)
        request->flags |= PERI_REQUEST_UPGRADE;
    parser->upgrade = 0;

    int status = peri_request_check(request);
    if (status == 0 && request->head_len > http->limits->max_head_bytes)
        status = 431;
    http->head_done = status == 0;
    return status == 0 ? 1 /* llhttp is to expect no body */ : refuse(http, status);
}

static int on_message_complete(llhttp_t *parser)
{
    (void) parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_message_complete = on_message_complete,
};

void peri_http_init(struct peri_http *http, struct peri_request *request,
                    const struct peri_http_limits *limits, const struct peri_http_events *events,
                    void *context)
{
    struct peri_header *headers = request->headers;
    *request = (struct peri_request){.headers = headers};
    http->request = request;
    http->limits = limits;
    http->events = events;
    http->context = context;
    http->status = 0;
    http->head_done = false;
    http->other = 0;
    llhttp_init(&http->parser, HTTP_REQUEST, &settings);
    http->parser.data = http;
}

/* --- methods that llhttp does not know ---------------------------------------------------------
 *
 * HTTP lets anybody make methods up (RFC 9110, 9.1), and where a path has operations the answer is
 * 405 and the methods there are. llhttp stops in the middle of such a name, so the head is read
 * once more with GET in its place. */

enum { KNOWN_METHOD, NAME_INCOMPLETE, OTHER_METHOD };

#define MAX_METHOD 64

static bool is_token_char(char c)
{
    static const char symbols[] = "!#$%&'*+-.^_`|~";
    bool alphanumeric = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    return alphanumeric || (c != '\0' && strchr(symbols, c) != NULL);
}

/* Reads the head from its first byte on, which stands at `base`, as that of another method. */
static enum llhttp_errno read_other(struct peri_http *http, const char *base, size_t len)
{
    size_t at = 0;
    while (at + 1 < len && base[at] == '\r' && base[at + 1] == '\n')
        at += 2;
    size_t end = at;
    while (end < len && end - at < MAX_METHOD && is_token_char(base[end]))
        end++;
    http->other = NAME_INCOMPLETE;
    if (end == len)
        return HPE_OK;
    if (end == at || base[end] != ' ')
        return HPE_INVALID_METHOD;
    http->other = OTHER_METHOD;
    struct peri_header *headers = http->request->headers;
    *http->request = (struct peri_request){
        .headers = headers,
        .base = base,
        .method_name = {(uint32_t) at, (uint32_t) (end - at)},
    };
    llhttp_init(&http->parser, HTTP_REQUEST, &settings);
    http->parser.data = http;
    llhttp_execute(&http->parser, "GET", 3);
    return llhttp_execute(&http->parser, base + end, len - end);
}

/* Whether llhttp stopped because of the method: it reads the ones of other protocols, too, and
 * finds out at the version. */
static bool is_unknown_method(const struct peri_http *http, enum llhttp_errno result)
{
    return http->other == KNOWN_METHOD &&
           (result == HPE_INVALID_METHOD || result == HPE_INVALID_CONSTANT);
}

/* Reads on in the head. Returns MORE, BAD, or END when the head (not the message) is complete. */
static enum peri_http_outcome feed_head(struct peri_http *http, const char *base, const char *bytes,
                                        size_t len)
{
    http->origin = base;
    http->request->base = base;
    size_t all = (size_t) (bytes + len - base);
    enum llhttp_errno result = http->other == NAME_INCOMPLETE
                                   ? read_other(http, base, all)
                                   : llhttp_execute(&http->parser, bytes, len);
    if (is_unknown_method(http, result))
        result = read_other(http, base, all);
    if (result == HPE_PAUSED && http->head_done) {
        int status = http->events->head(http->context);
        if (status == 0)
            return PERI_HTTP_END;
        http->status = (uint16_t) status;
    } else if (result == HPE_OK) {
        if (all < http->limits->max_head_bytes)
            return PERI_HTTP_MORE;
        http->status = 431;
    } else if (http->status == 0) {
        struct peri_span target = http->request->target;
        size_t behind = target.at + target.len;
        bool other = target.len > 0 && peri_is_other_version(base + behind, all - behind);
        http->status = other ? 505 : 400;
    }
    return PERI_HTTP_BAD;
}

/* --- the body ----------------------------------------------------------------------------------
 */

static enum peri_http_outcome give(struct peri_http *http, const char *bytes, size_t len)
{
    int status = http->events->body(http->context, bytes, len);
    http->status = (uint16_t) status;
    return status == 0 ? PERI_HTTP_MORE : PERI_HTTP_BAD;
}

static enum peri_http_outcome feed_sized(struct peri_http *http, const char **bytes, size_t *len)
{
    size_t piece = *len < http->left ? *len : (size_t) http->left;
    const char *from = *bytes;
    *bytes += piece;
    *len -= piece;
    http->left -= piece;
    if (piece > 0 && give(http, from, piece) == PERI_HTTP_BAD)
        return PERI_HTTP_BAD;
    return http->left == 0 ? PERI_HTTP_END : PERI_HTTP_MORE;
}

static enum peri_http_outcome feed_chunked(struct peri_http *http, const char **bytes, size_t *len)
{
    for (;;) {
        const char *data = NULL;
        size_t data_len = 0;
        switch (peri_chunks_next(&http->chunks, bytes, len, &data, &data_len)) {
        case PERI_CHUNKS_DATA:
            if (give(http, data, data_len) == PERI_HTTP_BAD)
                return PERI_HTTP_BAD;
            break;
        case PERI_CHUNKS_MORE:
            return PERI_HTTP_MORE;
        case PERI_CHUNKS_END:
            return PERI_HTTP_END;
        case PERI_CHUNKS_BAD:
            http->status = 400;
            return PERI_HTTP_BAD;
        case PERI_CHUNKS_LONG:
            http->status = 431;
            return PERI_HTTP_BAD;
        }
    }
}

enum peri_http_outcome peri_http_feed(struct peri_http *http, const char *base, const char *bytes,
                                      size_t len, size_t *consumed)
{
    const char *start = bytes;
    struct peri_request *request = http->request;
    if (!http->head_done) {
        enum peri_http_outcome outcome = feed_head(http, base, bytes, len);
        *consumed = len;
        if (outcome != PERI_HTTP_END)
            return outcome;
        const char *body = base + request->head_len;
        len -= (size_t) (body - bytes);
        bytes = body;
        if (request->flags & PERI_REQUEST_CHUNKED)
            peri_chunks_init(&http->chunks, http->limits->max_chunk_ext_bytes,
                             http->limits->max_head_bytes);
        else
            http->left = request->content_length;
    }
    enum peri_http_outcome outcome = request->flags & PERI_REQUEST_CHUNKED
                                         ? feed_chunked(http, &bytes, &len)
                                         : feed_sized(http, &bytes, &len);
    *consumed = (size_t) (bytes - start);
    return outcome;
}
