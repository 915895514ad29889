#include "framework.h"

#include "buf.h"
#include "embed.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One place for each module; what is put there stays for as long as the process lives. */
static _Atomic(struct peri_buf *) *compiled;

static void make_room(void)
{
    compiled = calloc(peri_embedded_count, sizeof(*compiled));
}

static int add_bytes(lua_State *L, const void *bytes, size_t len, void *buf)
{
    (void) L;
    peri_buf_add(buf, bytes, len);
    return 0;
}

/* Keeps the chunk on top of the stack, unless another thread was faster. */
static void keep(lua_State *L, size_t index)
{
    struct peri_buf *bytes = calloc(1, sizeof(*bytes));
    struct peri_buf *none = NULL;
    if (bytes == NULL)
        return;
    bool whole = lua_dump(L, add_bytes, bytes, 0) == 0;
    if (whole && atomic_compare_exchange_strong(&compiled[index], &none, bytes))
        return;
    peri_buf_deinit(bytes);
    free(bytes);
}

static void push_chunk(lua_State *L, size_t index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct peri_embedded *module = &peri_embedded[index];
    pthread_once(&once, make_room);
    struct peri_buf *bytes = compiled != NULL ? atomic_load(&compiled[index]) : NULL;
    int rc = bytes != NULL ? luaL_loadbufferx(L, bytes->data, bytes->len, module->chunkname, "b")
                           : luaL_loadbufferx(L, (const char *) module->bytes, module->len,
                                              module->chunkname, "t");
    if (rc != LUA_OK)
        lua_error(L);
    if (bytes == NULL && compiled != NULL)
        keep(L, index);
}

bool peri_framework_push(lua_State *L, const char *name)
{
    for (size_t i = 0; i < peri_embedded_count; i++) {
        if (strcmp(peri_embedded[i].name, name) != 0)
            continue;
        push_chunk(L, i);
        lua_pushstring(L, peri_embedded[i].chunkname);
        return true;
    }
    return false;
}
