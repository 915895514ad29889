/* Any bytes: parsed, or refused with a place inside them. What was parsed is written, is parsed
 * again and must be written the same: as text, indented, and through Lua values. */
#include "json_lua.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#define DEPTH 64

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Infinities come from numbers beyond a double, and are written as null. */
static bool is_finite(const struct peri_json_doc *doc)
{
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct peri_json_node *node = &doc->nodes[i];
        if (node->type == PERI_JSON_NUMBER && !isfinite(node->number))
            return false;
        if (node->type == PERI_JSON_BIG && node->count > 300)
            return false;
    }
    return true;
}

static void parse_again(const struct peri_buf *text, struct peri_buf *out)
{
    struct peri_json_doc doc = {0};
    struct peri_json_error error;
    require(peri_json_parse(&doc, text->data, text->len, DEPTH, 0, &error) == 0);
    peri_json_add_node(out, doc.nodes);
    peri_json_doc_deinit(&doc);
}

static void require_equal(const struct peri_buf *a, const struct peri_buf *b)
{
    require(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

static void check_text(const struct peri_json_doc *doc)
{
    struct peri_buf first = {0};
    struct peri_buf second = {0};
    struct peri_buf pretty = {0};
    peri_json_add_node(&first, doc->nodes);
    require(peri_utf8_valid(first.data, first.len) == first.len);
    parse_again(&first, &second);
    require_equal(&first, &second);

    peri_json_add_pretty(&pretty, first.data, first.len);
    second.len = 0;
    parse_again(&pretty, &second);
    require_equal(&first, &second);
    peri_buf_deinit(&first);
    peri_buf_deinit(&second);
    peri_buf_deinit(&pretty);
}

/* Members have another order there, and large integers become floats: one round settles that, and
 * the next one must not change anything but the order, which the length does not know. */
static void check_lua(lua_State *L, const struct peri_json_doc *doc)
{
    struct peri_buf first = {0};
    struct peri_buf second = {0};
    struct peri_json_doc again = {0};
    struct peri_json_error error;
    peri_json_push_node(L, doc->nodes);
    require(peri_json_encode(L, -1, &first) == 0);
    require(peri_json_parse(&again, first.data, first.len, DEPTH, 0, &error) == 0);
    peri_json_push_node(L, again.nodes);
    require(peri_json_encode(L, -1, &second) == 0);
    require(first.len == second.len);
    lua_settop(L, 0);
    peri_json_doc_deinit(&again);
    peri_buf_deinit(&first);
    peri_buf_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct peri_json_doc doc; /* reused, as in the host */
    static lua_State *L;
    if (L == NULL)
        L = luaL_newstate();
    require(L != NULL);

    struct peri_json_error error = {0};
    const char *bytes = (const char *) data;
    if (peri_json_parse(&doc, bytes, size, DEPTH, 0, &error) != 0) {
        require(error.message != NULL && error.byte <= size && error.character <= error.byte);
        return 0;
    }
    require(peri_utf8_valid(bytes, size) == size);
    require(doc.nodes->skip == doc.count);
    check_text(&doc);
    if (is_finite(&doc))
        check_lua(L, &doc);
    return 0;
}
