#include "http.h"

#include <string.h>

static int refuse(struct peri_http *http, int status)
{
    http->status = (uint16_t) status;
    return -1;
}

static struct peri_http *http_of(llhttp_t *parser)
{
    return parser->data;
}

/* Spans of one part may come in pieces; as the head is contiguous, a piece only lengthens it. */
static void extend(struct peri_http *http, struct peri_span *span, const char *at, size_t len)
{
    if (span->len == 0)
        span->at = (uint32_t) (at - http->origin);
    span->len += (uint32_t) len;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    extend(http, &http->request->target, at, len);
    if (http->request->target.len > http->limits->max_target_bytes)
        return refuse(http, 414);
    return 0;
}

static int trailer_bytes(struct peri_http *http, size_t len)
{
    http->trailer_bytes += (uint32_t) len;
    return http->trailer_bytes > http->limits->max_head_bytes ? refuse(http, 431) : 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    if (http->head_done)
        return trailer_bytes(http, len);

    struct peri_request *request = http->request;
    if (request->header_count == 0 || http->in_value) {
        if (request->header_count >= http->limits->max_headers)
            return refuse(http, 431);
        http->in_value = false;
        request->headers[request->header_count++] = (struct peri_header){0};
    }
    extend(http, &request->headers[request->header_count - 1].name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    if (http->head_done)
        return trailer_bytes(http, len);
    http->in_value = true; /* also for an empty value: llhttp reports it with length 0 */
    extend(http, &http->request->headers[http->request->header_count - 1].value, at, len);
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct peri_http *http = http_of(parser);
    struct peri_request *request = http->request;

    http->head_done = true;
    request->method = parser->method;
    if (llhttp_should_keep_alive(parser))
        request->flags |= PERI_REQUEST_KEEP_ALIVE;
    if (parser->http_minor == 0)
        request->flags |= PERI_REQUEST_HTTP_1_0;
    if (parser->flags & F_CHUNKED)
        request->flags |= PERI_REQUEST_CHUNKED;
    if (parser->flags & F_CONTENT_LENGTH)
        request->flags |= PERI_REQUEST_HAS_LENGTH;
    /* An upgrade is only an offer: unless the handler takes it, the message is an ordinary one. */
    if (parser->upgrade && parser->method != HTTP_CONNECT)
        request->flags |= PERI_REQUEST_UPGRADE;
    parser->upgrade = 0;
    request->content_length = parser->flags & F_CONTENT_LENGTH ? parser->content_length : 0;

    int status = peri_request_check(request);
    if (status == 0)
        status = http->events->head(http->context);
    return status == 0 ? 0 : refuse(http, status);
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    int status = http->events->body(http->context, at, len);
    return status == 0 ? 0 : refuse(http, status);
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_http *http = http_of(parser);
    (void) at;
    http->extra_bytes += (uint32_t) len;
    return http->extra_bytes > http->limits->max_chunk_ext_bytes ? refuse(http, 400) : 0;
}

static int on_message_complete(llhttp_t *parser)
{
    (void) parser;
    return HPE_PAUSED; /* what follows is another message, or another protocol */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
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
    http->extra_bytes = 0;
    http->trailer_bytes = 0;
    http->status = 0;
    http->head_done = false;
    http->in_value = false;
    llhttp_init(&http->parser, HTTP_REQUEST, &settings);
    http->parser.data = http;
}

enum peri_http_outcome peri_http_feed(struct peri_http *http, const char *base, const char *bytes,
                                      size_t len, size_t *consumed)
{
    bool reading_head = !http->head_done;
    if (reading_head) {
        http->origin = base;
        http->request->base = base;
    }

    enum llhttp_errno result = llhttp_execute(&http->parser, bytes, len);
    if (result == HPE_OK) {
        *consumed = len;
        if (!http->head_done && (size_t) (bytes + len - base) >= http->limits->max_head_bytes) {
            http->status = 431;
            return PERI_HTTP_BAD;
        }
        return PERI_HTTP_MORE;
    }
    *consumed = (size_t) (llhttp_get_error_pos(&http->parser) - bytes);
    if (result == HPE_PAUSED)
        return PERI_HTTP_END;
    if (http->status == 0)
        http->status = 400;
    return PERI_HTTP_BAD;
}
