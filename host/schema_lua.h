/* Where validation meets Lua: compiling, pushing values, reading Lua values as tapes. Everything
 * here may raise and runs in a coroutine or a protected call. */
#ifndef PERI_SCHEMA_LUA_H
#define PERI_SCHEMA_LUA_H

#include "schema_type.h"

#define PERI_PROGRAM_TYPE "perigee.schema.program"
#define PERI_INPUTS_TYPE "perigee.schema.inputs"
#define PERI_TYPES_TYPE "perigee.schema.types"

/* The sources of a request, in the order of enum peri_inputs_uses. */
enum peri_source {
    PERI_SOURCE_PATH,
    PERI_SOURCE_QUERY,
    PERI_SOURCE_HEADER,
    PERI_SOURCE_COOKIE,
    PERI_SOURCE_BODY,
    PERI_SOURCE_FORM,
};

struct peri_group {
    enum peri_source source;
    struct peri_text as;
    /* A model group has one type, whose members are read as parameters when it is a model. */
    const struct peri_type *type; /* NULL: separate parameters */
    struct peri_model fields;     /* the separate parameters; shares its parts with model groups */
    const struct peri_text *lookups; /* header: the names to look for, one for each of fields */
    bool has_file;
    struct peri_text embed; /* body: the one value stands under this key; empty: it is the body */
};

struct peri_inputs {
    struct peri_program program; /* what it says of types holds for all of them */
    struct peri_group *groups;
    uint32_t group_count;
    unsigned uses;
    bool strict_content_type; /* a body without Content-Type is no JSON */
};

/* Pushes what programs may share. */
void peri_types_push(lua_State *L);
/* What __gc does. */
void peri_types_deinit(struct peri_types *types);
/* Compile; the userdata is left on the stack. `types` is the stack index of those to share, or of
 * nil. */
struct peri_program *peri_program_new(lua_State *L, int node, int options, int types);
struct peri_inputs *peri_inputs_new(lua_State *L, int description, int types);

/* Counters of this process; see stats() in schema.h. */
void peri_schema_count(unsigned validations, unsigned rejected);
void peri_schema_push_stats(lua_State *L);

/* The tape of a Lua value; all of it, strings included, is the arena's. Raises when it is nested
 * too deeply; what JSON cannot say becomes an OPAQUE node. */
const struct peri_json_node *peri_tape_from_lua(lua_State *L, int index, struct peri_arena *arena);

/* One pass over the values of a result. */
struct peri_push {
    lua_State *L;
    int lua_values; /* stack index of the program's Lua values */
    struct peri_result *result;
    enum peri_mode mode; /* for what is converted behind "before" checks */
};

/* Pushes the value at `at` and returns what follows it. Checks run on the way; errors of theirs are
 * added to the result, and nil is pushed for what they refused. */
const struct peri_value *peri_value_push(struct peri_push *push, const struct peri_value *at);
/* Pushes a plain Lua value for any tape, our own node types included. */
void peri_node_push(struct peri_push *push, const struct peri_json_node *node);

/* Temporal userdata. */
void peri_temporal_push(lua_State *L, struct peri_temporal temporal);
/* NULL when the value at `index` is none. */
const struct peri_temporal *peri_temporal_test(lua_State *L, int index);

/* A result for the time of one C function: userdata on the stack, so that an error frees it. */
struct peri_result *peri_result_push(lua_State *L);

/* The names that are set in a model's value, as a table { name = true }; pushes nothing and returns
 * false when the value at `index` is no such value. */
bool peri_push_set_names(lua_State *L, int index);

/* For the copy of a model's value in another VM: pushes its mark, which is the model's name, the
 * names that are set, and the order of its members without those that a function computes; and
 * replaces these three by a metatable that says the same. */
void peri_push_model_mark(lua_State *L, int index);
void peri_push_marked_metatable(lua_State *L);

/* The node table of the model whose value this is; otherwise as above. */
bool peri_push_model_node(lua_State *L, int index);

/* Validates a Lua value or a parsed text for program:validate(). On success pushes the value. */
bool peri_program_validate(lua_State *L, int program_index, struct peri_result *result,
                           const struct peri_json_node *node, enum peri_mode mode);

#endif
