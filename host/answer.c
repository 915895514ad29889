#include "answer.h"

#include "api/api.h"
#include "develop.h"
#include "exchange.h"
#include "hop.h"
#include "json_lua.h"
#include "loop.h"

#include <lauxlib.h>
#include <stdio.h>
#include <strings.h>

#define SCRATCH_KEPT 262144     /* memory the loop's scratch buffer keeps between answers */
#define STREAM_COPY_LIMIT 16384 /* a longer piece is written from where it is */

static const char JSON_TYPE[] = "application/json";
static const char PROBLEM_TYPE[] = "application/problem+json";
static const char TEXT_TYPE[] = "text/plain; charset=utf-8";

/* Headers that the server writes itself. Two opinions on where an answer ends are how responses get
 * split. */
static bool is_ours(const char *name, size_t len)
{
    return (len == 14 && strncasecmp(name, "content-length", len) == 0) ||
           (len == 17 && strncasecmp(name, "transfer-encoding", len) == 0) ||
           (len == 10 && strncasecmp(name, "connection", len) == 0) ||
           (len == 4 && strncasecmp(name, "date", len) == 0);
}

/* Nobody is there to be answered. */
static bool is_gone(const struct peri_exchange *exchange)
{
    return exchange->conn == NULL && exchange->site == NULL;
}

static bool is_content_type(const char *name, size_t len)
{
    return len == 12 && strncasecmp(name, "content-type", len) == 0;
}

/* Appends the pairs of the array at `index` as header lines. Returns 0, or -1 with a message
 * pushed; `out` is as before then. */
int peri_answer_add_headers(lua_State *L, int index, struct peri_buf *out)
{
    size_t before = out->len;
    lua_Unsigned count = lua_rawlen(L, index);
    for (lua_Unsigned i = 1; i <= count; i++) {
        lua_rawgeti(L, index, (lua_Integer) i);
        if (!lua_istable(L, -1)) {
            lua_pushfstring(L, "headers[%d] is no {name, value} pair", (int) i);
            goto fail;
        }
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        if (!lua_isstring(L, -1) || lua_type(L, -2) != LUA_TSTRING) {
            lua_pushfstring(L, "headers[%d]: name and value must be strings", (int) i);
            goto fail;
        }
        size_t name_len = 0;
        size_t value_len = 0;
        const char *name = lua_tolstring(L, -2, &name_len);
        const char *value = lua_tolstring(L, -1, &value_len);
        if (!peri_header_name_is_sound(name, name_len) ||
            !peri_header_value_is_sound(value, value_len)) {
            lua_pushfstring(L,
                            "header '%s': its %s has a character that HTTP does not allow (line "
                            "ends and other control characters never reach the client)",
                            name, peri_header_name_is_sound(name, name_len) ? "value" : "name");
            goto fail;
        }
        if (is_ours(name, name_len)) {
            lua_pushfstring(L, "header '%s' is written by the server; leave it out", name);
            goto fail;
        }
        if (!is_content_type(name, name_len)) { /* it stands in the head already */
            peri_buf_add(out, name, name_len);
            peri_buf_add_lit(out, ": ");
            peri_buf_add(out, value, value_len);
            peri_buf_add_lit(out, "\r\n");
        }
        lua_pop(L, 3);
    }
    return 0;

fail:
    out->len = before;
    return -1;
}

/* What the head says about the connection; decides whether it lives on. */
static void add_connection(struct peri_exchange *exchange, struct peri_buf *out)
{
    /* A client that still waits for 100 Continue may send the body or not: nobody can tell. */
    bool body_unclear = !exchange->complete && !exchange->said_continue &&
                        (exchange->request.flags & PERI_REQUEST_EXPECTS_100) != 0 &&
                        exchange->body_total == 0;
    if (body_unclear || exchange->loop->stopping)
        exchange->keep_alive = false;
    if (!exchange->keep_alive)
        peri_buf_add_lit(out, "connection: close\r\n");
    else if (exchange->request.flags & PERI_REQUEST_HTTP_1_0)
        peri_buf_add_lit(out, "connection: keep-alive\r\n");
}

/* Names the request, where the app wants that and has not done so among the headers behind `from`
 * itself. */
static void add_request_id(struct peri_exchange *exchange, struct peri_buf *out, size_t from)
{
    static const char line[] = "\r\nx-request-id: ";
    size_t len = sizeof(line) - 3; /* without the blank */
    if (!exchange->vm->app.request_id)
        return;
    for (size_t at = from; at + len <= out->len; at++) {
        if (out->data[at] == '\r' && strncasecmp(out->data + at, line, len) == 0)
            return;
    }
    char id[PERI_REQUEST_ID];
    peri_exchange_id(exchange, id);
    peri_buf_add(out, line + 2, sizeof(line) - 3);
    peri_buf_add_str(out, id);
    peri_buf_add_lit(out, "\r\n");
}

static int send_answer(lua_State *L, struct peri_exchange *exchange,
                       const struct peri_answer *answer)
{
    struct peri_conn *conn = exchange->conn;
    if (exchange->status != 0)
        return 0;
    if (exchange->site != NULL)
        return peri_hop_answer(L, exchange, answer);
    if (conn == NULL)
        return 0;
    bool bodyless = peri_status_has_no_body(answer->status);
    size_t body_len = answer->status == 205 ? 0 : answer->body_len; /* RFC 9110, 15.3.6 */
    struct peri_buf *out = peri_conn_out(conn);
    size_t before = out->len;
    peri_head_begin(&exchange->loop->heads, uv_now(&exchange->loop->uv), out, answer->status,
                    answer->type, answer->type_len);
    if (!bodyless) {
        peri_buf_add_lit(out, "content-length: ");
        peri_buf_add_int(out, (int64_t) body_len);
        peri_buf_add_lit(out, "\r\n");
    }
    if (answer->headers != 0 && peri_answer_add_headers(L, answer->headers, out) != 0) {
        out->len = before;
        return -1;
    }
    if (answer->lines != NULL)
        peri_buf_add_str(out, answer->lines);
    add_request_id(exchange, out, before);
    add_connection(exchange, out);
    peri_buf_add_lit(out, "\r\n");

    exchange->status = (uint16_t) answer->status;
    exchange->answered = true;
    exchange->body_mode = PERI_BODY_DROPPED;
    bool silent = bodyless || exchange->request.method == HTTP_HEAD;
    exchange->sent = silent ? 0 : body_len;
    peri_conn_send(conn, answer->body, silent ? 0 : body_len);
    return 0;
}

int peri_answer_early_hints(lua_State *L, struct peri_exchange *exchange, int headers)
{
    struct peri_conn *conn = exchange->conn;
    bool understood = !(exchange->request.flags & PERI_REQUEST_HTTP_1_0);
    if (conn == NULL || exchange->status != 0 || !understood)
        return 0;
    struct peri_buf *out = peri_conn_out(conn);
    size_t before = out->len;
    peri_buf_add_lit(out, "HTTP/1.1 103 Early Hints\r\n");
    if (peri_answer_add_headers(L, headers, out) != 0) {
        out->len = before;
        return -1;
    }
    peri_buf_add_lit(out, "\r\n");
    peri_conn_send(conn, NULL, 0);
    return 1;
}

/* How the app wants its errors to look. */
static struct peri_error_style error_style(const struct peri_exchange *exchange)
{
    return exchange->operation != NULL ? exchange->operation->errors : exchange->vm->app.errors;
}

/* The members that all problem details have, without the closing brace (answers.lua has the same
 * for what Lua answers). */
static void begin_problem(struct peri_buf *body, unsigned status, const char *detail)
{
    const char *title = peri_status_text(status);
    peri_buf_add_lit(body, "{\"type\":\"about:blank\",\"title\":");
    peri_json_add_string(body, title, strlen(title));
    peri_buf_addf(body, ",\"status\":%u", status);
    if (strcmp(detail, title) == 0)
        return;
    peri_buf_add_lit(body, ",\"detail\":");
    peri_json_add_string(body, detail, strlen(detail));
}

int peri_answer_send(lua_State *L, struct peri_exchange *exchange, const struct peri_answer *answer)
{
    if (exchange->site != NULL || !exchange->loop->config->dev)
        return send_answer(L, exchange, answer);
    struct peri_buf page = {0};
    struct peri_answer dressed = *answer;
    peri_develop_dress(L, exchange, &dressed, &page);
    int rc = send_answer(L, exchange, &dressed);
    peri_buf_deinit(&page);
    return rc;
}

static void send_detail(struct peri_exchange *exchange, unsigned status, const char *detail,
                        const char *lines)
{
    struct peri_buf body = {0};
    struct peri_answer answer = {
        .status = status, .type = JSON_TYPE, .type_len = sizeof(JSON_TYPE) - 1, .lines = lines};
    if (error_style(exchange).problem) {
        answer.type = PROBLEM_TYPE;
        answer.type_len = sizeof(PROBLEM_TYPE) - 1;
        begin_problem(&body, status, detail);
    } else {
        peri_buf_add_lit(&body, "{\"detail\":");
        peri_json_add_string(&body, detail, strlen(detail));
    }
    peri_buf_add_byte(&body, '}');
    answer.body = body.data;
    answer.body_len = body.len;
    peri_answer_send(NULL, exchange, &answer);
    peri_buf_deinit(&body);
}

void peri_answer_detail(struct peri_exchange *exchange, unsigned status, const char *lines)
{
    send_detail(exchange, status, peri_status_text(status), lines);
}

void peri_answer_text_detail(struct peri_exchange *exchange, unsigned status, const char *detail)
{
    send_detail(exchange, status, detail, NULL);
}

void peri_answer_fail(struct peri_exchange *exchange)
{
    static const char text[] = "Internal Server Error";
    if (is_gone(exchange) || exchange->answered)
        return;
    if (exchange->status != 0) {
        exchange->failed = true;
        return;
    }
    if (error_style(exchange).problem) {
        peri_answer_detail(exchange, 500, NULL);
        return;
    }
    peri_answer_send(NULL, exchange,
                     &(struct peri_answer){.status = 500,
                                           .type = TEXT_TYPE,
                                           .type_len = sizeof(TEXT_TYPE) - 1,
                                           .body = text,
                                           .body_len = sizeof(text) - 1});
}

/* An answer that the app described cannot be sent, for the reason on top: 500, or an error where
 * the loop wanted the result of a thread. */
static void fail_to_send(lua_State *L, struct peri_exchange *exchange)
{
    if (exchange->site != NULL && peri_hop_has_errand(exchange)) {
        lua_pushfstring(L, "the result cannot be sent: %s", lua_tostring(L, -1));
        peri_hop_fail(L, exchange);
        return;
    }
    peri_exchange_log(exchange, "the result cannot be sent: %s", lua_tostring(L, -1));
    peri_answer_fail(exchange);
}

/* Sends an answer that the app described; what is wrong with it is logged and makes a 500. */
static void send_or_fail(lua_State *L, struct peri_exchange *exchange,
                         const struct peri_answer *answer)
{
    if (peri_answer_send(L, exchange, answer) != 0)
        fail_to_send(L, exchange);
}

/* Answers with the value at `index` as JSON, guided by the compiled type at `program`; 0: by none.
 * Returns 0, or -1 with a message pushed and nothing sent. */
static int answer_json(lua_State *L, struct peri_exchange *exchange, int index, int program,
                       struct peri_answer answer)
{
    struct peri_buf *body = &exchange->scratch->body;
    body->len = 0;
    if (answer.type == NULL) {
        answer.type = JSON_TYPE;
        answer.type_len = sizeof(JSON_TYPE) - 1;
    }
    int rc = program != 0 ? peri_schema_encode(L, index, program, body)
                          : peri_json_encode(L, index, body);
    if (rc != 0)
        return -1;
    answer.body = body->data;
    answer.body_len = body->len;
    rc = peri_answer_send(L, exchange, &answer);
    peri_buf_reset(body, SCRATCH_KEPT);
    return rc;
}

/* The 422 as problem details: the list of errors as an extension member. */
static void send_invalid_problem(struct peri_exchange *exchange, bool with_errors)
{
    struct peri_buf body = {0};
    begin_problem(&body, 422, "The request is not as declared.");
    if (with_errors) {
        static const char detail[] = "{\"detail\":";
        size_t len = 0;
        const char *errors = peri_result_errors(exchange->scratch->result, &len);
        peri_buf_add_lit(&body, ",\"errors\":");
        peri_buf_add(&body, errors + sizeof(detail) - 1, len - sizeof(detail)); /* the list alone */
    }
    peri_buf_add_byte(&body, '}');
    peri_answer_send(NULL, exchange,
                     &(struct peri_answer){.status = 422,
                                           .type = PROBLEM_TYPE,
                                           .type_len = sizeof(PROBLEM_TYPE) - 1,
                                           .body = body.data,
                                           .body_len = body.len});
    peri_buf_deinit(&body);
}

void peri_answer_invalid(struct peri_exchange *exchange)
{
    struct peri_error_style style = error_style(exchange);
    bool with_errors = style.validation != PERI_DETAIL_NONE;
    if (style.problem) {
        send_invalid_problem(exchange, with_errors);
        return;
    }
    if (!with_errors) {
        peri_answer_detail(exchange, 422, NULL);
        return;
    }
    struct peri_answer answer = {
        .status = 422,
        .type = JSON_TYPE,
        .type_len = sizeof(JSON_TYPE) - 1,
    };
    answer.body = peri_result_errors(exchange->scratch->result, &answer.body_len);
    peri_answer_send(NULL, exchange, &answer);
}

static int on_stream_end(lua_State *L, int status, lua_KContext context);

/* The content type of a response at `index`; NULL when it names none. Pushes it. */
static const char *content_type_of(lua_State *L, int index, size_t *len)
{
    *len = 0;
    lua_getfield(L, index, "content_type");
    return lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, len) : NULL;
}

/* The status of the table at `index`; `fallback` when it names none, 0 when what it names is no
 * final one. */
static unsigned status_of(lua_State *L, int index, unsigned fallback)
{
    int type = lua_getfield(L, index, "status");
    lua_Integer status = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        return fallback;
    return status >= 200 && status <= 999 ? (unsigned) status : 0;
}

/* The index of the pairs of a response at `index`, or 0. Pushes one value. */
static int headers_of(lua_State *L, int index)
{
    lua_getfield(L, index, "headers");
    return lua_istable(L, -1) ? lua_gettop(L) : 0;
}

/* A Content-Type among the pairs at `headers` takes the place of the response's own. */
static void prefer_header_type(lua_State *L, int headers, const char **type, size_t *type_len)
{
    lua_Unsigned count = headers != 0 ? lua_rawlen(L, headers) : 0;
    for (lua_Unsigned i = 1; i <= count; i++) {
        int top = lua_gettop(L);
        if (lua_rawgeti(L, headers, (lua_Integer) i) == LUA_TTABLE &&
            lua_rawgeti(L, -1, 1) == LUA_TSTRING && lua_rawgeti(L, -2, 2) == LUA_TSTRING) {
            size_t name_len = 0;
            const char *name = lua_tolstring(L, -2, &name_len);
            if (is_content_type(name, name_len))
                *type = lua_tolstring(L, -1, type_len); /* the pair keeps it alive */
        }
        lua_settop(L, top);
    }
}

/* The length of a stream whose response at `index` declares one. */
static bool length_of(lua_State *L, int index, uint64_t *length)
{
    lua_getfield(L, index, "length");
    bool declared = lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0;
    *length = declared ? (uint64_t) lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    return declared;
}

static int answer_response(lua_State *L, struct peri_exchange *exchange);

static int on_file_begun(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        peri_answer_error(L, exchange);
        return 0;
    }
    return exchange->conn != NULL ? answer_response(L, exchange) : 0;
}

/* The response at the top is a file: the framework turns it into a stream, or what else the headers
 * of the request ask for, and that is answered. */
static int begin_file(lua_State *L, struct peri_exchange *exchange)
{
    if (exchange->box == NULL) { /* the handler wanted none */
        exchange->box = peri_request_push(L, exchange);
        lua_replace(L, PERI_REQUEST_INDEX);
    }
    peri_response_push(L, "begin_file");
    lua_pushvalue(L, -2);
    lua_pushvalue(L, PERI_REQUEST_INDEX);
    int rc = lua_pcallk(L, 2, 0, PERI_TRACEBACK_INDEX, (lua_KContext) exchange, on_file_begun);
    return on_file_begun(L, rc, (lua_KContext) exchange);
}

static int on_replaced(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        peri_answer_error(L, exchange);
        return 0;
    }
    return is_gone(exchange) ? 0 : answer_response(L, exchange);
}

/* The response at `index` cannot be sent, for the reason on top. Where the app has a say in errors
 * (compose.lua), what it makes of this one is sent in its place. */
static int replace_response(lua_State *L, struct peri_exchange *exchange, int index)
{
    int reason = lua_gettop(L);
    if (lua_getfield(L, index, "failing") == LUA_TNIL) {
        lua_settop(L, reason);
        fail_to_send(L, exchange);
        return 0;
    }
    peri_response_push(L, "unsendable");
    lua_pushvalue(L, index);
    lua_pushvalue(L, PERI_REQUEST_INDEX);
    lua_pushvalue(L, reason);
    int rc = lua_pcallk(L, 3, 1, PERI_TRACEBACK_INDEX, (lua_KContext) exchange, on_replaced);
    return on_replaced(L, rc, (lua_KContext) exchange);
}

static int send_response(lua_State *L, struct peri_exchange *exchange, int index,
                         const struct peri_answer *answer)
{
    if (peri_answer_send(L, exchange, answer) == 0)
        return 0;
    return replace_response(L, exchange, index);
}

/* The result at the top of the stack is an explicit response. May park to stream. */
static int answer_response(lua_State *L, struct peri_exchange *exchange)
{
    int response = lua_gettop(L);
    bool is_file = lua_getfield(L, response, "file") == LUA_TTABLE;
    lua_settop(L, response);
    if (is_file)
        return begin_file(L, exchange);
    struct peri_answer answer = {.status = status_of(L, response, 200)};
    answer.type = content_type_of(L, response, &answer.type_len);
    answer.headers = headers_of(L, response);
    prefer_header_type(L, answer.headers, &answer.type, &answer.type_len);
    if (answer.status == 0 || !peri_header_value_is_sound(answer.type, answer.type_len)) {
        lua_pushstring(L, answer.status == 0
                              ? "its status is no whole number from 200 to 999"
                              : "its content_type has a character that HTTP does not allow");
        return replace_response(L, exchange, response);
    }

    if (lua_getfield(L, response, "body") != LUA_TNIL && lua_type(L, -1) != LUA_TSTRING) {
        lua_pushfstring(L, "its body is a %s, not a string", luaL_typename(L, -1));
        return replace_response(L, exchange, response);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        answer.body = lua_tolstring(L, -1, &answer.body_len);
        return send_response(L, exchange, response, &answer);
    }
    lua_getfield(L, response, "stream");
    if (lua_isfunction(L, -1) && exchange->site != NULL) {
        lua_pushliteral(L, "a threaded handler cannot stream; stream from a plain one that calls a "
                           "threaded function");
        return replace_response(L, exchange, response);
    }
    if (lua_isfunction(L, -1)) {
        if (exchange->request.method == HTTP_HEAD || peri_status_has_no_body(answer.status)) {
            peri_answer_stream_write(L, exchange, response, "", 0);
            return on_stream_end(L, LUA_OK, (lua_KContext) exchange);
        }
        exchange->stream_box = peri_stream_push(L, exchange, response); /* anchored below */
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        int rc = lua_pcallk(L, 1, 0, PERI_TRACEBACK_INDEX, (lua_KContext) exchange, on_stream_end);
        return on_stream_end(L, rc, (lua_KContext) exchange);
    }
    lua_getfield(L, response, "json");
    if (lua_isnil(L, -1))
        return send_response(L, exchange, response, &answer);
    lua_getfield(L, response, "schema");
    bool typed = peri_schema_program(L, -1) != NULL;
    int value = lua_gettop(L) - 1;
    if (answer_json(L, exchange, value, typed ? value + 1 : 0, answer) == 0)
        return 0;
    return replace_response(L, exchange, response);
}

/* Keeps the functions that are to run behind the answer: field `key` of the table at `index`. */
static void keep_after(lua_State *L, struct peri_exchange *exchange, int index, const char *key)
{
    lua_getfield(L, index, key);
    if (lua_istable(L, -1) && exchange->after == 0)
        exchange->after = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
}

int peri_answer_result(lua_State *L, struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    if (is_gone(exchange))
        return 0;
    bool pending = exchange->box != NULL && exchange->box->responds &&
                   peri_request_take_response(L, PERI_REQUEST_INDEX);
    if (pending) { /* merge(result, pending, status, program) */
        lua_pushinteger(L, operation != NULL ? operation->status : 200);
        lua_rawgeti(L, LUA_REGISTRYINDEX, operation != NULL ? operation->response_ref : LUA_REFNIL);
        peri_response_call(L, "merge", 4, 1);
    }
    if (peri_is_response(L, -1)) {
        keep_after(L, exchange, -1, "tasks");
        return answer_response(L, exchange);
    }
    struct peri_answer answer = {.status = operation != NULL ? operation->status : 200};
    int value = lua_gettop(L);
    bool typed = operation != NULL && operation->response_ref != LUA_NOREF;
    if (typed)
        lua_rawgeti(L, LUA_REGISTRYINDEX, operation->response_ref);
    if (answer_json(L, exchange, value, typed ? value + 1 : 0, answer) != 0)
        fail_to_send(L, exchange);
    return 0;
}

/* An HTTP error: {"detail": ...}. */
static void answer_http_error(lua_State *L, struct peri_exchange *exchange)
{
    int error = lua_gettop(L);
    struct peri_answer answer = {.status = status_of(L, error, 500)};
    if (answer.status == 0) {
        peri_exchange_log(exchange, "an HTTP error needs a status from 200 to 999");
        peri_answer_fail(exchange);
        return;
    }
    answer.headers = headers_of(L, error);
    prefer_header_type(L, answer.headers, &answer.type, &answer.type_len);
    lua_createtable(L, 0, 1);
    lua_getfield(L, error, "detail");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushstring(L, peri_status_text(answer.status));
    }
    lua_setfield(L, -2, "detail");
    if (answer_json(L, exchange, lua_gettop(L), 0, answer) != 0)
        fail_to_send(L, exchange);
}

/* The framework's validation error brings its answer along. */
static void answer_validation_error(lua_State *L, struct peri_exchange *exchange)
{
    int error = lua_gettop(L);
    struct peri_answer answer = {.status = status_of(L, error, 422)};
    answer.type = JSON_TYPE;
    answer.type_len = sizeof(JSON_TYPE) - 1;
    lua_getfield(L, error, "body");
    answer.body = lua_tolstring(L, -1, &answer.body_len);
    if (answer.status != 0 && answer.body != NULL)
        send_or_fail(L, exchange, &answer);
    else
        peri_answer_fail(exchange);
}

void peri_answer_error(lua_State *L, struct peri_exchange *exchange)
{
    int error = lua_gettop(L);
    if (peri_request_take_response(L, PERI_REQUEST_INDEX))
        keep_after(L, exchange, -1, "cleanups"); /* what was opened is closed, come what may */
    lua_settop(L, error);

    if (peri_is_cancelled(L, error)) { /* whoever cancelled has answered, or nobody is there */
        peri_answer_fail(exchange);
    } else if (exchange->status == 0 && peri_is_http_error(L, error)) {
        answer_http_error(L, exchange);
    } else if (exchange->status == 0 && peri_is_validation_error(L, error)) {
        answer_validation_error(L, exchange);
    } else {
        peri_push_message(L, error);
        peri_exchange_log(exchange, "%s", lua_tostring(L, -1));
        if (exchange->site != NULL && exchange->vm->app.fallback != LUA_NOREF)
            peri_hop_fail(L, exchange); /* the app has a say in it, on the loop */
        else
            peri_answer_fail(exchange);
    }
}

/* --- streamed answers --------------------------------------------------------------------------
 */

/* Sends a piece of a streamed body, framed as its head has said. */
static void send_piece(struct peri_exchange *exchange, const char *bytes, size_t len)
{
    struct peri_conn *conn = exchange->conn;
    if (len == 0 || !exchange->chunked_out) {
        peri_conn_send(conn, bytes, len);
        return;
    }
    struct peri_buf *out = peri_conn_out(conn);
    peri_buf_addf(out, "%zx\r\n", len);
    if (len > STREAM_COPY_LIMIT) { /* leaves from where it is */
        peri_conn_send(conn, bytes, len);
        if (exchange->conn == NULL)
            return;
        out = peri_conn_out(conn);
    } else {
        peri_buf_add(out, bytes, len);
    }
    peri_buf_add_lit(out, "\r\n");
    peri_conn_send(conn, NULL, 0);
}

static void start_ping(struct peri_exchange *exchange)
{
    struct peri_loop *loop = exchange->loop;
    peri_timer_start(&loop->timers, &exchange->ping, uv_now(&loop->uv) + exchange->ping_ms);
}

static void on_ping(struct peri_timer *timer)
{
    static const char comment[] = ": ping\n\n";
    struct peri_exchange *exchange = peri_container_of(timer, struct peri_exchange, ping);
    if (exchange->conn == NULL || exchange->answered || exchange->failed)
        return;
    start_ping(exchange);
    if (exchange->status != 0 && !peri_conn_is_full(exchange->conn))
        send_piece(exchange, comment, sizeof(comment) - 1); /* which may end the exchange */
}

void peri_answer_keep_alive(struct peri_exchange *exchange, uint32_t silence_ms)
{
    exchange->ping_ms = silence_ms;
    exchange->ping.fire = on_ping;
    if (silence_ms > 0)
        start_ping(exchange);
    else
        peri_timer_stop(&exchange->loop->timers, &exchange->ping);
}

bool peri_answer_stream_write(lua_State *L, struct peri_exchange *exchange, int response,
                              const char *bytes, size_t len)
{
    if (exchange->conn == NULL || exchange->answered)
        return false;
    if (exchange->status == 0) {
        struct peri_buf *out = peri_conn_out(exchange->conn);
        unsigned status = status_of(L, response, 200);
        size_t type_len = 0;
        const char *type = content_type_of(L, response, &type_len);
        int headers = headers_of(L, response);
        prefer_header_type(L, headers, &type, &type_len);
        if (status == 0 || !peri_header_value_is_sound(type, type_len))
            luaL_error(L,
                       "the response of a stream was changed: its status or content_type is bad");
        size_t before = out->len;
        peri_head_begin(&exchange->loop->heads, uv_now(&exchange->loop->uv), out, status, type,
                        type_len);
        if (headers != 0 && peri_answer_add_headers(L, headers, out) != 0) {
            out->len = before;
            lua_error(L);
        }
        bool bodyless = peri_status_has_no_body(status);
        exchange->sized_out = !bodyless && length_of(L, response, &exchange->owed);
        exchange->chunked_out =
            !bodyless && !exchange->sized_out && !(exchange->request.flags & PERI_REQUEST_HTTP_1_0);
        if (exchange->sized_out)
            peri_buf_addf(out, "content-length: %llu\r\n", (unsigned long long) exchange->owed);
        else if (exchange->chunked_out)
            peri_buf_add_lit(out, "transfer-encoding: chunked\r\n");
        else if (!bodyless)
            exchange->keep_alive = false; /* HTTP/1.0: the end of the connection ends the body */
        add_request_id(exchange, out, before);
        add_connection(exchange, out);
        peri_buf_add_lit(out, "\r\n");
        exchange->status = (uint16_t) status;
        lua_pop(L, 2);
    }
    if (exchange->request.method == HTTP_HEAD || peri_status_has_no_body(exchange->status))
        len = 0;
    if (exchange->sized_out && len > exchange->owed)
        luaL_error(L, "the stream writes more than the length of its response");
    exchange->owed -= exchange->sized_out ? len : 0;
    exchange->sent += len;
    if (exchange->ping_ms > 0)
        start_ping(exchange);
    send_piece(exchange, bytes, len);
    return exchange->conn != NULL;
}

static int on_stream_end(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        peri_answer_error(L, exchange);
        return 0;
    }
    if (exchange->conn == NULL)
        return 0;
    if (exchange->status == 0 && !peri_answer_stream_write(L, exchange, PERI_RESULT_INDEX, "", 0))
        return 0;
    if (exchange->sized_out && exchange->owed > 0 && exchange->request.method != HTTP_HEAD) {
        peri_exchange_log(exchange, "the stream ended %llu bytes short of its response's length",
                          (unsigned long long) exchange->owed);
        peri_answer_fail(exchange);
        return 0;
    }
    peri_answer_keep_alive(exchange, 0);
    exchange->answered = true;
    exchange->body_mode = PERI_BODY_DROPPED;
    if (exchange->chunked_out && exchange->request.method != HTTP_HEAD)
        peri_buf_add_lit(peri_conn_out(exchange->conn), "0\r\n\r\n");
    peri_conn_send(exchange->conn, NULL, 0);
    return 0;
}
