/* perigee.host.client: one HTTP connection to another server, as lua/perigee/http.lua uses it. The
 * object is a struct peri_client; everything here is for the framework's own use, so what the app
 * wrote has been checked already. */
#include "client.h"

#include "api.h"
#include "api_stream.h"
#include "api_tls.h"
#include "vm.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

static const char CLIENT_TYPE[] = "perigee.HttpConnection";
static const char GATE_TYPE[] = "perigee.Gate";

struct client_box {
    struct peri_client client;
    struct peri_op *op; /* of the task that waits; NULL while nobody does */
};

struct client_op {
    struct peri_op op;
    struct client_box *box; /* held by the coroutine's stack */
};

static struct client_box *check_box(lua_State *L)
{
    return luaL_checkudata(L, 1, CLIENT_TYPE);
}

static struct peri_client *check_client(lua_State *L)
{
    return &check_box(L)->client;
}

/* Milliseconds, 0 for nil, in the argument of this index. */
static uint64_t opt_ms(lua_State *L, int index)
{
    lua_Number ms = luaL_optnumber(L, index, 0);
    luaL_argcheck(L, ms >= 0 && ms < 1e15, index, "milliseconds, 0 or more, expected");
    return (uint64_t) ceil(ms);
}

static int push_failure(lua_State *L, const struct peri_client *client)
{
    return peri_push_error_text(L, client->code, client->text);
}

/* --- waiting -----------------------------------------------------------------------------------
 */

static void on_ready(struct peri_client *client)
{
    struct client_box *box = peri_container_of(client, struct client_box, client);
    struct peri_op *op = box->op;
    box->op = NULL;
    if (op != NULL)
        peri_op_done(op);
}

static void client_cancel(struct peri_op *op)
{
    struct client_op *wait = peri_container_of(op, struct client_op, op);
    wait->box->op = NULL;
    peri_client_abandon(&wait->box->client, "ECANCELED", "the request was cancelled");
    peri_op_done(op);
}

static struct peri_client *client_of(struct peri_op *op)
{
    return &peri_container_of(op, struct client_op, op)->box->client;
}

static int await(lua_State *L, enum peri_client_wait wait,
                 int (*finish)(lua_State *L, struct peri_op *op))
{
    struct client_box *box = check_box(L);
    if (box->op != NULL)
        return luaL_error(L, "another task waits for this response");
    struct client_op *op = peri_op_new(L, sizeof(*op));
    op->box = box;
    op->op.finish = finish;
    op->op.cancel = client_cancel;
    box->op = &op->op;
    if (peri_client_await(&box->client, wait))
        on_ready(&box->client);
    return peri_op_await(L, &op->op);
}

/* --- requests ----------------------------------------------------------------------------------
 */

/* connection:begin(method, max_body_bytes, decode, due, silence_ms) */
static int client_begin(lua_State *L)
{
    struct peri_client *client = check_client(L);
    const char *method = luaL_checkstring(L, 2);
    peri_client_begin(client,
                      &(struct peri_client_terms){
                          .question = strcmp(method, "HEAD") == 0      ? PERI_REPLY_TO_HEAD
                                      : strcmp(method, "CONNECT") == 0 ? PERI_REPLY_TO_CONNECT
                                                                       : PERI_REPLY_TO_OTHER,
                          .max_body_bytes = opt_ms(L, 3) == 0 ? UINT64_MAX : opt_ms(L, 3),
                          .decode = lua_toboolean(L, 4),
                          .due = opt_ms(L, 5),
                          .silence_ms = opt_ms(L, 6),
                      });
    return 0;
}

static int send_finish(lua_State *L, struct peri_op *op)
{
    struct peri_client *client = client_of(op);
    if (client->code != NULL && !client->has_head)
        return push_failure(L, client);
    lua_pushboolean(L, !peri_client_is_pointless(client));
    return 1;
}

/* connection:send(bytes, ...): true when the kernel has them; false when the rest of the request is
 * pointless, as the answer has come or the server does not listen; nil and an error. */
static int client_send(lua_State *L)
{
    struct peri_client *client = check_client(L);
    int count = lua_gettop(L);
    for (int i = 2; i <= count; i++) {
        size_t len = 0;
        const char *bytes = luaL_checklstring(L, i, &len);
        peri_client_send(client, bytes, len);
    }
    return await(L, PERI_CLIENT_SENT, send_finish);
}

/* connection:finish(): the request is complete. */
static int client_finish(lua_State *L)
{
    peri_client_end(check_client(L));
    return 0;
}

static void push_span(lua_State *L, const struct peri_reply *reply, struct peri_span span)
{
    lua_pushlstring(L, peri_reply_at(reply, span), span.len);
}

static int head_finish(lua_State *L, struct peri_op *op)
{
    struct peri_client *client = client_of(op);
    const struct peri_reply *reply = &client->reply;
    if (!client->has_head || client->stream == NULL)
        return push_failure(L, client);
    lua_pushinteger(L, reply->status);
    push_span(L, reply, reply->reason);
    lua_createtable(L, (int) reply->header_count * 2, 0);
    for (uint32_t i = 0; i < reply->header_count; i++) {
        push_span(L, reply, reply->headers[i].name);
        lua_rawseti(L, -2, (lua_Integer) i * 2 + 1);
        push_span(L, reply, reply->headers[i].value);
        lua_rawseti(L, -2, (lua_Integer) i * 2 + 2);
    }
    return 3;
}

/* connection:head(): status, reason, { name, value, name, value, ... }; or nil and an error. */
static int client_head(lua_State *L)
{
    return await(L, PERI_CLIENT_HEAD, head_finish);
}

static void push_body(lua_State *L, struct peri_client *client)
{
    lua_pushlstring(L, client->body.len > 0 ? client->body.data : "", client->body.len);
    peri_buf_reset(&client->body, 0);
}

static int read_finish(lua_State *L, struct peri_op *op)
{
    struct peri_client *client = client_of(op);
    if (client->stream != NULL && client->body.len > 0) {
        push_body(L, client);
        return 1;
    }
    if (client->code != NULL)
        return push_failure(L, client);
    lua_pushnil(L);
    return 1;
}

/* connection:read(): the next bytes of the body; nil at its end; nil and an error. */
static int client_read(lua_State *L)
{
    return await(L, PERI_CLIENT_PIECE, read_finish);
}

static int body_finish(lua_State *L, struct peri_op *op)
{
    struct peri_client *client = client_of(op);
    if (client->code != NULL)
        return push_failure(L, client);
    push_body(L, client);
    return 1;
}

/* connection:body(): all of it that is left, or nil and an error. */
static int client_body(lua_State *L)
{
    return await(L, PERI_CLIENT_WHOLE, body_finish);
}

/* connection:set_due(due): of the request that runs. */
static int client_set_due(lua_State *L)
{
    check_client(L)->due = opt_ms(L, 2);
    return 0;
}

/* connection:has_heard(): whether the server has answered with a byte. */
static int client_has_heard(lua_State *L)
{
    lua_pushboolean(L, check_client(L)->heard);
    return 1;
}

/* connection:park(idle_ms): whether it can be used again. */
static int client_park(lua_State *L)
{
    struct client_box *box = check_box(L);
    lua_pushboolean(L, box->op == NULL && peri_client_park(&box->client, opt_ms(L, 2)));
    return 1;
}

/* connection:unpark(): whether it is alive. */
static int client_unpark(lua_State *L)
{
    lua_pushboolean(L, peri_client_unpark(check_client(L)));
    return 1;
}

/* connection:is_closed() */
static int client_is_closed(lua_State *L)
{
    lua_pushboolean(L, check_client(L)->stream == NULL);
    return 1;
}

/* connection:session() */
static int client_session(lua_State *L)
{
    peri_session_push(L, check_client(L)->stream);
    return 1;
}

/* connection:release(): the stream, for another protocol; nil when it is of no use. */
static int client_release(lua_State *L)
{
    struct peri_client *client = check_client(L);
    struct peri_stream_box *box = peri_stream_box_push(L);
    box->stream = peri_client_release(client);
    if (box->stream == NULL)
        lua_pushnil(L);
    return 1;
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int client_close(lua_State *L)
{
    peri_client_close(check_client(L));
    return 0;
}

static const luaL_Reg client_methods[] = {
    {"begin", client_begin},     {"send", client_send},           {"finish", client_finish},
    {"head", client_head},       {"read", client_read},           {"body", client_body},
    {"set_due", client_set_due}, {"has_heard", client_has_heard}, {"park", client_park},
    {"unpark", client_unpark},   {"is_closed", client_is_closed}, {"session", client_session},
    {"release", client_release}, {"close", client_close},         {NULL, NULL},
};

static const luaL_Reg client_metamethods[] = {
    {"__close", client_close},
    {"__gc", client_close},
    {NULL, NULL},
};

/* new(stream): takes the connected stream over; its own object is closed then. */
static int client_new(lua_State *L)
{
    struct peri_stream_box *stream = peri_stream_box_check(L, 1);
    if (stream->stream == NULL || stream->stream->reader != NULL)
        return luaL_error(L, "the stream is closed, or another task reads from it");
    struct client_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    memset(box, 0, sizeof(*box));
    if (luaL_newmetatable(L, CLIENT_TYPE)) {
        luaL_setfuncs(L, client_metamethods, 0);
        luaL_newlib(L, client_methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    peri_client_init(&box->client, stream->stream, on_ready);
    stream->stream = NULL;
    return 1;
}

/* --- gates: what a task in the pool's queue waits at -------------------------------------------
 */

struct gate {
    struct gate_op *waiter; /* NULL while nobody waits */
    bool open;              /* opened, and nobody has gone through yet */
};

struct gate_op {
    struct peri_op op;
    struct gate *gate; /* held by the coroutine's stack */
    struct peri_timer timer;
    struct peri_timers *timers;
};

static void leave_gate(struct gate_op *wait)
{
    wait->gate->waiter = NULL;
    peri_timer_stop(wait->timers, &wait->timer);
    peri_op_done(&wait->op);
}

static void on_gate_due(struct peri_timer *timer)
{
    leave_gate(peri_container_of(timer, struct gate_op, timer));
}

static void gate_cancel(struct peri_op *op)
{
    leave_gate(peri_container_of(op, struct gate_op, op));
}

static int gate_finish(lua_State *L, struct peri_op *op)
{
    struct gate *gate = peri_container_of(op, struct gate_op, op)->gate;
    lua_pushboolean(L, gate->open);
    gate->open = false;
    return 1;
}

/* gate:wait(due): true once it was opened, false when the time has come (0: never). */
static int gate_wait(lua_State *L)
{
    struct gate *gate = luaL_checkudata(L, 1, GATE_TYPE);
    uint64_t due = opt_ms(L, 2);
    if (gate->waiter != NULL)
        return luaL_error(L, "another task waits at this gate");
    struct gate_op *wait = peri_op_new(L, sizeof(*wait));
    wait->op.finish = gate_finish;
    wait->op.cancel = gate_cancel;
    wait->gate = gate;
    wait->timer.fire = on_gate_due;
    wait->timers = peri_vm_of(L)->timers;
    gate->waiter = wait;
    if (gate->open)
        leave_gate(wait);
    else if (due != 0)
        peri_timer_start(wait->timers, &wait->timer, due);
    return peri_op_await(L, &wait->op);
}

static int gate_open(lua_State *L)
{
    struct gate *gate = luaL_checkudata(L, 1, GATE_TYPE);
    gate->open = true;
    if (gate->waiter != NULL)
        leave_gate(gate->waiter);
    return 0;
}

static const luaL_Reg gate_methods[] = {
    {"wait", gate_wait},
    {"open", gate_open},
    {NULL, NULL},
};

/* gate() */
static int client_gate(lua_State *L)
{
    struct gate *gate = lua_newuserdatauv(L, sizeof(*gate), 0);
    memset(gate, 0, sizeof(*gate));
    if (luaL_newmetatable(L, GATE_TYPE)) {
        luaL_newlib(L, gate_methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return 1;
}

/* now(): milliseconds, on the clock of deadlines. */
static int client_now(lua_State *L)
{
    uv_loop_t *loop = peri_vm_of(L)->tasks.loop;
    uv_update_time(loop);
    lua_pushinteger(L, (lua_Integer) uv_now(loop));
    return 1;
}

/* atomically(fn, ...): calls it where the coroutine cannot be left: nobody else runs meanwhile. */
static int client_atomically(lua_State *L)
{
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* failure(code, message): nil and an error. */
static int client_failure(lua_State *L)
{
    return peri_push_error_text(L, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
}

static const luaL_Reg client_functions[] = {
    {"failure", client_failure}, {"atomically", client_atomically},
    {"new", client_new},         {"gate", client_gate},
    {"now", client_now},         {NULL, NULL},
};

int peri_open_client(lua_State *L)
{
    luaL_newlib(L, client_functions);
    return 1;
}
