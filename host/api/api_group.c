/* Groups of tasks: task.group, group:spawn, child:join. No task outlives its group.
 *
 * A group is a scope of the task that runs its body, and a userdata on that task's stack; each
 * child is a task whose root scope hangs below it, and a userdata (the child, as Lua sees it) on
 * the stack of its own coroutine. An error of the body or of a child cancels the scope. The body's
 * task waits, deaf to cancellation, until the last child has ended, and then raises what was
 * gathered: one error as itself, several as one that lists them.
 *
 * A child that was cancelled has not failed. Errors are kept in the registry under the address of
 * the group until its end. */
#include "api.h"

#include "locals.h"
#include "log.h"
#include "protect.h"
#include "vm.h"

#include <lauxlib.h>
#include <string.h>

static const char GROUP_TYPE[] = "perigee.Group";
static const char CHILD_TYPE[] = "perigee.Task";
static const char FAILURES_TYPE[] = "perigee.Failures";

struct group {
    struct peri_opened_scope opened;
    struct peri_op *end; /* the body is over and waits for the children */
    unsigned running;
    unsigned failures;
    bool interrupted; /* something in it ended early because it was cancelled */
    bool broken;      /* a child could not even say what went wrong: memory is short */
    bool over;
};

enum child_state { RUNNING, RETURNED, CANCELLED, FAILED };

/* Its user value is its result (a table of them, when they are several), or its error. */
struct child {
    struct peri_task *task; /* NULL once it has ended */
    struct join_op *joiners;
    int results;
    uint8_t state;
    bool orphan; /* its group was left behind */
};

/* The group of a child that has not ended; NULL when that was left behind. */
static struct group *group_of(const struct child *child)
{
    return child->orphan ? NULL
                         : peri_container_of(child->task->root.parent, struct group, opened.scope);
}

struct join_op {
    struct peri_op op;
    struct child *child;
    struct join_op *next;
};

/* How task.group uses the stack; then the body's arguments, later its results. */
enum { AT_GROUP = 1, AT_KEEP, AT_BODY };

/* How a child does. */
enum { AT_CHILD = 1, AT_CHILD_KEEP, AT_CHILD_FUNCTION };

/* --- errors ------------------------------------------------------------------------------------
 */

/* Adds the error at the top (popped), with its frames, to those of the group. */
static void add_failure(lua_State *L, struct group *group)
{
    bool here = false;
    if (!peri_protect_frames(L, -1, &here))
        lua_pushnil(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, group) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, group);
    }
    lua_Integer count = (lua_Integer) lua_rawlen(L, -1);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, -4);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, count + 1);
    lua_pop(L, 3);
    group->failures++;
}

/* "2 tasks failed: 1. first; 2. second" */
static int failures_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "errors");
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer count = (lua_Integer) lua_rawlen(L, 2);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    lua_pushfstring(L, "%I tasks failed", (LUAI_UACINT) count);
    luaL_addvalue(&text);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_pushfstring(L, "\n  %I. ", (LUAI_UACINT) i);
        luaL_addvalue(&text);
        lua_rawgeti(L, 2, i);
        luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    return 1;
}

static void push_failures_metatable(lua_State *L)
{
    if (luaL_newmetatable(L, FAILURES_TYPE)) {
        lua_pushcfunction(L, failures_tostring);
        lua_setfield(L, -2, "__tostring");
    }
}

/* Pushes one error for those in the table at the top (which stays below), and keeps its frames. */
static void push_failures(lua_State *L)
{
    int list = lua_gettop(L);
    lua_Integer count = (lua_Integer) lua_rawlen(L, list);
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "EGROUP");
    lua_setfield(L, -2, "code");
    lua_createtable(L, (int) count, 0);
    luaL_Buffer frames;
    luaL_buffinit(L, &frames);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        lua_rawgeti(L, -1, 1);
        lua_rawseti(L, list + 2, i);
        lua_pushfstring(L, "\n\t%I.", (LUAI_UACINT) i);
        if (lua_rawgeti(L, -2, 2) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushliteral(L, "");
        }
        lua_concat(L, 2);
        lua_remove(L, -2);
        luaL_addvalue(&frames);
    }
    luaL_pushresult(&frames);
    lua_insert(L, -2);
    lua_setfield(L, list + 1, "errors");
    push_failures_metatable(L);
    lua_setmetatable(L, list + 1);
    peri_protect_set_frames(L, list + 1, false);
}

/* Raises what went wrong in the group. */
static int raise_failures(lua_State *L, struct group *group)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, group);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, group);
    if (group->failures > 1) {
        push_failures(L);
        return lua_error(L);
    }
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -1, 1);
    if (lua_rawgeti(L, -2, 2) == LUA_TNIL)
        lua_pop(L, 1);
    else
        peri_protect_set_frames(L, -2, false);
    return lua_error(L);
}

/* --- children ----------------------------------------------------------------------------------
 */

static void group_failed(struct group *group)
{
    peri_scope_cancel(&group->opened.scope, "another task of its group failed");
}

/* Keeps what the child returned: everything above AT_CHILD_KEEP. */
static void keep_results(lua_State *L, struct child *child)
{
    child->results = lua_gettop(L) - AT_CHILD_KEEP;
    child->state = RETURNED;
    if (child->results == 0)
        return;
    if (child->results > 1) {
        lua_createtable(L, child->results, 0);
        lua_insert(L, AT_CHILD_KEEP + 1);
        for (int i = child->results; i >= 1; i--)
            lua_rawseti(L, AT_CHILD_KEEP + 1, i);
    }
    lua_setiuservalue(L, AT_CHILD, 1);
}

static int child_end(lua_State *L, int status, lua_KContext context)
{
    struct child *child = lua_touserdata(L, AT_CHILD);
    struct group *group = group_of(child);
    (void) context;
    if (status == LUA_OK || status == LUA_YIELD) {
        keep_results(L, child);
        return 0;
    }
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, AT_CHILD, 1);
    if (peri_is_cancelled(L, -1) && child->task->root.seen != NULL) {
        child->state = CANCELLED;
        return 0;
    }
    child->state = FAILED;
    if (group == NULL)
        peri_log_error("a task whose group was left behind failed: %s",
                       luaL_tolstring(L, -1, NULL));
    else
        add_failure(L, group);
    return 0;
}

static int child_main(lua_State *L)
{
    struct child *child = lua_touserdata(L, AT_CHILD);
    child->task = peri_task_current(L);
    int status =
        lua_pcallk(L, lua_gettop(L) - AT_CHILD_FUNCTION, LUA_MULTRET, AT_CHILD_KEEP, 0, child_end);
    return child_end(L, status, 0);
}

static void on_child_ended(struct peri_task *task, void *owner, bool failed)
{
    struct child *child = owner;
    struct group *group = group_of(child);
    if (failed)
        child->state = FAILED;
    struct join_op *join = child->joiners;
    child->joiners = NULL;
    for (; join != NULL; join = join->next)
        peri_op_done(&join->op);
    child->task = NULL;
    if (group == NULL)
        return;
    group->broken |= failed;
    if (child->state == FAILED)
        group_failed(group);
    else if (child->state == CANCELLED && !task->root.cancelled)
        group->interrupted = true;
    if (--group->running == 0 && group->end != NULL)
        peri_op_done(group->end);
}

/* Spawns what stands from `function` to the top of the stack; leaves the child there. */
static int spawn(lua_State *L, struct group *group, int function, int child_metatable)
{
    luaL_checktype(L, function, LUA_TFUNCTION);
    if (group->over)
        return luaL_error(L, "the group has ended: nothing can be spawned in it");
    struct peri_vm *vm = peri_vm_of(L);
    struct child *child = lua_newuserdatauv(L, sizeof(*child), 1);
    *child = (struct child){.task = NULL};
    lua_pushvalue(L, child_metatable);
    lua_setmetatable(L, -2);
    lua_insert(L, function);

    struct peri_task *task = peri_task_new(&vm->tasks, &group->opened.scope);
    if (task == NULL)
        return luaL_error(L, "not enough memory");
    int count = lua_gettop(L) - function; /* the function and its arguments */
    lua_State *co = task->L;
    if (!lua_checkstack(co, count + LUA_MINSTACK)) {
        peri_task_drop(task);
        return luaL_error(L, "too many arguments");
    }
    lua_pushcfunction(co, child_main);
    lua_pushvalue(L, function);
    lua_xmove(L, co, 1);
    lua_pushcfunction(co, peri_protect_keep);
    lua_xmove(L, co, count);
    peri_locals_inherit(L, task, vm->tasks.current);
    task->guest = vm->tasks.current->guest;
    child->task = task;
    group->running++;
    peri_task_run(task, child, on_child_ended);
    return 1;
}

/* --- the group ---------------------------------------------------------------------------------
 */

static int group_finish(lua_State *L, struct peri_op *op)
{
    struct group *group = lua_touserdata(L, AT_GROUP);
    struct peri_task *task = peri_task_current(L);
    if (op != NULL)
        lua_pop(L, 1);
    group->end = NULL;
    group->over = true;
    bool shield = group->opened.scope.shield;
    peri_task_leave(&group->opened.scope);
    if (group->failures > 0)
        return raise_failures(L, group);
    if (group->broken)
        return luaL_error(L, "not enough memory");
    if (group->interrupted && !shield && peri_task_cancelled(task) != NULL)
        return peri_task_raise_cancelled(L, task);
    return lua_gettop(L) - AT_KEEP;
}

static int body_end(lua_State *L, int status, lua_KContext unwinding)
{
    struct group *group = lua_touserdata(L, AT_GROUP);
    peri_protect_end(L, unwinding != 0);
    if (status != LUA_OK && status != LUA_YIELD) {
        if (peri_is_cancelled(L, -1) && group->opened.scope.seen != NULL) {
            group->interrupted = true;
            lua_pop(L, 1);
        } else {
            add_failure(L, group);
            peri_scope_cancel(&group->opened.scope, "the body of its group failed");
        }
    }
    if (group->running == 0)
        return group_finish(L, NULL);
    struct peri_op *op = peri_op_new_deaf(L, sizeof(*op));
    op->finish = group_finish;
    group->end = op;
    return peri_op_await(L, op);
}

/* group(body, ...): upvalue 1 is the metatable of groups. */
int peri_group_run(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct peri_task *task = peri_task_check_waits(L);
    struct group *group = lua_newuserdatauv(L, sizeof(*group), 0);
    memset(group, 0, sizeof(*group));
    peri_list_init(&group->opened.scope.link);
    group->opened.scope.kind = PERI_SCOPE_GROUP;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_insert(L, 2); /* the body's first argument */
    lua_insert(L, AT_GROUP);
    lua_pushcfunction(L, peri_protect_keep);
    lua_insert(L, AT_KEEP);
    lua_toclose(L, AT_GROUP);

    lua_KContext unwinding = peri_protect_begin(L);
    peri_task_enter(L, task, &group->opened);
    int status = lua_pcallk(L, lua_gettop(L) - AT_BODY, LUA_MULTRET, AT_KEEP, unwinding, body_end);
    return body_end(L, status, unwinding);
}

/* Serves __close and __gc: for a group whose coroutine was closed or dropped in the middle. */
static int group_close(lua_State *L)
{
    struct group *group = lua_touserdata(L, 1);
    if (group->over)
        return 0;
    group->over = true;
    peri_scope_cancel(&group->opened.scope, "the group was left behind");
    for (struct peri_scope *scope = peri_scope_first(&group->opened.scope); scope != NULL;
         scope = peri_scope_next(scope)) {
        if (scope->kind == PERI_SCOPE_TASK)
            ((struct child *) scope->task->owner)->orphan = true;
    }
    peri_task_leave(&group->opened.scope);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, group);
    return 0;
}

static struct group *check_group(lua_State *L)
{
    return luaL_checkudata(L, 1, GROUP_TYPE);
}

/* group:spawn(fn, ...): upvalue 1 is the metatable of groups, 2 that of children. */
static int group_spawn(lua_State *L)
{
    if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(1)))
        check_group(L); /* raises */
    lua_pop(L, 1);
    return spawn(L, lua_touserdata(L, 1), 2, lua_upvalueindex(2));
}

/* group:cancel(): ends the body and all children. */
static int group_cancel(lua_State *L)
{
    struct group *group = check_group(L);
    if (!group->over)
        peri_scope_cancel(&group->opened.scope, "its group was cancelled");
    return 0;
}

/* spawn(fn, ...): in the innermost group that the running task has open. */
static int task_spawn(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    struct peri_scope *scope = task != NULL ? task->scope : NULL;
    while (scope != NULL && scope->kind == PERI_SCOPE_TIMED)
        scope = scope->parent;
    if (scope == NULL || scope->kind != PERI_SCOPE_GROUP)
        return luaL_error(L, "task.spawn: no group is open here: "
                             "task.group(function(g) g:spawn(fn) end)");
    return spawn(L, peri_container_of(scope, struct group, opened.scope), 1, lua_upvalueindex(2));
}

/* --- a child, as Lua sees it -------------------------------------------------------------------
 */

static int push_outcome(lua_State *L, const struct child *child)
{
    if (child->state != RETURNED) {
        lua_pushnil(L);
        lua_getiuservalue(L, 1, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushliteral(L, "not enough memory");
        }
        return 2;
    }
    if (child->results == 0)
        return 0;
    lua_getiuservalue(L, 1, 1);
    if (child->results == 1)
        return 1;
    luaL_checkstack(L, child->results, "too many results");
    int table = lua_gettop(L);
    for (int i = 1; i <= child->results; i++)
        lua_rawgeti(L, table, i);
    return child->results;
}

static int join_finish(lua_State *L, struct peri_op *op)
{
    return push_outcome(L, peri_container_of(op, struct join_op, op)->child);
}

static void join_cancel(struct peri_op *op)
{
    struct join_op *join = peri_container_of(op, struct join_op, op);
    struct join_op **at = &join->child->joiners;
    while (*at != join)
        at = &(*at)->next;
    *at = join->next;
    peri_op_done(op);
}

/* child:join(): waits for its end. Returns its results; or nil and the error. */
static int child_join(lua_State *L)
{
    if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(2)))
        luaL_checkudata(L, 1, CHILD_TYPE); /* raises */
    lua_settop(L, 1);
    struct child *child = lua_touserdata(L, 1);
    if (child->task == NULL) {
        peri_task_check(L);
        return push_outcome(L, child);
    }
    if (child->task == peri_task_current(L))
        return luaL_error(L, "join: a task cannot wait for its own end");
    struct join_op *join = peri_op_new(L, sizeof(*join));
    join->op.finish = join_finish;
    join->op.cancel = join_cancel;
    join->child = child;
    join->next = child->joiners;
    child->joiners = join;
    return peri_op_await(L, &join->op);
}

static int child_cancel(lua_State *L)
{
    struct child *child = luaL_checkudata(L, 1, CHILD_TYPE);
    if (child->task != NULL)
        peri_task_cancel(child->task, "it was cancelled");
    return 0;
}

/* child:status(): "running", "returned", "cancelled" or "failed". */
static int child_status(lua_State *L)
{
    static const char *const names[] = {"running", "returned", "cancelled", "failed"};
    struct child *child = luaL_checkudata(L, 1, CHILD_TYPE);
    lua_pushstring(L, names[child->task != NULL ? RUNNING : child->state]);
    return 1;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static const luaL_Reg group_methods[] = {
    {"spawn", group_spawn},
    {"cancel", group_cancel},
    {NULL, NULL},
};

static const luaL_Reg child_methods[] = {
    {"join", child_join},
    {"cancel", child_cancel},
    {"status", child_status},
    {NULL, NULL},
};

static const luaL_Reg group_functions[] = {
    {"group", peri_group_run},
    {"spawn", task_spawn},
    {NULL, NULL},
};

/* All of them have both metatables as upvalues: looking them up by name takes longer than the rest.
 */
void peri_group_open(lua_State *L)
{
    int module = lua_gettop(L);
    luaL_newmetatable(L, GROUP_TYPE);
    luaL_newmetatable(L, CHILD_TYPE);
    lua_newtable(L);
    lua_pushvalue(L, module + 1);
    lua_pushvalue(L, module + 2);
    luaL_setfuncs(L, group_methods, 2);
    lua_setfield(L, module + 1, "__index");
    lua_newtable(L);
    lua_pushvalue(L, module + 1);
    lua_pushvalue(L, module + 2);
    luaL_setfuncs(L, child_methods, 2);
    lua_setfield(L, module + 2, "__index");
    lua_pushcfunction(L, group_close);
    lua_setfield(L, module + 1, "__close");
    lua_pushcfunction(L, group_close);
    lua_setfield(L, module + 1, "__gc");
    luaL_setfuncs(L, group_functions, 2);
    push_failures_metatable(L);
    lua_setfield(L, module, "failures");
}
