/* A tape and a type in, values or errors out. Each kind follows its counterpart in Pydantic's core:
 * what is accepted, in which order checks run and how exact a conversion counts when a union has to
 * choose. */
#include "schema_string.h"

#include <math.h>
#include <string.h>

/* The types of the fields of one call, which nearly every function here passes on. */
struct site {
    struct peri_run *run;
    const struct peri_type *type;
    const struct peri_json_node *node;
    const struct peri_loc *loc;
};

static bool fail(const struct site *site, enum peri_error error)
{
    return peri_fail_plain(site->run, site->loc, site->node, error);
}

static bool fail_text(const struct site *site, enum peri_error error, const char *key,
                      const char *text)
{
    struct peri_text value = {text, (uint32_t) strlen(text)};
    return peri_fail_text(site->run, site->loc, site->node, error, key, value);
}

static bool fail_integer(const struct site *site, enum peri_error error, const char *key,
                         int64_t integer)
{
    struct peri_context context = {.key = key, .integer = integer};
    return peri_fail(site->run, site->loc, site->node, error, &context, 1);
}

/* Python's objects of this class cannot come over the wire, so strict types refuse all texts. */
static bool fail_instance(const struct site *site, const char *class)
{
    return fail_text(site, PERI_ERROR_IS_INSTANCE_OF, "class", class);
}

static struct peri_value *add(const struct site *site, uint8_t kind)
{
    return peri_value_add(site->run->result, kind);
}

static bool add_text(const struct site *site, struct peri_text text)
{
    struct peri_value *value = add(site, PERI_VALUE_STRING);
    value->string = text.data;
    value->count = text.len;
    return true;
}

/* Moves a text to the result's own memory. */
static bool add_copy(const struct site *site, const struct peri_buf *text)
{
    char *copy = peri_arena_take(&site->run->result->arena, text->len + 1);
    if (text->len > 0)
        memcpy(copy, text->data, text->len);
    return add_text(site, (struct peri_text){copy, (uint32_t) text->len});
}

static bool is_text(const struct peri_json_node *node)
{
    return node->type == PERI_JSON_STRING || node->type == PERI_TAPE_BYTES;
}

static struct peri_text text_of(const struct peri_json_node *node)
{
    return (struct peri_text){node->string, node->count};
}

static bool is_boolean(const struct peri_json_node *node)
{
    return node->type == PERI_JSON_TRUE || node->type == PERI_JSON_FALSE;
}

/* ----------------------------------------------------------------- texts --- */

static bool check_length(const struct site *site, struct peri_text text, bool ascii)
{
    const struct peri_type *type = site->type;
    if (!type->string.has_min && !type->string.has_max)
        return true;
    size_t points = ascii ? text.len : peri_utf8_count(text.data, text.len);
    if (type->string.has_min && points < type->string.min)
        return fail_integer(site, PERI_ERROR_STRING_SHORT, "min_length", type->string.min);
    if (type->string.has_max && points > type->string.max)
        return fail_integer(site, PERI_ERROR_STRING_LONG, "max_length", type->string.max);
    return true;
}

/* Letters beyond ASCII keep their case: the C library's tables depend on the locale. */
static struct peri_text change_case(const struct site *site, struct peri_text text)
{
    char *copy = peri_arena_take(&site->run->result->arena, text.len + 1);
    char first = site->type->string.lower ? 'A' : 'a';
    for (uint32_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        copy[i] = byte >= first && byte < first + 26 ? (char) (byte ^ 0x20) : byte;
    }
    return (struct peri_text){copy, text.len};
}

static bool validate_string(const struct site *site)
{
    const struct peri_type *type = site->type;
    if (site->node->type != PERI_JSON_STRING) {
        if (site->node->type != PERI_TAPE_BYTES || type->strict)
            return fail(site, PERI_ERROR_STRING_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        if (peri_utf8_valid(site->node->string, site->node->count) != site->node->count)
            return fail(site, PERI_ERROR_STRING_UNICODE);
    }
    struct peri_text text = text_of(site->node);
    if (type->string.strip)
        text = peri_text_trim(text);
    if (!check_length(site, text, site->node->ascii & PERI_NODE_ASCII))
        return false;
    if (type->string.pattern != NULL && !peri_pattern_matches(type->string.pattern, text))
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_STRING_PATTERN,
                              "pattern", type->string.pattern_text);
    if (type->string.lower || type->string.upper)
        text = change_case(site, text);
    return add_text(site, text);
}

/* Pydantic checks the length of a secret from outside, in the words of any sized value. */
static bool validate_secret(const struct site *site)
{
    const struct peri_type *type = site->type;
    peri_run_floor(site->run, PERI_LAX);
    if (!is_text(site->node) || (type->strict && site->node->type != PERI_JSON_STRING))
        return fail(site, PERI_ERROR_STRING_TYPE);
    struct peri_text text = text_of(site->node);
    int64_t points = (int64_t) peri_utf8_count(text.data, text.len);
    struct peri_context context[] = {
        {.key = "field_type", .kind = PERI_CONTEXT_TEXT, .text = {"Value", 5}},
        {.key = "min_length", .integer = type->string.min},
        {.key = "actual_length", .integer = points},
    };
    if (type->string.has_min && points < type->string.min)
        return peri_fail(site->run, site->loc, site->node, PERI_ERROR_TOO_SHORT, context, 3);
    context[1] = (struct peri_context){.key = "max_length", .integer = type->string.max};
    if (type->string.has_max && points > type->string.max)
        return peri_fail(site->run, site->loc, site->node, PERI_ERROR_TOO_LONG, context, 3);
    if (type->string.pattern != NULL && !peri_pattern_matches(type->string.pattern, text))
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_STRING_PATTERN,
                              "pattern", type->string.pattern_text);
    return add_text(site, text);
}

static bool decode_bytes(const struct site *site, struct peri_text *text)
{
    if (site->type->string.encoding == PERI_ENCODING_UTF8)
        return true;
    bool base64 = site->type->string.encoding == PERI_ENCODING_BASE64;
    struct peri_buf reason = {0};
    char *room = peri_arena_take(&site->run->result->arena, text->len + 1);
    uint32_t len = 0;
    bool sound = base64 ? peri_base64_read(*text, room, &len, &reason)
                        : peri_hex_read(*text, room, &len, &reason);
    if (!sound) {
        const char *encoding = base64 ? "base64" : "hex";
        struct peri_context context[] = {
            {.key = "encoding",
             .kind = PERI_CONTEXT_TEXT,
             .text = {encoding, (uint32_t) strlen(encoding)}},
            {.key = "encoding_error",
             .kind = PERI_CONTEXT_TEXT,
             .text = {reason.data, (uint32_t) reason.len}},
        };
        peri_fail(site->run, site->loc, site->node, PERI_ERROR_BYTES_ENCODING, context, 2);
    }
    peri_buf_deinit(&reason);
    *text = (struct peri_text){room, len};
    return sound;
}

static bool validate_bytes(const struct site *site)
{
    const struct peri_type *type = site->type;
    struct peri_text text = text_of(site->node);
    if (site->node->type == PERI_TAPE_FILE) {
        const struct peri_field *field = (const struct peri_field *) site->node->string;
        if (field->value == NULL)
            return fail(site, PERI_ERROR_BYTES_TYPE);
        text = (struct peri_text){field->value, (uint32_t) field->value_len};
    } else if (site->node->type == PERI_JSON_STRING) {
        if (type->strict && site->run->mode != PERI_MODE_JSON)
            return fail(site, PERI_ERROR_BYTES_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        if (!decode_bytes(site, &text))
            return false;
    } else if (site->node->type != PERI_TAPE_BYTES) {
        return fail(site, PERI_ERROR_BYTES_TYPE);
    }
    if (type->string.has_min && text.len < type->string.min)
        return fail_integer(site, PERI_ERROR_BYTES_SHORT, "min_length", type->string.min);
    if (type->string.has_max && text.len > type->string.max)
        return fail_integer(site, PERI_ERROR_BYTES_LONG, "max_length", type->string.max);
    return add_text(site, text);
}

static bool validate_uuid(const struct site *site)
{
    bool python = site->run->mode != PERI_MODE_JSON;
    if (site->type->strict && python)
        return fail_instance(site, "UUID");
    if (!is_text(site->node))
        return fail(site, PERI_ERROR_UUID_TYPE);
    if (python)
        peri_run_floor(site->run, PERI_LAX);
    char *out = peri_arena_take(&site->run->result->arena, 36);
    struct peri_text text = text_of(site->node);
    struct peri_buf reason = {0};
    bool sound = site->node->type == PERI_TAPE_BYTES ? peri_uuid_from_bytes(text, out, &reason)
                                                     : peri_uuid_read(text, out, &reason);
    if (!sound)
        peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_UUID_PARSING, "error",
                       (struct peri_text){reason.data, (uint32_t) reason.len});
    peri_buf_deinit(&reason);
    return sound && add_text(site, (struct peri_text){out, 36});
}

static bool check_url(const struct site *site, struct peri_text scheme, bool has_host)
{
    const struct peri_type *type = site->type;
    bool known = type->url.schemes == NULL;
    for (uint32_t i = 0; i < type->url.scheme_count && !known; i++)
        known = peri_text_equals(type->url.schemes[i], scheme);
    if (!known)
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_URL_SCHEME,
                              "expected_schemes", type->url.expected);
    if (!type->url.any_host && !has_host)
        return fail_text(site, PERI_ERROR_URL_PARSING, "error", "empty host");
    return true;
}

static bool validate_url(const struct site *site)
{
    const struct peri_type *type = site->type;
    struct peri_text text = text_of(site->node);
    if (!is_text(site->node) || (type->strict && site->node->type != PERI_JSON_STRING))
        return fail(site, PERI_ERROR_URL_TYPE);
    peri_run_floor(site->run, PERI_LAX);
    if (type->url.has_max && text.len > type->url.max)
        return fail_integer(site, PERI_ERROR_URL_LONG, "max_length", type->url.max);
    struct peri_buf out = {0};
    struct peri_text scheme = {0};
    bool has_host = false;
    const char *reason = peri_url_read(text, &out, &scheme, &has_host);
    bool sound = reason == NULL ? check_url(site, scheme, has_host)
                                : fail_text(site, PERI_ERROR_URL_PARSING, "error", reason);
    if (sound)
        add_copy(site, &out);
    peri_buf_deinit(&out);
    return sound;
}

static bool validate_email(const struct site *site)
{
    if (!is_text(site->node) || (site->type->strict && site->node->type != PERI_JSON_STRING))
        return fail(site, PERI_ERROR_STRING_TYPE);
    struct peri_buf out = {0};
    struct peri_buf reason = {0};
    bool sound = peri_email_read(text_of(site->node), &out, &reason);
    if (sound)
        add_copy(site, &out);
    else
        peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_EMAIL, "reason",
                       (struct peri_text){reason.data, (uint32_t) reason.len});
    peri_buf_deinit(&out);
    peri_buf_deinit(&reason);
    return sound;
}

/* Python takes whole numbers and packed bytes for addresses, too. */
static bool read_ip(const struct site *site, struct peri_buf *out)
{
    const struct peri_json_node *node = site->node;
    bool v4 = site->type->kind == PERI_KIND_IPV4;
    if (node->type == PERI_JSON_STRING)
        return v4 ? peri_ipv4_read(text_of(node), out) : peri_ipv6_read(text_of(node), out);
    uint8_t bytes[16] = {0};
    if (node->type == PERI_TAPE_BYTES) {
        if (node->count != (v4 ? 4 : 16))
            return false;
        memcpy(bytes + (v4 ? 12 : 0), node->string, node->count);
    } else if (node->type == PERI_JSON_INTEGER || is_boolean(node)) {
        int64_t number =
            node->type == PERI_JSON_INTEGER ? node->integer : node->type == PERI_JSON_TRUE;
        if (number < 0 || (v4 && number > UINT32_MAX))
            return false;
        for (int i = 0; i < 8; i++)
            bytes[15 - i] = (uint8_t) (number >> (8 * i));
    } else {
        return false;
    }
    if (v4)
        peri_ipv4_print(out, (uint32_t) bytes[12] << 24 | (uint32_t) bytes[13] << 16 |
                                 (uint32_t) bytes[14] << 8 | bytes[15]);
    else
        peri_ipv6_print(out, bytes);
    return true;
}

static bool validate_ip(const struct site *site)
{
    bool v4 = site->type->kind == PERI_KIND_IPV4;
    if (site->type->strict && site->run->mode != PERI_MODE_JSON)
        return fail_instance(site, v4 ? "IPv4Address" : "IPv6Address");
    peri_run_floor(site->run, PERI_LAX);
    struct peri_buf out = {0};
    bool sound = read_ip(site, &out);
    if (sound)
        add_copy(site, &out);
    peri_buf_deinit(&out);
    return sound || fail(site, v4 ? PERI_ERROR_IP_V4 : PERI_ERROR_IP_V6);
}

/* --------------------------------------------------------------- numbers --- */

static bool validate_boolean(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    bool value = node->type == PERI_JSON_TRUE;
    if (!is_boolean(node)) {
        if (site->type->strict)
            return fail(site, PERI_ERROR_BOOL_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        double number = 0;
        if (is_text(node)) {
            if (!peri_boolean_read(text_of(node), &value))
                return fail(site, PERI_ERROR_BOOL_PARSING);
        } else {
            if (node->type == PERI_JSON_INTEGER)
                number = (double) node->integer;
            else if (node->type == PERI_JSON_NUMBER && node->number == trunc(node->number) &&
                     fabs(node->number) < 0x1p63)
                number = node->number;
            else
                return fail(site, PERI_ERROR_BOOL_TYPE);
            if (number != 0 && number != 1)
                return fail(site, PERI_ERROR_BOOL_PARSING);
            value = number == 1;
        }
    }
    add(site, value ? PERI_VALUE_TRUE : PERI_VALUE_FALSE);
    return true;
}

static bool check_integer(const struct site *site, int64_t value)
{
    const struct peri_integer_bounds *bounds = &site->type->integer;
    if (bounds->present == 0)
        return true;
    if ((bounds->present & PERI_MULTIPLE) &&
        (bounds->multiple == 0 || (bounds->multiple != -1 && value % bounds->multiple != 0)))
        return fail_integer(site, PERI_ERROR_MULTIPLE_OF, "multiple_of", bounds->multiple);
    if ((bounds->present & PERI_LE) && value > bounds->le)
        return fail_integer(site, PERI_ERROR_LESS_EQUAL, "le", bounds->le);
    if ((bounds->present & PERI_LT) && value >= bounds->lt)
        return fail_integer(site, PERI_ERROR_LESS_THAN, "lt", bounds->lt);
    if ((bounds->present & PERI_GE) && value < bounds->ge)
        return fail_integer(site, PERI_ERROR_GREATER_EQUAL, "ge", bounds->ge);
    if ((bounds->present & PERI_GT) && value <= bounds->gt)
        return fail_integer(site, PERI_ERROR_GREATER_THAN, "gt", bounds->gt);
    return true;
}

static bool big_is_multiple(struct peri_text digits, int64_t unit)
{
    unsigned __int128 size = unit < 0 ? (unsigned __int128) -(__int128) unit : (unsigned) 0;
    if (unit >= 0)
        size = (unsigned __int128) unit;
    unsigned __int128 rest = 0;
    for (uint32_t i = 0; i < digits.len && size != 0; i++) {
        char byte = digits.data[i];
        if (byte == '.')
            break;
        if (byte >= '0' && byte <= '9')
            rest = (rest * 10 + (unsigned) (byte - '0')) % size;
    }
    return size != 0 && rest == 0;
}

/* An integer that Lua cannot hold: the bound it breaks is reported as Python would, else its size.
 */
static bool fail_big_integer(const struct site *site, struct peri_text digits, bool negative)
{
    const struct peri_integer_bounds *bounds = &site->type->integer;
    if ((bounds->present & PERI_MULTIPLE) && !big_is_multiple(digits, bounds->multiple))
        return fail_integer(site, PERI_ERROR_MULTIPLE_OF, "multiple_of", bounds->multiple);
    if (!negative && (bounds->present & PERI_LE))
        return fail_integer(site, PERI_ERROR_LESS_EQUAL, "le", bounds->le);
    if (!negative && (bounds->present & PERI_LT))
        return fail_integer(site, PERI_ERROR_LESS_THAN, "lt", bounds->lt);
    if (negative && (bounds->present & PERI_GE))
        return fail_integer(site, PERI_ERROR_GREATER_EQUAL, "ge", bounds->ge);
    if (negative && (bounds->present & PERI_GT))
        return fail_integer(site, PERI_ERROR_GREATER_THAN, "gt", bounds->gt);
    return fail(site, PERI_ERROR_INT_SIZE);
}

static bool add_integer(const struct site *site, int64_t integer)
{
    if (!check_integer(site, integer))
        return false;
    add(site, PERI_VALUE_INTEGER)->integer = integer;
    return true;
}

static bool integer_from_text(const struct site *site)
{
    struct peri_text text = text_of(site->node);
    int64_t integer = 0;
    switch (peri_integer_read(text, &integer)) {
    case PERI_INTEGER_OK:
        return add_integer(site, integer);
    case PERI_INTEGER_BAD:
        return fail(site, PERI_ERROR_INT_PARSING);
    case PERI_INTEGER_TOO_LONG:
        return fail(site, PERI_ERROR_INT_SIZE);
    case PERI_INTEGER_POSITIVE:
        return fail_big_integer(site, text, false);
    case PERI_INTEGER_NEGATIVE:
        return fail_big_integer(site, text, true);
    }
    return false;
}

static bool validate_integer(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    if (node->type == PERI_JSON_INTEGER)
        return add_integer(site, node->integer);
    if (node->type == PERI_JSON_BIG)
        return fail_big_integer(site, text_of(node), node->string[0] == '-');
    if (site->type->strict)
        return fail(site, PERI_ERROR_INT_TYPE);
    peri_run_floor(site->run, PERI_LAX);
    if (is_text(node))
        return integer_from_text(site);
    if (is_boolean(node))
        return add_integer(site, node->type == PERI_JSON_TRUE);
    if (node->type != PERI_JSON_NUMBER)
        return fail(site, PERI_ERROR_INT_TYPE);
    if (!isfinite(node->number))
        return fail(site, PERI_ERROR_FINITE_NUMBER);
    if (node->number != trunc(node->number))
        return fail(site, PERI_ERROR_INT_FROM_FLOAT);
    if (node->number <= -0x1p63 || node->number >= 0x1p63)
        return fail(site, PERI_ERROR_INT_SIZE);
    return add_integer(site, (int64_t) node->number);
}

static bool fail_number(const struct site *site, enum peri_error error, const char *key,
                        double number)
{
    struct peri_context context = {.key = key, .kind = PERI_CONTEXT_NUMBER, .number = number};
    return peri_fail(site->run, site->loc, site->node, error, &context, 1);
}

/* NaN breaks every bound. */
static bool check_number(const struct site *site, double value)
{
    const struct peri_number_bounds *bounds = &site->type->number.bounds;
    if (site->type->number.finite && !isfinite(value))
        return fail(site, PERI_ERROR_FINITE_NUMBER);
    if (bounds->present == 0)
        return true;
    if ((bounds->present & PERI_MULTIPLE) &&
        fabs(value - round(value / bounds->multiple) * bounds->multiple) > 1e-9)
        return fail_number(site, PERI_ERROR_MULTIPLE_OF, "multiple_of", bounds->multiple);
    if ((bounds->present & PERI_LE) && !(value <= bounds->le))
        return fail_number(site, PERI_ERROR_LESS_EQUAL, "le", bounds->le);
    if ((bounds->present & PERI_LT) && !(value < bounds->lt))
        return fail_number(site, PERI_ERROR_LESS_THAN, "lt", bounds->lt);
    if ((bounds->present & PERI_GE) && !(value >= bounds->ge))
        return fail_number(site, PERI_ERROR_GREATER_EQUAL, "ge", bounds->ge);
    if ((bounds->present & PERI_GT) && !(value > bounds->gt))
        return fail_number(site, PERI_ERROR_GREATER_THAN, "gt", bounds->gt);
    return true;
}

static bool validate_number(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    double value = 0;
    if (node->type == PERI_JSON_NUMBER) {
        value = node->number;
    } else if (node->type == PERI_JSON_INTEGER) {
        peri_run_floor(site->run, PERI_STRICT);
        value = (double) node->integer;
    } else if (node->type == PERI_JSON_BIG) {
        peri_run_floor(site->run, PERI_STRICT);
        value = peri_json_to_double(node->string, node->count);
        if (!isfinite(value))
            return fail(site, PERI_ERROR_FLOAT_TYPE);
    } else {
        if (site->type->strict || (!is_text(node) && !is_boolean(node)))
            return fail(site, PERI_ERROR_FLOAT_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        if (is_boolean(node))
            value = node->type == PERI_JSON_TRUE;
        else if (!peri_float_read(text_of(node), &value))
            return fail(site, PERI_ERROR_FLOAT_PARSING);
    }
    if (!check_number(site, value))
        return false;
    add(site, PERI_VALUE_NUMBER)->number = value;
    return true;
}

/* -------------------------------------------------------------- decimals --- */

/* How many digits stand before and behind the dot, as the number is written. */
struct digit_counts {
    int64_t digits, places;
};

static struct digit_counts count_digits(const struct peri_decimal *decimal)
{
    int64_t len = decimal->digits.len;
    if (decimal->exponent >= 0)
        return (struct digit_counts){len + decimal->exponent, 0};
    int64_t places = -decimal->exponent;
    return (struct digit_counts){places > len ? places : len, places};
}

/* Without trailing zeros. */
static struct digit_counts count_normal_digits(struct peri_decimal decimal)
{
    if (decimal.digits.data[0] == '0')
        decimal.exponent = 0;
    while (decimal.digits.len > 1 && decimal.digits.data[decimal.digits.len - 1] == '0') {
        decimal.digits.len--;
        decimal.exponent++;
    }
    return count_digits(&decimal);
}

static int64_t at_least_zero(int64_t value)
{
    return value > 0 ? value : 0;
}

static bool check_digits(const struct site *site, const struct peri_decimal *decimal)
{
    const struct peri_decimal_bounds *bounds = &site->type->decimal.bounds;
    struct digit_counts written = count_digits(decimal);
    struct digit_counts normal = count_normal_digits(*decimal);
    if (bounds->check_digits && written.digits > bounds->max_digits &&
        normal.digits > bounds->max_digits)
        return fail_integer(site, PERI_ERROR_DECIMAL_DIGITS, "max_digits", bounds->max_digits);
    if (!bounds->check_places)
        return true;
    if (written.places > bounds->places && normal.places > bounds->places)
        return fail_integer(site, PERI_ERROR_DECIMAL_PLACES, "decimal_places", bounds->places);
    if (!bounds->check_digits)
        return true;
    int64_t whole = at_least_zero((int64_t) bounds->max_digits - bounds->places);
    if (at_least_zero(written.digits - written.places) > whole &&
        at_least_zero(normal.digits - normal.places) > whole)
        return fail_integer(site, PERI_ERROR_DECIMAL_WHOLE, "whole_digits", whole);
    return true;
}

/* Bounds are kept as canonical texts. FastAPI shows one without a fraction as an integer. */
static bool break_bound(const struct site *site, enum peri_error error, const char *key,
                        struct peri_text bound)
{
    struct peri_context context = {.key = key, .kind = PERI_CONTEXT_DECIMAL, .text = bound};
    return peri_fail(site->run, site->loc, site->node, error, &context, 1);
}

static bool check_decimal(const struct site *site, const struct peri_decimal *decimal)
{
    const struct peri_decimal_bounds *bounds = &site->type->decimal.bounds;
    if (decimal->special != 0 &&
        (!site->type->decimal.allow_inf_nan || bounds->check_digits || bounds->check_places))
        return fail(site, PERI_ERROR_FINITE_NUMBER);
    if ((bounds->check_digits || bounds->check_places) && !check_digits(site, decimal))
        return false;
    const struct {
        unsigned bit;
        enum peri_error error;
        const char *key;
        struct peri_text bound;
    } checks[] = {
        {PERI_MULTIPLE, PERI_ERROR_MULTIPLE_OF, "multiple_of", bounds->multiple},
        {PERI_LE, PERI_ERROR_LESS_EQUAL, "le", bounds->le},
        {PERI_LT, PERI_ERROR_LESS_THAN, "lt", bounds->lt},
        {PERI_GE, PERI_ERROR_GREATER_EQUAL, "ge", bounds->ge},
        {PERI_GT, PERI_ERROR_GREATER_THAN, "gt", bounds->gt},
    };
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (!(bounds->present & checks[i].bit))
            continue;
        struct peri_decimal bound;
        char *room = peri_arena_take(&site->run->result->arena, checks[i].bound.len + 1);
        peri_decimal_read(checks[i].bound, room, &bound);
        bool keeps = false;
        if (decimal->special == 'N')
            keeps = false;
        else if (decimal->special == 'I')
            keeps = decimal->negative ? (checks[i].bit & (PERI_LE | PERI_LT)) != 0
                                      : (checks[i].bit & (PERI_GE | PERI_GT)) != 0;
        else if (checks[i].bit == PERI_MULTIPLE)
            keeps = peri_decimal_divides(decimal, &bound);
        else {
            int order = peri_decimal_compare(decimal, &bound);
            keeps = checks[i].bit == PERI_LE   ? order <= 0
                    : checks[i].bit == PERI_LT ? order < 0
                    : checks[i].bit == PERI_GE ? order >= 0
                                               : order > 0;
        }
        if (!keeps)
            return break_bound(site, checks[i].error, checks[i].key, checks[i].bound);
    }
    return true;
}

static bool validate_decimal(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    struct peri_buf text = {0};
    if (site->type->strict && site->run->mode != PERI_MODE_JSON)
        return fail_instance(site, "Decimal");
    peri_run_floor(site->run, PERI_LAX);
    if (node->type == PERI_JSON_STRING || node->type == PERI_JSON_BIG)
        peri_buf_add(&text, node->string, node->count);
    else if (node->type == PERI_JSON_INTEGER)
        peri_buf_add_int(&text, node->integer);
    else if (node->type == PERI_JSON_NUMBER && isfinite(node->number))
        peri_json_add_number(&text, node->number);
    else if (node->type == PERI_JSON_NUMBER)
        peri_buf_add_str(&text, isnan(node->number) ? "nan" : node->number > 0 ? "inf" : "-inf");
    else
        return fail(site, PERI_ERROR_DECIMAL_TYPE);

    struct peri_decimal decimal;
    char *room = peri_arena_take(&site->run->result->arena, text.len + 1);
    bool sound =
        peri_decimal_read((struct peri_text){text.data, (uint32_t) text.len}, room, &decimal);
    peri_buf_deinit(&text);
    if (!sound)
        return fail(site, PERI_ERROR_DECIMAL_PARSING);
    if (!check_decimal(site, &decimal))
        return false;
    struct peri_buf out = {0};
    peri_decimal_print(&out, &decimal);
    add_copy(site, &out);
    peri_buf_deinit(&out);
    return true;
}

/* --------------------------------------------------- the datetime family --- */

static bool break_temporal(const struct site *site, enum peri_error error, const char *key,
                           const struct peri_temporal *value, const struct peri_temporal *bound)
{
    struct peri_buf text = {0};
    peri_temporal_print_bound(&text, bound);
    struct peri_json_node seconds = {.type = PERI_JSON_NUMBER, .skip = 1};
    const struct peri_json_node *input = site->node;
    if (value->kind == PERI_DURATION) { /* shown converted, which FastAPI prints as seconds */
        seconds.number = peri_duration_seconds(value);
        input = &seconds;
    }
    peri_fail_text(site->run, site->loc, input, error, key,
                   (struct peri_text){text.data, (uint32_t) text.len});
    peri_buf_deinit(&text);
    return false;
}

static bool add_temporal(const struct site *site, const struct peri_temporal *value)
{
    const struct peri_temporal_bounds *bounds = &site->type->temporal;
    if ((bounds->present & PERI_MULTIPLE) && !peri_duration_divides(value, &bounds->multiple))
        return break_temporal(site, PERI_ERROR_MULTIPLE_OF, "multiple_of", value,
                              &bounds->multiple);
    if ((bounds->present & PERI_LE) && peri_temporal_compare(value, &bounds->le) > 0)
        return break_temporal(site, PERI_ERROR_LESS_EQUAL, "le", value, &bounds->le);
    if ((bounds->present & PERI_LT) && peri_temporal_compare(value, &bounds->lt) >= 0)
        return break_temporal(site, PERI_ERROR_LESS_THAN, "lt", value, &bounds->lt);
    if ((bounds->present & PERI_GE) && peri_temporal_compare(value, &bounds->ge) < 0)
        return break_temporal(site, PERI_ERROR_GREATER_EQUAL, "ge", value, &bounds->ge);
    if ((bounds->present & PERI_GT) && peri_temporal_compare(value, &bounds->gt) <= 0)
        return break_temporal(site, PERI_ERROR_GREATER_THAN, "gt", value, &bounds->gt);
    bool point = value->kind == PERI_DATETIME || value->kind == PERI_DATE;
    if (point && value->seconds < PERI_FIRST_SECOND)
        return fail_text(
            site, value->kind == PERI_DATE ? PERI_ERROR_DATE_PARSING : PERI_ERROR_DATETIME_PARSING,
            "error", "year 0 is out of range");
    struct peri_value *made = add(site, (uint8_t) (PERI_VALUE_TEMPORAL + value->kind));
    made->offset = value->offset;
    made->count = value->micros;
    made->integer = value->seconds;
    return true;
}

/* Whether the node may be converted at all: in Pydantic's eyes JSON has no temporal values, so a
 * strict type takes them from JSON texts and from Lua's own only. */
static bool may_convert(const struct site *site)
{
    if (site->node->ascii & PERI_NODE_TEMPORAL)
        return true;
    peri_run_floor(site->run, PERI_LAX);
    return !site->type->strict ||
           (site->run->mode == PERI_MODE_JSON && site->node->type == PERI_JSON_STRING);
}

/* The reason in *reason, NULL when it worked; false when the node is nothing to read one from. */
static bool read_datetime(const struct peri_json_node *node, const char **reason,
                          struct peri_temporal *out)
{
    if (is_text(node))
        *reason = peri_datetime_parse(node->string, node->count, out);
    else if (node->type == PERI_JSON_INTEGER)
        *reason = peri_datetime_from_integer(node->integer, out);
    else if (node->type == PERI_JSON_NUMBER)
        *reason = peri_datetime_from_number(node->number, out);
    else if (node->type == PERI_JSON_BIG)
        *reason = peri_datetime_from_number(peri_json_to_double(node->string, node->count), out);
    else
        return false;
    return true;
}

static bool validate_datetime(const struct site *site)
{
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site) || !read_datetime(site->node, &reason, &value))
        return fail(site, PERI_ERROR_DATETIME_TYPE);
    if (reason == NULL)
        return add_temporal(site, &value);
    if (!is_text(site->node))
        return fail_text(site, PERI_ERROR_DATETIME_PARSING, "error", reason);
    /* A date alone is midnight. */
    reason = peri_date_parse(site->node->string, site->node->count, &value);
    if (reason != NULL)
        return fail_text(site, PERI_ERROR_DATETIME_FROM_DATE, "error", reason);
    value.kind = PERI_DATETIME;
    return add_temporal(site, &value);
}

static bool validate_date(const struct site *site)
{
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site))
        return fail(site, PERI_ERROR_DATE_TYPE);
    if (is_text(site->node)) {
        reason = peri_date_parse(site->node->string, site->node->count, &value);
        if (reason == NULL)
            return add_temporal(site, &value);
    }
    /* A moment at midnight is a date. */
    if (!read_datetime(site->node, &reason, &value))
        return fail(site, PERI_ERROR_DATE_TYPE);
    if (reason != NULL)
        return fail_text(site, PERI_ERROR_DATE_FROM_DATETIME, "error", reason);
    if (value.seconds % 86400 != 0 || value.micros != 0)
        return fail(site, PERI_ERROR_DATE_INEXACT);
    value.kind = PERI_DATE;
    value.offset = PERI_NAIVE;
    return add_temporal(site, &value);
}

static bool validate_time(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site))
        return fail(site, PERI_ERROR_TIME_TYPE);
    if (is_text(node))
        reason = peri_time_parse(node->string, node->count, &value);
    else if (node->type == PERI_JSON_INTEGER)
        reason = peri_time_from_integer(node->integer, &value);
    else if (node->type == PERI_JSON_NUMBER)
        reason = peri_time_from_number(node->number, &value);
    else if (node->type == PERI_JSON_BIG)
        reason = peri_time_from_number(peri_json_to_double(node->string, node->count), &value);
    else
        return fail(site, PERI_ERROR_TIME_TYPE);
    return reason == NULL ? add_temporal(site, &value)
                          : fail_text(site, PERI_ERROR_TIME_PARSING, "error", reason);
}

static bool validate_duration(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site))
        return fail(site, PERI_ERROR_DURATION_TYPE);
    if (is_text(node))
        reason = peri_duration_parse(node->string, node->count, &value);
    else if (node->type == PERI_JSON_INTEGER)
        reason = peri_duration_from_integer(node->integer, &value);
    else if (is_boolean(node))
        reason = peri_duration_from_integer(node->type == PERI_JSON_TRUE, &value);
    else if (node->type == PERI_JSON_NUMBER)
        reason = peri_duration_from_number(node->number, &value);
    else if (node->type == PERI_JSON_BIG)
        reason = peri_duration_from_number(peri_json_to_double(node->string, node->count), &value);
    else
        return fail(site, PERI_ERROR_DURATION_TYPE);
    return reason == NULL ? add_temporal(site, &value)
                          : fail_text(site, PERI_ERROR_DURATION_PARSING, "error", reason);
}

/* ------------------------------------------------------------- constants --- */

static bool number_of(const struct peri_json_node *node, double *out)
{
    if (node->type == PERI_JSON_NUMBER)
        *out = node->number;
    else if (node->type == PERI_JSON_INTEGER)
        *out = (double) node->integer;
    else if (is_boolean(node))
        *out = node->type == PERI_JSON_TRUE;
    else
        return false;
    return true;
}

static bool is_same_constant(const struct peri_constant *constant,
                             const struct peri_json_node *node)
{
    if (constant->type != node->type)
        return false;
    if (node->type == PERI_JSON_STRING)
        return peri_text_equals(constant->text, text_of(node));
    return node->type != PERI_JSON_INTEGER || constant->integer == node->integer;
}

const struct peri_constant *peri_constant_find(const struct peri_constant *items, size_t stride,
                                               uint32_t count, const struct peri_json_node *node)
{
    const char *at = (const char *) items;
    for (uint32_t i = 0; i < count; i++, at += stride) {
        const struct peri_constant *constant = (const struct peri_constant *) at;
        if (is_same_constant(constant, node))
            return constant;
    }
    /* As Python compares: 1, 1.0 and True are equal, and of equal keys the last one stays. */
    double number = 0;
    if (!number_of(node, &number))
        return NULL;
    for (uint32_t i = count; i-- > 0;) {
        at -= stride;
        const struct peri_constant *constant = (const struct peri_constant *) at;
        bool boolean = constant->type == PERI_JSON_TRUE || constant->type == PERI_JSON_FALSE;
        if ((constant->type == PERI_JSON_INTEGER && (double) constant->integer == number) ||
            (boolean && (constant->type == PERI_JSON_TRUE) == number))
            return constant;
    }
    return NULL;
}

static bool add_constant(const struct site *site, const struct peri_constant *constant)
{
    switch (constant->type) {
    case PERI_JSON_NULL:
        add(site, PERI_VALUE_NULL);
        break;
    case PERI_JSON_FALSE:
        add(site, PERI_VALUE_FALSE);
        break;
    case PERI_JSON_TRUE:
        add(site, PERI_VALUE_TRUE);
        break;
    case PERI_JSON_INTEGER:
        add(site, PERI_VALUE_INTEGER)->integer = constant->integer;
        break;
    default:
        return add_text(site, constant->text);
    }
    return true;
}

/* Pydantic looks for integers first, and stumbles over those that are too large. */
static bool is_too_big(const struct site *site)
{
    return site->node->type == PERI_JSON_BIG && site->type->constants.has_integer;
}

static bool validate_literal(const struct site *site)
{
    const struct peri_constants *constants = &site->type->constants;
    if (is_too_big(site))
        return fail(site, PERI_ERROR_INT_SIZE);
    const struct peri_constant *found = peri_constant_find(
        constants->items, sizeof(*constants->items), constants->count, site->node);
    if (found != NULL)
        return add_constant(site, found);
    return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_LITERAL, "expected",
                          constants->expected);
}

/* An enum of integers takes what converts to one of them, an enum of strings also bytes. */
static const struct peri_constant *find_enum(const struct site *site)
{
    const struct peri_constants *constants = &site->type->constants;
    struct peri_json_node node = *site->node;
    if (node.type == PERI_TAPE_BYTES && constants->kind == PERI_JSON_STRING)
        node.type = PERI_JSON_STRING;
    if (constants->kind == PERI_JSON_INTEGER && is_text(site->node)) {
        if (peri_integer_read(text_of(site->node), &node.integer) != PERI_INTEGER_OK)
            return NULL;
        node.type = PERI_JSON_INTEGER;
    }
    if (is_boolean(&node) && constants->kind != PERI_JSON_INTEGER) {
        for (uint32_t i = 0; i < constants->count; i++) {
            if (constants->items[i].type == node.type)
                return &constants->items[i];
        }
        return NULL;
    }
    return peri_constant_find(constants->items, sizeof(*constants->items), constants->count, &node);
}

static bool validate_enum(const struct site *site)
{
    if (site->type->strict && site->run->mode != PERI_MODE_JSON)
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_IS_INSTANCE_OF, "class",
                              site->type->constants.name);
    peri_run_floor(site->run, PERI_LAX);
    if (is_too_big(site))
        return fail(site, PERI_ERROR_INT_SIZE);
    const struct peri_constant *found = find_enum(site);
    if (found != NULL)
        return add_constant(site, found);
    return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_ENUM, "expected",
                          site->type->constants.expected);
}

/* ----------------------------------------------------------- collections --- */

static bool fail_count(const struct site *site, enum peri_error error, const char *what,
                       uint32_t bound, int64_t actual)
{
    struct peri_context context[] = {
        {.key = "field_type", .kind = PERI_CONTEXT_TEXT, .text = {what, (uint32_t) strlen(what)}},
        {.key = error == PERI_ERROR_TOO_SHORT ? "min_length" : "max_length", .integer = bound},
        {.key = "actual_length",
         .kind = actual < 0 ? PERI_CONTEXT_MORE : PERI_CONTEXT_INTEGER,
         .integer = actual},
    };
    return peri_fail(site->run, site->loc, site->node, error, context, 3);
}

/* Forgets values and errors that were collected since. */
static bool drop(const struct site *site, uint32_t values, size_t error_bytes, uint32_t errors)
{
    struct peri_result *result = site->run->result;
    result->count = values;
    result->errors.len = error_bytes;
    result->error_count = errors;
    return false;
}

static bool is_unique(struct peri_result *result, uint32_t array, uint32_t count)
{
    struct peri_value_set seen;
    peri_value_set_init(&seen, result, count);
    uint32_t at = array + 1;
    for (uint32_t i = 0; i < count; i++, at = peri_value_end(result, at)) {
        if (!peri_value_set_add(&seen, at))
            return false;
    }
    return true;
}

static bool validate_array(const struct site *site)
{
    const struct peri_type *type = site->type;
    const struct peri_json_node *node = site->node;
    struct peri_result *result = site->run->result;
    if (node->type != PERI_JSON_ARRAY && node->type != PERI_TAPE_EMPTY)
        return fail(site, PERI_ERROR_LIST_TYPE);
    uint32_t count = node->type == PERI_JSON_ARRAY ? node->count : 0;
    if (type->array.has_max && count > type->array.max)
        return fail_count(site, PERI_ERROR_TOO_LONG, "List", type->array.max, count);
    uint32_t start = result->count;
    add(site, PERI_VALUE_ARRAY)->count = count;
    bool sound = true;
    const struct peri_json_node *item = node + 1;
    for (uint32_t i = 0; i < count; i++, item += item->skip) {
        struct peri_loc loc = {.up = site->loc, .index = i};
        sound = peri_validate(site->run, type->array.item, item, &loc) && sound;
    }
    if (sound && type->array.has_min && count < type->array.min)
        sound = fail_count(site, PERI_ERROR_TOO_SHORT, "List", type->array.min, count);
    if (sound && type->array.unique && !is_unique(result, start, count))
        sound = fail(site, PERI_ERROR_UNIQUE);
    if (!sound)
        result->count = start;
    return sound;
}

static bool validate_set(const struct site *site)
{
    const struct peri_type *type = site->type;
    const struct peri_json_node *node = site->node;
    struct peri_result *result = site->run->result;
    bool is_list = node->type == PERI_JSON_ARRAY || node->type == PERI_TAPE_EMPTY;
    if (!is_list || (type->strict && site->run->mode != PERI_MODE_JSON))
        return fail(site, PERI_ERROR_SET_TYPE);
    peri_run_floor(site->run, site->run->mode == PERI_MODE_JSON ? PERI_STRICT : PERI_LAX);
    uint32_t given = node->type == PERI_JSON_ARRAY ? node->count : 0;
    uint32_t start = result->count;
    size_t error_bytes = result->errors.len;
    uint32_t errors = result->error_count;
    add(site, PERI_VALUE_ARRAY);
    struct peri_value_set seen;
    peri_value_set_init(&seen, result, given);
    bool sound = true;
    const struct peri_json_node *item = node + 1;
    for (uint32_t i = 0; i < given; i++, item += item->skip) {
        struct peri_loc loc = {.up = site->loc, .index = i};
        uint32_t at = result->count;
        if (!peri_validate(site->run, type->array.item, item, &loc)) {
            sound = false;
        } else if (!peri_value_hashable(type->array.item, &result->values[at])) {
            result->count = at;
            sound = peri_fail_plain(site->run, &loc, item, PERI_ERROR_SET_ITEM);
        } else if (!peri_value_set_add(&seen, at)) {
            result->count = at;
        } else if (type->array.has_max && seen.count > type->array.max) {
            drop(site, start, error_bytes, errors);
            return fail_count(site, PERI_ERROR_TOO_LONG, "Set", type->array.max, -1);
        }
    }
    if (sound && type->array.has_min && seen.count < type->array.min)
        sound = fail_count(site, PERI_ERROR_TOO_SHORT, "Set", type->array.min, seen.count);
    if (sound)
        result->values[start].count = seen.count;
    else
        result->count = start;
    return sound;
}

static bool validate_tuple_item(const struct site *site, const struct peri_type *type,
                                const struct peri_json_node *item, uint32_t index)
{
    struct peri_loc loc = {.up = site->loc, .index = index};
    if (item != NULL)
        return peri_validate(site->run, type, item, &loc);
    if (type->fallback == NULL)
        return peri_fail_plain(site->run, &loc, site->node, PERI_ERROR_MISSING);
    add(site, PERI_VALUE_DEFAULT)->type = type;
    return true;
}

static bool validate_tuple(const struct site *site)
{
    const struct peri_type *type = site->type;
    const struct peri_json_node *node = site->node;
    struct peri_result *result = site->run->result;
    bool is_list = node->type == PERI_JSON_ARRAY || node->type == PERI_TAPE_EMPTY;
    if (!is_list || (type->strict && site->run->mode != PERI_MODE_JSON))
        return fail(site, PERI_ERROR_TUPLE_TYPE);
    peri_run_floor(site->run, site->run->mode == PERI_MODE_JSON ? PERI_STRICT : PERI_LAX);
    uint32_t given = node->type == PERI_JSON_ARRAY ? node->count : 0;
    if (type->tuple.rest == NULL && given > type->tuple.count)
        return fail_count(site, PERI_ERROR_TOO_LONG, "Tuple", type->tuple.count, given);
    if (type->tuple.has_max && given > type->tuple.max)
        return fail_count(site, PERI_ERROR_TOO_LONG, "Tuple", type->tuple.max, given);
    uint32_t count = given > type->tuple.count ? given : type->tuple.count;
    uint32_t start = result->count;
    add(site, PERI_VALUE_ARRAY)->count = count;
    bool sound = true;
    uint32_t good = 0;
    const struct peri_json_node *item = node + 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct peri_type *part =
            i < type->tuple.count ? type->tuple.items[i] : type->tuple.rest;
        if (validate_tuple_item(site, part, i < given ? item : NULL, i))
            good++;
        else
            sound = false;
        if (i < given)
            item += item->skip;
    }
    if (type->tuple.has_min && good < type->tuple.min)
        sound = fail_count(site, PERI_ERROR_TOO_SHORT, "Tuple", type->tuple.min, good);
    if (!sound)
        result->count = start;
    return sound;
}

static struct peri_loc key_loc(const struct peri_loc *up, const struct peri_json_node *key)
{
    if (key->type == PERI_JSON_INTEGER)
        return (struct peri_loc){.up = up, .index = key->integer};
    return (struct peri_loc){.up = up, .name = key->string, .len = key->count};
}

/* The entries of a map: those of an object, or of a Lua table that looks like a list because its
 * keys happen to be 1..n. */
struct entries {
    const struct peri_json_node *at;
    uint32_t left;
    bool listed;
    struct peri_json_node index; /* the key of a listed entry */
};

static bool start_entries(const struct site *site, struct entries *entries)
{
    const struct peri_json_node *node = site->node;
    bool listed =
        node->type == PERI_JSON_ARRAY && node->count > 0 && site->run->mode == PERI_MODE_VALUE;
    *entries = (struct entries){.at = node + 1, .left = node->count, .listed = listed};
    entries->index = (struct peri_json_node){.type = PERI_JSON_INTEGER, .skip = 1};
    if (node->type == PERI_TAPE_EMPTY)
        entries->left = 0;
    return listed || node->type == PERI_JSON_OBJECT || node->type == PERI_TAPE_EMPTY;
}

static bool next_entry(struct entries *entries, const struct peri_json_node **key,
                       const struct peri_json_node **value)
{
    if (entries->left == 0)
        return false;
    entries->left--;
    entries->index.integer++;
    *key = entries->listed ? &entries->index : entries->at;
    *value = entries->listed ? entries->at : entries->at + 1;
    entries->at = *value + (*value)->skip;
    return true;
}

static bool validate_map(const struct site *site)
{
    const struct peri_type *type = site->type;
    struct peri_result *result = site->run->result;
    struct entries entries;
    if (!start_entries(site, &entries))
        return fail(site, PERI_ERROR_DICT_TYPE);
    uint32_t start = result->count;
    size_t error_bytes = result->errors.len;
    uint32_t errors = result->error_count;
    add(site, PERI_VALUE_MAP)->count = entries.left;
    bool sound = true;
    uint32_t good = 0;
    const struct peri_json_node *key = NULL;
    const struct peri_json_node *value = NULL;
    while (next_entry(&entries, &key, &value)) {
        struct peri_loc outer = key_loc(site->loc, key);
        struct peri_loc inner = {.up = &outer, .name = "[key]", .len = 5};
        bool key_sound = peri_validate(site->run, type->map.key, key, &inner);
        bool value_sound = peri_validate(site->run, type->map.value, value, &outer);
        sound = sound && key_sound && value_sound;
        good += key_sound && value_sound;
        if (type->map.has_max && good > type->map.max) {
            drop(site, start, error_bytes, errors);
            return fail_count(site, PERI_ERROR_TOO_LONG, "Dictionary", type->map.max, -1);
        }
    }
    if (sound && type->map.has_min && good < type->map.min)
        sound = fail_count(site, PERI_ERROR_TOO_SHORT, "Dictionary", type->map.min, good);
    if (!sound)
        result->count = start;
    return sound;
}

/* ---------------------------------------------------------------- models --- */

uint32_t peri_hash(const char *bytes, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a: keys are short, and no client chooses what is stored */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char) bytes[i]) * 16777619u;
    return hash;
}

static bool is_member(const struct peri_member *member, const char *key, size_t len)
{
    return member->wire.len == len && memcmp(member->wire.data, key, len) == 0;
}

const struct peri_member *peri_model_find(const struct peri_model *model, const char *key,
                                          size_t len)
{
    if (model->count == 0)
        return NULL;
    for (uint32_t slot = peri_hash(key, len);; slot++) {
        uint16_t entry = model->slots[slot & model->slot_mask];
        if (entry == 0)
            return NULL;
        if (is_member(&model->members[entry - 1], key, len))
            return &model->members[entry - 1];
    }
}

const struct peri_json_node *peri_node_find(const struct peri_json_node *object,
                                            struct peri_text key)
{
    const struct peri_json_node *found = NULL;
    const struct peri_json_node *at = object + 1;
    if (object->type != PERI_JSON_OBJECT)
        return NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        const struct peri_json_node *value = at + at->skip;
        if (at->type == PERI_JSON_STRING && peri_text_equals(text_of(at), key))
            found = value;
        at = value + value->skip;
    }
    return found;
}

/* The member of this name in Lua, where it differs from the one on the wire. */
static const struct peri_member *find_by_name(const struct peri_model *model, struct peri_text key)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (model->members[i].has_alias && peri_text_equals(model->members[i].name, key))
            return &model->members[i];
    }
    return NULL;
}

static const struct peri_member *find_member(const struct site *site,
                                             const struct peri_json_node *key)
{
    const struct peri_model *model = &site->type->model;
    if (key->type != PERI_JSON_STRING)
        return NULL;
    const struct peri_member *member = peri_model_find(model, key->string, key->count);
    if (member == NULL && site->run->from_lua)
        member = find_by_name(model, text_of(key));
    return member;
}

/* Notes where each member's value stands, and returns how many keys belong to none. Clients mostly
 * send the fields in the order of the declaration, so the next one is tried first. */
static uint32_t find_members(const struct site *site, const struct peri_json_node **found)
{
    const struct peri_model *model = &site->type->model;
    uint32_t extras = 0;
    uint32_t next = 0;
    const struct peri_json_node *key = site->node + 1;
    for (uint32_t i = 0; i < site->node->count; i++) {
        const struct peri_json_node *value = key + 1;
        const struct peri_member *member = NULL;
        if (next < model->count && key->type == PERI_JSON_STRING &&
            is_member(&model->members[next], key->string, key->count))
            member = &model->members[next];
        else
            member = find_member(site, key);
        if (member == NULL) {
            extras++;
        } else {
            uint32_t index = (uint32_t) (member - model->members);
            found[index] = value;
            next = index + 1;
        }
        key = value + value->skip;
    }
    return extras;
}

/* Keys that belong to no field: refused, or kept behind the fields as pairs. */
static bool validate_extras(const struct site *site, uint32_t *kept)
{
    const struct peri_model *model = &site->type->model;
    bool sound = true;
    const struct peri_json_node *key = site->node + 1;
    for (uint32_t i = 0; i < site->node->count; i++) {
        const struct peri_json_node *value = key + 1;
        bool known = find_member(site, key) != NULL;
        struct peri_loc loc = key_loc(site->loc, key);
        if (!known && model->extra == PERI_EXTRA_FORBID) {
            sound = peri_fail_plain(site->run, &loc, value, PERI_ERROR_EXTRA_FORBIDDEN);
        } else if (!known && key->type == PERI_JSON_STRING) {
            add_text(site, text_of(key));
            add(site, PERI_VALUE_RAW)->node = value;
            (*kept)++;
        }
        key = value + value->skip;
    }
    return sound;
}

static bool validate_member(const struct site *site, const struct peri_member *member,
                            const struct peri_json_node *value)
{
    struct peri_loc loc = {.up = site->loc, .name = member->wire.data, .len = member->wire.len};
    if (value != NULL) {
        uint32_t at = site->run->result->count;
        if (!peri_validate(site->run, member->type, value, &loc))
            return false;
        site->run->result->values[at].set = 1;
        return true;
    }
    if (member->type->fallback != NULL) {
        add(site, PERI_VALUE_DEFAULT)->type = member->type;
        return true;
    }
    if (member->type->optional) {
        add(site, PERI_VALUE_NONE);
        return true;
    }
    if (site->run->from_lua && member->type->nullable) {
        add(site, PERI_VALUE_NULL);
        return true;
    }
    return peri_fail_plain(site->run, &loc, site->node, PERI_ERROR_MISSING);
}

static bool fail_model(const struct site *site)
{
    if (site->run->mode == PERI_MODE_REQUEST)
        return fail(site, PERI_ERROR_MODEL_ATTRIBUTES);
    return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_MODEL_TYPE, "class_name",
                          site->type->model.name);
}

static bool validate_model_with(const struct site *site, const struct peri_json_node **found)
{
    const struct peri_model *model = &site->type->model;
    struct peri_run *run = site->run;
    uint32_t extras = 0;
    memset(found, 0, model->count * sizeof(*found));
    if (site->node->type == PERI_JSON_OBJECT)
        extras = find_members(site, found);
    uint32_t start = run->result->count;
    add(site, PERI_VALUE_MODEL)->type = site->type;
    bool sound = true;
    uint32_t set = 0;
    for (uint32_t i = 0; i < model->count; i++) {
        sound = validate_member(site, &model->members[i], found[i]) && sound;
        set += found[i] != NULL;
    }
    uint32_t kept = 0;
    if (extras > 0 && model->extra != PERI_EXTRA_IGNORE)
        sound = validate_extras(site, &kept) && sound;
    if (!sound) {
        run->result->count = start;
        return false;
    }
    run->result->values[start].count = kept;
    run->counted = true;
    run->fields_set += set + kept;
    return true;
}

enum { FEW_MEMBERS = 32 };

static bool validate_model(const struct site *site)
{
    const struct peri_model *model = &site->type->model;
    if (site->node->type != PERI_JSON_OBJECT && site->node->type != PERI_TAPE_EMPTY)
        return fail_model(site);
    peri_run_floor(site->run, PERI_STRICT); /* a new object is no exact match */
    if (model->count <= FEW_MEMBERS) {
        const struct peri_json_node *found[FEW_MEMBERS];
        return validate_model_with(site, found);
    }
    return validate_model_with(
        site, peri_arena_take(&site->run->result->arena,
                              model->count * sizeof(const struct peri_json_node *)));
}

/* -------------------------------------------------------------- the rest --- */

static bool validate_any(const struct site *site)
{
    const struct peri_json_node *node = site->node;
    peri_run_floor(site->run, PERI_STRICT);
    switch (node->type) {
    case PERI_JSON_NULL:
        add(site, PERI_VALUE_NULL);
        break;
    case PERI_JSON_FALSE:
        add(site, PERI_VALUE_FALSE);
        break;
    case PERI_JSON_TRUE:
        add(site, PERI_VALUE_TRUE);
        break;
    case PERI_JSON_INTEGER:
        add(site, PERI_VALUE_INTEGER)->integer = node->integer;
        break;
    case PERI_JSON_NUMBER:
        add(site, PERI_VALUE_NUMBER)->number = node->number;
        break;
    case PERI_JSON_STRING:
    case PERI_TAPE_BYTES:
        return add_text(site, text_of(node));
    case PERI_TAPE_FILE:
        add(site, PERI_VALUE_FILE)->field = (const struct peri_field *) node->string;
        break;
    default:
        add(site, PERI_VALUE_RAW)->node = node;
        break;
    }
    return true;
}

static bool validate_null(const struct site *site)
{
    if (site->node->type != PERI_JSON_NULL)
        return fail(site, PERI_ERROR_NONE_REQUIRED);
    add(site, PERI_VALUE_NULL);
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

static bool validate_file(const struct site *site)
{
    if (site->node->type == PERI_TAPE_FILE) {
        add(site, PERI_VALUE_FILE)->field = (const struct peri_field *) site->node->string;
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

static bool validate_kind(const struct site *site)
{
    switch ((enum peri_kind) site->type->kind) {
    case PERI_KIND_STRING:
        return validate_string(site);
    case PERI_KIND_INTEGER:
        return validate_integer(site);
    case PERI_KIND_NUMBER:
        return validate_number(site);
    case PERI_KIND_BOOLEAN:
        return validate_boolean(site);
    case PERI_KIND_NULL:
        return validate_null(site);
    case PERI_KIND_ANY:
        return validate_any(site);
    case PERI_KIND_BYTES:
        return validate_bytes(site);
    case PERI_KIND_SECRET:
        return validate_secret(site);
    case PERI_KIND_UUID:
        return validate_uuid(site);
    case PERI_KIND_DATETIME:
        return validate_datetime(site);
    case PERI_KIND_DATE:
        return validate_date(site);
    case PERI_KIND_TIME:
        return validate_time(site);
    case PERI_KIND_DURATION:
        return validate_duration(site);
    case PERI_KIND_DECIMAL:
        return validate_decimal(site);
    case PERI_KIND_URL:
        return validate_url(site);
    case PERI_KIND_EMAIL:
        return validate_email(site);
    case PERI_KIND_IPV4:
    case PERI_KIND_IPV6:
        return validate_ip(site);
    case PERI_KIND_ENUM:
        return validate_enum(site);
    case PERI_KIND_LITERAL:
        return validate_literal(site);
    case PERI_KIND_ARRAY:
        return validate_array(site);
    case PERI_KIND_SET:
        return validate_set(site);
    case PERI_KIND_TUPLE:
        return validate_tuple(site);
    case PERI_KIND_MAP:
        return validate_map(site);
    case PERI_KIND_MODEL:
        return validate_model(site);
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

bool peri_validate_inner(struct peri_run *run, const struct peri_type *type,
                         const struct peri_json_node *node, const struct peri_loc *loc)
{
    struct site site = {run, type, node, loc};
    if (run->depth >= PERI_MAX_DEPTH)
        return fail(&site, PERI_ERROR_RECURSION_LOOP);
    run->depth++;
    bool sound = validate_kind(&site);
    run->depth--;
    return sound;
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
static void add_pending(const struct site *site)
{
    struct peri_arena *arena = &site->run->result->arena;
    struct peri_pending *pending = peri_arena_take(arena, sizeof(*pending));
    *pending = (struct peri_pending){
        .type = site->type, .input = site->node, .loc = keep_loc(arena, site->loc)};
    add(site, PERI_VALUE_CHECK)->pending = pending;
}

bool peri_validate(struct peri_run *run, const struct peri_type *type,
                   const struct peri_json_node *node, const struct peri_loc *loc)
{
    struct site site = {run, type, node, loc};
    if (node->type == PERI_JSON_NULL && (type->optional || type->nullable)) {
        add(&site, type->nullable ? PERI_VALUE_NULL : PERI_VALUE_NIL);
        return true;
    }
    if (type->checks == NULL)
        return peri_validate_inner(run, type, node, loc);
    uint32_t start = run->result->count;
    add_pending(&site);
    if (type->checks->before_count > 0) {
        add(&site, PERI_VALUE_RAW)->node = node; /* converted after the first functions ran */
        return true;
    }
    if (peri_validate_inner(run, type, node, loc))
        return true;
    run->result->count = start;
    return false;
}
