/* Arrays, sets, tuples and maps. */
#include "schema_site.h"
#include "schema_string.h"

static bool fail_count(const struct peri_site *site, enum peri_error error, const char *what,
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
static bool drop(const struct peri_site *site, uint32_t values, size_t error_bytes, uint32_t errors)
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

bool peri_validate_array(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    const struct peri_json_node *node = site->node;
    struct peri_result *result = site->run->result;
    if (node->type != PERI_JSON_ARRAY && node->type != PERI_TAPE_EMPTY)
        return peri_refuse(site, PERI_ERROR_LIST_TYPE);
    uint32_t count = node->type == PERI_JSON_ARRAY ? node->count : 0;
    if (type->array.has_max && count > type->array.max)
        return fail_count(site, PERI_ERROR_TOO_LONG, "List", type->array.max, count);
    uint32_t start = result->count;
    peri_put(site, PERI_VALUE_ARRAY)->count = count;
    bool sound = true;
    const struct peri_json_node *item = node + 1;
    for (uint32_t i = 0; i < count; i++, item += item->skip) {
        if (peri_take_plain(result, type->array.item, item))
            continue;
        struct peri_loc loc = {.up = site->loc, .index = i};
        sound = peri_validate(site->run, type->array.item, item, &loc) && sound;
    }
    if (sound && type->array.has_min && count < type->array.min)
        sound = fail_count(site, PERI_ERROR_TOO_SHORT, "List", type->array.min, count);
    if (sound && type->array.unique && !is_unique(result, start, count))
        sound = peri_refuse(site, PERI_ERROR_UNIQUE);
    if (!sound)
        result->count = start;
    return sound;
}

bool peri_validate_set(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    const struct peri_json_node *node = site->node;
    struct peri_result *result = site->run->result;
    bool is_list = node->type == PERI_JSON_ARRAY || node->type == PERI_TAPE_EMPTY;
    if (!is_list || (type->strict && site->run->mode != PERI_MODE_JSON))
        return peri_refuse(site, PERI_ERROR_SET_TYPE);
    peri_run_floor(site->run, site->run->mode == PERI_MODE_JSON ? PERI_STRICT : PERI_LAX);
    uint32_t given = node->type == PERI_JSON_ARRAY ? node->count : 0;
    uint32_t start = result->count;
    size_t error_bytes = result->errors.len;
    uint32_t errors = result->error_count;
    peri_put(site, PERI_VALUE_ARRAY);
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

static bool validate_tuple_item(const struct peri_site *site, const struct peri_type *type,
                                const struct peri_json_node *item, uint32_t index)
{
    struct peri_loc loc = {.up = site->loc, .index = index};
    if (item != NULL)
        return peri_validate(site->run, type, item, &loc);
    if (type->fallback == NULL)
        return peri_fail_plain(site->run, &loc, site->node, PERI_ERROR_MISSING);
    peri_put(site, PERI_VALUE_DEFAULT)->type = type;
    return true;
}

bool peri_validate_tuple(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    const struct peri_json_node *node = site->node;
    struct peri_result *result = site->run->result;
    bool is_list = node->type == PERI_JSON_ARRAY || node->type == PERI_TAPE_EMPTY;
    if (!is_list || (type->strict && site->run->mode != PERI_MODE_JSON))
        return peri_refuse(site, PERI_ERROR_TUPLE_TYPE);
    peri_run_floor(site->run, site->run->mode == PERI_MODE_JSON ? PERI_STRICT : PERI_LAX);
    uint32_t given = node->type == PERI_JSON_ARRAY ? node->count : 0;
    if (type->tuple.rest == NULL && given > type->tuple.count)
        return fail_count(site, PERI_ERROR_TOO_LONG, "Tuple", type->tuple.count, given);
    if (type->tuple.has_max && given > type->tuple.max)
        return fail_count(site, PERI_ERROR_TOO_LONG, "Tuple", type->tuple.max, given);
    uint32_t count = given > type->tuple.count ? given : type->tuple.count;
    uint32_t start = result->count;
    peri_put(site, PERI_VALUE_ARRAY)->count = count;
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

/* The entries of a map: those of an object, or of a Lua table that looks like a list because its
 * keys happen to be 1..n. */
struct entries {
    const struct peri_json_node *at;
    uint32_t left;
    bool listed;
    struct peri_json_node index; /* the key of a listed entry */
};

static bool start_entries(const struct peri_site *site, struct entries *entries)
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

static bool fail_collision(const struct peri_site *site)
{
    static const char text[] = "too many keys collide";
    struct peri_context context = {
        .key = "error", .kind = PERI_CONTEXT_ERROR, .text = {text, sizeof(text) - 1}};
    return peri_fail(site->run, site->loc, site->node, PERI_ERROR_VALUE_ERROR, &context, 1);
}

bool peri_validate_map(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    struct peri_result *result = site->run->result;
    struct entries entries;
    if (!start_entries(site, &entries))
        return peri_refuse(site, PERI_ERROR_DICT_TYPE);
    uint32_t start = result->count;
    size_t error_bytes = result->errors.len;
    uint32_t errors = result->error_count;
    peri_put(site, PERI_VALUE_MAP)->count = entries.left;
    bool sound = true;
    uint32_t good = 0;
    const struct peri_json_node *key = NULL;
    const struct peri_json_node *value = NULL;
    while (next_entry(&entries, &key, &value)) {
        struct peri_loc outer = peri_key_loc(site->loc, key);
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
    if (sound && peri_keys_collide(result, start))
        sound = fail_collision(site);
    if (!sound)
        result->count = start;
    return sound;
}
