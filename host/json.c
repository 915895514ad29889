/* Bytes to tape. Strings are scanned eight bytes at a time, UTF-8 is checked on the way, and
 * numbers are left to number.c. The grammar is followed in the order in which Python's json module
 * looks at it, because that decides which error a text gets, and where. Writing is in json_write.c.
 */
#include "json.h"

#include "bytes.h"
#include "json_text.h"
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FEWEST_NODES 64
#define KEPT_NODES 16384 /* tapes beyond go back to the system once small texts follow */
#define KEPT_ARENA 65536
#define MAX_DIGITS 4300 /* Python's limit: printing or comparing more costs quadratic time */

/* ---- bytes and UTF-8 ---- */

static inline const char *skip_ascii(const char *at, const char *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t marks = peri_load_word(at) & PERI_EACH(0x80);
        if (marks != 0)
            return at + (__builtin_ctzll(marks) >> 3);
    }
    while (at < end && (unsigned char) *at < 0x80)
        at++;
    return at;
}

static inline bool in_range(char c, unsigned low, unsigned high)
{
    return (unsigned char) c >= low && (unsigned char) c <= high;
}

unsigned peri_utf8_sequence(const char *at, const char *end)
{
    unsigned char first = (unsigned char) *at;
    ptrdiff_t left = end - at;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    if (first < 0xe0)
        return left >= 2 && in_range(at[1], 0x80, 0xbf) ? 2 : 0;
    if (first < 0xf0) {
        unsigned low = first == 0xe0 ? 0xa0 : 0x80;
        unsigned high = first == 0xed ? 0x9f : 0xbf;
        return left >= 3 && in_range(at[1], low, high) && in_range(at[2], 0x80, 0xbf) ? 3 : 0;
    }
    unsigned low = first == 0xf0 ? 0x90 : 0x80;
    unsigned high = first == 0xf4 ? 0x8f : 0xbf;
    return left >= 4 && in_range(at[1], low, high) && in_range(at[2], 0x80, 0xbf) &&
                   in_range(at[3], 0x80, 0xbf)
               ? 4
               : 0;
}

size_t peri_utf8_valid(const char *bytes, size_t len)
{
    const char *end = bytes + len;
    const char *at = skip_ascii(bytes, end);
    while (at < end) {
        unsigned sequence = peri_utf8_sequence(at, end);
        if (sequence == 0)
            break;
        at = skip_ascii(at + sequence, end);
    }
    return (size_t) (at - bytes);
}

size_t peri_utf8_count(const char *bytes, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += !in_range(bytes[i], 0x80, 0xbf);
    return count;
}

/* Writes a code point that is no surrogate. */
static char *put_utf8(char *out, uint32_t point)
{
    if (point < 0x80) {
        *out++ = (char) point;
        return out;
    }
    if (point < 0x800) {
        *out++ = (char) (0xc0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *out++ = (char) (0xe0 | point >> 12);
        } else {
            *out++ = (char) (0xf0 | point >> 18);
            *out++ = (char) (0x80 | (point >> 12 & 0x3f));
        }
        *out++ = (char) (0x80 | (point >> 6 & 0x3f));
    }
    *out++ = (char) (0x80 | (point & 0x3f));
    return out;
}

/* ---- the tape ---- */

#define NO_PARENT UINT32_MAX

struct parser {
    struct peri_json_doc *doc;
    const char *source;
    const char *end;
    char *unescaped; /* where the next string with escapes goes; NULL before the first one */
    unsigned flags;
    const char *message; /* of the failure, and */
    const char *failed;  /* where in the source */
    bool unreadable;
};

void peri_json_doc_deinit(struct peri_json_doc *doc)
{
    free(doc->nodes);
    free(doc->arena);
    *doc = (struct peri_json_doc){0};
}

_Noreturn void peri_json_out_of_memory(size_t bytes)
{
    fprintf(stderr, "perigee: out of memory (%zu bytes of JSON)\n", bytes);
    abort();
}

static void grow_tape(struct peri_json_doc *doc)
{
    uint32_t cap = doc->cap < FEWEST_NODES ? FEWEST_NODES : doc->cap + doc->cap / 2;
    struct peri_json_node *nodes = realloc(doc->nodes, cap * sizeof(*nodes));
    if (nodes == NULL)
        peri_json_out_of_memory(cap * sizeof(*nodes));
    doc->nodes = nodes;
    doc->cap = cap;
}

static inline struct peri_json_node *add_node(struct parser *parser, enum peri_json_type type,
                                              const char *at)
{
    struct peri_json_doc *doc = parser->doc;
    if (doc->count == doc->cap)
        grow_tape(doc);
    struct peri_json_node *node = &doc->nodes[doc->count++];
    node->type = (uint8_t) type;
    node->ascii = 0;
    node->skip = 1;
    node->count = 0;
    node->at = (uint32_t) (at - parser->source);
    return node;
}

/* Every reader returns where it stopped, or NULL through this. */
__attribute__((cold)) static const char *fail(struct parser *parser, const char *message,
                                              const char *at)
{
    parser->message = message;
    parser->failed = at;
    return NULL;
}

static inline const char *skip_space(const char *at, const char *end)
{
    while (at < end && (unsigned char) *at <= ' ' &&
           (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* ---- strings ---- */

/* A string without escapes, between two quotes. */
static inline void add_string(struct parser *parser, const char *quote, const char *end, bool ascii)
{
    struct peri_json_node *node = add_node(parser, PERI_JSON_STRING, quote);
    node->ascii = ascii;
    node->string = quote + 1;
    node->count = (uint32_t) (end - (quote + 1));
}

/* What may follow a backslash, but for u, and what it stands for. */
static const char escapes[256] = {
    ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
};

/* Reads the four digits behind the u at `at`. As for Python, at least the closing quote must follow
 * them. */
static bool read_hex(struct parser *parser, const char *at, uint32_t *unit)
{
    bool valid = parser->end - at > 5;
    uint32_t value = 0;
    for (int i = 1; valid && i <= 4; i++) {
        char c = at[i];
        uint32_t digit = 16;
        if (in_range(c, '0', '9'))
            digit = (uint32_t) (c - '0');
        else if (in_range(c, 'a', 'f') || in_range(c, 'A', 'F'))
            digit = (uint32_t) ((c | 0x20) - 'a' + 10);
        valid = digit < 16;
        value = value << 4 | digit;
    }
    if (!valid)
        fail(parser, "Invalid \\uXXXX escape", at);
    *unit = value;
    return valid;
}

/* Reads an escape whose u is at `at`, or two that are a surrogate pair. A lone surrogate, which
 * Python lets pass, has no UTF-8 and so no Lua string: it is an error here. */
static const char *read_unicode_escape(struct parser *parser, const char *at, uint32_t *point)
{
    uint32_t high = 0;
    if (!read_hex(parser, at, &high))
        return NULL;
    *point = high;
    if (high < 0xd800 || high > 0xdfff)
        return at + 5;
    if (high < 0xdc00 && parser->end - at > 6 && at[5] == '\\' && at[6] == 'u') {
        uint32_t low = 0;
        if (!read_hex(parser, at + 6, &low))
            return NULL;
        if (low >= 0xdc00 && low <= 0xdfff) {
            *point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return at + 11;
        }
    }
    return fail(parser, "Invalid \\uXXXX escape", at);
}

/* One arena holds all strings with escapes of a text, for unescaping never makes longer. */
static char *unescaped_room(struct parser *parser, const char *at)
{
    if (parser->unescaped == NULL) {
        struct peri_json_doc *doc = parser->doc;
        size_t need = (size_t) (parser->end - at);
        if (doc->arena_cap < need) {
            free(doc->arena);
            doc->arena = malloc(need);
            if (doc->arena == NULL)
                peri_json_out_of_memory(need);
            doc->arena_cap = need;
        }
        parser->unescaped = doc->arena;
    }
    return parser->unescaped;
}

/* Goes on with a string from its first backslash, `at`. */
static const char *read_escaped(struct parser *parser, const char *quote, const char *at,
                                bool ascii)
{
    const char *end = parser->end;
    char *string = unescaped_room(parser, quote);
    char *out = string;
    const char *run = quote + 1; /* what is not copied yet */

    for (;;) {
        if (at == end)
            return fail(parser, "Unterminated string starting at", quote);
        if (*at == '"')
            break;
        if (*at == '\\') {
            memcpy(out, run, (size_t) (at - run));
            out += at - run;
            if (at + 1 == end)
                return fail(parser, "Unterminated string starting at", quote);
            if (at[1] == 'u') {
                uint32_t point = 0;
                at = read_unicode_escape(parser, at + 1, &point);
                if (at == NULL)
                    return NULL;
                out = put_utf8(out, point);
                ascii &= point < 0x80;
            } else {
                char byte = escapes[(unsigned char) at[1]];
                if (byte == 0)
                    return fail(parser, "Invalid \\escape", at);
                *out++ = byte;
                at += 2;
            }
            run = at;
        } else if ((unsigned char) *at < ' ') {
            return fail(parser, "Invalid control character at", at);
        } else {
            unsigned sequence = peri_utf8_sequence(at, end);
            if (sequence == 0)
                return fail(parser, "Invalid UTF-8", at);
            ascii = false;
            at += sequence;
        }
        at = peri_skip_plain(at, end);
    }
    memcpy(out, run, (size_t) (at - run));
    out += at - run;

    struct peri_json_node *node = add_node(parser, PERI_JSON_STRING, quote);
    node->ascii = ascii;
    node->string = string;
    node->count = (uint32_t) (out - string);
    parser->unescaped = out;
    return at + 1;
}

/* Goes on with a string from its first byte that is not plain, `at`, and no quote. */
static const char *read_odd_string(struct parser *parser, const char *quote, const char *at)
{
    const char *end = parser->end;
    bool ascii = true;
    while (at < end && (unsigned char) *at >= 0x80) {
        unsigned sequence = peri_utf8_sequence(at, end);
        if (sequence == 0)
            return fail(parser, "Invalid UTF-8", at);
        ascii = false;
        at = peri_skip_plain(at + sequence, end);
    }
    if (at == end)
        return fail(parser, "Unterminated string starting at", quote);
    if (*at == '\\')
        return read_escaped(parser, quote, at, ascii);
    if (*at != '"')
        return fail(parser, "Invalid control character at", at);
    add_string(parser, quote, at, ascii);
    return at + 1;
}

static inline const char *read_string(struct parser *parser, const char *quote)
{
    const char *at = peri_skip_plain(quote + 1, parser->end);
    if (__builtin_expect(at == parser->end || *at != '"', 0))
        return read_odd_string(parser, quote, at);
    add_string(parser, quote, at, true);
    return at + 1;
}

/* ---- numbers and literals ---- */

static inline bool is_digit(char c)
{
    return (unsigned char) (c - '0') < 10;
}

static inline const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at;
}

static bool starts_with(const char *at, const char *end, const char *word, size_t len)
{
    return (size_t) (end - at) >= len && memcmp(at, word, len) == 0;
}

static const char *read_not_finite(struct parser *parser, const char *at)
{
    static const struct {
        const char *word;
        size_t len;
        double value;
    } words[] = {
        {"NaN", 3, (double) NAN},
        {"Infinity", 8, (double) INFINITY},
        {"-Infinity", 9, (double) -INFINITY},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((parser->flags & PERI_JSON_ALLOW_NAN) != 0 &&
            starts_with(at, parser->end, words[i].word, words[i].len)) {
            add_node(parser, PERI_JSON_NUMBER, at)->number = words[i].value;
            return at + words[i].len;
        }
    }
    return fail(parser, "Expecting value", at);
}

/* Where the fraction and the exponent end that may follow an integer: `at` when there is none. What
 * is no complete fraction or exponent does not belong to the number, as in Python ("1." is "Extra
 * data"). */
static inline const char *skip_fraction(const char *at, const char *end)
{
    if (end - at >= 2 && *at == '.' && is_digit(at[1]))
        at = skip_digits(at + 2, end);
    if (end - at >= 2 && (*at == 'e' || *at == 'E')) {
        const char *digits = at + (at[1] == '+' || at[1] == '-' ? 2 : 1);
        if (digits < end && is_digit(*digits))
            at = skip_digits(digits + 1, end);
    }
    return at;
}

/* `start` is at a digit or a minus. */
static const char *read_number(struct parser *parser, const char *start)
{
    const char *end = parser->end;
    bool negative = *start == '-';
    const char *digits = start + negative;
    const char *at = digits;
    if (at == end || !is_digit(*at))
        return read_not_finite(parser, start);

    uint64_t value = 0; /* wraps where it is not used */
    if (*at == '0') {
        at++;
    } else {
        do
            value = value * 10 + (uint64_t) (*at++ - '0');
        while (at < end && is_digit(*at));
    }
    ptrdiff_t count = at - digits;

    const char *stop = skip_fraction(at, end);
    if (stop != at) {
        double number = peri_number_read(start, (size_t) (stop - start));
        add_node(parser, PERI_JSON_NUMBER, start)->number = number;
        return stop;
    }
    if (count < 19 || (count == 19 && value <= (uint64_t) INT64_MAX + negative)) {
        add_node(parser, PERI_JSON_INTEGER, start)->integer =
            (int64_t) (negative ? 0 - value : value);
        return at;
    }
    if (count > MAX_DIGITS) {
        parser->unreadable = true;
        return fail(parser, "Exceeds the limit (4300 digits) for integer string conversion", start);
    }
    struct peri_json_node *node = add_node(parser, PERI_JSON_BIG, start);
    node->string = start;
    node->count = (uint32_t) (at - start);
    return at;
}

/* A value that holds no others. */
static const char *read_scalar(struct parser *parser, const char *at)
{
    if (at == parser->end)
        return fail(parser, "Expecting value", at);
    switch (*at) {
    case '"':
        return read_string(parser, at);
    case '-':
    case '0' ... '9':
        return read_number(parser, at);
    case 't':
        if (!starts_with(at, parser->end, "true", 4))
            break;
        add_node(parser, PERI_JSON_TRUE, at);
        return at + 4;
    case 'f':
        if (!starts_with(at, parser->end, "false", 5))
            break;
        add_node(parser, PERI_JSON_FALSE, at);
        return at + 5;
    case 'n':
        if (!starts_with(at, parser->end, "null", 4))
            break;
        add_node(parser, PERI_JSON_NULL, at);
        return at + 4;
    default:
        break;
    }
    return read_not_finite(parser, at);
}

/* ---- structure ---- */

/* A key and its colon; `at` is where the key's quote should be. */
static inline const char *read_key(struct parser *parser, const char *at)
{
    const char *end = parser->end;
    if (at == end || *at != '"')
        return fail(parser, "Expecting property name enclosed in double quotes", at);
    at = read_string(parser, at);
    if (at == NULL)
        return NULL;
    if (at < end && *at == ':') /* as nearly everybody writes it */
        return skip_space(at + 1, end);
    at = skip_space(at, end);
    if (at == end || *at != ':')
        return fail(parser, "Expecting ':' delimiter", at);
    return skip_space(at + 1, end);
}

/* While an array or object is open, its `skip` is the index of the one around it: the tape is the
 * stack. Values are read until that chain is empty. */
static const char *read_value(struct parser *parser, const char *at, unsigned max_depth)
{
    struct peri_json_doc *doc = parser->doc;
    const char *end = parser->end;
    uint32_t open = NO_PARENT;
    unsigned depth = 0;

    for (;;) {
        if (at < end && (*at == '{' || *at == '[')) {
            if (depth++ == max_depth) {
                parser->unreadable = true;
                return fail(parser, "Nesting too deep", at);
            }
            bool object = *at == '{';
            add_node(parser, object ? PERI_JSON_OBJECT : PERI_JSON_ARRAY, at)->skip = open;
            open = doc->count - 1;
            at = skip_space(at + 1, end);
            if (at == end || *at != (object ? '}' : ']')) {
                if (object)
                    at = read_key(parser, at);
                if (at == NULL)
                    return NULL;
                continue;
            }
        } else {
            at = read_scalar(parser, at);
            if (at == NULL || open == NO_PARENT)
                return at;
            doc->nodes[open].count++;
            at = skip_space(at, end);
        }

        for (;;) { /* behind a value in `open`, or at the end of an empty one */
            struct peri_json_node *node = &doc->nodes[open];
            bool object = node->type == PERI_JSON_OBJECT;
            char close = object ? '}' : ']';
            if (at < end && *at == ',') {
                const char *comma = at;
                at = skip_space(at + 1, end);
                if (at < end && *at == close)
                    return fail(parser,
                                object ? "Illegal trailing comma before end of object"
                                       : "Illegal trailing comma before end of array",
                                comma);
                if (object)
                    at = read_key(parser, at);
                if (at == NULL)
                    return NULL;
                break;
            }
            if (at == end || *at != close)
                return fail(parser, "Expecting ',' delimiter", at);
            at++;
            uint32_t parent = node->skip;
            node->skip = doc->count - open;
            open = parent;
            depth--;
            if (open == NO_PARENT)
                return at;
            doc->nodes[open].count++;
            at = skip_space(at, end);
        }
    }
}

/* Python decodes all of a text before it parses any of it, so wrong UTF-8 outweighs what comes
 * first. */
static void describe_failure(const struct parser *parser, size_t bom, struct peri_json_error *error)
{
    const char *bytes = parser->source;
    size_t len = (size_t) (parser->end - bytes);
    size_t valid = peri_utf8_valid(bytes, len);
    if (valid < len) {
        error->message = "Invalid UTF-8";
        error->byte = valid;
        error->unreadable = true;
    } else {
        error->message = parser->message;
        error->byte = (size_t) (parser->failed - bytes);
        error->unreadable = parser->unreadable;
    }
    error->character = peri_utf8_count(bytes + bom, error->byte - bom);
}

int peri_json_parse(struct peri_json_doc *doc, const char *bytes, size_t len, unsigned max_depth,
                    unsigned flags, struct peri_json_error *error)
{
    if (len >= UINT32_MAX) { /* what a node can count */
        *error = (struct peri_json_error){.message = "Text too long", .unreadable = true};
        return -1;
    }
    if ((doc->cap > KEPT_NODES && len < KEPT_NODES) ||
        (doc->arena_cap > KEPT_ARENA && len < KEPT_ARENA))
        peri_json_doc_deinit(doc);
    doc->count = 0;

    struct parser parser = {.doc = doc, .source = bytes, .end = bytes + len, .flags = flags};
    size_t bom = starts_with(bytes, parser.end, "\xef\xbb\xbf", 3) ? 3 : 0;
    const char *at = skip_space(bytes + bom, parser.end);
    at = read_value(&parser, at, max_depth < PERI_JSON_MAX_DEPTH ? max_depth : PERI_JSON_MAX_DEPTH);
    if (at != NULL) {
        at = skip_space(at, parser.end);
        if (at == parser.end)
            return 0;
        fail(&parser, "Extra data", at);
    }
    describe_failure(&parser, bom, error);
    return -1;
}

double peri_json_to_double(const char *text, size_t len)
{
    return peri_number_read(text, len);
}
