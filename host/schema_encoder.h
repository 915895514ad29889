/* What schema_encode.c and schema_encode_model.c know of each other: how one value is written. */
#ifndef PERI_SCHEMA_ENCODER_H
#define PERI_SCHEMA_ENCODER_H

#include "schema_lua.h"

/* One run of an encoder, on the stack of C. */
struct peri_encoder {
    lua_State *L;
    struct peri_buf *out;
    const struct peri_program *program;
    int lua_values;
    int scratch_index;           /* where the result stands that is */
    struct peri_result *scratch; /* for what needs the validator; NULL until something does */
    unsigned depth;
};

/* What of a value is written. */
struct peri_filter {
    const struct peri_choices *include, *exclude;
};

static const struct peri_filter peri_filter_none = {NULL, NULL};

/* The filter of what stands under a name; *keep becomes false where nothing is to be written. */
struct peri_filter peri_filter_named(struct peri_filter filter, const char *name, size_t len,
                                     bool *keep);

/* Writes a scalar that is just what its type wants. False: nothing was written. */
bool peri_encode_plain(struct peri_encoder *e, int index, const struct peri_type *type);

/* Writes any value. */
bool peri_encode_any(struct peri_encoder *e, int index, const struct peri_type *type,
                     struct peri_filter filter, const struct peri_loc *loc);

/* Either of them. On failure values stay on the stack; peri_schema_encode() clears it. */
static inline bool peri_encode(struct peri_encoder *e, int index, const struct peri_type *type,
                               struct peri_filter filter, const struct peri_loc *loc)
{
    if (type->kind <= PERI_KIND_BOOLEAN && type->serializer == NULL &&
        peri_encode_plain(e, index, type))
        return true;
    return peri_encode_any(e, index, type, filter, loc);
}

/* Writes a model: its fields, what is beside them, and what is computed. */
bool peri_encode_model(struct peri_encoder *e, int index, const struct peri_type *type,
                       struct peri_filter filter, const struct peri_loc *loc);

/* Writes a value of no declared type, as any handler's result. */
bool peri_encode_untyped(struct peri_encoder *e, int index, const struct peri_loc *loc);

/* Whether a value that stays out of the answer is of its type: nobody would see that it is not. */
bool peri_encode_aside(struct peri_encoder *e, int index, const struct peri_type *type,
                       const struct peri_loc *loc);

/* Runs the validator over a whole value, for what it alone knows: duplicates and counts. */
bool peri_encode_whole(struct peri_encoder *e, int index, const struct peri_type *type,
                       const struct peri_loc *loc, struct peri_run *run);

/* Notes an error about the value at `index`; returns false. */
bool peri_encode_fail(struct peri_encoder *e, const struct peri_loc *loc, int index,
                      enum peri_error error);

/* The place of the value whose key is at `index`. */
struct peri_loc peri_encode_loc(struct peri_encoder *e, int index, const struct peri_loc *loc);

/* The scratch result: kept by the program, and taken from it while it is in use, for a computed
 * field may encode by the same program. */
struct peri_result *peri_encoder_take_scratch(struct peri_encoder *e);

static inline struct peri_result *peri_encoder_scratch(struct peri_encoder *e)
{
    return e->scratch != NULL ? e->scratch : peri_encoder_take_scratch(e);
}

static inline bool peri_is_null(lua_State *L, int index)
{
    return lua_isnil(L, index) ||
           (lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL);
}

#endif
