/* perigee.host.task: channels, semaphores and events; lua/perigee/channel.lua and sync.lua dress
 * them. In C because each step must be whole: a task that computes may lose its turn between any
 * two instructions of Lua (slice.h).
 *
 * Who waits stands in a line and is served in its order. A value that a sender brings, or that a
 * receiver is given, stands in the frame of the waiting C function, on its own coroutine: the other
 * side reads or replaces it there. Who was served is not cancelled any more, so that what it was
 * given does not get lost. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>

static const char CHANNEL_TYPE[] = "perigee.host.Channel";
static const char SEMAPHORE_TYPE[] = "perigee.host.Semaphore";
static const char EVENT_TYPE[] = "perigee.host.Event";

enum { AT_SELF = 1, AT_VALUE }; /* in the frame of who waits */

struct line {
    struct peri_list waiters;
    lua_Integer count;
};

struct waiter {
    struct peri_op op;
    struct peri_list link;
    struct line *line;
    lua_State *L; /* kept alive by the op, see task.c */
    bool served;
};

static void line_init(struct line *line)
{
    peri_list_init(&line->waiters);
    line->count = 0;
}

static void leave(struct waiter *waiter)
{
    peri_list_remove(&waiter->link);
    waiter->line->count--;
    peri_op_done(&waiter->op);
}

static void wait_cancel(struct peri_op *op)
{
    leave(peri_container_of(op, struct waiter, op));
}

/* Stands in line; the arguments of the calling function stay where they are. */
static int line_wait(lua_State *L, struct line *line,
                     int (*finish)(lua_State *L, struct peri_op *op))
{
    struct waiter *waiter = peri_op_new(L, sizeof(*waiter));
    waiter->op.finish = finish;
    waiter->op.cancel = wait_cancel;
    waiter->line = line;
    waiter->L = L;
    peri_list_append(&line->waiters, &waiter->link);
    line->count++;
    return peri_op_await(L, &waiter->op);
}

/* Takes who has waited longest out of the line, and wakes him; NULL when nobody waits. */
static struct waiter *line_serve(struct line *line)
{
    struct peri_list *link;
    while ((link = peri_list_first(&line->waiters)) != NULL) {
        struct waiter *waiter = peri_container_of(link, struct waiter, link);
        leave(waiter);
        if (lua_status(waiter->L) == LUA_YIELD) { /* else its coroutine was closed meanwhile */
            waiter->served = true;
            return waiter;
        }
    }
    return NULL;
}

/* Wakes everybody without having served them. For __gc, too: only waiters whose coroutine is
 * garbage themselves can be left then. */
static void line_dismiss(struct line *line)
{
    struct peri_list *link;
    while ((link = peri_list_first(&line->waiters)) != NULL)
        leave(peri_container_of(link, struct waiter, link));
}

static int nothing(lua_State *L, struct peri_op *op)
{
    (void) L;
    (void) op;
    return 0;
}

/* --- channels ----------------------------------------------------------------------------------
 */

/* Its user value is a table of what it holds, from `first` to `last`. */
struct channel {
    struct line senders;
    struct line receivers;
    lua_Integer first;
    lua_Integer last;
    lua_Integer capacity;
    bool closed;
};

static struct channel *check_channel(lua_State *L)
{
    return luaL_checkudata(L, AT_SELF, CHANNEL_TYPE);
}

static int channel_new(lua_State *L)
{
    lua_Integer capacity = luaL_checkinteger(L, 1);
    struct channel *channel = lua_newuserdatauv(L, sizeof(*channel), 1);
    *channel = (struct channel){.first = 1, .capacity = capacity};
    line_init(&channel->senders);
    line_init(&channel->receivers);
    luaL_setmetatable(L, CHANNEL_TYPE);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

/* Adds the value at the top (popped) behind those that the channel holds. */
static void hold(lua_State *L, struct channel *channel)
{
    lua_getiuservalue(L, AT_SELF, 1);
    lua_insert(L, -2);
    lua_rawseti(L, -2, channel->last + 1);
    channel->last++;
    lua_pop(L, 1);
}

/* Gives the value at AT_VALUE to a receiver that waits, or keeps it. */
static bool put(lua_State *L, struct channel *channel)
{
    struct waiter *receiver = line_serve(&channel->receivers);
    if (receiver != NULL) {
        lua_pushvalue(L, AT_VALUE);
        lua_xmove(L, receiver->L, 1);
        lua_replace(receiver->L, AT_VALUE);
        return true;
    }
    if (channel->last - channel->first + 1 >= channel->capacity)
        return false;
    lua_pushvalue(L, AT_VALUE);
    hold(L, channel);
    return true;
}

/* Pushes the value of the sender that has waited longest; false when none waits. */
static bool push_sent(lua_State *L, struct channel *channel)
{
    struct waiter *sender = line_serve(&channel->senders);
    if (sender == NULL)
        return false;
    lua_pushvalue(sender->L, AT_VALUE);
    lua_xmove(sender->L, L, 1);
    return true;
}

/* Pushes the next value; nil when there is none. */
static void take(lua_State *L, struct channel *channel)
{
    if (channel->first > channel->last) {
        if (!push_sent(L, channel))
            lua_pushnil(L);
        return;
    }
    lua_getiuservalue(L, AT_SELF, 1);
    lua_rawgeti(L, -1, channel->first);
    lua_pushnil(L);
    lua_rawseti(L, -3, channel->first++);
    lua_remove(L, -2);
    if (push_sent(L, channel))
        hold(L, channel);
}

static int send_finish(lua_State *L, struct peri_op *op)
{
    if (!peri_container_of(op, struct waiter, op)->served)
        return peri_push_error_text(L, "ECLOSED", "the channel is closed");
    lua_pushboolean(L, 1);
    return 1;
}

/* send(channel, value): true, or nil and an error. */
static int channel_send(lua_State *L)
{
    struct channel *channel = check_channel(L);
    peri_task_check(L);
    lua_settop(L, AT_VALUE);
    if (channel->closed)
        return peri_push_error_text(L, "ECLOSED", "the channel is closed");
    if (!put(L, channel))
        return line_wait(L, &channel->senders, send_finish);
    lua_pushboolean(L, 1);
    return 1;
}

static int channel_try_send(lua_State *L)
{
    struct channel *channel = check_channel(L);
    lua_settop(L, AT_VALUE);
    lua_pushboolean(L, !channel->closed && put(L, channel));
    return 1;
}

static int receive_finish(lua_State *L, struct peri_op *op)
{
    (void) op;
    lua_pushvalue(L, AT_VALUE); /* nil, when the channel was closed */
    return 1;
}

/* receive(channel): the next value; nil at the end. */
static int channel_receive(lua_State *L)
{
    struct channel *channel = check_channel(L);
    peri_task_check(L);
    lua_settop(L, AT_SELF);
    lua_pushnil(L); /* AT_VALUE: a place for what comes */
    take(L, channel);
    if (!lua_isnil(L, -1) || channel->closed)
        return 1;
    lua_settop(L, AT_VALUE);
    return line_wait(L, &channel->receivers, receive_finish);
}

static int channel_try_receive(lua_State *L)
{
    take(L, check_channel(L));
    return 1;
}

/* Serves close() and __gc. */
static int channel_close(lua_State *L)
{
    struct channel *channel = check_channel(L);
    channel->closed = true;
    line_dismiss(&channel->receivers);
    line_dismiss(&channel->senders);
    return 0;
}

/* state(channel): how many values it holds, its capacity, whether it is closed. */
static int channel_state(lua_State *L)
{
    struct channel *channel = check_channel(L);
    lua_pushinteger(L, channel->last - channel->first + 1);
    lua_pushinteger(L, channel->capacity);
    lua_pushboolean(L, channel->closed);
    return 3;
}

static const luaL_Reg channel_methods[] = {
    {"send", channel_send},
    {"try_send", channel_try_send},
    {"receive", channel_receive},
    {"try_receive", channel_try_receive},
    {"close", channel_close},
    {"state", channel_state},
    {NULL, NULL},
};

/* --- semaphores --------------------------------------------------------------------------------
 */

struct semaphore {
    struct line line;
    lua_Integer free; /* less than 0: so many permits too many are out */
};

static struct semaphore *check_semaphore(lua_State *L)
{
    return luaL_checkudata(L, AT_SELF, SEMAPHORE_TYPE);
}

static int semaphore_new(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    struct semaphore *semaphore = lua_newuserdatauv(L, sizeof(*semaphore), 0);
    line_init(&semaphore->line);
    semaphore->free = count;
    luaL_setmetatable(L, SEMAPHORE_TYPE);
    return 1;
}

/* acquire(semaphore): waits for a permit. */
static int semaphore_acquire(lua_State *L)
{
    struct semaphore *semaphore = check_semaphore(L);
    peri_task_check(L);
    if (semaphore->free <= 0)
        return line_wait(L, &semaphore->line, nothing);
    semaphore->free--;
    return 0;
}

static int semaphore_try_acquire(lua_State *L)
{
    struct semaphore *semaphore = check_semaphore(L);
    bool is_free = semaphore->free > 0;
    semaphore->free -= is_free;
    lua_pushboolean(L, is_free);
    return 1;
}

/* add(semaphore, count): gives permits back, or adds new ones; less than 0 takes some away. */
static int semaphore_add(lua_State *L)
{
    struct semaphore *semaphore = check_semaphore(L);
    semaphore->free += luaL_checkinteger(L, 2);
    while (semaphore->free > 0 && line_serve(&semaphore->line) != NULL)
        semaphore->free--;
    return 0;
}

/* state(semaphore): how many permits are free, how many tasks wait. */
static int semaphore_state(lua_State *L)
{
    struct semaphore *semaphore = check_semaphore(L);
    lua_pushinteger(L, semaphore->free);
    lua_pushinteger(L, semaphore->line.count);
    return 2;
}

static int semaphore_gc(lua_State *L)
{
    line_dismiss(&check_semaphore(L)->line);
    return 0;
}

static const luaL_Reg semaphore_methods[] = {
    {"acquire", semaphore_acquire},
    {"try_acquire", semaphore_try_acquire},
    {"add", semaphore_add},
    {"state", semaphore_state},
    {NULL, NULL},
};

/* --- events ------------------------------------------------------------------------------------
 */

struct event {
    struct line line;
    bool is_set;
};

static struct event *check_event(lua_State *L)
{
    return luaL_checkudata(L, AT_SELF, EVENT_TYPE);
}

static int event_new(lua_State *L)
{
    struct event *event = lua_newuserdatauv(L, sizeof(*event), 0);
    line_init(&event->line);
    event->is_set = false;
    luaL_setmetatable(L, EVENT_TYPE);
    return 1;
}

static int event_wait(lua_State *L)
{
    struct event *event = check_event(L);
    peri_task_check(L);
    return event->is_set ? 0 : line_wait(L, &event->line, nothing);
}

/* set(event, happened) */
static int event_set(lua_State *L)
{
    struct event *event = check_event(L);
    event->is_set = lua_toboolean(L, 2);
    if (event->is_set)
        line_dismiss(&event->line);
    return 0;
}

static int event_is_set(lua_State *L)
{
    lua_pushboolean(L, check_event(L)->is_set);
    return 1;
}

static int event_gc(lua_State *L)
{
    line_dismiss(&check_event(L)->line);
    return 0;
}

static const luaL_Reg event_methods[] = {
    {"wait", event_wait},
    {"set", event_set},
    {"is_set", event_is_set},
    {NULL, NULL},
};

/* --- opening -----------------------------------------------------------------------------------
 */

static void open_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction gc,
                      const char *name, lua_CFunction new)
{
    luaL_newmetatable(L, type);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, new);
    lua_setfield(L, -2, name);
}

void peri_sync_open(lua_State *L)
{
    open_type(L, CHANNEL_TYPE, channel_methods, channel_close, "channel", channel_new);
    open_type(L, SEMAPHORE_TYPE, semaphore_methods, semaphore_gc, "semaphore", semaphore_new);
    open_type(L, EVENT_TYPE, event_methods, event_gc, "event", event_new);
}
