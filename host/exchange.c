#include "exchange.h"

#include "access_log.h"
#include "after.h"
#include "answer.h"
#include "api/api.h"
#include "decode.h"
#include "develop.h"
#include "generation.h"
#include "hop.h"
#include "log.h"
#include "loop.h"
#include "refusal.h"
#include "url.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define POOL_LIMIT 64
#define CLIENT_GONE 499 /* as a status in metrics: the client did not wait for the answer */
#define KEPT 16384      /* memory a pooled exchange keeps in each of its buffers */

static void run(struct peri_exchange *exchange);

/* --- beginning and end -------------------------------------------------------------------------
 */

static int on_head(void *context);

static const struct peri_http_events http_events = {.head = on_head, .body = peri_body_take};

/* Room for as many headers as the app of this request allows: the one before may have allowed
 * others. */
static void make_header_room(struct peri_exchange *exchange, uint32_t count)
{
    if (exchange->header_room == count)
        return;
    free(exchange->request.headers);
    exchange->request.headers = calloc(count, sizeof(*exchange->request.headers));
    exchange->header_room = count;
    if (exchange->request.headers == NULL) {
        fputs("perigee: out of memory (a request)\n", stderr);
        abort();
    }
}

struct peri_exchange *peri_exchange_begin(struct peri_conn *conn)
{
    struct peri_loop *loop = conn->loop;
    struct peri_exchange *exchange = NULL;
    struct peri_list *link = peri_list_pop(&loop->free_exchanges);
    if (link != NULL) {
        loop->free_exchange_count--;
        exchange = peri_container_of(link, struct peri_exchange, link);
    } else {
        exchange = calloc(1, sizeof(*exchange));
        if (exchange == NULL) {
            fputs("perigee: out of memory (a request)\n", stderr);
            abort();
        }
        exchange->loop = loop;
        peri_list_init(&exchange->link);
    }
    exchange->conn = conn;
    exchange->vm = peri_generation_enter(loop);
    const struct peri_http_limits *limits = &exchange->vm->app.http_limits;
    make_header_room(exchange, limits->max_headers);
    exchange->vm->tasks.events++;
    exchange->scratch = &loop->scratch;
    if (peri_log_access_format() != PERI_LOG_OFF || peri_metrics_enabled()) {
        exchange->started_ns = uv_hrtime();
        exchange->peer = conn->peer;
        exchange->counted = true;
        peri_metrics_begin(&loop->gauges);
    }
    peri_http_init(&exchange->http, &exchange->request, limits, &http_events, exchange);
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
    while ((link = peri_list_pop(&loop->free_exchanges)) != NULL)
        exchange_free(peri_container_of(link, struct peri_exchange, link));
    loop->free_exchange_count = 0;
}

static void release(struct peri_exchange *exchange)
{
    struct peri_loop *loop = exchange->loop;
    peri_timer_stop(&loop->timers, &exchange->ping);
    peri_list_remove(&exchange->link); /* from those that wait for news */
    peri_inflate_free(exchange->inflate);
    peri_form_free(exchange->form);
    peri_generation_leave(exchange->vm);
    if (exchange->counted)
        peri_metrics_end(&loop->gauges);
    if (loop->free_exchange_count >= POOL_LIMIT) {
        exchange_free(exchange);
        return;
    }
    peri_buf_reset(&exchange->head, KEPT);
    peri_buf_reset(&exchange->path, KEPT);
    peri_buf_reset(&exchange->body, KEPT);
    exchange->conn = NULL;
    memset(&exchange->operation, 0, sizeof(*exchange) - offsetof(struct peri_exchange, operation));
    peri_list_append(&loop->free_exchanges, &exchange->link);
    loop->free_exchange_count++;
}

/* The access log and the metrics. A client that went before its answer is logged by nobody, and
 * counted once its request was understood. */
static void record(struct peri_exchange *exchange)
{
    bool has_answer = exchange->answered || exchange->status != 0;
    if (has_answer && peri_log_access_format() != PERI_LOG_OFF)
        peri_access_log(exchange);
    if (exchange->vm->app.measured && (has_answer || exchange->http.head_done))
        peri_metrics_count(exchange->operation != NULL ? exchange->operation->metrics
                                                       : exchange->vm->app.unmatched,
                           exchange->loop->index, exchange->request.method,
                           exchange->status != 0 ? exchange->status : CLIENT_GONE,
                           uv_hrtime() - exchange->started_ns);
}

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
    if (exchange->started_ns != 0)
        record(exchange);
    bool keep_alive = exchange->keep_alive && !exchange->loop->stopping;
    release(exchange);
    if (conn != NULL)
        peri_conn_exchange_over(conn, keep_alive);
}

void peri_exchange_finish(struct peri_exchange *exchange)
{
    end_if_over(exchange);
}

/* Wakes whoever still waits for this exchange; nothing more will come. */
static void forget_waiters(struct peri_exchange *exchange)
{
    struct peri_exchange_op **places[] = {&exchange->waits_body, &exchange->waits_drain};
    for (int i = 0; i < 2; i++) {
        if (*places[i] != NULL)
            (*places[i])->exchange = NULL;
        peri_exchange_wake(places[i]);
    }
}

void peri_exchange_abort(struct peri_exchange *exchange, const char *reason)
{
    exchange->peer = exchange->conn->peer;
    exchange->conn = NULL;
    if (exchange->task != NULL && peri_exchange_ends_with_client(exchange))
        peri_task_cancel(exchange->task, reason);
    forget_waiters(exchange);
    end_if_over(exchange);
}

/* --- waiting -----------------------------------------------------------------------------------
 */

static void cancel_wait(struct peri_op *op)
{
    struct peri_exchange_op *wait = peri_container_of(op, struct peri_exchange_op, op);
    peri_exchange_wake(wait->place);
}

int peri_exchange_await(lua_State *L, struct peri_exchange *exchange,
                        struct peri_exchange_op **place,
                        int (*finish)(lua_State *L, struct peri_op *op))
{
    struct peri_exchange_op *op = peri_op_new(L, sizeof(*op));
    if (*place != NULL)
        return luaL_error(L, "another task waits for the same thing of this request");
    op->exchange = exchange;
    op->place = place;
    op->op.finish = finish;
    op->op.cancel = cancel_wait;
    *place = op;
    return peri_op_await(L, &op->op);
}

void peri_exchange_wake(struct peri_exchange_op **place)
{
    struct peri_exchange_op *op = *place;
    *place = NULL;
    if (op != NULL)
        peri_op_done(&op->op);
}

struct peri_exchange *peri_exchange_of_op(lua_State *L, struct peri_op *op)
{
    struct peri_exchange_op *wait = peri_container_of(op, struct peri_exchange_op, op);
    if (wait->exchange == NULL)
        luaL_error(L, "the request has ended while its body was waited for");
    return wait->exchange;
}

void peri_exchange_on_drain(struct peri_exchange *exchange)
{
    peri_exchange_wake(&exchange->waits_drain);
}

int peri_exchange_await_drain(lua_State *L, struct peri_exchange *exchange)
{
    return peri_exchange_await(L, exchange, &exchange->waits_drain, NULL);
}

/* --- names in logs -----------------------------------------------------------------------------
 */

static const union peri_address *peer_of(const struct peri_exchange *exchange)
{
    return exchange->conn != NULL ? &exchange->conn->peer : &exchange->peer;
}

static const struct peri_config *config_of(const struct peri_exchange *exchange)
{
    return exchange->site != NULL ? peri_hop_config(exchange->site) : exchange->loop->config;
}

struct peri_origin peri_exchange_origin(const struct peri_exchange *exchange)
{
    const union peri_address *peer = peer_of(exchange);
    if (!exchange->http.head_done)
        return (struct peri_origin){.client = *peer};
    return peri_forwarded_origin(&exchange->request, peer, &config_of(exchange)->trusted);
}

static uint64_t process_id;

static void choose_process_id(void)
{
    if (getrandom(&process_id, sizeof(process_id), 0) != sizeof(process_id))
        process_id = uv_hrtime();
}

uint64_t peri_next_number(void)
{
    static atomic_ullong last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

/* The id that a trusted proxy has given it. Two of them are none: nobody could tell which one
 * counts. */
static bool take_proxy_id(const struct peri_exchange *exchange, char text[PERI_REQUEST_ID])
{
    static const char name[] = "x-request-id";
    const struct peri_request *request = &exchange->request;
    if (!exchange->http.head_done)
        return false;
    int index = peri_request_find(request, 0, name, sizeof(name) - 1);
    if (index < 0 || peri_request_find(request, index + 1, name, sizeof(name) - 1) >= 0)
        return false;
    struct peri_span value = request->headers[index].value;
    const char *bytes = peri_request_at(request, value);
    if (value.len == 0 || value.len >= PERI_REQUEST_ID)
        return false;
    for (uint32_t i = 0; i < value.len; i++) {
        if (bytes[i] <= ' ' || bytes[i] > '~')
            return false;
    }
    if (!peri_networks_contain(&config_of(exchange)->trusted, peer_of(exchange)))
        return false;
    memcpy(text, bytes, value.len);
    text[value.len] = '\0';
    return true;
}

static char *add_hex(char *to, uint64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--)
        *to++ = "0123456789abcdef"[(number >> (4 * i)) & 15];
    return to;
}

void peri_exchange_id(struct peri_exchange *exchange, char text[PERI_REQUEST_ID])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (take_proxy_id(exchange, text))
        return;
    pthread_once(&once, choose_process_id);
    if (exchange->id == 0)
        exchange->id = peri_next_number();
    *add_hex(add_hex(text, process_id, 16), exchange->id, 8) = '\0';
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
    if (strcmp(text, "not enough memory") == 0) {
        free(text);
        const struct peri_heap *heap = &exchange->vm->heap;
        peri_exchange_log(exchange,
                          "out of memory: Lua holds %zu bytes and may hold %zu (--lua-memory)",
                          heap->used, heap->limit);
        return;
    }
    const struct peri_request *request = &exchange->request;
    const struct peri_operation *operation = exchange->operation;
    char id[PERI_REQUEST_ID];
    peri_exchange_id(exchange, id);
    size_t method_len = 0;
    const char *method = peri_request_method(request, &method_len);
    peri_log_error("%.*s %.*s (request %s%s%s): %s", (int) method_len, method,
                   (int) request->target.len, peri_request_at(request, request->target), id,
                   operation != NULL && operation->source != NULL ? ", " : "",
                   operation != NULL && operation->source != NULL ? operation->source : "", text);
    free(text);
}

/* --- deadlines and clients that leave -----------------------------------------------------------
 */

/* The connection goes on without it, though its task is not over. */
static struct peri_conn *leave_conn(struct peri_exchange *exchange)
{
    struct peri_conn *conn = exchange->conn;
    exchange->peer = conn->peer;
    exchange->conn = NULL;
    exchange->started_ns = 0; /* what it does from here on is no part of the request */
    forget_waiters(exchange);
    return conn;
}

/* Answers in place of a task that was cancelled: its client is not to wait for what that comes to.
 */
static void answer_early(struct peri_exchange *exchange, unsigned status)
{
    if (!exchange->complete || exchange->loop->stopping)
        exchange->keep_alive = false;
    peri_answer_detail(exchange, status, NULL);
    if (exchange->conn == NULL)
        return;
    bool keep_alive = exchange->keep_alive;
    if (exchange->started_ns != 0)
        record(exchange);
    peri_conn_exchange_left(leave_conn(exchange), keep_alive);
}

static int exchange_main(lua_State *L);
static void on_task_ended(struct peri_task *task, void *owner, bool failed);

/* Takes the request over from an exchange that has not answered it, as one that is refused. */
static struct peri_exchange *take_over(struct peri_exchange *exchange, unsigned status)
{
    struct peri_exchange *heir = peri_exchange_begin(exchange->conn);
    if (heir->vm != exchange->vm) { /* the middleware is that of the version that began */
        peri_generation_leave(heir->vm);
        heir->vm = exchange->vm;
        heir->vm->life.exchanges++;
    }
    const struct peri_request *request = &exchange->request;
    make_header_room(heir, exchange->header_room);
    struct peri_header *headers = heir->request.headers;
    memcpy(headers, request->headers, request->header_count * sizeof(*headers));
    heir->head.len = 0;
    peri_buf_add(&heir->head, request->base, request->head_len);
    heir->request = *request;
    heir->request.headers = headers;
    heir->request.base = heir->head.data;
    heir->http.head_done = true;
    heir->operation = exchange->operation;
    heir->id = exchange->id;
    heir->started_ns = exchange->started_ns;
    heir->keep_alive = exchange->keep_alive && exchange->complete;
    heir->started = heir->complete = true; /* no more of the body is wanted */
    heir->body_mode = PERI_BODY_DROPPED;
    heir->refusal = (uint16_t) status;
    return heir;
}

/* The same by the app's middleware and error handlers, which see every answer: they run a turn
 * later, for an exchange of their own. */
static void answer_by_app(struct peri_exchange *exchange, unsigned status)
{
    struct peri_exchange *heir = take_over(exchange, status);
    struct peri_conn *conn = leave_conn(exchange);
    conn->exchange = heir;
    conn->read_due = 0;
    heir->task = peri_task_post(&heir->vm->tasks, exchange_main, heir, on_task_ended);
    if (heir->task == NULL)
        answer_early(heir, status);
}

static void answer_instead(struct peri_exchange *exchange, unsigned status)
{
    if (exchange->status != 0) /* a stream: its client must not take it for complete */
        peri_conn_reset(exchange->conn);
    else if (exchange->refusal != 0 || exchange->vm->app.fallback == LUA_NOREF)
        answer_early(exchange, status);
    else
        answer_by_app(exchange, status);
}

/* The operation took too long. May be called while its task runs. */
static void on_expired(struct peri_task *task, void *owner)
{
    struct peri_exchange *exchange = owner;
    if (exchange->conn == NULL || exchange->answered)
        return;
    peri_exchange_log(exchange, "not answered within %llu ms",
                      (unsigned long long) task->work->timeout_ms);
    answer_instead(exchange, 504);
}

void peri_exchange_cancel(struct peri_exchange *exchange, const char *reason)
{
    if (exchange->task == NULL) {
        peri_exchange_refuse(exchange, 503);
        return;
    }
    peri_task_cancel(exchange->task, reason);
    if (exchange->conn != NULL && !exchange->answered)
        answer_instead(exchange, 503);
}

bool peri_exchange_cut(struct peri_exchange *exchange)
{
    if (exchange->task == NULL || exchange->status != 0)
        return false;
    peri_exchange_log(exchange, "not answered before the server stopped");
    answer_early(exchange, 503);
    return true;
}

bool peri_exchange_ends_with_client(const struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    uint8_t wanted = operation != NULL ? operation->on_disconnect : PERI_DISCONNECT_USUAL;
    if (wanted != PERI_DISCONNECT_USUAL)
        return wanted == PERI_DISCONNECT_CANCEL;
    return exchange->request.method == HTTP_GET || exchange->request.method == HTTP_HEAD;
}

/* --- the task ----------------------------------------------------------------------------------
 */

static int on_handler_end(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    bool failed = status != LUA_OK && status != LUA_YIELD;
    if (exchange->site != NULL && peri_hop_reports(L, exchange, failed))
        return 0;
    if (failed) {
        peri_answer_error(L, exchange);
        return 0;
    }
    return peri_answer_result(L, exchange);
}

/* Makes Lua values of the declared inputs, on the request at PERI_REQUEST_INDEX, and runs the
 * checks that are Lua. */
static void push_inputs(lua_State *L, struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    lua_rawgeti(L, LUA_REGISTRYINDEX, operation->inputs_ref);
    if (peri_inputs_push(L, PERI_REQUEST_INDEX + 1, exchange->scratch->result, peri_request_keep,
                         PERI_REQUEST_INDEX) != PERI_VALID)
        exchange->invalid = true;
    lua_settop(L, PERI_REQUEST_INDEX);
}

/* What runs: NULL for a refusal. */
static const struct peri_operation *operation_of(const struct peri_exchange *exchange)
{
    return exchange->refusal == 0 ? exchange->operation : NULL;
}

/* What is called: the handler, or for a refusal the app's middleware around it. Pushes function and
 * arguments. */
static void push_call(lua_State *L, struct peri_exchange *exchange)
{
    const struct peri_operation *operation = operation_of(exchange);
    if (operation == NULL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->vm->app.fallback);
        lua_pushvalue(L, PERI_REQUEST_INDEX);
        peri_refusal_push(L, exchange);
        return;
    }
    if (exchange->site != NULL && peri_hop_push_errand(L, exchange))
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, operation->handler);
    if (!operation->takes_request)
        return;
    lua_pushvalue(L, PERI_REQUEST_INDEX);
    if (!exchange->invalid)
        return;
    size_t len = 0;
    const char *errors = peri_result_errors(exchange->scratch->result, &len);
    lua_pushlstring(L, errors, len);
    peri_result_push_failed(L, operation->inputs, exchange->scratch->result);
}

/* Calls the handler with what stands behind the request. */
static int call(lua_State *L, int status, lua_KContext context)
{
    int arguments = lua_gettop(L) - PERI_REQUEST_INDEX - 1;
    status = lua_pcallk(L, arguments, 1, PERI_TRACEBACK_INDEX, context, on_handler_end);
    return on_handler_end(L, status, context);
}

int peri_exchange_handle(lua_State *L, struct peri_exchange *exchange)
{
    const struct peri_operation *operation = operation_of(exchange);
    lua_settop(L, 0);
    lua_pushcfunction(L, peri_hop_has_errand(exchange) ? peri_hop_traceback : peri_traceback);
    if (operation == NULL || operation->takes_request || (operation->uses & PERI_USES_CHECKS) ||
        peri_hop_has_errand(exchange))
        exchange->box = peri_request_push(L, exchange);
    else
        lua_pushnil(L);
    if (operation != NULL && operation->inputs != NULL && exchange->box != NULL) {
        push_inputs(L, exchange);
        if (exchange->invalid && !operation->sees_invalid) {
            peri_answer_invalid(exchange);
            return 0;
        }
    }
    push_call(L, exchange);
    const struct peri_work *work = peri_task_current(L)->work;
    if (work != NULL && work->computes) /* known to: it starts behind those who do not */
        return peri_task_queue(L, call, (lua_KContext) exchange);
    return call(L, LUA_OK, (lua_KContext) exchange);
}

/* The error at the top is no HTTP error: what the app's fallback is told of it takes its place. */
static void describe_failure(lua_State *L, struct peri_exchange *exchange)
{
    peri_push_message(L, lua_gettop(L));
    if (!exchange->logged)
        peri_exchange_log(exchange, "%s", lua_tostring(L, -1));
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, 500);
    lua_setfield(L, -2, "status");
    lua_insert(L, -2);
    lua_setfield(L, -2, "failure");
    lua_replace(L, -2);
}

int peri_exchange_lead_error(lua_State *L, struct peri_exchange *exchange)
{
    int error = lua_gettop(L);
    if (exchange->vm->app.fallback == LUA_NOREF || peri_is_cancelled(L, error)) {
        peri_answer_error(L, exchange);
        return 0;
    }
    if (!peri_is_http_error(L, error))
        describe_failure(L, exchange);
    exchange->box = peri_request_push(L, exchange);
    lua_replace(L, PERI_REQUEST_INDEX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->vm->app.fallback);
    lua_pushvalue(L, PERI_REQUEST_INDEX);
    lua_createtable(L, 0, 3);
    lua_getfield(L, error, "status");
    lua_setfield(L, -2, "status");
    lua_getfield(L, error, "headers");
    lua_setfield(L, -2, "headers");
    lua_getfield(L, error, "failure");
    lua_setfield(L, -2, "failure");
    lua_createtable(L, 0, 1);
    lua_getfield(L, error, "detail");
    lua_setfield(L, -2, "detail");
    lua_setfield(L, -2, "json");
    peri_response_mark(L);
    lua_remove(L, error);
    return call(L, LUA_OK, (lua_KContext) exchange);
}

/* Whether a worker does all of it. */
static bool goes_whole(const struct peri_exchange *exchange)
{
    const struct peri_operation *operation = operation_of(exchange);
    return operation != NULL && operation->threaded && exchange->vm->workers != NULL;
}

/* The body of a request's task. Until the handler runs only a decoder may wait, after which the
 * request is validated: its bytes and the thread's result are still in place. */
static int exchange_main(lua_State *L)
{
    struct peri_exchange *exchange = lua_touserdata(L, 1);
    exchange->task = peri_task_current(L);
    const struct peri_operation *operation = operation_of(exchange);
    exchange->task->work = operation != NULL ? operation->work : &exchange->vm->app.refusal_work;
    exchange->task->work->expired = on_expired;
    if (goes_whole(exchange))
        return peri_hop_whole(L, exchange);
    if (peri_decode_is_due(exchange))
        return peri_decode_handle(L, exchange);
    return peri_exchange_handle(L, exchange);
}

/* --- the task's end ----------------------------------------------------------------------------
 */

void peri_exchange_task_ended(struct peri_exchange *exchange)
{
    exchange->task = NULL;
    forget_waiters(exchange);
    if (exchange->box != NULL)
        exchange->box->exchange = NULL;
    if (exchange->stream_box != NULL)
        exchange->stream_box->exchange = NULL;
    exchange->box = NULL;
    exchange->stream_box = NULL;
}

static void on_task_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_exchange *exchange = owner;
    peri_exchange_task_ended(exchange);
    if (failed) { /* out of memory, as a rule: nothing of the app's leaves exchange_main() */
        peri_exchange_log(exchange, "%s", peri_task_error(task));
        peri_answer_fail(exchange);
    }
    peri_after_start(peri_after_take(exchange));
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
            bool of_host = i + exchange->host_params >= exchange->match.param_count;
            if (exchange->path.len == 0 || of_host)
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

bool peri_exchange_validate(struct peri_exchange *exchange)
{
    struct peri_scratch *scratch = exchange->scratch;
    const struct peri_operation *operation = exchange->operation;
    struct peri_sources sources;
    peri_gather_sources(&scratch->gather, &exchange->request, &exchange->match, operation->uses,
                        &sources);
    sources.body = exchange->body_at;
    sources.body_len = exchange->body_len;
    if (exchange->decoded) {
        static const char type[] = "application/json";
        sources.body = scratch->decoded.data;
        sources.body_len = scratch->decoded.len;
        sources.content_type = type;
        sources.content_type_len = sizeof(type) - 1;
    }
    if (exchange->form != NULL)
        sources.form = peri_form_fields(exchange->form);
    peri_result_set_codes(scratch->result, operation->errors.validation == PERI_DETAIL_CODES &&
                                               !operation->sees_invalid);
    switch (peri_inputs_validate(operation->inputs, &sources,
                                 (unsigned) exchange->vm->app.limits.max_json_depth,
                                 scratch->result)) {
    case PERI_VALID:
        return true;
    case PERI_INVALID:
        exchange->invalid = true;
        if (operation->sees_invalid || peri_hop_has_errand(exchange))
            return true;
        peri_answer_invalid(exchange);
        break;
    case PERI_BAD_BODY:
        peri_answer_text_detail(exchange, 400, "There was an error parsing the body");
        break;
    }
    return false;
}

/* Starts what answers the request; `exchange` may be over afterwards. */
static void run(struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    exchange->started = true;
    if (exchange->for_develop) {
        struct peri_conn *conn = exchange->conn;
        peri_develop_run(exchange);
        if (conn->exchange != exchange) /* the client has gone, and the exchange with it */
            return;
        if (exchange->answered)
            end_if_over(exchange);
        else
            persist(exchange);
        return;
    }
    if (operation == NULL && exchange->vm->app.fallback == LUA_NOREF) {
        peri_refusal_send(exchange);
        end_if_over(exchange);
        return;
    }
    if (operation != NULL && operation->inputs != NULL && !goes_whole(exchange) &&
        !peri_decode_is_due(exchange) && !peri_exchange_validate(exchange)) {
        end_if_over(exchange);
        return;
    }
    struct peri_task *task =
        peri_task_start(&exchange->vm->tasks, exchange_main, exchange, on_task_ended);
    if (task != NULL) /* it waits; otherwise the exchange may be over by now */
        persist(exchange);
}

struct peri_exchange *peri_exchange_of_task(const struct peri_task *task)
{
    return task != NULL && task->ended == on_task_ended ? task->owner : NULL;
}

/* --- reading -----------------------------------------------------------------------------------
 */

void peri_exchange_match(struct peri_exchange *exchange)
{
    struct peri_request *request = &exchange->request;
    const char *path = peri_request_at(request, request->path);
    size_t path_len = request->path.len;
    if (path_len == 0) { /* of an absolute target: RFC 9110, 4.2.3 */
        path = "/";
        path_len = 1;
    }
    if (memchr(path, '%', path_len) != NULL) {
        peri_url_decode(&exchange->path, path, path_len, false);
        path = exchange->path.data;
        path_len = exchange->path.len;
    }
    exchange->refusal = peri_refusal_or_match(exchange, path, path_len);
    if (exchange->refusal == 0)
        exchange->operation = exchange->match.route->operation;
}

/* Finds the operation. What is refused without Lua is noted and answered when the handler would
 * have been started. */
static int on_head(void *context)
{
    struct peri_exchange *exchange = context;
    struct peri_request *request = &exchange->request;

    exchange->keep_alive = (request->flags & PERI_REQUEST_KEEP_ALIVE) != 0;
    exchange->body_since = uv_now(&exchange->loop->uv);
    if (exchange->loop->server->develop != NULL && peri_develop_takes(exchange)) {
        exchange->for_develop = true;
        exchange->started_ns = 0; /* nothing for the access log */
        return 0;
    }
    exchange->loop->requests++;
    peri_exchange_match(exchange);
    if (request->content_length > peri_body_max(exchange))
        return 413;
    return exchange->operation != NULL ? peri_body_expect(exchange) : 0;
}

void peri_exchange_refuse(struct peri_exchange *exchange, int status)
{
    exchange->keep_alive = false;
    exchange->complete = true;
    exchange->body_mode = PERI_BODY_DROPPED;
    if (exchange->status == 0 && exchange->detail != NULL)
        peri_answer_text_detail(exchange, (unsigned) status, exchange->detail);
    else if (exchange->status == 0)
        peri_answer_detail(exchange, (unsigned) status, NULL);
    else if (!exchange->answered)
        exchange->failed = true;
    if (exchange->task != NULL)
        peri_task_cancel(exchange->task,
                         status == 408 ? "the client was too slow" : "the request was refused");
    forget_waiters(exchange);
    if (exchange->conn != NULL)
        end_if_over(exchange);
}

/* The deadlines of an incomplete message. Returns false when they have passed and the exchange is
 * over, or will be. */
static bool watch(struct peri_exchange *exchange)
{
    const struct peri_limits *limits = &exchange->vm->app.limits;
    uint64_t now = uv_now(&exchange->loop->uv);
    if (!exchange->http.head_done) {
        if (exchange->body_since == 0) { /* the first bytes */
            exchange->body_since = now;
            peri_conn_set_read_due(exchange->conn, now + limits->head_timeout_ms);
        }
        return true;
    }
    uint64_t elapsed = now - exchange->body_since;
    uint64_t arrived = exchange->body_total - exchange->body_base;
    if (elapsed > limits->body_timeout_ms && arrived * 1000 < limits->body_min_rate * elapsed) {
        peri_exchange_refuse(exchange, 408);
        return false;
    }
    if (peri_body_has_room(exchange))
        peri_conn_set_read_due(exchange->conn, now + limits->body_timeout_ms);
    else
        exchange->conn->read_due = 0; /* it is us who make the client wait */
    return true;
}

size_t peri_exchange_feed(struct peri_exchange *exchange, const char *bytes, size_t len)
{
    struct peri_conn *conn = exchange->conn;
    const char *base = bytes;
    size_t kept = exchange->head.len;
    if (!exchange->http.head_done && kept > 0) {
        /* The head goes on: it must be contiguous. No more than its limit is ever copied. */
        size_t room = exchange->vm->app.http_limits.max_head_bytes - kept + 4;
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
        if (!watch(exchange))
            return consumed;
    }
    if (!exchange->started && exchange->complete) {
        int status = peri_body_end(exchange);
        if (status != 0)
            peri_exchange_refuse(exchange, status);
        else
            run(exchange);
        return consumed;
    }
    if (!exchange->started && !peri_body_is_needed(exchange))
        run(exchange);
    else if (exchange->task != NULL)
        peri_body_wake(exchange);
    else if (exchange->started)
        end_if_over(exchange);
    return consumed;
}
