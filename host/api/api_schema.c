/* The module perigee.host.schema; its Lua side is described in schema.h. */
#include "../json_lua.h"
#include "../schema_lua.h"

#include <lauxlib.h>

struct peri_program *peri_schema_program(lua_State *L, int index)
{
    return luaL_testudata(L, index, PERI_PROGRAM_TYPE);
}

struct peri_inputs *peri_schema_inputs(lua_State *L, int index)
{
    return luaL_testudata(L, index, PERI_INPUTS_TYPE);
}

static int schema_compile(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 3);
    peri_program_new(L, 1, 2, 3);
    return 1;
}

static int schema_inputs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    peri_inputs_new(L, 1, 2);
    return 1;
}

static int schema_types(lua_State *L)
{
    peri_types_push(L);
    return 1;
}

static int schema_stats(lua_State *L)
{
    peri_schema_push_stats(L);
    return 1;
}

/* The value on top, or nil and the errors. */
static int answer(lua_State *L, struct peri_result *result, bool sound)
{
    if (sound)
        return 1;
    lua_pushnil(L);
    peri_result_push_errors(L, result);
    return 2;
}

static int program_validate(lua_State *L)
{
    luaL_checkudata(L, 1, PERI_PROGRAM_TYPE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    struct peri_result *result = peri_result_push(L);
    const struct peri_json_node *node = peri_tape_from_lua(L, 2, &result->arena);
    return answer(L, result, peri_program_validate(L, 1, result, node, PERI_MODE_VALUE));
}

static int program_validate_json(lua_State *L)
{
    luaL_checkudata(L, 1, PERI_PROGRAM_TYPE);
    size_t len = 0;
    const char *text = luaL_checklstring(L, 2, &len);
    lua_settop(L, 2);
    struct peri_result *result = peri_result_push(L);
    struct peri_json_error error;
    if (peri_json_parse(&result->doc, text, len, PERI_JSON_MAX_DEPTH, PERI_JSON_ALLOW_NAN,
                        &error) != 0) {
        struct peri_run run = {.result = result, .mode = PERI_MODE_JSON};
        struct peri_json_node input = {
            .type = PERI_TAPE_BYTES, .skip = 1, .count = (uint32_t) len, .string = text};
        peri_fail_text(&run, NULL, &input, PERI_ERROR_JSON_TEXT, "error",
                       (struct peri_text){error.message, (uint32_t) strlen(error.message)});
        peri_result_close(result);
        return answer(L, result, false);
    }
    return answer(L, result,
                  peri_program_validate(L, 1, result, result->doc.nodes, PERI_MODE_JSON));
}

/* Bytes that a raised error has to free. */
static int text_gc(lua_State *L)
{
    peri_buf_deinit(lua_touserdata(L, 1));
    return 0;
}

static struct peri_buf *push_text(lua_State *L)
{
    struct peri_buf *text = lua_newuserdatauv(L, sizeof(*text), 0);
    *text = (struct peri_buf){0};
    if (luaL_newmetatable(L, "perigee.schema.text")) {
        lua_pushcfunction(L, text_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return text;
}

static int program_encode(lua_State *L)
{
    luaL_checkudata(L, 1, PERI_PROGRAM_TYPE);
    lua_settop(L, 2);
    struct peri_buf *text = push_text(L);
    if (peri_schema_encode(L, 2, 1, text) != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushlstring(L, text->data, text->len);
    return 1;
}

static int types_gc(lua_State *L)
{
    peri_types_deinit(lua_touserdata(L, 1));
    return 0;
}

static const luaL_Reg program_methods[] = {
    {"encode", program_encode},
    {"validate", program_validate},
    {"validate_json", program_validate_json},
    {NULL, NULL},
};

static const luaL_Reg schema_functions[] = {
    {"compile", schema_compile},
    {"inputs", schema_inputs},
    {"stats", schema_stats},
    {"types", schema_types},
    {NULL, NULL},
};

int luaopen_perigee_schema(lua_State *L)
{
    luaL_newmetatable(L, PERI_PROGRAM_TYPE);
    luaL_newlib(L, program_methods);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, PERI_INPUTS_TYPE);
    luaL_newmetatable(L, PERI_TYPES_TYPE);
    lua_pushcfunction(L, types_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 3);
    luaL_newlib(L, schema_functions);
    return 1;
}
