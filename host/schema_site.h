/* One value under validation: what nearly every function of the kinds passes on, and how they end.
 */
#ifndef PERI_SCHEMA_SITE_H
#define PERI_SCHEMA_SITE_H

#include "schema_type.h"

struct peri_site {
    struct peri_run *run;
    const struct peri_type *type;
    const struct peri_json_node *node;
    const struct peri_loc *loc;
};

static inline bool peri_refuse(const struct peri_site *site, enum peri_error error)
{
    return peri_fail_plain(site->run, site->loc, site->node, error);
}

static inline bool peri_refuse_text(const struct peri_site *site, enum peri_error error,
                                    const char *key, const char *text)
{
    struct peri_text value = {text, (uint32_t) strlen(text)};
    return peri_fail_text(site->run, site->loc, site->node, error, key, value);
}

static inline bool peri_refuse_integer(const struct peri_site *site, enum peri_error error,
                                       const char *key, int64_t integer)
{
    struct peri_context context = {.key = key, .integer = integer};
    return peri_fail(site->run, site->loc, site->node, error, &context, 1);
}

/* Python's objects of this class cannot come over the wire, so strict types refuse all texts. */
static inline bool peri_refuse_instance(const struct peri_site *site, const char *class)
{
    return peri_refuse_text(site, PERI_ERROR_IS_INSTANCE_OF, "class", class);
}

static inline struct peri_value *peri_put(const struct peri_site *site, uint8_t kind)
{
    return peri_value_add(site->run->result, kind);
}

static inline bool peri_put_text(const struct peri_site *site, struct peri_text text)
{
    struct peri_value *value = peri_put(site, PERI_VALUE_STRING);
    value->string = text.data;
    value->count = text.len;
    return true;
}

/* Moves a text to the result's own memory. */
bool peri_put_copy(const struct peri_site *site, const struct peri_buf *text);

static inline bool peri_is_text(const struct peri_json_node *node)
{
    return node->type == PERI_JSON_STRING || node->type == PERI_TAPE_BYTES;
}

static inline struct peri_text peri_text_of(const struct peri_json_node *node)
{
    return (struct peri_text){node->string, node->count};
}

static inline bool peri_is_boolean(const struct peri_json_node *node)
{
    return node->type == PERI_JSON_TRUE || node->type == PERI_JSON_FALSE;
}

/* The place of a map's or a model's entry. */
static inline struct peri_loc peri_key_loc(const struct peri_loc *up,
                                           const struct peri_json_node *key)
{
    if (key->type == PERI_JSON_INTEGER)
        return (struct peri_loc){.up = up, .index = key->integer};
    return (struct peri_loc){.up = up, .name = key->string, .len = key->count};
}

bool peri_validate_string(const struct peri_site *site);
bool peri_validate_secret(const struct peri_site *site);
bool peri_validate_bytes(const struct peri_site *site);
bool peri_validate_uuid(const struct peri_site *site);
bool peri_validate_url(const struct peri_site *site);
bool peri_validate_email(const struct peri_site *site);
bool peri_validate_ip(const struct peri_site *site);
bool peri_validate_boolean(const struct peri_site *site);
bool peri_validate_integer(const struct peri_site *site);
bool peri_validate_number(const struct peri_site *site);
bool peri_validate_decimal(const struct peri_site *site);
bool peri_validate_datetime(const struct peri_site *site);
bool peri_validate_date(const struct peri_site *site);
bool peri_validate_time(const struct peri_site *site);
bool peri_validate_duration(const struct peri_site *site);
bool peri_validate_literal(const struct peri_site *site);
bool peri_validate_enum(const struct peri_site *site);
bool peri_validate_array(const struct peri_site *site);
bool peri_validate_set(const struct peri_site *site);
bool peri_validate_tuple(const struct peri_site *site);
bool peri_validate_map(const struct peri_site *site);
bool peri_validate_model(const struct peri_site *site);

#endif
