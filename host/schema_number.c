/* Booleans, integers, floats and decimals, as lax and as strict as Pydantic takes them. */
#include "schema_site.h"
#include "schema_string.h"

#include <math.h>

/* --------------------------------------------------------------- numbers --- */

bool peri_validate_boolean(const struct peri_site *site)
{
    const struct peri_json_node *node = site->node;
    bool value = node->type == PERI_JSON_TRUE;
    if (!peri_is_boolean(node)) {
        if (site->type->strict)
            return peri_refuse(site, PERI_ERROR_BOOL_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        double number = 0;
        if (peri_is_text(node)) {
            if (!peri_boolean_read(peri_text_of(node), &value))
                return peri_refuse(site, PERI_ERROR_BOOL_PARSING);
        } else {
            if (node->type == PERI_JSON_INTEGER)
                number = (double) node->integer;
            else if (node->type == PERI_JSON_NUMBER && node->number == trunc(node->number) &&
                     fabs(node->number) < 0x1p63)
                number = node->number;
            else
                return peri_refuse(site, PERI_ERROR_BOOL_TYPE);
            if (number != 0 && number != 1)
                return peri_refuse(site, PERI_ERROR_BOOL_PARSING);
            value = number == 1;
        }
    }
    peri_put(site, value ? PERI_VALUE_TRUE : PERI_VALUE_FALSE);
    return true;
}

static bool check_integer(const struct peri_site *site, int64_t value)
{
    const struct peri_integer_bounds *bounds = &site->type->integer;
    if (bounds->present == 0)
        return true;
    if ((bounds->present & PERI_MULTIPLE) &&
        (bounds->multiple == 0 || (bounds->multiple != -1 && value % bounds->multiple != 0)))
        return peri_refuse_integer(site, PERI_ERROR_MULTIPLE_OF, "multiple_of", bounds->multiple);
    if ((bounds->present & PERI_LE) && value > bounds->le)
        return peri_refuse_integer(site, PERI_ERROR_LESS_EQUAL, "le", bounds->le);
    if ((bounds->present & PERI_LT) && value >= bounds->lt)
        return peri_refuse_integer(site, PERI_ERROR_LESS_THAN, "lt", bounds->lt);
    if ((bounds->present & PERI_GE) && value < bounds->ge)
        return peri_refuse_integer(site, PERI_ERROR_GREATER_EQUAL, "ge", bounds->ge);
    if ((bounds->present & PERI_GT) && value <= bounds->gt)
        return peri_refuse_integer(site, PERI_ERROR_GREATER_THAN, "gt", bounds->gt);
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
static bool fail_big_integer(const struct peri_site *site, struct peri_text digits, bool negative)
{
    const struct peri_integer_bounds *bounds = &site->type->integer;
    if ((bounds->present & PERI_MULTIPLE) && !big_is_multiple(digits, bounds->multiple))
        return peri_refuse_integer(site, PERI_ERROR_MULTIPLE_OF, "multiple_of", bounds->multiple);
    if (!negative && (bounds->present & PERI_LE))
        return peri_refuse_integer(site, PERI_ERROR_LESS_EQUAL, "le", bounds->le);
    if (!negative && (bounds->present & PERI_LT))
        return peri_refuse_integer(site, PERI_ERROR_LESS_THAN, "lt", bounds->lt);
    if (negative && (bounds->present & PERI_GE))
        return peri_refuse_integer(site, PERI_ERROR_GREATER_EQUAL, "ge", bounds->ge);
    if (negative && (bounds->present & PERI_GT))
        return peri_refuse_integer(site, PERI_ERROR_GREATER_THAN, "gt", bounds->gt);
    return peri_refuse(site, PERI_ERROR_INT_SIZE);
}

static bool add_integer(const struct peri_site *site, int64_t integer)
{
    if (!check_integer(site, integer))
        return false;
    peri_put(site, PERI_VALUE_INTEGER)->integer = integer;
    return true;
}

static bool integer_from_text(const struct peri_site *site)
{
    struct peri_text text = peri_text_of(site->node);
    int64_t integer = 0;
    switch (peri_integer_read(text, &integer)) {
    case PERI_INTEGER_OK:
        return add_integer(site, integer);
    case PERI_INTEGER_BAD:
        return peri_refuse(site, PERI_ERROR_INT_PARSING);
    case PERI_INTEGER_TOO_LONG:
        return peri_refuse(site, PERI_ERROR_INT_SIZE);
    case PERI_INTEGER_POSITIVE:
        return fail_big_integer(site, text, false);
    case PERI_INTEGER_NEGATIVE:
        return fail_big_integer(site, text, true);
    }
    return false;
}

bool peri_validate_integer(const struct peri_site *site)
{
    const struct peri_json_node *node = site->node;
    if (node->type == PERI_JSON_INTEGER)
        return add_integer(site, node->integer);
    if (node->type == PERI_JSON_BIG)
        return fail_big_integer(site, peri_text_of(node), node->string[0] == '-');
    if (site->type->strict)
        return peri_refuse(site, PERI_ERROR_INT_TYPE);
    peri_run_floor(site->run, PERI_LAX);
    if (peri_is_text(node))
        return integer_from_text(site);
    if (peri_is_boolean(node))
        return add_integer(site, node->type == PERI_JSON_TRUE);
    if (node->type != PERI_JSON_NUMBER)
        return peri_refuse(site, PERI_ERROR_INT_TYPE);
    if (!isfinite(node->number))
        return peri_refuse(site, PERI_ERROR_FINITE_NUMBER);
    if (node->number != trunc(node->number))
        return peri_refuse(site, PERI_ERROR_INT_FROM_FLOAT);
    if (node->number <= -0x1p63 || node->number >= 0x1p63)
        return peri_refuse(site, PERI_ERROR_INT_SIZE);
    return add_integer(site, (int64_t) node->number);
}

static bool fail_number(const struct peri_site *site, enum peri_error error, const char *key,
                        double number)
{
    struct peri_context context = {.key = key, .kind = PERI_CONTEXT_NUMBER, .number = number};
    return peri_fail(site->run, site->loc, site->node, error, &context, 1);
}

/* NaN breaks every bound. */
static bool check_number(const struct peri_site *site, double value)
{
    const struct peri_number_bounds *bounds = &site->type->number.bounds;
    if (site->type->number.finite && !isfinite(value))
        return peri_refuse(site, PERI_ERROR_FINITE_NUMBER);
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

bool peri_validate_number(const struct peri_site *site)
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
            return peri_refuse(site, PERI_ERROR_FLOAT_TYPE);
    } else {
        if (site->type->strict || (!peri_is_text(node) && !peri_is_boolean(node)))
            return peri_refuse(site, PERI_ERROR_FLOAT_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        if (peri_is_boolean(node))
            value = node->type == PERI_JSON_TRUE;
        else if (!peri_float_read(peri_text_of(node), &value))
            return peri_refuse(site, PERI_ERROR_FLOAT_PARSING);
    }
    if (!check_number(site, value))
        return false;
    peri_put(site, PERI_VALUE_NUMBER)->number = value;
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

static bool check_digits(const struct peri_site *site, const struct peri_decimal *decimal)
{
    const struct peri_decimal_bounds *bounds = &site->type->decimal.bounds;
    struct digit_counts written = count_digits(decimal);
    struct digit_counts normal = count_normal_digits(*decimal);
    if (bounds->check_digits && written.digits > bounds->max_digits &&
        normal.digits > bounds->max_digits)
        return peri_refuse_integer(site, PERI_ERROR_DECIMAL_DIGITS, "max_digits",
                                   bounds->max_digits);
    if (!bounds->check_places)
        return true;
    if (written.places > bounds->places && normal.places > bounds->places)
        return peri_refuse_integer(site, PERI_ERROR_DECIMAL_PLACES, "decimal_places",
                                   bounds->places);
    if (!bounds->check_digits)
        return true;
    int64_t whole = at_least_zero((int64_t) bounds->max_digits - bounds->places);
    if (at_least_zero(written.digits - written.places) > whole &&
        at_least_zero(normal.digits - normal.places) > whole)
        return peri_refuse_integer(site, PERI_ERROR_DECIMAL_WHOLE, "whole_digits", whole);
    return true;
}

/* Bounds are kept as canonical texts. FastAPI shows one without a fraction as an integer. */
static bool break_bound(const struct peri_site *site, enum peri_error error, const char *key,
                        struct peri_text bound)
{
    struct peri_context context = {.key = key, .kind = PERI_CONTEXT_DECIMAL, .text = bound};
    return peri_fail(site->run, site->loc, site->node, error, &context, 1);
}

static bool check_decimal(const struct peri_site *site, const struct peri_decimal *decimal)
{
    const struct peri_decimal_bounds *bounds = &site->type->decimal.bounds;
    if (decimal->special != 0 &&
        (!site->type->decimal.allow_inf_nan || bounds->check_digits || bounds->check_places))
        return peri_refuse(site, PERI_ERROR_FINITE_NUMBER);
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

bool peri_validate_decimal(const struct peri_site *site)
{
    const struct peri_json_node *node = site->node;
    struct peri_buf text = {0};
    if (site->type->strict && site->run->mode != PERI_MODE_JSON)
        return peri_refuse_instance(site, "Decimal");
    peri_run_floor(site->run, PERI_LAX);
    if (node->type == PERI_JSON_STRING && !(node->ascii & PERI_NODE_ASCII))
        peri_decimal_fold(&text, peri_text_of(node));
    else if (node->type == PERI_JSON_STRING || node->type == PERI_JSON_BIG)
        peri_buf_add(&text, node->string, node->count);
    else if (node->type == PERI_JSON_INTEGER)
        peri_buf_add_int(&text, node->integer);
    else if (node->type == PERI_JSON_NUMBER && isfinite(node->number))
        peri_json_add_number(&text, node->number);
    else if (node->type == PERI_JSON_NUMBER)
        peri_buf_add_str(&text, isnan(node->number) ? "nan" : node->number > 0 ? "inf" : "-inf");
    else
        return peri_refuse(site, PERI_ERROR_DECIMAL_TYPE);

    struct peri_decimal decimal;
    char *room = peri_arena_take(&site->run->result->arena, text.len + 1);
    bool sound =
        peri_decimal_read((struct peri_text){text.data, (uint32_t) text.len}, room, &decimal);
    peri_buf_deinit(&text);
    if (!sound)
        return peri_refuse(site, PERI_ERROR_DECIMAL_PARSING);
    if (!check_decimal(site, &decimal))
        return false;
    struct peri_buf out = {0};
    peri_decimal_print(&out, &decimal);
    peri_put_copy(site, &out);
    peri_buf_deinit(&out);
    return true;
}
