/* What the rooms of compiling share: the compiler, reading Lua's tables, failing with a place. */
#ifndef PERI_SCHEMA_COMPILE_H
#define PERI_SCHEMA_COMPILE_H

#include "schema_lua.h"

/* One step on the way from the root to the node under work. */
struct peri_place {
    const struct peri_place *up;
    const char *name;
};

/* Defaults are converted and unions labelled when all types are complete. */
struct peri_late {
    struct peri_late *next;
    struct peri_type *type;
};

struct peri_compiler {
    lua_State *L;
    struct peri_program *program;
    struct peri_types *types;
    int lua_values; /* table: what the program needs of Lua at run time */
    int memo[2];    /* tables: node -> compiled type, not strict and strict */
    bool strict;    /* the option of peri_compile() */
    bool recursive; /* a type contains itself */
    uint8_t holds;  /* enum peri_holds: of what was compiled below the node under work */
    struct peri_late *late;
};

/* What a node is compiled under. */
struct peri_scope {
    struct peri_place place;
    bool strict;
};

void *peri_compile_take(struct peri_compiler *c, size_t size); /* cleared, as long as the types */

/* Raises, with the place in front of the message. */
int peri_compile_fail(struct peri_compiler *c, const struct peri_place *place, const char *message);

/* Pushes node[name] without metamethods and returns its type. */
int peri_compile_get(struct peri_compiler *c, int node, const char *name);
bool peri_compile_flag(struct peri_compiler *c, int node, const char *name);
/* A copy in the memory of the types; no data when it is no string. */
struct peri_text peri_compile_text(struct peri_compiler *c, int node, const char *name);
struct peri_text peri_compile_keep_string(struct peri_compiler *c, int index);
struct peri_text peri_compile_keep_text(struct peri_compiler *c, const struct peri_buf *text);
/* A count; false when there is none. */
bool peri_compile_size(struct peri_compiler *c, int node, const struct peri_place *place,
                       const char *name, uint32_t *out);
/* min_<unit> and max_<unit>. */
void peri_compile_sizes(struct peri_compiler *c, int node, const struct peri_place *place,
                        const char *unit, uint32_t *min, bool *has_min, uint32_t *max,
                        bool *has_max);
/* Moves the value on top to the program's Lua values and returns its index there. */
int peri_compile_keep_lua(struct peri_compiler *c);

/* The type of a node; the same one for the same node. */
struct peri_type *peri_compile(struct peri_compiler *c, int node, const struct peri_scope *scope);
/* The type of the node on top of the stack, which is popped. */
struct peri_type *peri_compile_top(struct peri_compiler *c, const struct peri_scope *scope,
                                   const char *step);
/* The options of kinds that hold no other types. */
void peri_compile_scalar(struct peri_compiler *c, int node, const struct peri_scope *scope,
                         struct peri_type *type);
/* Fields of the table node.fields, into the model. */
void peri_compile_fields(struct peri_compiler *c, int node, const struct peri_scope *scope,
                         struct peri_model *model);
/* The string, integer, boolean or json.null on top of the stack. */
struct peri_constant peri_compile_constant(struct peri_compiler *c, const struct peri_scope *scope);
/* Converts the defaults and names the members of unions, when all types are complete. */
void peri_compile_finish(struct peri_compiler *c);

const char *peri_kind_name(enum peri_kind kind);
/* Pydantic's name of the validator, as a member of a union bears it. */
void peri_label_print(struct peri_buf *out, const struct peri_type *type, unsigned depth);

#endif
