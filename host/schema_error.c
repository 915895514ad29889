/* Errors, written straight as the JSON text FastAPI answers: type, loc, msg, input, ctx.
 *
 * Whether input is echoed as it came or masked is decided here alone. */
#include "number.h"
#include "schema_type.h"

#include <math.h>
#include <stdlib.h>

static const struct {
    const char *type;
    const char *message;
} texts[] = {
#define PERI_ERROR_TEXT(id, type, message) {type, message},
    PERI_ERRORS(PERI_ERROR_TEXT)
#undef PERI_ERROR_TEXT
};

/* Pydantic words some messages for readers of JSON when it read JSON itself. */
static const char *message_of(enum peri_mode mode, enum peri_error error)
{
    if (mode == PERI_MODE_JSON) {
        switch (error) {
        case PERI_ERROR_MODEL_TYPE:
        case PERI_ERROR_MODEL_ATTRIBUTES:
        case PERI_ERROR_DICT_TYPE:
            return "Input should be an object";
        case PERI_ERROR_LIST_TYPE:
        case PERI_ERROR_TUPLE_TYPE:
        case PERI_ERROR_SET_TYPE:
            return "Input should be a valid array";
        case PERI_ERROR_NONE_REQUIRED:
            return "Input should be null";
        case PERI_ERROR_DURATION_TYPE:
            return "Input should be a valid duration";
        case PERI_ERROR_DURATION_PARSING:
            return "Input should be a valid duration, {error}";
        default:
            break;
        }
    }
    return texts[error].message;
}

static void print_loc(struct peri_buf *out, const struct peri_loc *loc)
{
    if (loc->up != NULL) {
        print_loc(out, loc->up);
        peri_buf_add_byte(out, ',');
    }
    if (loc->name != NULL)
        peri_json_add_string(out, loc->name, loc->len);
    else
        peri_buf_add_int(out, loc->index);
}

static void print_zeros(struct peri_buf *out, int count)
{
    while (count-- > 0)
        peri_buf_add_byte(out, '0');
}

/* A number in a sentence: 10.5, 10 for 10.0, and all of its zeros in place of an exponent. */
static void print_amount(struct peri_buf *out, double number)
{
    char text[PERI_NUMBER_MAX + 1];
    char digits[PERI_NUMBER_MAX];
    int count = 0;
    int point = 0; /* the number is 0.DIGITS times ten to this power */
    bool in_fraction = false;
    if (!isfinite(number)) {
        peri_buf_add_str(out, number < 0 ? "-inf" : "inf");
        return;
    }
    text[peri_number_write(text, fabs(number))] = '\0';
    const char *at = text;
    for (; *at != '\0' && *at != 'e'; at++) {
        if (*at == '.') {
            in_fraction = true;
        } else if (count > 0 || *at != '0') {
            digits[count++] = *at;
            point += !in_fraction;
        } else {
            point -= in_fraction;
        }
    }
    if (*at == 'e')
        point += (int) strtol(at + 1, NULL, 10);
    while (count > 0 && count > point && digits[count - 1] == '0')
        count--;
    if (signbit(number))
        peri_buf_add_byte(out, '-');
    int whole = point > 0 && count > 0 ? point : 0;
    int before = whole < count ? whole : count;
    peri_buf_add(out, digits, (size_t) before);
    print_zeros(out, whole > 0 ? whole - before : 1);
    if (count > before) {
        peri_buf_add_byte(out, '.');
        print_zeros(out, -point);
        peri_buf_add(out, digits + before, (size_t) (count - before));
    }
}

static void print_plain(struct peri_buf *out, const struct peri_context *context)
{
    switch (context->kind) {
    case PERI_CONTEXT_INTEGER:
        peri_buf_add_int(out, context->integer);
        break;
    case PERI_CONTEXT_NUMBER:
        print_amount(out, context->number);
        break;
    case PERI_CONTEXT_TEXT:
    case PERI_CONTEXT_ERROR:
    case PERI_CONTEXT_DECIMAL:
        peri_buf_add(out, context->text.data, context->text.len);
        break;
    case PERI_CONTEXT_MORE:
        peri_buf_add_lit(out, "more");
        break;
    }
}

static void print_context(struct peri_buf *out, const struct peri_context *context)
{
    peri_json_add_string(out, context->key, strlen(context->key));
    peri_buf_add_byte(out, ':');
    switch (context->kind) {
    case PERI_CONTEXT_INTEGER:
        peri_buf_add_int(out, context->integer);
        break;
    case PERI_CONTEXT_NUMBER:
        peri_json_add_number(out, context->number);
        break;
    case PERI_CONTEXT_TEXT:
        peri_json_add_string(out, context->text.data, context->text.len);
        break;
    case PERI_CONTEXT_ERROR:
        peri_buf_add_lit(out, "{}");
        break;
    case PERI_CONTEXT_MORE:
        peri_buf_add_lit(out, "null");
        break;
    case PERI_CONTEXT_DECIMAL:
        if (memchr(context->text.data, '.', context->text.len) == NULL)
            peri_buf_add(out, context->text.data, context->text.len);
        else
            peri_json_add_number(out, peri_json_to_double(context->text.data, context->text.len));
        break;
    }
}

/* {s} is the plural of the first number, {key} the value of that name. */
static void print_placeholder(struct peri_buf *out, const char *key, size_t len,
                              const struct peri_context *context, unsigned count)
{
    bool plural = len == 1 && *key == 's';
    for (unsigned i = 0; i < count; i++) {
        if (plural && context[i].kind == PERI_CONTEXT_INTEGER) {
            if (context[i].integer != 1)
                peri_buf_add_byte(out, 's');
            return;
        }
        if (!plural && strlen(context[i].key) == len && memcmp(context[i].key, key, len) == 0) {
            print_plain(out, &context[i]);
            return;
        }
    }
}

static void print_message(struct peri_buf *out, const char *message,
                          const struct peri_context *context, unsigned count)
{
    struct peri_buf text = {0};
    while (*message != '\0') {
        size_t plain = strcspn(message, "{");
        peri_buf_add(&text, message, plain);
        message += plain;
        if (*message == '\0')
            break;
        size_t len = strcspn(++message, "}");
        print_placeholder(&text, message, len, context, count);
        message += len + 1;
    }
    peri_json_add_string(out, text.data, text.len);
    peri_buf_deinit(&text);
}

bool peri_fail(struct peri_run *run, const struct peri_loc *loc, const struct peri_json_node *input,
               enum peri_error error, const struct peri_context *context, unsigned count)
{
    struct peri_result *result = run->result;
    struct peri_buf *out = &result->errors;
    result->error_count++;
    if (result->closed) { /* a check found more */
        result->closed = false;
        out->len -= 2;
    }
    if (out->len > PERI_MAX_ERROR_BYTES)
        return false;
    peri_buf_add_str(out, out->len == 0 ? "{\"detail\":[{\"type\":\"" : ",{\"type\":\"");
    peri_buf_add_str(out, texts[error].type);
    peri_buf_add_lit(out, "\",\"loc\":[");
    if (loc != NULL)
        print_loc(out, loc);
    if (result->codes) {
        peri_buf_add_lit(out, "]}");
        return false;
    }
    peri_buf_add_lit(out, "],\"msg\":");
    const char *message = message_of(run->mode, error);
    if (count == 0)
        peri_json_add_string(out, message, strlen(message));
    else
        print_message(out, message, context, count);
    peri_buf_add_lit(out, ",\"input\":");
    if (input != NULL)
        peri_input_print(out, input);
    else
        peri_buf_add_lit(out, "null");
    for (unsigned i = 0; i < count; i++) {
        peri_buf_add_str(out, i == 0 ? ",\"ctx\":{" : ",");
        print_context(out, &context[i]);
    }
    peri_buf_add_str(out, count > 0 ? "}}" : "}");
    return false;
}

bool peri_fail_plain(struct peri_run *run, const struct peri_loc *loc,
                     const struct peri_json_node *input, enum peri_error error)
{
    return peri_fail(run, loc, input, error, NULL, 0);
}

bool peri_fail_text(struct peri_run *run, const struct peri_loc *loc,
                    const struct peri_json_node *input, enum peri_error error, const char *key,
                    struct peri_text text)
{
    struct peri_context context = {.key = key, .kind = PERI_CONTEXT_TEXT, .text = text};
    return peri_fail(run, loc, input, error, &context, 1);
}

/* ----------------------------------------------------------------- input --- */

/* Invalid UTF-8 can only come from raw bytes and from Lua; it is shown as U+FFFD. */
static void print_bytes(struct peri_buf *out, const char *bytes, size_t len)
{
    size_t valid = peri_utf8_valid(bytes, len);
    if (valid == len) {
        peri_json_add_string(out, bytes, len);
        return;
    }
    struct peri_buf clean = {0};
    while (len > 0) {
        peri_buf_add(&clean, bytes, valid);
        bytes += valid;
        len -= valid;
        if (len > 0) {
            peri_buf_add_lit(&clean, "\xEF\xBF\xBD");
            bytes++;
            len--;
        }
        valid = peri_utf8_valid(bytes, len);
    }
    peri_json_add_string(out, clean.data, clean.len);
    peri_buf_deinit(&clean);
}

/* How FastAPI shows an upload, but for what it tells of Python's temporary files. */
static void print_file(struct peri_buf *out, const struct peri_field *field)
{
    peri_buf_add_lit(out, "{\"filename\":");
    print_bytes(out, field->filename != NULL ? field->filename : "", field->filename_len);
    peri_buf_add_lit(out, ",\"size\":");
    peri_buf_add_int(out, (int64_t) field->size);
    peri_buf_add_lit(out, ",\"headers\":{");
    if (field->type != NULL) {
        peri_buf_add_lit(out, "\"content-type\":");
        print_bytes(out, field->type, field->type_len);
    }
    peri_buf_add_lit(out, "}}");
}

static void print_sequence(struct peri_buf *out, const struct peri_json_node *node)
{
    const struct peri_json_node *end = node + node->skip;
    bool object = node->type == PERI_JSON_OBJECT;
    peri_buf_add_byte(out, object ? '{' : '[');
    for (const struct peri_json_node *item = node + 1; item < end; item += item->skip) {
        if (item != node + 1)
            peri_buf_add_byte(out, ',');
        if (object) {
            print_bytes(out, item->string, item->count);
            peri_buf_add_byte(out, ':');
            item += item->skip;
        }
        peri_input_print(out, item);
    }
    peri_buf_add_byte(out, object ? '}' : ']');
}

/* Whether all of the value is JSON's own, with nothing to mask. */
static bool is_plain(const struct peri_json_node *node)
{
    for (uint32_t i = 0; i < node->skip; i++) {
        if (node[i].type > PERI_JSON_OBJECT || (node[i].ascii & PERI_NODE_SECRET))
            return false;
    }
    return true;
}

void peri_input_print(struct peri_buf *out, const struct peri_json_node *node)
{
    if (node->ascii & PERI_NODE_SECRET) {
        peri_buf_add_lit(out, "\"**********\"");
        return;
    }
    switch (node->type) {
    case PERI_JSON_STRING:
    case PERI_TAPE_BYTES:
    case PERI_TAPE_OPAQUE:
        print_bytes(out, node->string, node->count);
        break;
    case PERI_TAPE_FILE:
        print_file(out, (const struct peri_field *) node->string);
        break;
    case PERI_TAPE_EMPTY:
        peri_buf_add_lit(out, "{}");
        break;
    case PERI_JSON_ARRAY:
    case PERI_JSON_OBJECT:
        if (!is_plain(node)) {
            print_sequence(out, node);
            break;
        }
        peri_json_add_node(out, node);
        break;
    default:
        peri_json_add_node(out, node);
        break;
    }
}

/* ----------------------------------------------------------------- masks --- */

#define SECRET_DEPTH 8

static bool holds_secret(const struct peri_type *type, unsigned depth);

static bool any_holds_secret(const struct peri_type *const *types, uint32_t count, unsigned depth)
{
    for (uint32_t i = 0; i < count; i++) {
        if (holds_secret(types[i], depth))
            return true;
    }
    return false;
}

/* Whether a secret may stand in a value of this type; yes where types are nested too deeply to
 * tell. */
static bool holds_secret(const struct peri_type *type, unsigned depth)
{
    if (depth++ > SECRET_DEPTH)
        return true;
    switch (type->kind) {
    case PERI_KIND_SECRET:
        return true;
    case PERI_KIND_REF:
        return holds_secret(type->target, depth);
    case PERI_KIND_MODEL:
        for (uint32_t i = 0; i < type->model.count; i++) {
            if (holds_secret(type->model.members[i].type, depth))
                return true;
        }
        return false;
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        return holds_secret(type->array.item, depth);
    case PERI_KIND_MAP:
        return holds_secret(type->map.value, depth);
    case PERI_KIND_TUPLE:
        return any_holds_secret(type->tuple.items, type->tuple.count, depth) ||
               (type->tuple.rest != NULL && holds_secret(type->tuple.rest, depth));
    case PERI_KIND_UNION:
        return any_holds_secret(type->any_of.members, type->any_of.count, depth);
    case PERI_KIND_TAGGED:
        for (uint32_t i = 0; i < type->tagged.count; i++) {
            if (holds_secret(type->tagged.cases[i].type, depth))
                return true;
        }
        return false;
    default:
        return false;
    }
}

static void mark(const struct peri_json_node *node)
{
    if (node->type != PERI_JSON_NULL)
        ((struct peri_json_node *) node)->ascii |= PERI_NODE_SECRET;
}

/* A value of another shape than its type: what of it is the secret cannot be told, so none of it
 * shows. */
static void mark_misshapen(const struct peri_type *type, const struct peri_json_node *node)
{
    if (holds_secret(type, 0))
        mark(node);
}

static void mark_model(const struct peri_type *type, const struct peri_json_node *node)
{
    const struct peri_model *model = &type->model;
    if (node->type != PERI_JSON_OBJECT) {
        mark_misshapen(type, node);
        return;
    }
    const struct peri_json_node *end = node + node->skip;
    for (const struct peri_json_node *key = node + 1; key < end;) {
        const struct peri_json_node *value = key + key->skip;
        const struct peri_member *member = peri_model_find(model, key->string, key->count);
        if (member != NULL)
            peri_mark_secrets(member->type, value);
        key = value + value->skip;
    }
}

static void mark_items(const struct peri_type *item, const struct peri_json_node *node, bool keyed)
{
    if (node->type != (keyed ? PERI_JSON_OBJECT : PERI_JSON_ARRAY)) {
        mark_misshapen(item, node);
        return;
    }
    const struct peri_json_node *end = node + node->skip;
    for (const struct peri_json_node *value = node + 1; value < end; value += value->skip) {
        if (keyed)
            value += value->skip;
        peri_mark_secrets(item, value);
    }
}

void peri_mark_secrets(const struct peri_type *type, const struct peri_json_node *node)
{
    switch (type->kind) {
    case PERI_KIND_SECRET:
        mark(node);
        break;
    case PERI_KIND_REF:
        peri_mark_secrets(type->target, node);
        break;
    case PERI_KIND_MODEL:
        mark_model(type, node);
        break;
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        mark_items(type->array.item, node, false);
        break;
    case PERI_KIND_MAP:
        mark_items(type->map.value, node, true);
        break;
    case PERI_KIND_TUPLE:
        for (uint32_t i = 0; i < type->tuple.count; i++)
            mark_items(type->tuple.items[i], node, false);
        if (type->tuple.rest != NULL)
            mark_items(type->tuple.rest, node, false);
        break;
    case PERI_KIND_UNION:
        for (uint32_t i = 0; i < type->any_of.count; i++)
            peri_mark_secrets(type->any_of.members[i], node);
        break;
    case PERI_KIND_TAGGED:
        for (uint32_t i = 0; i < type->tagged.count; i++)
            peri_mark_secrets(type->tagged.cases[i].type, node);
        break;
    default:
        break;
    }
}
