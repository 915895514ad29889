/* perigee.host.compress: gzip, deflate (the zlib format, as HTTP means it) and brotli of whole
 * strings. Long ones, and short ones that unpack to long ones, are worked on at the threadpool
 * where the caller may wait; when nobody waits any more the work stops at its next piece. What
 * unpacks has a limit, so that a bomb is an error and not the end of the memory. */
#include "api.h"

#include "buf.h"
#include "vm.h"
#include "work.h"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <lauxlib.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LONG_DATA 65536 /* bytes from which the threadpool is worth its way there and back */
#define LONG_RESULT (4 * LONG_DATA) /* the same for what a short one unpacks to */
#define PIECE 65536
#define GZIP (MAX_WBITS + 16) /* zlib's way to ask for its format */

enum fault {
    FAULT_NONE,
    FAULT_BROKEN,
    FAULT_TOO_MUCH,
    FAULT_MEMORY,
};

struct compress_job {
    struct peri_job job;
    const char *data; /* the caller's, or `copy` */
    size_t len;
    char *copy;
    void (*work)(struct compress_job *self);
    int window; /* zlib's */
    int level;
    uint64_t max_bytes;
    struct peri_buf result;
    enum fault fault;
    atomic_bool stop; /* nobody waits for it any more */
};

static bool goes_on(const struct compress_job *self)
{
    return self->fault == FAULT_NONE && !atomic_load_explicit(&self->stop, memory_order_relaxed);
}

static void zlib_pack(struct compress_job *self)
{
    z_stream stream = {0};
    if (deflateInit2(&stream, self->level, Z_DEFLATED, self->window, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        self->fault = FAULT_MEMORY;
        return;
    }
    stream.next_in = (Bytef *) self->data;
    stream.avail_in = (uInt) self->len;
    int rc = Z_OK;
    while (rc == Z_OK && goes_on(self)) {
        char *at = peri_buf_reserve(&self->result, PIECE);
        stream.next_out = (Bytef *) at;
        stream.avail_out = PIECE;
        rc = deflate(&stream, Z_FINISH);
        self->result.len += PIECE - stream.avail_out;
    }
    deflateEnd(&stream);
    if (rc != Z_STREAM_END)
        self->fault = FAULT_MEMORY;
}

/* One member after the other, as gzip files may have several. */
static void zlib_unpack(struct compress_job *self)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, self->window) != Z_OK) {
        self->fault = FAULT_MEMORY;
        return;
    }
    stream.next_in = (Bytef *) self->data;
    stream.avail_in = (uInt) self->len;
    while (goes_on(self)) {
        char *at = peri_buf_reserve(&self->result, PIECE);
        stream.next_out = (Bytef *) at;
        stream.avail_out = PIECE;
        int rc = inflate(&stream, Z_NO_FLUSH);
        self->result.len += PIECE - stream.avail_out;
        if (self->result.len > self->max_bytes)
            self->fault = FAULT_TOO_MUCH;
        else if (rc == Z_STREAM_END && stream.avail_in == 0)
            break;
        else if (rc == Z_STREAM_END && self->window == GZIP)
            inflateReset(&stream);
        else if (rc != Z_OK)
            self->fault = FAULT_BROKEN; /* also Z_BUF_ERROR: the end is missing */
    }
    inflateEnd(&stream);
}

static void brotli_pack(struct compress_job *self)
{
    BrotliEncoderState *state = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    if (state == NULL) {
        self->fault = FAULT_MEMORY;
        return;
    }
    BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, (uint32_t) self->level);
    BrotliEncoderSetParameter(state, BROTLI_PARAM_SIZE_HINT, (uint32_t) self->len);
    const uint8_t *in = (const uint8_t *) self->data;
    size_t left = self->len;
    while (!BrotliEncoderIsFinished(state) && goes_on(self)) {
        size_t given = left < PIECE ? left : PIECE;
        size_t rest = given;
        uint8_t *out = (uint8_t *) peri_buf_reserve(&self->result, PIECE);
        size_t room = PIECE;
        BrotliEncoderOperation operation =
            given == left ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS;
        if (!BrotliEncoderCompressStream(state, operation, &rest, &in, &room, &out, NULL))
            self->fault = FAULT_MEMORY;
        left -= given - rest;
        self->result.len += PIECE - room;
    }
    BrotliEncoderDestroyInstance(state);
}

static void brotli_unpack(struct compress_job *self)
{
    BrotliDecoderState *state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    if (state == NULL) {
        self->fault = FAULT_MEMORY;
        return;
    }
    const uint8_t *in = (const uint8_t *) self->data;
    size_t in_len = self->len;
    BrotliDecoderResult rc = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    while (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && goes_on(self)) {
        uint8_t *out = (uint8_t *) peri_buf_reserve(&self->result, PIECE);
        size_t room = PIECE;
        rc = BrotliDecoderDecompressStream(state, &in_len, &in, &room, &out, NULL);
        self->result.len += PIECE - room;
        if (self->result.len > self->max_bytes)
            self->fault = FAULT_TOO_MUCH;
    }
    if (self->fault == FAULT_NONE && (rc != BROTLI_DECODER_RESULT_SUCCESS || in_len > 0))
        self->fault = FAULT_BROKEN;
    BrotliDecoderDestroyInstance(state);
}

static const char *const codings[] = {"gzip", "deflate", "br", NULL};
static const int windows[] = {GZIP, MAX_WBITS, 0};

/* --- in Lua ------------------------------------------------------------------------------------
 */

static void compress_run(struct peri_job *job)
{
    struct compress_job *self = peri_container_of(job, struct compress_job, job);
    self->work(self);
}

static void compress_cancel(struct peri_op *op)
{
    struct compress_job *self = peri_container_of(op, struct compress_job, job.op);
    atomic_store(&self->stop, true);
    uv_cancel((uv_req_t *) &self->job.req);
}

static void compress_deinit(struct peri_job *job)
{
    struct compress_job *self = peri_container_of(job, struct compress_job, job);
    peri_buf_deinit(&self->result);
    free(self->copy);
}

/* The result, or nil and an error like those of the system: { code, message }. */
static int compress_finish(lua_State *L, struct peri_op *op)
{
    struct compress_job *self = peri_container_of(op, struct compress_job, job.op);
    switch (self->fault) {
    case FAULT_NONE:
        lua_pushlstring(L, self->result.len > 0 ? self->result.data : "", self->result.len);
        return 1;
    case FAULT_BROKEN:
        return peri_push_error(L, UV_EINVAL);
    case FAULT_TOO_MUCH:
        return peri_push_error(L, UV_EFBIG);
    default:
        return luaL_error(L, "out of memory");
    }
}

static struct compress_job *prepare(lua_State *L, const struct compress_job *plan, bool waits)
{
    struct compress_job *self =
        waits ? peri_job_new(L, sizeof(*self)) : peri_job_new_in_place(L, sizeof(*self));
    self->job.run = compress_run;
    self->job.deinit = compress_deinit;
    self->job.op.finish = compress_finish;
    self->work = plan->work;
    self->window = plan->window;
    self->level = plan->level;
    self->max_bytes = plan->max_bytes;
    self->data = lua_tolstring(L, 2, &self->len);
    return self;
}

/* Does it here. Returns -1 when that would take long, and nothing is done. */
static int work_here(lua_State *L, const struct compress_job *plan, bool may_wait)
{
    struct compress_job *self = prepare(L, plan, false);
    if (may_wait && self->max_bytes > LONG_RESULT)
        self->max_bytes = LONG_RESULT;
    self->work(self);
    if (self->fault == FAULT_TOO_MUCH && self->max_bytes < plan->max_bytes) {
        peri_buf_deinit(&self->result);
        return -1;
    }
    return compress_finish(L, &self->job.op);
}

/* Works on the string at index 2 as `plan` says, here or on the threadpool. */
static int start(lua_State *L, const struct compress_job *plan)
{
    size_t len = 0;
    luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len <= INT32_MAX, 2, "2 GiB at most");
    bool may_wait = peri_may_wait(L);
    if (!may_wait || len < LONG_DATA) {
        int count = work_here(L, plan, may_wait);
        if (count >= 0)
            return count;
    }
    struct compress_job *self = prepare(L, plan, true);
    self->job.op.cancel = compress_cancel;
    self->copy = malloc(len + 1); /* the string may be collected when its coroutine is dropped */
    if (self->copy == NULL)
        return luaL_error(L, "out of memory");
    memcpy(self->copy, self->data, len);
    self->data = self->copy;
    return peri_job_await(L, &self->job);
}

/* pack(coding, data, level) */
static int compress_pack(lua_State *L)
{
    int coding = luaL_checkoption(L, 1, NULL, codings);
    bool brotli = strcmp(codings[coding], "br") == 0;
    lua_Integer most = brotli ? 11 : 9;
    lua_Integer level = luaL_optinteger(L, 3, brotli ? 5 : 6);
    luaL_argcheck(L, level >= 0 && level <= most, 3, brotli ? "0 to 11" : "0 to 9");
    return start(L, &(struct compress_job){
                        .work = brotli ? brotli_pack : zlib_pack,
                        .window = windows[coding],
                        .level = (int) level,
                    });
}

/* unpack(coding, data, max_bytes) */
static int compress_unpack(lua_State *L)
{
    int coding = luaL_checkoption(L, 1, NULL, codings);
    lua_Integer max_bytes = luaL_checkinteger(L, 3);
    luaL_argcheck(L, max_bytes >= 0, 3, "0 or more");
    return start(L, &(struct compress_job){
                        .work = windows[coding] == 0 ? brotli_unpack : zlib_unpack,
                        .window = windows[coding],
                        .max_bytes = (uint64_t) max_bytes,
                    });
}

static const luaL_Reg compress_functions[] = {
    {"pack", compress_pack},
    {"unpack", compress_unpack},
    {NULL, NULL},
};

int peri_open_compress(lua_State *L)
{
    luaL_newlib(L, compress_functions);
    return 1;
}
