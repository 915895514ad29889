/* The datetime family: what may be converted, from what, within which bounds. */
#include "schema_site.h"
#include "schema_string.h"

static bool break_temporal(const struct peri_site *site, enum peri_error error, const char *key,
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

static bool add_temporal(const struct peri_site *site, const struct peri_temporal *value)
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
        return peri_refuse_text(
            site, value->kind == PERI_DATE ? PERI_ERROR_DATE_PARSING : PERI_ERROR_DATETIME_PARSING,
            "error", "year 0 is out of range");
    struct peri_value *made = peri_put(site, (uint8_t) (PERI_VALUE_TEMPORAL + value->kind));
    made->offset = value->offset;
    made->count = value->micros;
    made->integer = value->seconds;
    return true;
}

/* Whether the node may be converted at all: in Pydantic's eyes JSON has no temporal values, so a
 * strict type takes them from JSON texts and from Lua's own only. */
static bool may_convert(const struct peri_site *site)
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
    if (peri_is_text(node))
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

bool peri_validate_datetime(const struct peri_site *site)
{
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site) || !read_datetime(site->node, &reason, &value))
        return peri_refuse(site, PERI_ERROR_DATETIME_TYPE);
    if (reason == NULL)
        return add_temporal(site, &value);
    if (!peri_is_text(site->node))
        return peri_refuse_text(site, PERI_ERROR_DATETIME_PARSING, "error", reason);
    /* A date alone is midnight. */
    reason = peri_date_parse(site->node->string, site->node->count, &value);
    if (reason != NULL)
        return peri_refuse_text(site, PERI_ERROR_DATETIME_FROM_DATE, "error", reason);
    value.kind = PERI_DATETIME;
    return add_temporal(site, &value);
}

bool peri_validate_date(const struct peri_site *site)
{
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site))
        return peri_refuse(site, PERI_ERROR_DATE_TYPE);
    if (peri_is_text(site->node)) {
        reason = peri_date_parse(site->node->string, site->node->count, &value);
        if (reason == NULL)
            return add_temporal(site, &value);
    }
    /* A moment at midnight is a date. */
    if (!read_datetime(site->node, &reason, &value))
        return peri_refuse(site, PERI_ERROR_DATE_TYPE);
    if (reason != NULL)
        return peri_refuse_text(site, PERI_ERROR_DATE_FROM_DATETIME, "error", reason);
    if (value.seconds % 86400 != 0 || value.micros != 0)
        return peri_refuse(site, PERI_ERROR_DATE_INEXACT);
    value.kind = PERI_DATE;
    value.offset = PERI_NAIVE;
    return add_temporal(site, &value);
}

bool peri_validate_time(const struct peri_site *site)
{
    const struct peri_json_node *node = site->node;
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site))
        return peri_refuse(site, PERI_ERROR_TIME_TYPE);
    if (peri_is_text(node))
        reason = peri_time_parse(node->string, node->count, &value);
    else if (node->type == PERI_JSON_INTEGER)
        reason = peri_time_from_integer(node->integer, &value);
    else if (node->type == PERI_JSON_NUMBER)
        reason = peri_time_from_number(node->number, &value);
    else if (node->type == PERI_JSON_BIG)
        reason = peri_time_from_number(peri_json_to_double(node->string, node->count), &value);
    else
        return peri_refuse(site, PERI_ERROR_TIME_TYPE);
    return reason == NULL ? add_temporal(site, &value)
                          : peri_refuse_text(site, PERI_ERROR_TIME_PARSING, "error", reason);
}

bool peri_validate_duration(const struct peri_site *site)
{
    const struct peri_json_node *node = site->node;
    struct peri_temporal value;
    const char *reason = NULL;
    if (!may_convert(site))
        return peri_refuse(site, PERI_ERROR_DURATION_TYPE);
    if (peri_is_text(node))
        reason = peri_duration_parse(node->string, node->count, &value);
    else if (node->type == PERI_JSON_INTEGER)
        reason = peri_duration_from_integer(node->integer, &value);
    else if (peri_is_boolean(node))
        reason = peri_duration_from_integer(node->type == PERI_JSON_TRUE, &value);
    else if (node->type == PERI_JSON_NUMBER)
        reason = peri_duration_from_number(node->number, &value);
    else if (node->type == PERI_JSON_BIG)
        reason = peri_duration_from_number(peri_json_to_double(node->string, node->count), &value);
    else
        return peri_refuse(site, PERI_ERROR_DURATION_TYPE);
    return reason == NULL ? add_temporal(site, &value)
                          : peri_refuse_text(site, PERI_ERROR_DURATION_PARSING, "error", reason);
}
