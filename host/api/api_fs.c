/* perigee.host.fs: files and folders. Each call is one job on the threadpool (host/work.h) that
 * does all of it (host/files.h), so that no disk, however slow, holds up the loop. */
#include "api.h"

#include "files.h"
#include "vm.h"
#include "work.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static const char HANDLE_TYPE[] = "perigee.FileHandle";

/* An open file. Freed, and closed, when neither the box nor a job needs it. */
struct file {
    int fd;
    unsigned refs; /* counted on the VM's thread */
};

struct fs_job {
    struct peri_job job;
    atomic_bool stop;
    int status;
    const char *path; /* in `text` */
    const char *other;
    struct peri_file_write write;
    lua_State *L; /* the VM's: keeps the string of `write` */
    int bytes_ref;
    int mode;
    bool flag;      /* parents, recursive, follow */
    bool temporary; /* `bytes` is the path of what it made */
    size_t max;
    struct peri_buf bytes; /* result */
    struct stat info;      /* result */
    struct file *file;     /* result, or what the job works on: counted */
    int64_t offset;
    char text[];
};

static struct fs_job *fs_job_of(struct peri_job *job)
{
    return peri_container_of(job, struct fs_job, job);
}

static void file_unref(struct file *file)
{
    if (--file->refs > 0)
        return;
    if (file->fd >= 0)
        close(file->fd);
    free(file);
}

/* --- jobs --------------------------------------------------------------------------------------
 */

static void fs_cancel(struct peri_op *op)
{
    struct fs_job *fs = fs_job_of(peri_container_of(op, struct peri_job, op));
    atomic_store(&fs->stop, true);
    uv_cancel((uv_req_t *) &fs->job.req);
}

static void fs_deinit(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    peri_buf_deinit(&fs->bytes);
    luaL_unref(fs->L, LUA_REGISTRYINDEX, fs->bytes_ref);
    fs->bytes_ref = LUA_NOREF;
    if (fs->file != NULL)
        file_unref(fs->file);
    fs->file = NULL;
}

/* What a cancelled job holds is not left to the collector, nor what it made to the disk. */
static void fs_over(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    if (!job->op.interrupted)
        return;
    if (fs->temporary && fs->status == 0 && fs->bytes.len > 0)
        remove(fs->bytes.data);
    fs_deinit(job);
}

/* A path as C takes it. */
static const char *check_path(lua_State *L, int index, size_t *len)
{
    const char *path = luaL_checklstring(L, index, len);
    luaL_argcheck(L, *len > 0 && strlen(path) == *len, index, "a path without NUL expected");
    return path;
}

/* A job about the path at index 1 and, unless `other` is 0, the one at that index. */
static struct fs_job *fs_new(lua_State *L, void (*run)(struct peri_job *job),
                             int (*finish)(lua_State *L, struct peri_op *op), int other)
{
    size_t len = 0;
    size_t other_len = 0;
    const char *path = lua_isuserdata(L, 1) ? "" : check_path(L, 1, &len);
    const char *second = other > 0 ? check_path(L, other, &other_len) : "";
    size_t size = sizeof(struct fs_job) + len + other_len + 2;
    struct fs_job *fs =
        peri_task_current(L) != NULL ? peri_job_new(L, size) : peri_job_new_in_place(L, size);
    memcpy(fs->text, path, len);
    memcpy(fs->text + len + 1, second, other_len);
    fs->path = fs->text;
    fs->other = fs->text + len + 1;
    fs->L = peri_vm_of(L)->L;
    fs->bytes_ref = LUA_NOREF;
    fs->job.run = run;
    fs->job.over = fs_over;
    fs->job.deinit = fs_deinit;
    fs->job.op.finish = finish;
    fs->job.op.cancel = fs_cancel;
    return fs;
}

/* Waits for the job; an app that loads has nobody to wait for it and does it itself. */
static int fs_await(lua_State *L, struct fs_job *fs)
{
    if (fs->job.op.task == NULL) {
        fs->job.run(&fs->job);
        return fs->job.op.finish(L, &fs->job.op);
    }
    return peri_job_await(L, &fs->job);
}

/* Lends the string at `index` to the job, without a copy. */
static void lend_bytes(lua_State *L, struct fs_job *fs, int index)
{
    fs->write.bytes = lua_tolstring(L, index, &fs->write.len);
    lua_pushvalue(L, index);
    fs->bytes_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int push_fs_failure(lua_State *L, const struct fs_job *fs)
{
    return *fs->path != '\0' ? peri_push_failure(L, fs->status, fs->path)
                             : peri_push_error(L, fs->status);
}

static struct fs_job *fs_of(struct peri_op *op)
{
    return fs_job_of(peri_container_of(op, struct peri_job, op));
}

static int finish_done(lua_State *L, struct peri_op *op)
{
    struct fs_job *fs = fs_of(op);
    fs_deinit(&fs->job);
    if (fs->status < 0)
        return push_fs_failure(L, fs);
    lua_pushboolean(L, true);
    return 1;
}

static int finish_bytes(lua_State *L, struct peri_op *op)
{
    struct fs_job *fs = fs_of(op);
    if (fs->status < 0)
        return push_fs_failure(L, fs);
    lua_pushlstring(L, fs->bytes.data != NULL ? fs->bytes.data : "", fs->bytes.len);
    fs_deinit(&fs->job);
    return 1;
}

/* --- whole files -------------------------------------------------------------------------------
 */

static void run_read(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_read(fs->path, fs->max, &fs->bytes, &fs->stop);
}

/* read(path, max) */
static int fs_read(lua_State *L)
{
    lua_Integer max = luaL_checkinteger(L, 2);
    struct fs_job *fs = fs_new(L, run_read, finish_bytes, 0);
    fs->max = (size_t) max;
    return fs_await(L, fs);
}

static void run_replace(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_replace(fs->path, &fs->write, &fs->stop);
}

static void run_append(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_append(fs->path, &fs->write, &fs->stop);
}

static int write_file(lua_State *L, void (*run)(struct peri_job *job))
{
    luaL_checkstring(L, 2);
    int mode = (int) luaL_optinteger(L, 3, -1);
    bool sync = lua_toboolean(L, 4);
    struct fs_job *fs = fs_new(L, run, finish_done, 0);
    lend_bytes(L, fs, 2);
    fs->write.mode = mode;
    fs->write.sync = sync;
    return fs_await(L, fs);
}

/* replace(path, bytes, mode, sync) */
static int fs_replace(lua_State *L)
{
    return write_file(L, run_replace);
}

/* append(path, bytes, mode, sync) */
static int fs_append(lua_State *L)
{
    return write_file(L, run_append);
}

static void run_copy(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_copy(fs->path, fs->other, &fs->stop);
}

/* copy(from, to) */
static int fs_copy(lua_State *L)
{
    return fs_await(L, fs_new(L, run_copy, finish_done, 2));
}

static void run_rename(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = rename(fs->path, fs->other) == 0 ? 0 : uv_translate_sys_error(errno);
}

/* rename(from, to) */
static int fs_rename(lua_State *L)
{
    return fs_await(L, fs_new(L, run_rename, finish_done, 2));
}

static void run_remove(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_remove(fs->path, fs->flag, &fs->stop);
}

/* remove(path, recursive) */
static int fs_remove(lua_State *L)
{
    bool recursive = lua_toboolean(L, 2);
    struct fs_job *fs = fs_new(L, run_remove, finish_done, 0);
    fs->flag = recursive;
    return fs_await(L, fs);
}

/* A removal that nobody waits for. */
struct discard {
    uv_work_t req;
    char path[];
};

static void run_discard(uv_work_t *req)
{
    struct discard *discard = peri_container_of(req, struct discard, req);
    peri_file_remove(discard->path, true, NULL);
}

static void after_discard(uv_work_t *req, int status)
{
    (void) status;
    free(peri_container_of(req, struct discard, req));
}

/* discard(path): removes it and all that is in it some time soon. For clean-up, which must neither
 * wait nor raise; a loop that ends does it before. */
static int fs_discard(lua_State *L)
{
    size_t len = 0;
    const char *path = check_path(L, 1, &len);
    struct discard *discard = malloc(sizeof(*discard) + len + 1);
    if (discard == NULL)
        return luaL_error(L, "out of memory");
    memcpy(discard->path, path, len + 1);
    if (uv_queue_work(peri_vm_of(L)->tasks.loop, &discard->req, run_discard, after_discard) != 0)
        free(discard);
    return 0;
}

/* --- what is there -----------------------------------------------------------------------------
 */

static void set_integer(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer) value);
    lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, const struct timespec *time)
{
    lua_pushnumber(L, (lua_Number) time->tv_sec + (lua_Number) time->tv_nsec / 1e9);
    lua_setfield(L, -2, name);
}

static void push_stat(lua_State *L, const struct stat *info)
{
    lua_createtable(L, 0, 10);
    lua_pushstring(L, peri_file_type(info->st_mode));
    lua_setfield(L, -2, "type");
    set_integer(L, "size", (uint64_t) info->st_size);
    set_integer(L, "mode", info->st_mode & 07777);
    set_integer(L, "inode", info->st_ino);
    set_integer(L, "device", info->st_dev);
    set_integer(L, "links", info->st_nlink);
    set_integer(L, "uid", info->st_uid);
    set_integer(L, "gid", info->st_gid);
    set_time(L, "modified", &info->st_mtim);
    set_time(L, "changed", &info->st_ctim);
}

static int finish_stat(lua_State *L, struct peri_op *op)
{
    struct fs_job *fs = fs_of(op);
    if (fs->status < 0)
        return push_fs_failure(L, fs);
    push_stat(L, &fs->info);
    return 1;
}

static void run_stat(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    int rc = fs->flag ? stat(fs->path, &fs->info) : lstat(fs->path, &fs->info);
    fs->status = rc == 0 ? 0 : uv_translate_sys_error(errno);
}

/* stat(path, follow) */
static int fs_stat(lua_State *L)
{
    bool follow = lua_toboolean(L, 2);
    struct fs_job *fs = fs_new(L, run_stat, finish_stat, 0);
    fs->flag = follow;
    return fs_await(L, fs);
}

static void run_list(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_folder_list(fs->path, fs->max, &fs->bytes, &fs->stop);
}

static int finish_list(lua_State *L, struct peri_op *op)
{
    struct fs_job *fs = fs_of(op);
    if (fs->status < 0)
        return push_fs_failure(L, fs);
    lua_newtable(L);
    lua_Integer count = 0;
    for (size_t at = 0; at < fs->bytes.len;) {
        unsigned char type = (unsigned char) fs->bytes.data[at++];
        const char *name = fs->bytes.data + at;
        size_t len = strlen(name);
        at += len + 1;
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, name, len);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, peri_file_type((mode_t) type * PERI_FILE_TYPE_UNIT));
        lua_setfield(L, -2, "type");
        lua_rawseti(L, -2, ++count);
    }
    fs_deinit(&fs->job);
    return 1;
}

/* list(path, max): {name =, type =} in no order */
static int fs_list(lua_State *L)
{
    lua_Integer max = luaL_checkinteger(L, 2);
    struct fs_job *fs = fs_new(L, run_list, finish_list, 0);
    fs->max = (size_t) max;
    return fs_await(L, fs);
}

static void run_mkdir(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_folder_make(fs->path, fs->mode, fs->flag);
}

/* mkdir(path, mode, parents) */
static int fs_mkdir(lua_State *L)
{
    int mode = (int) luaL_optinteger(L, 2, 0777);
    bool parents = lua_toboolean(L, 3);
    struct fs_job *fs = fs_new(L, run_mkdir, finish_done, 0);
    fs->mode = mode;
    fs->flag = parents;
    return fs_await(L, fs);
}

static void run_realpath(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    char real[PATH_MAX];
    if (realpath(fs->path, real) != NULL)
        peri_buf_add_str(&fs->bytes, real);
    else
        fs->status = uv_translate_sys_error(errno);
}

/* realpath(path) */
static int fs_realpath(lua_State *L)
{
    return fs_await(L, fs_new(L, run_realpath, finish_bytes, 0));
}

/* --- open files --------------------------------------------------------------------------------
 */

static struct file **check_box(lua_State *L)
{
    return luaL_checkudata(L, 1, HANDLE_TYPE);
}

/* Serves __gc, and close() when nobody waits for its result. */
static int handle_drop(lua_State *L)
{
    struct file **box = check_box(L);
    if (*box != NULL)
        file_unref(*box);
    *box = NULL;
    return 0;
}

/* A job about the open file at index 1. */
static struct fs_job *handle_job(lua_State *L, void (*run)(struct peri_job *job),
                                 int (*finish)(lua_State *L, struct peri_op *op))
{
    struct file **box = check_box(L);
    if (*box == NULL)
        luaL_error(L, "the file is closed");
    struct fs_job *fs = fs_new(L, run, finish, 0);
    fs->file = *box;
    fs->file->refs++;
    return fs;
}

static void run_pread(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    char *room = peri_buf_reserve(&fs->bytes, fs->max);
    ssize_t count = 0;
    do {
        count = pread(fs->file->fd, room, fs->max, fs->offset);
    } while (count < 0 && errno == EINTR);
    fs->status = count < 0 ? uv_translate_sys_error(errno) : 0;
    fs->bytes.len = count < 0 ? 0 : (size_t) count;
}

/* handle:read(offset, max): "" at the end */
static int handle_read(lua_State *L)
{
    lua_Integer offset = luaL_checkinteger(L, 2);
    lua_Integer max = luaL_checkinteger(L, 3);
    struct fs_job *fs = handle_job(L, run_pread, finish_bytes);
    fs->offset = offset;
    fs->max = (size_t) max;
    return fs_await(L, fs);
}

static void run_pwrite(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    size_t done = 0;
    while (done < fs->write.len && !atomic_load(&fs->stop)) {
        size_t left = fs->write.len - done;
        ssize_t count = pwrite(fs->file->fd, fs->write.bytes + done,
                               left < (1 << 20) ? left : (1 << 20), fs->offset + (off_t) done);
        if (count < 0 && errno != EINTR) {
            fs->status = uv_translate_sys_error(errno);
            return;
        }
        done += count > 0 ? (size_t) count : 0;
    }
}

/* handle:write(offset, bytes): all of it */
static int handle_write(lua_State *L)
{
    lua_Integer offset = luaL_checkinteger(L, 2);
    luaL_checkstring(L, 3);
    struct fs_job *fs = handle_job(L, run_pwrite, finish_done);
    fs->offset = offset;
    lend_bytes(L, fs, 3);
    return fs_await(L, fs);
}

static void run_fstat(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = fstat(fs->file->fd, &fs->info) == 0 ? 0 : uv_translate_sys_error(errno);
}

/* handle:stat() */
static int handle_stat(lua_State *L)
{
    return fs_await(L, handle_job(L, run_fstat, finish_stat));
}

static void run_fsync(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = fsync(fs->file->fd) == 0 ? 0 : uv_translate_sys_error(errno);
}

/* handle:sync() */
static int handle_sync(lua_State *L)
{
    return fs_await(L, handle_job(L, run_fsync, finish_done));
}

static void run_truncate(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = ftruncate(fs->file->fd, fs->offset) == 0 ? 0 : uv_translate_sys_error(errno);
}

/* handle:truncate(size) */
static int handle_truncate(lua_State *L)
{
    lua_Integer size = luaL_checkinteger(L, 2);
    struct fs_job *fs = handle_job(L, run_truncate, finish_done);
    fs->offset = size;
    return fs_await(L, fs);
}

static const luaL_Reg handle_methods[] = {
    {"close", handle_drop}, {"read", handle_read},         {"stat", handle_stat},
    {"sync", handle_sync},  {"truncate", handle_truncate}, {"write", handle_write},
    {NULL, NULL},
};

/* Pushes an empty box. */
static struct file **push_handle(lua_State *L)
{
    struct file **box = lua_newuserdatauv(L, sizeof(struct file *), 0);
    *box = NULL;
    if (luaL_newmetatable(L, HANDLE_TYPE)) {
        lua_pushcfunction(L, handle_drop);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, handle_methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return box;
}

/* The file that a job is to open. */
static void expect_file(lua_State *L, struct fs_job *fs)
{
    fs->file = malloc(sizeof(*fs->file));
    if (fs->file == NULL)
        luaL_error(L, "out of memory");
    *fs->file = (struct file){.fd = -1, .refs = 1};
}

static void run_open(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_open(fs->path, fs->other, &fs->file->fd);
}

static int finish_open(lua_State *L, struct peri_op *op)
{
    struct fs_job *fs = fs_of(op);
    if (fs->status < 0)
        return push_fs_failure(L, fs);
    struct file **box = push_handle(L);
    *box = fs->file;
    fs->file = NULL;
    lua_pushlstring(L, fs->bytes.data != NULL ? fs->bytes.data : "", fs->bytes.len);
    return 2;
}

/* open(path, mode): a handle */
static int fs_open(lua_State *L)
{
    struct fs_job *fs = fs_new(L, run_open, finish_open, 2);
    expect_file(L, fs);
    return fs_await(L, fs);
}

static void run_temporary_file(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_make_temporary(fs->path, fs->other, &fs->file->fd, &fs->bytes);
}

/* temporary_file(folder, prefix): a handle and the path */
static int fs_temporary_file(lua_State *L)
{
    struct fs_job *fs = fs_new(L, run_temporary_file, finish_open, 2);
    fs->temporary = true;
    expect_file(L, fs);
    return fs_await(L, fs);
}

static void run_temporary_folder(struct peri_job *job)
{
    struct fs_job *fs = fs_job_of(job);
    fs->status = peri_file_make_temporary(fs->path, fs->other, NULL, &fs->bytes);
}

/* temporary_folder(folder, prefix): the path */
static int fs_temporary_folder(lua_State *L)
{
    struct fs_job *fs = fs_new(L, run_temporary_folder, finish_bytes, 2);
    fs->temporary = true;
    return fs_await(L, fs);
}

static const luaL_Reg fs_functions[] = {
    {"append", fs_append},
    {"copy", fs_copy},
    {"discard", fs_discard},
    {"list", fs_list},
    {"mkdir", fs_mkdir},
    {"open", fs_open},
    {"read", fs_read},
    {"realpath", fs_realpath},
    {"remove", fs_remove},
    {"rename", fs_rename},
    {"replace", fs_replace},
    {"stat", fs_stat},
    {"temporary_file", fs_temporary_file},
    {"temporary_folder", fs_temporary_folder},
    {NULL, NULL},
};

int peri_open_fs(lua_State *L)
{
    luaL_newlib(L, fs_functions);
    return 1;
}
