/* perigee.host.net: connecting, listening, resolving. What a connection does is api_stream.c's. */
#include "api.h"

#include "api_stream.h"
#include "dial.h"
#include "vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char LISTENER_TYPE[] = "perigee.Listener";
static const char CONNECT_TYPE[] = "perigee.connect_op";

static uint64_t opt_timeout(lua_State *L, int index)
{
    lua_Number ms = luaL_optnumber(L, index, 0);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, index, "milliseconds, 0 or more, expected");
    return (uint64_t) ceil(ms);
}

static uint16_t check_port(lua_State *L, int index)
{
    lua_Integer port = luaL_checkinteger(L, index);
    luaL_argcheck(L, port >= 0 && port <= 65535, index, "a port, 0 to 65535, expected");
    return (uint16_t) port;
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

/* --- connecting --------------------------------------------------------------------------------
 */

struct connect_op {
    struct peri_op op;
    struct peri_dial_wait wait;
    struct peri_stream *stream; /* connected, and in no box yet */
    int status;
};

/* Arguments of net_connect(), and the box behind them. */
enum { HOST = 1, PORT, PATH, TIMEOUT, BOX };

static int connect_gc(lua_State *L)
{
    struct connect_op *connect = luaL_checkudata(L, 1, CONNECT_TYPE);
    if (connect->stream != NULL)
        peri_stream_close(connect->stream);
    connect->stream = NULL;
    return 0;
}

static void on_dialed(struct peri_dial_wait *wait, int status, struct peri_stream *stream)
{
    struct connect_op *connect = peri_container_of(wait, struct connect_op, wait);
    connect->status = status;
    connect->stream = stream;
    peri_op_done(&connect->op);
}

static void connect_cancel(struct peri_op *op)
{
    struct connect_op *connect = peri_container_of(op, struct connect_op, op);
    peri_dial_leave(&connect->wait);
    peri_op_done(op);
}

static int push_connect_failure(lua_State *L, int status)
{
    const char *what = lua_isnoneornil(L, PATH)
                           ? lua_pushfstring(L, "connect to %s:%d", lua_tostring(L, HOST),
                                             (int) lua_tointeger(L, PORT))
                           : lua_pushfstring(L, "connect to %s", lua_tostring(L, PATH));
    return peri_push_failure(L, status, what);
}

static int connect_finish(lua_State *L, struct peri_op *op)
{
    struct connect_op *connect = peri_container_of(op, struct connect_op, op);
    if (connect->status < 0)
        return push_connect_failure(L, connect->status);
    struct peri_stream_box *box = peri_stream_box_check(L, BOX);
    box->stream = connect->stream;
    connect->stream = NULL;
    lua_pushvalue(L, BOX);
    return 1;
}

/* connect(host, port, path, timeout_ms): a stream, or nil and an error. */
static int net_connect(lua_State *L)
{
    lua_settop(L, TIMEOUT);
    struct peri_dial_target target = {
        .path = opt_text(L, PATH),
        .timeout_ms = opt_timeout(L, TIMEOUT),
    };
    if (target.path == NULL) {
        luaL_checkstring(L, HOST);
        target.host = opt_text(L, HOST);
        target.port = check_port(L, PORT);
    }
    peri_stream_box_push(L);
    struct connect_op *connect = peri_op_new(L, sizeof(*connect));
    if (luaL_newmetatable(L, CONNECT_TYPE)) {
        lua_pushcfunction(L, connect_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    connect->op.finish = connect_finish;
    connect->op.cancel = connect_cancel;
    connect->wait.done = on_dialed;
    struct peri_vm *vm = peri_vm_of(L);
    int rc = peri_dial(vm->tasks.loop, vm->timers, &target, &connect->wait);
    return rc < 0 ? push_connect_failure(L, rc) : peri_op_await(L, &connect->op);
}

/* --- listening ---------------------------------------------------------------------------------
 */

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct peri_timers *timers;
    struct peri_list waiting; /* accept_op */
    bool pending; /* libuv holds a connection for us and looks for no other until then */
    int failure;  /* of the last attempt to accept */
};

struct listener_box {
    struct listener *listener; /* NULL once closed */
};

struct accept_op {
    struct peri_op op;
    struct peri_list link;
    struct listener_box *box; /* held by the coroutine's stack */
    int status;
};

static struct listener_box *check_listener(lua_State *L, int index)
{
    return luaL_checkudata(L, index, LISTENER_TYPE);
}

static struct listener *check_listening(lua_State *L, int index)
{
    struct listener_box *box = check_listener(L, index);
    if (box->listener == NULL)
        luaL_error(L, "the listener is closed");
    return box->listener;
}

static void wake_acceptor(struct listener *listener, int status)
{
    struct peri_list *link = peri_list_pop(&listener->waiting);
    if (link == NULL)
        return;
    struct accept_op *accept = peri_container_of(link, struct accept_op, link);
    accept->status = status;
    peri_op_done(&accept->op);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    if (status == 0)
        listener->pending = true;
    else if (peri_list_empty(&listener->waiting))
        listener->failure = status;
    wake_acceptor(listener, status);
}

static void accept_cancel(struct peri_op *op)
{
    struct accept_op *accept = peri_container_of(op, struct accept_op, op);
    peri_list_remove(&accept->link);
    peri_op_done(op);
}

/* Takes the connection that libuv holds. Between its arrival and this, nobody may have lost it. */
static int take_connection(lua_State *L, struct listener *listener)
{
    struct peri_stream_box *box = peri_stream_box_push(L);
    uv_loop_t *loop = listener->uv.handle.loop;
    box->stream = peri_stream_new(loop, listener->timers, listener->uv.handle.type);
    listener->pending = false;
    int rc = uv_accept(&listener->uv.stream, &box->stream->uv.stream);
    if (rc < 0)
        return peri_push_error(L, rc);
    if (listener->uv.handle.type == UV_TCP)
        uv_tcp_nodelay(&box->stream->uv.tcp, 1);
    return 1;
}

static int accept_or_wait(lua_State *L, struct listener_box *box);

static int accept_finish(lua_State *L, struct peri_op *op)
{
    struct accept_op *accept = peri_container_of(op, struct accept_op, op);
    if (accept->box->listener == NULL)
        return peri_push_error_text(L, "ECLOSED", "the listener was closed meanwhile");
    if (accept->status < 0)
        return peri_push_error(L, accept->status);
    return accept_or_wait(L, accept->box); /* another task may have been faster */
}

static int accept_or_wait(lua_State *L, struct listener_box *box)
{
    struct listener *listener = box->listener;
    if (listener->pending)
        return take_connection(L, listener);
    if (listener->failure < 0) {
        int failure = listener->failure;
        listener->failure = 0;
        return peri_push_error(L, failure);
    }
    struct accept_op *accept = peri_op_new(L, sizeof(*accept));
    accept->op.finish = accept_finish;
    accept->op.cancel = accept_cancel;
    accept->box = box;
    peri_list_append(&listener->waiting, &accept->link);
    return peri_op_await(L, &accept->op);
}

/* listener:accept(): a stream, or nil and an error. */
static int listener_accept(lua_State *L)
{
    check_listening(L, 1);
    return accept_or_wait(L, check_listener(L, 1));
}

static int listener_address(lua_State *L)
{
    struct listener *listener = check_listening(L, 1);
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    uv_os_fd_t fd = -1;
    int rc = uv_fileno(&listener->uv.handle, &fd);
    if (rc == 0 && getsockname(fd, (struct sockaddr *) &name, &len) != 0)
        rc = uv_translate_sys_error(errno);
    return rc < 0 ? peri_push_error(L, rc)
                  : peri_address_push(L, (const struct sockaddr *) &name, len);
}

static int listener_is_closed(lua_State *L)
{
    lua_pushboolean(L, check_listener(L, 1)->listener == NULL);
    return 1;
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_listener(struct listener_box *box)
{
    struct listener *listener = box->listener;
    if (listener == NULL)
        return;
    box->listener = NULL;
    uv_close(&listener->uv.handle, on_listener_closed);
    while (!peri_list_empty(&listener->waiting))
        wake_acceptor(listener, UV_ECANCELED);
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int listener_close(lua_State *L)
{
    close_listener(check_listener(L, 1));
    return 0;
}

static const luaL_Reg listener_methods[] = {
    {"accept", listener_accept},
    {"address", listener_address},
    {"close", listener_close},
    {"is_closed", listener_is_closed},
    {NULL, NULL},
};

static const luaL_Reg listener_metamethods[] = {
    {"__close", listener_close},
    {"__gc", listener_close},
    {NULL, NULL},
};

static void push_listener_metatable(lua_State *L)
{
    if (!luaL_newmetatable(L, LISTENER_TYPE))
        return;
    luaL_setfuncs(L, listener_metamethods, 0);
    luaL_newlib(L, listener_methods);
    lua_setfield(L, -2, "__index");
}

static struct listener_box *push_listener(lua_State *L)
{
    struct listener_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->listener = NULL;
    push_listener_metatable(L);
    lua_setmetatable(L, -2);
    box->listener = calloc(1, sizeof(*box->listener));
    if (box->listener == NULL)
        luaL_error(L, "out of memory");
    return box;
}

struct listen_options {
    const char *host;
    uint16_t port;
    const char *path;
    int backlog;
    bool reuse_port;
};

/* Initializes the handle, whatever comes after, so that it can be closed. */
static int bind_tcp(uv_loop_t *loop, struct listener *listener,
                    const struct listen_options *options)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    uv_os_fd_t fd = -1;
    int on = 1;
    int known = uv_ip4_addr(options->host, options->port, &address.v4);
    if (known != 0)
        known = uv_ip6_addr(options->host, options->port, &address.v6);
    int rc = uv_tcp_init_ex(loop, &listener->uv.tcp,
                            known == 0 ? (unsigned) address.any.sa_family : AF_UNSPEC);
    if (rc < 0) { /* without a socket it can be initialized always */
        uv_tcp_init(loop, &listener->uv.tcp);
        return rc;
    }
    if (known != 0)
        return known;
    if (options->reuse_port && uv_fileno(&listener->uv.handle, &fd) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return uv_translate_sys_error(errno);
    return uv_tcp_bind(&listener->uv.tcp, &address.any, 0);
}

static int bind_path(uv_loop_t *loop, struct listener *listener, const char *path)
{
    uv_pipe_init(loop, &listener->uv.pipe, 0);
    if (strlen(path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
        return UV_ENAMETOOLONG; /* libuv would cut it */
    return uv_pipe_bind(&listener->uv.pipe, path);
}

static int start_listening(struct peri_vm *vm, struct listener *listener,
                           const struct listen_options *options)
{
    peri_list_init(&listener->waiting);
    listener->timers = vm->timers;
    int rc = options->path != NULL ? bind_path(vm->tasks.loop, listener, options->path)
                                   : bind_tcp(vm->tasks.loop, listener, options);
    listener->uv.handle.data = listener;
    return rc < 0 ? rc : uv_listen(&listener->uv.stream, options->backlog, on_connection);
}

/* listen(host, port, path, backlog, reuse_port): a listener, or nil and an error. */
static int net_listen(lua_State *L)
{
    struct listen_options options = {
        .path = opt_text(L, 3),
        .backlog = (int) luaL_optinteger(L, 4, 511),
        .reuse_port = lua_toboolean(L, 5),
    };
    peri_vm_loop(L); /* raises while the app loads */
    if (options.path == NULL) {
        luaL_checkstring(L, 1);
        options.host = opt_text(L, 1);
        options.port = check_port(L, 2);
    }
    struct listener_box *box = push_listener(L);
    int rc = start_listening(peri_vm_of(L), box->listener, &options);
    if (rc == 0)
        return 1;
    close_listener(box);
    const char *what = options.path != NULL
                           ? lua_pushfstring(L, "listen on %s", options.path)
                           : lua_pushfstring(L, "listen on %s:%d", options.host, options.port);
    return peri_push_failure(L, rc, what);
}

/* --- resolving ---------------------------------------------------------------------------------
 */

struct resolve_op;

/* Belongs to libuv until its callback: a name that is being resolved cannot be called back. */
struct resolution {
    uv_getaddrinfo_t req;
    struct resolve_op *op; /* NULL when nobody waits any more */
};

struct resolve_op {
    struct peri_op op;
    struct resolution *resolution; /* NULL once answered */
    struct peri_timer timer;
    struct peri_timers *timers;
    struct addrinfo *found;
    int status;
};

static const char RESOLVE_TYPE[] = "perigee.resolve_op";

static void resolve_end(struct resolve_op *resolve, int status)
{
    if (resolve->resolution != NULL) {
        resolve->resolution->op = NULL;
        uv_cancel((uv_req_t *) &resolve->resolution->req);
    }
    resolve->resolution = NULL;
    peri_timer_stop(resolve->timers, &resolve->timer);
    resolve->status = status;
    peri_op_done(&resolve->op);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct resolution *resolution = peri_container_of(req, struct resolution, req);
    struct resolve_op *resolve = resolution->op;
    free(resolution);
    if (resolve == NULL) {
        uv_freeaddrinfo(found);
        return;
    }
    resolve->resolution = NULL;
    resolve->found = found;
    resolve_end(resolve, status);
}

static void on_resolve_timeout(struct peri_timer *timer)
{
    resolve_end(peri_container_of(timer, struct resolve_op, timer), UV_ETIMEDOUT);
}

static void resolve_cancel(struct peri_op *op)
{
    resolve_end(peri_container_of(op, struct resolve_op, op), UV_ECANCELED);
}

static int resolve_gc(lua_State *L)
{
    struct resolve_op *resolve = luaL_checkudata(L, 1, RESOLVE_TYPE);
    uv_freeaddrinfo(resolve->found);
    resolve->found = NULL;
    return 0;
}

static int resolve_finish(lua_State *L, struct peri_op *op)
{
    struct resolve_op *resolve = peri_container_of(op, struct resolve_op, op);
    if (resolve->status < 0)
        return peri_push_failure(L, resolve->status, lua_tostring(L, 1));
    lua_newtable(L);
    int count = 0;
    for (struct addrinfo *at = resolve->found; at != NULL; at = at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
            continue;
        peri_address_push(L, at->ai_addr, at->ai_addrlen);
        lua_getfield(L, -1, "host");
        lua_rawseti(L, -3, ++count);
        lua_pop(L, 1);
    }
    return 1;
}

static int start_resolving(uv_loop_t *loop, struct resolve_op *resolve, const char *name,
                           int family)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct resolution *resolution = calloc(1, sizeof(*resolution));
    if (resolution == NULL)
        return UV_ENOMEM;
    resolution->op = resolve;
    int rc = uv_getaddrinfo(loop, &resolution->req, on_resolved, name, NULL, &hints);
    if (rc < 0)
        free(resolution);
    else
        resolve->resolution = resolution;
    return rc;
}

/* resolve(name, family, timeout_ms): a list of addresses as text, or nil and an error. */
static int net_resolve(lua_State *L)
{
    static const char *const families[] = {"any", "ipv4", "ipv6", NULL};
    static const int numbers[] = {AF_UNSPEC, AF_INET, AF_INET6};
    luaL_checkstring(L, 1);
    const char *name = opt_text(L, 1);
    int family = numbers[luaL_checkoption(L, 2, "any", families)];
    uint64_t timeout_ms = opt_timeout(L, 3);
    struct resolve_op *resolve = peri_op_new(L, sizeof(*resolve));
    if (luaL_newmetatable(L, RESOLVE_TYPE)) {
        lua_pushcfunction(L, resolve_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    struct peri_vm *vm = peri_vm_of(L);
    resolve->op.finish = resolve_finish;
    resolve->op.cancel = resolve_cancel;
    resolve->timer.fire = on_resolve_timeout;
    resolve->timers = vm->timers;
    int rc = start_resolving(vm->tasks.loop, resolve, name, family);
    if (rc < 0)
        return peri_push_failure(L, rc, name);
    uv_update_time(vm->tasks.loop);
    if (timeout_ms > 0)
        peri_timer_start(vm->timers, &resolve->timer, uv_now(vm->tasks.loop) + timeout_ms);
    return peri_op_await(L, &resolve->op);
}

/* is_address(text): whether it needs no resolving. */
static int net_is_address(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    unsigned char bytes[16];
    lua_pushboolean(L, uv_inet_pton(AF_INET, text, bytes) == 0 ||
                           uv_inet_pton(AF_INET6, text, bytes) == 0);
    return 1;
}

static const luaL_Reg net_functions[] = {
    {"connect", net_connect},
    {"is_address", net_is_address},
    {"listen", net_listen},
    {"resolve", net_resolve},
    {NULL, NULL},
};

int peri_open_net(lua_State *L)
{
    luaL_newlib(L, net_functions);
    push_listener_metatable(L);
    lua_getfield(L, -1, "__index"); /* for the framework to add what is better written in Lua */
    lua_setfield(L, -3, "listener");
    lua_pop(L, 1);
    return 1;
}
