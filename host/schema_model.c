/* Objects with declared members. */
#include "schema_site.h"
#include "schema_string.h"

#include "bytes.h"

uint32_t peri_hash(const char *bytes, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a: keys are short, and no client chooses what is stored (in
                                    sets one does: schema_set.c) */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char) bytes[i]) * 16777619u;
    return hash;
}

static bool is_member(const struct peri_member *member, const char *key, size_t len)
{
    return member->wire.len == len && peri_bytes_equal(member->wire.data, key, len);
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
        if (at->type == PERI_JSON_STRING && peri_text_equals(peri_text_of(at), key))
            found = value;
        at = value + value->skip;
    }
    return found;
}

/* The member of this name in Lua, where it differs from the one on the wire: a value that was
 * validated before has those, and so has what an app writes itself. */
static const struct peri_member *find_by_name(const struct peri_model *model, struct peri_text key)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (model->members[i].has_alias && peri_text_equals(model->members[i].name, key))
            return &model->members[i];
    }
    return NULL;
}

static const struct peri_member *find_member(const struct peri_site *site,
                                             const struct peri_json_node *key)
{
    const struct peri_model *model = &site->type->model;
    if (key->type != PERI_JSON_STRING)
        return NULL;
    const struct peri_member *member = peri_model_find(model, key->string, key->count);
    if (member == NULL && site->run->mode == PERI_MODE_VALUE)
        member = find_by_name(model, peri_text_of(key));
    return member;
}

/* Notes where each member's value stands, and returns how many keys belong to none. Clients mostly
 * send the fields in the order of the declaration, so the next one is tried first. */
static uint32_t find_members(const struct peri_site *site, const struct peri_json_node **found)
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
static bool validate_extras(const struct peri_site *site, uint32_t *kept)
{
    const struct peri_model *model = &site->type->model;
    bool sound = true;
    const struct peri_json_node *key = site->node + 1;
    for (uint32_t i = 0; i < site->node->count; i++) {
        const struct peri_json_node *value = key + 1;
        bool known = find_member(site, key) != NULL;
        struct peri_loc loc = peri_key_loc(site->loc, key);
        if (!known && model->extra == PERI_EXTRA_FORBID) {
            sound = peri_fail_plain(site->run, &loc, value, PERI_ERROR_EXTRA_FORBIDDEN);
        } else if (!known && key->type == PERI_JSON_STRING) {
            peri_put_text(site, peri_text_of(key));
            peri_put(site, PERI_VALUE_RAW)->node = value;
            (*kept)++;
        }
        key = value + value->skip;
    }
    return sound;
}

static bool validate_member(const struct peri_site *site, const struct peri_member *member,
                            const struct peri_json_node *value)
{
    struct peri_loc loc = {.up = site->loc, .name = member->wire.data, .len = member->wire.len};
    if (value != NULL) {
        uint32_t at = site->run->result->count;
        if (!peri_take_plain(site->run->result, member->type, value) &&
            !peri_validate(site->run, member->type, value, &loc))
            return false;
        site->run->result->values[at].set = 1;
        return true;
    }
    if (member->type->fallback != NULL) {
        peri_put(site, PERI_VALUE_DEFAULT)->type = member->type;
        return true;
    }
    if (member->type->optional) {
        peri_put(site, PERI_VALUE_NONE);
        return true;
    }
    if (site->run->from_lua && member->type->nullable) {
        peri_put(site, PERI_VALUE_NULL);
        return true;
    }
    return peri_fail_plain(site->run, &loc, site->node, PERI_ERROR_MISSING);
}

static bool fail_model(const struct peri_site *site)
{
    if (site->run->mode == PERI_MODE_REQUEST)
        return peri_refuse(site, PERI_ERROR_MODEL_ATTRIBUTES);
    return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_MODEL_TYPE, "class_name",
                          site->type->model.name);
}

static bool validate_model_with(const struct peri_site *site, const struct peri_json_node **found)
{
    const struct peri_model *model = &site->type->model;
    struct peri_run *run = site->run;
    uint32_t extras = 0;
    memset(found, 0, model->count * sizeof(*found));
    if (site->node->type == PERI_JSON_OBJECT)
        extras = find_members(site, found);
    uint32_t start = run->result->count;
    peri_put(site, PERI_VALUE_MODEL)->type = site->type;
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

bool peri_validate_model(const struct peri_site *site)
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
