/* Any bytes, read as a connection would: message after message until one is refused or incomplete.
 * Fed whole, byte by byte and in random pieces they must give the same messages, and what was
 * accepted must be what a naive parser makes of the same bytes, line by line. */
#include "http.h"

#include "pieces.h"

#include <strings.h>

#define MAX_HEADERS 16

static const struct peri_http_limits limits = {
    .max_head_bytes = 1024,
    .max_headers = MAX_HEADERS,
    .max_target_bytes = 256,
    .max_chunk_ext_bytes = 32,
};

static int on_head(void *context)
{
    struct reading *reading = context;
    reading->body.len = 0;
    return 0;
}

static int on_body(void *context, const char *bytes, size_t len)
{
    struct reading *reading = context;
    require(len > 0, "an empty piece of a body");
    peri_buf_add(&reading->body, bytes, len);
    return 0;
}

static const struct peri_http_events events = {.head = on_head, .body = on_body};

/* --- the naive parser --------------------------------------------------------------------------
 */

struct line {
    const char *at;
    size_t len;
};

/* The line at *at, which ends with CR LF and holds neither by itself. */
static struct line next_line(const char **at, const char *end)
{
    const char *feed = memchr(*at, '\n', (size_t) (end - *at));
    require(feed != NULL && feed > *at && feed[-1] == '\r', "a line without its end");
    struct line line = {*at, (size_t) (feed - 1 - *at)};
    require(memchr(line.at, '\r', line.len) == NULL, "a bare CR");
    require(memchr(line.at, '\0', line.len) == NULL, "a NUL");
    *at = feed + 1;
    return line;
}

static bool span_is(const struct peri_request *request, struct peri_span span, struct line text)
{
    return span.len == text.len &&
           (span.len == 0 || memcmp(peri_request_at(request, span), text.at, text.len) == 0);
}

static bool is_named(struct line name, const char *text)
{
    return name.len == strlen(text) && strncasecmp(name.at, text, name.len) == 0;
}

static struct line trimmed(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return (struct line){from, (size_t) (to - from)};
}

static void check_request_line(const struct peri_request *request, struct line line)
{
    size_t len = 0;
    const char *method = peri_request_method(request, &len);
    const char *version = line.at + line.len - 9;
    require(line.len >= len + 11 && memcmp(line.at, method, len) == 0 && line.at[len] == ' ' &&
                memcmp(version, " HTTP/1.", 8) == 0,
            "another request line");
    require((version[8] == '0') == ((request->flags & PERI_REQUEST_HTTP_1_0) != 0),
            "another version");
    struct line target = {line.at + len + 1, (size_t) (version - line.at) - len - 1};
    require(span_is(request, request->target, target), "another target");
    require(memchr(target.at, ' ', target.len) == NULL, "a blank in the target");
    require(request->path.len <= target.len && request->query.len <= target.len, "long parts");
}

static void check_head(const struct peri_request *request)
{
    const char *at = request->base;
    const char *end = at + request->head_len;
    struct line line = next_line(&at, end);
    while (line.len == 0)
        line = next_line(&at, end);
    check_request_line(request, line);

    unsigned hosts = 0;
    unsigned lengths = 0;
    unsigned codings = 0;
    unsigned count = 0;
    for (line = next_line(&at, end); line.len > 0; line = next_line(&at, end)) {
        const char *colon = memchr(line.at, ':', line.len);
        require(colon != NULL && colon > line.at && count < request->header_count, "a wrong line");
        struct line name = {line.at, (size_t) (colon - line.at)};
        struct line value = trimmed(colon + 1, line.at + line.len);
        const struct peri_header *header = &request->headers[count++];
        require(span_is(request, header->name, name), "another name");
        require(memchr(name.at, ' ', name.len) == NULL, "a blank in a name");
        bool is_host = is_named(name, "host");
        /* The authority of an absolute target takes the place of Host. */
        require(span_is(request, header->value, value) ||
                    (is_host && request->path.at > 0 && request->path.at != request->target.at),
                "another value");
        hosts += is_host;
        codings += is_named(name, "transfer-encoding");
        require(!is_named(name, "transfer-encoding") || is_named(value, "chunked"), "a coding");
        if (is_named(name, "content-length")) {
            uint64_t length = 0;
            for (size_t i = 0; i < value.len; i++) {
                require(value.at[i] >= '0' && value.at[i] <= '9', "a length");
                length = length * 10 + (uint64_t) (value.at[i] - '0');
            }
            require(value.len > 0 && length == request->content_length, "another length");
            lengths++;
        }
    }
    require(at == end && count == request->header_count, "another end of the head");
    require(hosts == 1 || (hosts == 0 && (request->flags & PERI_REQUEST_HTTP_1_0)), "hosts");
    require(lengths + codings <= 1, "two framings");
    require(codings == ((request->flags & PERI_REQUEST_CHUNKED) ? 1U : 0U), "chunked or not");
    require(lengths == ((request->flags & PERI_REQUEST_HAS_LENGTH) ? 1U : 0U), "sized or not");
}

/* The body of a complete message, which stands in [at, end). */
static void check_body(const struct peri_request *request, const struct peri_buf *body,
                       const char *at, const char *end)
{
    if (!(request->flags & PERI_REQUEST_CHUNKED)) {
        require(body->len == request->content_length && (size_t) (end - at) == body->len,
                "another size");
        require(body->len == 0 || memcmp(body->data, at, body->len) == 0, "another body");
        return;
    }
    size_t done = 0;
    for (;;) {
        struct line line = next_line(&at, end);
        size_t size = (size_t) strtoull(line.at, NULL, 16);
        if (size == 0)
            break;
        require(size <= body->len - done && size + 2 <= (size_t) (end - at), "a larger chunk");
        require(memcmp(body->data + done, at, size) == 0, "another chunk");
        done += size;
        at += size;
        require(next_line(&at, end).len == 0, "a chunk that goes on");
    }
    require(done == body->len, "more than the chunks");
    while (next_line(&at, end).len > 0)
        ;
    require(at == end, "another end of the body");
}

/* --- feeding -----------------------------------------------------------------------------------
 */

static void record(struct reading *reading, const struct peri_http *http,
                   enum peri_http_outcome outcome, size_t fed)
{
    const struct peri_request *request = http->request;
    peri_buf_addf(&reading->record, "\noutcome %d", (int) outcome);
    reading->refused = outcome == PERI_HTTP_BAD ? http->status : 0;
    if (outcome == PERI_HTTP_BAD)
        return;
    peri_buf_addf(&reading->record, " fed %zu", fed);
    if (!http->head_done)
        return;
    peri_buf_addf(&reading->record,
                  " method %u flags %u head %u length %llu path %u %u query %u %u", request->method,
                  request->flags, request->head_len, (unsigned long long) request->content_length,
                  request->path.at, request->path.len, request->query.at, request->query.len);
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct peri_header *header = &request->headers[i];
        peri_buf_addf(&reading->record, " %u %u %u %u", header->name.at, header->name.len,
                      header->value.at, header->value.len);
    }
    peri_buf_add_lit(&reading->record, " body ");
    peri_buf_add(&reading->record, reading->body.data, reading->body.len);
}

/* Reads one message and returns how many bytes are its own; *goes_on tells whether another may
 * follow. Every piece stands in a block of exactly its size, in the head behind all of it. */
static size_t read_message(struct reading *reading, const char *text, size_t len, bool *goes_on)
{
    struct peri_http http;
    struct peri_header headers[MAX_HEADERS];
    struct peri_request request = {.headers = headers};
    enum peri_http_outcome outcome = PERI_HTTP_MORE;
    size_t fed = 0;
    reading->body.len = 0;
    peri_http_init(&http, &request, &limits, &events, reading);
    while (outcome == PERI_HTTP_MORE && fed < len) {
        size_t piece = next_piece(reading, len - fed);
        size_t before = http.head_done ? 0 : fed;
        char *block = malloc(before + piece);
        require(block != NULL, "out of memory");
        memcpy(block, text + fed - before, before + piece);
        size_t consumed = 0;
        outcome = peri_http_feed(&http, block, block + before, piece, &consumed);
        require(consumed <= piece, "too much was consumed");
        require(outcome != PERI_HTTP_MORE || consumed == piece, "a byte was left");
        fed += consumed;
        free(block);
    }
    request.base = text;
    if (outcome != PERI_HTTP_BAD && http.head_done) {
        check_head(&request);
        if (outcome == PERI_HTTP_END)
            check_body(&request, &reading->body, text + request.head_len, text + fed);
    }
    record(reading, &http, outcome, fed);
    *goes_on = outcome == PERI_HTTP_END;
    return fed;
}

static void read_all(struct reading *reading, const char *text, size_t len)
{
    bool goes_on = true;
    while (goes_on && len > 0) {
        size_t fed = read_message(reading, text, len, &goes_on);
        text += fed;
        len -= fed;
    }
}

/* A byte that is wrong behind a limit that is passed may be met before or after it. */
static bool is_limit(int status)
{
    return status == 414 || status == 431;
}

static void compare_refusals(const struct reading *whole, const struct reading *pieces)
{
    require(whole->refused == pieces->refused ||
                (is_limit(pieces->refused) && whole->refused >= 400),
            "another refusal in pieces");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_in_pieces(data, size, read_all, compare_refusals);
    return 0;
}
