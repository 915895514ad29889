/* Literals and enums: values that have to be one of a few. */
#include "schema_site.h"
#include "schema_string.h"

static bool number_of(const struct peri_json_node *node, double *out)
{
    if (node->type == PERI_JSON_NUMBER)
        *out = node->number;
    else if (node->type == PERI_JSON_INTEGER)
        *out = (double) node->integer;
    else if (peri_is_boolean(node))
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
        return peri_text_equals(constant->text, peri_text_of(node));
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

static bool add_constant(const struct peri_site *site, const struct peri_constant *constant)
{
    switch (constant->type) {
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
        peri_put(site, PERI_VALUE_INTEGER)->integer = constant->integer;
        break;
    default:
        return peri_put_text(site, constant->text);
    }
    return true;
}

/* Pydantic looks for integers first, and stumbles over those that are too large. */
static bool is_too_big(const struct peri_site *site)
{
    return site->node->type == PERI_JSON_BIG && site->type->constants.has_integer;
}

bool peri_validate_literal(const struct peri_site *site)
{
    const struct peri_constants *constants = &site->type->constants;
    if (is_too_big(site))
        return peri_refuse(site, PERI_ERROR_INT_SIZE);
    const struct peri_constant *found = peri_constant_find(
        constants->items, sizeof(*constants->items), constants->count, site->node);
    if (found != NULL)
        return add_constant(site, found);
    return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_LITERAL, "expected",
                          constants->expected);
}

/* The same for an enum of integers, which reads texts: the error shows what they say. */
static bool refuse_size_of_text(const struct peri_site *site)
{
    struct peri_buf digits = {0};
    peri_integer_print(&digits, peri_text_of(site->node));
    struct peri_json_node node = {.type = PERI_JSON_BIG,
                                  .skip = 1,
                                  .count = (uint32_t) digits.len,
                                  .string = digits.data,
                                  .ascii = site->node->ascii};
    peri_fail_plain(site->run, site->loc, &node, PERI_ERROR_INT_SIZE);
    peri_buf_deinit(&digits);
    return false;
}

static bool is_too_big_text(const struct peri_site *site)
{
    if (site->type->constants.kind != PERI_JSON_INTEGER || !peri_is_text(site->node))
        return false;
    int64_t integer = 0;
    enum peri_integer_verdict verdict = peri_integer_read(peri_text_of(site->node), &integer);
    return verdict == PERI_INTEGER_POSITIVE || verdict == PERI_INTEGER_NEGATIVE;
}

/* An enum of integers takes what converts to one of them, an enum of strings also bytes. */
static const struct peri_constant *find_enum(const struct peri_site *site)
{
    const struct peri_constants *constants = &site->type->constants;
    struct peri_json_node node = *site->node;
    if (node.type == PERI_TAPE_BYTES && constants->kind == PERI_JSON_STRING)
        node.type = PERI_JSON_STRING;
    if (constants->kind == PERI_JSON_INTEGER && peri_is_text(site->node)) {
        if (peri_integer_read(peri_text_of(site->node), &node.integer) != PERI_INTEGER_OK)
            return NULL;
        node.type = PERI_JSON_INTEGER;
    }
    if (peri_is_boolean(&node) && constants->kind != PERI_JSON_INTEGER) {
        for (uint32_t i = 0; i < constants->count; i++) {
            if (constants->items[i].type == node.type)
                return &constants->items[i];
        }
        return NULL;
    }
    return peri_constant_find(constants->items, sizeof(*constants->items), constants->count, &node);
}

bool peri_validate_enum(const struct peri_site *site)
{
    if (site->type->strict && site->run->mode != PERI_MODE_JSON)
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_IS_INSTANCE_OF, "class",
                              site->type->constants.name);
    peri_run_floor(site->run, PERI_LAX);
    if (is_too_big(site))
        return peri_refuse(site, PERI_ERROR_INT_SIZE);
    const struct peri_constant *found = find_enum(site);
    if (found != NULL)
        return add_constant(site, found);
    if (is_too_big_text(site))
        return refuse_size_of_text(site);
    return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_ENUM, "expected",
                          site->type->constants.expected);
}
