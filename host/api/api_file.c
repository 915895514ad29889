/* The Lua value of an uploaded file: a box around a struct peri_upload. What its part said about it
 * stays readable; its bytes are there until the request is over, or the file is closed. */
#include "api.h"

#include "upload.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdlib.h>

#define CHUNK 65536
#define MAX_READ (1 << 30)

static const char FILE_TYPE[] = "perigee.File";

struct file_box {
    struct peri_upload *upload; /* NULL once collected */
    uint64_t at;                /* where the next read begins */
};

static struct file_box *check_file(lua_State *L, int index)
{
    return luaL_checkudata(L, index, FILE_TYPE);
}

/* A file whose bytes can be read. */
static struct file_box *check_open(lua_State *L, int index)
{
    struct file_box *box = check_file(L, index);
    if (box->upload == NULL || box->upload->closed)
        luaL_error(L, "the file is closed: save or read it while its request is handled");
    return box;
}

/* --- reading -----------------------------------------------------------------------------------
 */

struct read_op {
    struct peri_op op;
    uv_fs_t req;
    uv_loop_t *loop;
    struct peri_upload *upload; /* pinned until the last callback */
    uint64_t offset;            /* in its spool */
    size_t filled;
    size_t wanted;
    int status;
    char bytes[];
};

static void on_read(uv_fs_t *req);

static int read_more(struct read_op *read)
{
    uv_buf_t rest =
        uv_buf_init(read->bytes + read->filled, (unsigned) (read->wanted - read->filled));
    return uv_fs_read(read->loop, &read->req, read->upload->spool->fd, &rest, 1,
                      (int64_t) (read->offset + read->filled), on_read);
}

static void on_read(uv_fs_t *req)
{
    struct read_op *read = req->data;
    ssize_t count = req->result;
    uv_fs_req_cleanup(req);
    read->status = count > 0 ? 0 : count < 0 ? (int) count : UV_EIO;
    read->filled += count > 0 ? (size_t) count : 0;
    if (read->status == 0 && read->filled < read->wanted && !read->op.interrupted) {
        read->status = read_more(read); /* a read may give less than was asked for */
        if (read->status == 0)
            return;
    }
    peri_upload_unpin(read->upload);
    peri_op_done(&read->op);
}

static void read_cancel(struct peri_op *op)
{
    struct read_op *read = peri_container_of(op, struct read_op, op);
    uv_cancel((uv_req_t *) &read->req);
}

static int read_finish(lua_State *L, struct peri_op *op)
{
    struct read_op *read = peri_container_of(op, struct read_op, op);
    if (read->status < 0)
        return peri_push_error(L, read->status);
    lua_pushlstring(L, read->bytes, read->filled);
    return 1;
}

static int read_spool(lua_State *L, struct file_box *box, size_t len)
{
    struct peri_upload *upload = box->upload;
    struct read_op *read = peri_op_new(L, sizeof(*read) + len);
    read->op.finish = read_finish;
    read->op.cancel = read_cancel;
    read->req.data = read;
    read->loop = peri_vm_of(L)->tasks.loop;
    read->upload = upload;
    read->offset = upload->offset + box->at;
    read->wanted = len;
    int rc = read_more(read);
    if (rc < 0)
        return peri_push_error(L, rc);
    box->at += len;
    peri_upload_pin(upload);
    return peri_op_await(L, &read->op);
}

/* Reads `len` bytes, which are there, and moves on. */
static int read_bytes(lua_State *L, struct file_box *box, size_t len)
{
    const struct peri_upload *upload = box->upload;
    if (upload->spool != NULL && len > 0)
        return read_spool(L, box, len);
    lua_pushlstring(L, len > 0 ? upload->memory.data + box->at : "", len);
    box->at += len;
    return 1;
}

/* file:read([n]): the next n bytes, fewer at the end and nil behind it; without n all the rest. */
static int file_read(lua_State *L)
{
    struct file_box *box = check_open(L, 1);
    uint64_t left = box->upload->size - box->at;
    uint64_t len = left;
    if (!lua_isnoneornil(L, 2)) {
        lua_Integer wanted = luaL_checkinteger(L, 2);
        luaL_argcheck(L, wanted >= 0, 2, "a number of bytes, 0 or more, expected");
        if (left == 0 && wanted > 0)
            return 0;
        len = (uint64_t) wanted < left ? (uint64_t) wanted : left;
    }
    if (len > MAX_READ)
        return luaL_error(L, "more than 1 GiB cannot be read at once: use file:chunks()");
    return read_bytes(L, box, (size_t) len);
}

/* Upvalues: the file, the size of a chunk. */
static int next_chunk(lua_State *L)
{
    struct file_box *box = check_open(L, lua_upvalueindex(1));
    uint64_t left = box->upload->size - box->at;
    uint64_t size = (uint64_t) lua_tointeger(L, lua_upvalueindex(2));
    return left == 0 ? 0 : read_bytes(L, box, (size_t) (size < left ? size : left));
}

/* file:chunks([size]): iterates over the rest in pieces of 64 KiB or of `size` bytes. */
static int file_chunks(lua_State *L)
{
    check_open(L, 1);
    lua_Integer size = luaL_optinteger(L, 2, CHUNK);
    luaL_argcheck(L, size > 0 && size <= MAX_READ, 2, "1 to 1 GiB expected");
    lua_settop(L, 1);
    lua_pushinteger(L, size);
    lua_pushcclosure(L, next_chunk, 2);
    return 1;
}

/* file:seek(n): goes on reading at the n-th byte, counted from 0, or at the end when there are
 * fewer; returns where that is. */
static int file_seek(lua_State *L)
{
    struct file_box *box = check_open(L, 1);
    lua_Integer at = luaL_checkinteger(L, 2);
    luaL_argcheck(L, at >= 0, 2, "a position, 0 or more, expected");
    box->at = (uint64_t) at < box->upload->size ? (uint64_t) at : box->upload->size;
    lua_pushinteger(L, (lua_Integer) box->at);
    return 1;
}

/* --- saving ------------------------------------------------------------------------------------
 */

struct save_op {
    struct peri_op op;
    uv_work_t work;
    struct peri_upload *upload; /* pinned */
    _Atomic bool stop;
    int status;
    char path[];
};

static void save(uv_work_t *work)
{
    struct save_op *save = work->data;
    save->status = peri_upload_save(save->upload, save->path, &save->stop);
}

static void on_saved(uv_work_t *work, int status)
{
    struct save_op *save = work->data;
    if (status < 0)
        save->status = status;
    peri_upload_unpin(save->upload);
    peri_op_done(&save->op);
}

static void save_cancel(struct peri_op *op)
{
    struct save_op *save = peri_container_of(op, struct save_op, op);
    save->stop = true;
    uv_cancel((uv_req_t *) &save->work);
}

static int save_finish(lua_State *L, struct peri_op *op)
{
    struct save_op *save = peri_container_of(op, struct save_op, op);
    if (save->status < 0)
        return peri_push_error(L, save->status);
    lua_pushboolean(L, true);
    return 1;
}

/* file:save(path): all of the file, wherever reading stands. true, or nil and an error. */
static int file_save(lua_State *L)
{
    struct peri_upload *upload = check_open(L, 1)->upload;
    size_t len = 0;
    const char *path = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, strlen(path) == len, 2, "a path without NUL expected");
    struct save_op *op = peri_op_new(L, sizeof(*op) + len + 1);
    op->op.finish = save_finish;
    op->op.cancel = save_cancel;
    op->work.data = op;
    op->upload = upload;
    memcpy(op->path, path, len + 1);
    int rc = uv_queue_work(peri_vm_of(L)->tasks.loop, &op->work, save, on_saved);
    if (rc < 0)
        return peri_push_error(L, rc);
    peri_upload_pin(upload);
    return peri_op_await(L, &op->op);
}

/* --- the object --------------------------------------------------------------------------------
 */

/* file:close() and __close: lets go of the bytes before the request is over. */
static int file_close(lua_State *L)
{
    struct file_box *box = check_file(L, 1);
    if (box->upload != NULL)
        peri_upload_close(box->upload);
    return 0;
}

static int file_gc(lua_State *L)
{
    struct file_box *box = check_file(L, 1);
    peri_upload_unref(box->upload);
    box->upload = NULL;
    return 0;
}

static void push_name(lua_State *L, const struct peri_upload *upload)
{
    lua_pushlstring(L, upload->name, upload->name_len);
}

static void push_type(lua_State *L, const struct peri_upload *upload)
{
    const struct peri_part_header *header = peri_upload_header(upload, "content-type");
    if (header != NULL)
        lua_pushlstring(L, header->value, header->value_len);
    else
        lua_pushnil(L);
}

static void push_size(lua_State *L, const struct peri_upload *upload)
{
    lua_pushinteger(L, (lua_Integer) upload->size);
}

/* By name in lower case; the first of a name counts. */
static void push_headers(lua_State *L, const struct peri_upload *upload)
{
    lua_createtable(L, 0, (int) upload->header_count);
    for (unsigned i = upload->header_count; i-- > 0;) {
        const struct peri_part_header *header = &upload->headers[i];
        lua_pushlstring(L, header->name, header->name_len);
        lua_pushlstring(L, header->value, header->value_len);
        lua_rawset(L, -3);
    }
}

static const struct {
    const char *name;
    void (*push)(lua_State *L, const struct peri_upload *upload);
} fields[] = {
    {"name", push_name}, {"type", push_type}, {"size", push_size}, {"headers", push_headers}};

static const luaL_Reg methods[] = {
    {"chunks", file_chunks}, {"close", file_close}, {"read", file_read},
    {"save", file_save},     {"seek", file_seek},   {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", file_close},
    {"__gc", file_gc},
    {NULL, NULL},
};

/* Upvalue: names to methods, or to indices of fields. */
static int file_index(lua_State *L)
{
    struct file_box *box = check_file(L, 1);
    lua_settop(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNUMBER && box->upload != NULL)
        fields[lua_tointeger(L, -1)].push(L, box->upload);
    return 1;
}

static void fill_metatable(lua_State *L)
{
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        lua_pushinteger(L, (lua_Integer) i);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushcclosure(L, file_index, 1);
    lua_setfield(L, -2, "__index");
}

void peri_file_push(lua_State *L, void *handle)
{
    struct file_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = (struct file_box){0};
    if (luaL_newmetatable(L, FILE_TYPE))
        fill_metatable(L);
    lua_setmetatable(L, -2);
    box->upload = handle;
    peri_upload_ref(box->upload);
}
