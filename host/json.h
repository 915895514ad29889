/* Strict, lossless JSON (RFC 8259), both ways. Pure: knows no sockets and no Lua.
 *
 * Reading: peri_json_parse() turns bytes into a flat array of nodes (a tape) in one pass.
 * Validation (schema.c) and the making of Lua values (json_lua.c) both walk the tape, so input that
 * turns out to be invalid never touches Lua, and nothing here can raise.
 *
 * The tape: a value is one node followed by the nodes of what it contains. `skip` counts them all,
 * so the next sibling of `node` is `node + node->skip`. An object's members are pairs: a STRING
 * node (the key), then the value. Keys are not deduplicated: of equal keys the last one counts.
 *
 * Strings without escapes point into the source, which must outlive the tape; others into the
 * document's own arena. A doc is reused from request to request and belongs to one thread. */
#ifndef PERI_JSON_H
#define PERI_JSON_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum peri_json_type {
    PERI_JSON_NULL,
    PERI_JSON_FALSE,
    PERI_JSON_TRUE,
    PERI_JSON_INTEGER, /* fits 64 bits: .integer */
    PERI_JSON_BIG,     /* an integer that does not: its digits in .string, .count bytes */
    PERI_JSON_NUMBER,  /* .number; written with a fraction or an exponent */
    PERI_JSON_STRING,  /* .string, .count bytes of valid UTF-8, may hold NUL */
    PERI_JSON_ARRAY,   /* .count items */
    PERI_JSON_OBJECT,  /* .count members */
};

struct peri_json_node {
    uint8_t type;
    uint8_t ascii;  /* STRING: every byte is below 0x80, so bytes are code points */
    uint32_t skip;  /* nodes of this value, itself included */
    uint32_t count; /* items, members or bytes */
    uint32_t at;    /* byte offset of the value in the source */
    union {
        int64_t integer;
        double number;
        const char *string;
    };
};

struct peri_json_doc {
    struct peri_json_node *nodes; /* nodes[0] is the root after a successful parse */
    uint32_t count;
    uint32_t cap;
    char *arena; /* unescaped strings; one allocation as large as the source needs */
    size_t arena_cap;
};

/* Where and why a text is no JSON, in the words of Python's json module (3.13 and later), which
 * FastAPI's users see: "Expecting value", "Expecting property name enclosed in double quotes",
 * "Expecting ',' delimiter", "Expecting ':' delimiter", "Unterminated string starting at", "Invalid
 * control character at", "Invalid \\escape", "Invalid \\uXXXX escape", "Illegal trailing comma
 * before end of object" (or array), "Extra data". Unreadable is what Python meets with other
 * exceptions, so that FastAPI answers 400 to it and not 422: "Invalid UTF-8", "Nesting too deep"
 * and integers of more than 4300 digits. */
struct peri_json_error {
    const char *message; /* static text */
    size_t byte;         /* offset into the source */
    size_t character;    /* the same in code points as Python counts them, without a leading BOM */
    bool unreadable;     /* not a matter of grammar: see above */
};

enum peri_json_flags {
    PERI_JSON_ALLOW_NAN = 1, /* NaN, Infinity and -Infinity are numbers, as in Python's json */
};

#define PERI_JSON_MAX_DEPTH 1024

void peri_json_doc_deinit(struct peri_json_doc *doc);

/* Parses the whole of `bytes`, which may begin with a BOM. Returns 0, or -1 with *error filled.
 * `max_depth` bounds nested arrays and objects; more than PERI_JSON_MAX_DEPTH counts as that much,
 * so that whoever walks a tape may recurse. */
int peri_json_parse(struct peri_json_doc *doc, const char *bytes, size_t len, unsigned max_depth,
                    unsigned flags, struct peri_json_error *error);

/* Writes the value as Python's json.dumps(separators=(",", ":"), ensure_ascii=False) would. Of
 * equal keys the last value stands at the place of the first. */
void peri_json_add_node(struct peri_buf *out, const struct peri_json_node *node);

/* Writes `bytes` between quotes, escaped. Returns false, having written nothing, when they are not
 * UTF-8; who knows that they are may ignore it. */
bool peri_json_add_string(struct peri_buf *out, const char *bytes, size_t len);

/* Writes a text that this file has written (no blanks between its tokens) again for human eyes, as
 * Python's json.dumps(indent=2) would. */
void peri_json_add_pretty(struct peri_buf *out, const char *text, size_t len);

/* The shortest digits that read back as the same double, written as Python's repr() does (1.0,
 * 1e-05, 1e+16). NaN and infinities become null. */
void peri_json_add_number(struct peri_buf *out, double value);

/* The double nearest to a decimal text in JSON's number grammar, correctly rounded, whatever the
 * locale; overflow gives an infinity. */
double peri_json_to_double(const char *text, size_t len);

/* Length of the longest valid UTF-8 prefix; `len` when all of it is valid. */
size_t peri_utf8_valid(const char *bytes, size_t len);

/* Code points in valid UTF-8. */
size_t peri_utf8_count(const char *bytes, size_t len);

#endif
