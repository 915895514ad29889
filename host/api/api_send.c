/* perigee.host.send: files as bodies of answers. They are looked at, opened and read by the
 * threadpool; what was read goes to the connection from the buffer it was read into, without
 * becoming a Lua string, and the next piece is read once the client has taken this one. A file
 * costs one descriptor and one buffer while it is sent.
 *
 * Which part of which file, and under which headers, is decided in Lua (file.lua). */
#include "api.h"

#include "vm.h"
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 131072 /* bytes of one read, and of one write */

static const char BOX_TYPE[] = "perigee.SentFile";

/* An open file; the box in Lua and the read under way each refer to it. Counted on the VM's thread.
 */
struct sent_file {
    unsigned refs;
    int fd;
    char buffer[PIECE];
};

struct file_box {
    struct sent_file *file; /* NULL once closed */
};

static void unref(struct sent_file *file)
{
    if (file == NULL || --file->refs > 0)
        return;
    close(file->fd);
    free(file);
}

/* --- looking at a file, and opening it ---------------------------------------------------------
 */

struct look_job {
    struct peri_job job;
    bool open;
    int fd; /* of an open file that nobody has taken over yet; -1 */
    int status;
    uint64_t size;
    struct timespec modified;
    char path[];
};

static void look_run(struct peri_job *job)
{
    struct look_job *look = peri_container_of(job, struct look_job, job);
    struct stat stat_ = {0};
    int rc = 0;
    if (look->open) {
        /* O_NONBLOCK: a pipe without a writer would hold the thread forever. */
        look->fd = open(look->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        rc = look->fd >= 0 ? fstat(look->fd, &stat_) : -1;
    } else {
        rc = stat(look->path, &stat_);
    }
    if (rc != 0)
        look->status = uv_translate_sys_error(errno);
    else if (!S_ISREG(stat_.st_mode))
        look->status = S_ISDIR(stat_.st_mode) ? UV_EISDIR : UV_EINVAL;
    if (look->status != 0)
        return;
    look->size = (uint64_t) stat_.st_size;
    look->modified = stat_.st_mtim;
}

static void look_deinit(struct peri_job *job)
{
    struct look_job *look = peri_container_of(job, struct look_job, job);
    if (look->fd >= 0)
        close(look->fd);
}

static void push_box(lua_State *L, struct look_job *look)
{
    struct file_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->file = NULL;
    luaL_setmetatable(L, BOX_TYPE);
    box->file = malloc(sizeof(*box->file));
    if (box->file == NULL)
        luaL_error(L, "out of memory");
    box->file->refs = 1;
    box->file->fd = look->fd;
    look->fd = -1;
}

static int look_finish(lua_State *L, struct peri_op *op)
{
    struct look_job *look = peri_container_of(op, struct look_job, job.op);
    if (look->status != 0)
        return peri_push_error(L, look->status);
    int results = 3;
    if (look->open) {
        push_box(L, look);
        results++;
    }
    lua_pushinteger(L, (lua_Integer) look->size);
    lua_pushinteger(L, (lua_Integer) look->modified.tv_sec);
    lua_pushinteger(L, (lua_Integer) look->modified.tv_nsec);
    return results;
}

static int look_at(lua_State *L, bool open_it)
{
    size_t len = 0;
    const char *path = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, strlen(path) == len, 1, "a path without NUL expected");
    struct look_job *look = peri_job_new(L, sizeof(*look) + len + 1);
    look->fd = -1;
    look->open = open_it;
    look->job.run = look_run;
    look->job.deinit = look_deinit;
    look->job.op.finish = look_finish;
    memcpy(look->path, path, len + 1);
    return peri_job_await(L, &look->job);
}

/* stat(path): size, seconds and nanoseconds of the last change of a regular file; or nil, err. */
static int send_stat(lua_State *L)
{
    return look_at(L, false);
}

/* open(path): the file, and the same; or nil, err. */
static int send_open(lua_State *L)
{
    return look_at(L, true);
}

/* --- sending -----------------------------------------------------------------------------------
 */

struct read_job {
    struct peri_job job;
    struct sent_file *file;
    uint64_t at;
    size_t len;
    int status;
};

static void read_run(struct peri_job *job)
{
    struct read_job *read = peri_container_of(job, struct read_job, job);
    size_t filled = 0;
    while (filled < read->len) {
        ssize_t count = pread(read->file->fd, read->file->buffer + filled, read->len - filled,
                              (off_t) (read->at + filled));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) { /* it is shorter than it was, or cannot be read */
            read->status = count == 0 ? UV_EOF : uv_translate_sys_error(errno);
            return;
        }
        filled += (size_t) count;
    }
}

static void read_deinit(struct peri_job *job)
{
    struct read_job *read = peri_container_of(job, struct read_job, job);
    unref(read->file);
}

static int read_finish(lua_State *L, struct peri_op *op)
{
    struct read_job *read = peri_container_of(op, struct read_job, job.op);
    const struct file_box *box = luaL_checkudata(L, 1, BOX_TYPE);
    if (box->file != read->file)
        return luaL_error(L, "the file was closed while it was sent");
    read_deinit(&read->job);
    read->job.deinit = NULL;
    if (read->status != 0)
        return luaL_error(L, "the file cannot be sent to its end: %s", uv_strerror(read->status));
    return peri_out_send(L, 2, box->file->buffer, read->len);
}

/* file:send(out, at, len): sends at most `piece` bytes from an offset, and waits while the client
 * is slow. Raises when the file has not that many. */
static int file_send(lua_State *L)
{
    struct file_box *box = luaL_checkudata(L, 1, BOX_TYPE);
    lua_Integer at = luaL_checkinteger(L, 3);
    lua_Integer len = luaL_checkinteger(L, 4);
    luaL_argcheck(L, at >= 0, 3, "an offset, 0 or more, expected");
    luaL_argcheck(L, len >= 0 && len <= PIECE, 4, "no more than a piece expected");
    if (box->file == NULL)
        return luaL_error(L, "the file is closed");
    struct read_job *read = peri_job_new(L, sizeof(*read));
    if (box->file->refs > 1)
        return luaL_error(L, "the file is being sent already");
    read->job.run = read_run;
    read->job.op.finish = read_finish;
    read->at = (uint64_t) at;
    read->len = (size_t) len;
    read->file = box->file;
    read->file->refs++;
    read->job.deinit = read_deinit;
    return peri_job_await(L, &read->job);
}

/* close(), __close and __gc */
static int file_close(lua_State *L)
{
    struct file_box *box = luaL_checkudata(L, 1, BOX_TYPE);
    unref(box->file);
    box->file = NULL;
    return 0;
}

static const luaL_Reg methods[] = {{"send", file_send}, {"close", file_close}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", file_close}, {"__gc", file_close}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"stat", send_stat}, {"open", send_open}, {NULL, NULL}};

int peri_open_send(lua_State *L)
{
    if (luaL_newmetatable(L, BOX_TYPE)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushinteger(L, PIECE);
    lua_setfield(L, -2, "piece");
    return 1;
}
