/* Pydantic's smart unions and its tagged ones. A smart union tries all members and keeps the best:
 * an exact match at once, else the one whose models set most fields, else the least converted one.
 */
#include "schema_string.h"

struct state {
    uint8_t exactness;
    bool counted;
    uint32_t fields_set;
};

static struct state state_of(const struct peri_run *run)
{
    return (struct state){run->exactness, run->counted, run->fields_set};
}

static void set_state(struct peri_run *run, struct state state)
{
    run->exactness = state.exactness;
    run->counted = state.counted;
    run->fields_set = state.fields_set;
}

static bool is_better(const struct state *candidate, const struct state *best)
{
    if (candidate->counted && best->counted && candidate->fields_set != best->fields_set)
        return candidate->fields_set > best->fields_set;
    return candidate->exactness > best->exactness;
}

/* Moves the values from `from` on down to `to`. */
static void move_down(struct peri_result *result, uint32_t to, uint32_t from)
{
    if (to == from)
        return;
    memmove(&result->values[to], &result->values[from],
            (result->count - from) * sizeof(*result->values));
    result->count -= from - to;
}

static void drop_errors(struct peri_result *result, size_t bytes, uint32_t count)
{
    result->errors.len = bytes;
    result->error_count = count;
}

bool peri_validate_union(struct peri_run *run, const struct peri_type *type,
                         const struct peri_json_node *node, const struct peri_loc *loc)
{
    struct peri_result *result = run->result;
    const struct state outer = state_of(run);
    const uint32_t start = result->count;
    const size_t error_bytes = result->errors.len;
    const uint32_t errors = result->error_count;
    struct state best = {0};
    const struct peri_type *chosen = NULL;
    for (uint32_t i = 0; i < type->any_of.count; i++) {
        const struct peri_type *member = type->any_of.members[i];
        struct peri_loc step = {.up = loc, .name = member->label.data, .len = member->label.len};
        /* One member alone is no union to Pydantic. */
        const struct peri_loc *inner = type->any_of.count > 1 ? &step : loc;
        const uint32_t begin = result->count;
        const size_t bytes_before = result->errors.len;
        const uint32_t errors_before = result->error_count;
        if (run->budget == 0) { /* members within members that all fail grow exponentially */
            set_state(run, outer);
            result->count = start;
            return peri_fail_plain(run, loc, node, PERI_ERROR_RECURSION_LOOP);
        }
        run->budget--;
        set_state(run, (struct state){.exactness = PERI_EXACT});
        if (!peri_validate(run, member, node, inner)) {
            if (chosen != NULL)
                drop_errors(result, bytes_before, errors_before);
            continue;
        }
        const struct state candidate = state_of(run);
        if (chosen == NULL || is_better(&candidate, &best)) {
            best = candidate;
            chosen = member;
            move_down(result, start, begin);
        } else {
            result->count = begin;
        }
        if (candidate.exactness == PERI_EXACT && !candidate.counted)
            break;
    }
    set_state(run, outer);
    if (chosen == NULL)
        return false;
    run->chosen = chosen;
    drop_errors(result, error_bytes, errors);
    peri_run_floor(run, best.exactness);
    run->counted = run->counted || best.counted;
    run->fields_set += best.fields_set;
    return true;
}

static bool fail_tag(struct peri_run *run, const struct peri_type *type,
                     const struct peri_json_node *node, const struct peri_loc *loc,
                     const struct peri_json_node *tag)
{
    struct peri_buf text = {0};
    if (tag->type == PERI_JSON_STRING) /* str(), not repr() */
        peri_buf_add(&text, tag->string, tag->count);
    else
        peri_repr_node(&text, tag);
    struct peri_context context[] = {
        {.key = "discriminator", .kind = PERI_CONTEXT_TEXT, .text = type->tagged.shown},
        {.key = "tag", .kind = PERI_CONTEXT_TEXT, .text = {text.data, (uint32_t) text.len}},
        {.key = "expected_tags", .kind = PERI_CONTEXT_TEXT, .text = type->tagged.expected},
    };
    peri_fail(run, loc, node, PERI_ERROR_TAG_INVALID, context, 3);
    peri_buf_deinit(&text);
    return false;
}

bool peri_validate_tagged(struct peri_run *run, const struct peri_type *type,
                          const struct peri_json_node *node, const struct peri_loc *loc)
{
    if (node->type != PERI_JSON_OBJECT && node->type != PERI_TAPE_EMPTY)
        return peri_fail_plain(run, loc, node,
                               run->mode == PERI_MODE_REQUEST ? PERI_ERROR_MODEL_ATTRIBUTES
                                                              : PERI_ERROR_DICT_TYPE);
    const struct peri_json_node *tag = peri_node_find(node, type->tagged.tag);
    if (tag == NULL)
        return peri_fail_text(run, loc, node, PERI_ERROR_TAG_NOT_FOUND, "discriminator",
                              type->tagged.shown);
    const struct peri_case *cases = type->tagged.cases;
    const struct peri_constant *found =
        peri_constant_find(&cases->tag, sizeof(*cases), type->tagged.count, tag);
    if (found == NULL)
        return fail_tag(run, type, node, loc, tag);
    const struct peri_case *chosen = (const struct peri_case *) found; /* tag is its first member */
    struct peri_loc inner = {.up = loc, .index = chosen->tag.integer};
    if (chosen->tag.type == PERI_JSON_STRING) {
        inner.name = chosen->tag.text.data;
        inner.len = chosen->tag.text.len;
    }
    return peri_validate(run, chosen->type, node, &inner);
}
