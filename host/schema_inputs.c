/* The inputs of a request, group by group, as FastAPI reads them: pairs of strings become tapes,
 * the body is parsed, every group is validated and all errors are collected in order.
 *
 * FastAPI's own decisions live here (what counts as missing, what the error of a parameter model
 * shows as its input, when a body is JSON); Pydantic's live in schema_validate.c. */
#include "schema_lua.h"
#include "schema_string.h"

#include "bytes.h"

#include <strings.h>

/* One pass over all groups. */
struct reader {
    struct peri_run run;
    const struct peri_inputs *inputs;
    const struct peri_sources *sources;
    const struct peri_json_node *body; /* NULL: there is none */
};

/* The pairs that a group reads. */
struct pairs {
    const struct peri_field *items;
    size_t count;
    enum peri_source source;
};

static struct peri_arena *arena_of(struct reader *reader)
{
    return &reader->run.result->arena;
}

/* -------------------------------------------------------- pairs as nodes --- */

static char *from_latin1(struct peri_arena *arena, const char *bytes, size_t *len)
{
    char *out = peri_arena_take(arena, 2 * *len);
    size_t count = 0;
    for (size_t i = 0; i < *len; i++) {
        unsigned char byte = (unsigned char) bytes[i];
        if (byte < 0x80) {
            out[count++] = (char) byte;
        } else {
            out[count++] = (char) (0xC0 | byte >> 6);
            out[count++] = (char) (0x80 | (byte & 0x3F));
        }
    }
    *len = count;
    return out;
}

/* Every byte that belongs to no character becomes U+FFFD. */
static const char *repair_utf8(struct peri_arena *arena, const char *bytes, size_t *len)
{
    size_t valid = peri_utf8_valid(bytes, *len);
    if (valid == *len)
        return bytes;
    char *out = peri_arena_take(arena, 3 * *len);
    size_t count = 0;
    for (size_t left = *len; left > 0; valid = peri_utf8_valid(bytes, left)) {
        memcpy(out + count, bytes, valid);
        count += valid;
        bytes += valid;
        left -= valid;
        if (left > 0) {
            memcpy(out + count, "\xEF\xBF\xBD", 3);
            count += 3;
            bytes++;
            left--;
        }
    }
    *len = count;
    return out;
}

static void set_string(struct reader *reader, enum peri_source source, const char *bytes,
                       size_t len, struct peri_json_node *node)
{
    *node = (struct peri_json_node){.type = PERI_JSON_STRING, .skip = 1};
    if (len == 0)
        bytes = "";
    if (peri_bytes_are_ascii(bytes, len))
        node->ascii = PERI_NODE_ASCII;
    else if (source == PERI_SOURCE_HEADER || source == PERI_SOURCE_COOKIE)
        bytes = from_latin1(arena_of(reader), bytes, &len);
    else
        bytes = repair_utf8(arena_of(reader), bytes, &len);
    node->string = bytes;
    node->count = (uint32_t) len;
}

static void set_value(struct reader *reader, enum peri_source source,
                      const struct peri_field *field, struct peri_json_node *node)
{
    if (field->file != NULL)
        *node = (struct peri_json_node){
            .type = PERI_TAPE_FILE, .skip = 1, .string = (const char *) field};
    else
        set_string(reader, source, field->value, field->value_len, node);
}

static bool has_name(const struct peri_field *field, struct peri_text name, enum peri_source source)
{
    if (field->name_len != name.len)
        return false;
    return source == PERI_SOURCE_HEADER ? strncasecmp(field->name, name.data, name.len) == 0
                                        : peri_bytes_equal(field->name, name.data, name.len);
}

static size_t count_named(const struct pairs *pairs, struct peri_text name)
{
    size_t count = 0;
    for (size_t i = 0; i < pairs->count; i++)
        count += has_name(&pairs->items[i], name, pairs->source);
    return count;
}

/* An array node with all values of a name; room for 1 + count nodes. */
static void set_list(struct reader *reader, const struct pairs *pairs, struct peri_text name,
                     struct peri_json_node *array)
{
    uint32_t count = 0;
    for (size_t i = 0; i < pairs->count; i++) {
        if (has_name(&pairs->items[i], name, pairs->source))
            set_value(reader, pairs->source, &pairs->items[i], &array[++count]);
    }
    *array = (struct peri_json_node){.type = PERI_JSON_ARRAY, .skip = count + 1, .count = count};
}

/* Of several values of a name the last one counts, but of headers the first. */
static const struct peri_field *find_pair(const struct pairs *pairs, struct peri_text name)
{
    const struct peri_field *found = NULL;
    for (size_t i = 0; i < pairs->count; i++) {
        if (!has_name(&pairs->items[i], name, pairs->source))
            continue;
        found = &pairs->items[i];
        if (pairs->source == PERI_SOURCE_HEADER)
            break;
    }
    return found;
}

/* The tape of one parameter; NULL when it is missing. */
static const struct peri_json_node *read_parameter(struct reader *reader, const struct pairs *pairs,
                                                   const struct peri_type *type,
                                                   struct peri_text name, bool empty_is_missing,
                                                   struct peri_json_node *room)
{
    if (type->kind > PERI_KIND_BOOLEAN && peri_type_is_sequence(type)) {
        size_t count = count_named(pairs, name);
        if (count == 0)
            return NULL;
        struct peri_json_node *array =
            peri_arena_take(arena_of(reader), (count + 1) * sizeof(*array));
        set_list(reader, pairs, name, array);
        return array;
    }
    const struct peri_field *field = find_pair(pairs, name);
    if (field == NULL || (empty_is_missing && field->file == NULL && field->value_len == 0))
        return NULL;
    set_value(reader, pairs->source, field, room);
    return room;
}

/* ---------------------------------------------------- validating a value --- */

static bool is_required(const struct peri_type *type)
{
    return type->fallback == NULL && !type->optional;
}

/* A value that FastAPI itself looks at first: null and missing are the same to it. */
static void validate_value(struct reader *reader, const struct peri_type *type,
                           const struct peri_json_node *node, const struct peri_loc *loc)
{
    struct peri_result *result = reader->run.result;
    if (node != NULL && node->type != PERI_JSON_NULL) {
        if (reader->run.mask)
            peri_mark_secrets(type, node);
        reader->run.budget = 10000 + 64 * node->skip;
        peri_validate(&reader->run, type, node, loc);
        return;
    }
    if (is_required(type)) {
        peri_fail_plain(&reader->run, loc, NULL, PERI_ERROR_MISSING);
    } else if (type->fallback != NULL) {
        peri_value_add(result, PERI_VALUE_DEFAULT)->type = type;
    } else {
        peri_value_add(result, PERI_VALUE_NONE);
    }
}

static const char *const source_names[] = {"path", "query", "header", "cookie", "body", "body"};

static struct peri_loc source_loc(enum peri_source source)
{
    const char *name = source_names[source];
    return (struct peri_loc){.name = name, .len = strlen(name)};
}

/* --------------------------------------------------- separate parameters --- */

/* Appends a value that is just what its type wants; false leaves it to the validator. */
static inline bool take_plainly(struct reader *reader, const struct peri_type *type,
                                const struct peri_field *field)
{
    struct peri_result *result = reader->run.result;
    int64_t integer = 0;
    if (type->checks != NULL || field->file != NULL || field->value_len == 0)
        return false;
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_STRING:
        if (!peri_keeps_text(type, field->value_len) ||
            !peri_bytes_are_ascii(field->value, field->value_len))
            return false;
        peri_add_text(result, field->value, field->value_len);
        return true;
    case PERI_KIND_INTEGER:
        if (type->strict || !peri_short_integer_read(field->value, field->value_len, &integer) ||
            !peri_keeps_integer(type, integer))
            return false;
        peri_value_add(result, PERI_VALUE_INTEGER)->integer = integer;
        return true;
    default:
        return false;
    }
}

static __attribute__((noinline)) void read_member(struct reader *reader,
                                                  const struct peri_group *group,
                                                  const struct pairs *pairs,
                                                  const struct peri_member *member)
{
    struct peri_loc outer = source_loc(group->source);
    struct peri_loc loc = {.up = &outer, .name = member->wire.data, .len = member->wire.len};
    struct peri_json_node *room = peri_arena_take(arena_of(reader), sizeof(*room));
    const struct peri_json_node *node = read_parameter(reader, pairs, member->type, member->wire,
                                                       group->source == PERI_SOURCE_FORM, room);
    validate_value(reader, member->type, node, &loc);
}

static void read_separate(struct reader *reader, const struct peri_group *group,
                          const struct pairs *pairs)
{
    for (uint32_t i = 0; i < group->fields.count; i++) {
        const struct peri_member *member = &group->fields.members[i];
        const struct peri_field *field = find_pair(pairs, member->wire);
        if (field == NULL || !take_plainly(reader, member->type, field))
            read_member(reader, group, pairs, member);
    }
}

/* ------------------------------------------------------ parameter models --- */

/* Which pairs share a name, so that a hostile number of them stays cheap. */
struct name_index {
    uint32_t *slots; /* pair + 1 of the first one with this name */
    uint32_t mask;
};

static uint32_t hash_name(const struct peri_field *field, enum peri_source source)
{
    if (source != PERI_SOURCE_HEADER)
        return peri_hash(field->name, field->name_len);
    uint32_t hash = 0;
    for (size_t i = 0; i < field->name_len; i++)
        hash = hash * 31 + ((unsigned char) field->name[i] | 0x20);
    return hash;
}

/* Whether no pair before this one has its name; notes it. */
static bool is_first(struct name_index *index, const struct pairs *pairs, size_t at)
{
    const struct peri_field *field = &pairs->items[at];
    struct peri_text name = {field->name, (uint32_t) field->name_len};
    for (uint32_t slot = hash_name(field, pairs->source);; slot++) {
        uint32_t *entry = &index->slots[slot & index->mask];
        if (*entry == 0) {
            *entry = (uint32_t) at + 1;
            return true;
        }
        if (has_name(&pairs->items[*entry - 1], name, pairs->source))
            return false;
    }
}

static bool is_declared(const struct peri_group *group, const struct pairs *pairs,
                        const struct peri_field *field)
{
    for (uint32_t i = 0; i < group->fields.count; i++) {
        if (has_name(field, group->fields.members[i].wire, pairs->source) ||
            (group->lookups != NULL && has_name(field, group->lookups[i], pairs->source)))
            return true;
    }
    return false;
}

/* The object under construction; its nodes have room enough. */
struct object {
    struct peri_json_node *nodes;
    uint32_t used;
};

static void add_key(struct object *object, struct peri_text key)
{
    object->nodes[object->used++] = (struct peri_json_node){
        .type = PERI_JSON_STRING, .skip = 1, .count = key.len, .string = key.data};
    object->nodes[0].count++;
}

static void add_values(struct reader *reader, struct object *object, const struct pairs *pairs,
                       struct peri_text name, bool list)
{
    struct peri_json_node *node = &object->nodes[object->used];
    if (list)
        set_list(reader, pairs, name, node);
    else
        set_value(reader, pairs->source, find_pair(pairs, name), node);
    object->used += node->skip;
}

/* Starlette gives header names in lower case. */
static struct peri_text key_of(struct reader *reader, const struct pairs *pairs,
                               const struct peri_field *field)
{
    struct peri_json_node node;
    set_string(reader, pairs->source, field->name, field->name_len, &node);
    if (pairs->source == PERI_SOURCE_HEADER) {
        char *lower = peri_arena_take(arena_of(reader), node.count + 1);
        for (uint32_t i = 0; i < node.count; i++) {
            char byte = node.string[i];
            lower[i] = byte >= 'A' && byte <= 'Z' ? (char) (byte | 0x20) : byte;
        }
        node.string = lower;
    }
    return (struct peri_text){node.string, node.count};
}

static void add_undeclared(struct reader *reader, const struct peri_group *group,
                           const struct pairs *pairs, struct object *object)
{
    uint32_t size = 8;
    while (size < 2 * pairs->count)
        size *= 2;
    struct name_index index = {.mask = size - 1};
    index.slots = peri_arena_take(arena_of(reader), size * sizeof(*index.slots));
    memset(index.slots, 0, size * sizeof(*index.slots));
    for (size_t i = 0; i < pairs->count; i++) {
        const struct peri_field *field = &pairs->items[i];
        if (is_declared(group, pairs, field) || !is_first(&index, pairs, i))
            continue;
        struct peri_text name = {field->name, (uint32_t) field->name_len};
        add_key(object, key_of(reader, pairs, field));
        add_values(reader, object, pairs, name, count_named(pairs, name) > 1);
    }
}

/* Room for everything that build_object() may write. */
static size_t count_nodes(const struct peri_group *group, const struct pairs *pairs,
                          bool undeclared)
{
    size_t count = 1 + (undeclared ? 3 * pairs->count : 0);
    for (uint32_t i = 0; i < group->fields.count; i++) {
        const struct peri_member *member = &group->fields.members[i];
        const struct peri_default *fallback = member->type->fallback;
        struct peri_text name = group->lookups != NULL ? group->lookups[i] : member->wire;
        size_t values = peri_type_is_sequence(member->type) ? count_named(pairs, name) : 0;
        size_t missing = fallback != NULL && fallback->node != NULL ? fallback->node->skip : 0;
        count += 2 + (values > missing ? values : missing);
    }
    return count;
}

/* Whether a default may stand among the given values: as the text that it is in JSON, a strict type
 * would refuse it, where FastAPI has the object. */
static bool has_given_default(const struct peri_type *type)
{
    if (type->fallback == NULL || type->fallback->node == NULL ||
        type->fallback->node->type == PERI_JSON_NULL)
        return false;
    return !type->strict || type->kind == PERI_KIND_STRING || type->kind == PERI_KIND_INTEGER ||
           type->kind == PERI_KIND_NUMBER || type->kind == PERI_KIND_BOOLEAN;
}

/* What FastAPI hands to the model: the given values and the defaults of those that are missing; and
 * what nobody declared, which matters to `extra` and to the input that errors show. */
static const struct peri_json_node *build_object(struct reader *reader,
                                                 const struct peri_group *group,
                                                 const struct pairs *pairs, bool undeclared)
{
    struct object object = {.used = 1};
    object.nodes = peri_arena_take(arena_of(reader),
                                   count_nodes(group, pairs, undeclared) * sizeof(*object.nodes));
    object.nodes[0] = (struct peri_json_node){.type = PERI_JSON_OBJECT};
    for (uint32_t i = 0; i < group->fields.count; i++) {
        const struct peri_member *member = &group->fields.members[i];
        struct peri_text name = group->lookups != NULL ? group->lookups[i] : member->wire;
        if (find_pair(pairs, name) != NULL) {
            add_key(&object, member->wire);
            add_values(reader, &object, pairs, name, peri_type_is_sequence(member->type));
        } else if (has_given_default(member->type)) {
            const struct peri_json_node *given = member->type->fallback->node;
            add_key(&object, member->wire);
            memcpy(&object.nodes[object.used], given, given->skip * sizeof(*object.nodes));
            object.used += given->skip;
        }
    }
    if (undeclared)
        add_undeclared(reader, group, pairs, &object);
    object.nodes[0].skip = object.used;
    return object.nodes;
}

static void read_model(struct reader *reader, const struct peri_group *group,
                       const struct pairs *pairs)
{
    struct peri_result *result = reader->run.result;
    struct peri_loc loc = source_loc(group->source);
    const uint32_t values = result->count;
    const uint32_t errors = result->error_count;
    const size_t error_bytes = result->errors.len;
    bool undeclared = group->fields.extra != PERI_EXTRA_IGNORE || group->type->checks != NULL ||
                      group->fields.count == 0;
    validate_value(reader, group->type, build_object(reader, group, pairs, undeclared), &loc);
    if (undeclared || result->error_count == errors)
        return;
    result->count = values; /* once more: the errors show the whole input */
    result->error_count = errors;
    result->errors.len = error_bytes;
    validate_value(reader, group->type, build_object(reader, group, pairs, true), &loc);
}

/* ------------------------------------------------------------------ body --- */

static struct peri_text lower_part(const char *start, const char *end, char *room, size_t size)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t len = (size_t) (end - start) < size ? (size_t) (end - start) : 0;
    for (size_t i = 0; i < len; i++)
        room[i] = start[i] >= 'A' && start[i] <= 'Z' ? (char) (start[i] | 0x20) : start[i];
    return (struct peri_text){room, (uint32_t) len};
}

static bool ends_with(struct peri_text text, const char *end)
{
    size_t len = strlen(end);
    return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

/* application/json or application/something+json, with any parameters. */
static bool is_json(const struct peri_sources *sources, bool strict)
{
    if (sources->content_type == NULL || sources->content_type_len == 0)
        return !strict;
    const char *start = sources->content_type;
    const char *end = start + sources->content_type_len;
    const char *semicolon = memchr(start, ';', sources->content_type_len);
    char room[128];
    struct peri_text type =
        lower_part(start, semicolon != NULL ? semicolon : end, room, sizeof(room));
    static const char prefix[] = "application/";
    if (type.len < sizeof(prefix) - 1 || memcmp(type.data, prefix, sizeof(prefix) - 1) != 0)
        return false;
    struct peri_text sub = {type.data + sizeof(prefix) - 1, type.len - (sizeof(prefix) - 1)};
    if (memchr(sub.data, '/', sub.len) != NULL)
        return false;
    return ends_with(sub, "+json") || (sub.len == 4 && ends_with(sub, "json"));
}

static enum peri_verdict fail_json(struct reader *reader, const struct peri_json_error *error)
{
    struct peri_json_node input = {.type = PERI_JSON_OBJECT, .skip = 1};
    struct peri_loc outer = source_loc(PERI_SOURCE_BODY);
    struct peri_loc loc = {.up = &outer, .index = (int64_t) error->character};
    struct peri_context context = {.key = "error",
                                   .kind = PERI_CONTEXT_TEXT,
                                   .text = {error->message, (uint32_t) strlen(error->message)}};
    peri_fail(&reader->run, &loc, &input, PERI_ERROR_JSON_INVALID, &context, 1);
    peri_result_close(reader->run.result);
    return PERI_INVALID;
}

static enum peri_verdict parse_body(struct reader *reader, unsigned max_depth)
{
    const struct peri_sources *sources = reader->sources;
    struct peri_result *result = reader->run.result;
    if (sources->body_len == 0)
        return PERI_VALID;
    if (!is_json(sources, reader->inputs->strict_content_type)) {
        struct peri_json_node *raw = peri_arena_take(arena_of(reader), sizeof(*raw));
        *raw = (struct peri_json_node){.type = PERI_TAPE_BYTES,
                                       .skip = 1,
                                       .count = (uint32_t) sources->body_len,
                                       .string = sources->body};
        reader->body = raw;
        return PERI_VALID;
    }
    struct peri_json_error error;
    if (peri_json_parse(&result->doc, sources->body, sources->body_len, max_depth,
                        PERI_JSON_ALLOW_NAN, &error) == 0) {
        reader->body = result->doc.nodes;
        return PERI_VALID;
    }
    /* What Python's parser cannot even refuse: its limits and other encodings. */
    if (error.unreadable)
        return PERI_BAD_BODY;
    return fail_json(reader, &error);
}

/* One of several values, or the only one under its own key. */
static void read_embedded(struct reader *reader, const struct peri_type *type, struct peri_text key)
{
    const struct peri_json_node *body = reader->body;
    struct peri_loc outer = source_loc(PERI_SOURCE_BODY);
    struct peri_loc loc = {.up = &outer, .name = key.data, .len = key.len};
    if (body == NULL || body->type == PERI_JSON_NULL || body->type == PERI_TAPE_BYTES)
        validate_value(reader, type, NULL, &loc);
    else if (body->type == PERI_JSON_OBJECT)
        validate_value(reader, type, peri_node_find(body, key), &loc);
    else
        peri_fail_plain(&reader->run, &loc, NULL, PERI_ERROR_MISSING);
}

static void read_body(struct reader *reader, const struct peri_group *group)
{
    if (group->type == NULL) {
        for (uint32_t i = 0; i < group->fields.count; i++)
            read_embedded(reader, group->fields.members[i].type, group->fields.members[i].wire);
    } else if (group->embed.len > 0) {
        read_embedded(reader, group->type, group->embed);
    } else {
        struct peri_loc loc = source_loc(PERI_SOURCE_BODY);
        validate_value(reader, group->type, reader->body, &loc);
    }
}

/* ----------------------------------------------------------- all of them --- */

static struct pairs pairs_of(const struct peri_sources *sources, enum peri_source source)
{
    const struct peri_fields *const fields[] = {
        [PERI_SOURCE_PATH] = &sources->path,
        [PERI_SOURCE_QUERY] = &sources->query,
        [PERI_SOURCE_HEADER] = &sources->headers,
        [PERI_SOURCE_COOKIE] = &sources->cookies,
        [PERI_SOURCE_BODY] = NULL,
        [PERI_SOURCE_FORM] = &sources->form,
    };
    return (struct pairs){fields[source]->items, fields[source]->count, source};
}

static void read_groups(struct reader *reader)
{
    struct peri_result *result = reader->run.result;
    for (uint32_t i = 0; i < reader->inputs->group_count; i++) {
        const struct peri_group *group = &reader->inputs->groups[i];
        const uint32_t errors = result->error_count;
        const uint32_t first = result->count;
        if (group->source == PERI_SOURCE_BODY) {
            read_body(reader, group);
        } else {
            struct pairs pairs = pairs_of(reader->sources, group->source);
            if (group->type == NULL)
                read_separate(reader, group, &pairs);
            else
                read_model(reader, group, &pairs);
        }
        *peri_result_add_group(result) =
            (struct peri_group_result){.first = first, .errors = result->error_count - errors};
    }
}

enum peri_verdict peri_inputs_validate(const struct peri_inputs *inputs,
                                       const struct peri_sources *sources, unsigned max_depth,
                                       struct peri_result *result)
{
    struct reader reader = {.inputs = inputs, .sources = sources};
    reader.run = (struct peri_run){.result = result, .mode = PERI_MODE_REQUEST};
    peri_result_reset(result);
    if (inputs->uses & PERI_USES_BODY) {
        enum peri_verdict verdict = parse_body(&reader, max_depth);
        if (verdict != PERI_VALID) {
            peri_schema_count(1, 1);
            return verdict;
        }
    }
    read_groups(&reader);
    if (result->error_count > 0 && inputs->program.has_secret) {
        result->count = 0;
        result->error_count = 0;
        result->errors.len = 0;
        result->group_count = 0;
        reader.run.mask = true;
        read_groups(&reader);
    }
    peri_schema_count(1, result->error_count > 0);
    peri_result_close(result);
    return result->error_count > 0 ? PERI_INVALID : PERI_VALID;
}

unsigned peri_inputs_uses(const struct peri_inputs *inputs)
{
    return inputs->uses;
}

int peri_inputs_group(const struct peri_inputs *inputs, const char *as)
{
    for (uint32_t i = 0; i < inputs->group_count; i++) {
        if (strcmp(inputs->groups[i].as.data, as) == 0)
            return (int) i;
    }
    return -1;
}

void peri_result_push_failed(lua_State *L, const struct peri_inputs *inputs,
                             const struct peri_result *result)
{
    bool any = false;
    lua_createtable(L, 0, (int) inputs->group_count);
    for (uint32_t i = 0; i < inputs->group_count; i++) {
        if (peri_result_group_errors(result, (int) i) == 0)
            continue;
        any = true;
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, inputs->groups[i].as.data);
    }
    if (!any) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}
