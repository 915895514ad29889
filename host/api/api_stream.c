/* Methods of perigee.Stream. Reading and writing try what needs no waiting first and make an op
 * only when they must wait. */
#include "api_stream.h"

#include "api.h"
#include "vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DEFAULT_READ 65536
#define DEFAULT_LINE 65536
#define MAX_READ (1 << 30)
#define MAX_DELIMITER 256

static const char STREAM_TYPE[] = "perigee.Stream";

struct peri_stream_box *peri_stream_box_check(lua_State *L, int index)
{
    return luaL_checkudata(L, index, STREAM_TYPE);
}

static struct peri_stream_box *check_open(lua_State *L, int index)
{
    struct peri_stream_box *box = peri_stream_box_check(L, index);
    if (box->stream == NULL)
        luaL_error(L, "the stream is closed");
    return box;
}

static size_t opt_size(lua_State *L, int index, lua_Integer otherwise)
{
    lua_Integer size = luaL_optinteger(L, index, otherwise);
    luaL_argcheck(L, size > 0 && size <= MAX_READ, index, "1 byte to 1 GiB expected");
    return (size_t) size;
}

static int push_status(lua_State *L, int status)
{
    if (status == UV_ECANCELED)
        return peri_push_error_text(L, "ECLOSED", "the stream was closed meanwhile");
    return peri_push_error(L, status);
}

/* --- reading -----------------------------------------------------------------------------------
 */

enum want { WANT_SOME, WANT_EXACTLY, WANT_DELIMITER, WANT_LINE, WANT_ALL };

/* What a reader asks for. */
struct wanted {
    enum want want;
    size_t size; /* WANT_EXACTLY: how many; otherwise the most */
    size_t scanned;
    size_t delimiter_len;
    char delimiter[MAX_DELIMITER];
};

/* How far the answer goes in the bytes that have arrived. */
struct reach {
    size_t len;  /* of the answer */
    size_t skip; /* what is taken away with it */
};

struct read_op {
    struct peri_op op;
    struct peri_stream_wait wait;
    struct peri_stream_box *box; /* held by whoever reads */
    struct wanted wanted;
    int status;
};

static bool find_delimiter(struct wanted *wanted, const char *bytes, size_t len,
                           struct reach *reach)
{
    const char *at = memmem(bytes + wanted->scanned, len - wanted->scanned, wanted->delimiter,
                            wanted->delimiter_len);
    if (at == NULL) {
        if (len >= wanted->delimiter_len)
            wanted->scanned = len - wanted->delimiter_len + 1;
        return false;
    }
    reach->len = (size_t) (at - bytes);
    reach->skip = reach->len + wanted->delimiter_len;
    if (wanted->want == WANT_LINE && reach->len > 0 && at[-1] == '\r')
        reach->len--;
    return true;
}

/* Whether the bytes are an answer, and how far it goes. Too many bytes are none, but see
 * is_too_much(). */
static bool is_answer(struct wanted *wanted, const char *bytes, size_t len, struct reach *reach)
{
    switch (wanted->want) {
    case WANT_SOME:
        reach->len = reach->skip = len < wanted->size ? len : wanted->size;
        return len > 0;
    case WANT_EXACTLY:
        reach->len = reach->skip = wanted->size;
        return len >= wanted->size;
    case WANT_ALL:
        return false;
    default:
        return find_delimiter(wanted, bytes, len, reach) && reach->len <= wanted->size;
    }
}

static bool is_too_much(const struct wanted *wanted, size_t len)
{
    if (wanted->want == WANT_SOME || wanted->want == WANT_EXACTLY)
        return false;
    return len > wanted->size + wanted->delimiter_len;
}

static bool is_enough(struct peri_stream_wait *wait, const char *bytes, size_t len)
{
    struct read_op *read = peri_container_of(wait, struct read_op, wait);
    struct reach reach;
    return is_answer(&read->wanted, bytes, len, &reach) || is_too_much(&read->wanted, len);
}

static void on_read_wake(struct peri_stream_wait *wait, int status)
{
    struct read_op *read = peri_container_of(wait, struct read_op, wait);
    read->status = status;
    peri_op_done(&read->op);
}

static void read_cancel(struct peri_op *op)
{
    struct read_op *read = peri_container_of(op, struct read_op, op);
    peri_stream_leave(&read->wait);
    peri_op_done(op);
}

static int push_reach(lua_State *L, struct peri_stream *stream, const char *bytes,
                      const struct reach *reach)
{
    lua_pushlstring(L, bytes, reach->len);
    peri_stream_take(stream, reach->skip);
    return 1;
}

/* What is left when no more comes: an answer for those who take what they get; otherwise nothing,
 * which is the end, or too little, which is an error. */
static int push_rest(lua_State *L, struct peri_stream *stream, const struct wanted *wanted)
{
    size_t len = 0;
    const char *bytes = peri_stream_bytes(stream, &len);
    struct reach rest = {len, len};
    if (stream->ended != UV_EOF)
        return push_status(L, stream->ended);
    if (wanted->want == WANT_ALL || (wanted->want == WANT_LINE && len > 0))
        return push_reach(L, stream, bytes, &rest);
    if (len > 0)
        return peri_push_error(L, UV_EOF);
    lua_pushnil(L);
    return 1;
}

/* Pushes the answer when there is one: returns how many values, or 0 when it takes waiting. */
static int try_read(lua_State *L, struct peri_stream *stream, struct wanted *wanted)
{
    size_t len = 0;
    const char *bytes = peri_stream_bytes(stream, &len);
    struct reach reach = {0};
    if (is_answer(wanted, bytes, len, &reach))
        return push_reach(L, stream, bytes, &reach);
    if (is_too_much(wanted, len))
        return peri_push_error(L, UV_EMSGSIZE);
    return stream->ended != 0 ? push_rest(L, stream, wanted) : 0;
}

static int read_wanted(lua_State *L, struct peri_stream_box *box, struct wanted *wanted);

static int read_finish(lua_State *L, struct peri_op *op)
{
    struct read_op *read = peri_container_of(op, struct read_op, op);
    if (read->box->stream == NULL)
        return push_status(L, UV_ECANCELED);
    if (read->status == UV_ETIMEDOUT)
        return push_status(L, read->status);
    read->wanted.scanned = 0;
    return read_wanted(L, read->box, &read->wanted); /* another task may have been faster */
}

static int read_wanted(lua_State *L, struct peri_stream_box *box, struct wanted *wanted)
{
    struct peri_stream *stream = box->stream;
    if (stream->reader != NULL)
        return luaL_error(L, "another task reads from this stream");
    int results = try_read(L, stream, wanted);
    if (results > 0)
        return results;
    struct read_op *read = peri_op_new(L, sizeof(*read));
    read->op.finish = read_finish;
    read->op.cancel = read_cancel;
    read->wait.wake = on_read_wake;
    read->wait.enough = is_enough;
    read->wanted = *wanted;
    read->box = box;
    peri_stream_await_bytes(stream, &read->wait, box->timeout_ms);
    return peri_op_await(L, &read->op);
}

/* stream:read([max]): the bytes that have arrived, at least one; nil at the end. */
static int stream_read(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    return read_wanted(L, box,
                       &(struct wanted){.want = WANT_SOME, .size = opt_size(L, 2, DEFAULT_READ)});
}

/* stream:read_exactly(n) */
static int stream_read_exactly(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    lua_Integer size = luaL_checkinteger(L, 2);
    luaL_argcheck(L, size >= 0 && size <= MAX_READ, 2, "0 bytes to 1 GiB expected");
    return read_wanted(L, box, &(struct wanted){.want = WANT_EXACTLY, .size = (size_t) size});
}

/* stream:read_until(delimiter, [max]) */
static int stream_read_until(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    struct wanted wanted = {.want = WANT_DELIMITER};
    const char *delimiter = luaL_checklstring(L, 2, &wanted.delimiter_len);
    luaL_argcheck(L, wanted.delimiter_len > 0 && wanted.delimiter_len <= MAX_DELIMITER, 2,
                  "a delimiter of 1 to 256 bytes expected");
    memcpy(wanted.delimiter, delimiter, wanted.delimiter_len);
    wanted.size = opt_size(L, 3, DEFAULT_LINE);
    return read_wanted(L, box, &wanted);
}

/* stream:read_all(max) */
static int stream_read_all(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    luaL_checkinteger(L, 2);
    return read_wanted(L, box, &(struct wanted){.want = WANT_ALL, .size = opt_size(L, 2, 1)});
}

/* stream:read_line([max]) */
static int stream_read_line(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    struct wanted wanted = {.want = WANT_LINE, .delimiter = "\n", .delimiter_len = 1};
    wanted.size = opt_size(L, 2, DEFAULT_LINE);
    return read_wanted(L, box, &wanted);
}

/* --- writing -----------------------------------------------------------------------------------
 */

struct write_op {
    struct peri_op op;
    struct peri_stream_wait wait;
    int status;
};

static void on_write_wake(struct peri_stream_wait *wait, int status)
{
    struct write_op *write = peri_container_of(wait, struct write_op, wait);
    write->status = status;
    peri_op_done(&write->op);
}

static void write_cancel(struct peri_op *op)
{
    struct write_op *write = peri_container_of(op, struct write_op, op);
    peri_stream_leave(&write->wait);
    peri_op_done(op);
}

static int write_finish(lua_State *L, struct peri_op *op)
{
    struct write_op *write = peri_container_of(op, struct write_op, op);
    if (write->status < 0)
        return push_status(L, write->status);
    lua_pushboolean(L, true);
    return 1;
}

static int await_sent(lua_State *L, struct peri_stream_box *box)
{
    if (peri_stream_is_sent(box->stream)) {
        lua_pushboolean(L, true);
        return 1;
    }
    struct write_op *write = peri_op_new(L, sizeof(*write));
    write->op.finish = write_finish;
    write->op.cancel = write_cancel;
    write->wait.wake = on_write_wake;
    peri_stream_await_sent(box->stream, &write->wait, box->timeout_ms);
    return peri_op_await(L, &write->op);
}

/* stream:write(bytes): true when the kernel has them, or nil and an error. */
static int stream_write(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    size_t len = 0;
    const char *bytes = luaL_checklstring(L, 2, &len);
    int rc = peri_stream_send(box->stream, bytes, len);
    return rc < 0 ? push_status(L, rc) : await_sent(L, box);
}

/* stream:shutdown(): ends what is sent behind the last byte; reading goes on. */
static int stream_shutdown(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    int rc = peri_stream_finish(box->stream);
    return rc < 0 ? push_status(L, rc) : await_sent(L, box);
}

/* --- settings ----------------------------------------------------------------------------------
 */

/* stream:set_timeout(ms): of each wait; nil for none. */
static int stream_set_timeout(lua_State *L)
{
    struct peri_stream_box *box = check_open(L, 1);
    lua_Number ms = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, 2, "milliseconds, 0 or more, or nil expected");
    box->timeout_ms = (uint64_t) ceil(ms);
    return 0;
}

static uv_tcp_t *check_tcp(lua_State *L)
{
    struct peri_stream *stream = check_open(L, 1)->stream;
    if (stream->uv.handle.type != UV_TCP)
        luaL_error(L, "only a TCP connection has this setting");
    return &stream->uv.tcp;
}

static int push_result(lua_State *L, int rc)
{
    if (rc < 0)
        return peri_push_error(L, rc);
    lua_pushboolean(L, true);
    return 1;
}

/* stream:nodelay(on) */
static int stream_nodelay(lua_State *L)
{
    luaL_checkany(L, 2);
    return push_result(L, uv_tcp_nodelay(check_tcp(L), lua_toboolean(L, 2)));
}

/* stream:keepalive(seconds): of silence before the first probe; false for none. */
static int stream_keepalive(lua_State *L)
{
    uv_tcp_t *tcp = check_tcp(L);
    if (!lua_toboolean(L, 2))
        return push_result(L, uv_tcp_keepalive(tcp, 0, 0));
    lua_Integer seconds = luaL_checkinteger(L, 2);
    luaL_argcheck(L, seconds > 0 && seconds <= 32767, 2, "1 to 32767 seconds, or false, expected");
    return push_result(L, uv_tcp_keepalive(tcp, 1, (unsigned) seconds));
}

int peri_address_push(lua_State *L, const struct sockaddr *address, size_t len)
{
    char text[INET6_ADDRSTRLEN] = "";
    uint16_t port = 0;
    lua_createtable(L, 0, 2);
    if (address->sa_family == AF_UNIX) {
        const struct sockaddr_un *local = (const struct sockaddr_un *) address;
        size_t head = offsetof(struct sockaddr_un, sun_path);
        lua_pushlstring(L, local->sun_path, len > head ? strnlen(local->sun_path, len - head) : 0);
        lua_setfield(L, -2, "path");
        return 1;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) address;
        uv_ip6_name(v6, text, sizeof(text));
        port = ntohs(v6->sin6_port);
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *) address;
        uv_ip4_name(v4, text, sizeof(text));
        port = ntohs(v4->sin_port);
    }
    lua_pushstring(L, text);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, port);
    lua_setfield(L, -2, "port");
    return 1;
}

static int push_name(lua_State *L, int (*name_of)(int fd, struct sockaddr *name, socklen_t *len))
{
    struct peri_stream *stream = check_open(L, 1)->stream;
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    uv_os_fd_t fd = -1;
    int rc = uv_fileno(&stream->uv.handle, &fd);
    if (rc == 0 && name_of(fd, (struct sockaddr *) &name, &len) != 0)
        rc = uv_translate_sys_error(errno);
    if (rc != 0)
        return peri_push_error(L, rc);
    return peri_address_push(L, (const struct sockaddr *) &name, len);
}

static int stream_local_address(lua_State *L)
{
    return push_name(L, getsockname);
}

static int stream_remote_address(lua_State *L)
{
    return push_name(L, getpeername);
}

/* --- the object --------------------------------------------------------------------------------
 */

static int stream_is_closed(lua_State *L)
{
    lua_pushboolean(L, peri_stream_box_check(L, 1)->stream == NULL);
    return 1;
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int stream_close(lua_State *L)
{
    struct peri_stream_box *box = peri_stream_box_check(L, 1);
    if (box->stream != NULL)
        peri_stream_close(box->stream);
    box->stream = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"close", stream_close},
    {"is_closed", stream_is_closed},
    {"keepalive", stream_keepalive},
    {"local_address", stream_local_address},
    {"nodelay", stream_nodelay},
    {"read", stream_read},
    {"read_all", stream_read_all},
    {"read_exactly", stream_read_exactly},
    {"read_line", stream_read_line},
    {"read_until", stream_read_until},
    {"remote_address", stream_remote_address},
    {"set_timeout", stream_set_timeout},
    {"shutdown", stream_shutdown},
    {"write", stream_write},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", stream_close},
    {"__gc", stream_close},
    {NULL, NULL},
};

/* Leaves the metatable on the stack. */
static void push_metatable(lua_State *L)
{
    if (!luaL_newmetatable(L, STREAM_TYPE))
        return;
    luaL_setfuncs(L, metamethods, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
}

struct peri_stream_box *peri_stream_box_push(lua_State *L)
{
    struct peri_stream_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = (struct peri_stream_box){0};
    push_metatable(L);
    lua_setmetatable(L, -2);
    return box;
}

/* perigee.host.stream: the methods, for the framework to add what is better written in Lua. */
int peri_open_stream(lua_State *L)
{
    push_metatable(L);
    lua_getfield(L, -1, "__index");
    return 1;
}
