/* perigee.host.task: what the scheduler of this VM has done. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>

/* resumes(): how often Lua was entered. Requests that are refused in C do not count. */
static int task_resumes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer) peri_vm_of(L)->tasks.resumes);
    return 1;
}

static const luaL_Reg task_functions[] = {
    {"resumes", task_resumes},
    {NULL, NULL},
};

int peri_open_task(lua_State *L)
{
    luaL_newlib(L, task_functions);
    return 1;
}
