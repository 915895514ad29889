/* Tape to Lua values, Lua values to bytes, and the module for scripts. The encoder makes no Lua
 * objects: it walks tables with lua_next() and builds a path only once something has failed. */
#include "json_lua.h"

#include <lauxlib.h>
#include <math.h>

#define KEPT_BYTES 65536 /* of a buffer, from one json.encode() to the next */
#define SHOWN_DEPTH 8    /* how much of the path to a cycle is worth reading */

/* ---- marks ---- */

/* Their addresses are the registry keys of the metatables. */
static const char array_mark[] = "json.array";
static const char object_mark[] = "json.object";

/* Pushes the metatable of a mark; makes it on first use, for the host pushes nodes into VMs whose
 * app never asks for this module. */
static void push_mark(lua_State *L, const char *mark)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, mark) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mark);
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, mark);
}

static void set_mark(lua_State *L, int index, const char *mark)
{
    index = lua_absindex(L, index);
    push_mark(L, mark);
    lua_setmetatable(L, index);
}

void peri_json_mark_array(lua_State *L, int index)
{
    set_mark(L, index, array_mark);
}

void peri_json_mark_object(lua_State *L, int index)
{
    set_mark(L, index, object_mark);
}

static bool is_marked(lua_State *L, int index, const char *mark)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, mark);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

bool peri_json_is_array(lua_State *L, int index)
{
    return is_marked(L, index, array_mark);
}

bool peri_json_is_object(lua_State *L, int index)
{
    return is_marked(L, index, object_mark);
}

void peri_json_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

/* ---- nodes to values ---- */

static void push_value(lua_State *L, const struct peri_json_node *node, int array_metatable);

static void push_array(lua_State *L, const struct peri_json_node *array, int array_metatable)
{
    luaL_checkstack(L, 4, "JSON");
    lua_createtable(L, (int) array->count, 0);
    lua_pushvalue(L, array_metatable);
    lua_setmetatable(L, -2);
    const struct peri_json_node *item = array + 1;
    for (uint32_t i = 1; i <= array->count; i++) {
        push_value(L, item, array_metatable);
        lua_rawseti(L, -2, i);
        item += item->skip;
    }
}

static void push_object(lua_State *L, const struct peri_json_node *object, int array_metatable)
{
    luaL_checkstack(L, 4, "JSON");
    lua_createtable(L, 0, (int) object->count);
    const struct peri_json_node *key = object + 1;
    for (uint32_t i = 0; i < object->count; i++) {
        lua_pushlstring(L, key->string, key->count);
        push_value(L, key + 1, array_metatable);
        lua_rawset(L, -3);
        key += 1 + key[1].skip;
    }
}

static void push_value(lua_State *L, const struct peri_json_node *node, int array_metatable)
{
    switch ((enum peri_json_type) node->type) {
    case PERI_JSON_NULL:
        peri_json_push_null(L);
        break;
    case PERI_JSON_FALSE:
        lua_pushboolean(L, 0);
        break;
    case PERI_JSON_TRUE:
        lua_pushboolean(L, 1);
        break;
    case PERI_JSON_INTEGER:
        lua_pushinteger(L, node->integer);
        break;
    case PERI_JSON_BIG:
        lua_pushnumber(L, peri_json_to_double(node->string, node->count));
        break;
    case PERI_JSON_NUMBER:
        lua_pushnumber(L, node->number);
        break;
    case PERI_JSON_STRING:
        lua_pushlstring(L, node->string, node->count);
        break;
    case PERI_JSON_ARRAY:
        push_array(L, node, array_metatable);
        break;
    case PERI_JSON_OBJECT:
        push_object(L, node, array_metatable);
        break;
    }
}

void peri_json_push_node(lua_State *L, const struct peri_json_node *node)
{
    luaL_checkstack(L, 4, "JSON");
    push_mark(L, array_mark);
    push_value(L, node, lua_gettop(L));
    lua_remove(L, -2);
}

/* The doc of a VM is taken out of the registry while in use: should a finalizer decode meanwhile,
 * it finds none and makes its own, and after an error the collector frees what was not put back. */
static const char doc_key[] = "perigee.json.doc";

static int doc_gc(lua_State *L)
{
    peri_json_doc_deinit(luaL_checkudata(L, 1, doc_key));
    return 0;
}

/* Pushes it, too. */
static struct peri_json_doc *take_doc(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, doc_key) == LUA_TUSERDATA) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, doc_key);
        return lua_touserdata(L, -1);
    }
    lua_pop(L, 1);
    struct peri_json_doc *doc = lua_newuserdatauv(L, sizeof(*doc), 0);
    *doc = (struct peri_json_doc){0};
    if (luaL_newmetatable(L, doc_key)) {
        lua_pushcfunction(L, doc_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return doc;
}

int peri_json_decode(lua_State *L, const char *bytes, size_t len, unsigned max_depth,
                     struct peri_json_error *error)
{
    luaL_checkstack(L, 4, "JSON");
    struct peri_json_doc *doc = take_doc(L);
    int failed = peri_json_parse(doc, bytes, len, max_depth, 0, error);
    if (failed == 0) {
        peri_json_push_node(L, doc->nodes);
        lua_insert(L, -2);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, doc_key);
    return failed;
}

/* ---- values to text ---- */

struct encoder {
    lua_State *L;
    struct peri_buf *out;
    const void *array_metatable; /* both NULL until a table with a metatable turns up */
    const void *object_metatable;
    bool too_deep;
};

static bool encode_container(struct encoder *encoder, int index, unsigned depth);

/* A failure pushes what is wrong, then the path from the place where it was found, empty there. On
 * the way out each level puts its own key before the path. Whatever else is on the stack stays
 * there until the outermost level tidies up. */
static bool fail(struct encoder *encoder, const char *format, const char *what)
{
    luaL_checkstack(encoder->L, 6, "JSON");
    lua_pushfstring(encoder->L, format, what);
    lua_pushliteral(encoder->L, "");
    return false;
}

bool peri_is_name(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return len > 0;
}

/* Puts the key at `key` before the path on top of the stack. */
static bool fail_at_key(struct encoder *encoder, int key, unsigned depth)
{
    lua_State *L = encoder->L;
    if (encoder->too_deep && depth > SHOWN_DEPTH) {
        lua_pushliteral(L, "...");
    } else if (lua_type(L, key) != LUA_TSTRING) {
        const char *name = luaL_tolstring(L, key, NULL);
        lua_pushfstring(L, "[%s]%s", name, lua_tostring(L, -2));
        lua_remove(L, -2);
    } else {
        size_t len = 0;
        const char *name = lua_tolstring(L, key, &len);
        if (peri_is_name(name, len)) {
            lua_pushfstring(L, ".%s%s", name, lua_tostring(L, -1));
        } else { /* quoted behind the unfinished text, which goes away as a whole */
            size_t start = encoder->out->len;
            peri_json_add_string(encoder->out, name, len);
            peri_buf_add_byte(encoder->out, '\0');
            lua_pushfstring(L, "[%s]%s", encoder->out->data + start, lua_tostring(L, -1));
        }
    }
    lua_replace(L, -2);
    return false;
}

static inline bool encode_string(struct encoder *encoder, int index, const char *problem)
{
    size_t len = 0;
    const char *bytes = lua_tolstring(encoder->L, index, &len);
    return peri_json_add_string(encoder->out, bytes, len) || fail(encoder, "%s", problem);
}

static inline bool encode_number(struct encoder *encoder, int index)
{
    if (lua_isinteger(encoder->L, index)) {
        peri_buf_add_int(encoder->out, lua_tointeger(encoder->L, index));
        return true;
    }
    double value = lua_tonumber(encoder->L, index);
    if (!isfinite(value))
        return fail(encoder, "%s cannot be written as JSON", isnan(value) ? "NaN" : "infinity");
    peri_json_add_number(encoder->out, value);
    return true;
}

static bool fail_neither(struct encoder *encoder)
{
    return fail(encoder, "%s",
                "a table that is neither an array (keys 1 to n) nor an object (string keys); "
                "json.null fills holes, json.object{} takes integer keys");
}

/* ---- values ---- */

/* `index` is absolute. Inlined where the values of tables are written: most of them are scalars. */
static inline bool encode_value(struct encoder *encoder, int index, unsigned depth)
{
    lua_State *L = encoder->L;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        peri_buf_add_lit(encoder->out, "null");
        return true;
    case LUA_TBOOLEAN:
        if (lua_toboolean(L, index))
            peri_buf_add_lit(encoder->out, "true");
        else
            peri_buf_add_lit(encoder->out, "false");
        return true;
    case LUA_TNUMBER:
        return encode_number(encoder, index);
    case LUA_TSTRING:
        return encode_string(encoder, index, "a string that is not UTF-8");
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) != NULL)
            break;
        peri_buf_add_lit(encoder->out, "null");
        return true;
    case LUA_TTABLE:
    case LUA_TUSERDATA:
        return encode_container(encoder, index, depth);
    default:
        break;
    }
    return fail(encoder, "a %s cannot be written as JSON", luaL_typename(L, index));
}

/* ---- objects ---- */

static bool fail_key(struct encoder *encoder, int key)
{
    return fail(encoder, "a %s key cannot be written as JSON", luaL_typename(encoder->L, key));
}

/* The keys that a map of a declared type may have: as texts, which is what JSON has. */
static bool encode_scalar_key(struct encoder *encoder, int key)
{
    lua_State *L = encoder->L;
    size_t start = encoder->out->len;
    bool done = false;
    switch (lua_type(L, key)) {
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
        peri_buf_add_byte(encoder->out, '"');
        done = encode_value(encoder, key, 0);
        peri_buf_add_byte(encoder->out, '"');
        return done;
    case LUA_TUSERDATA: /* a date, for one */
        if (luaL_callmeta(L, key, "__tojson") == 0)
            break;
        encoder->out->len = start;
        if (lua_type(L, -1) != LUA_TSTRING)
            break;
        done = encode_string(encoder, -1, "a key that is not UTF-8");
        if (done)
            lua_pop(L, 1);
        return done;
    default:
        break;
    }
    return fail_key(encoder, key);
}

static bool encode_key(struct encoder *encoder, int key, bool marked)
{
    if (lua_type(encoder->L, key) == LUA_TSTRING)
        return encode_string(encoder, key, "a key that is not UTF-8");
    if (marked)
        return encode_scalar_key(encoder, key);
    return lua_isinteger(encoder->L, key) ? fail_neither(encoder) : fail_key(encoder, key);
}

/* lua_next() has pushed the first key and value. */
static bool encode_object(struct encoder *encoder, int table, unsigned depth, bool marked)
{
    lua_State *L = encoder->L;
    int key = lua_gettop(L) - 1;
    char separator = '{';
    do {
        peri_buf_add_byte(encoder->out, separator);
        if (!encode_key(encoder, key, marked))
            return false;
        peri_buf_add_byte(encoder->out, ':');
        if (!encode_value(encoder, key + 1, depth))
            return fail_at_key(encoder, key, depth);
        lua_pop(L, 1);
        separator = ',';
    } while (lua_next(L, table) != 0);
    peri_buf_add_byte(encoder->out, '}');
    return true;
}

/* Whether a declared member has this key: the ones before `end` are. */
static bool is_member(lua_State *L, int members, lua_Integer end, int key)
{
    bool found = false;
    for (lua_Integer i = 1; i < end && !found; i += 2) {
        lua_rawgeti(L, members, i);
        found = lua_rawequal(L, -1, key);
        lua_pop(L, 1);
    }
    return found;
}

/* What a declared member is written as: pushes its value. */
static void push_member(lua_State *L, int table, int key)
{
    lua_pushvalue(L, key);
    if (lua_isfunction(L, key)) {
        lua_pushvalue(L, table);
        lua_call(L, 1, 1);
    } else {
        lua_rawget(L, table);
    }
}

/* A member of the object that began at `start`: its name and value are at `key` and behind it. */
static bool encode_further(struct encoder *encoder, size_t start, int key, unsigned depth)
{
    if (encoder->out->len > start + 1)
        peri_buf_add_byte(encoder->out, ',');
    if (!encode_key(encoder, key, false))
        return false;
    peri_buf_add_byte(encoder->out, ':');
    return encode_value(encoder, key + 1, depth) || fail_at_key(encoder, key, depth);
}

/* The members of the object that began at `start` whose names are known in their order: those in
 * the array at `extras`. */
static bool encode_extras(struct encoder *encoder, int table, int extras, size_t start,
                          unsigned depth)
{
    lua_State *L = encoder->L;
    lua_Integer count = (lua_Integer) lua_rawlen(L, extras);
    for (lua_Integer i = 1; i <= count; i++) {
        int key = lua_gettop(L) + 1;
        lua_rawgeti(L, extras, i);
        lua_pushvalue(L, key);
        if (lua_rawget(L, table) != LUA_TNIL && !encode_further(encoder, start, key, depth))
            return false;
        lua_settop(L, key - 1);
    }
    return true;
}

/* Whether the name at `key` is one of the array at `extras`; 0: there is none. */
static bool is_extra(lua_State *L, int extras, int key)
{
    if (extras == 0)
        return false;
    lua_pushvalue(L, key);
    bool known = lua_rawget(L, extras) != LUA_TNIL;
    lua_pop(L, 1);
    return known;
}

/* An object whose members stand in the array at `members`. */
static bool encode_declared(struct encoder *encoder, int table, int members, unsigned depth)
{
    lua_State *L = encoder->L;
    lua_Integer end = (lua_Integer) lua_rawlen(L, members) + 1;
    size_t start = encoder->out->len;
    peri_buf_add_byte(encoder->out, '{');
    for (lua_Integer i = 1; i < end; i += 2) {
        int key = lua_gettop(L) + 1;
        lua_rawgeti(L, members, i);
        lua_rawgeti(L, members, i + 1);
        size_t before = encoder->out->len;
        push_member(L, table, key);
        encoder->out->len = before; /* a function may have used the buffer itself */
        if (before > start + 1)
            peri_buf_add_byte(encoder->out, ',');
        if (!encode_string(encoder, key + 1, "a key that is not UTF-8"))
            return false;
        peri_buf_add_byte(encoder->out, ':');
        if (!encode_value(encoder, key + 2, depth))
            return fail_at_key(encoder, key + 1, depth);
        lua_settop(L, key - 1);
    }
    int extras = peri_json_push_extras(L, table) ? lua_gettop(L) : 0;
    if (extras != 0 && !encode_extras(encoder, table, extras, start, depth))
        return false;
    int key = lua_gettop(L) + 1;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (!is_member(L, members, end, key) && !is_extra(L, extras, key) &&
            !encode_further(encoder, start, key, depth))
            return false;
        lua_settop(L, key);
    }
    peri_buf_add_byte(encoder->out, '}');
    return true;
}

/* ---- arrays ---- */

/* The number of items when the keys are 1 to n, in whatever order; else 0. */
static lua_Integer count_items(lua_State *L, int table)
{
    lua_Integer count = 0;
    lua_Integer largest = 0;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1) {
            lua_pop(L, 1);
            return 0;
        }
        if (key > largest)
            largest = key;
        count++;
    }
    return count == largest ? count : 0;
}

/* An array whose items lua_next() does not find in their order. */
static bool encode_scattered(struct encoder *encoder, int table, unsigned depth)
{
    lua_State *L = encoder->L;
    lua_Integer count = count_items(L, table);
    if (count == 0)
        return fail_neither(encoder);
    int key = lua_gettop(L) + 1;
    char separator = '[';
    for (lua_Integer i = 1; i <= count; i++) {
        peri_buf_add_byte(encoder->out, separator);
        lua_pushinteger(L, i);
        lua_rawgeti(L, table, i);
        if (!encode_value(encoder, key + 1, depth))
            return fail_at_key(encoder, key, depth);
        lua_pop(L, 2);
        separator = ',';
    }
    peri_buf_add_byte(encoder->out, ']');
    return true;
}

/* lua_next() has pushed the first key and value. Most arrays come in their order, and one pass is
 * both the proof that this is one and the writing. */
static bool encode_array(struct encoder *encoder, int table, unsigned depth)
{
    lua_State *L = encoder->L;
    size_t start = encoder->out->len;
    int key = lua_gettop(L) - 1;
    lua_Integer expected = 1;
    char separator = '[';
    do {
        if (!lua_isinteger(L, key) || lua_tointeger(L, key) != expected++) {
            encoder->out->len = start;
            return encode_scattered(encoder, table, depth);
        }
        peri_buf_add_byte(encoder->out, separator);
        if (!encode_value(encoder, key + 1, depth))
            return fail_at_key(encoder, key, depth);
        lua_pop(L, 1);
        separator = ',';
    } while (lua_next(L, table) != 0);
    peri_buf_add_byte(encoder->out, ']');
    return true;
}

/* ---- tables ---- */

enum kind {
    KIND_UNMARKED,
    KIND_ARRAY,
    KIND_OBJECT,
    KIND_OTHER, /* has a metatable of somebody else */
};

static enum kind kind_of(struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    if (!lua_getmetatable(L, index))
        return KIND_UNMARKED;
    if (encoder->array_metatable == NULL) {
        push_mark(L, array_mark);
        push_mark(L, object_mark);
        encoder->array_metatable = lua_topointer(L, -2);
        encoder->object_metatable = lua_topointer(L, -1);
        lua_pop(L, 2);
    }
    const void *metatable = lua_topointer(L, -1);
    lua_pop(L, 1);
    if (metatable == encoder->array_metatable)
        return KIND_ARRAY;
    return metatable == encoder->object_metatable ? KIND_OBJECT : KIND_OTHER;
}

const char peri_json_members = 0;
const char peri_json_extras = 0;

/* Pushes the table that the metatable of the one at `index` holds under `key` and returns true, or
 * pushes nothing. */
static bool push_of_metatable(lua_State *L, int index, const void *key)
{
    if (!lua_getmetatable(L, index))
        return false;
    bool declared = lua_rawgetp(L, -1, key) == LUA_TTABLE;
    lua_remove(L, -2);
    if (!declared)
        lua_pop(L, 1);
    return declared;
}

static bool push_members(lua_State *L, int index)
{
    return push_of_metatable(L, index, &peri_json_members);
}

bool peri_json_push_extras(lua_State *L, int index)
{
    return push_of_metatable(L, index, &peri_json_extras);
}

static bool encode_table(struct encoder *encoder, int table, unsigned depth, enum kind kind)
{
    lua_State *L = encoder->L;
    lua_pushnil(L);
    if (lua_next(L, table) == 0) {
        peri_buf_add(encoder->out, kind == KIND_ARRAY ? "[]" : "{}", 2);
        return true;
    }
    if (kind == KIND_ARRAY || (kind != KIND_OBJECT && lua_isinteger(L, -2)))
        return encode_array(encoder, table, depth);
    return encode_object(encoder, table, depth, kind == KIND_OBJECT);
}

/* The function may use the buffer itself, through json.encode() or the host, and may be left by an
 * error there: whatever it appended is dropped. */
static bool encode_converted(struct encoder *encoder, int index, unsigned depth)
{
    lua_State *L = encoder->L;
    size_t start = encoder->out->len;
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    encoder->out->len = start;
    return encode_value(encoder, lua_gettop(L), depth);
}

static bool encode_container(struct encoder *encoder, int index, unsigned depth)
{
    lua_State *L = encoder->L;
    int top = lua_gettop(L);
    if (depth >= PERI_JSON_LUA_DEPTH) {
        encoder->too_deep = true;
        return fail(encoder, "%s", "a cycle, or more than 512 levels");
    }
    luaL_checkstack(L, 6, "JSON");

    enum kind kind = kind_of(encoder, index);
    bool done = false;
    if (kind == KIND_OTHER && lua_type(L, index) == LUA_TTABLE && push_members(L, index))
        done = encode_declared(encoder, index, lua_gettop(L), depth + 1);
    else if (kind == KIND_OTHER && luaL_getmetafield(L, index, "__tojson") != LUA_TNIL)
        done = encode_converted(encoder, index, depth + 1);
    else if (lua_type(L, index) == LUA_TTABLE)
        done = encode_table(encoder, index, depth + 1, kind);
    else
        done = fail(encoder, "a %s cannot be written as JSON", luaL_typename(L, index));
    if (done)
        lua_settop(L, top);
    return done;
}

int peri_json_encode(lua_State *L, int index, struct peri_buf *out)
{
    struct encoder encoder = {.L = L, .out = out};
    size_t start = out->len;
    int top = lua_gettop(L);
    if (encode_value(&encoder, lua_absindex(L, index), 0))
        return 0;

    out->len = start;
    const char *path = lua_tostring(L, -1);
    const char *problem = lua_tostring(L, -2);
    if (path[0] != '\0')
        lua_pushfstring(L, "%s: %s", path + (path[0] == '.'), problem);
    else
        lua_pushstring(L, problem);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return -1;
}

/* ---- the module ---- */

/* What json.encode() writes to, kept in its upvalue and taken from there while in use, as the doc
 * is:
 * __tojson may call json.encode(). */
struct texts {
    struct peri_buf compact;
    struct peri_buf pretty;
};

#define TEXTS_TYPE "perigee.json.texts"

static int texts_gc(lua_State *L)
{
    struct texts *texts = luaL_checkudata(L, 1, TEXTS_TYPE);
    peri_buf_deinit(&texts->compact);
    peri_buf_deinit(&texts->pretty);
    return 0;
}

/* Pushes them, too. */
static struct texts *take_texts(lua_State *L)
{
    struct texts *texts = lua_touserdata(L, lua_upvalueindex(1));
    if (texts != NULL) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushnil(L);
        lua_replace(L, lua_upvalueindex(1));
        return texts;
    }
    texts = lua_newuserdatauv(L, sizeof(*texts), 0);
    *texts = (struct texts){0};
    if (luaL_newmetatable(L, TEXTS_TYPE)) {
        lua_pushcfunction(L, texts_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return texts;
}

static bool wants_pretty(lua_State *L)
{
    if (lua_isnoneornil(L, 2))
        return false;
    luaL_checktype(L, 2, LUA_TTABLE);
    bool pretty = false;
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "pretty") != 0)
            luaL_error(L, "json.encode: unknown option '%s' (did you mean 'pretty'?)",
                       luaL_tolstring(L, -2, NULL));
        pretty = lua_toboolean(L, -1);
    }
    return pretty;
}

/* json.encode(value [, {pretty = true}]) -> text. Raises for what is no JSON. */
static int json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    bool pretty = wants_pretty(L);
    lua_settop(L, 1);
    struct texts *texts = take_texts(L);
    int failed = peri_json_encode(L, 1, &texts->compact);
    struct peri_buf *result = &texts->compact;
    if (failed == 0 && pretty) {
        peri_json_add_pretty(&texts->pretty, result->data, result->len);
        result = &texts->pretty;
    }
    if (failed == 0)
        lua_pushlstring(L, result->data, result->len);
    peri_buf_reset(&texts->compact, KEPT_BYTES);
    peri_buf_reset(&texts->pretty, KEPT_BYTES);
    lua_copy(L, 2, lua_upvalueindex(1));
    return failed != 0 ? luaL_error(L, "%s", lua_tostring(L, -1)) : 1;
}

/* tostring(err): "Expecting value: line 1 column 5 (byte 5)" */
static int error_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "message");
    lua_getfield(L, 1, "line");
    lua_getfield(L, 1, "column");
    lua_getfield(L, 1, "position");
    lua_pushfstring(L, "%s: line %I column %I (byte %I)", luaL_tolstring(L, 2, NULL),
                    (LUAI_UACINT) lua_tointeger(L, 3), (LUAI_UACINT) lua_tointeger(L, 4),
                    (LUAI_UACINT) lua_tointeger(L, 5));
    return 1;
}

static void set_integer(lua_State *L, const char *name, size_t value)
{
    lua_pushinteger(L, (lua_Integer) value);
    lua_setfield(L, -2, name);
}

/* Positions count from one, as everywhere in Lua: text:sub(err.position) is the rest. */
static void push_parse_error(lua_State *L, const char *text, const struct peri_json_error *error)
{
    size_t line = 1;
    const char *line_start = text;
    for (const char *at = text; at < text + error->byte; at++) {
        if (*at == '\n') {
            line++;
            line_start = at + 1;
        }
    }
    lua_createtable(L, 0, 4);
    lua_pushstring(L, error->message);
    lua_setfield(L, -2, "message");
    set_integer(L, "position", error->byte + 1);
    set_integer(L, "line", line);
    set_integer(L, "column",
                peri_utf8_count(line_start, (size_t) (text + error->byte - line_start)) + 1);
    if (luaL_newmetatable(L, "perigee.json.error")) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
}

/* json.decode(text) -> value, or nil and an error {message, position, line, column} */
static int json_decode(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    size_t len = 0;
    const char *text = lua_tolstring(L, 1, &len);
    struct peri_json_error error;
    if (peri_json_decode(L, text, len, PERI_JSON_LUA_DEPTH, &error) == 0)
        return 1;
    lua_pushnil(L);
    push_parse_error(L, text, &error);
    return 2;
}

static int mark_argument(lua_State *L, const char *mark)
{
    if (lua_isnone(L, 1))
        lua_newtable(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    push_mark(L, array_mark);
    push_mark(L, object_mark);
    luaL_argcheck(L, !lua_getmetatable(L, 1) || lua_rawequal(L, -1, 2) || lua_rawequal(L, -1, 3), 1,
                  "the table has a metatable already");
    lua_settop(L, 1);
    set_mark(L, 1, mark);
    return 1;
}

/* json.array([table]) -> the same table, written as an array even if it is empty */
static int json_array(lua_State *L)
{
    return mark_argument(L, array_mark);
}

/* json.object([table]) -> the same table, written as an object even if its keys are integers */
static int json_object(lua_State *L)
{
    return mark_argument(L, object_mark);
}

static int has_mark(lua_State *L, const char *mark)
{
    luaL_checkany(L, 1);
    bool marked = false;
    if (lua_type(L, 1) == LUA_TTABLE && lua_getmetatable(L, 1)) {
        push_mark(L, mark);
        marked = lua_rawequal(L, -1, -2);
    }
    lua_pushboolean(L, marked);
    return 1;
}

/* json.is_array(value) -> whether it is marked as one: json.array{} or decoded */
static int json_is_array(lua_State *L)
{
    return has_mark(L, array_mark);
}

/* json.is_object(value) -> whether it is marked as one: json.object{} */
static int json_is_object(lua_State *L)
{
    return has_mark(L, object_mark);
}

static const luaL_Reg json_functions[] = {
    {"decode", json_decode},
    {"array", json_array},
    {"object", json_object},
    {"is_array", json_is_array},
    {"is_object", json_is_object},
    {"encode", NULL},
    {"null", NULL},
    {NULL, NULL},
};

int luaopen_perigee_json(lua_State *L)
{
    luaL_newlib(L, json_functions);
    peri_json_push_null(L);
    lua_setfield(L, -2, "null");
    lua_pushnil(L); /* its texts */
    lua_pushcclosure(L, json_encode, 1);
    lua_setfield(L, -2, "encode");
    return 1;
}
