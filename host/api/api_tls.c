/* perigee.host.tls: contexts, and the handshake over a stream that is connected. */
#include "api_tls.h"

#include "api.h"
#include "api_stream.h"
#include "vm.h"
#include "work.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

static const char CONTEXT_TYPE[] = "perigee.TlsContext";
static const char SESSION_TYPE[] = "perigee.TlsSession";

/* --- contexts ----------------------------------------------------------------------------------
 */

struct context_job {
    struct peri_job job;
    struct peri_tls_options options; /* texts on the stack of the caller, which is parked */
    struct peri_tls_context *context;
    struct peri_tls_fault fault;
};

static struct context_job *job_of(struct peri_job *job)
{
    return peri_container_of(job, struct context_job, job);
}

static void make_context(struct peri_job *job)
{
    struct context_job *self = job_of(job);
    self->context = peri_tls_context_new(&self->options, &self->fault);
}

static void drop_context(struct peri_job *job)
{
    peri_tls_context_free(job_of(job)->context);
}

static int context_gc(lua_State *L)
{
    struct peri_tls_context **box = luaL_checkudata(L, 1, CONTEXT_TYPE);
    peri_tls_context_free(*box);
    *box = NULL;
    return 0;
}

static int context_finish(lua_State *L, struct peri_op *op)
{
    struct context_job *self = job_of(peri_container_of(op, struct peri_job, op));
    if (self->context == NULL)
        return peri_push_error_text(L, self->fault.code, self->fault.text);
    struct peri_tls_context **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    if (luaL_newmetatable(L, CONTEXT_TYPE)) {
        lua_pushcfunction(L, context_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *box = self->context;
    self->context = NULL;
    return 1;
}

/* A string that C can take as it is; NULL for nil. */
static const char *opt_text(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return NULL;
    size_t len = 0;
    const char *text = luaL_checklstring(L, index, &len);
    luaL_argcheck(L, strlen(text) == len, index, "text without NUL expected");
    return text;
}

/* context(ca, cert, key, verify, http): a context, or nil and an error. */
static int tls_context(lua_State *L)
{
    struct peri_tls_options options = {
        .ca = opt_text(L, 1),
        .cert = opt_text(L, 2),
        .key = opt_text(L, 3),
        .verify = lua_toboolean(L, 4),
        .http = lua_toboolean(L, 5),
    };
    struct context_job *self = peri_job_new(L, sizeof(*self));
    self->options = options;
    self->job.op.finish = context_finish;
    self->job.run = make_context;
    self->job.deinit = drop_context;
    return peri_job_await(L, &self->job);
}

/* --- sessions ----------------------------------------------------------------------------------
 */

static int session_gc(lua_State *L)
{
    struct peri_tls_session **box = luaL_checkudata(L, 1, SESSION_TYPE);
    peri_tls_session_free(*box);
    *box = NULL;
    return 0;
}

void peri_session_push(lua_State *L, struct peri_stream *stream)
{
    struct peri_tls *tls = stream != NULL ? peri_tls_of(stream->filter) : NULL;
    if (tls == NULL) {
        lua_pushnil(L);
        return;
    }
    struct peri_tls_session **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    if (luaL_newmetatable(L, SESSION_TYPE)) {
        lua_pushcfunction(L, session_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *box = peri_tls_session_of(tls);
    if (*box == NULL) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

/* --- the handshake -----------------------------------------------------------------------------
 */

struct handshake_op {
    struct peri_op op;
    struct peri_stream_wait wait;
    struct peri_stream_box *box; /* held by the coroutine's stack */
    struct peri_tls *tls;        /* the stream's */
    int status;
};

static bool is_ready(struct peri_stream_wait *wait, const char *bytes, size_t len)
{
    (void) bytes;
    (void) len;
    return peri_tls_is_ready(peri_container_of(wait, struct handshake_op, wait)->tls);
}

static void on_handshake(struct peri_stream_wait *wait, int status)
{
    struct handshake_op *handshake = peri_container_of(wait, struct handshake_op, wait);
    handshake->status = status;
    peri_op_done(&handshake->op);
}

/* Half of a handshake is of no use to anybody. */
static void close_box(struct peri_stream_box *box)
{
    struct peri_stream *stream = box->stream;
    box->stream = NULL;
    if (stream != NULL)
        peri_stream_close(stream);
}

static void handshake_cancel(struct peri_op *op)
{
    struct handshake_op *handshake = peri_container_of(op, struct handshake_op, op);
    peri_stream_leave(&handshake->wait);
    close_box(handshake->box);
    peri_op_done(op);
}

static int push_fault(lua_State *L, const struct handshake_op *handshake)
{
    const struct peri_tls_fault *fault = peri_tls_fault_of(handshake->tls);
    if (handshake->status != UV_ETIMEDOUT && fault->code != NULL)
        return peri_push_error_text(L, fault->code, fault->text);
    return peri_push_failure(L, handshake->status, "TLS handshake");
}

static int handshake_finish(lua_State *L, struct peri_op *op)
{
    struct handshake_op *handshake = peri_container_of(op, struct handshake_op, op);
    if (handshake->box->stream == NULL)
        return peri_push_error_text(L, "ECLOSED", "the stream was closed meanwhile");
    if (handshake->status == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    int results = push_fault(L, handshake);
    close_box(handshake->box);
    return results;
}

static struct peri_tls *make_tls(lua_State *L)
{
    struct peri_tls_context **context = luaL_checkudata(L, 2, CONTEXT_TYPE);
    const char *name = luaL_checkstring(L, 3);
    struct peri_tls_session **session =
        lua_isnoneornil(L, 4) ? NULL : luaL_checkudata(L, 4, SESSION_TYPE);
    return peri_tls_new(*context, name, session != NULL ? *session : NULL);
}

/* start(stream, context, name, session, timeout_ms): true, or nil and an error; then the stream is
 * closed. */
static int tls_start(lua_State *L)
{
    struct peri_stream_box *box = peri_stream_box_check(L, 1);
    lua_Number ms = luaL_optnumber(L, 5, 0);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, 5, "milliseconds, 0 or more, expected");
    luaL_checkudata(L, 2, CONTEXT_TYPE);
    if (box->stream == NULL)
        return luaL_error(L, "the stream is closed");
    if (box->stream->reader != NULL || box->stream->filter != NULL)
        return luaL_error(L, "another task reads from this stream, or it is secured already");
    struct handshake_op *handshake = peri_op_new(L, sizeof(*handshake));
    handshake->op.finish = handshake_finish;
    handshake->op.cancel = handshake_cancel;
    handshake->wait.wake = on_handshake;
    handshake->wait.enough = is_ready;
    handshake->box = box;
    handshake->tls = make_tls(L);
    handshake->status = peri_stream_set_filter(box->stream, peri_tls_filter(handshake->tls));
    if (handshake->status < 0)
        return handshake_finish(L, &handshake->op);
    peri_stream_await_bytes(box->stream, &handshake->wait, (uint64_t) ceil(ms));
    return peri_op_await(L, &handshake->op);
}

/* session(stream) */
static int tls_session(lua_State *L)
{
    peri_session_push(L, peri_stream_box_check(L, 1)->stream);
    return 1;
}

static const luaL_Reg tls_functions[] = {
    {"context", tls_context},
    {"start", tls_start},
    {"session", tls_session},
    {NULL, NULL},
};

int peri_open_tls(lua_State *L)
{
    luaL_newlib(L, tls_functions);
    return 1;
}
