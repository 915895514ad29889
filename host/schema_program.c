/* Programs and inputs as userdata: what compile() and inputs() of the Lua module make. */
#include "json_lua.h"
#include "schema_compile.h"
#include "schema_string.h"

#include <lauxlib.h>
#include <string.h>

/* --------------------------------------------------- options of encoding --- */

static const struct peri_choices *compile_choices(struct peri_compiler *c, int table);

/* One entry of include or exclude, whose key and value are on top of the stack. */
static struct peri_choice compile_choice(struct peri_compiler *c)
{
    lua_State *L = c->L;
    struct peri_choice choice = {.index = -1};
    int key = lua_gettop(L) - 1;
    bool listed = lua_type(L, key) == LUA_TNUMBER && lua_type(L, key + 1) == LUA_TSTRING;
    if (listed)
        choice.name = peri_compile_keep_string(c, key + 1);
    else if (lua_type(L, key) == LUA_TSTRING)
        choice.name = peri_compile_keep_string(c, key);
    else
        choice.index = lua_tointeger(L, key);
    if (choice.name.data != NULL && strcmp(choice.name.data, "__all__") == 0)
        choice.name = (struct peri_text){0};
    if (!listed && lua_type(L, key + 1) == LUA_TTABLE)
        choice.nested = compile_choices(c, key + 1);
    return choice;
}

static const struct peri_choices *compile_choices(struct peri_compiler *c, int table)
{
    lua_State *L = c->L;
    luaL_checkstack(L, 10, "include is nested too deeply");
    struct peri_choices *choices = peri_compile_take(c, sizeof(*choices));
    uint32_t count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        count++;
    struct peri_choice *items = peri_compile_take(c, (count + 1) * sizeof(*items));
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        items[choices->count++] = compile_choice(c);
    choices->items = items;
    return choices;
}

static void compile_options(struct peri_compiler *c, int options)
{
    struct peri_encode_options *out = &c->program->options;
    out->by_name =
        peri_compile_get(c, options, "by_alias") == LUA_TBOOLEAN && !lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    out->exclude_unset = peri_compile_flag(c, options, "exclude_unset");
    out->exclude_defaults = peri_compile_flag(c, options, "exclude_defaults");
    out->exclude_none = peri_compile_flag(c, options, "exclude_none");
    if (peri_compile_get(c, options, "include") == LUA_TTABLE)
        out->include = compile_choices(c, lua_gettop(c->L));
    lua_pop(c->L, 1);
    if (peri_compile_get(c, options, "exclude") == LUA_TTABLE)
        out->exclude = compile_choices(c, lua_gettop(c->L));
    lua_pop(c->L, 1);
}

/* -------------------------------------------------------------- programs --- */

void peri_types_deinit(struct peri_types *types)
{
    peri_patterns_free(types->patterns);
    types->patterns = NULL;
    peri_arena_deinit(&types->arena);
}

/* The user values of types: the Lua values of their programs, and what was compiled of each node.
 */
enum { LUA_VALUES = 1, MEMOS };

void peri_types_push(lua_State *L)
{
    struct peri_types *types = lua_newuserdatauv(L, sizeof(*types), MEMOS);
    *types = (struct peri_types){.lua_count = PERI_LUA_TYPES};
    luaL_setmetatable(L, PERI_TYPES_TYPE);
    lua_newtable(L);
    lua_newtable(L);
    peri_json_mark_array(L, -1);
    lua_getmetatable(L, -1);
    lua_rawseti(L, -3, PERI_LUA_ARRAY_MARK);
    lua_pop(L, 1);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, PERI_LUA_TYPES); /* whoever has the values needs what points to them */
    lua_setiuservalue(L, -2, LUA_VALUES);
    lua_createtable(L, 4, 0);
    for (int i = 1; i <= 4; i++) {
        lua_newtable(L);
        lua_rawseti(L, -2, i);
    }
    lua_setiuservalue(L, -2, MEMOS);
}

/* Pushes the userdata and leaves it below what the compiler needs on the stack. What was compiled
 * depends on the option `strict`, so that there are memos for either. `types` is a stack index: of
 * those to share, or of nil. */
static void *start(lua_State *L, struct peri_compiler *c, size_t size, const char *metatable,
                   int types, bool strict)
{
    struct peri_types *shared = luaL_testudata(L, types, PERI_TYPES_TYPE);
    void *memory = lua_newuserdatauv(L, size, 1);
    memset(memory, 0, size);
    luaL_setmetatable(L, metatable);
    int program = lua_gettop(L);
    *c = (struct peri_compiler){.L = L, .program = memory, .strict = strict};
    if (shared != NULL && !shared->busy)
        lua_pushvalue(L, types);
    else
        peri_types_push(L);
    c->types = lua_touserdata(L, -1);
    c->types->busy = true;
    lua_getiuservalue(L, -1, MEMOS);
    lua_rawgeti(L, -1, strict ? 3 : 1);
    c->memo[0] = lua_gettop(L);
    lua_rawgeti(L, -2, strict ? 4 : 2);
    c->memo[1] = lua_gettop(L);
    lua_getiuservalue(L, -4, LUA_VALUES);
    c->lua_values = lua_gettop(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, program, 1);
    return memory;
}

static bool is_strict(lua_State *L, int options)
{
    lua_pushliteral(L, "strict");
    lua_rawget(L, options);
    bool strict = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return strict;
}

struct peri_program *peri_program_new(lua_State *L, int node, int options, int types)
{
    struct peri_compiler c;
    int top = lua_gettop(L);
    bool strict = lua_istable(L, options) && is_strict(L, options);
    struct peri_program *program = start(L, &c, sizeof(*program), PERI_PROGRAM_TYPE, types, strict);
    if (lua_istable(L, options))
        compile_options(&c, options);
    struct peri_scope scope = {{NULL, "type"}, c.strict};
    if (lua_istable(L, node)) {
        peri_compile_get(&c, node, "name");
        if (lua_type(L, -1) == LUA_TSTRING)
            scope.place.name = lua_tostring(L, -1); /* the node keeps it alive */
        lua_pop(L, 1);
    }
    program->type = peri_compile(&c, node, &scope);
    peri_compile_finish(&c);
    lua_settop(L, top + 1);
    return program;
}

/* ---------------------------------------------------------------- inputs --- */

static const struct {
    const char *name;
    const char *as;
    unsigned uses;
} sources[] = {
    [PERI_SOURCE_PATH] = {"path", "params", PERI_USES_PATH},
    [PERI_SOURCE_QUERY] = {"query", "query", PERI_USES_QUERY},
    [PERI_SOURCE_HEADER] = {"header", "headers", PERI_USES_HEADERS},
    [PERI_SOURCE_COOKIE] = {"cookie", "cookies", PERI_USES_COOKIES},
    [PERI_SOURCE_BODY] = {"body", "body", PERI_USES_BODY},
    [PERI_SOURCE_FORM] = {"form", "form", PERI_USES_FORM},
};
enum { SOURCES = sizeof(sources) / sizeof(sources[0]) };

static struct peri_text with_hyphens(struct peri_compiler *c, struct peri_text name)
{
    char *copy = peri_arena_take(&c->types->arena, name.len + 1);
    for (uint32_t i = 0; i < name.len; i++)
        copy[i] = name.data[i] == '_' ? '-' : name.data[i];
    copy[name.len] = '\0';
    return (struct peri_text){copy, name.len};
}

/* Headers are looked up under another name than their own; separate ones are also reported so. */
static void prepare_headers(struct peri_compiler *c, struct peri_group *group, bool convert)
{
    struct peri_text *lookups = peri_compile_take(c, (group->fields.count + 1) * sizeof(*lookups));
    for (uint32_t i = 0; i < group->fields.count; i++) {
        struct peri_member *member = &group->fields.members[i];
        lookups[i] = convert && !member->has_alias ? with_hyphens(c, member->wire) : member->wire;
        if (group->type == NULL)
            member->wire = lookups[i];
    }
    group->lookups = lookups;
}

/* The model behind a chain of refs; NULL when the type is something else. */
static const struct peri_model *model_of(const struct peri_type *type)
{
    while (type->kind == PERI_KIND_REF)
        type = type->target;
    return type->kind == PERI_KIND_MODEL ? &type->model : NULL;
}

static bool holds_file(const struct peri_type *type)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_FILE:
        return true;
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        return holds_file(type->array.item);
    case PERI_KIND_REF:
        return holds_file(type->target);
    case PERI_KIND_UNION:
        for (uint32_t i = 0; i < type->any_of.count; i++) {
            if (holds_file(type->any_of.members[i]))
                return true;
        }
        return false;
    default:
        return false;
    }
}

static void compile_group(struct peri_compiler *c, int node, struct peri_group *group)
{
    struct peri_scope scope = {{NULL, "inputs"}, c->strict};
    struct peri_text source = peri_compile_text(c, node, "source");
    int found = 0;
    while (found < SOURCES && (!source.data || strcmp(sources[found].name, source.data) != 0))
        found++;
    if (found == SOURCES)
        peri_compile_fail(c, &scope.place,
                          "source must be path, query, header, cookie, body or form");
    scope.place.name = sources[found].name;
    group->source = (enum peri_source) found;
    if (peri_compile_get(c, node, "as") != LUA_TSTRING) {
        lua_pop(c->L, 1);
        lua_pushstring(c->L, sources[found].as);
    }
    group->as = peri_compile_keep_string(c, -1);
    lua_pop(c->L, 1);
    if (peri_compile_get(c, node, "model") != LUA_TNIL) {
        group->type = peri_compile_top(c, &scope, "model");
        const struct peri_model *model = model_of(group->type);
        if (model != NULL)
            group->fields = *model;
        if (peri_compile_flag(c, node, "embed"))
            group->embed = peri_compile_text(c, node, "embed_name");
    } else {
        lua_pop(c->L, 1);
        peri_compile_fields(c, node, &scope, &group->fields);
    }
    bool convert =
        peri_compile_get(c, node, "convert_underscores") == LUA_TNIL || lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    if (group->source == PERI_SOURCE_HEADER)
        prepare_headers(c, group, convert);
    for (uint32_t i = 0; group->source == PERI_SOURCE_FORM && i < group->fields.count; i++) {
        struct peri_member *member = &group->fields.members[i];
        member->is_file = member->is_file || holds_file(member->type);
        group->has_file = group->has_file || member->is_file;
    }
}

static void check_names(struct peri_compiler *c, const struct peri_inputs *inputs)
{
    struct peri_place place = {NULL, "inputs"};
    for (uint32_t i = 0; i < inputs->group_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (peri_text_equals(inputs->groups[i].as, inputs->groups[j].as))
                peri_compile_fail(
                    c, &place,
                    lua_pushfstring(c->L, "two groups are called '%s'", inputs->groups[i].as.data));
        }
    }
}

struct peri_inputs *peri_inputs_new(lua_State *L, int description, int types)
{
    struct peri_compiler c;
    int top = lua_gettop(L);
    bool strict = is_strict(L, description);
    struct peri_inputs *inputs = start(L, &c, sizeof(*inputs), PERI_INPUTS_TYPE, types, strict);
    struct peri_place place = {NULL, "inputs"};
    inputs->strict_content_type =
        peri_compile_get(&c, description, "strict_content_type") == LUA_TNIL ||
        lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (peri_compile_get(&c, description, "groups") != LUA_TTABLE)
        peri_compile_fail(&c, &place, "groups must be a list");
    int list = lua_gettop(L);
    inputs->group_count = (uint32_t) lua_rawlen(L, list);
    inputs->groups = peri_compile_take(&c, (inputs->group_count + 1) * sizeof(*inputs->groups));
    for (uint32_t i = 0; i < inputs->group_count; i++) {
        if (lua_rawgeti(L, list, i + 1) != LUA_TTABLE)
            peri_compile_fail(&c, &place, "a group must be a table");
        struct peri_group *group = &inputs->groups[i];
        compile_group(&c, lua_gettop(L), group);
        lua_pop(L, 1);
        inputs->uses |= sources[group->source].uses | (group->has_file ? PERI_USES_FILES : 0);
    }
    check_names(&c, inputs);
    peri_compile_finish(&c);
    if (inputs->program.has_checks)
        inputs->uses |= PERI_USES_CHECKS;
    lua_settop(L, top + 1);
    return inputs;
}
