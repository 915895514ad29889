/* Decimals as Python's decimal module reads, prints and compares them, on texts: no value is ever
 * rounded, and nothing is larger than the text it came from. */
#include "schema_string.h"

#include <strings.h>

#define MAX_EXPONENT 100000000000000000 /* this and larger ones are refused */

/* Where the digits of other scripts start, each at a zero (Unicode 16, general category Nd). */
static const uint32_t zeros[] = {
    0x660,   0x6F0,   0x7C0,   0x966,   0x9E6,   0xA66,   0xAE6,   0xB66,   0xBE6,   0xC66,
    0xCE6,   0xD66,   0xDE6,   0xE50,   0xED0,   0xF20,   0x1040,  0x1090,  0x17E0,  0x1810,
    0x1946,  0x19D0,  0x1A80,  0x1A90,  0x1B50,  0x1BB0,  0x1C40,  0x1C50,  0xA620,  0xA8D0,
    0xA900,  0xA9D0,  0xA9F0,  0xAA50,  0xABF0,  0xFF10,  0x104A0, 0x10D30, 0x10D40, 0x11066,
    0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA,
    0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16A60, 0x16AC0,
    0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0,
    0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
};

/* The digit that a character of another script is; 0 when it is none. */
static char digit_of(uint32_t point)
{
    for (size_t i = 0; i < sizeof(zeros) / sizeof(*zeros) && zeros[i] <= point; i++) {
        if (point - zeros[i] < 10)
            return (char) ('0' + (point - zeros[i]));
    }
    return 0;
}

void peri_decimal_fold(struct peri_buf *out, struct peri_text text)
{
    const char *end = text.data + text.len;
    for (const char *at = text.data; at < end;) {
        const char *start = at;
        char digit = digit_of(peri_next_point(&at, end));
        if (digit != 0)
            peri_buf_add_byte(out, digit);
        else
            peri_buf_add(out, start, (size_t) (at - start));
    }
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_word(struct peri_text text, const char *word)
{
    return strlen(word) == text.len && strncasecmp(text.data, word, text.len) == 0;
}

/* Not a number, quiet or signalling, with digits that say why. */
static bool is_nan(struct peri_text text)
{
    while (text.len > 0 && is_digit(text.data[text.len - 1]))
        text.len--;
    return is_word(text, "nan") || is_word(text, "snan");
}

/* As Python has it, underscores mean nothing, wherever they stand. */
static const char *skip_underscores(const char *at, const char *end)
{
    while (at < end && *at == '_')
        at++;
    return at;
}

/* e[+-]digits up to the end of the text. */
static bool read_exponent(const char *at, const char *end, int64_t *out)
{
    at = skip_underscores(at, end);
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    bool any = false;
    int64_t value = 0;
    for (; at < end; at++) {
        if (*at == '_')
            continue;
        if (!is_digit(*at) || value >= MAX_EXPONENT / 10)
            return false;
        value = value * 10 + (*at - '0');
        any = true;
    }
    *out = negative ? -value : value;
    return any;
}

bool peri_decimal_read(struct peri_text text, char *room, struct peri_decimal *out)
{
    text = peri_text_trim(text);
    *out = (struct peri_decimal){0};
    if (text.len == 0)
        return false;
    const char *end = text.data + text.len;
    const char *at = skip_underscores(text.data, end);
    if (at < end && (*at == '-' || *at == '+'))
        out->negative = *at++ == '-';
    struct peri_text rest = {at, (uint32_t) (end - at)};
    if (is_word(rest, "inf") || is_word(rest, "infinity")) {
        out->special = 'I';
        return true;
    }
    if (is_nan(rest)) {
        out->special = 'N';
        return true;
    }

    bool any = false;
    bool fraction = false;
    uint32_t count = 0;
    for (; at < end; at++) {
        if (*at == '_')
            continue;
        if (*at == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (!is_digit(*at))
            break;
        any = true;
        out->exponent -= fraction;
        if (count > 0 || *at != '0')
            room[count++] = *at;
    }
    if (!any)
        return false;
    if (at < end) {
        int64_t exponent = 0;
        if ((*at != 'e' && *at != 'E') || !read_exponent(at + 1, end, &exponent))
            return false;
        out->exponent += exponent;
    }
    if (count == 0)
        room[count++] = '0';
    out->digits = (struct peri_text){room, count};
    return true;
}

void peri_decimal_print(struct peri_buf *out, const struct peri_decimal *decimal)
{
    if (decimal->negative)
        peri_buf_add_byte(out, '-');
    if (decimal->special != 0) {
        peri_buf_add_str(out, decimal->special == 'I' ? "Infinity" : "NaN");
        return;
    }
    struct peri_text digits = decimal->digits;
    int64_t point = digits.len + decimal->exponent; /* digits before the dot */
    if (decimal->exponent <= 0 && point > -6) {
        if (point <= 0)
            peri_buf_add_lit(out, "0.");
        for (; point < 0; point++)
            peri_buf_add_byte(out, '0');
        uint32_t whole = (uint32_t) point;
        peri_buf_add(out, digits.data, whole);
        if (whole > 0 && whole < digits.len)
            peri_buf_add_byte(out, '.');
        peri_buf_add(out, digits.data + whole, digits.len - whole);
        return;
    }
    peri_buf_add_byte(out, digits.data[0]);
    if (digits.len > 1) {
        peri_buf_add_byte(out, '.');
        peri_buf_add(out, digits.data + 1, digits.len - 1);
    }
    peri_buf_add_byte(out, 'E');
    if (point - 1 >= 0)
        peri_buf_add_byte(out, '+');
    peri_buf_add_int(out, point - 1);
}

static bool is_zero(const struct peri_decimal *decimal)
{
    return decimal->digits.data[0] == '0';
}

/* The sizes of two numbers that are not zero. */
static int compare_size(const struct peri_decimal *a, const struct peri_decimal *b)
{
    int64_t left = a->digits.len + a->exponent;
    int64_t right = b->digits.len + b->exponent;
    if (left != right)
        return left < right ? -1 : 1;
    uint32_t longest = a->digits.len > b->digits.len ? a->digits.len : b->digits.len;
    for (uint32_t i = 0; i < longest; i++) {
        char x = i < a->digits.len ? a->digits.data[i] : '0';
        char y = i < b->digits.len ? b->digits.data[i] : '0';
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

int peri_decimal_compare(const struct peri_decimal *a, const struct peri_decimal *b)
{
    int left = is_zero(a) ? 0 : a->negative ? -1 : 1;
    int right = is_zero(b) ? 0 : b->negative ? -1 : 1;
    if (left != right)
        return left < right ? -1 : 1;
    return left * (left == 0 ? 0 : compare_size(a, b));
}

/* The unit's digits and what of its exponent is left after making the decimal's the same; false
 * when they do not fit 63 bits. */
static bool scaled_unit(const struct peri_decimal *unit, int64_t zeros, uint64_t *out)
{
    uint64_t value = 0;
    for (int64_t i = 0; i < unit->digits.len + zeros; i++) {
        uint64_t digit = i < unit->digits.len ? (uint64_t) (unit->digits.data[i] - '0') : 0;
        if (value > (UINT64_MAX / 2 - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool peri_decimal_divides(const struct peri_decimal *decimal, const struct peri_decimal *unit)
{
    if (is_zero(unit))
        return false;
    if (is_zero(decimal))
        return true;
    /* Both as whole numbers of the finer one's last place. Python computes with 28 digits, and
     * takes a longer quotient for no whole number. */
    int64_t more = decimal->exponent - unit->exponent;
    int64_t quotient_digits = (int64_t) decimal->digits.len - unit->digits.len + more;
    uint64_t divisor = 0;
    if (quotient_digits > 28 || !scaled_unit(unit, more < 0 ? -more : 0, &divisor) || divisor == 0)
        return false;
    unsigned __int128 rest = 0;
    for (int64_t i = 0; i < decimal->digits.len + (more > 0 ? more : 0); i++) {
        uint64_t digit = i < decimal->digits.len ? (uint64_t) (decimal->digits.data[i] - '0') : 0;
        rest = (rest * 10 + digit) % divisor;
    }
    return rest == 0;
}
