#include "api.h"

#include "schema.h"

#include <lauxlib.h>

/* One line for each, as more come. */
/* clang-format off */
static const luaL_Reg modules[] = {
    {"app", peri_open_app},
    {"assets", peri_open_assets},
    {"document", peri_open_document},
    {"log", peri_open_log},
    {"response", peri_open_response},
    {"schema", luaopen_perigee_schema},
    {"task", peri_open_task},
    {"time", peri_open_time},
    {"crypto", peri_open_crypto},
    {"signature", peri_open_signature},
    {"compress", peri_open_compress},
    {"stream", peri_open_stream},
    {"net", peri_open_net},
    {"fs", peri_open_fs},
    {"fs_watch", peri_open_fs_watch},
    {"test", peri_open_test},
    {"send", peri_open_send},
    {"limit", peri_open_limit},
    {"process", peri_open_process},
    {"worker", peri_open_worker},
    {"tls", peri_open_tls},
    {"client", peri_open_client},
    {"shared", peri_open_shared},
    {"console", peri_open_console},
    {"metrics", peri_open_metrics},
    {NULL, NULL},
};
/* clang-format on */

int luaopen_perigee_host(lua_State *L)
{
    lua_createtable(L, 0, sizeof(modules) / sizeof(*modules));
    for (const luaL_Reg *module = modules; module->name != NULL; module++) {
        lua_pushcfunction(L, module->func);
        lua_call(L, 0, 1);
        lua_setfield(L, -2, module->name);
    }
    return 1;
}
