/* Tape to bytes, and the pieces of it: strings, numbers, what human eyes see. */
#include "json.h"

#include "bytes.h"
#include "json_text.h"
#include "number.h"

#include <math.h>
#include <stdlib.h>

static void add_escape(struct peri_buf *out, char c)
{
    static const char names[] = "btn\0fr"; /* of U+0008 and on */
    static const char hex[] = "0123456789abcdef";

    if (c == '"' || c == '\\') {
        peri_buf_add(out, (char[]){'\\', c}, 2);
    } else if (c >= '\b' && c <= '\r' && c != '\v') {
        peri_buf_add(out, (char[]){'\\', names[c - '\b']}, 2);
    } else {
        peri_buf_add_lit(out, "\\u00");
        peri_buf_add(out, (char[]){hex[c >> 4], hex[c & 15]}, 2);
    }
}

/* The rest of a string, from the first byte that is not plain. */
static bool add_special(struct peri_buf *out, const char *at, const char *end)
{
    while (at < end) {
        const char *run = at;
        while (at < end && (unsigned char) *at >= 0x80) {
            unsigned sequence = peri_utf8_sequence(at, end);
            if (sequence == 0)
                return false;
            at = peri_skip_plain(at + sequence, end);
        }
        peri_buf_add(out, run, (size_t) (at - run));
        if (at < end)
            add_escape(out, *at++);
        run = at;
        at = peri_skip_plain(at, end);
        peri_buf_add(out, run, (size_t) (at - run));
    }
    return true;
}

static __attribute__((noinline)) bool add_string_slowly(struct peri_buf *out, const char *bytes,
                                                        size_t len)
{
    size_t start = out->len;
    const char *end = bytes + len;
    const char *at = peri_skip_plain(bytes, end);
    peri_buf_add_byte(out, '"');
    peri_buf_add(out, bytes, (size_t) (at - bytes));
    if (at < end && !add_special(out, at, end)) {
        out->len = start;
        return false;
    }
    peri_buf_add_byte(out, '"');
    return true;
}

/* Calls nothing where the text is plain and there is room: most texts are short. */
bool peri_json_add_string(struct peri_buf *out, const char *bytes, size_t len)
{
    if (__builtin_expect(out->cap - out->len < len + 2 + PERI_WORD, 0)) /* the last one is whole */
        return add_string_slowly(out, bytes, len);
    char *to = out->data + out->len;
    const char *at = bytes;
    size_t rest = len;
    *to++ = '"';
    for (; rest >= PERI_WORD; at += PERI_WORD, to += PERI_WORD, rest -= PERI_WORD) {
        uint64_t word = peri_load_word(at);
        if (peri_mark_special(word) != 0)
            return add_string_slowly(out, bytes, len);
        peri_store_word(to, word);
    }
    uint64_t last = peri_load_rest(at, rest);
    if (peri_mark_special(last | PERI_EACH(' ') << (8 * rest)) != 0)
        return add_string_slowly(out, bytes, len);
    peri_store_word(to, last);
    to[rest] = '"';
    out->len += len + 2;
    return true;
}

void peri_json_add_number(struct peri_buf *out, double value)
{
    if (isfinite(value))
        out->len += peri_number_write(peri_buf_reserve(out, PERI_NUMBER_MAX), value);
    else
        peri_buf_add_lit(out, "null");
}

static bool equal_strings(const struct peri_json_node *a, const struct peri_json_node *b)
{
    return a->count == b->count && peri_bytes_equal(a->string, b->string, a->count);
}

static void add_array(struct peri_buf *out, const struct peri_json_node *array)
{
    const struct peri_json_node *item = array + 1;
    peri_buf_add_byte(out, '[');
    for (uint32_t i = 0; i < array->count; i++) {
        if (i > 0)
            peri_buf_add_byte(out, ',');
        peri_json_add_node(out, item);
        item += item->skip;
    }
    peri_buf_add_byte(out, ']');
}

struct member {
    const struct peri_json_node *key; /* NULL: an earlier member of the same name stands for it */
    const struct peri_json_node *value;
};

static void add_members(struct peri_buf *out, const struct member *members, uint32_t count)
{
    peri_buf_add_byte(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].key == NULL)
            continue;
        if (i > 0) /* the first is never left out */
            peri_buf_add_byte(out, ',');
        peri_json_add_string(out, members[i].key->string, members[i].key->count);
        peri_buf_add_byte(out, ':');
        peri_json_add_node(out, members[i].value);
    }
    peri_buf_add_byte(out, '}');
}

static void list_members(struct member *members, const struct peri_json_node *object)
{
    const struct peri_json_node *key = object + 1;
    for (uint32_t i = 0; i < object->count; i++) {
        members[i] = (struct member){key, key + 1};
        key += 1 + key[1].skip;
    }
}

#define FEW_MEMBERS 16

static void add_small_object(struct peri_buf *out, const struct peri_json_node *object)
{
    struct member members[FEW_MEMBERS];
    list_members(members, object);
    for (uint32_t i = 1; i < object->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (members[j].key != NULL && equal_strings(members[i].key, members[j].key)) {
                members[j].value = members[i].value;
                members[i].key = NULL;
                break;
            }
        }
    }
    add_members(out, members, object->count);
}

/* By name, then by place, which is the order of the nodes in the tape. */
static int compare_members(const void *left, const void *right)
{
    const struct member *a = *(struct member *const *) left;
    const struct member *b = *(struct member *const *) right;
    uint32_t shared = a->key->count < b->key->count ? a->key->count : b->key->count;
    int order = memcmp(a->key->string, b->key->string, shared);
    if (order != 0)
        return order;
    if (a->key->count != b->key->count)
        return a->key->count < b->key->count ? -1 : 1;
    return a->key < b->key ? -1 : 1;
}

/* Sorted rather than hashed: no choice of keys makes it slow. */
static void add_large_object(struct peri_buf *out, const struct peri_json_node *object)
{
    uint32_t count = object->count;
    struct member *members = malloc(count * sizeof(*members));
    struct member **sorted = malloc(count * sizeof(*sorted));
    if (members == NULL || sorted == NULL)
        peri_json_out_of_memory(count * (sizeof(*members) + sizeof(*sorted)));

    list_members(members, object);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &members[i];
    qsort(sorted, count, sizeof(*sorted), compare_members);
    struct member *first = sorted[0];
    for (uint32_t i = 1; i < count; i++) {
        if (!equal_strings(first->key, sorted[i]->key)) {
            first = sorted[i];
            continue;
        }
        first->value = sorted[i]->value;
        sorted[i]->key = NULL;
    }
    add_members(out, members, count);
    free(sorted);
    free(members);
}

void peri_json_add_node(struct peri_buf *out, const struct peri_json_node *node)
{
    switch ((enum peri_json_type) node->type) {
    case PERI_JSON_NULL:
        peri_buf_add_lit(out, "null");
        break;
    case PERI_JSON_FALSE:
        peri_buf_add_lit(out, "false");
        break;
    case PERI_JSON_TRUE:
        peri_buf_add_lit(out, "true");
        break;
    case PERI_JSON_INTEGER:
        peri_buf_add_int(out, node->integer);
        break;
    case PERI_JSON_BIG:
        peri_buf_add(out, node->string, node->count);
        break;
    case PERI_JSON_NUMBER:
        peri_json_add_number(out, node->number);
        break;
    case PERI_JSON_STRING:
        peri_json_add_string(out, node->string, node->count);
        break;
    case PERI_JSON_ARRAY:
        add_array(out, node);
        break;
    case PERI_JSON_OBJECT:
        if (node->count <= FEW_MEMBERS)
            add_small_object(out, node);
        else
            add_large_object(out, node);
        break;
    }
}

static void add_line(struct peri_buf *out, unsigned depth)
{
    peri_buf_add_byte(out, '\n');
    memset(peri_buf_reserve(out, 2 * (size_t) depth), ' ', 2 * (size_t) depth);
    out->len += 2 * (size_t) depth;
}

/* The end of the string whose opening quote is at `at`. */
static const char *skip_string(const char *at)
{
    for (at++; *at != '"'; at++)
        at += *at == '\\';
    return at + 1;
}

void peri_json_add_pretty(struct peri_buf *out, const char *text, size_t len)
{
    const char *end = text + len;
    unsigned depth = 0;
    for (const char *at = text; at < end;) {
        const char *start = at;
        switch (*at) {
        case '"':
            at = skip_string(at);
            peri_buf_add(out, start, (size_t) (at - start));
            continue;
        case '{':
        case '[':
            if (at[1] == '}' || at[1] == ']') {
                peri_buf_add(out, at++, 2);
            } else {
                peri_buf_add_byte(out, *at);
                add_line(out, ++depth);
            }
            break;
        case '}':
        case ']':
            add_line(out, --depth);
            peri_buf_add_byte(out, *at);
            break;
        case ',':
            peri_buf_add_byte(out, ',');
            add_line(out, depth);
            break;
        case ':':
            peri_buf_add_lit(out, ": ");
            break;
        default:
            peri_buf_add_byte(out, *at);
            break;
        }
        at++;
    }
}
