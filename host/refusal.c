#include "refusal.h"

#include "answer.h"
#include "exchange.h"
#include "loop.h"

/* Matches, with GET standing in for a HEAD that is not declared by itself. */
static enum peri_match_result match(struct peri_exchange *exchange, const char *path, size_t len)
{
    const struct peri_router *router = exchange->loop->vm.app.router;
    unsigned method = exchange->request.method;
    enum peri_match_result found = peri_router_match(router, path, len, method, &exchange->match);
    if (found == PERI_MATCH_METHOD && method == HTTP_HEAD &&
        (exchange->match.methods & PERI_METHOD_BIT(HTTP_GET)))
        found = peri_router_match(router, path, len, HTTP_GET, &exchange->match);
    return found;
}

/* Whether the path with a slash more or less at its end has this operation. A path that starts with
 * two slashes is never sent back: as a Location it would name another host. */
static bool slash_would_match(struct peri_exchange *exchange, const char *path, size_t len)
{
    struct peri_buf *other = &exchange->loop->body;
    if (len < 2 || path[1] == '/' || path[1] == '\\')
        return false;
    other->len = 0;
    peri_buf_add(other, path, len);
    if (path[len - 1] == '/')
        other->len--;
    else
        peri_buf_add_byte(other, '/');
    return match(exchange, other->data, other->len) == PERI_MATCH_FOUND;
}

uint16_t peri_refusal_or_match(struct peri_exchange *exchange, const char *path, size_t len)
{
    enum peri_match_result found = match(exchange, path, len);
    if (found == PERI_MATCH_FOUND)
        return 0;
    bool options = exchange->request.method == HTTP_OPTIONS;
    if (found == PERI_MATCH_METHOD)
        return options ? 204 : 405;
    if (options && len == 1 && path[0] == '*')
        return 204;
    if (slash_would_match(exchange, path, len)) {
        exchange->match.param_count = 0; /* they point into scratch */
        return 307;
    }
    return 404;
}

/* `allow: GET, HEAD` with what the methods imply. */
static void add_allow(struct peri_buf *lines, uint64_t methods)
{
    if (methods & PERI_METHOD_BIT(HTTP_GET))
        methods |= PERI_METHOD_BIT(HTTP_HEAD);
    methods |= PERI_METHOD_BIT(HTTP_OPTIONS);
    const char *separator = "allow: ";
    for (unsigned method = 0; method < 64; method++) {
        if (!(methods & PERI_METHOD_BIT(method)))
            continue;
        peri_buf_add_str(lines, separator);
        peri_buf_add_str(lines, llhttp_method_name((llhttp_method_t) method));
        separator = ", ";
    }
    peri_buf_add_lit(lines, "\r\n");
}

/* The path as the client wrote it, with the slash changed: relative, so it is right behind proxies.
 */
static void add_location(struct peri_buf *lines, const struct peri_request *request)
{
    size_t len = request->path.len;
    const char *path = peri_request_at(request, request->path);
    peri_buf_add_lit(lines, "location: ");
    if (path[len - 1] == '/')
        peri_buf_add(lines, path, len - 1);
    else
        peri_buf_addf(lines, "%.*s/", (int) len, path);
    if (request->query.len > 0)
        peri_buf_addf(lines, "?%.*s", (int) request->query.len,
                      peri_request_at(request, request->query));
    peri_buf_add_lit(lines, "\r\n");
}

void peri_refusal_send(struct peri_exchange *exchange)
{
    struct peri_buf lines = {0};
    unsigned status = exchange->refusal;
    if (status == 405 || status == 204)
        add_allow(&lines, exchange->match.methods);
    else if (status == 307)
        add_location(&lines, &exchange->request);
    if (lines.len > 0)
        peri_buf_add_byte(&lines, '\0');

    if (status == 307 || status == 204)
        peri_answer_send(NULL, exchange,
                         &(struct peri_answer){.status = status, .lines = lines.data});
    else
        peri_answer_detail(exchange, status, lines.data);
    peri_buf_deinit(&lines);
}
