/* perigee.host.log: what the framework says to the operator. */
#include "api.h"

#include "exchange.h"
#include "log.h"
#include "vm.h"

#include <lauxlib.h>

/* failure(req, text): an error that became a 500, with the request it happened in. */
static int log_failure(lua_State *L)
{
    const char *text = luaL_checkstring(L, 2);
    struct peri_exchange *exchange = peri_request_exchange(L, 1);
    if (exchange != NULL)
        peri_exchange_log(exchange, "%s", text);
    else
        peri_log_error("%s", text);
    return 0;
}

/* warn(text): something the author of the app should look at. */
static int log_warn(lua_State *L)
{
    peri_log_warn("%s", luaL_checkstring(L, 1));
    return 0;
}

/* message(err): what an error says. */
static int log_message(lua_State *L)
{
    luaL_checkany(L, 1);
    peri_push_message(L, 1);
    return 1;
}

static const luaL_Reg log_functions[] = {
    {"failure", log_failure},
    {"message", log_message},
    {"warn", log_warn},
    {NULL, NULL},
};

int peri_open_log(lua_State *L)
{
    luaL_newlib(L, log_functions);
    return 1;
}
