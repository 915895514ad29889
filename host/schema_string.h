/* Texts that stand for other values: numbers, booleans, UUIDs, addresses, encoded bytes; and
 * patterns. Everything reads exactly what Pydantic 2 reads and gives its reasons. Pure. */
#ifndef PERI_SCHEMA_STRING_H
#define PERI_SCHEMA_STRING_H

#include "schema_type.h"

/* The character at *at, which is moved behind it; the text is valid UTF-8. */
static inline uint32_t peri_next_point(const char **at, const char *end)
{
    unsigned char lead = (unsigned char) *(*at)++;
    int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    uint32_t point = more == 0 ? lead : lead & (0x3Fu >> more);
    while (more-- > 0 && *at < end)
        point = point << 6 | ((unsigned char) *(*at)++ & 0x3F);
    return point;
}

/* Cuts white space as Unicode defines it from both ends. */
struct peri_text peri_text_trim(struct peri_text text);

/* Appends a text, which is not empty, with its letters in the other case, each by itself: what
 * takes several letters there stays. */
void peri_text_change_case(struct peri_buf *out, struct peri_text text, bool upper);

bool peri_text_equals(struct peri_text a, struct peri_text b);

/* 1, true, t, yes, y, on and their opposites, in any case. */
bool peri_boolean_read(struct peri_text text, bool *out);

/* What nearly everybody sends: digits alone, so few that they fit. */
bool peri_short_integer_read(const char *digits, size_t len, int64_t *out);

enum peri_integer_verdict {
    PERI_INTEGER_OK,
    PERI_INTEGER_BAD,      /* no integer */
    PERI_INTEGER_TOO_LONG, /* more than 4300 digits */
    PERI_INTEGER_POSITIVE, /* an integer above 64 bits */
    PERI_INTEGER_NEGATIVE, /* and below */
};

/* Blanks around it, a plus sign, leading zeros, single underscores and ".000" are allowed. */
enum peri_integer_verdict peri_integer_read(struct peri_text text, int64_t *out);

/* Appends the digits of an integer that this says is beyond 64 bits, as JSON writes it. */
void peri_integer_print(struct peri_buf *out, struct peri_text text);

/* Decimal notation, inf and nan; blanks around it and single underscores are allowed. */
bool peri_float_read(struct peri_text text, double *out);

/* Writes the canonical form. Returns false with the reason in `reason`. */
bool peri_uuid_read(struct peri_text text, char out[36], struct peri_buf *reason);
bool peri_uuid_from_bytes(struct peri_text bytes, char out[36], struct peri_buf *reason);

/* Append the canonical form; false when the text is no address. */
bool peri_ipv4_read(struct peri_text text, struct peri_buf *out);
bool peri_ipv6_read(struct peri_text text, struct peri_buf *out);
void peri_ipv4_print(struct peri_buf *out, uint32_t address);
void peri_ipv6_print(struct peri_buf *out, const uint8_t address[16]);

/* Decode to `out`, which has room for as many bytes as the text has. False with a reason. */
bool peri_base64_read(struct peri_text text, char *out, uint32_t *len, struct peri_buf *reason);
bool peri_hex_read(struct peri_text text, char *out, uint32_t *len, struct peri_buf *reason);
void peri_base64_print(struct peri_buf *out, const char *bytes, size_t len);

/* The normalised URL in `out`, or the reason as a static text. `schemes` of `type` are not checked.
 */
const char *peri_url_read(struct peri_text text, struct peri_buf *out, struct peri_text *scheme,
                          bool *has_host);

/* The ASCII form of a host name; false when it has none. */
bool peri_domain_to_ascii(struct peri_buf *out, struct peri_text name);
/* The same name in lower case, not converted. It is valid UTF-8. */
void peri_domain_fold(struct peri_buf *out, struct peri_text name);
/* An ASCII name with its Punycode labels as they read. */
void peri_domain_to_unicode(struct peri_buf *out, struct peri_text name);

/* The normalised address in `out`, or false with the reason. */
bool peri_email_read(struct peri_text text, struct peri_buf *out, struct peri_buf *reason);

/* Decimals of any size: an optional sign, digits and a power of ten. */
struct peri_decimal {
    bool negative;
    char special;            /* 'N' NaN, 'I' infinity, 0 a number */
    struct peri_text digits; /* without leading zeros; "0" for zero */
    int64_t exponent;
};

/* Appends a text with the digits of other scripts as ASCII, as Python's Decimal() takes them. */
void peri_decimal_fold(struct peri_buf *out, struct peri_text text);
/* The digits may be copied to `room`, which has as many bytes as the text. */
bool peri_decimal_read(struct peri_text text, char *room, struct peri_decimal *out);
/* As Python's str(Decimal). */
void peri_decimal_print(struct peri_buf *out, const struct peri_decimal *decimal);
/* -1, 0, 1; both are numbers. */
int peri_decimal_compare(const struct peri_decimal *a, const struct peri_decimal *b);
bool peri_decimal_divides(const struct peri_decimal *decimal, const struct peri_decimal *unit);

/* Patterns. Compiles one and puts it in front of a program's list; NULL with the reason. */
struct peri_pattern *peri_pattern_new(struct peri_pattern **list, struct peri_text text,
                                      struct peri_buf *reason);
void peri_patterns_free(struct peri_pattern *list);
/* A match that would take too long counts as none, is counted and logged. */
bool peri_pattern_matches(struct peri_pattern *pattern, struct peri_text text);
/* How often that happened in this process. */
unsigned long peri_pattern_failures(void);

#endif
