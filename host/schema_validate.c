/* A tape and a type in, values or errors out: the way to each kind, and what all kinds share. */
#include "schema_site.h"

#include <strings.h>

bool peri_put_copy(const struct peri_site *site, const struct peri_buf *text)
{
    char *copy = peri_arena_take(&site->run->result->arena, text->len + 1);
    if (text->len > 0)
        memcpy(copy, text->data, text->len);
    return peri_put_text(site, (struct peri_text){copy, (uint32_t) text->len});
}

static bool validate_any(const struct peri_site *site)
{
    const struct peri_json_node *node = site->node;
    peri_run_floor(site->run, PERI_STRICT);
    switch (node->type) {
    case PERI_JSON_NULL:
        peri_put(site, PERI_VALUE_NULL);
        break;
    case PERI_JSON_FALSE:
        peri_put(site, PERI_VALUE_FALSE);
        break;
    case PERI_JSON_TRUE:
        peri_put(site, PERI_VALUE_TRUE);
        break;
    case PERI_JSON_INTEGER:
        peri_put(site, PERI_VALUE_INTEGER)->integer = node->integer;
        break;
    case PERI_JSON_NUMBER:
        peri_put(site, PERI_VALUE_NUMBER)->number = node->number;
        break;
    case PERI_JSON_STRING:
    case PERI_TAPE_BYTES:
        return peri_put_text(site, peri_text_of(node));
    case PERI_TAPE_FILE:
        peri_put(site, PERI_VALUE_FILE)->field = (const struct peri_field *) node->string;
        break;
    default:
        peri_put(site, PERI_VALUE_RAW)->node = node;
        break;
    }
    return true;
}

static bool validate_null(const struct peri_site *site)
{
    if (site->node->type != PERI_JSON_NULL)
        return peri_refuse(site, PERI_ERROR_NONE_REQUIRED);
    peri_put(site, PERI_VALUE_NULL);
    return true;
}

/* What Python calls the type of a value that is no file. */
static const char *python_class(const struct peri_json_node *node)
{
    switch (node->type) {
    case PERI_JSON_NULL:
        return "NoneType";
    case PERI_JSON_FALSE:
    case PERI_JSON_TRUE:
        return "bool";
    case PERI_JSON_INTEGER:
    case PERI_JSON_BIG:
        return "int";
    case PERI_JSON_NUMBER:
        return "float";
    case PERI_JSON_ARRAY:
        return "list";
    case PERI_JSON_OBJECT:
        return "dict";
    case PERI_TAPE_BYTES:
        return "bytes";
    default:
        return "str";
    }
}

/* Whether what the client calls the file, without parameters, is one of the declared types. */
static bool file_type_fits(const struct peri_type *type, const struct peri_field *field)
{
    size_t len = 0;
    while (len < field->type_len && field->type[len] != ';' && field->type[len] != ' ')
        len++;
    for (uint32_t i = 0; i < type->file.type_count; i++) {
        const struct peri_text *wanted = &type->file.types[i];
        bool prefix = wanted->data[wanted->len - 1] == '/';
        if ((prefix ? len > wanted->len : len == wanted->len) &&
            strncasecmp(field->type, wanted->data, wanted->len) == 0)
            return true;
    }
    return type->file.type_count == 0;
}

static bool validate_file(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    if (site->node->type == PERI_TAPE_FILE) {
        const struct peri_field *field = (const struct peri_field *) site->node->string;
        if (type->file.has_max && field->size > type->file.max_bytes)
            return peri_refuse_integer(site, PERI_ERROR_FILE_LARGE, "max_bytes",
                                       (int64_t) type->file.max_bytes);
        if (!file_type_fits(type, field))
            return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_FILE_TYPE,
                                  "expected", type->file.expected);
        peri_put(site, PERI_VALUE_FILE)->field = field;
        return true;
    }
    const char *class = python_class(site->node);
    struct peri_buf text = {0};
    peri_buf_addf(&text, "Expected UploadFile, received: <class '%s'>", class);
    struct peri_context context = {
        .key = "error", .kind = PERI_CONTEXT_ERROR, .text = {text.data, (uint32_t) text.len}};
    peri_fail(site->run, site->loc, site->node, PERI_ERROR_VALUE_ERROR, &context, 1);
    peri_buf_deinit(&text);
    return false;
}

static bool validate_kind(const struct peri_site *site)
{
    switch ((enum peri_kind) site->type->kind) {
    case PERI_KIND_STRING:
    case PERI_KIND_INTEGER:
    case PERI_KIND_NUMBER:
        break; /* of validate_site() */
    case PERI_KIND_BOOLEAN:
        return peri_validate_boolean(site);
    case PERI_KIND_NULL:
        return validate_null(site);
    case PERI_KIND_ANY:
        return validate_any(site);
    case PERI_KIND_BYTES:
        return peri_validate_bytes(site);
    case PERI_KIND_SECRET:
        return peri_validate_secret(site);
    case PERI_KIND_UUID:
        return peri_validate_uuid(site);
    case PERI_KIND_DATETIME:
        return peri_validate_datetime(site);
    case PERI_KIND_DATE:
        return peri_validate_date(site);
    case PERI_KIND_TIME:
        return peri_validate_time(site);
    case PERI_KIND_DURATION:
        return peri_validate_duration(site);
    case PERI_KIND_DECIMAL:
        return peri_validate_decimal(site);
    case PERI_KIND_URL:
        return peri_validate_url(site);
    case PERI_KIND_EMAIL:
        return peri_validate_email(site);
    case PERI_KIND_IPV4:
    case PERI_KIND_IPV6:
        return peri_validate_ip(site);
    case PERI_KIND_ENUM:
        return peri_validate_enum(site);
    case PERI_KIND_LITERAL:
        return peri_validate_literal(site);
    case PERI_KIND_ARRAY:
        return peri_validate_array(site);
    case PERI_KIND_SET:
        return peri_validate_set(site);
    case PERI_KIND_TUPLE:
        return peri_validate_tuple(site);
    case PERI_KIND_MAP:
        return peri_validate_map(site);
    case PERI_KIND_MODEL:
        return peri_validate_model(site);
    case PERI_KIND_UNION:
        return peri_validate_union(site->run, site->type, site->node, site->loc);
    case PERI_KIND_TAGGED:
        return peri_validate_tagged(site->run, site->type, site->node, site->loc);
    case PERI_KIND_FILE:
        return validate_file(site);
    case PERI_KIND_REF:
        return peri_validate(site->run, site->type->target, site->node, site->loc);
    }
    return false;
}

/* The usual kinds come first: nothing is inside of them. */
static inline bool validate_site(const struct peri_site *site)
{
    switch ((enum peri_kind) site->type->kind) {
    case PERI_KIND_STRING:
        return peri_validate_string(site);
    case PERI_KIND_INTEGER:
        return peri_validate_integer(site);
    case PERI_KIND_NUMBER:
        return peri_validate_number(site);
    default:
        break;
    }
    if (site->run->depth >= PERI_MAX_DEPTH)
        return peri_refuse(site, PERI_ERROR_RECURSION_LOOP);
    site->run->depth++;
    bool sound = validate_kind(site);
    site->run->depth--;
    return sound;
}

bool peri_validate_inner(struct peri_run *run, const struct peri_type *type,
                         const struct peri_json_node *node, const struct peri_loc *loc)
{
    struct peri_site site = {run, type, node, loc};
    return validate_site(&site);
}

static struct peri_loc *keep_loc(struct peri_arena *arena, const struct peri_loc *loc)
{
    if (loc == NULL)
        return NULL;
    struct peri_loc *kept = peri_arena_take(arena, sizeof(*kept));
    *kept = *loc;
    kept->up = keep_loc(arena, loc->up);
    return kept;
}

/* Leaves a note for the coroutine, which runs the Lua functions when everything else is valid. */
static void add_pending(const struct peri_site *site)
{
    struct peri_arena *arena = &site->run->result->arena;
    struct peri_pending *pending = peri_arena_take(arena, sizeof(*pending));
    *pending = (struct peri_pending){
        .type = site->type, .input = site->node, .loc = keep_loc(arena, site->loc)};
    peri_put(site, PERI_VALUE_CHECK)->pending = pending;
}

bool peri_validate(struct peri_run *run, const struct peri_type *type,
                   const struct peri_json_node *node, const struct peri_loc *loc)
{
    struct peri_site site = {run, type, node, loc};
    if (node->type == PERI_JSON_NULL && (type->optional || type->nullable)) {
        peri_put(&site, type->nullable ? PERI_VALUE_NULL : PERI_VALUE_NIL);
        return true;
    }
    if (type->checks == NULL)
        return validate_site(&site);
    uint32_t start = run->result->count;
    add_pending(&site);
    if (type->checks->before_count > 0) {
        peri_put(&site, PERI_VALUE_RAW)->node = node; /* converted after the first functions ran */
        return true;
    }
    if (validate_site(&site))
        return true;
    run->result->count = start;
    return false;
}

bool peri_type_is_sequence(const struct peri_type *type)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
    case PERI_KIND_TUPLE:
        return true;
    case PERI_KIND_REF:
        return peri_type_is_sequence(type->target);
    case PERI_KIND_UNION:
        for (uint32_t i = 0; i < type->any_of.count; i++) {
            if (peri_type_is_sequence(type->any_of.members[i]))
                return true;
        }
        return false;
    default:
        return false;
    }
}
