#include "request.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

int peri_request_find(const struct peri_request *request, int from, const char *name, size_t len)
{
    for (int i = from; i < request->header_count; i++) {
        const struct peri_span *span = &request->headers[i].name;
        if (span->len == len && strncasecmp(request->base + span->at, name, len) == 0)
            return i;
    }
    return -1;
}

const char *peri_request_method(const struct peri_request *request, size_t *len)
{
    if (request->method == PERI_METHOD_OTHER) {
        *len = request->method_name.len;
        return peri_request_at(request, request->method_name);
    }
    const char *name = llhttp_method_name((llhttp_method_t) request->method);
    *len = strlen(name);
    return name;
}

bool peri_is_other_version(const char *at, size_t len)
{
    static const char version[] = " HTTP/";
    const char *digits = at + sizeof(version) - 1;
    if (len < sizeof(version) + 2 || memcmp(at, version, sizeof(version) - 1) != 0)
        return false;
    return digits[0] >= '0' && digits[0] <= '9' && digits[1] == '.' && digits[2] >= '0' &&
           digits[2] <= '9' && (digits[0] != '1' || digits[2] > '1');
}

/* The request line, from the first byte on: a proxy that forwards what it read must have read the
 * same three parts as llhttp. *end is the offset behind it. Returns 0, or the status that refuses
 * what is not exactly `METHOD SP target SP HTTP/1.x CRLF`. Empty lines before it are allowed
 * (RFC 9112, 2.2). */
static int check_request_line(const struct peri_request *request, uint32_t *end)
{
    const char *base = request->base;
    uint32_t at = 0;
    while (base[at] == '\r' && base[at + 1] == '\n')
        at += 2;
    size_t method_len = 0;
    const char *method = peri_request_method(request, &method_len);
    if (at + method_len + 1 != request->target.at || memcmp(base + at, method, method_len) != 0 ||
        base[at + method_len] != ' ')
        return 400;

    static const char version[] = " HTTP/1.";
    const char *behind = base + request->target.at + request->target.len;
    /* strncmp() reads no further than the first difference: a head of HTTP/0.9 ends right here. */
    if (strncmp(behind, version, sizeof(version) - 1) != 0) {
        size_t len = 0; /* of the rest of the line, as far as it matters */
        while (len <= sizeof(version) && behind[len] != '\r' && behind[len] != '\n')
            len++;
        return peri_is_other_version(behind, len) ? 505 : 400;
    }
    behind += sizeof(version) - 1;
    if ((behind[0] != '0' && behind[0] != '1') || behind[1] != '\r' || behind[2] != '\n')
        return 400;
    *end = (uint32_t) (behind + 3 - base);
    return 0;
}

static bool header_is(const char *base, struct peri_span span, const char *text, size_t len)
{
    return span.len == len && strncasecmp(base + span.at, text, len) == 0;
}

#define is(base, span, literal) header_is((base), (span), (literal), sizeof(literal) - 1)

/* RFC 3986 host and port, loosely: what can neither end the header nor be read as a path. */
static bool host_is_sound(const char *host, size_t len)
{
    static const bool allowed[256] = {
        ['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['-'] = true,
        ['.'] = true,         ['_'] = true,         ['~'] = true,         ['%'] = true,
        ['!'] = true,         ['$'] = true,         ['&'] = true,         ['\''] = true,
        ['('] = true,         [')'] = true,         ['*'] = true,         ['+'] = true,
        [';'] = true,         ['='] = true,         [':'] = true,         ['['] = true,
        [']'] = true, /* no comma: some proxies join with it */
    };
    bool sound = true;
    for (size_t i = 0; i < len; i++)
        sound &= allowed[(unsigned char) host[i]];
    return sound;
}

/* Splits the target into path and query; `authority` receives that of an absolute form. */
static bool split_target(struct peri_request *request, struct peri_span *authority)
{
    const char *base = request->base;
    struct peri_span rest = request->target;
    *authority = (struct peri_span){0};
    if (request->method == HTTP_CONNECT) /* an authority, and nothing that we offer */
        return false;

    if (base[rest.at] != '/') {
        if (rest.len == 1 && base[rest.at] == '*') {
            if (request->method != HTTP_OPTIONS)
                return false;
        } else {
            uint32_t scheme = 0;
            if (rest.len > 7 && strncasecmp(base + rest.at, "http://", 7) == 0)
                scheme = 7;
            else if (rest.len > 8 && strncasecmp(base + rest.at, "https://", 8) == 0)
                scheme = 8;
            if (scheme == 0)
                return false;
            uint32_t end = scheme;
            while (end < rest.len && strchr("/?#", base[rest.at + end]) == NULL)
                end++;
            *authority = (struct peri_span){rest.at + scheme, end - scheme};
            if (authority->len == 0 || memchr(base + authority->at, '@', authority->len) != NULL)
                return false;
            rest.at += end;
            rest.len -= end;
        }
    }
    if (memchr(base + rest.at, '#', rest.len) != NULL)
        return false; /* a client never sends its fragment */

    const char *mark = memchr(base + rest.at, '?', rest.len);
    request->path = rest;
    request->query = (struct peri_span){rest.at + rest.len, 0};
    if (mark != NULL) {
        uint32_t at = (uint32_t) (mark - base);
        request->path.len = at - rest.at;
        request->query = (struct peri_span){at + 1, rest.at + rest.len - at - 1};
    }
    return true;
}

int peri_request_check(struct peri_request *request)
{
    const char *base = request->base;
    uint32_t at = 0;
    int status = check_request_line(request, &at);
    if (status != 0)
        return status;
    struct peri_span authority;
    if (!split_target(request, &authority))
        return 400;

    bool old = (request->flags & PERI_REQUEST_HTTP_1_0) != 0;
    struct peri_span *host = NULL;
    unsigned codings = 0;
    for (unsigned i = 0; i < request->header_count; i++) {
        struct peri_span name = request->headers[i].name;
        struct peri_span *value = &request->headers[i].value;
        /* `name ":" OWS value OWS CRLF`, with nothing between that llhttp skipped or joined. */
        uint32_t colon = name.at + name.len;
        if (name.at != at || name.len == 0 || base[colon] != ':')
            return 400;
        if (value->len == 0) { /* an empty one is not reported */
            value->at = colon + 1;
            while (base[value->at] == ' ' || base[value->at] == '\t')
                value->at++;
        }
        if (value->at <= colon)
            return 400;
        for (at = colon + 1; at < value->at; at++) {
            if (base[at] != ' ' && base[at] != '\t')
                return 400;
        }
        at = value->at + value->len;
        while (base[at] == ' ' || base[at] == '\t')
            at++;
        if (base[at] != '\r' || base[at + 1] != '\n')
            return 400;
        at += 2;
        while (value->len > 0 && (base[value->at + value->len - 1] == ' ' ||
                                  base[value->at + value->len - 1] == '\t'))
            value->len--;

        if (is(base, name, "host")) {
            if (host != NULL || !host_is_sound(base + value->at, value->len))
                return 400;
            host = value;
        } else if (is(base, name, "transfer-encoding")) {
            if (++codings > 1 || !is(base, *value, "chunked"))
                return 400;
        } else if (is(base, name, "expect") && !old) { /* RFC 9110, 10.1.1 */
            if (!is(base, *value, "100-continue"))
                return 417;
            request->flags |= PERI_REQUEST_EXPECTS_100;
        }
    }
    if (base[at] != '\r' || base[at + 1] != '\n')
        return 400;
    request->head_len = at + 2;

    bool chunked = (request->flags & PERI_REQUEST_CHUNKED) != 0;
    bool sized = (request->flags & PERI_REQUEST_HAS_LENGTH) != 0;
    if ((host == NULL && !old) || chunked != (codings == 1) || (chunked && (sized || old)))
        return 400;
    if (authority.len > 0) {
        if (!host_is_sound(base + authority.at, authority.len))
            return 400;
        if (host != NULL)
            *host = authority; /* RFC 9112, 3.2.2: the target's authority replaces Host */
    }
    return 0;
}
