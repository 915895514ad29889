/* Any bytes as the inputs of a request whose types use every kind: as a JSON body when the first
 * byte is even, else as pairs of every source. What is valid is pushed and written as a response of
 * the same type, and that text is valid again; errors are JSON. */
#include "json_lua.h"
#include "schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#define DEPTH 64

static const char declarations[] =
    "local t = setmetatable({}, { __index = function(_, kind)\n"
    "  return function(node)\n"
    "    node.kind = kind\n"
    "    return node\n"
    "  end\n"
    "end })\n"
    "local Node\n"
    "local node = t.ref{ target = function() return Node end, optional = true }\n"
    "local cat = t.model{ name = 'Cat', fields = { { 'kind', t.literal{ values = { 'cat' } } },\n"
    "  { 'lives', t.integer{ default = 9 } } } }\n"
    "local dog = t.model{ name = 'Dog', fields = { { 'kind', t.literal{ values = { 'dog', 1 } } "
    "},\n"
    "  { 'friend', node } }, extra = 'forbid' }\n"
    "local scalars = {\n"
    "  { 'a', t.string{ min_length = 1, max_length = 9, pattern = '^[a-z]*$', optional = true } "
    "},\n"
    "  { 'b', t.integer{ ge = -5, multiple_of = 3, optional = true } },\n"
    "  { 'c', t.number{ gt = 0, optional = true } }, { 'd', t.boolean{ optional = true } },\n"
    "  { 'e', t.uuid{ optional = true } }, { 'f', t.datetime{ gt = '2000-01-01', optional = true } "
    "},\n"
    "  { 'g', t.date{ optional = true } }, { 'h', t.time{ optional = true } },\n"
    "  { 'i', t.duration{ optional = true } },\n"
    "  { 'j', t.decimal{ max_digits = 9, decimal_places = 2, multiple_of = '0.25', optional = true "
    "} },\n"
    "  { 'k', t.url{ optional = true } }, { 'l', t.email{ optional = true } },\n"
    "  { 'm', t.ipv4{ optional = true } }, { 'n', t.ipv6{ optional = true } },\n"
    "  { 'o', t.enum{ values = { 'x', 'y' }, optional = true } },\n"
    "  { 'p', t.enum{ values = { 1, 2 }, optional = true } },\n"
    "  { 'q', t.secret{ optional = true } },\n"
    "  { 'r', t.bytes{ encoding = 'base64', optional = true } },\n"
    "  { 's', t.string{ strip = true, to_upper = true, alias = 'S-S', optional = true } },\n"
    "  { 't', t.array{ item = t.integer{}, max_items = 5, default = {} } },\n"
    "  { 'u', t.set{ item = t.any{}, optional = true } } }\n"
    "local fields = table.move(scalars, 1, #scalars, 1, {})\n"
    "for _, field in ipairs{\n"
    "  { 'v', t.map{ key = t.integer{}, value = t.array{ item = t.string{} }, optional = true } "
    "},\n"
    "  { 'w', t.union{ members = { t.integer{}, t.array{ item = node }, cat, t.set{ item = "
    "t.date{} },\n"
    "    t.null{} }, optional = true } },\n"
    "  { 'x', t.tagged{ tag = 'kind', cases = { { 'cat', cat }, { 'dog', dog }, { 1, dog } },\n"
    "    optional = true } },\n"
    "  { 'y', t.tuple{ items = { t.integer{}, t.any{} }, rest = t.string{}, optional = true } },\n"
    "  { 'z', t.array{ item = node, unique = true, nullable = true, default = json.null } } } do\n"
    "  fields[#fields + 1] = field\n"
    "end\n"
    "Node = t.model{ name = 'Node', fields = fields, extra = 'allow' }\n"
    "local Flat = t.model{ name = 'Flat', fields = scalars, extra = 'forbid' }\n"
    "local Loose = t.model{ name = 'Loose', fields = scalars }\n"
    "return schema.inputs{ groups = { { source = 'body', model = Node } } }, "
    "schema.compile(Node),\n"
    "  schema.inputs{ groups = { { source = 'path', fields = scalars }, { source = 'query', model "
    "= Flat },\n"
    "    { source = 'header', model = Loose }, { source = 'cookie', fields = scalars },\n"
    "    { source = 'form', fields = scalars } } }\n";

/* Stack indexes of what the chunk returns. */
enum { BODY = 1, PROGRAM, PAIRS };

static lua_State *L;
static struct peri_result *result;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void open_vm(void)
{
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_perigee_json, 1);
    luaL_requiref(L, "schema", luaopen_perigee_schema, 1);
    lua_settop(L, 0);
    require(luaL_dostring(L, declarations) == LUA_OK);
    result = peri_result_new();
}

static void require_json_errors(void)
{
    struct peri_json_doc doc = {0};
    struct peri_json_error error;
    size_t len = 0;
    const char *text = peri_result_errors(result, &len);
    require(peri_json_parse(&doc, text, len, PERI_JSON_MAX_DEPTH, 0, &error) == 0);
    peri_json_doc_deinit(&doc);
}

static void keep(lua_State *vm, int target, const char *name, size_t len)
{
    (void) len;
    lua_setfield(vm, target, name);
}

static enum peri_verdict validate_body(const char *bytes, size_t len)
{
    static const char json[] = "application/json";
    const struct peri_sources sources = {
        .body = bytes, .body_len = len, .content_type = json, .content_type_len = sizeof(json) - 1};
    return peri_inputs_validate(peri_schema_inputs(L, BODY), &sources, DEPTH, result);
}

/* Infinities and NaN are the only values that a response cannot give back: they are null. */
static void check_body(const char *bytes, size_t len)
{
    struct peri_buf text = {0};
    enum peri_verdict verdict = validate_body(bytes, len);
    if (verdict == PERI_INVALID)
        require_json_errors();
    if (verdict != PERI_VALID)
        return;
    lua_newtable(L);
    require(peri_inputs_push(L, BODY, result, keep, lua_gettop(L)) == PERI_VALID);
    lua_getfield(L, -1, "body");
    if (peri_schema_encode(L, lua_gettop(L), PROGRAM, &text) == 0)
        require(validate_body(text.data, text.len) != PERI_BAD_BODY);
    lua_settop(L, PAIRS);
    peri_buf_deinit(&text);
}

enum { MOST_PAIRS = 64 };

/* name=value pairs between ampersands. */
static size_t split(const char *bytes, size_t len, struct peri_field *pairs)
{
    size_t count = 0;
    while (len > 0 && count < MOST_PAIRS) {
        const char *end = memchr(bytes, '&', len);
        size_t part = end != NULL ? (size_t) (end - bytes) : len;
        const char *equals = memchr(bytes, '=', part);
        size_t name = equals != NULL ? (size_t) (equals - bytes) : part;
        const char *value = equals != NULL ? equals + 1 : bytes + part;
        pairs[count++] = (struct peri_field){
            .name = bytes,
            .name_len = name,
            .value = value,
            .value_len = (size_t) (bytes + part - value),
        };
        bytes += part + (end != NULL);
        len -= part + (end != NULL);
    }
    return count;
}

static void check_pairs(const char *bytes, size_t len)
{
    struct peri_field pairs[MOST_PAIRS];
    const struct peri_fields fields = {pairs, split(bytes, len, pairs)};
    const struct peri_sources sources = {
        .path = fields, .query = fields, .headers = fields, .cookies = fields, .form = fields};
    if (peri_inputs_validate(peri_schema_inputs(L, PAIRS), &sources, DEPTH, result) != PERI_VALID)
        require_json_errors();
    lua_newtable(L);
    peri_inputs_push(L, PAIRS, result, keep, lua_gettop(L));
    lua_settop(L, PAIRS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (L == NULL)
        open_vm();
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        check_body((const char *) data + 1, size - 1);
    else
        check_pairs((const char *) data + 1, size - 1);
    return 0;
}
