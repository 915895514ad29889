/* Values as Python compares them: what makes a set a set and an array unique. */
#include "hash.h"
#include "schema_string.h"

#include <limits.h>
#include <math.h>

/* Values compare by number across integers, floats and booleans. */
static bool number_of(const struct peri_value *value, double *out)
{
    switch (value->kind) {
    case PERI_VALUE_FALSE:
    case PERI_VALUE_TRUE:
        *out = value->kind == PERI_VALUE_TRUE;
        return true;
    case PERI_VALUE_INTEGER:
        *out = (double) value->integer;
        return true;
    case PERI_VALUE_NUMBER:
        *out = value->number;
        return true;
    default:
        return false;
    }
}

uint32_t peri_value_end(const struct peri_result *result, uint32_t at)
{
    /* How many values are still to come, counting those that a container announces. */
    for (uint64_t open = 1; open > 0; at++) {
        const struct peri_value *value = &result->values[at];
        open--;
        if (value->kind == PERI_VALUE_ARRAY)
            open += value->count;
        else if (value->kind == PERI_VALUE_MAP)
            open += 2 * (uint64_t) value->count;
        else if (value->kind == PERI_VALUE_MODEL)
            open += value->type->model.count + 2 * (uint64_t) value->count;
        else if (value->kind == PERI_VALUE_CHECK)
            open += 1;
    }
    return at;
}

/* The order of keys in a RAW object counts here, which a Python dict ignores. */
static bool same_node(const struct peri_json_node *a, const struct peri_json_node *b)
{
    if (a->skip != b->skip)
        return false;
    for (uint32_t i = 0; i < a->skip; i++) {
        if (a[i].type != b[i].type)
            return false;
        bool text = a[i].type == PERI_JSON_STRING || a[i].type == PERI_JSON_BIG;
        if (a[i].count != b[i].count ||
            (text ? memcmp(a[i].string, b[i].string, a[i].count) != 0
                  : a[i].type < PERI_JSON_ARRAY && a[i].integer != b[i].integer))
            return false;
    }
    return true;
}

static bool same_value(const struct peri_value *a, const struct peri_value *b)
{
    double left = 0;
    double right = 0;
    if (number_of(a, &left) && number_of(b, &right)) {
        if (a->kind == PERI_VALUE_INTEGER && b->kind == PERI_VALUE_INTEGER)
            return a->integer == b->integer;
        return left == right;
    }
    if (a->kind != b->kind)
        return false;
    if (peri_value_is_temporal(a)) {
        struct peri_temporal x = peri_value_temporal(a);
        struct peri_temporal y = peri_value_temporal(b);
        return (x.offset == PERI_NAIVE) == (y.offset == PERI_NAIVE) &&
               peri_temporal_compare(&x, &y) == 0;
    }
    switch (a->kind) {
    case PERI_VALUE_STRING:
        return a->count == b->count && memcmp(a->string, b->string, a->count) == 0;
    case PERI_VALUE_ARRAY:
    case PERI_VALUE_MAP:
        return a->count == b->count;
    case PERI_VALUE_MODEL:
        return a->type == b->type && a->count == b->count;
    case PERI_VALUE_RAW:
        return same_node(a->node, b->node);
    default:
        return true;
    }
}

static bool same(const struct peri_result *result, uint32_t a, uint32_t b)
{
    uint32_t end = peri_value_end(result, a);
    if (end - a != peri_value_end(result, b) - b)
        return false;
    for (; a < end; a++, b++) {
        if (!same_value(&result->values[a], &result->values[b]))
            return false;
    }
    return true;
}

/* --- hashing what clients choose -----------------------------------------------------------------
 */

static uint32_t keyed_hash(const void *bytes, size_t len)
{
    return (uint32_t) peri_keyed_hash(bytes, len);
}

static uint32_t hash_number(double number)
{
    number += 0.0; /* -0.0 equals 0.0 */
    return keyed_hash(&number, sizeof(number));
}

/* Of all that same_node() compares. */
static uint32_t hash_node(const struct peri_json_node *node)
{
    uint32_t hashed = 0;
    for (uint32_t i = 0; i < node->skip; i++) {
        uint32_t own = node[i].type + node[i].count;
        if (node[i].type == PERI_JSON_STRING || node[i].type == PERI_JSON_BIG)
            own ^= keyed_hash(node[i].string, node[i].count);
        else if (node[i].type < PERI_JSON_ARRAY)
            own ^= keyed_hash(&node[i].integer, sizeof(node[i].integer));
        hashed = hashed * 31 + own;
    }
    return hashed;
}

/* Equal instants of several offsets are one; naive values are never equal to others. */
static uint32_t hash_temporal(struct peri_temporal temporal)
{
    struct {
        int64_t seconds;
        int64_t micros;
    } key = {temporal.seconds, temporal.micros};
    if (temporal.offset != PERI_NAIVE)
        key.seconds -= (int64_t) temporal.offset * 60;
    return keyed_hash(&key, sizeof(key));
}

static uint32_t hash(const struct peri_result *result, uint32_t at)
{
    uint32_t hashed = 0;
    for (uint32_t end = peri_value_end(result, at); at < end; at++) {
        const struct peri_value *value = &result->values[at];
        double number = 0;
        uint32_t own = value->kind;
        if (number_of(value, &number))
            own = hash_number(number);
        else if (value->kind == PERI_VALUE_STRING)
            own = keyed_hash(value->string, value->count);
        else if (value->kind == PERI_VALUE_ARRAY || value->kind == PERI_VALUE_MAP)
            own += value->count;
        else if (value->kind == PERI_VALUE_RAW)
            own ^= hash_node(value->node);
        else if (peri_value_is_temporal(value))
            own ^= hash_temporal(peri_value_temporal(value));
        hashed = hashed * 31 + own;
    }
    return hashed;
}

void peri_value_set_init(struct peri_value_set *set, struct peri_result *result, uint32_t room)
{
    uint32_t size = 8;
    while (size < 2 * (uint64_t) room)
        size *= 2;
    *set = (struct peri_value_set){.result = result, .mask = size - 1};
    set->slots = peri_arena_take(&result->arena, size * sizeof(*set->slots));
    memset(set->slots, 0, size * sizeof(*set->slots));
}

bool peri_value_set_add(struct peri_value_set *set, uint32_t at)
{
    for (uint32_t slot = hash(set->result, at);; slot++) {
        uint32_t *entry = &set->slots[slot & set->mask];
        if (*entry == 0) {
            *entry = at + 1;
            set->count++;
            return true;
        }
        if (same(set->result, *entry - 1, at))
            return false;
    }
}

bool peri_value_hashable(const struct peri_type *type, const struct peri_value *value)
{
    while (type->kind == PERI_KIND_REF)
        type = type->target;
    switch (value->kind) {
    case PERI_VALUE_MAP:
    case PERI_VALUE_MODEL:
    case PERI_VALUE_RAW:
        return false;
    case PERI_VALUE_ARRAY:
        return type->kind == PERI_KIND_TUPLE; /* frozen; what is inside was refused before */
    default:
        return true;
    }
}

/* --- numbers as keys of Lua's tables -------------------------------------------------------------
 */

enum {
    FEW_KEYS = 4096,     /* cost little, however they fall */
    MAX_STEPS = 1 << 24, /* past keys on the same place: some 50 ms */
};

/* Where Lua keeps a float that is no integer: by its first 31 bits. */
static uint64_t place_of_float(double number)
{
    int exponent = 0;
    double first = frexp(number, &exponent) * 2147483648.0;
    if (!isfinite(first))
        return 0;
    unsigned place = (unsigned) exponent + (unsigned) (int64_t) first;
    return place <= INT_MAX ? place : ~place;
}

static bool place_of(const struct peri_value *key, uint64_t *place)
{
    while (key->kind == PERI_VALUE_CHECK)
        key++;
    if (key->kind == PERI_VALUE_INTEGER)
        *place = (uint64_t) key->integer;
    else if (key->kind != PERI_VALUE_NUMBER)
        return false;
    else if (fabs(key->number) < 0x1p63 && key->number == floor(key->number))
        *place = (uint64_t) (int64_t) key->number;
    else
        *place = place_of_float(key->number);
    return true;
}

bool peri_keys_collide(struct peri_result *result, uint32_t map)
{
    uint32_t count = result->values[map].count;
    if (count < FEW_KEYS)
        return false;
    uint32_t size = FEW_KEYS;
    while (size < count)
        size *= 2;
    uint32_t *places = peri_arena_take(&result->arena, size * sizeof(*places));
    memset(places, 0, size * sizeof(*places));
    uint64_t steps = 0;
    uint32_t at = map + 1;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place = 0;
        if (place_of(&result->values[at], &place))
            steps += places[place % (size - 1)]++;
        at = peri_value_end(result, peri_value_end(result, at));
    }
    return steps > MAX_STEPS;
}
