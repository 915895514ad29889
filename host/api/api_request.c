/* The request object a handler sees: a box around the exchange whose fields are made on demand and
 * then kept. Once the exchange has ended the box is empty and every use of it raises. */
#include "api.h"

#include "answer.h"
#include "bytes.h"
#include "exchange.h"
#include "json_lua.h"
#include "loop.h"
#include "url.h"
#include "vm.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <stdlib.h>

static const char REQUEST_TYPE[] = "perigee.Request";
static const char HEADERS_TYPE[] = "perigee.Headers";
static const char STREAM_TYPE[] = "perigee.Answer";

static struct peri_exchange *exchange_of(lua_State *L, const char *type)
{
    struct peri_request_box *box = luaL_checkudata(L, 1, type);
    if (box->exchange == NULL)
        luaL_error(L, "this request has ended: copy what is needed later while it is handled");
    return box->exchange;
}

/* --- fields ------------------------------------------------------------------------------------
 */

static void push_span(lua_State *L, const struct peri_request *request, struct peri_span span)
{
    lua_pushlstring(L, peri_request_at(request, span), span.len);
}

static void push_method(lua_State *L, struct peri_exchange *exchange)
{
    size_t len = 0;
    const char *method = peri_request_method(&exchange->request, &len);
    lua_pushlstring(L, method, len);
}

static void push_path(lua_State *L, struct peri_exchange *exchange)
{
    if (exchange->path.len > 0)
        lua_pushlstring(L, exchange->path.data, exchange->path.len);
    else
        push_span(L, &exchange->request, exchange->request.path);
}

static void push_target(lua_State *L, struct peri_exchange *exchange)
{
    push_span(L, &exchange->request, exchange->request.target);
}

static void push_params(lua_State *L, struct peri_exchange *exchange)
{
    lua_createtable(L, 0, (int) exchange->match.param_count);
    for (unsigned i = 0; i < exchange->match.param_count; i++) {
        const struct peri_param *param = &exchange->match.params[i];
        lua_pushstring(L, param->name);
        lua_pushlstring(L, param->value, param->len);
        lua_rawset(L, -3);
    }
}

/* Calls `each` for every name and value of a source, in order. The scratch buffer is the loop's. */
enum source { QUERY, HEADERS, COOKIES };

typedef void each_fn(lua_State *L, void *context, const struct peri_field *field);

static void each_query(lua_State *L, struct peri_exchange *exchange, each_fn *each, void *context)
{
    struct peri_buf *scratch = &exchange->scratch->text;
    const char *text = peri_request_at(&exchange->request, exchange->request.query);
    size_t len = exchange->request.query.len;
    size_t name_len = 0;
    size_t value_len = 0;
    scratch->len = 0;
    while (peri_url_next_pair(&text, &len, scratch, &name_len, &value_len)) {
        struct peri_field field = {.name = scratch->data,
                                   .name_len = name_len,
                                   .value = scratch->data + name_len,
                                   .value_len = value_len};
        each(L, context, &field);
        scratch->len = 0;
    }
}

static void each_header(lua_State *L, struct peri_exchange *exchange, each_fn *each, void *context)
{
    struct peri_buf *scratch = &exchange->scratch->text;
    const struct peri_request *request = &exchange->request;
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct peri_header *header = &request->headers[i];
        const char *name = peri_request_at(request, header->name);
        scratch->len = 0;
        char *lower = peri_buf_reserve(scratch, header->name.len + header->value.len * 2);
        for (uint32_t k = 0; k < header->name.len; k++)
            lower[k] = (char) (name[k] >= 'A' && name[k] <= 'Z' ? name[k] | 32 : name[k]);
        scratch->len = header->name.len;
        peri_latin1_decode(scratch, peri_request_at(request, header->value), header->value.len);
        struct peri_field field = {.name = scratch->data,
                                   .name_len = header->name.len,
                                   .value = scratch->data + header->name.len,
                                   .value_len = scratch->len - header->name.len};
        each(L, context, &field);
    }
}

static void each_cookie(lua_State *L, struct peri_exchange *exchange, each_fn *each, void *context)
{
    struct peri_buf *scratch = &exchange->scratch->text;
    const struct peri_request *request = &exchange->request;
    int at = -1;
    while ((at = peri_request_find(request, at + 1, "cookie", 6)) >= 0) {
        scratch->len = 0;
        peri_latin1_decode(scratch, peri_request_at(request, request->headers[at].value),
                           request->headers[at].value.len);
        const char *text = scratch->data;
        size_t len = scratch->len;
        struct peri_field field;
        while (peri_cookie_next(&text, &len, &field)) {
            struct peri_buf plain = {0};
            if (field.value_len > 0 && field.value[-1] == '"') {
                peri_cookie_unquote(&plain, field.value, field.value_len);
                field.value = plain.data;
                field.value_len = plain.len;
            }
            each(L, context, &field);
            peri_buf_deinit(&plain);
        }
    }
}

static void each_of(lua_State *L, struct peri_exchange *exchange, enum source source, each_fn *each,
                    void *context)
{
    switch (source) {
    case QUERY:
        each_query(L, exchange, each, context);
        break;
    case HEADERS:
        each_header(L, exchange, each, context);
        break;
    case COOKIES:
        each_cookie(L, exchange, each, context);
        break;
    }
}

/* The last value of a name counts. */
static void set_last(lua_State *L, void *context, const struct peri_field *field)
{
    (void) context;
    lua_pushlstring(L, field->name, field->name_len);
    lua_pushlstring(L, field->value, field->value_len);
    lua_rawset(L, -3);
}

/* Values of one name are one list, RFC 9110, 5.3. */
static void set_joined(lua_State *L, void *context, const struct peri_field *field)
{
    (void) context;
    lua_pushlstring(L, field->name, field->name_len);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TSTRING) {
        bool cookie = field->name_len == 6 && memcmp(field->name, "cookie", 6) == 0;
        lua_pushstring(L, cookie ? "; " : ", ");
        lua_pushlstring(L, field->value, field->value_len);
        lua_concat(L, 3);
    } else {
        lua_pop(L, 1);
        lua_pushlstring(L, field->value, field->value_len);
    }
    lua_rawset(L, -3);
}

static void push_query(lua_State *L, struct peri_exchange *exchange)
{
    lua_createtable(L, 0, 4);
    each_query(L, exchange, set_last, NULL);
}

/* Names are kept in lower case; looking one up with capitals or with `_` for `-` finds it too. */
static int headers_index(lua_State *L)
{
    size_t len = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tolstring(L, 2, &len);
    luaL_Buffer folded;
    char *to = luaL_buffinitsize(L, &folded, len);
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        to[i] = (char) (c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c | 32 : c);
    }
    luaL_pushresultsize(&folded, len);
    lua_rawget(L, 1);
    return 1;
}

void peri_headers_mark(lua_State *L)
{
    if (luaL_newmetatable(L, HEADERS_TYPE)) {
        lua_pushcfunction(L, headers_index);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
}

bool peri_is_headers(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, HEADERS_TYPE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static void push_headers(lua_State *L, struct peri_exchange *exchange)
{
    lua_createtable(L, 0, exchange->request.header_count);
    each_header(L, exchange, set_joined, NULL);
    peri_headers_mark(L);
}

static void push_cookies(lua_State *L, struct peri_exchange *exchange)
{
    lua_createtable(L, 0, 4);
    each_cookie(L, exchange, set_last, NULL);
}

static void push_client(lua_State *L, struct peri_exchange *exchange)
{
    char text[INET6_ADDRSTRLEN];
    struct peri_origin origin = peri_exchange_origin(exchange);
    int port = peri_address_format(&origin.client, text);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, text);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, port);
    lua_setfield(L, -2, "port");
}

static void push_scheme(lua_State *L, struct peri_exchange *exchange)
{
    lua_pushstring(L, peri_exchange_origin(exchange).https ? "https" : "http");
}

static void push_id(lua_State *L, struct peri_exchange *exchange)
{
    char id[PERI_REQUEST_ID];
    peri_exchange_id(exchange, id);
    lua_pushstring(L, id);
}

static const char
    shared_state_key; /* in the registry: { __index = what all requests begin with } */

int peri_request_set_state(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_createtable(L, 0, 1);
    lua_insert(L, 1);
    lua_setfield(L, 1, "__index");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shared_state_key);
    return 0;
}

static void push_state(lua_State *L, struct peri_exchange *exchange)
{
    (void) exchange;
    lua_newtable(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shared_state_key) == LUA_TTABLE)
        lua_setmetatable(L, -2);
    else
        lua_pop(L, 1);
}

/* What is filled in beside a plain result: made by the framework (response.lua). */
static void push_response(lua_State *L, struct peri_exchange *exchange)
{
    (void) exchange;
    peri_response_call(L, "pending", 0, 1);
}

typedef void push_fn(lua_State *L, struct peri_exchange *exchange);

static void push_body_method(lua_State *L, struct peri_exchange *exchange);

enum field {
    PARAMS_FIELD,
    QUERY_FIELD,
    HEADERS_FIELD,
    COOKIES_FIELD,
    BODY_FIELD,
    FORM_FIELD,
    FILES_FIELD,
    DEPS_FIELD,
    METHOD_FIELD,
    PATH_FIELD,
    RESPONSE_FIELD,
    TARGET_FIELD,
    CLIENT_FIELD,
    ID_FIELD,
    STATE_FIELD,
    SCHEME_FIELD,
    FIELD_COUNT,
};

#define NAME(literal) .name = (literal), .name_len = sizeof(literal) - 1

/* What a request has. Those without a function are there once they are declared or assigned. */
static const struct {
    const char *name;
    size_t name_len;
    push_fn *push;
} fields[FIELD_COUNT] = {
    [PARAMS_FIELD] = {NAME("params"), push_params},
    [QUERY_FIELD] = {NAME("query"), push_query},
    [HEADERS_FIELD] = {NAME("headers"), push_headers},
    [COOKIES_FIELD] = {NAME("cookies"), push_cookies},
    [BODY_FIELD] = {NAME("body"), push_body_method},
    [FORM_FIELD] = {NAME("form"), NULL},
    [FILES_FIELD] = {NAME("files"), NULL},
    [DEPS_FIELD] = {NAME("deps"), NULL},
    [METHOD_FIELD] = {NAME("method"), push_method},
    [PATH_FIELD] = {NAME("path"), push_path},
    [RESPONSE_FIELD] = {NAME("response"), push_response},
    [TARGET_FIELD] = {NAME("target"), push_target},
    [CLIENT_FIELD] = {NAME("client"), push_client},
    [ID_FIELD] = {NAME("id"), push_id},
    [STATE_FIELD] = {NAME("state"), push_state},
    [SCHEME_FIELD] = {NAME("scheme"), push_scheme},
};

/* A perfect hash of their names: the compiler would warn of two in one place. */
#define PLACE(first, len) (((unsigned char) (first) + 2 * (len)) % 32)

static const uint8_t places[32] = {
    [PLACE('p', 6)] = PARAMS_FIELD,   [PLACE('q', 5)] = QUERY_FIELD,
    [PLACE('h', 7)] = HEADERS_FIELD,  [PLACE('c', 7)] = COOKIES_FIELD,
    [PLACE('b', 4)] = BODY_FIELD,     [PLACE('f', 4)] = FORM_FIELD,
    [PLACE('f', 5)] = FILES_FIELD,    [PLACE('d', 4)] = DEPS_FIELD,
    [PLACE('m', 6)] = METHOD_FIELD,   [PLACE('p', 4)] = PATH_FIELD,
    [PLACE('r', 8)] = RESPONSE_FIELD, [PLACE('t', 6)] = TARGET_FIELD,
    [PLACE('c', 6)] = CLIENT_FIELD,   [PLACE('i', 2)] = ID_FIELD,
    [PLACE('s', 5)] = STATE_FIELD,    [PLACE('s', 6)] = SCHEME_FIELD,
};

/* The field of that name, or FIELD_COUNT. Cheaper than a look-up in a table of Lua, for every
 * access to a request comes here. `name` ends with a NUL. */
static inline enum field find_field(const char *name, size_t len)
{
    enum field field = places[PLACE(name[0], len)];
    if (fields[field].name_len != len || !peri_bytes_equal(fields[field].name, name, len))
        return FIELD_COUNT;
    return field;
}

/* The same for a key of any type. */
static enum field field_at(lua_State *L, int index)
{
    size_t len = 0;
    if (lua_type(L, index) != LUA_TSTRING)
        return FIELD_COUNT;
    const char *name = lua_tolstring(L, index, &len);
    return find_field(name, len);
}

/* --- methods -----------------------------------------------------------------------------------
 */

static int push_body(lua_State *L, struct peri_op *op)
{
    struct peri_exchange *exchange = peri_exchange_of_op(L, op);
    lua_pushlstring(L, exchange->body_at, exchange->body_len);
    return 1;
}

/* Raises unless the body can be read as a whole. */
static void claim_whole(lua_State *L, struct peri_exchange *exchange)
{
    if (exchange->body_mode == PERI_BODY_CHUNKS)
        luaL_error(L, "the body is being read with req:chunks() already");
    peri_body_claim(exchange, PERI_BODY_WHOLE);
}

static int request_body(lua_State *L)
{
    struct peri_exchange *exchange = exchange_of(L, REQUEST_TYPE);
    claim_whole(L, exchange);
    if (!peri_body_is_ready(exchange))
        return peri_body_await(L, exchange, push_body);
    lua_pushlstring(L, exchange->body_at, exchange->body_len);
    return 1;
}

static void push_body_method(lua_State *L, struct peri_exchange *exchange)
{
    (void) exchange;
    lua_pushcfunction(L, request_body);
}

/* Raises what FastAPI answers to a declared body that is no JSON: the 422, an error of validation,
 * or the 400 for one that is no text. */
static int raise_no_json(lua_State *L, const struct peri_json_error *error)
{
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, error->unreadable ? 400 : 422);
    lua_setfield(L, -2, "status");
    if (error->unreadable) {
        lua_pushliteral(L, "There was an error parsing the body");
        lua_setfield(L, -2, "detail");
        luaL_getmetatable(L, "perigee.HttpError");
    } else {
        struct peri_buf body = {0};
        peri_buf_addf(&body, "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",%llu],",
                      (unsigned long long) error->character);
        peri_buf_add_lit(&body, "\"msg\":\"JSON decode error\",\"input\":{},\"ctx\":{\"error\":");
        peri_json_add_string(&body, error->message, strlen(error->message));
        peri_buf_add_lit(&body, "}}]}");
        lua_pushlstring(L, body.data, body.len);
        peri_buf_deinit(&body);
        lua_setfield(L, -2, "body");
        luaL_getmetatable(L, "perigee.ValidationError");
    }
    lua_setmetatable(L, -2);
    return lua_error(L);
}

/* A document that the collector frees when pushing its values raises. */
static int doc_gc(lua_State *L)
{
    peri_json_doc_deinit(lua_touserdata(L, 1));
    return 0;
}

static int push_json_of(lua_State *L, struct peri_exchange *exchange)
{
    struct peri_json_doc *doc = lua_newuserdatauv(L, sizeof(*doc), 0);
    memset(doc, 0, sizeof(*doc));
    if (luaL_newmetatable(L, "perigee.JsonDoc")) {
        lua_pushcfunction(L, doc_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    struct peri_json_error error;
    unsigned depth = (unsigned) exchange->vm->app.limits.max_json_depth;
    if (peri_json_parse(doc, exchange->body_at, exchange->body_len, depth, 0, &error) != 0)
        return raise_no_json(L, &error);
    peri_json_push_node(L, &doc->nodes[0]);
    peri_json_doc_deinit(doc);
    return 1;
}

static int push_json(lua_State *L, struct peri_op *op)
{
    return push_json_of(L, peri_exchange_of_op(L, op));
}

static int request_json(lua_State *L)
{
    struct peri_exchange *exchange = exchange_of(L, REQUEST_TYPE);
    claim_whole(L, exchange);
    if (!peri_body_is_ready(exchange))
        return peri_body_await(L, exchange, push_json);
    return push_json_of(L, exchange);
}

/* Takes what has arrived; nil at the end. */
static int take_chunk(lua_State *L, struct peri_exchange *exchange)
{
    if (exchange->body_len == 0)
        return 0;
    lua_pushlstring(L, exchange->body_at, exchange->body_len);
    peri_body_drop(exchange);
    return 1;
}

static int push_chunk(lua_State *L, struct peri_op *op)
{
    return take_chunk(L, peri_exchange_of_op(L, op));
}

static int next_chunk(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct peri_exchange *exchange = exchange_of(L, REQUEST_TYPE);
    if (!peri_body_is_ready(exchange))
        return peri_body_await(L, exchange, push_chunk);
    return take_chunk(L, exchange);
}

static int request_chunks(lua_State *L)
{
    struct peri_exchange *exchange = exchange_of(L, REQUEST_TYPE);
    if (exchange->body_mode != PERI_BODY_UNCLAIMED)
        return luaL_error(L, "the body has been read already");
    peri_body_claim(exchange, PERI_BODY_CHUNKS);
    lua_settop(L, 1);
    lua_pushcclosure(L, next_chunk, 1);
    return 1;
}

struct wanted {
    const char *name;
    size_t len;
    bool in_any_case;
    lua_Integer count;
};

static bool is_wanted(const struct wanted *wanted, const struct peri_field *field)
{
    if (field->name_len != wanted->len)
        return false;
    return wanted->in_any_case ? strncasecmp(field->name, wanted->name, wanted->len) == 0
                               : memcmp(field->name, wanted->name, wanted->len) == 0;
}

static void add_wanted(lua_State *L, void *context, const struct peri_field *field)
{
    struct wanted *wanted = context;
    if (!is_wanted(wanted, field))
        return;
    lua_pushlstring(L, field->value, field->value_len);
    lua_rawseti(L, -2, ++wanted->count);
}

/* req:all("query", "tag"): every value of a repeated name, in order. */
static int request_all(lua_State *L)
{
    static const char *const sources[] = {"query", "headers", "cookies", NULL};
    struct peri_exchange *exchange = exchange_of(L, REQUEST_TYPE);
    enum source source = (enum source) luaL_checkoption(L, 2, NULL, sources);
    struct wanted wanted = {.in_any_case = source == HEADERS};
    wanted.name = luaL_checklstring(L, 3, &wanted.len);
    lua_newtable(L);
    each_of(L, exchange, source, add_wanted, &wanted);
    return 1;
}

/* req:after(fn, ...): runs a function once the answer has been sent. */
static int request_after(lua_State *L)
{
    exchange_of(L, REQUEST_TYPE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_getfield(L, 1, "response");
    lua_getfield(L, -1, "after");
    lua_insert(L, 2);
    lua_insert(L, 3);
    lua_call(L, lua_gettop(L) - 2, 0);
    return 0;
}

/* req:early_hints(headers): sends them before the answer; whether there was anybody to read them.
 */
static int request_early_hints(lua_State *L)
{
    struct peri_exchange *exchange = exchange_of(L, REQUEST_TYPE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    peri_response_call(L, "header_list", 1, 1);
    int sent = peri_answer_early_hints(L, exchange, 2);
    if (sent < 0)
        return luaL_error(L, "req:early_hints: %s", lua_tostring(L, -1));
    lua_pushboolean(L, sent);
    return 1;
}

static const luaL_Reg methods[] = {
    {"after", request_after},
    {"all", request_all},
    {"body", request_body},
    {"chunks", request_chunks},
    {"early_hints", request_early_hints},
    {"json", request_json},
    {NULL, NULL},
};

/* --- the object --------------------------------------------------------------------------------
 */

/* User value 1 is a table of what was assigned under other names, nil until there is some; field i
 * is kept in user value 2 + i. Upvalue 1 of `__index` are the methods; what is kept comes before
 * them, so an assigned value hides a method. */
enum { OTHERS = 1, FIRST_FIELD = 2 };

static const char absent;      /* its address is kept for a declared value that was not sent */
static const char request_tag; /* its address tells the box of a request from any other */

/* The exchange of the request at index 1. This is the way of every access: what luaL_checkudata()
 * finds out by name is told by the tag. */
static struct peri_exchange *exchange_of_request(lua_State *L)
{
    struct peri_request_box *box = lua_touserdata(L, 1);
    if (box == NULL || lua_rawlen(L, 1) != sizeof(*box) || box->tag != &request_tag ||
        box->exchange == NULL)
        return exchange_of(L, REQUEST_TYPE); /* raises */
    return box->exchange;
}

static int index_other(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_getiuservalue(L, 1, OTHERS) == LUA_TTABLE) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, -2) != LUA_TNIL)
            return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1; /* a method, or nil */
}

/* Keeps the value on top of the stack, which is popped. */
static void set_field(lua_State *L, int request, enum field field)
{
    if (field == RESPONSE_FIELD)
        ((struct peri_request_box *) lua_touserdata(L, request))->responds = true;
    lua_setiuservalue(L, request, FIRST_FIELD + (int) field);
}

static int request_index(lua_State *L)
{
    struct peri_exchange *exchange = exchange_of_request(L);
    enum field field = field_at(L, 2);
    if (field == FIELD_COUNT)
        return index_other(L);
    int kept = lua_getiuservalue(L, 1, FIRST_FIELD + (int) field);
    if (kept == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == (void *) &absent)
        return 0;
    if (kept != LUA_TNIL)
        return 1;
    if (fields[field].push == NULL)
        return 1; /* not declared: nil */
    fields[field].push(L, exchange);
    lua_pushvalue(L, -1);
    set_field(L, 1, field);
    return 1;
}

/* Takes the value from the stack. */
static void keep_field(lua_State *L, int request, enum field field)
{
    if (lua_isnil(L, -1)) { /* declared and not sent: nil, and not what it is undeclared */
        lua_pop(L, 1);
        lua_pushlightuserdata(L, (void *) &absent);
    }
    set_field(L, request, field);
}

/* Takes key and value from the stack. */
static void keep_other(lua_State *L, int request)
{
    if (lua_getiuservalue(L, request, OTHERS) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 4);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, request, OTHERS);
    }
    lua_insert(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

void peri_request_keep(lua_State *L, int request, const char *name, size_t len)
{
    enum field field = find_field(name, len);
    if (field != FIELD_COUNT) {
        keep_field(L, request, field);
        return;
    }
    lua_pushlstring(L, name, len);
    lua_insert(L, -2);
    keep_other(L, request);
}

static int request_newindex(lua_State *L)
{
    exchange_of_request(L);
    lua_settop(L, 3);
    enum field field = field_at(L, 2);
    if (field == FIELD_COUNT) {
        keep_other(L, 1);
        return 0;
    }
    struct peri_request_box *box = lua_touserdata(L, 1);
    box->assigned |= UINT32_C(1) << field;
    keep_field(L, 1, field);
    return 0;
}

/* The inputs of dependencies are kept under names such as "1.query". */
static bool is_group_name(lua_State *L, int index)
{
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    size_t digits = strspn(name, "0123456789");
    return digits > 0 && name[digits] == '.';
}

/* Replaces the table on top by one with its own members: what all requests begin with stands behind
 * a metatable, and each VM has its own. */
static void replace_by_members(lua_State *L)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

void peri_request_push_assigned(lua_State *L, int index)
{
    const struct peri_request_box *box = luaL_checkudata(L, index, REQUEST_TYPE);
    index = lua_absindex(L, index);
    lua_createtable(L, 0, 4);
    for (int i = 0; i < FIELD_COUNT; i++) {
        bool counts = (box->assigned >> i & 1) && i != RESPONSE_FIELD && i != DEPS_FIELD;
        if (!counts && i != STATE_FIELD)
            continue;
        lua_getiuservalue(L, index, FIRST_FIELD + i);
        if (i == STATE_FIELD && lua_istable(L, -1))
            replace_by_members(L);
        lua_setfield(L, -2, fields[i].name);
    }
    if (lua_getiuservalue(L, index, OTHERS) == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, -2) != 0) {
            if (is_group_name(L, -2)) {
                lua_pop(L, 1);
                continue;
            }
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -5);
        }
    }
    lua_pop(L, 1);
}

bool peri_request_take_response(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA)
        return false;
    index = lua_absindex(L, index);
    if (lua_getiuservalue(L, index, FIRST_FIELD + RESPONSE_FIELD) == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushnil(L);
    lua_setiuservalue(L, index, FIRST_FIELD + RESPONSE_FIELD);
    return true;
}

struct peri_exchange *peri_request_exchange(lua_State *L, int index)
{
    struct peri_request_box *box = luaL_testudata(L, index, REQUEST_TYPE);
    return box != NULL ? box->exchange : NULL;
}

static void new_request_metatable(lua_State *L)
{
    luaL_newmetatable(L, REQUEST_TYPE);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, request_newindex);
    lua_setfield(L, -2, "__newindex");
}

struct peri_request_box *peri_request_push(lua_State *L, struct peri_exchange *exchange)
{
    struct peri_request_box *box =
        lua_newuserdatauv(L, sizeof(*box), FIRST_FIELD - 1 + FIELD_COUNT);
    *box = (struct peri_request_box){.exchange = exchange, .tag = &request_tag};
    struct peri_vm *vm = peri_vm_of(L);
    if (vm->request_metatable == 0) {
        new_request_metatable(L);
        vm->request_metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->request_metatable);
    lua_setmetatable(L, -2);
    return box;
}

/* --- the `out` of a streamed answer ------------------------------------------------------------
 */

int peri_out_send(lua_State *L, int index, const char *bytes, size_t len)
{
    struct peri_request_box *box = luaL_checkudata(L, index, STREAM_TYPE);
    struct peri_exchange *exchange = box->exchange;
    if (exchange == NULL)
        return luaL_error(L, "this request has ended");
    lua_getiuservalue(L, index, 1);
    if (!peri_answer_stream_write(L, exchange, lua_gettop(L), bytes, len)) {
        struct peri_task *task = peri_task_current(L);
        if (peri_task_cancelled(task) != NULL)
            return peri_task_raise_cancelled(L, task);
        return luaL_error(L, "the client closed the connection");
    }
    if (exchange->conn != NULL && peri_conn_is_full(exchange->conn))
        return peri_exchange_await_drain(L, exchange);
    return 0;
}

static int stream_write(lua_State *L)
{
    exchange_of(L, STREAM_TYPE);
    size_t len = 0;
    const char *bytes = luaL_checklstring(L, 2, &len);
    return peri_out_send(L, 1, bytes, len);
}

/* out:keep_alive(ms): see peri_answer_keep_alive(). */
static int stream_keep_alive(lua_State *L)
{
    struct peri_exchange *exchange = exchange_of(L, STREAM_TYPE);
    lua_Integer ms = luaL_checkinteger(L, 2);
    luaL_argcheck(L, ms >= 0 && ms <= UINT32_MAX, 2, "milliseconds, 0 or more, expected");
    peri_answer_keep_alive(exchange, (uint32_t) ms);
    return 0;
}

/* out:method(): of the request */
static int stream_method(lua_State *L)
{
    push_method(L, exchange_of(L, STREAM_TYPE));
    return 1;
}

struct peri_request_box *peri_stream_push(lua_State *L, struct peri_exchange *exchange,
                                          int response)
{
    response = lua_absindex(L, response);
    struct peri_request_box *box = lua_newuserdatauv(L, sizeof(*box), 1);
    *box = (struct peri_request_box){.exchange = exchange};
    lua_pushvalue(L, response);
    lua_setiuservalue(L, -2, 1);
    if (luaL_newmetatable(L, STREAM_TYPE)) {
        lua_createtable(L, 0, 3);
        lua_pushcfunction(L, stream_write);
        lua_setfield(L, -2, "write");
        lua_pushcfunction(L, stream_keep_alive);
        lua_setfield(L, -2, "keep_alive");
        lua_pushcfunction(L, stream_method);
        lua_setfield(L, -2, "method");
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return box;
}
