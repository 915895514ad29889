/* perigee.host.shared: the store and the topics that all threads of the process have in common, and
 * in shared.answers the store of the answers that operations keep (lua/perigee/answer_cache.lua).
 * Numbers stand in the store as they are, everything else as the bytes of a transfer. */
#include "api.h"

#include "generation.h"
#include "store.h"
#include "topics.h"
#include "transfer.h"
#include "vm.h"
#include "work.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TTL_MS 1e14 /* three thousand years */

/* --- bytes that outlive an error ---------------------------------------------------------------
 */

static const char BYTES_TYPE[] = "perigee.host.bytes";

static int bytes_gc(lua_State *L)
{
    peri_buf_deinit(lua_touserdata(L, 1));
    return 0;
}

/* A buffer on the stack, which the collector frees should an error come in between. */
static struct peri_buf *push_bytes(lua_State *L)
{
    struct peri_buf *bytes = lua_newuserdatauv(L, sizeof(*bytes), 0);
    *bytes = (struct peri_buf){0};
    luaL_setmetatable(L, BYTES_TYPE);
    return bytes;
}

/* --- arguments and results ---------------------------------------------------------------------
 */

static const char *check_key(lua_State *L, size_t *len)
{
    const char *key = luaL_checklstring(L, 1, len);
    luaL_argcheck(L, *len > 0 && *len <= PERI_STORE_MAX_KEY, 1, "a key has 1 to 4096 bytes");
    return key;
}

/* Milliseconds; absent or nil: 0, for ever. */
static uint64_t check_ttl(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return 0;
    lua_Number ms = luaL_checknumber(L, index);
    luaL_argcheck(L, ms > 0 && ms <= MAX_TTL_MS, index, "milliseconds, more than 0, expected");
    return (uint64_t) ceil(ms);
}

/* The value at `index` as the store takes it; pushes what must stay until it is there. */
static void check_value(lua_State *L, int index, struct peri_store_value *value)
{
    *value = (struct peri_store_value){0};
    luaL_argcheck(L, !lua_isnoneornil(L, index), index, "nil is no value: delete the key");
    if (lua_isinteger(L, index)) {
        value->kind = PERI_STORE_INTEGER;
        value->integer = lua_tointeger(L, index);
    } else if (lua_type(L, index) == LUA_TNUMBER) {
        value->kind = PERI_STORE_FLOAT;
        value->number = lua_tonumber(L, index);
    } else {
        struct peri_buf *bytes = push_bytes(L);
        if (peri_transfer_write(L, index, 1, "value", bytes) != 0)
            luaL_argerror(L, index, lua_tostring(L, -1));
        value->kind = PERI_STORE_BYTES;
        value->bytes = bytes->data;
        value->len = bytes->len;
    }
}

static void push_value(lua_State *L, const struct peri_store_value *value,
                       const struct peri_buf *bytes)
{
    if (value->kind == PERI_STORE_INTEGER)
        lua_pushinteger(L, value->integer);
    else if (value->kind == PERI_STORE_FLOAT)
        lua_pushnumber(L, value->number);
    else if (value->kind == PERI_STORE_BYTES)
        peri_transfer_read(L, bytes->data, bytes->len);
    else
        lua_pushnil(L);
}

/* True or false for done and refused; nil and an error for the rest. */
static int push_outcome(lua_State *L, enum peri_store_result result)
{
    switch (result) {
    case PERI_STORE_WRONG_KIND:
        return peri_push_error_text(L, "EWRONGKIND", "the key holds another kind of value");
    case PERI_STORE_TOO_BIG:
        return peri_push_error_text(L, "E2BIG", "the value is larger than the store may be");
    case PERI_STORE_OVERFLOW:
        return peri_push_error_text(L, "ERANGE", "the sum is no 64-bit integer");
    default:
        lua_pushboolean(L, result == PERI_STORE_DONE);
        return 1;
    }
}

/* --- values ------------------------------------------------------------------------------------
 */

/* The store that the function is about, by its upvalue. */
static struct peri_store *store_of(lua_State *L)
{
    bool of_answers = lua_toboolean(L, lua_upvalueindex(1)) != 0;
    return of_answers ? peri_store_of_answers() : peri_store_of_process();
}

/* get(key): the value and its version */
static int shared_get(lua_State *L)
{
    size_t len;
    struct peri_store_value value;
    const char *key = check_key(L, &len);
    struct peri_buf *bytes = push_bytes(L);
    enum peri_store_result result = peri_store_get(store_of(L), key, len, &value, bytes);
    if (result != PERI_STORE_DONE)
        return push_outcome(L, result);
    push_value(L, &value, bytes);
    peri_buf_deinit(bytes);
    lua_pushinteger(L, (lua_Integer) value.version);
    return 2;
}

/* set(key, value, ttl_ms, version): with a version only if it is still that; -1: if absent */
static int shared_set(lua_State *L)
{
    size_t len;
    struct peri_store_value value;
    const char *key = check_key(L, &len);
    uint64_t ttl = check_ttl(L, 3);
    lua_Integer version = luaL_optinteger(L, 4, 0);
    bool conditional = !lua_isnoneornil(L, 4);
    check_value(L, 2, &value);
    value.version = version > 0 ? (uint64_t) version : 0;
    enum peri_store_condition condition = !conditional  ? PERI_STORE_ALWAYS
                                          : version < 0 ? PERI_STORE_IF_ABSENT
                                                        : PERI_STORE_IF_VERSION;
    return push_outcome(L, peri_store_set(store_of(L), key, len, &value, ttl, condition));
}

/* delete(key, version) */
static int shared_delete(lua_State *L)
{
    size_t len;
    const char *key = check_key(L, &len);
    uint64_t version = (uint64_t) luaL_optinteger(L, 2, 0);
    return push_outcome(L, peri_store_delete(store_of(L), key, len, version));
}

static void check_number(lua_State *L, int index, struct peri_store_value *value)
{
    luaL_checktype(L, index, LUA_TNUMBER);
    check_value(L, index, value);
}

/* incr(key, by, initial, ttl_ms) */
static int shared_incr(lua_State *L)
{
    size_t len;
    struct peri_store_value value;
    struct peri_store_value initial;
    const char *key = check_key(L, &len);
    check_number(L, 2, &value);
    check_number(L, 3, &initial);
    uint64_t ttl = check_ttl(L, 4);
    enum peri_store_result result =
        peri_store_incr(peri_store_of_process(), key, len, &value, &initial, ttl);
    if (result != PERI_STORE_DONE)
        return push_outcome(L, result);
    if (value.kind == PERI_STORE_INTEGER)
        lua_pushinteger(L, value.integer);
    else
        lua_pushnumber(L, value.number);
    return 1;
}

/* expire(key, ttl_ms) */
static int shared_expire(lua_State *L)
{
    size_t len;
    const char *key = check_key(L, &len);
    return push_outcome(L, peri_store_expire(peri_store_of_process(), key, len, check_ttl(L, 2)));
}

/* ttl(key): milliseconds left; math.huge for ever, nil when it is absent */
static int shared_ttl(lua_State *L)
{
    size_t len;
    uint64_t ms = 0;
    const char *key = check_key(L, &len);
    if (peri_store_ttl(store_of(L), key, len, &ms) != PERI_STORE_DONE)
        return 0;
    if (ms == 0)
        lua_pushnumber(L, HUGE_VAL);
    else
        lua_pushinteger(L, (lua_Integer) ms);
    return 1;
}

/* generation(): the number of the version of the app that this VM has loaded; 0 where there is only
 * one VM, outside of a server */
static int shared_generation(lua_State *L)
{
    const struct peri_vm *vm = peri_vm_of(L);
    uint64_t number = 0;
    if (vm->worker != NULL)
        number = peri_worker_generation(vm->worker);
    else if (vm->life.generation != NULL)
        number = vm->life.generation->number;
    lua_pushinteger(L, (lua_Integer) number);
    return 1;
}

/* --- lists -------------------------------------------------------------------------------------
 */

/* push(key, value, front): the length */
static int shared_push(lua_State *L)
{
    size_t len;
    uint64_t count = 0;
    const char *key = check_key(L, &len);
    bool front = lua_toboolean(L, 3);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "nil is no value");
    struct peri_buf *bytes = push_bytes(L);
    if (peri_transfer_write(L, 2, 1, "value", bytes) != 0)
        return luaL_argerror(L, 2, lua_tostring(L, -1));
    enum peri_store_result result =
        peri_store_push(peri_store_of_process(), key, len, bytes->data, bytes->len, front, &count);
    peri_buf_deinit(bytes);
    if (result != PERI_STORE_DONE)
        return push_outcome(L, result);
    lua_pushinteger(L, (lua_Integer) count);
    return 1;
}

/* pop(key, back): a value, nil when there is none */
static int shared_pop(lua_State *L)
{
    size_t len;
    const char *key = check_key(L, &len);
    bool front = !lua_toboolean(L, 2);
    struct peri_buf *bytes = push_bytes(L);
    enum peri_store_result result = peri_store_pop(peri_store_of_process(), key, len, front, bytes);
    if (result == PERI_STORE_REFUSED)
        return 0;
    if (result != PERI_STORE_DONE)
        return push_outcome(L, result);
    peri_transfer_read(L, bytes->data, bytes->len);
    peri_buf_deinit(bytes);
    return 1;
}

/* length(key) */
static int shared_length(lua_State *L)
{
    size_t len;
    uint64_t count = 0;
    const char *key = check_key(L, &len);
    enum peri_store_result result = peri_store_length(peri_store_of_process(), key, len, &count);
    if (result != PERI_STORE_DONE)
        return push_outcome(L, result);
    lua_pushinteger(L, (lua_Integer) count);
    return 1;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

struct collected {
    struct peri_buf *bytes; /* length and text of each key */
    lua_Integer left;
};

static bool collect(void *context, const char *key, size_t key_len)
{
    struct collected *collected = context;
    uint32_t len = (uint32_t) key_len;
    peri_buf_add(collected->bytes, &len, sizeof(len));
    peri_buf_add(collected->bytes, key, key_len);
    return --collected->left > 0;
}

/* keys(prefix, limit) */
static int shared_keys(lua_State *L)
{
    size_t len;
    const char *prefix = luaL_checklstring(L, 1, &len);
    struct collected collected = {.left = luaL_checkinteger(L, 2)};
    luaL_argcheck(L, collected.left > 0, 2, "1 or more");
    collected.bytes = push_bytes(L);
    peri_store_keys(peri_store_of_process(), prefix, len, collect, &collected);
    lua_newtable(L);
    size_t at = 0;
    for (lua_Integer i = 1; at < collected.bytes->len; i++) {
        uint32_t key_len = 0;
        memcpy(&key_len, collected.bytes->data + at, sizeof(key_len));
        at += sizeof(key_len);
        lua_pushlstring(L, collected.bytes->data + at, key_len);
        lua_rawseti(L, -2, i);
        at += key_len;
    }
    peri_buf_deinit(collected.bytes);
    return 1;
}

static int shared_clear(lua_State *L)
{
    (void) L;
    peri_store_clear(peri_store_of_process());
    return 0;
}

static int shared_stats(lua_State *L)
{
    struct peri_store_stats stats;
    peri_store_stats(peri_store_of_process(), &stats);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"entries", stats.entries}, {"bytes", stats.bytes},   {"max_bytes", stats.max_bytes},
        {"hits", stats.hits},       {"misses", stats.misses}, {"evicted", stats.evicted},
        {"expired", stats.expired},
    };
    lua_createtable(L, 0, sizeof(fields) / sizeof(*fields));
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        lua_pushinteger(L, (lua_Integer) fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* --- snapshots ---------------------------------------------------------------------------------
 */

struct snapshot_job {
    struct peri_job job;
    char *path;
    int rc;
};

static void snapshot_deinit(struct peri_job *job)
{
    struct snapshot_job *self = peri_container_of(job, struct snapshot_job, job);
    free(self->path);
}

static int write_all(int fd, const struct peri_buf *bytes)
{
    for (size_t at = 0; at < bytes->len;) {
        ssize_t count = write(fd, bytes->data + at, bytes->len - at);
        if (count < 0 && errno != EINTR)
            return -errno;
        at += count > 0 ? (size_t) count : 0;
    }
    return fsync(fd) != 0 ? -errno : 0;
}

/* Beside the file first, then in its place: a crash leaves the old one or the new one. What is no
 * file (a device, which root could replace) stays. */
static int write_file(const char *path, const struct peri_buf *bytes)
{
    struct stat old;
    if (stat(path, &old) == 0 && !S_ISREG(old.st_mode))
        return S_ISDIR(old.st_mode) ? UV_EISDIR : UV_EFTYPE;
    struct peri_buf beside = {0};
    peri_buf_addf(&beside, "%s.%d.new%c", path, (int) getpid(), '\0');
    int fd = open(beside.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : write_all(fd, bytes);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && rename(beside.data, path) != 0)
        rc = -errno;
    if (rc != 0 && fd >= 0)
        unlink(beside.data);
    peri_buf_deinit(&beside);
    return rc;
}

static void save_run(struct peri_job *job)
{
    struct snapshot_job *self = peri_container_of(job, struct snapshot_job, job);
    struct peri_buf bytes = {0};
    peri_store_snapshot(peri_store_of_process(), &bytes);
    self->rc = write_file(self->path, &bytes);
    peri_buf_deinit(&bytes);
}

static int read_file(int fd, struct peri_buf *bytes)
{
    for (;;) {
        ssize_t count = read(fd, peri_buf_reserve(bytes, 65536), 65536);
        if (count == 0)
            return 0;
        if (count < 0 && errno != EINTR)
            return -errno;
        bytes->len += count > 0 ? (size_t) count : 0;
    }
}

/* What is no file might keep us waiting for bytes, or never end. */
static int check_regular(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return -errno;
    return S_ISREG(info.st_mode) ? 0 : S_ISDIR(info.st_mode) ? UV_EISDIR : UV_EFTYPE;
}

static void load_run(struct peri_job *job)
{
    struct snapshot_job *self = peri_container_of(job, struct snapshot_job, job);
    struct peri_buf bytes = {0};
    int fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    self->rc = fd < 0 ? -errno : check_regular(fd);
    if (self->rc == 0)
        self->rc = read_file(fd, &bytes);
    if (fd >= 0)
        close(fd);
    if (self->rc == 0)
        self->rc = peri_store_restore(peri_store_of_process(), bytes.data, bytes.len);
    peri_buf_deinit(&bytes);
}

static int snapshot_finish(lua_State *L, struct peri_op *op)
{
    struct snapshot_job *self = peri_container_of(op, struct snapshot_job, job.op);
    if (self->rc == UV_EINVAL)
        return peri_push_error_text(L, "EINVAL", "the file is no complete snapshot");
    if (self->rc == UV_EFTYPE)
        return peri_push_error_text(
            L, "EINVAL",
            lua_pushfstring(L, "%s is no regular file: snapshots are kept in one", self->path));
    if (self->rc < 0)
        return peri_push_failure(L, self->rc, self->path);
    lua_pushboolean(L, 1);
    return 1;
}

static int start_snapshot(lua_State *L, void (*run)(struct peri_job *job))
{
    luaL_checktype(L, 1, LUA_TSTRING); /* a number would be a file's name, too */
    const char *path = lua_tostring(L, 1);
    struct snapshot_job *self = peri_task_current(L) != NULL
                                    ? peri_job_new(L, sizeof(*self))
                                    : peri_job_new_in_place(L, sizeof(*self));
    self->job.run = run;
    self->job.deinit = snapshot_deinit;
    self->job.op.finish = snapshot_finish;
    self->path = strdup(path);
    if (self->path == NULL)
        return luaL_error(L, "out of memory");
    if (peri_task_current(L) != NULL)
        return peri_job_await(L, &self->job);
    run(&self->job); /* while the app loads */
    return snapshot_finish(L, &self->job.op);
}

static int shared_save(lua_State *L)
{
    return start_snapshot(L, save_run);
}

static int shared_load(lua_State *L)
{
    return start_snapshot(L, load_run);
}

/* --- topics ------------------------------------------------------------------------------------
 */

static const char SUBSCRIPTION_TYPE[] = "perigee.Subscription";

/* publish(topic, value): how many subscriptions got it */
static int shared_publish(lua_State *L)
{
    size_t len;
    const char *topic = luaL_checklstring(L, 1, &len);
    luaL_checkany(L, 2);
    struct peri_buf *bytes = push_bytes(L);
    if (peri_transfer_write(L, 2, 1, "message", bytes) != 0)
        return luaL_argerror(L, 2, lua_tostring(L, -1));
    unsigned count = peri_topics_publish(topic, len, bytes->data, bytes->len);
    peri_buf_deinit(bytes);
    lua_pushinteger(L, count);
    return 1;
}

/* subscribe(topic, limit) */
static int shared_subscribe(lua_State *L)
{
    size_t len;
    const char *topic = luaL_checklstring(L, 1, &len);
    lua_Integer limit = luaL_checkinteger(L, 2);
    luaL_argcheck(L, len > 0, 1, "a topic has a name");
    luaL_argcheck(L, limit > 0 && limit <= UINT32_MAX, 2, "1 or more");
    peri_vm_loop(L); /* raises while the app loads */
    struct peri_subscription **box =
        lua_newuserdatauv(L, sizeof(struct peri_subscription *), 0); /* NOLINT: one pointer */
    *box = NULL;
    luaL_setmetatable(L, SUBSCRIPTION_TYPE);
    *box = peri_topics_subscribe(peri_vm_of(L), topic, len, (unsigned) limit);
    if (*box == NULL)
        return luaL_error(L, "out of memory");
    return 1;
}

struct receive_op {
    struct peri_op op;
    struct peri_subscription *subscription; /* held */
    struct peri_timer timer;
    struct peri_timers *timers;
};

static int receive_gc(lua_State *L)
{
    struct receive_op *receive = lua_touserdata(L, 1);
    if (receive->timers != NULL)
        peri_timer_stop(receive->timers, &receive->timer);
    if (receive->subscription != NULL)
        peri_subscription_drop(receive->subscription);
    receive->subscription = NULL;
    return 0;
}

static void on_late(struct peri_timer *timer)
{
    struct receive_op *receive = peri_container_of(timer, struct receive_op, timer);
    peri_subscription_rest(receive->subscription);
    peri_op_done(&receive->op);
}

static void receive_cancel(struct peri_op *op)
{
    struct receive_op *receive = peri_container_of(op, struct receive_op, op);
    peri_timer_stop(receive->timers, &receive->timer);
    peri_subscription_rest(receive->subscription);
    peri_op_done(op);
}

static int message_gc(lua_State *L)
{
    struct peri_message **box = lua_touserdata(L, 1);
    if (*box != NULL)
        peri_message_release(*box);
    *box = NULL;
    return 0;
}

static const char MESSAGE_TYPE[] = "perigee.host.message";

/* Pushes value and topic of the oldest message; nothing when there is none. */
static int push_message(lua_State *L, struct peri_subscription *subscription)
{
    size_t len;
    struct peri_message **box =
        lua_newuserdatauv(L, sizeof(struct peri_message *), 0); /* NOLINT: one pointer */
    *box = NULL;
    luaL_setmetatable(L, MESSAGE_TYPE);
    *box = peri_subscription_take(subscription);
    if (*box == NULL)
        return 0;
    const char *bytes = peri_message_bytes(*box, &len);
    peri_transfer_read(L, bytes, len);
    const char *topic = peri_message_topic(*box, &len);
    lua_pushlstring(L, topic, len);
    peri_message_release(*box);
    *box = NULL;
    return 2;
}

static int message_or_nil(lua_State *L, struct peri_subscription *subscription)
{
    int count = push_message(L, subscription);
    if (count > 0)
        return count;
    lua_pushnil(L);
    return 1;
}

static int receive_finish(lua_State *L, struct peri_op *op)
{
    struct receive_op *receive = peri_container_of(op, struct receive_op, op);
    peri_timer_stop(receive->timers, &receive->timer);
    return message_or_nil(L, receive->subscription);
}

static const char RECEIVE_TYPE[] = "perigee.host.receive";

/* receive(timeout_ms): value and topic; nil after the timeout or when it is closed */
static int subscription_receive(lua_State *L)
{
    struct peri_subscription **box = luaL_checkudata(L, 1, SUBSCRIPTION_TYPE);
    lua_Number ms = luaL_optnumber(L, 2, -1);
    if (*box == NULL) {
        lua_pushnil(L);
        return 1;
    }
    if (ms == 0)
        return message_or_nil(L, *box);
    int count = push_message(L, *box);
    if (count > 0)
        return count;
    struct receive_op *receive = peri_op_new(L, sizeof(*receive));
    receive->op.finish = receive_finish;
    receive->op.cancel = receive_cancel;
    receive->timers = peri_vm_of(L)->timers;
    receive->timer.fire = on_late;
    receive->subscription = *box;
    peri_subscription_hold(*box);
    luaL_setmetatable(L, RECEIVE_TYPE);
    if (!peri_subscription_wait(*box, &receive->op))
        return luaL_error(L, "another task receives from this subscription");
    if (ms > 0)
        peri_timer_start(receive->timers, &receive->timer,
                         (uint64_t) ceil((double) uv_hrtime() / 1e6 + ms));
    return peri_op_await(L, &receive->op);
}

/* dropped(): messages that were too many since this was asked last */
static int subscription_dropped(lua_State *L)
{
    struct peri_subscription **box = luaL_checkudata(L, 1, SUBSCRIPTION_TYPE);
    uint64_t dropped = *box != NULL ? peri_subscription_dropped(*box) : 0;
    lua_pushinteger(L, (lua_Integer) dropped);
    return 1;
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int subscription_close(lua_State *L)
{
    struct peri_subscription **box = luaL_checkudata(L, 1, SUBSCRIPTION_TYPE);
    struct peri_subscription *subscription = *box;
    *box = NULL;
    if (subscription != NULL) {
        peri_topics_unsubscribe(subscription);
        peri_subscription_drop(subscription);
    }
    return 0;
}

static const luaL_Reg subscription_methods[] = {
    {"receive", subscription_receive}, {"dropped", subscription_dropped},
    {"close", subscription_close},     {"__close", subscription_close},
    {"__gc", subscription_close},      {NULL, NULL},
};

/* mark(name): a number that the host keeps from one version to the next, or nil; mark(name, number)
 * sets it. */
static int shared_mark(lua_State *L)
{
    size_t len = 0;
    const char *name = check_key(L, &len);
    struct peri_store_value value = {.kind = PERI_STORE_FLOAT};
    if (lua_isnone(L, 2)) {
        struct peri_buf no_bytes = {0}; /* as there are only numbers */
        peri_store_get(peri_store_of_host(), name, len, &value, &no_bytes);
        push_value(L, &value, &no_bytes);
        return 1;
    }
    value.number = luaL_checknumber(L, 2);
    peri_store_set(peri_store_of_host(), name, len, &value, 0, PERI_STORE_ALWAYS);
    return 0;
}

static const luaL_Reg shared_functions[] = {
    {"clear", shared_clear},
    {"delete", shared_delete},
    {"expire", shared_expire},
    {"generation", shared_generation},
    {"get", shared_get},
    {"incr", shared_incr},
    {"keys", shared_keys},
    {"length", shared_length},
    {"load", shared_load},
    {"mark", shared_mark},
    {"pop", shared_pop},
    {"publish", shared_publish},
    {"push", shared_push},
    {"save", shared_save},
    {"set", shared_set},
    {"stats", shared_stats},
    {"subscribe", shared_subscribe},
    {"ttl", shared_ttl},
    {NULL, NULL},
};

static const luaL_Reg answer_functions[] = {
    {"delete", shared_delete}, {"get", shared_get}, {"set", shared_set},
    {"ttl", shared_ttl},       {NULL, NULL},
};

static void make_type(lua_State *L, const char *name, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int peri_open_shared(lua_State *L)
{
    make_type(L, BYTES_TYPE, bytes_gc);
    make_type(L, MESSAGE_TYPE, message_gc);
    make_type(L, RECEIVE_TYPE, receive_gc);
    luaL_newmetatable(L, SUBSCRIPTION_TYPE);
    luaL_setfuncs(L, subscription_methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, shared_functions);
    luaL_newlibtable(L, answer_functions);
    lua_pushboolean(L, 1);
    luaL_setfuncs(L, answer_functions, 1);
    lua_setfield(L, -2, "answers");
    return 1;
}
