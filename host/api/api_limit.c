/* perigee.host.limit: who may come, and how often. */
#include "api.h"

#include "address.h"
#include "limit.h"

#include <lauxlib.h>
#include <string.h>
#include <uv.h>

static const char NETWORKS_TYPE[] = "perigee.Networks";

/* take(key, count, seconds, burst): how many more may come now, nil when this one may not; seconds
 * until all may come again; seconds until one may. */
static int limit_take(lua_State *L)
{
    size_t len = 0;
    const char *key = luaL_checklstring(L, 1, &len);
    lua_Integer count = luaL_checkinteger(L, 2);
    lua_Integer seconds = luaL_checkinteger(L, 3);
    lua_Integer burst = luaL_checkinteger(L, 4);
    luaL_argcheck(L, count > 0 && count <= 1000000000, 2, "1 to 1,000,000,000 expected");
    luaL_argcheck(L, seconds > 0 && seconds <= 31622400, 3, "1 second to a year expected");
    luaL_argcheck(L, burst > 0 && burst <= count * 100, 4, "1 to 100 times the count expected");
    struct peri_limit_rate rate = {
        .every_ns = (uint64_t) seconds * 1000000000 / (uint64_t) count,
        .burst = (uint64_t) burst,
    };
    struct peri_limit_answer answer = peri_limit_take(key, len, rate, uv_hrtime());
    if (answer.allowed)
        lua_pushinteger(L, (lua_Integer) answer.left);
    else
        lua_pushnil(L);
    lua_pushnumber(L, (lua_Number) answer.reset_ns / 1e9);
    lua_pushnumber(L, (lua_Number) answer.wait_ns / 1e9);
    return 3;
}

/* networks("10.0.0.0/8,::1"): a set of addresses; nil when one of them is none. */
static int limit_networks(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    struct peri_networks *networks = lua_newuserdatauv(L, sizeof(*networks), 0);
    memset(networks, 0, sizeof(*networks));
    if (!peri_networks_parse(networks, text))
        return 0;
    luaL_setmetatable(L, NETWORKS_TYPE);
    return 1;
}

static int networks_contains(lua_State *L)
{
    const struct peri_networks *networks = luaL_checkudata(L, 1, NETWORKS_TYPE);
    size_t len = 0;
    const char *text = luaL_checklstring(L, 2, &len);
    union peri_address address = {0};
    bool known = peri_address_parse(&address, text, len);
    lua_pushboolean(L, (known && peri_networks_contain(networks, &address)) ||
                           (!known && len == 0 && networks->local));
    return 1;
}

static const luaL_Reg functions[] = {
    {"networks", limit_networks}, {"take", limit_take}, {NULL, NULL}};

int peri_open_limit(lua_State *L)
{
    if (luaL_newmetatable(L, NETWORKS_TYPE)) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, networks_contains);
        lua_setfield(L, -2, "contains");
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
