#include "refusal.h"

#include "answer.h"
#include "api/api.h"
#include "exchange.h"
#include "loop.h"

/* The realm that the request's Host names, for apps that have any. */
static const struct peri_realm *realm_of(struct peri_exchange *exchange, struct peri_param *param)
{
    const struct peri_app *app = &exchange->vm->app;
    const struct peri_request *request = &exchange->request;
    int index = app->realm_count > 0 ? peri_request_find(request, 0, "host", 4) : -1;
    if (index < 0)
        return NULL;
    struct peri_span host = request->headers[index].value;
    const char *text = peri_request_at(request, host);
    const struct peri_realm *realm = peri_app_realm(app, text, host.len, &param->len);
    if (realm != NULL)
        *param = (struct peri_param){realm->param, text, param->len};
    return realm;
}

/* Matches, with GET standing in for a HEAD that is not declared by itself. */
static enum peri_match_result match(struct peri_exchange *exchange, const char *path, size_t len)
{
    struct peri_param param = {0};
    const struct peri_realm *realm = realm_of(exchange, &param);
    const struct peri_router *router = realm != NULL ? realm->router : exchange->vm->app.router;
    unsigned method = exchange->request.method;
    enum peri_match_result found = peri_router_match(router, path, len, method, &exchange->match);
    if (found == PERI_MATCH_METHOD && method == HTTP_HEAD &&
        (exchange->match.methods & PERI_METHOD_BIT(HTTP_GET)))
        found = peri_router_match(router, path, len, HTTP_GET, &exchange->match);
    struct peri_match *matched = &exchange->match;
    exchange->host_params = 0;
    if (found == PERI_MATCH_FOUND && param.name != NULL &&
        matched->param_count < PERI_ROUTER_MAX_PARAMS) {
        matched->params[matched->param_count++] = param;
        exchange->host_params = 1;
    }
    return found;
}

/* Whether the path with a slash more or less at its end has this operation. A path that starts with
 * two slashes is never sent back: as a Location it would name another host. */
static bool slash_would_match(struct peri_exchange *exchange, const char *path, size_t len)
{
    struct peri_buf *other = &exchange->scratch->text;
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

static void add_allow(struct peri_buf *value, uint64_t methods)
{
    if (methods & PERI_METHOD_BIT(HTTP_GET))
        methods |= PERI_METHOD_BIT(HTTP_HEAD);
    methods |= PERI_METHOD_BIT(HTTP_OPTIONS);
    for (unsigned method = 0; method < 64; method++) {
        if (methods & PERI_METHOD_BIT(method))
            peri_buf_addf(value, "%s%s", value->len > 0 ? ", " : "",
                          llhttp_method_name((llhttp_method_t) method));
    }
}

/* The path as the client wrote it, with the slash changed: relative, so it is right behind proxies.
 */
static void add_location(struct peri_buf *value, const struct peri_request *request)
{
    size_t len = request->path.len;
    const char *path = peri_request_at(request, request->path);
    if (path[len - 1] == '/')
        peri_buf_add(value, path, len - 1);
    else
        peri_buf_addf(value, "%.*s/", (int) len, path);
    const char *query = path + len; /* with its '?', though nothing may stand behind it */
    const char *end = peri_request_at(request, request->target) + request->target.len;
    peri_buf_add(value, query, (size_t) (end - query));
}

/* The header that goes with the refusal: its name, or NULL; the value is appended. */
static const char *add_header(struct peri_buf *value, struct peri_exchange *exchange)
{
    switch (exchange->refusal) {
    case 204:
    case 405:
        add_allow(value, exchange->match.methods);
        return "allow";
    case 307:
        add_location(value, &exchange->request);
        return "location";
    default:
        return NULL;
    }
}

static bool has_detail(unsigned status)
{
    return status != 307 && status != 204;
}

void peri_refusal_push(lua_State *L, struct peri_exchange *exchange)
{
    unsigned status = exchange->refusal;
    struct peri_buf value = {0};
    const char *name = add_header(&value, exchange);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    lua_createtable(L, 1, 0);
    if (name != NULL) {
        lua_createtable(L, 2, 0);
        lua_pushstring(L, name);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, value.data, value.len);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, 1);
    }
    lua_setfield(L, -2, "headers");
    peri_buf_deinit(&value);
    if (has_detail(status)) {
        lua_createtable(L, 0, 1);
        lua_pushstring(L, peri_status_text(status));
        lua_setfield(L, -2, "detail");
        lua_setfield(L, -2, "json");
    }
    peri_response_mark(L);
}

void peri_refusal_send(struct peri_exchange *exchange)
{
    unsigned status = exchange->refusal;
    struct peri_buf value = {0};
    struct peri_buf lines = {0};
    const char *name = add_header(&value, exchange);
    if (name != NULL)
        peri_buf_addf(&lines, "%s: %.*s\r\n", name, (int) value.len, value.data);
    peri_buf_add_byte(&lines, '\0');
    if (has_detail(status))
        peri_answer_detail(exchange, status, lines.data);
    else
        peri_answer_send(NULL, exchange,
                         &(struct peri_answer){.status = status, .lines = lines.data});
    peri_buf_deinit(&value);
    peri_buf_deinit(&lines);
}
