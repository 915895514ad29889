#include "sources.h"

#include "url.h"

#include <stdio.h>
#include <stdlib.h>

#define SHORT_QUERY 64 /* bytes */

void peri_gather_deinit(struct peri_gather *gather)
{
    free(gather->fields);
    peri_buf_deinit(&gather->text);
    *gather = (struct peri_gather){0};
}

static void reserve(struct peri_gather *gather, size_t count)
{
    if (count <= gather->cap)
        return;
    gather->fields = realloc(gather->fields, count * sizeof(*gather->fields));
    if (gather->fields == NULL) {
        fputs("perigee: out of memory (inputs of a request)\n", stderr);
        abort();
    }
    gather->cap = count;
}

static struct peri_field *add(struct peri_gather *gather)
{
    struct peri_field *field = &gather->fields[gather->count++];
    *field = (struct peri_field){0};
    return field;
}

static void add_path(struct peri_gather *gather, const struct peri_match *match)
{
    for (unsigned i = 0; i < match->param_count; i++) {
        struct peri_field *field = add(gather);
        field->name = match->params[i].name;
        field->name_len = strlen(field->name);
        field->value = match->params[i].value;
        field->value_len = match->params[i].len;
    }
}

/* What in a query is not taken as it stands. */
enum { ENDS_NAME = 1, IS_ENCODED = 2, ENDS_PAIR = 4 };

static const uint8_t query_marks[256] = {
    ['='] = ENDS_NAME, ['%'] = IS_ENCODED, ['+'] = IS_ENCODED, ['&'] = ENDS_PAIR};

/* Room for everything was reserved: neither the fields nor the text move. */
static void add_query(struct peri_gather *gather, const char *text, size_t len)
{
    const char *end = text + len;
    for (const char *at = text; at < end; at += at < end) {
        const char *pair = at;
        const char *name_end = NULL;
        unsigned marks = 0;
        for (;; at++) {
            while (at < end && query_marks[(unsigned char) *at] == 0)
                at++;
            if (at == end || *at == '&')
                break;
            if (*at == '=' && name_end == NULL)
                name_end = at;
            marks |= query_marks[(unsigned char) *at];
        }
        if (at == pair)
            continue;
        struct peri_field *field = add(gather);
        if (marks & IS_ENCODED) {
            size_t pair_len = (size_t) (at - pair);
            field->name = gather->text.data + gather->text.len;
            peri_url_next_pair(&pair, &pair_len, &gather->text, &field->name_len,
                               &field->value_len);
            field->value = field->name + field->name_len;
            continue;
        }
        field->name = pair;
        field->name_len = (size_t) ((name_end != NULL ? name_end : at) - pair);
        field->value = name_end != NULL ? name_end + 1 : at;
        field->value_len = (size_t) (at - field->value);
    }
}

static void add_headers(struct peri_gather *gather, const struct peri_request *request)
{
    for (unsigned i = 0; i < request->header_count; i++) {
        struct peri_field *field = add(gather);
        field->name = peri_request_at(request, request->headers[i].name);
        field->name_len = request->headers[i].name.len;
        field->value = peri_request_at(request, request->headers[i].value);
        field->value_len = request->headers[i].value.len;
    }
}

/* Whether there is something to undo in a value that peri_cookie_next() took out of its quotes. */
static bool is_quoted(const struct peri_field *cookie)
{
    return cookie->value_len > 0 && cookie->value[-1] == '"' &&
           memchr(cookie->value, '\\', cookie->value_len) != NULL;
}

static void add_cookies(struct peri_gather *gather, const struct peri_request *request)
{
    int at = -1;
    while ((at = peri_request_find(request, at + 1, "cookie", 6)) >= 0) {
        const char *text = peri_request_at(request, request->headers[at].value);
        size_t len = request->headers[at].value.len;
        struct peri_field cookie;
        while (peri_cookie_next(&text, &len, &cookie)) {
            struct peri_field *field = add(gather);
            *field = cookie;
            if (is_quoted(&cookie)) {
                field->value = gather->text.data + gather->text.len;
                peri_cookie_unquote(&gather->text, cookie.value, cookie.value_len);
                field->value_len = (size_t) (gather->text.data + gather->text.len - field->value);
            }
        }
    }
}

/* An upper bound of the pairs that the query holds. A short one is not looked at. */
static size_t count_query(const struct peri_request *request)
{
    const char *query = peri_request_at(request, request->query);
    uint32_t len = request->query.len;
    if (len <= SHORT_QUERY)
        return len / 2 + 1;
    size_t count = 1;
    for (uint32_t i = 0; i < len; i++)
        count += query[i] == '&';
    return count;
}

static size_t count_cookies(const struct peri_request *request)
{
    size_t count = 0;
    int at = -1;
    while ((at = peri_request_find(request, at + 1, "cookie", 6)) >= 0) {
        const char *text = peri_request_at(request, request->headers[at].value);
        count++;
        for (uint32_t i = 0; i < request->headers[at].value.len; i++)
            count += text[i] == ';';
    }
    return count;
}

static size_t cookie_bytes(const struct peri_request *request)
{
    size_t len = 0;
    int at = -1;
    while ((at = peri_request_find(request, at + 1, "cookie", 6)) >= 0)
        len += request->headers[at].value.len;
    return len;
}

static struct peri_fields since(const struct peri_gather *gather, size_t first)
{
    return (struct peri_fields){gather->fields + first, gather->count - first};
}

void peri_gather_sources(struct peri_gather *gather, const struct peri_request *request,
                         const struct peri_match *match, unsigned uses,
                         struct peri_sources *sources)
{
    gather->count = 0;
    gather->text.len = 0;
    bool cookies = (uses & PERI_USES_COOKIES) != 0;
    reserve(gather, match->param_count + request->header_count + count_query(request) +
                        (cookies ? count_cookies(request) : 0));
    peri_buf_reserve(&gather->text, request->query.len + (cookies ? cookie_bytes(request) : 0));
    *sources = (struct peri_sources){0};

    if (uses & PERI_USES_PATH) {
        add_path(gather, match);
        sources->path = since(gather, 0);
    }
    size_t first = gather->count;
    if (uses & PERI_USES_QUERY) {
        add_query(gather, peri_request_at(request, request->query), request->query.len);
        sources->query = since(gather, first);
    }
    first = gather->count;
    if (uses & PERI_USES_HEADERS) {
        add_headers(gather, request);
        sources->headers = since(gather, first);
    }
    first = gather->count;
    if (cookies) {
        add_cookies(gather, request);
        sources->cookies = since(gather, first);
    }
    int type = uses & PERI_USES_BODY ? peri_request_find(request, 0, "content-type", 12) : -1;
    if (type >= 0) {
        sources->content_type = peri_request_at(request, request->headers[type].value);
        sources->content_type_len = request->headers[type].value.len;
    }
}
