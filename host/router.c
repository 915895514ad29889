#include "router.h"

#include "buf.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A pattern is a list of steps, one for each path segment; the steps of all patterns form the tree.
 * A step is literal text, found by its hash, or a shape: a list of pieces, tried one after another.
 * From the segment with a `{p:path}` on, the rest of a pattern is one step that may span slashes.
 *
 * A node belongs to one depth of the path, so a match visits it at most once. A shape with more
 * than one piece is matched by dynamic programming. Together this bounds the time of any match. */

enum piece_kind {
    PIECE_LITERAL,
    PIECE_TEXT,   /* [^/]+ */
    PIECE_DIGITS, /* [0-9]+ */
    PIECE_DOT,    /* a dot and the next piece, or neither: the middle of a float */
    PIECE_UUID,
    PIECE_REST, /* .* */
};

#define MAX_PIECES 15 /* one bit each, and one for the end: see match_pieces() */

struct piece {
    enum piece_kind kind;
    bool opens;  /* a parameter begins with it */
    bool closes; /* a parameter ends with it */
    uint32_t len;
    const char *text; /* of a literal */
};

/* In the order of precedence. */
enum step_rank {
    RANK_LITERAL,
    RANK_SPECIFIC, /* literal text around, a converter, or several parameters */
    RANK_TEXT,     /* {p} */
    RANK_REST_SPECIFIC,
    RANK_REST, /* {p:path} */
};

struct step {
    enum step_rank rank;
    unsigned count;
    struct piece pieces[MAX_PIECES];
};

/* A pattern as added. */
struct entry {
    struct peri_route route;
    struct entry *next; /* at the same node, in the order added */
    char *path;
    char *parts; /* a copy of the path: literals and names point into it, names are cut out */
    unsigned param_count;
    const char *names[PERI_ROUTER_MAX_PARAMS];
};

struct literal_edge {
    uint64_t key; /* see add_to_key() */
    const char *text;
    struct node *node; /* NULL: a free slot */
    uint32_t len;
};

struct shape_edge {
    struct step step;
    struct node *node;
};

struct node {
    struct literal_edge *literals; /* a hash table with linear probing */
    uint32_t literal_mask;         /* slots - 1 */
    uint32_t literal_count;
    uint32_t shape_count;
    struct shape_edge *shapes; /* by rank, then in the order added */
    struct entry *entries;
    uint64_t methods; /* of all entries */
};

struct peri_router {
    struct node root; /* stands before the first segment, behind the leading slash */
    struct entry **entries;
    size_t entry_count;
};

/* An app that does not fit into memory while it loads cannot be served: no error to handle. */
static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("perigee: out of memory (routes)\n", stderr);
        abort();
    }
    return memory;
}

/* Reading patterns */

struct parser {
    struct entry *entry;
    char *at; /* in entry->parts */
    char *error;
    size_t error_size;
};

/* Says "<what> in the path '<path>'". */
__attribute__((format(printf, 2, 3))) static int fail(struct parser *parser, const char *format,
                                                      ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(parser->error, parser->error_size, format, args);
    va_end(args);
    size_t len = strlen(parser->error);
    snprintf(parser->error + len, parser->error_size - len, " in the path '%s'",
             parser->entry->path);
    return -1;
}

static int add_piece(struct parser *parser, struct step *step, struct piece piece)
{
    if (step->count == MAX_PIECES)
        return fail(parser, "too many parameters in one segment");
    step->pieces[step->count++] = piece;
    return 0;
}

static int add_converter(struct parser *parser, struct step *step, const char *converter)
{
    if (strcmp(converter, "str") == 0)
        return add_piece(parser, step, (struct piece){PIECE_TEXT, true, true, 0, NULL});
    if (strcmp(converter, "int") == 0)
        return add_piece(parser, step, (struct piece){PIECE_DIGITS, true, true, 0, NULL});
    if (strcmp(converter, "uuid") == 0)
        return add_piece(parser, step, (struct piece){PIECE_UUID, true, true, 0, NULL});
    if (strcmp(converter, "path") == 0)
        return add_piece(parser, step, (struct piece){PIECE_REST, true, true, 0, NULL});
    if (strcmp(converter, "float") != 0)
        return fail(parser, "unknown converter '%s' (known: str int float uuid path)", converter);
    if (add_piece(parser, step, (struct piece){PIECE_DIGITS, true, false, 0, NULL}) < 0 ||
        add_piece(parser, step, (struct piece){PIECE_DOT, false, false, 0, NULL}) < 0)
        return -1;
    return add_piece(parser, step, (struct piece){PIECE_DIGITS, false, true, 0, NULL});
}

static bool is_identifier(const char *text)
{
    if (!isalpha((unsigned char) *text) && *text != '_')
        return false;
    while (isalnum((unsigned char) *text) || *text == '_')
        text++;
    return *text == '\0';
}

/* Reads {name} or {name:converter}. */
static int parse_param(struct parser *parser, struct step *step)
{
    struct entry *entry = parser->entry;
    char *name = parser->at + 1;
    char *end = name + strcspn(name, "{}");
    if (*end != '}')
        return fail(parser, "a '{' without a '}'");
    *end = '\0';
    parser->at = end + 1;

    char *colon = strchr(name, ':');
    if (colon != NULL)
        *colon = '\0';
    if (!is_identifier(name))
        return fail(parser, "a parameter name '%s' that is not an identifier", name);
    for (unsigned i = 0; i < entry->param_count; i++) {
        if (strcmp(entry->names[i], name) == 0)
            return fail(parser, "two parameters named '%s'", name);
    }
    if (step->count > 0 && step->pieces[step->count - 1].kind != PIECE_LITERAL)
        return fail(parser, "no literal text between '%s' and '%s'",
                    entry->names[entry->param_count - 1], name);
    if (entry->param_count == PERI_ROUTER_MAX_PARAMS)
        return fail(parser, "more than %d parameters", PERI_ROUTER_MAX_PARAMS);
    entry->names[entry->param_count++] = name;
    return add_converter(parser, step, colon != NULL ? colon + 1 : "str");
}

static int parse_literal(struct parser *parser, struct step *step, const char *stops)
{
    size_t len = strcspn(parser->at, stops);
    struct piece piece = {PIECE_LITERAL, false, false, (uint32_t) len, parser->at};
    parser->at += len;
    return add_piece(parser, step, piece);
}

static enum step_rank rank_of(const struct step *step, bool rest)
{
    if (rest)
        return step->count == 1 ? RANK_REST : RANK_REST_SPECIFIC;
    if (step->count > 1)
        return RANK_SPECIFIC;
    switch (step->pieces[0].kind) {
    case PIECE_LITERAL:
        return RANK_LITERAL;
    case PIECE_TEXT:
        return RANK_TEXT;
    default:
        return RANK_SPECIFIC;
    }
}

/* Reads one segment, or all that remains when it has a {p:path}. */
static int parse_step(struct parser *parser, struct step *step)
{
    const char *stops = "/{}";
    *step = (struct step){0};
    do {
        if (*parser->at == '}')
            return fail(parser, "a '}' without a '{'");
        if (*parser->at == '{') {
            if (parse_param(parser, step) < 0)
                return -1;
            if (step->pieces[step->count - 1].kind == PIECE_REST)
                stops = "{}";
        } else if (parse_literal(parser, step, stops) < 0) { /* empty for an empty segment */
            return -1;
        }
    } while (*parser->at != '\0' && (*parser->at != '/' || stops[0] != '/'));
    step->rank = rank_of(step, stops[0] != '/');
    return 0;
}

/* Reads a path into steps, for which there is room. Returns their number or -1. */
static int parse_path(struct parser *parser, struct step *steps)
{
    int count = 0;
    if (*parser->at != '/')
        return fail(parser, "no '/' at the beginning");
    while (*parser->at == '/') {
        parser->at++;
        if (parse_step(parser, &steps[count]) < 0)
            return -1;
        count++;
    }
    return count;
}

/* Building the tree */

/* The key of a literal is its last 8 bytes: a segment's is complete when its end is found, and
 * tells a short one entirely. */
static inline uint64_t add_to_key(uint64_t key, char byte)
{
    return key << 8 | (uint8_t) byte;
}

/* The slot with this text, or the free one where it belongs: the table is never full. */
static inline struct literal_edge *literal_slot(const struct node *node, uint64_t key,
                                                const char *text, size_t len)
{
    uint32_t hash = (uint32_t) ((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    for (uint32_t i = hash & node->literal_mask;; i = (i + 1) & node->literal_mask) {
        struct literal_edge *edge = &node->literals[i];
        if (edge->node == NULL || (edge->key == key && edge->len == len &&
                                   (len <= sizeof(key) || memcmp(edge->text, text, len) == 0)))
            return edge;
    }
}

static void grow_literals(struct node *node)
{
    struct node old = *node;
    uint32_t slots = old.literals == NULL ? 2 : (old.literal_mask + 1) * 2;
    node->literals = must(calloc(slots, sizeof(*node->literals)));
    node->literal_mask = slots - 1;
    for (uint32_t i = 0; old.literals != NULL && i <= old.literal_mask; i++) {
        struct literal_edge edge = old.literals[i];
        if (edge.node != NULL)
            *literal_slot(node, edge.key, edge.text, edge.len) = edge;
    }
    free(old.literals);
}

static struct node *literal_child(struct node *node, const struct piece *piece)
{
    uint64_t key = 0;
    for (uint32_t i = 0; i < piece->len; i++)
        key = add_to_key(key, piece->text[i]);
    if (node->literals == NULL || node->literal_count > node->literal_mask / 2)
        grow_literals(node); /* at most half full, so that a miss ends at once */

    struct literal_edge *edge = literal_slot(node, key, piece->text, piece->len);
    if (edge->node == NULL) {
        struct node *child = must(calloc(1, sizeof(*child)));
        *edge = (struct literal_edge){key, piece->text, child, piece->len};
        node->literal_count++;
    }
    return edge->node;
}

static bool same_step(const struct step *a, const struct step *b)
{
    if (a->rank != b->rank || a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        const struct piece *left = &a->pieces[i];
        const struct piece *right = &b->pieces[i];
        if (left->kind != right->kind || left->len != right->len)
            return false;
        if (left->len > 0 && memcmp(left->text, right->text, left->len) != 0)
            return false;
    }
    return true;
}

static struct node *shape_child(struct node *node, const struct step *step)
{
    uint32_t at = 0;
    for (; at < node->shape_count && node->shapes[at].step.rank <= step->rank; at++) {
        if (same_step(&node->shapes[at].step, step))
            return node->shapes[at].node;
    }
    size_t count = node->shape_count++;
    node->shapes = must(realloc(node->shapes, (count + 1) * sizeof(*node->shapes)));
    memmove(&node->shapes[at + 1], &node->shapes[at], (count - at) * sizeof(*node->shapes));
    node->shapes[at] = (struct shape_edge){*step, must(calloc(1, sizeof(struct node)))};
    return node->shapes[at].node;
}

static void insert(struct peri_router *router, struct entry *entry, const struct step *steps,
                   int count)
{
    struct node *node = &router->root;
    for (int i = 0; i < count; i++) {
        if (steps[i].rank == RANK_LITERAL)
            node = literal_child(node, &steps[i].pieces[0]);
        else
            node = shape_child(node, &steps[i]);
    }
    struct entry **last = &node->entries;
    while (*last != NULL)
        last = &(*last)->next;
    *last = entry;
    node->methods |= entry->route.methods;

    size_t size = (router->entry_count + 1) * sizeof(struct entry *);
    router->entries = must(realloc(router->entries, size));
    router->entries[router->entry_count++] = entry;
}

static void free_entry(struct entry *entry)
{
    free(entry->path);
    free(entry->parts);
    free(entry);
}

/* Reads a pattern; adds it unless `router` is NULL. */
static int read_pattern(struct peri_router *router, const char *path, struct peri_route route,
                        char *error, size_t error_size)
{
    struct entry *entry = must(calloc(1, sizeof(*entry)));
    entry->path = must(strdup(path));
    entry->parts = must(strdup(path));
    entry->route = route;
    entry->route.path = entry->path;

    size_t most = 1; /* a step begins at a slash */
    for (const char *at = path; *at != '\0'; at++)
        most += *at == '/';
    struct step *steps = must(calloc(most, sizeof(*steps)));

    struct parser parser = {entry, entry->parts, error, error_size};
    int count = parse_path(&parser, steps);
    if (count < 0 || router == NULL)
        free_entry(entry);
    else
        insert(router, entry, steps, count);
    free(steps);
    return count < 0 ? -1 : 0;
}

int peri_router_add(struct peri_router *router, uint64_t methods, const char *path, void *operation,
                    char *error, size_t error_size)
{
    struct peri_route route = {.methods = methods, .operation = operation};
    return read_pattern(router, path, route, error, error_size);
}

int peri_router_check(const char *path, char *error, size_t error_size)
{
    return read_pattern(NULL, path, (struct peri_route){0}, error, error_size);
}

struct peri_router *peri_router_new(void)
{
    return must(calloc(1, sizeof(struct peri_router)));
}

static void deinit_node(struct node *node)
{
    for (uint32_t i = 0; node->literals != NULL && i <= node->literal_mask; i++) {
        if (node->literals[i].node != NULL) {
            deinit_node(node->literals[i].node);
            free(node->literals[i].node);
        }
    }
    for (uint32_t i = 0; i < node->shape_count; i++) {
        deinit_node(node->shapes[i].node);
        free(node->shapes[i].node);
    }
    free(node->literals);
    free(node->shapes);
}

void peri_router_free(struct peri_router *router)
{
    if (router == NULL)
        return;
    deinit_node(&router->root);
    for (size_t i = 0; i < router->entry_count; i++)
        free_entry(router->entries[i]);
    free(router->entries);
    free(router);
}

/* Matching */

struct search {
    const char *end; /* of the path */
    uint64_t method; /* its bit */
    struct peri_match *match;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool may_contain(enum piece_kind kind, char byte)
{
    switch (kind) {
    case PIECE_TEXT:
        return byte != '/';
    case PIECE_DIGITS:
        return is_digit(byte);
    default:
        return true;
    }
}

static bool all_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at == end;
}

/* The length of the UUID at `at`, each dash optional as in Starlette; 0 when there is none. */
static size_t uuid_len(const char *at, const char *end)
{
    const char *start = at;
    for (unsigned digits = 0; digits < 32; digits++) {
        if (at < end && *at == '-' && (digits == 8 || digits == 12 || digits == 16 || digits == 20))
            at++;
        if (at == end || !isxdigit((unsigned char) *at))
            return 0;
        at++;
    }
    return (size_t) (at - start);
}

static inline void push_param(struct peri_match *match, const char *value, const char *end)
{
    struct peri_param *param = &match->params[match->param_count++];
    param->value = value;
    param->len = (size_t) (end - value);
}

/* Whether the pieces from `i` on match all bytes from `at` on, given the same for later pieces and
 * positions: bit i of masks[p] tells that pieces i and later match everything from position p. */
static bool piece_matches(const struct step *step, unsigned i, const char *at, const char *end,
                          const uint16_t *masks)
{
    const struct piece *piece = &step->pieces[i];
    unsigned next = 1U << (i + 1);
    size_t left = (size_t) (end - at);

    switch (piece->kind) {
    case PIECE_LITERAL:
        return left >= piece->len && (masks[piece->len] & next) != 0 &&
               memcmp(at, piece->text, piece->len) == 0;
    case PIECE_DOT:
        return (masks[0] & next << 1) != 0 || (left > 0 && *at == '.' && (masks[1] & next) != 0);
    case PIECE_UUID: {
        size_t len = uuid_len(at, end);
        return len > 0 && (masks[len] & next) != 0;
    }
    case PIECE_REST:
        return (masks[0] & next) != 0 || (left > 0 && (masks[1] & next >> 1) != 0);
    default: /* at least one byte: here it ends, or it goes on */
        return left > 0 && may_contain(piece->kind, *at) && (masks[1] & (next | next >> 1)) != 0;
    }
}

/* Takes for every parameter in turn the most that lets the later pieces match. */
static void capture(const struct step *step, const char *at, const char *end, const uint16_t *masks,
                    struct peri_match *match)
{
    const char *start = at;
    const char *opened = at;
    for (unsigned i = 0; i < step->count; i++) {
        const struct piece *piece = &step->pieces[i];
        unsigned next = 1U << (i + 1);
        if (piece->opens)
            opened = at;

        switch (piece->kind) {
        case PIECE_LITERAL:
            at += piece->len;
            break;
        case PIECE_DOT:
            if (at < end && *at == '.' && (masks[at - start + 1] & next) != 0)
                at++;
            else
                i++; /* without the fraction */
            break;
        case PIECE_UUID:
            at += uuid_len(at, end);
            break;
        default: {
            const char *last = at;
            for (const char *p = at;; p++) {
                if ((masks[p - start] & next) != 0)
                    last = p;
                if (p == end || !may_contain(piece->kind, *p))
                    break;
            }
            at = last;
        }
        }
        if (step->pieces[i].closes)
            push_param(match, opened, at);
    }
}

/* Matches a step of several pieces: which positions can work is computed from the end backwards, in
 * a time that no path and no pattern can blow up as backtracking would. */
__attribute__((noinline)) static bool match_pieces(const struct step *step, const char *at,
                                                   const char *end, struct peri_match *match)
{
    size_t len = (size_t) (end - at);
    uint16_t masks[len + 1];
    for (size_t p = len + 1; p-- > 0;) {
        masks[p] = p == len ? (uint16_t) (1U << step->count) : 0;
        for (unsigned i = step->count; i-- > 0;) {
            if (piece_matches(step, i, at + p, end, masks + p))
                masks[p] |= (uint16_t) (1U << i);
        }
    }
    if ((masks[0] & 1) == 0)
        return false;
    capture(step, at, end, masks, match);
    return true;
}

/* Matches a shape and takes its parameters. A shape of one segment gets the end of that. */
static inline bool match_shape(const struct step *step, const char *at, const char *end,
                               struct peri_match *match)
{
    bool matches = true;
    if (step->rank == RANK_TEXT)
        matches = at < end; /* a segment has no slash */
    else if (step->count > 1)
        return match_pieces(step, at, end, match);
    else if (step->pieces[0].kind == PIECE_DIGITS)
        matches = at < end && all_digits(at, end);
    else if (step->pieces[0].kind == PIECE_UUID)
        matches = at < end && uuid_len(at, end) == (size_t) (end - at);
    if (matches)
        push_param(match, at, end);
    return matches;
}

/* The path ends at this node: is there an entry for the method? */
static inline bool accept(const struct search *search, const struct node *node)
{
    struct peri_match *match = search->match;
    if ((node->methods & search->method) == 0) {
        match->methods |= node->methods;
        return false;
    }
    const struct entry *entry = node->entries;
    while ((entry->route.methods & search->method) == 0)
        entry = entry->next;
    match->route = &entry->route;
    for (unsigned i = 0; i < entry->param_count; i++)
        match->params[i].name = entry->names[i];
    return true;
}

/* Tries all that can follow `node` with the segment at `at`. Recurses only where there is another
 * way to come back for, as deep as the patterns are; the last way goes on in the loop. */
static bool walk(const struct search *search, const struct node *node, const char *at)
{
    struct peri_match *match = search->match;
    const char *path_end = search->end;

    for (;;) {
        const struct node *next = NULL;
        const unsigned param_count = match->param_count;
        const char *end = at;
        uint64_t key = 0;
        for (; end != path_end && *end != '/'; end++)
            key = add_to_key(key, *end);
        bool is_last = end == path_end;

        if (node->literals != NULL) {
            const struct node *child = literal_slot(node, key, at, (size_t) (end - at))->node;
            if (child != NULL && !is_last && node->shape_count == 0)
                next = child;
            else if (child != NULL &&
                     (is_last ? accept(search, child) : walk(search, child, end + 1)))
                return true;
        }

        for (uint32_t i = 0; i < node->shape_count; i++) {
            const struct shape_edge *edge = &node->shapes[i];
            bool is_rest = edge->step.rank >= RANK_REST_SPECIFIC;
            bool ends = is_last || is_rest;
            match->param_count = param_count;
            if (!match_shape(&edge->step, at, is_rest ? path_end : end, match))
                continue;
            if (!ends && i + 1 == node->shape_count)
                next = edge->node;
            else if (ends ? accept(search, edge->node) : walk(search, edge->node, end + 1))
                return true;
        }
        if (next == NULL)
            return false;
        node = next;
        at = end + 1;
    }
}

enum peri_match_result peri_router_match(const struct peri_router *router, const char *path,
                                         size_t len, unsigned method, struct peri_match *match)
{
    match->route = NULL;
    match->methods = 0;
    match->param_count = 0;
    if (len == 0 || len > PERI_ROUTER_MAX_PATH || path[0] != '/')
        return PERI_MATCH_NONE;

    struct search search = {path + len, PERI_METHOD_BIT(method), match};
    if (walk(&search, &router->root, path + 1))
        return PERI_MATCH_FOUND;
    return match->methods != 0 ? PERI_MATCH_METHOD : PERI_MATCH_NONE;
}

/* Listing */

const struct peri_route *peri_router_route(const struct peri_router *router, size_t index)
{
    return index < router->entry_count ? &router->entries[index]->route : NULL;
}

/* A value that only this kind of parameter, or a wider one, takes: it is no literal text. */
static const char *typical_value(const char *param, const char *end)
{
    const char *colon = memchr(param, ':', (size_t) (end - param));
    switch (colon != NULL ? colon[1] : 's') {
    case 'i':
        return "90210443";
    case 'f':
        return "90210443.71";
    case 'u':
        return "5f0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09";
    case 'p':
        return "\1//\1"; /* no run of other parameters takes an empty segment */
    default:
        return "\1";
    }
}

const struct peri_route *peri_router_shadow(const struct peri_router *router, size_t index,
                                            uint64_t *methods)
{
    const struct peri_route *route = &router->entries[index]->route;
    struct peri_buf path = {0};
    for (const char *at = route->path; *at != '\0'; at++) {
        if (*at != '{') {
            peri_buf_add_byte(&path, *at);
            continue;
        }
        const char *end = strchr(at, '}');
        peri_buf_add_str(&path, typical_value(at, end));
        at = end;
    }

    const struct peri_route *shadow = NULL;
    *methods = 0;
    for (unsigned method = 0; method < 64; method++) {
        struct peri_match match;
        if ((route->methods & PERI_METHOD_BIT(method)) == 0 ||
            peri_router_match(router, path.data, path.len, method, &match) != PERI_MATCH_FOUND ||
            match.route == route || (shadow != NULL && match.route != shadow))
            continue;
        shadow = match.route;
        *methods |= PERI_METHOD_BIT(method);
    }
    peri_buf_deinit(&path);
    return shadow;
}
