#include "exchange.h"

#include "api/api.h"
#include "json.h"
#include "json_lua.h"
#include "log.h"
#include "loop.h"
#include "url.h"
#include "vm.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define BODY_MARK 65536 /* unclaimed or streamed bytes of a body that are held */
#define POOL_LIMIT 64
#define KEPT 16384 /* memory a pooled exchange keeps in each of its buffers */
#define SCRATCH_KEPT 262144
#define STREAM_COPY_LIMIT 16384

static const char JSON_TYPE[] = "application/json";
static const char TEXT_TYPE[] = "text/plain; charset=utf-8";

static void run(struct peri_exchange *exchange);

/* --- beginning and end -------------------------------------------------------------------------
 */

static int on_head(void *context);
static int on_body(void *context, const char *bytes, size_t len);

static const struct peri_http_events http_events = {.head = on_head, .body = on_body};

struct peri_exchange *peri_exchange_begin(struct peri_conn *conn)
{
    struct peri_loop *loop = conn->loop;
    struct peri_exchange *exchange = NULL;
    struct peri_list *link = peri_list_first(&loop->free_exchanges);
    if (link != NULL) {
        peri_list_remove(link);
        loop->free_exchange_count--;
        exchange = peri_container_of(link, struct peri_exchange, link);
    } else {
        exchange = calloc(1, sizeof(*exchange));
        struct peri_header *headers = calloc(loop->http_limits.max_headers, sizeof(*headers));
        if (exchange == NULL || headers == NULL) {
            fputs("perigee: out of memory (a request)\n", stderr);
            abort();
        }
        exchange->request.headers = headers;
        exchange->loop = loop;
        peri_list_init(&exchange->link);
    }
    exchange->conn = conn;
    if (peri_log_access_format() != PERI_LOG_OFF)
        exchange->started_ns = uv_hrtime();
    peri_http_init(&exchange->http, &exchange->request, &loop->http_limits, &http_events, exchange);
    return exchange;
}

static void exchange_free(struct peri_exchange *exchange)
{
    peri_buf_deinit(&exchange->head);
    peri_buf_deinit(&exchange->path);
    peri_buf_deinit(&exchange->body);
    free(exchange->request.headers);
    free(exchange);
}

void peri_exchange_free_pool(struct peri_loop *loop)
{
    struct peri_list *link;
    while ((link = peri_list_first(&loop->free_exchanges)) != NULL) {
        peri_list_remove(link);
        exchange_free(peri_container_of(link, struct peri_exchange, link));
    }
    loop->free_exchange_count = 0;
}

static void release(struct peri_exchange *exchange)
{
    struct peri_loop *loop = exchange->loop;
    if (loop->free_exchange_count >= POOL_LIMIT) {
        exchange_free(exchange);
        return;
    }
    struct peri_header *headers = exchange->request.headers;
    struct peri_buf head = exchange->head;
    struct peri_buf path = exchange->path;
    struct peri_buf body = exchange->body;
    peri_buf_reset(&head, KEPT);
    peri_buf_reset(&path, KEPT);
    peri_buf_reset(&body, KEPT);
    memset(exchange, 0, offsetof(struct peri_exchange, http));
    memset(&exchange->operation, 0, sizeof(*exchange) - offsetof(struct peri_exchange, operation));
    exchange->loop = loop;
    exchange->request.headers = headers;
    exchange->head = head;
    exchange->path = path;
    exchange->body = body;
    peri_list_append(&loop->free_exchanges, &exchange->link);
    loop->free_exchange_count++;
}

static void access_log(struct peri_exchange *exchange);

/* Ends the exchange when nothing is left to do: answer complete, message read, task ended. */
static void end_if_over(struct peri_exchange *exchange)
{
    struct peri_conn *conn = exchange->conn;
    if (exchange->task != NULL)
        return;
    if (conn != NULL) {
        if (exchange->failed) { /* the connection is of no more use to anybody */
            peri_conn_reset(conn);
            return; /* which has aborted and released the exchange */
        }
        if (!exchange->answered || (!exchange->complete && exchange->keep_alive))
            return;
    }
    if (exchange->started_ns != 0 && (exchange->answered || exchange->status != 0))
        access_log(exchange);
    bool keep_alive = exchange->keep_alive;
    release(exchange);
    if (conn != NULL)
        peri_conn_exchange_over(conn, keep_alive);
}

void peri_exchange_abort(struct peri_exchange *exchange, const char *reason)
{
    exchange->conn = NULL;
    if (exchange->task == NULL) {
        end_if_over(exchange);
        return;
    }
    peri_task_cancel(exchange->task, reason);
    if (exchange->waits_body != NULL)
        peri_op_done(&exchange->waits_body->op);
    if (exchange->waits_drain != NULL)
        peri_op_done(&exchange->waits_drain->op);
    exchange->waits_body = NULL;
    exchange->waits_drain = NULL;
}

/* --- log ---------------------------------------------------------------------------------------
 */

static void add_peer(struct peri_buf *line, const union peri_address *peer)
{
    char text[INET6_ADDRSTRLEN] = "";
    unsigned port = 0;
    if (peer->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &peer->v4.sin_addr, text, sizeof(text));
        port = ntohs(peer->v4.sin_port);
    } else if (peer->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &peer->v6.sin6_addr, text, sizeof(text));
        port = ntohs(peer->v6.sin6_port);
    }
    peri_buf_addf(line, peer->any.sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
}

static void access_log(struct peri_exchange *exchange)
{
    struct peri_request *request = &exchange->request;
    double ms = (double) (uv_hrtime() - exchange->started_ns) / 1e6;
    const char *method = llhttp_method_name((llhttp_method_t) request->method);
    struct peri_buf line = {0};

    bool known = exchange->http.head_done;
    const char *target = known ? peri_request_at(request, request->target) : "";
    size_t target_len = known ? request->target.len : 0;
    union peri_address nobody = {0};
    const union peri_address *peer = exchange->conn != NULL ? &exchange->conn->peer : &nobody;

    if (peri_log_access_format() == PERI_LOG_JSON) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        peri_buf_addf(&line, "{\"time\":%lld.%03ld,\"client\":\"", (long long) now.tv_sec,
                      now.tv_nsec / 1000000);
        add_peer(&line, peer);
        peri_buf_addf(&line, "\",\"method\":\"%s\",\"target\":", known ? method : "");
        peri_json_add_string(&line, target, peri_utf8_valid(target, target_len));
        if (exchange->operation != NULL) {
            const char *path = exchange->operation->path;
            peri_buf_add_lit(&line, ",\"route\":");
            peri_json_add_string(&line, path, strlen(path));
        }
        peri_buf_addf(&line, ",\"status\":%u,\"bytes\":%llu,\"ms\":%.3f}\n", exchange->status,
                      (unsigned long long) exchange->sent, ms);
    } else {
        add_peer(&line, peer);
        peri_buf_addf(&line, " \"%s ", known ? method : "-");
        peri_buf_add(&line, target, target_len); /* llhttp lets no control character or blank in */
        peri_buf_addf(&line, "\" %u %llu %.2fms\n", exchange->status,
                      (unsigned long long) exchange->sent, ms);
    }
    peri_log_write(PERI_LOG_ACCESS, line.data, line.len);
    peri_buf_deinit(&line);
}

static uint64_t process_id;

static void choose_process_id(void)
{
    if (getrandom(&process_id, sizeof(process_id), 0) != sizeof(process_id))
        process_id = uv_hrtime();
}

void peri_exchange_id(struct peri_exchange *exchange, char text[33])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static atomic_ullong last;
    pthread_once(&once, choose_process_id);
    if (exchange->id == 0)
        exchange->id = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    snprintf(text, 33, "%016llx%08llx", (unsigned long long) process_id,
             (unsigned long long) exchange->id);
}

void peri_exchange_log(struct peri_exchange *exchange, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return;
    const struct peri_request *request = &exchange->request;
    const struct peri_operation *operation = exchange->operation;
    char id[33];
    peri_exchange_id(exchange, id);
    peri_log_error("%s %.*s (request %s%s%s): %s",
                   llhttp_method_name((llhttp_method_t) request->method), (int) request->target.len,
                   peri_request_at(request, request->target), id,
                   operation != NULL && operation->source != NULL ? ", " : "",
                   operation != NULL && operation->source != NULL ? operation->source : "", text);
    free(text);
}

/* --- answering ---------------------------------------------------------------------------------
 */

/* Appends the pairs of the array at `index` as header lines. Returns 0, or -1 with a message
 * pushed; `out` is as before then. */
static int add_headers(lua_State *L, int index, struct peri_buf *out)
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
        peri_buf_add(out, name, name_len);
        peri_buf_add_lit(out, ": ");
        peri_buf_add(out, value, value_len);
        peri_buf_add_lit(out, "\r\n");
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
    struct peri_conn *conn = exchange->conn;
    /* A client that still waits for 100 Continue may send the body or not: nobody can tell. */
    bool body_unclear = !exchange->complete && !exchange->said_continue &&
                        (exchange->request.flags & PERI_REQUEST_EXPECTS_100) != 0 &&
                        exchange->body_total == 0;
    if (conn->ended || body_unclear || exchange->loop->stopping)
        exchange->keep_alive = false;
    if (!exchange->keep_alive)
        peri_buf_add_lit(out, "connection: close\r\n");
    else if (exchange->request.flags & PERI_REQUEST_HTTP_1_0)
        peri_buf_add_lit(out, "connection: keep-alive\r\n");
}

/* A whole answer. */
struct answer {
    unsigned status;
    const char *type; /* content type; NULL for none */
    size_t type_len;
    int headers;       /* index of an array of {name, value} pairs, or 0 */
    const char *lines; /* header lines made by C, each with its CRLF; may be NULL */
    const char *body;
    size_t body_len;
};

/* Returns 0, or -1 with a message pushed and nothing written when a header is not sound. L may be
 * NULL when there are no Lua headers. */
static int send_answer(lua_State *L, struct peri_exchange *exchange, const struct answer *answer)
{
    struct peri_conn *conn = exchange->conn;
    if (conn == NULL || exchange->status != 0)
        return 0;
    bool bodyless = peri_status_has_no_body(answer->status);
    struct peri_buf *out = peri_conn_out(conn);
    size_t before = out->len;
    peri_head_begin(&exchange->loop->heads, uv_now(&exchange->loop->uv), out, answer->status,
                    answer->type, bodyless ? 0 : answer->type_len);
    if (!bodyless) {
        peri_buf_add_lit(out, "content-length: ");
        peri_buf_add_int(out, (int64_t) answer->body_len);
        peri_buf_add_lit(out, "\r\n");
    }
    if (answer->headers != 0 && add_headers(L, answer->headers, out) != 0) {
        out->len = before;
        return -1;
    }
    if (answer->lines != NULL)
        peri_buf_add_str(out, answer->lines);
    add_connection(exchange, out);
    peri_buf_add_lit(out, "\r\n");

    exchange->status = (uint16_t) answer->status;
    exchange->answered = true;
    exchange->body_mode = PERI_BODY_DROPPED;
    bool silent = bodyless || exchange->request.method == HTTP_HEAD;
    exchange->sent = silent ? 0 : answer->body_len;
    peri_conn_send(conn, answer->body, silent ? 0 : answer->body_len);
    return 0;
}

/* The answers that C gives by itself have FastAPI's shape: {"detail":"Not Found"}. */
static void send_detail(struct peri_exchange *exchange, unsigned status, const char *lines)
{
    char body[96];
    int len = snprintf(body, sizeof(body), "{\"detail\":\"%s\"}", peri_status_text(status));
    send_answer(NULL, exchange,
                &(struct answer){.status = status,
                                 .type = JSON_TYPE,
                                 .type_len = sizeof(JSON_TYPE) - 1,
                                 .lines = lines,
                                 .body = body,
                                 .body_len = (size_t) len});
}

/* A handler failed: 500, or a cut connection when the head is already out. */
static void fail(struct peri_exchange *exchange)
{
    static const char text[] = "Internal Server Error";
    if (exchange->conn == NULL || exchange->answered)
        return;
    if (exchange->status != 0) {
        exchange->failed = true;
        return;
    }
    send_answer(NULL, exchange,
                &(struct answer){.status = 500,
                                 .type = TEXT_TYPE,
                                 .type_len = sizeof(TEXT_TYPE) - 1,
                                 .body = text,
                                 .body_len = sizeof(text) - 1});
}

/* Sends an answer that the app described; what is wrong with it is logged and makes a 500. */
static void send_or_fail(lua_State *L, struct peri_exchange *exchange, const struct answer *answer)
{
    if (send_answer(L, exchange, answer) == 0)
        return;
    peri_exchange_log(exchange, "the response cannot be sent: %s", lua_tostring(L, -1));
    fail(exchange);
}

/* Answers with the value at the top of the stack as JSON. */
static void answer_json(lua_State *L, struct peri_exchange *exchange, struct answer answer)
{
    struct peri_buf *body = &exchange->loop->body;
    body->len = 0;
    if (answer.type == NULL) {
        answer.type = JSON_TYPE;
        answer.type_len = sizeof(JSON_TYPE) - 1;
    }
    if (peri_json_encode(L, -1, body) != 0) {
        peri_exchange_log(exchange, "the result cannot be sent: %s", lua_tostring(L, -1));
        fail(exchange);
        return;
    }
    answer.body = body->data;
    answer.body_len = body->len;
    send_or_fail(L, exchange, &answer);
    peri_buf_reset(body, SCRATCH_KEPT);
}

/* Where exchange_main() and on_handler_end() leave things on the task's stack. */
enum {
    TRACEBACK_INDEX = 1,
    REQUEST_INDEX, /* nil for a handler without a parameter */
    RESPONSE_INDEX,
};

static int on_stream_end(lua_State *L, int status, lua_KContext context);

/* The content type of a response at `index`; NULL when it names none. Pushes it. */
static const char *content_type_of(lua_State *L, int index, size_t *len)
{
    *len = 0;
    lua_getfield(L, index, "content_type");
    return lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, len) : NULL;
}

static unsigned status_of(lua_State *L, int index, unsigned fallback)
{
    lua_getfield(L, index, "status");
    lua_Integer status = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    return status >= 200 && status <= 999 ? (unsigned) status : fallback;
}

/* The index of the pairs of a response at `index`, or 0. Pushes one value. */
static int headers_of(lua_State *L, int index)
{
    lua_getfield(L, index, "headers");
    return lua_istable(L, -1) ? lua_gettop(L) : 0;
}

/* The result at the top of the stack is an explicit response. May park to stream. */
static int answer_response(lua_State *L, struct peri_exchange *exchange)
{
    int response = lua_gettop(L);
    struct answer answer = {.status = status_of(L, response, 200)};
    answer.type = content_type_of(L, response, &answer.type_len);
    answer.headers = headers_of(L, response);
    if (!peri_header_value_is_sound(answer.type, answer.type_len)) {
        peri_exchange_log(exchange, "content_type has a character that HTTP does not allow");
        fail(exchange);
        return 0;
    }

    lua_getfield(L, response, "body");
    if (lua_type(L, -1) == LUA_TSTRING) {
        answer.body = lua_tolstring(L, -1, &answer.body_len);
        send_or_fail(L, exchange, &answer);
        return 0;
    }
    lua_getfield(L, response, "stream");
    if (lua_isfunction(L, -1)) {
        if (exchange->request.method == HTTP_HEAD || peri_status_has_no_body(answer.status)) {
            peri_exchange_stream_write(L, exchange, response, "", 0);
            return on_stream_end(L, LUA_OK, (lua_KContext) exchange);
        }
        exchange->stream_box = peri_stream_push(L, exchange, response); /* anchored below */
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        int rc = lua_pcallk(L, 1, 0, TRACEBACK_INDEX, (lua_KContext) exchange, on_stream_end);
        return on_stream_end(L, rc, (lua_KContext) exchange);
    }
    lua_getfield(L, response, "json");
    if (!lua_isnil(L, -1))
        answer_json(L, exchange, answer);
    else
        send_or_fail(L, exchange, &answer);
    return 0;
}

/* The error at the top of the stack has left the handler. */
static void answer_error(lua_State *L, struct peri_exchange *exchange)
{
    if (peri_is_cancelled(L, -1)) {
        fail(exchange); /* whoever cancelled has answered, or nobody is there to read */
        return;
    }
    if (exchange->status == 0 && peri_is_http_error(L, -1)) {
        int error = lua_gettop(L);
        struct answer answer = {.status = status_of(L, error, 500)};
        answer.headers = headers_of(L, error);
        lua_createtable(L, 0, 1);
        lua_getfield(L, error, "detail");
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushstring(L, peri_status_text(answer.status));
        }
        lua_setfield(L, -2, "detail");
        answer_json(L, exchange, answer);
        return;
    }
    const char *text = luaL_tolstring(L, -1, NULL);
    peri_exchange_log(exchange, "%s", text);
    fail(exchange);
}

/* --- the task ----------------------------------------------------------------------------------
 */

static int on_handler_end(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        answer_error(L, exchange);
        return 0;
    }
    if (exchange->conn == NULL)
        return 0;
    if (peri_is_response(L, -1))
        return answer_response(L, exchange);
    answer_json(L, exchange, (struct answer){.status = exchange->operation->status});
    return 0;
}

/* The body of a request's task. Its frame keeps the request object alive, so that the exchange can
 * empty the box when it ends. */
static int exchange_main(lua_State *L)
{
    struct peri_exchange *exchange = lua_touserdata(L, 1);
    exchange->task = peri_task_current(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, peri_traceback);
    bool takes_request = exchange->operation->takes_request;
    if (takes_request)
        exchange->box = peri_request_push(L, exchange);
    else
        lua_pushnil(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->operation->handler);
    if (takes_request)
        lua_pushvalue(L, REQUEST_INDEX);
    int status =
        lua_pcallk(L, takes_request, 1, TRACEBACK_INDEX, (lua_KContext) exchange, on_handler_end);
    return on_handler_end(L, status, (lua_KContext) exchange);
}

/* --- answers that need no Lua ------------------------------------------------------------------
 */

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

/* The status that answers a request for which there is no operation. */
static uint16_t choose_refusal(struct peri_exchange *exchange, enum peri_match_result found,
                               const char *path, size_t len)
{
    bool options = exchange->request.method == HTTP_OPTIONS;
    if (found == PERI_MATCH_METHOD)
        return options ? 204 : 405;
    if (options && len == 1 && path[0] == '*')
        return 204;
    if (slash_would_match(exchange, path, len)) {
        exchange->match.param_count = 0;
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

static void send_refusal(struct peri_exchange *exchange)
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
        send_answer(NULL, exchange, &(struct answer){.status = status, .lines = lines.data});
    else
        send_detail(exchange, status, lines.data);
    peri_buf_deinit(&lines);
}

/* --- the task's end ----------------------------------------------------------------------------
 */

static void on_task_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_exchange *exchange = owner;
    exchange->task = NULL;
    if (exchange->box != NULL)
        exchange->box->exchange = NULL;
    if (exchange->stream_box != NULL)
        exchange->stream_box->exchange = NULL;
    exchange->box = NULL;
    exchange->stream_box = NULL;
    if (failed) { /* out of memory, as a rule: nothing of the app's leaves exchange_main() */
        const char *text = lua_tostring(task->L, -1);
        peri_exchange_log(exchange, "%s", text != NULL ? text : "the task failed");
        fail(exchange);
    }
    end_if_over(exchange);
}

/* Makes the exchange independent of the bytes being fed. */
static void persist(struct peri_exchange *exchange)
{
    struct peri_request *request = &exchange->request;
    if (request->base != exchange->head.data) {
        exchange->head.len = 0;
        peri_buf_add(&exchange->head, request->base, request->head_len);
        for (unsigned i = 0; i < exchange->match.param_count; i++) {
            struct peri_param *param = &exchange->match.params[i];
            if (exchange->path.len == 0)
                param->value = exchange->head.data + (param->value - request->base);
        }
        request->base = exchange->head.data;
    }
    if (exchange->in_place) {
        exchange->body.len = 0;
        peri_buf_add(&exchange->body, exchange->body_at, exchange->body_len);
        exchange->body_at = exchange->body.data;
        exchange->in_place = false;
    }
}

/* Starts what answers the request; `exchange` may be over afterwards. */
static void run(struct peri_exchange *exchange)
{
    struct peri_loop *loop = exchange->loop;
    exchange->started = true;
    if (exchange->refusal != 0) {
        send_refusal(exchange);
        end_if_over(exchange);
        return;
    }
    struct peri_task *task =
        peri_task_start(&loop->vm.tasks, exchange_main, exchange, on_task_ended);
    if (task != NULL) /* it waits; otherwise the exchange may be over by now */
        persist(exchange);
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* Finds the operation. What is refused without Lua is noted and answered when the handler would
 * have been started. */
static int on_head(void *context)
{
    struct peri_exchange *exchange = context;
    struct peri_request *request = &exchange->request;
    struct peri_loop *loop = exchange->loop;
    const struct peri_limits *limits = &loop->vm.app.limits;

    if (request->head_len > limits->max_head_bytes)
        return 431;
    exchange->keep_alive = (request->flags & PERI_REQUEST_KEEP_ALIVE) != 0;
    exchange->body_since = uv_now(&loop->uv);

    const char *path = peri_request_at(request, request->path);
    size_t path_len = request->path.len;
    if (memchr(path, '%', path_len) != NULL) {
        peri_url_decode(&exchange->path, path, path_len, false);
        path = exchange->path.data;
        path_len = exchange->path.len;
    }
    enum peri_match_result found = match(exchange, path, path_len);
    uint64_t max_body = limits->max_body_bytes;
    if (found == PERI_MATCH_FOUND) {
        exchange->operation = exchange->match.route->operation;
        max_body = exchange->operation->max_body_bytes;
    } else {
        exchange->refusal = choose_refusal(exchange, found, path, path_len);
    }
    return request->content_length > max_body ? 413 : 0;
}

static int on_body(void *context, const char *bytes, size_t len)
{
    struct peri_exchange *exchange = context;
    uint64_t max = exchange->operation != NULL ? exchange->operation->max_body_bytes
                                               : exchange->loop->vm.app.limits.max_body_bytes;
    exchange->body_total += len;
    if (exchange->body_total > max)
        return 413;
    if (exchange->body_mode == PERI_BODY_DROPPED)
        return 0;
    if (exchange->body_len == 0 && !exchange->in_place && exchange->body.len == 0) {
        exchange->body_at = bytes;
        exchange->body_len = len;
        exchange->in_place = true;
        return 0;
    }
    if (exchange->in_place) { /* a second piece: gather */
        exchange->in_place = false;
        peri_buf_add(&exchange->body, exchange->body_at, exchange->body_len);
    }
    peri_buf_add(&exchange->body, bytes, len);
    exchange->body_at = exchange->body.data;
    exchange->body_len = exchange->body.len;
    return 0;
}

static void wake_body(struct peri_exchange *exchange)
{
    struct peri_exchange_op *op = exchange->waits_body;
    if (op == NULL || !peri_exchange_body_ready(exchange))
        return;
    exchange->waits_body = NULL;
    peri_op_done(&op->op);
}

void peri_exchange_refuse(struct peri_exchange *exchange, int status)
{
    exchange->keep_alive = false;
    exchange->complete = true;
    exchange->body_mode = PERI_BODY_DROPPED;
    if (exchange->status == 0)
        send_detail(exchange, (unsigned) status, NULL);
    else if (!exchange->answered)
        exchange->failed = true;
    if (exchange->task != NULL) {
        peri_task_cancel(exchange->task,
                         status == 408 ? "the client was too slow" : "the request was refused");
        if (exchange->waits_body != NULL)
            peri_op_done(&exchange->waits_body->op);
        exchange->waits_body = NULL;
    }
    if (exchange->conn != NULL)
        end_if_over(exchange);
}

/* The deadlines of an incomplete message. */
static void watch(struct peri_exchange *exchange)
{
    const struct peri_limits *limits = &exchange->loop->vm.app.limits;
    uint64_t now = uv_now(&exchange->loop->uv);
    if (!exchange->http.head_done) {
        if (exchange->body_since == 0) { /* the first bytes */
            exchange->body_since = now;
            peri_conn_set_read_due(exchange->conn, now + limits->head_timeout_ms);
        }
        return;
    }
    uint64_t elapsed = now - exchange->body_since;
    uint64_t arrived = exchange->body_total - exchange->body_base;
    if (elapsed > limits->body_timeout_ms && arrived * 1000 < limits->body_min_rate * elapsed)
        peri_exchange_refuse(exchange, 408);
    else if (peri_exchange_wants_bytes(exchange))
        peri_conn_set_read_due(exchange->conn, now + limits->body_timeout_ms);
    else
        exchange->conn->read_due = 0; /* it is us who make the client wait */
}

size_t peri_exchange_feed(struct peri_exchange *exchange, const char *bytes, size_t len)
{
    struct peri_conn *conn = exchange->conn;
    const char *base = bytes;
    size_t kept = exchange->head.len;
    if (!exchange->http.head_done && kept > 0) {
        /* The head goes on: it must be contiguous. No more than its limit is ever copied. */
        size_t room = exchange->loop->http_limits.max_head_bytes - kept + 4;
        if (len > room)
            len = room;
        peri_buf_add(&exchange->head, bytes, len);
        base = exchange->head.data;
        bytes = base + kept;
    }

    size_t consumed = 0;
    enum peri_http_outcome outcome = peri_http_feed(&exchange->http, base, bytes, len, &consumed);
    if (outcome == PERI_HTTP_BAD) {
        peri_exchange_refuse(exchange, exchange->http.status);
        return len; /* nothing behind it can be understood */
    }
    exchange->complete = outcome == PERI_HTTP_END;
    if (exchange->complete)
        conn->read_due = 0;
    if (!exchange->http.head_done) {
        if (kept == 0) {
            peri_buf_add(&exchange->head, bytes, len);
            exchange->request.base = exchange->head.data;
        }
        watch(exchange);
        return consumed;
    }

    if (!exchange->complete) {
        persist(exchange);
        watch(exchange);
        if (conn->exchange != exchange)
            return consumed;
    }
    if (!exchange->started)
        run(exchange);
    else if (exchange->task != NULL)
        wake_body(exchange);
    else
        end_if_over(exchange);
    return consumed;
}

bool peri_exchange_wants_bytes(const struct peri_exchange *exchange)
{
    if (exchange->complete)
        return true; /* pipelined requests wait in the connection, and its end is noticed */
    switch ((enum peri_body_mode) exchange->body_mode) {
    case PERI_BODY_WHOLE:
    case PERI_BODY_DROPPED:
        return true;
    case PERI_BODY_UNCLAIMED:
    case PERI_BODY_CHUNKS:
        break;
    }
    return exchange->body_len < BODY_MARK;
}

/* The body has room again: if the socket was left alone for it, the client's time starts anew. */
static void read_on(struct peri_exchange *exchange)
{
    struct peri_conn *conn = exchange->conn;
    if (conn == NULL || exchange->complete || conn->reading)
        return;
    exchange->body_since = uv_now(&exchange->loop->uv);
    exchange->body_base = exchange->body_total;
    peri_conn_set_read_due(conn,
                           exchange->body_since + exchange->loop->vm.app.limits.body_timeout_ms);
    peri_conn_update_reading(conn);
}

bool peri_exchange_body_ready(const struct peri_exchange *exchange)
{
    return exchange->complete ||
           (exchange->body_mode == PERI_BODY_CHUNKS && exchange->body_len > 0);
}

void peri_exchange_claim_body(struct peri_exchange *exchange, enum peri_body_mode mode)
{
    struct peri_conn *conn = exchange->conn;
    if (exchange->body_mode == PERI_BODY_UNCLAIMED)
        exchange->body_mode = (uint8_t) mode;
    if (conn == NULL || exchange->complete)
        return;
    if ((exchange->request.flags & PERI_REQUEST_EXPECTS_100) && !exchange->said_continue &&
        exchange->body_total == 0 && exchange->status == 0) {
        exchange->said_continue = true;
        peri_buf_add_lit(peri_conn_out(conn), "HTTP/1.1 100 Continue\r\n\r\n");
        peri_conn_send(conn, NULL, 0);
    }
    read_on(exchange);
}

int peri_exchange_await_body(lua_State *L, struct peri_exchange *exchange,
                             int (*finish)(lua_State *L, struct peri_op *op))
{
    struct peri_exchange_op *op = peri_op_new(L, sizeof(*op));
    if (exchange->waits_body != NULL)
        return luaL_error(L, "two tasks wait for the body of one request");
    op->exchange = exchange;
    op->op.finish = finish;
    exchange->waits_body = op;
    return peri_op_await(L, &op->op);
}

void peri_exchange_drop_body(struct peri_exchange *exchange)
{
    exchange->body.len = 0;
    exchange->body_len = 0;
    exchange->in_place = false;
    read_on(exchange);
}

/* --- streamed answers --------------------------------------------------------------------------
 */

bool peri_exchange_stream_write(lua_State *L, struct peri_exchange *exchange, int response,
                                const char *bytes, size_t len)
{
    struct peri_conn *conn = exchange->conn;
    if (conn == NULL || exchange->answered)
        return false;
    struct peri_buf *out = peri_conn_out(conn);
    if (exchange->status == 0) {
        unsigned status = status_of(L, response, 200);
        size_t type_len = 0;
        const char *type = content_type_of(L, response, &type_len);
        int headers = headers_of(L, response);
        size_t before = out->len;
        peri_head_begin(&exchange->loop->heads, uv_now(&exchange->loop->uv), out, status, type,
                        type_len);
        if (headers != 0 && add_headers(L, headers, out) != 0) {
            out->len = before;
            lua_error(L);
        }
        bool bodyless = peri_status_has_no_body(status);
        exchange->chunked_out = !bodyless && !(exchange->request.flags & PERI_REQUEST_HTTP_1_0);
        if (exchange->chunked_out)
            peri_buf_add_lit(out, "transfer-encoding: chunked\r\n");
        else if (!bodyless)
            exchange->keep_alive = false; /* HTTP/1.0: the end of the connection ends the body */
        add_connection(exchange, out);
        peri_buf_add_lit(out, "\r\n");
        exchange->status = (uint16_t) status;
        lua_pop(L, 2);
    }
    if (exchange->request.method == HTTP_HEAD || peri_status_has_no_body(exchange->status))
        len = 0;
    exchange->sent += len;
    if (len == 0 || !exchange->chunked_out) {
        peri_conn_send(conn, bytes, len);
        return exchange->conn != NULL;
    }
    peri_buf_addf(out, "%zx\r\n", len);
    if (len > STREAM_COPY_LIMIT) { /* leaves from where it is */
        peri_conn_send(conn, bytes, len);
        if (exchange->conn == NULL)
            return false;
        out = peri_conn_out(conn);
    } else {
        peri_buf_add(out, bytes, len);
    }
    peri_buf_add_lit(out, "\r\n");
    peri_conn_send(conn, NULL, 0);
    return exchange->conn != NULL;
}

static int on_stream_end(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        answer_error(L, exchange);
        return 0;
    }
    if (exchange->conn == NULL)
        return 0;
    if (exchange->status == 0 && !peri_exchange_stream_write(L, exchange, RESPONSE_INDEX, "", 0))
        return 0;
    exchange->answered = true;
    exchange->body_mode = PERI_BODY_DROPPED;
    if (exchange->chunked_out && exchange->request.method != HTTP_HEAD)
        peri_buf_add_lit(peri_conn_out(exchange->conn), "0\r\n\r\n");
    peri_conn_send(exchange->conn, NULL, 0);
    return 0;
}

void peri_exchange_on_drain(struct peri_exchange *exchange)
{
    struct peri_exchange_op *op = exchange->waits_drain;
    if (op == NULL)
        return;
    exchange->waits_drain = NULL;
    peri_op_done(&op->op);
}

int peri_exchange_await_drain(lua_State *L, struct peri_exchange *exchange)
{
    struct peri_exchange_op *op = peri_op_new(L, sizeof(*op));
    if (exchange->waits_drain != NULL)
        return luaL_error(L, "two tasks write to one stream");
    op->exchange = exchange;
    exchange->waits_drain = op;
    return peri_op_await(L, &op->op);
}
