/* perigee.host.assets: the files of the documentation pages, which are part of the binary. They are
 * kept as gzip and mostly served so. */
#include "api.h"

#include "embed.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define GZIP (MAX_WBITS + 16) /* zlib's way to ask for its format */

/* What stands at the end of a gzip file (RFC 1952, 2.3.1): a CRC and the length of its contents. */
#define TRAILER 8

static uint32_t read_u32(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t) bytes[1] << 8 | (uint32_t) bytes[2] << 16 |
           (uint32_t) bytes[3] << 24;
}

/* Pushes what tells versions of the contents apart. */
static void push_tag(lua_State *L, const unsigned char *gzip, size_t len)
{
    const unsigned char *trailer = gzip + len - TRAILER;
    char tag[2 * TRAILER + 1];
    snprintf(tag, sizeof(tag), "%08x%08x", read_u32(trailer), read_u32(trailer + 4));
    lua_pushstring(L, tag);
}

/* The asset named by the first argument; NULL when there is none. */
static const struct peri_embedded *check_asset(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    for (size_t i = 0; i < peri_assets_count; i++) {
        const char *known = peri_assets[i].name; /* "swagger-ui.css.gz" */
        if (strlen(known) == len + strlen(".gz") && memcmp(known, name, len) == 0)
            return &peri_assets[i];
    }
    return NULL;
}

/* read(name): the bytes of a file as gzip and their tag; nil when there is none. */
static int assets_read(lua_State *L)
{
    const struct peri_embedded *asset = check_asset(L);
    if (asset == NULL)
        return 0;
    lua_pushlstring(L, (const char *) asset->bytes, asset->len);
    push_tag(L, asset->bytes, asset->len);
    return 2;
}

/* unpack(name): the bytes of a file as they were; nil when there is none. */
static int assets_unpack(lua_State *L)
{
    const struct peri_embedded *asset = check_asset(L);
    if (asset == NULL)
        return 0;
    size_t size = read_u32(asset->bytes + asset->len - 4);
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, size); /* may raise: zlib comes afterwards */
    z_stream stream = {
        .next_in = (unsigned char *) asset->bytes,
        .avail_in = (uInt) asset->len,
        .next_out = (unsigned char *) bytes,
        .avail_out = (uInt) size,
    };
    int rc = inflateInit2(&stream, GZIP);
    if (rc == Z_OK) {
        rc = inflate(&stream, Z_FINISH);
        inflateEnd(&stream);
    }
    if (rc != Z_STREAM_END)
        return luaL_error(L, "asset '%s' cannot be unpacked", asset->name);
    luaL_pushresultsize(&buffer, size);
    return 1;
}

/* tag(text): what tells it from other texts: the same as that of its packed form. */
static int assets_tag(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    char tag[2 * TRAILER + 1];
    uint32_t crc = (uint32_t) crc32_z(0, (const unsigned char *) text, len);
    snprintf(tag, sizeof(tag), "%08x%08x", crc, (uint32_t) len);
    lua_pushstring(L, tag);
    return 1;
}

/* pack(text): the text as gzip. */
static int assets_pack(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    size_t room = compressBound(len) + 18; /* gzip's frame */
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, room); /* may raise: zlib comes afterwards */
    z_stream stream = {
        .next_in = (unsigned char *) text,
        .avail_in = (uInt) len,
        .next_out = (unsigned char *) bytes,
        .avail_out = (uInt) room,
    };
    /* The fastest level: documents repeat themselves, so that better ones gain a tenth. */
    int rc = deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY);
    if (rc == Z_OK) {
        rc = deflate(&stream, Z_FINISH);
        deflateEnd(&stream);
    }
    if (rc != Z_STREAM_END)
        return luaL_error(L, "a text of %d bytes cannot be packed", (int) len);
    luaL_pushresultsize(&buffer, stream.total_out);
    return 1;
}

static const luaL_Reg assets_functions[] = {
    {"read", assets_read}, {"unpack", assets_unpack}, {"pack", assets_pack}, {"tag", assets_tag},
    {NULL, NULL},
};

int peri_open_assets(lua_State *L)
{
    luaL_newlib(L, assets_functions);
    return 1;
}
