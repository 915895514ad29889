/* What the rooms of schema share and nobody else includes: compiled types, values, errors.
 *
 *   schema_compile.c schema_label.c schema_program.c
 *                      Lua node tables -> struct peri_type; names of types; programs and inputs
 *   schema_validate.c  tape + type -> values or errors. By kind: schema_text.c schema_number.c
 *                      schema_moment.c schema_constant.c schema_collection.c schema_model.c
 *                      schema_union.c; schema_set.c: equality, for sets and unique arrays
 *   schema_string.c schema_url.c schema_domain.c schema_email.c schema_decimal.c schema_time.c
 *                      pure parsers of texts
 *   schema_error.c     the JSON text of errors; schema_repr.c: what Python's repr() would show
 *   schema_inputs.c    the groups of a request, made into tapes and validated
 *   schema_lua.c       values -> Lua, Lua -> tape; schema_temporal.c: the datetime family's
 * userdata schema_encode.c    Lua -> JSON text, guided by a type
 *
 * All input is a tape of struct peri_json_node, whether it came as JSON, as pairs of strings or as
 * a Lua value; node types beyond JSON's own are defined here and never leave these files. */
#ifndef PERI_SCHEMA_TYPE_H
#define PERI_SCHEMA_TYPE_H

#include "schema.h"
#include "schema_time.h"

#include <math.h>

/* Memory that is freed all at once. A zeroed arena is empty. */
struct peri_arena {
    struct peri_arena_block *block; /* newest first */
};

/* Never NULL (aborts like a buffer does); aligned for any type; not cleared. */
void *peri_arena_take(struct peri_arena *arena, size_t size);
/* Empties the arena but keeps one block of it for the next use. */
void peri_arena_reset(struct peri_arena *arena);
void peri_arena_deinit(struct peri_arena *arena);

enum peri_kind {
    PERI_KIND_STRING,
    PERI_KIND_INTEGER,
    PERI_KIND_NUMBER,
    PERI_KIND_BOOLEAN,
    PERI_KIND_NULL,
    PERI_KIND_ANY,
    PERI_KIND_BYTES,
    PERI_KIND_SECRET, /* a string that errors never show */
    PERI_KIND_UUID,
    PERI_KIND_DATETIME,
    PERI_KIND_DATE,
    PERI_KIND_TIME,
    PERI_KIND_DURATION,
    PERI_KIND_DECIMAL,
    PERI_KIND_URL,
    PERI_KIND_EMAIL,
    PERI_KIND_IPV4,
    PERI_KIND_IPV6,
    PERI_KIND_ENUM,
    PERI_KIND_LITERAL,
    PERI_KIND_ARRAY,
    PERI_KIND_SET,
    PERI_KIND_TUPLE,
    PERI_KIND_MAP,
    PERI_KIND_MODEL, /* object and model */
    PERI_KIND_UNION,
    PERI_KIND_TAGGED,
    PERI_KIND_FILE,
    PERI_KIND_REF, /* another type, with options of its own */
};

/* Node types of our own, behind JSON's. */
enum peri_tape_type {
    PERI_TAPE_BYTES = PERI_JSON_OBJECT + 1, /* raw bytes, like .string; Python's bytes */
    PERI_TAPE_FILE,                         /* a file part: .string is struct peri_field * */
    PERI_TAPE_OPAQUE,                       /* what JSON cannot say; .string is its description */
    PERI_TAPE_EMPTY,                        /* an empty Lua table: array or object as needed */
};

/* In the `ascii` byte of a node, next to its own meaning. */
enum {
    PERI_NODE_ASCII = 1,
    PERI_NODE_SECRET = 2,   /* printed as "**********" */
    PERI_NODE_TEMPORAL = 4, /* the text of a temporal Lua value: exact where Python has an object */
};

struct peri_text {
    const char *data;
    uint32_t len;
};

struct peri_pattern; /* schema_string.c: a compiled PCRE2 pattern */

enum peri_bound { PERI_GT = 1, PERI_GE = 2, PERI_LT = 4, PERI_LE = 8, PERI_MULTIPLE = 16 };

/* Bounds as written: `present` is a set of enum peri_bound. */
struct peri_integer_bounds {
    unsigned present;
    int64_t gt, ge, lt, le, multiple;
};

struct peri_number_bounds {
    unsigned present;
    double gt, ge, lt, le, multiple;
};

struct peri_temporal_bounds {
    unsigned present;
    struct peri_temporal gt, ge, lt, le, multiple;
};

struct peri_decimal_bounds {
    unsigned present;
    struct peri_text gt, ge, lt, le, multiple;
    bool check_digits, check_places;
    uint32_t max_digits, places;
};

/* The first of a program's Lua values. */
enum { PERI_LUA_ARRAY_MARK = 1, PERI_LUA_SCRATCH = 2, PERI_LUA_TYPES = 3 };

/* A value of an enum or literal, or a tag. */
struct peri_constant {
    uint8_t type; /* PERI_JSON_NULL, FALSE, TRUE, INTEGER or STRING */
    int64_t integer;
    struct peri_text text;
};

struct peri_constants {
    const struct peri_constant *items;
    uint32_t count;
    struct peri_text expected; /* "'a', 'b' or 'c'" */
    struct peri_text name;     /* of an enum, which strict types show */
    uint8_t kind;              /* PERI_JSON_STRING or INTEGER when all are, else PERI_JSON_NULL */
    bool has_integer;
};

/* What an absent field gets. The Lua value is made by schema_lua.c. */
struct peri_default {
    const struct peri_json_node *node; /* its tape; NULL when a function makes it */
    const struct peri_value *values; /* its converted values; NULL when it does not fit the type */
    int function; /* index in the program's Lua values; 0 when it is no function */
};

struct peri_checks {
    uint32_t before_count, after_count;
    int before,
        after; /* index of the first function in the program's Lua values; they are adjacent */
};

struct peri_member {
    struct peri_text wire;      /* the key in the input: alias or name */
    struct peri_text name;      /* the key in Lua */
    struct peri_text json_wire; /* "wire": with quotes and colon, as encoding writes it */
    struct peri_text json_name; /* the same for the name */
    const struct peri_type *type;
    int key; /* index of the Lua string `name` in the program's Lua values */
    bool has_alias;
    bool is_file; /* of a form: pushed under "files" */
};

struct peri_computed {
    struct peri_text json_name;
    struct peri_text name;
    const struct peri_type *type;
    int function;
};

enum peri_extra { PERI_EXTRA_IGNORE, PERI_EXTRA_FORBID, PERI_EXTRA_ALLOW };

struct peri_model {
    struct peri_text name;
    struct peri_member *members;
    uint32_t count;
    uint32_t slot_mask; /* the hash table has slot_mask + 1 slots */
    uint16_t *slots;    /* member + 1, or 0; open addressing by hash of wire */
    enum peri_extra extra;
    const struct peri_computed *computed;
    uint32_t computed_count;
    int node;        /* index of the node it was compiled from in the program's Lua values */
    int metatables;  /* index of the table {[mask] = metatable} in the program's Lua values */
    uint32_t cached; /* how many it holds; the masks are the clients' choice, so it is bounded */
};

struct peri_case {
    struct peri_constant tag;
    const struct peri_type *type;
};

/* What a value is written as in place of itself. */
struct peri_serializer {
    const struct peri_type *type; /* of what the function returns */
    int function;                 /* index in the program's Lua values */
};

/* What a type is, or contains. */
enum peri_holds { PERI_HOLDS_CHECKS = 1, PERI_HOLDS_SECRET = 2 };

struct peri_type {
    uint8_t kind;
    bool optional;
    bool nullable;
    bool strict;
    uint8_t
        holds; /* set of enum peri_holds; of types that contain themselves it may say too much */
    bool unfinished;        /* being compiled */
    struct peri_text label; /* Pydantic's name of the validator, shown in a union's loc */
    const struct peri_default *fallback;      /* NULL: none */
    const struct peri_checks *checks;         /* NULL: none */
    const struct peri_serializer *serializer; /* NULL: none */
    union {
        struct {
            uint32_t min, max; /* code points or bytes */
            bool has_min, has_max, strip, lower, upper;
            uint8_t encoding; /* bytes: enum peri_encoding */
            struct peri_pattern *pattern;
            struct peri_text pattern_text;
        } string;
        struct peri_integer_bounds integer;
        struct {
            struct peri_number_bounds bounds;
            bool finite;
        } number;
        struct peri_temporal_bounds temporal;
        struct {
            struct peri_decimal_bounds bounds;
            bool allow_inf_nan;
        } decimal;
        struct {
            uint32_t max;
            bool has_max, any_host;
            const struct peri_text *schemes;
            uint32_t scheme_count;
            struct peri_text expected;
        } url;
        struct peri_constants constants;
        struct {
            const struct peri_type *item;
            uint32_t min, max;
            bool has_min, has_max, unique;
        } array;
        struct {
            const struct peri_type **items;
            uint32_t count;
            const struct peri_type *rest; /* NULL: none */
            uint32_t min, max;
            bool has_min, has_max;
        } tuple;
        struct {
            const struct peri_type *key, *value;
            uint32_t min, max;
            bool has_min, has_max;
        } map;
        struct peri_model model;
        struct {
            const struct peri_type **members;
            uint32_t count;
        } any_of;
        struct {
            struct peri_text tag;
            struct peri_text shown;    /* 'kind' in quotes, as errors show it */
            struct peri_text expected; /* "'cat', 'dog'" */
            const struct peri_case *cases;
            uint32_t count;
        } tagged;
        struct {
            uint64_t max_bytes;
            bool has_max;
            const struct peri_text *types; /* "image/png", or "image/" for all of them */
            uint32_t type_count;
            struct peri_text expected;
        } file;
        const struct peri_type *target;
    };
};

enum peri_encoding { PERI_ENCODING_UTF8, PERI_ENCODING_BASE64, PERI_ENCODING_HEX };

/* Which fields of a nested value are written: include and exclude. */
struct peri_choice {
    struct peri_text name;             /* empty: "__all__" */
    int64_t index;                     /* -1: by name */
    const struct peri_choices *nested; /* NULL: the whole of it */
};

struct peri_choices {
    const struct peri_choice *items;
    uint32_t count;
};

struct peri_encode_options {
    bool by_name, exclude_unset, exclude_defaults, exclude_none;
    const struct peri_choices *include, *exclude; /* NULL: none */
};

/* Compiled types and what they are made of: one program's, or those of all programs of an app,
 * which then share what they have in common. A userdata; the Lua values (keys, functions,
 * metatables) are in a table that each of the programs has as its user value, and that keeps it.
 */
struct peri_types {
    struct peri_arena arena;
    struct peri_pattern *patterns; /* list, to be freed */
    int lua_count;                 /* of the Lua values */
    bool busy; /* a program is being compiled, or one could not be: no other begins here */
};

/* What compile() makes. Immutable. */
struct peri_program {
    const struct peri_type *type;
    struct peri_encode_options options;
    bool has_secret;
    bool has_checks;
};

/* ---------------------------------------------------------------- values --- */

enum peri_value_kind {
    PERI_VALUE_NONE, /* absent: nil */
    PERI_VALUE_NULL, /* json.null, or nil where `optional` */
    PERI_VALUE_NIL,  /* null given for an optional field: nil, but set */
    PERI_VALUE_FALSE,
    PERI_VALUE_TRUE,
    PERI_VALUE_INTEGER,
    PERI_VALUE_NUMBER,
    PERI_VALUE_STRING,   /* string, count bytes */
    PERI_VALUE_TEMPORAL, /* and the three behind it: kind + enum peri_temporal_kind */
    PERI_VALUE_TEMPORAL_LAST = PERI_VALUE_TEMPORAL + PERI_DURATION,
    PERI_VALUE_ARRAY, /* count values follow: an array, a set or a tuple */
    PERI_VALUE_MAP,   /* count pairs of values follow */
    PERI_VALUE_MODEL, /* type; a value per member follows, then count pairs STRING, value: extras */
    PERI_VALUE_RAW,   /* node: pushed as plain JSON */
    PERI_VALUE_DEFAULT, /* type: its fallback */
    PERI_VALUE_FILE,    /* a struct peri_field with a file */
    PERI_VALUE_CHECK,   /* type with checks, and the loc and input kept for their errors */
};

/* 16 bytes; a value that contains others is followed by them. */
struct peri_value {
    uint8_t kind;
    uint8_t set;    /* of a model's member: the client sent it */
    int16_t offset; /* temporal: minutes east of UTC, PERI_NAIVE without */
    uint32_t count; /* bytes, items, members; temporal: microseconds */
    union {
        int64_t integer; /* temporal: seconds */
        double number;
        const char *string;
        const struct peri_type *type;
        const struct peri_json_node *node;
        const struct peri_field *field;
        const struct peri_pending *pending;
    };
};

/* The checks that one value waits for, and what their errors need. */
struct peri_pending {
    const struct peri_type *type;
    const struct peri_json_node *input;
    struct peri_loc *loc; /* a copy that lives as long as the result */
};

static inline bool peri_value_is_temporal(const struct peri_value *value)
{
    return value->kind >= PERI_VALUE_TEMPORAL && value->kind <= PERI_VALUE_TEMPORAL_LAST;
}

static inline struct peri_temporal peri_value_temporal(const struct peri_value *value)
{
    return (struct peri_temporal){.kind = (uint8_t) (value->kind - PERI_VALUE_TEMPORAL),
                                  .offset = value->offset,
                                  .micros = value->count,
                                  .seconds = value->integer};
}

/* ---------------------------------------------------------------- errors --- */

/* One step of an error's place, from the innermost outwards. */
struct peri_loc {
    const struct peri_loc *up;
    const char *name; /* NULL: an index */
    size_t len;       /* of name */
    int64_t index;
};

#define PERI_ERRORS(X)                                                                             \
    X(MISSING, "missing", "Field required")                                                        \
    X(EXTRA_FORBIDDEN, "extra_forbidden", "Extra inputs are not permitted")                        \
    X(JSON_INVALID, "json_invalid", "JSON decode error")                                           \
    X(JSON_TEXT, "json_invalid", "Invalid JSON: {error}")                                          \
    X(RECURSION_LOOP, "recursion_loop", "Recursion error - cyclic reference detected")             \
    X(MODEL_TYPE, "model_type", "Input should be a valid dictionary or instance of {class_name}")  \
    X(MODEL_ATTRIBUTES, "model_attributes_type",                                                   \
      "Input should be a valid dictionary or object to extract fields from")                       \
    X(NONE_REQUIRED, "none_required", "Input should be None")                                      \
    X(GREATER_THAN, "greater_than", "Input should be greater than {gt}")                           \
    X(GREATER_EQUAL, "greater_than_equal", "Input should be greater than or equal to {ge}")        \
    X(LESS_THAN, "less_than", "Input should be less than {lt}")                                    \
    X(LESS_EQUAL, "less_than_equal", "Input should be less than or equal to {le}")                 \
    X(MULTIPLE_OF, "multiple_of", "Input should be a multiple of {multiple_of}")                   \
    X(FINITE_NUMBER, "finite_number", "Input should be a finite number")                           \
    X(TOO_SHORT, "too_short",                                                                      \
      "{field_type} should have at least {min_length} item{s} after validation, "                  \
      "not {actual_length}")                                                                       \
    X(TOO_LONG, "too_long",                                                                        \
      "{field_type} should have at most {max_length} item{s} after validation, "                   \
      "not {actual_length}")                                                                       \
    X(STRING_TYPE, "string_type", "Input should be a valid string")                                \
    X(STRING_UNICODE, "string_unicode",                                                            \
      "Input should be a valid string, unable to parse raw data as a unicode string")              \
    X(STRING_SHORT, "string_too_short", "String should have at least {min_length} character{s}")   \
    X(STRING_LONG, "string_too_long", "String should have at most {max_length} character{s}")      \
    X(STRING_PATTERN, "string_pattern_mismatch", "String should match pattern '{pattern}'")        \
    X(ENUM, "enum", "Input should be {expected}")                                                  \
    X(LITERAL, "literal_error", "Input should be {expected}")                                      \
    X(DICT_TYPE, "dict_type", "Input should be a valid dictionary")                                \
    X(LIST_TYPE, "list_type", "Input should be a valid list")                                      \
    X(TUPLE_TYPE, "tuple_type", "Input should be a valid tuple")                                   \
    X(SET_TYPE, "set_type", "Input should be a valid set")                                         \
    X(SET_ITEM, "set_item_not_hashable", "Set items should be hashable")                           \
    X(BOOL_TYPE, "bool_type", "Input should be a valid boolean")                                   \
    X(BOOL_PARSING, "bool_parsing", "Input should be a valid boolean, unable to interpret input")  \
    X(INT_TYPE, "int_type", "Input should be a valid integer")                                     \
    X(INT_PARSING, "int_parsing",                                                                  \
      "Input should be a valid integer, unable to parse string as an integer")                     \
    X(INT_SIZE, "int_parsing_size",                                                                \
      "Unable to parse input string as an integer, exceeded maximum size")                         \
    X(INT_FROM_FLOAT, "int_from_float",                                                            \
      "Input should be a valid integer, got a number with a fractional part")                      \
    X(FLOAT_TYPE, "float_type", "Input should be a valid number")                                  \
    X(FLOAT_PARSING, "float_parsing",                                                              \
      "Input should be a valid number, unable to parse string as a number")                        \
    X(BYTES_TYPE, "bytes_type", "Input should be a valid bytes")                                   \
    X(BYTES_SHORT, "bytes_too_short", "Data should have at least {min_length} byte{s}")            \
    X(FILE_LARGE, "file_too_large", "File should have at most {max_bytes} byte{s}")                \
    X(FILE_TYPE, "file_type", "File should be of type {expected}")                                 \
    X(BYTES_LONG, "bytes_too_long", "Data should have at most {max_length} byte{s}")               \
    X(BYTES_ENCODING, "bytes_invalid_encoding",                                                    \
      "Data should be valid {encoding}: {encoding_error}")                                         \
    X(VALUE_ERROR, "value_error", "Value error, {error}")                                          \
    X(EMAIL, "value_error", "value is not a valid email address: {reason}")                        \
    X(IP_V4, "ip_v4_address", "Input is not a valid IPv4 address")                                 \
    X(IP_V6, "ip_v6_address", "Input is not a valid IPv6 address")                                 \
    X(UNIQUE, "list_unique", "List items should be unique")                                        \
    X(DATE_TYPE, "date_type", "Input should be a valid date")                                      \
    X(DATE_PARSING, "date_parsing",                                                                \
      "Input should be a valid date in the format YYYY-MM-DD, {error}")                            \
    X(DATE_FROM_DATETIME, "date_from_datetime_parsing",                                            \
      "Input should be a valid date or datetime, {error}")                                         \
    X(DATE_INEXACT, "date_from_datetime_inexact",                                                  \
      "Datetimes provided to dates should have zero time - e.g. be exact dates")                   \
    X(TIME_TYPE, "time_type", "Input should be a valid time")                                      \
    X(TIME_PARSING, "time_parsing", "Input should be in a valid time format, {error}")             \
    X(DATETIME_TYPE, "datetime_type", "Input should be a valid datetime")                          \
    X(DATETIME_PARSING, "datetime_parsing", "Input should be a valid datetime, {error}")           \
    X(DATETIME_FROM_DATE, "datetime_from_date_parsing",                                            \
      "Input should be a valid datetime or date, {error}")                                         \
    X(DURATION_TYPE, "time_delta_type", "Input should be a valid timedelta")                       \
    X(DURATION_PARSING, "time_delta_parsing", "Input should be a valid timedelta, {error}")        \
    X(IS_INSTANCE_OF, "is_instance_of", "Input should be an instance of {class}")                  \
    X(TAG_INVALID, "union_tag_invalid",                                                            \
      "Input tag '{tag}' found using {discriminator} does not match any of the expected tags: "    \
      "{expected_tags}")                                                                           \
    X(TAG_NOT_FOUND, "union_tag_not_found",                                                        \
      "Unable to extract tag using discriminator {discriminator}")                                 \
    X(URL_TYPE, "url_type", "URL input should be a string or URL")                                 \
    X(URL_PARSING, "url_parsing", "Input should be a valid URL, {error}")                          \
    X(URL_LONG, "url_too_long", "URL should have at most {max_length} character{s}")               \
    X(URL_SCHEME, "url_scheme", "URL scheme should be {expected_schemes}")                         \
    X(UUID_TYPE, "uuid_type", "UUID input should be a string, bytes or UUID object")               \
    X(UUID_PARSING, "uuid_parsing", "Input should be a valid UUID, {error}")                       \
    X(DECIMAL_TYPE, "decimal_type",                                                                \
      "Decimal input should be an integer, float, string or Decimal object")                       \
    X(DECIMAL_PARSING, "decimal_parsing", "Input should be a valid decimal")                       \
    X(DECIMAL_DIGITS, "decimal_max_digits",                                                        \
      "Decimal input should have no more than {max_digits} digit{s} in total")                     \
    X(DECIMAL_PLACES, "decimal_max_places",                                                        \
      "Decimal input should have no more than {decimal_places} decimal place{s}")                  \
    X(DECIMAL_WHOLE, "decimal_whole_digits",                                                       \
      "Decimal input should have no more than {whole_digits} digit{s} before the decimal point")

#define PERI_ERROR_ENUM(id, type, message) PERI_ERROR_##id,
enum peri_error { PERI_ERRORS(PERI_ERROR_ENUM) PERI_ERROR_COUNT };

/* A value that stands in an error's message and ctx. */
struct peri_context {
    const char *key;
    enum {
        PERI_CONTEXT_INTEGER,
        PERI_CONTEXT_NUMBER,
        PERI_CONTEXT_TEXT,
        PERI_CONTEXT_ERROR, /* text in the message, {} in ctx: what FastAPI makes of an exception */
        PERI_CONTEXT_MORE,  /* "more" and null: a count that nobody finished */
        PERI_CONTEXT_DECIMAL, /* text in the message; a number in ctx */
    } kind;
    int64_t integer;
    double number;
    struct peri_text text;
};

/* ------------------------------------------------------------------- run --- */

enum peri_mode {
    PERI_MODE_REQUEST, /* what FastAPI asks of Pydantic: Python objects, from_attributes */
    PERI_MODE_VALUE,   /* stand-alone, a Lua value */
    PERI_MODE_JSON,    /* stand-alone, a JSON text: strict types still take their JSON spellings */
};

enum peri_exactness { PERI_LAX, PERI_STRICT, PERI_EXACT };

struct peri_group_result {
    uint32_t first;  /* index of its values */
    uint32_t errors; /* how many are its own */
};

struct peri_result {
    struct peri_value *values;
    uint32_t count;
    uint32_t cap;
    struct peri_arena arena; /* converted strings, tapes made of pairs, kept locs */
    struct peri_json_doc doc;
    struct peri_buf errors;         /* the answer's text */
    struct peri_json_doc error_doc; /* the same parsed, for Lua */
    uint32_t error_count;
    bool closed; /* the text of the errors has its end */
    bool codes;  /* errors have type and loc only */
    struct peri_group_result *groups;
    uint32_t group_count;
    uint32_t group_cap;
    void (*push_file)(lua_State *L, void *file);
};

/* One validation under way. */
struct peri_run {
    struct peri_result *result;
    enum peri_mode mode;
    uint8_t exactness; /* of what was converted since a union looked: enum peri_exactness */
    bool counted;      /* a model below the union set fields */
    bool from_lua;     /* an app's value: keys are the fields' names, absent may mean null */
    uint32_t fields_set;
    uint32_t depth;
    uint32_t budget;                /* attempts left for the members of unions */
    const struct peri_type *chosen; /* the member that the last union settled on */
    bool mask; /* the second run over input with errors: secrets are marked first */
};

enum {
    PERI_MAX_DEPTH = 1200,          /* of types within types, beyond any tape's own limit */
    PERI_MAX_ERROR_BYTES = 1 << 20, /* of one answer; further errors are only counted */
};

/* Appends one value; the pointer is good until the next one is added. */
struct peri_value *peri_value_grow(struct peri_result *result);

static inline struct peri_value *peri_value_add(struct peri_result *result, uint8_t kind)
{
    struct peri_value *value =
        result->count < result->cap ? &result->values[result->count++] : peri_value_grow(result);
    *value = (struct peri_value){.kind = kind};
    return value;
}

static inline void peri_run_floor(struct peri_run *run, uint8_t exactness)
{
    if (run->exactness > exactness)
        run->exactness = exactness;
}

void peri_result_deinit(struct peri_result *result);
void peri_result_reset(struct peri_result *result);
struct peri_group_result *peri_result_add_group(struct peri_result *result);
/* Ends the text of the errors: the answer's body is then complete. Harmless when there are none. */
void peri_result_close(struct peri_result *result);

/* Validates one value: appends to the values and returns true, or appends to the errors and returns
 * false (the values are then as they were). */
bool peri_validate(struct peri_run *run, const struct peri_type *type,
                   const struct peri_json_node *node, const struct peri_loc *loc);
bool peri_validate_union(struct peri_run *run, const struct peri_type *type,
                         const struct peri_json_node *node, const struct peri_loc *loc);
bool peri_validate_tagged(struct peri_run *run, const struct peri_type *type,
                          const struct peri_json_node *node, const struct peri_loc *loc);
/* The same without looking at optional, nullable and checks. */
bool peri_validate_inner(struct peri_run *run, const struct peri_type *type,
                         const struct peri_json_node *node, const struct peri_loc *loc);

/* Which values of a collection were seen. Its memory is the result's arena. */
struct peri_value_set {
    struct peri_result *result;
    uint32_t *slots; /* index of a value + 1; open addressing */
    uint32_t mask;
    uint32_t count;
};

void peri_value_set_init(struct peri_value_set *set, struct peri_result *result, uint32_t room);
/* Adds the value that starts at index `at`; false when an equal one is there. */
bool peri_value_set_add(struct peri_value_set *set, uint32_t at);
/* Whether Python could put this value into a set: no list, dict, set or model, also inside a tuple.
 */
bool peri_value_hashable(const struct peri_type *type, const struct peri_value *value);
/* Index behind the value at `at`, with all that belongs to it. */
uint32_t peri_value_end(const struct peri_result *result, uint32_t at);

/* Whether the keys of a map are numbers of which so many fall on one place of a Lua table that
 * making it would take seconds. Lua hashes strings with a seed, but finds numbers by their
 * remainder: a client can choose them. */
bool peri_keys_collide(struct peri_result *result, uint32_t map);

/* The last value of this key in an object; NULL when there is none. */
const struct peri_json_node *peri_node_find(const struct peri_json_node *object,
                                            struct peri_text key);
/* The constant that equals the node as Python compares (true is no 1 here); NULL when none does. */
const struct peri_constant *peri_constant_find(const struct peri_constant *items, size_t stride,
                                               uint32_t count, const struct peri_json_node *node);
uint32_t peri_hash(const char *bytes, size_t len);
/* The member with this key on the wire; NULL when there is none. */
const struct peri_member *peri_model_find(const struct peri_model *model, const char *key,
                                          size_t len);

/* Whether values are lists: a parameter of such a type reads all values of its name. */
bool peri_type_is_sequence(const struct peri_type *type);

/* Adds an error. Always returns false, so that a check can end with it. */
bool peri_fail(struct peri_run *run, const struct peri_loc *loc, const struct peri_json_node *input,
               enum peri_error error, const struct peri_context *context, unsigned count);
bool peri_fail_plain(struct peri_run *run, const struct peri_loc *loc,
                     const struct peri_json_node *input, enum peri_error error);
/* With one text in message and ctx. */
bool peri_fail_text(struct peri_run *run, const struct peri_loc *loc,
                    const struct peri_json_node *input, enum peri_error error, const char *key,
                    struct peri_text text);
/* Writes any tape, our own node types included, as JSON text. */
void peri_input_print(struct peri_buf *out, const struct peri_json_node *node);
/* As Python's repr(). */
void peri_repr_text(struct peri_buf *out, struct peri_text text);
void peri_repr_node(struct peri_buf *out, const struct peri_json_node *node);
void peri_repr_constant(struct peri_buf *out, const struct peri_constant *constant);
/* Marks the nodes that belong to secrets, so that no error shows them. The tape is ours to mark. */
void peri_mark_secrets(const struct peri_type *type, const struct peri_json_node *node);

/* -------------------------------------------- values that are plainly right --- */

/* Whether a value keeps all of its type's bounds. Where these say no, the validator has the last
 * word, and says why: they leave to it what takes more than a comparison. */
static inline bool peri_keeps_integer(const struct peri_type *type, int64_t value)
{
    const struct peri_integer_bounds *bounds = &type->integer;
    unsigned present = bounds->present;
    return present == 0 ||
           (!(present & PERI_MULTIPLE) && (!(present & PERI_LE) || value <= bounds->le) &&
            (!(present & PERI_LT) || value < bounds->lt) &&
            (!(present & PERI_GE) || value >= bounds->ge) &&
            (!(present & PERI_GT) || value > bounds->gt));
}

static inline bool peri_keeps_number(const struct peri_type *type, double value)
{
    const struct peri_number_bounds *bounds = &type->number.bounds;
    unsigned present = bounds->present;
    if (present == 0)
        return !type->number.finite || isfinite(value);
    return !(present & PERI_MULTIPLE) && isfinite(value) &&
           (!(present & PERI_LE) || value <= bounds->le) &&
           (!(present & PERI_LT) || value < bounds->lt) &&
           (!(present & PERI_GE) || value >= bounds->ge) &&
           (!(present & PERI_GT) || value > bounds->gt);
}

/* A text of so many bytes, whatever its characters are: these are at most as many, and at least a
 * quarter. */
static inline bool peri_keeps_text(const struct peri_type *type, size_t len)
{
    return type->string.pattern == NULL && !type->string.strip && !type->string.lower &&
           !type->string.upper && (!type->string.has_max || len <= (size_t) type->string.max) &&
           (!type->string.has_min || (len + 3) / 4 >= (size_t) type->string.min);
}

static inline void peri_add_text(struct peri_result *result, const char *text, size_t len)
{
    struct peri_value *value = peri_value_add(result, PERI_VALUE_STRING);
    value->string = text;
    value->count = (uint32_t) len;
}

/* Appends the value of a node that is just what its type wants, without a detour; false leaves it
 * to peri_validate(). */
static inline bool peri_take_plain(struct peri_result *result, const struct peri_type *type,
                                   const struct peri_json_node *node)
{
    if (type->checks != NULL)
        return false;
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_STRING:
        if (node->type != PERI_JSON_STRING || !peri_keeps_text(type, node->count))
            return false;
        peri_add_text(result, node->string, node->count);
        return true;
    case PERI_KIND_INTEGER:
        if (node->type != PERI_JSON_INTEGER || !peri_keeps_integer(type, node->integer))
            return false;
        peri_value_add(result, PERI_VALUE_INTEGER)->integer = node->integer;
        return true;
    case PERI_KIND_NUMBER:
        if (node->type != PERI_JSON_NUMBER || !peri_keeps_number(type, node->number))
            return false;
        peri_value_add(result, PERI_VALUE_NUMBER)->number = node->number;
        return true;
    default:
        return false;
    }
}

#endif
