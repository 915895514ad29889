/* perigee.host.console: lines from the terminal at standard input, and Ctrl-C at it. For the REPL;
 * one at a time.
 *
 * The terminal is opened anew: libuv wants a descriptor that does not block, and a descriptor
 * shares that with everybody who has the same one, which is standard output and the shell. */
#include "api.h"

#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define CONSOLE_TYPE "perigee.console"

struct console {
    uv_poll_t input;
    uv_signal_t interrupt;
    int fd;
    int handles;             /* that have not closed */
    bool struck;             /* Ctrl-C, and nobody has heard of it yet */
    struct console_op *wait; /* NULL: nobody waits */
};

struct console_op {
    struct peri_op op;
    struct console *console; /* NULL: it was closed meanwhile */
    bool reads;
    bool struck;
};

static void on_closed(uv_handle_t *handle)
{
    struct console *console = handle->data;
    if (--console->handles == 0)
        free(console);
}

static void end_wait(struct console *console, bool struck)
{
    struct console_op *wait = console->wait;
    console->wait = NULL;
    uv_poll_stop(&console->input);
    wait->struck = struck;
    peri_op_done(&wait->op);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    (void) status; /* the read says what is wrong */
    (void) events;
    end_wait(poll->data, false);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct console *console = handle->data;
    (void) number;
    if (console->wait != NULL)
        end_wait(console, true);
    else
        console->struck = true;
}

static void wait_cancel(struct peri_op *op)
{
    end_wait(peri_container_of(op, struct console_op, op)->console, false);
}

static int wait_finish(lua_State *L, struct peri_op *op)
{
    struct console_op *wait = peri_container_of(op, struct console_op, op);
    char bytes[4096];
    if (wait->struck) {
        lua_pushboolean(L, false);
        return 1;
    }
    ssize_t count =
        wait->console != NULL && wait->reads ? read(wait->console->fd, bytes, sizeof(bytes)) : 0;
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        lua_pushliteral(L, ""); /* somebody else had it */
    else if (count <= 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, bytes, (size_t) count);
    return 1;
}

static struct console *check_open(lua_State *L)
{
    struct console **box = luaL_checkudata(L, 1, CONSOLE_TYPE);
    if (*box == NULL)
        luaL_error(L, "the console is closed");
    if ((*box)->wait != NULL)
        luaL_error(L, "another task waits for the console");
    return *box;
}

static int await(lua_State *L, bool reads)
{
    struct console *console = check_open(L);
    if (console->struck) {
        console->struck = false;
        lua_pushboolean(L, false);
        return 1;
    }
    struct console_op *wait = peri_op_new(L, sizeof(*wait));
    wait->op.finish = wait_finish;
    wait->op.cancel = wait_cancel;
    wait->console = console;
    wait->reads = reads;
    int rc = reads ? uv_poll_start(&console->input, UV_READABLE, on_input) : 0;
    if (rc < 0)
        return peri_push_error(L, rc);
    console->wait = wait;
    return peri_op_await(L, &wait->op);
}

/* console:read(): what was typed, as a rule a line; nil at its end, false for Ctrl-C. */
static int console_read(lua_State *L)
{
    return await(L, true);
}

/* console:wait(): until Ctrl-C. */
static int console_wait(lua_State *L)
{
    return await(L, false);
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int console_close(lua_State *L)
{
    struct console **box = luaL_checkudata(L, 1, CONSOLE_TYPE);
    struct console *console = *box;
    *box = NULL;
    if (console == NULL)
        return 0;
    if (console->wait != NULL) {
        console->wait->console = NULL;
        end_wait(console, false);
    }
    uv_close((uv_handle_t *) &console->input, on_closed);
    uv_close((uv_handle_t *) &console->interrupt, on_closed);
    close(console->fd);
    return 0;
}

static int open_terminal(void)
{
    char name[256];
    if (ttyname_r(STDIN_FILENO, name, sizeof(name)) != 0)
        return -errno;
    int fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* open(): a console, or nil and an error where standard input is no terminal. */
static int console_open(lua_State *L)
{
    uv_loop_t *loop = peri_vm_loop(L);
    struct console **box = lua_newuserdatauv(L, sizeof(struct console *), 0);
    *box = NULL;
    luaL_setmetatable(L, CONSOLE_TYPE);
    int fd = open_terminal();
    if (fd < 0)
        return peri_push_error(L, fd);
    struct console *console = calloc(1, sizeof(*console));
    int rc = console == NULL ? UV_ENOMEM : uv_poll_init(loop, &console->input, fd);
    if (rc < 0) {
        free(console);
        close(fd);
        return peri_push_error(L, rc);
    }
    uv_signal_init(loop, &console->interrupt);
    console->fd = fd;
    console->handles = 2;
    console->input.data = console;
    console->interrupt.data = console;
    *box = console;
    rc = uv_signal_start(&console->interrupt, on_interrupt, SIGINT);
    return rc < 0 ? peri_push_error(L, rc) : 1;
}

static const luaL_Reg console_methods[] = {
    {"close", console_close},
    {"read", console_read},
    {"wait", console_wait},
    {NULL, NULL},
};

static const luaL_Reg console_metamethods[] = {
    {"__close", console_close},
    {"__gc", console_close},
    {NULL, NULL},
};

static const luaL_Reg console_functions[] = {
    {"open", console_open},
    {NULL, NULL},
};

int peri_open_console(lua_State *L)
{
    luaL_newmetatable(L, CONSOLE_TYPE);
    luaL_setfuncs(L, console_metamethods, 0);
    luaL_newlib(L, console_methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, console_functions);
    return 1;
}
