/* Declared types: compiled at load into programs that validate raw input in C.
 *
 * Validation is pure: it reads a JSON tape (json.h) or pairs of strings, writes values and errors
 * into a struct peri_result and touches no Lua, so invalid input never becomes a Lua value.
 * Afterwards, inside the task, the values of a valid result are pushed in one pass, and the answer
 * is encoded in one pass guided by its type; pushing and encoding may raise and run in the
 * coroutine.
 *
 * The contract is FastAPI 0.141 with Pydantic 2, to the byte: which input is accepted (its lax
 * rules, applied to what json.loads gives; `strict`), what it is converted to, and the JSON text of
 * each error.
 *
 * ------------------------------------------------------------------------------------------------
 * The Lua side: require("perigee.host").schema
 *
 *   types() -> types
 *       what programs that are compiled with it share: each type is compiled once for all of them
 *   compile(node [, options [, types]]) -> program
 *   inputs({ groups = {...}, strict = false, strict_content_type = true } [, types]) -> inputs
 *   stats() -> { validations, rejected, patterns_failed }     of this process
 *   program:validate(value) -> value | nil, errors
 *       a Lua value in, the converted value out
 *   program:validate_json(text) -> value | nil, errors
 *       Pydantic's JSON mode: `strict` types still take their JSON spellings
 *   program:encode(value) -> JSON text | nil, message
 *       what a response of this type looks like
 *
 *   errors is an array of { type, loc = {...}, msg, input, ctx }, in Pydantic's order.
 *
 * options; but for strict they only matter to encoding:
 *   by_alias = true, exclude_unset, exclude_defaults, exclude_none
 *                 booleans
 *   include, exclude
 *                 { "name", ... } or { name = true | nested table, ... }, nested as Pydantic's
 *   strict        true makes every type strict that does not say `strict = false` itself
 *
 * Nodes are tables (any metatable; read with raw access, never written). Compiling remembers the
 * identity of a node: a model reached again is the same compiled type, so recursion is a `ref`
 * whose target() returns the model's node. `seq` orders fields where `fields` is a map; an array
 * keeps its order. `kind` is one of
 *   "string" "integer" "number" "boolean" "null" "any" "bytes" "secret" "uuid" "datetime" "date"
 *   "time" "duration" "decimal" "url" "email" "ipv4" "ipv6" "enum" "literal" "array" "set" "tuple"
 *   "map" "object" "model" "union" "tagged" "ref" "file"
 *
 * Options of every kind (unknown keys are ignored here; types.lua checks what the user wrote):
 *   optional      true: may be absent, and null counts as absent: both read nil in Lua (Python's
 *                 `T | None = None`)
 *   nullable      true: null is allowed and reads json.null; says nothing about being absent
 *   default       any JSON-like value, json.null for null; or a function called for each request.
 *                 The value is fresh each time (tables are copied deeply). Having one makes a field
 *                 optional to the client. A default that fits the type is converted like input
 *                 ("2020-01-01" of a date becomes a date); one that does not fit is used as it is.
 *   alias         the name on the wire; the Lua key stays the field's name
 *   strict        true | false; of a model it also holds for the scalars inside it
 *   checks        array of { when = "before" | "after", fn = function }. fn(value) returns nothing
 *                 to keep the value, one result to replace it, or a second result to refuse:
 *                 (nil, "message") gives value_error "Value error, message". A raised error is the
 *                 app's bug: a 500. "after" gets the converted value, "before" what the client
 *                 sent, as plain Lua. Checks run in the coroutine on input that is otherwise valid,
 *                 and may not wait.
 * Options per kind:
 *   string, secret
 *                 min_length max_length (code points) pattern (PCRE2); string also strip (white
 *                 space at both ends) to_lower to_upper
 *   bytes         min_length max_length (bytes), encoding = "utf8" (default) | "base64" | "hex"
 *   integer number decimal datetime date time duration
 *                 gt ge lt le (of the datetime family as ISO texts or as the values below),
 *                 multiple_of; number, decimal: allow_inf_nan (default true for numbers, false for
 *                 decimals, as Pydantic); decimal: max_digits decimal_places
 *   enum, literal values = { ... } strings, integers, booleans, json.null; in written order.
 *                 enum: name
 *   array, set    item = node (default any), min_items max_items, unique (array: no duplicates)
 *   tuple         items = { node, ... }, rest = node or nil (Python's tuple[X, ...] is items = {},
 *                 rest = X), min_items max_items
 *   map           key = node (default string), value = node (default any), min_items max_items
 *   object, model fields = { { name = "price", type = node }, ... } or { price = node } (ordered by
 *                 seq); name = "Item"; extra = "ignore" | "forbid" | "allow";
 *                 computed = { { name = "full_name", type = node, fn = function(value) } }, written
 *                 behind the fields when encoding
 *   union         members = { node, ... }: Pydantic's smart mode
 *   tagged        tag = "kind", cases = { { "cat", node }, ... } or { { tag =, type = }, ... }
 *   ref           target = function() -> node
 *   url           max_length, schemes = { "http", "https" } or nil (any), host_required
 *   file          (form only) a file part; its Lua value is made by the host
 *
 * Groups of inputs, in the order in which FastAPI collects errors: those of dependencies first,
 * then path, query, header, cookie, body. Each is a table with
 *   source        "path" | "query" | "header" | "cookie" | "body" | "form"
 *   as            the name its values are pushed under; by default params, query, headers, cookies,
 *                 body, form. Unique within one inputs{}.
 *   fields        { { name = "item_id", type = node }, ... }: separate parameters, each with its
 *                 own loc, ["query","q"]. body: several values, or one embedded; form: form fields
 *                 and file parts together, in their written order, where
 *                 { name =, type =, file = true } is declared under `files`
 *   model         or, instead of fields, a node: one parameter model, one form model, or (body) the
 *                 one value of any type that is the whole body
 *   convert_underscores
 *                 header: user_agent reads User-Agent (default true)
 *   embed, embed_name
 *                 body with `model`: expects {"<embed_name>": value}
 * A header field whose node has an alias is looked up by that alias as it stands. Array-like types
 * (array, set, tuple, also inside a union) of a query, header or form field read all values of the
 * repeated name. File parts are pushed apart from form fields: under "files", see
 * peri_inputs_push().
 *
 * ------------------------------------------------------------------------------------------------
 * What Lua gets
 *   integer number boolean string email url (as Pydantic normalises it) uuid (canonical, lower
 *   case) ipv4 ipv6 (canonical) and enum and literal values: plain Lua values. bytes: a string.
 *   decimal: a string, exact; Lua's arithmetic on it goes through a double, which is the user's
 *   choice to make. secret: a plain string, masked in errors and responses.
 *
 *   null: json.null where `nullable`, nil where `optional`. array, tuple and set: a sequence marked
 *   like json.array, so that an empty one is [] again; a set has lost its duplicates. map: a table.
 *   object and model: a table with a metatable that offers value:fields_set() ->
 *   { name = true, ... }, the fields the client sent. It stands behind __index, so pairs() does not
 *   see it, and a field named fields_set hides it.
 *
 *   datetime date time duration: small immutable userdata. Texts would be simpler, but could not be
 *   subtracted; numbers could not tell a date from a duration when encoded. They compare (<, <=,
 *   ==), tostring() is the ISO text Pydantic serialises, and
 *     datetime - datetime, date - date -> duration
 *     datetime or date + or - duration -> the same
 *     duration + or - duration, duration * number, -duration
 *   Fields: kind = "datetime" and so on; datetime .year .month .day .hour .minute .second
 *   .microsecond .offset (seconds east of UTC, nil when naive) .timestamp (naive counts as UTC);
 *   date .year .month .day; time .hour .minute .second .microsecond .offset; duration .seconds
 *   .days (both the whole of it, as a float). Comparing or subtracting a naive and an aware value
 *   raises, as in Python. Other VMs cannot receive them: send tostring(value).
 */
#ifndef PERI_SCHEMA_H
#define PERI_SCHEMA_H

#include "buf.h"
#include "json.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peri_program; /* a compiled type: userdata, immutable, of the VM that compiled it */
struct peri_inputs;  /* the compiled inputs of an operation or dependency: likewise */

/* What one validation produced. Reused from request to request, never shared by threads; the values
 * point into the sources (body bytes, header bytes), which must outlive the push. A loop thread
 * that pushes inside the first slice of the task needs only one. */
struct peri_result;

struct peri_result *peri_result_new(void);
void peri_result_free(struct peri_result *result); /* NULL is allowed */

/* One decoded input pair; names and values need no NUL and no valid UTF-8 (query, path and form
 * bytes that are no UTF-8 become U+FFFD, header and cookie bytes count as Latin-1, both as
 * Starlette does). */
struct peri_field {
    const char *name;
    size_t name_len;
    const char *value; /* a file part: its bytes when they are in memory, else NULL */
    size_t value_len;
    void *file;       /* a file part: the caller's own handle, given back by push_file; else NULL */
    const char *type; /* a file part: the content type the client gives it; may be NULL */
    size_t type_len;
    uint64_t size;        /* a file part: how many bytes it has, wherever they are */
    const char *filename; /* a file part: what the client calls it */
    size_t filename_len;
};

struct peri_fields {
    const struct peri_field *items;
    size_t count;
};

/* The raw inputs of one request. Zeroed members mean absent. */
struct peri_sources {
    struct peri_fields path;
    struct peri_fields query;   /* in the order sent, percent-decoded, + is a space */
    struct peri_fields headers; /* names in any case */
    struct peri_fields cookies;
    struct peri_fields form; /* parts or pairs, in the order sent */
    const char *body;        /* the bytes of a body that is no form */
    size_t body_len;
    const char *content_type; /* the header's value; NULL when there was none */
    size_t content_type_len;
};

enum peri_verdict {
    PERI_VALID,
    PERI_INVALID,  /* 422: peri_result_errors() is the answer's body */
    PERI_BAD_BODY, /* 400 {"detail":"There was an error parsing the body"} (not UTF-8) */
};

/* The userdata at `index`, or NULL when it is something else. */
struct peri_program *peri_schema_program(lua_State *L, int index);
struct peri_inputs *peri_schema_inputs(lua_State *L, int index);

/* Validates all groups and collects all errors. Pure C. A body that is no JSON is reported alone,
 * as FastAPI does. `max_depth` bounds nesting in the body. */
enum peri_verdict peri_inputs_validate(const struct peri_inputs *inputs,
                                       const struct peri_sources *sources, unsigned max_depth,
                                       struct peri_result *result);

/* Which sources the inputs read, so that the host decodes only those (and parses a form). */
enum peri_inputs_uses {
    PERI_USES_PATH = 1,
    PERI_USES_QUERY = 2,
    PERI_USES_HEADERS = 4,
    PERI_USES_COOKIES = 8,
    PERI_USES_BODY = 16,
    PERI_USES_FORM = 32,
    PERI_USES_FILES = 64,   /* among them file parts: the body may be multipart/form-data */
    PERI_USES_CHECKS = 128, /* Lua functions decide too: see peri_inputs_push() */
};
unsigned peri_inputs_uses(const struct peri_inputs *inputs);

/* The group of this name; -1 when there is none ("files" is a view of the form group and no group).
 */
int peri_inputs_group(const struct peri_inputs *inputs, const char *as);

/* How many of the collected errors belong to this group: a dependency whose own inputs failed is
 * skipped, while others still run (a refusal by security beats a 422). */
unsigned peri_result_group_errors(const struct peri_result *result, int group);

/* Whether errors that are found from now on say what is wrong where (type and loc), and no more. */
void peri_result_set_codes(struct peri_result *result, bool codes);

/* {"detail":[...]}, the answer FastAPI gives. Valid until the result is used again. */
const char *peri_result_errors(const struct peri_result *result, size_t *len);
unsigned peri_result_error_count(const struct peri_result *result);

/* Pushes { [as] = true } for the groups that have errors; nil when the body could not be read at
 * all, so that nothing was validated. May raise. */
void peri_result_push_failed(lua_State *L, const struct peri_inputs *inputs,
                             const struct peri_result *result);

/* Pushes the errors as an array of tables, for an error handler in Lua. */
void peri_result_push_errors(lua_State *L, const struct peri_result *result);

/* Makes the Lua value of a file part; pushes one value. Set once per result by the host. */
void peri_result_on_file(struct peri_result *result, void (*push_file)(lua_State *L, void *file));

/* Gives the values of every valid group to `keep`, each under its name (file parts under "files"),
 * and runs the checks. Returns PERI_VALID, or PERI_INVALID when a check refused; its errors are
 * then in the result. A `model` group is the value itself, the others are a table of values. `keep`
 * takes the value from the top of the stack; the name ends with a NUL, and `target` is what it was
 * called with. The inputs stand at `inputs_index` on the stack. May raise. */
typedef void peri_keep_fn(lua_State *L, int target, const char *name, size_t len);
enum peri_verdict peri_inputs_push(lua_State *L, int inputs_index, struct peri_result *result,
                                   peri_keep_fn *keep, int target);

/* Appends the JSON text of the value at `index` as the program's type and options say: fields
 * filtered and in declared order, defaults filled in, [] and {} told apart, temporal values as ISO
 * text. nil counts as null where null is allowed. Returns 0, or -1 with a message pushed that names
 * the place
 * ("response.items[2].price: Input should be a valid number"); `out` is then as it was. May raise.
 */
int peri_schema_encode(lua_State *L, int index, int program_index, struct peri_buf *out);

/* Opens the module offered as perigee.host.schema. */
int luaopen_perigee_schema(lua_State *L);

#endif
