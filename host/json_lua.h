/* JSON and Lua values. Every function here may raise (memory) and runs inside a task or a protected
 * call. Special values: peri_json_push_null() is `json.null`, a light userdata NULL, the same as
 * cjson.null; json.array{} and json.object{} are tables with a metatable of this file.
 *
 * Making Lua values can run finalizers, and those are Lua code that may want JSON themselves: a doc
 * or a buffer is not shared with them while it is in use here. */
#ifndef PERI_JSON_LUA_H
#define PERI_JSON_LUA_H

#include "json.h"

#include <lua.h>

/* How deep a value may be nested for peri_json_encode(), and a text for json.decode(). */
#define PERI_JSON_LUA_DEPTH 512

void peri_json_push_null(lua_State *L);

/* Pushes the Lua value of a node: integers stay integers, BIG becomes a float, null is json.null,
 * objects and arrays become tables (arrays marked as such, so that an empty one is written as []
 * again). */
void peri_json_push_node(lua_State *L, const struct peri_json_node *node);

/* Parses `bytes` and pushes their value, with a doc that the VM keeps from call to call. Returns 0,
 * or -1 with *error filled and nothing pushed. */
int peri_json_decode(lua_State *L, const char *bytes, size_t len, unsigned max_depth,
                     struct peri_json_error *error);

/* Marks the table at `index` as json.array{} or json.object{} does. */
void peri_json_mark_array(lua_State *L, int index);
void peri_json_mark_object(lua_State *L, int index);

/* Whether the value at `index` is so marked. */
bool peri_json_is_array(lua_State *L, int index);
bool peri_json_is_object(lua_State *L, int index);

/* A table whose metatable holds an array under this address, as light userdata, is an object with
 * declared members: { key, name, key, name, ... }. They are written first, in this order and under
 * these names, absent ones as null; a function in the place of a key makes its member's value from
 * the table. Other string keys follow. */
extern const char peri_json_members;

/* Its metatable may also hold, under this address, the names of further members in their order:
 * { name, name, ..., [name] = true }. They follow the declared ones where they are present, before
 * all others. */
extern const char peri_json_extras;

/* Pushes those of the table at `index` and returns true, or pushes nothing. */
bool peri_json_push_extras(lua_State *L, int index);

/* Appends the JSON text of the value at `index`; nil is null. Tables are read raw, in the order of
 * next(). A marked one is what it is marked as. Of the others, those with the keys 1..n and n > 0
 * are arrays, those with string keys only, or none, are objects, and anything else is an error, as
 * is an array with holes or other keys. Only a marked object may have keys that are no strings:
 * numbers, booleans, and userdata with __tojson, as maps of declared types have them. A table or
 * userdata whose metatable has __tojson is replaced by what that returns for it.
 *
 * Returns 0, or -1 with a message pushed and nothing appended. The message names the path of the
 * offending value ("items[3].price: a function cannot be written as JSON"): functions, userdata,
 * threads, other keys, invalid UTF-8, NaN and infinities, cycles and too deep nesting. What
 * __tojson raises goes through. */
int peri_json_encode(lua_State *L, int index, struct peri_buf *out);

/* Opens the module offered as perigee.json (encode, decode, null, array, object, is_array,
 * is_object). */
int luaopen_perigee_json(lua_State *L);

/* Whether a text may stand behind a dot in Lua: for the paths that errors name. */
bool peri_is_name(const char *text, size_t len);

#endif
