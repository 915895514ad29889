#include "schema_string.h"

#include "log.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

bool peri_text_equals(struct peri_text a, struct peri_text b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* ---------------------------------------------------------------- blanks --- */

/* Bytes of the white space character that starts here; 0 when none does. */
static uint32_t blank_at(const unsigned char *text, uint32_t len)
{
    if (*text == ' ' || (*text >= '\t' && *text <= '\r'))
        return 1;
    if (*text < 0xC2 || len < 2)
        return 0;
    if (text[0] == 0xC2)
        return text[1] == 0x85 || text[1] == 0xA0 ? 2 : 0;
    if (len < 3 || (text[0] & 0xF0) != 0xE0)
        return 0;
    unsigned point = (text[0] & 0x0Fu) << 12 | (text[1] & 0x3Fu) << 6 | (text[2] & 0x3Fu);
    bool blank = point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 ||
                 point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
    return blank ? 3 : 0;
}

struct peri_text peri_text_trim(struct peri_text text)
{
    const unsigned char *bytes = (const unsigned char *) text.data;
    uint32_t start = 0;
    uint32_t end = text.len;
    if (text.len == 0) /* of no bytes at all, maybe */
        return text;
    while (start < end) {
        uint32_t blank = blank_at(bytes + start, end - start);
        if (blank == 0)
            break;
        start += blank;
    }
    while (end > start) {
        uint32_t last = end - 1; /* where the last character starts */
        while (last > start && (bytes[last] & 0xC0) == 0x80)
            last--;
        if (blank_at(bytes + last, end - last) == 0)
            break;
        end = last;
    }
    return (struct peri_text){text.data + start, end - start};
}

/* -------------------------------------------------- booleans and numbers --- */

bool peri_boolean_read(struct peri_text text, bool *out)
{
    static const char *const words[2][6] = {
        {"0", "f", "n", "no", "off", "false"},
        {"1", "t", "y", "on", "yes", "true"},
    };
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 6; i++) {
            if (strlen(words[value][i]) == text.len &&
                strncasecmp(words[value][i], text.data, text.len) == 0) {
                *out = value == 1;
                return true;
            }
        }
    }
    return false;
}

/* [-]digits, no leading zero. */
static enum peri_integer_verdict read_plain_integer(bool negative, struct peri_text digits,
                                                    int64_t *out)
{
    if (digits.len == 0 || (digits.len > 1 && digits.data[0] == '0'))
        return PERI_INTEGER_BAD;
    uint64_t value = 0;
    bool too_big = false;
    for (uint32_t i = 0; i < digits.len; i++) {
        if (!is_digit(digits.data[i]))
            return PERI_INTEGER_BAD;
        too_big = too_big || __builtin_mul_overflow(value, 10, &value) ||
                  __builtin_add_overflow(value, (uint64_t) (digits.data[i] - '0'), &value);
    }
    if (digits.len > 4300)
        return PERI_INTEGER_TOO_LONG;
    if (too_big || value > (uint64_t) INT64_MAX + negative)
        return negative ? PERI_INTEGER_NEGATIVE : PERI_INTEGER_POSITIVE;
    *out = (int64_t) (negative ? 0 - value : value);
    return PERI_INTEGER_OK;
}

/* Cuts leading zeros, and underscores among them; one zero stays. False when it is no number. */
static bool skip_leading_zeros(struct peri_text *text)
{
    if (text->len == 0 || !is_digit(text->data[0]))
        return false;
    if (text->data[0] != '0')
        return true;
    for (uint32_t i = 1; i < text->len; i++) {
        char byte = text->data[i];
        if (byte == '0' || byte == '_')
            continue;
        if (byte != '.' && (byte < '1' || byte > '9'))
            return false;
        uint32_t cut = byte == '.' ? i - 1 : i;
        *text = (struct peri_text){text->data + cut, text->len - cut};
        return true;
    }
    *text = (struct peri_text){text->data + text->len - 1, 1};
    return true;
}

static void cut_zero_fraction(struct peri_text *text)
{
    const char *dot = memchr(text->data, '.', text->len);
    if (dot == NULL || dot == text->data + text->len - 1)
        return;
    for (const char *at = dot + 1; at < text->data + text->len; at++) {
        if (*at != '0')
            return;
    }
    text->len = (uint32_t) (dot - text->data);
}

/* Whether there are underscores, each of them alone and inside. */
static bool has_sound_underscores(struct peri_text text)
{
    bool any = false;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.data[i] != '_')
            continue;
        if (i == 0 || i + 1 == text.len || text.data[i + 1] == '_')
            return false;
        any = true;
    }
    return any;
}

static struct peri_text copy_without_underscores(struct peri_text text, struct peri_buf *room)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.data[i] != '_')
            peri_buf_add_byte(room, text.data[i]);
    }
    return (struct peri_text){room->data, (uint32_t) room->len};
}

bool peri_short_integer_read(const char *digits, size_t len, int64_t *out)
{
    enum { MOST = 18 };
    if (len == 0 || len > MOST || (digits[0] == '0' && len > 1))
        return false;
    int64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(digits[i]))
            return false;
        value = value * 10 + (digits[i] - '0');
    }
    *out = value;
    return true;
}

/* The bare digits of a text, with their sign apart; without underscores they are in `room`. False
 * when they cannot be those of an integer. */
static bool find_digits(struct peri_text text, bool *negative, struct peri_text *digits,
                        struct peri_buf *room)
{
    text = peri_text_trim(text);
    *negative = text.len > 0 && text.data[0] == '-';
    if (*negative || (text.len > 0 && text.data[0] == '+'))
        text = (struct peri_text){text.data + 1, text.len - 1};
    if (!skip_leading_zeros(&text))
        return false;
    cut_zero_fraction(&text);
    *digits = has_sound_underscores(text) ? copy_without_underscores(text, room) : text;
    return true;
}

static __attribute__((noinline)) enum peri_integer_verdict read_long_integer(struct peri_text text,
                                                                             int64_t *out)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    struct peri_text digits = {text.data + negative, text.len - negative};
    enum peri_integer_verdict verdict = read_plain_integer(negative, digits, out);
    if (verdict != PERI_INTEGER_BAD)
        return verdict;

    struct peri_buf room = {0};
    if (find_digits(text, &negative, &digits, &room))
        verdict = read_plain_integer(negative, digits, out);
    peri_buf_deinit(&room);
    return verdict == PERI_INTEGER_TOO_LONG ? PERI_INTEGER_BAD : verdict;
}

void peri_integer_print(struct peri_buf *out, struct peri_text text)
{
    bool negative = false;
    struct peri_buf room = {0};
    if (find_digits(text, &negative, &text, &room)) {
        if (negative)
            peri_buf_add_byte(out, '-');
        peri_buf_add(out, text.data, text.len);
    }
    peri_buf_deinit(&room);
}

enum peri_integer_verdict peri_integer_read(struct peri_text text, int64_t *out)
{
    return peri_short_integer_read(text.data, text.len, out) ? PERI_INTEGER_OK
                                                             : read_long_integer(text, out);
}

static bool is_word(struct peri_text text, const char *word)
{
    return strlen(word) == text.len && strncasecmp(text.data, word, text.len) == 0;
}

/* Rewrites decimal notation in JSON's grammar: a digit on both sides of a dot, no plus sign. */
static bool normalise_float(struct peri_text text, struct peri_buf *out)
{
    const char *at = text.data;
    const char *end = text.data + text.len;
    const char *start = at;
    while (at < end && *at == '0')
        at++;
    const char *digits = at;
    while (at < end && is_digit(*at))
        at++;
    bool any = at > start;
    if (at == digits)
        peri_buf_add_byte(out, '0');
    peri_buf_add(out, digits, (size_t) (at - digits));
    if (at < end && *at == '.') {
        digits = ++at;
        while (at < end && is_digit(*at))
            at++;
        if (at > digits) {
            peri_buf_add_byte(out, '.');
            peri_buf_add(out, digits, (size_t) (at - digits));
            any = true;
        }
    }
    if (any && at < end && (*at == 'e' || *at == 'E')) {
        start = at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        digits = at;
        while (at < end && is_digit(*at))
            at++;
        if (at == digits)
            return false;
        peri_buf_add(out, start, (size_t) (at - start));
    }
    return any && at == end;
}

static bool read_plain_float(struct peri_text text, double *out)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    if (negative || (text.len > 0 && text.data[0] == '+'))
        text = (struct peri_text){text.data + 1, text.len - 1};
    double value = 0;
    if (is_word(text, "inf") || is_word(text, "infinity")) {
        value = INFINITY;
    } else if (is_word(text, "nan")) {
        value = NAN;
    } else {
        struct peri_buf normal = {0};
        bool sound = normalise_float(text, &normal);
        if (sound)
            value = peri_json_to_double(normal.data, normal.len);
        peri_buf_deinit(&normal);
        if (!sound)
            return false;
    }
    *out = negative ? -value : value;
    return true;
}

bool peri_float_read(struct peri_text text, double *out)
{
    if (read_plain_float(peri_text_trim(text), out))
        return true;
    if (!has_sound_underscores(text))
        return false;
    struct peri_buf room = {0};
    bool sound = read_plain_float(copy_without_underscores(text, &room), out);
    peri_buf_deinit(&room);
    return sound;
}

/* ----------------------------------------------------------------- UUIDs --- */

static int hex_value(char byte)
{
    if (is_digit(byte))
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char) (byte + 32) : byte;
}

enum { UUID_GROUPS = 5 };
static const uint32_t group_starts[UUID_GROUPS] = {0, 9, 14, 19, 24};
static const uint32_t group_lengths[UUID_GROUPS] = {8, 4, 4, 4, 12};

/* The part inside braces or behind urn:uuid:, and how many bytes stand before it. */
static struct peri_text uuid_core(struct peri_text text, uint32_t *offset)
{
    static const char urn[] = "urn:uuid:";
    *offset = 0;
    if (text.len >= 2 && text.data[0] == '{' && text.data[text.len - 1] == '}') {
        *offset = 1;
        return (struct peri_text){text.data + 1, text.len - 2};
    }
    if (text.len >= sizeof(urn) - 1 && memcmp(text.data, urn, sizeof(urn) - 1) == 0) {
        *offset = sizeof(urn) - 1;
        return (struct peri_text){text.data + *offset, text.len - *offset};
    }
    return text;
}

/* Why a text is no UUID, in the words of the parser that Pydantic uses. */
static void explain_uuid(struct peri_text text, struct peri_buf *reason)
{
    uint32_t offset = 0;
    struct peri_text core = uuid_core(text, &offset);
    if (core.len == 36) { /* what is around it has been taken off for good */
        text = core;
        offset = 0;
    }
    uint32_t hyphens = 0;
    uint32_t bounds[UUID_GROUPS - 1] = {0};
    if (text.len > 45) {
        peri_buf_addf(reason, "invalid length: found %u", text.len);
        return;
    }
    for (uint32_t i = 0; i < core.len; i++) {
        if (core.data[i] == '-') {
            if (hyphens < UUID_GROUPS - 1)
                bounds[hyphens] = i;
            hyphens++;
        } else if (hex_value(core.data[i]) < 0) {
            uint32_t end = i + 1;
            while (end < core.len && ((unsigned char) core.data[end] & 0xC0) == 0x80)
                end++;
            peri_buf_addf(reason, "invalid character: found `%.*s` at %u", (int) (end - i),
                          core.data + i, i + offset);
            return;
        }
    }
    if (hyphens == 0 && offset == 0 && text.len != 36) {
        peri_buf_addf(reason, "invalid length: found %u", text.len);
        return;
    }
    if (hyphens != UUID_GROUPS - 1) {
        peri_buf_addf(reason, "invalid group count: expected 5, found %u", hyphens + 1);
        return;
    }
    uint32_t group = 0;
    while (group < UUID_GROUPS - 1 && bounds[group] == group_starts[group + 1] - 1)
        group++;
    uint32_t end = group < UUID_GROUPS - 1 ? bounds[group] : text.len;
    peri_buf_addf(reason, "invalid group length in group %u: expected %u, found %u", group,
                  group_lengths[group], end - group_starts[group]);
}

bool peri_uuid_read(struct peri_text text, char out[36], struct peri_buf *reason)
{
    uint32_t offset = 0;
    struct peri_text core = uuid_core(text, &offset);
    bool simple = core.len == 32 && offset == 0;
    bool sound = core.len == 36 || simple;
    uint32_t at = 0;
    for (uint32_t group = 0; sound && group < UUID_GROUPS; group++) {
        uint32_t start = group_starts[group];
        if (group > 0) {
            sound = simple || core.data[at++] == '-';
            out[start - 1] = '-';
        }
        for (uint32_t i = 0; sound && i < group_lengths[group]; i++, at++) {
            sound = hex_value(core.data[at]) >= 0;
            out[start + i] = lower(core.data[at]);
        }
    }
    if (!sound)
        explain_uuid(text, reason);
    return sound;
}

bool peri_uuid_from_bytes(struct peri_text bytes, char out[36], struct peri_buf *reason)
{
    static const char digits[] = "0123456789abcdef";
    struct peri_buf ignored = {0};
    bool sound = peri_uuid_read(bytes, out, &ignored);
    peri_buf_deinit(&ignored);
    if (sound)
        return true;
    if (bytes.len != 16) {
        peri_buf_addf(reason, "invalid length: expected 16 bytes, found %u", bytes.len);
        return false;
    }
    uint32_t at = 0;
    for (uint32_t group = 0; group < UUID_GROUPS; group++) {
        if (group > 0)
            out[group_starts[group] - 1] = '-';
        for (uint32_t i = 0; i < group_lengths[group]; i += 2, at++) {
            unsigned char byte = (unsigned char) bytes.data[at];
            out[group_starts[group] + i] = digits[byte >> 4];
            out[group_starts[group] + i + 1] = digits[byte & 15];
        }
    }
    return true;
}

/* ------------------------------------------------------------- addresses --- */

/* Four numbers without leading zeros (Python refuses them: they are octal elsewhere). */
static bool read_ipv4(struct peri_text text, uint32_t *out)
{
    uint32_t address = 0;
    uint32_t at = 0;
    for (int part = 0; part < 4; part++) {
        if (part > 0 && (at >= text.len || text.data[at++] != '.'))
            return false;
        uint32_t start = at;
        unsigned value = 0;
        while (at < text.len && is_digit(text.data[at]) && at - start < 3)
            value = value * 10 + (unsigned) (text.data[at++] - '0');
        if (at == start || value > 255 || (at - start > 1 && text.data[start] == '0'))
            return false;
        address = address << 8 | value;
    }
    *out = address;
    return at == text.len;
}

void peri_ipv4_print(struct peri_buf *out, uint32_t address)
{
    peri_buf_addf(out, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
                  address & 255);
}

bool peri_ipv4_read(struct peri_text text, struct peri_buf *out)
{
    uint32_t address = 0;
    if (!read_ipv4(text, &address))
        return false;
    peri_ipv4_print(out, address);
    return true;
}

/* The longest run of two or more zero groups becomes "::". */
void peri_ipv6_print(struct peri_buf *out, const uint8_t address[16])
{
    unsigned groups[8];
    int best = -1;
    int best_len = 1;
    for (int i = 0; i < 8; i++)
        groups[i] = (unsigned) address[(size_t) 2 * i] << 8 | address[(size_t) 2 * i + 1];
    for (int i = 0, run = 0; i < 8; i++) {
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > best_len) {
            best_len = run;
            best = i - run + 1;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            peri_buf_add_lit(out, "::");
            i += best_len - 1;
            continue;
        }
        peri_buf_addf(out, i > 0 && i != best + best_len ? ":%x" : "%x", groups[i]);
    }
}

/* One group of hex digits; -1 when there is none. */
static int read_group(struct peri_text text, uint32_t *at)
{
    uint32_t start = *at;
    int value = 0;
    while (*at < text.len && *at - start < 4 && hex_value(text.data[*at]) >= 0)
        value = value << 4 | hex_value(text.data[(*at)++]);
    return *at > start ? value : -1;
}

static bool read_ipv6(struct peri_text text, uint8_t out[16])
{
    unsigned groups[8] = {0};
    int count = 0;
    int gap = -1; /* how many groups stand before "::" */
    uint32_t at = 0;
    if (text.len >= 2 && text.data[0] == ':' && text.data[1] == ':') {
        gap = 0;
        at = 2;
    }
    while (at < text.len) {
        if (count == 8)
            return false;
        uint32_t ipv4 = 0;
        if (count <= 6 && read_ipv4((struct peri_text){text.data + at, text.len - at}, &ipv4)) {
            groups[count++] = ipv4 >> 16;
            groups[count++] = ipv4 & 0xFFFF;
            break;
        }
        int group = read_group(text, &at);
        if (group < 0)
            return false;
        groups[count++] = (unsigned) group;
        if (at == text.len)
            break;
        if (text.data[at++] != ':' || at == text.len)
            return false;
        if (text.data[at] == ':') {
            if (gap >= 0)
                return false;
            gap = count;
            at++;
        }
    }
    if (gap < 0 ? count != 8 : count > 7)
        return false;
    memset(out, 0, 16);
    for (int i = 0; i < count; i++) {
        size_t place = (size_t) (gap >= 0 && i >= gap ? 8 - count + i : i);
        out[2 * place] = (uint8_t) (groups[i] >> 8);
        out[2 * place + 1] = (uint8_t) groups[i];
    }
    return true;
}

bool peri_ipv6_read(struct peri_text text, struct peri_buf *out)
{
    uint8_t address[16];
    const char *zone = memchr(text.data, '%', text.len);
    struct peri_text bare = text;
    if (zone != NULL) {
        bare.len = (uint32_t) (zone - text.data);
        uint32_t zone_len = text.len - bare.len - 1;
        if (zone_len == 0 || memchr(zone + 1, '%', zone_len) != NULL)
            return false;
    }
    if (!read_ipv6(bare, address))
        return false;
    peri_ipv6_print(out, address);
    peri_buf_add(out, text.data + bare.len, text.len - bare.len);
    return true;
}

/* --------------------------------------------------------- encoded bytes --- */

/* The URL-safe alphabet is Pydantic's own; the other one is read as well. */
static int base64_value(unsigned char byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    return byte == '-' || byte == '+' ? 62 : byte == '_' || byte == '/' ? 63 : -1;
}

static bool bad_last_symbol(struct peri_text text, uint32_t at, int value, struct peri_buf *reason)
{
    char bits[9];
    for (int i = 0; i < 8; i++)
        bits[i] = value & (0x80 >> i) ? '1' : '0';
    bits[8] = '\0';
    peri_buf_addf(reason, "Invalid last symbol 0x%x ('%c') at offset %u, decoded as 0b%s.",
                  (unsigned) text.data[at], text.data[at], at, bits);
    return false;
}

bool peri_base64_read(struct peri_text text, char *out, uint32_t *len, struct peri_buf *reason)
{
    uint32_t symbols = text.len;
    while (symbols > 0 && text.len - symbols < 2 && text.data[symbols - 1] == '=')
        symbols--;
    uint32_t bits = 0;
    uint32_t held = 0;
    *len = 0;
    for (uint32_t i = 0; i < symbols; i++) {
        int value = base64_value((unsigned char) text.data[i]);
        if (value < 0) {
            peri_buf_addf(reason, "Invalid symbol %u, offset %u.", (unsigned char) text.data[i], i);
            return false;
        }
        bits = bits << 6 | (uint32_t) value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[(*len)++] = (char) (bits >> held);
        }
    }
    if (symbols % 4 == 1) {
        peri_buf_addf(reason, "Invalid input length: %u", text.len);
        return false;
    }
    if (held > 0 && (bits & ((1u << held) - 1)) != 0)
        return bad_last_symbol(text, symbols - 1,
                               base64_value((unsigned char) text.data[symbols - 1]), reason);
    if (text.len % 4 != 0 && text.len != symbols) {
        peri_buf_add_lit(reason, "Invalid padding");
        return false;
    }
    return true;
}

void peri_base64_print(struct peri_buf *out, const char *bytes, size_t len)
{
    static const char symbols[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < have ? (unsigned char) bytes[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            peri_buf_add_byte(out, j <= have ? symbols[bits >> (18 - 6 * j) & 63] : '=');
    }
}

bool peri_hex_read(struct peri_text text, char *out, uint32_t *len, struct peri_buf *reason)
{
    if (text.len % 2 != 0) {
        peri_buf_add_lit(reason, "Odd number of digits");
        return false;
    }
    *len = text.len / 2;
    for (uint32_t i = 0; i < text.len; i++) {
        int value = hex_value(text.data[i]);
        if (value < 0) {
            peri_buf_addf(reason, "Invalid character '%c' at position %u", text.data[i], i);
            return false;
        }
        out[i / 2] = (char) (i % 2 == 0 ? value << 4 : out[i / 2] | value);
    }
    return true;
}

/* -------------------------------------------------------------- patterns --- */

/* Pydantic's patterns are those of Rust's regex, in linear time; PCRE2 backtracks, so it gets
 * limits that no sensible pattern meets. Differences that remain: look-around and back references,
 * which Rust refuses, work here; \z and named groups are spelled alike; $ means the very end in
 * both. */
enum {
    MATCH_LIMIT = 1000000,
    DEPTH_LIMIT = 100000,
    JIT_STACK_START = 32 * 1024,
    JIT_STACK_BYTES = 512 * 1024,
};

struct peri_pattern {
    struct peri_pattern *next; /* of the same program */
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    bool logged;
    char source[];
};

static atomic_ulong failures;

unsigned long peri_pattern_failures(void)
{
    return atomic_load(&failures);
}

/* By the tables of Unicode that PCRE2 brings. */
void peri_text_change_case(struct peri_buf *out, struct peri_text text, bool upper)
{
    int error = 0;
    PCRE2_SIZE at = 0;
    const char *replacement = upper ? "\\U$0" : "\\L$0";
    pcre2_code *code = pcre2_compile((PCRE2_SPTR) "(?s).+", PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &at, NULL);
    PCRE2_SIZE len = 2 * (PCRE2_SIZE) text.len + 1; /* the other case has at most one byte more */
    char *room = peri_buf_reserve(out, len);
    int count = code == NULL ? -1
                             : pcre2_substitute(code, (PCRE2_SPTR) text.data, text.len, 0,
                                                PCRE2_SUBSTITUTE_EXTENDED | PCRE2_NO_UTF_CHECK,
                                                NULL, NULL, (PCRE2_SPTR) replacement,
                                                PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *) room, &len);
    pcre2_code_free(code);
    if (count >= 0)
        out->len += len;
    else /* no memory */
        peri_buf_add(out, text.data, text.len);
}

struct peri_pattern *peri_pattern_new(struct peri_pattern **list, struct peri_text text,
                                      struct peri_buf *reason)
{
    int error = 0;
    size_t at = 0;
    pcre2_code *code = pcre2_compile(
        (PCRE2_SPTR) text.data, text.len,
        PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    if (code == NULL) {
        unsigned char message[160];
        pcre2_get_error_message(error, message, sizeof(message));
        peri_buf_addf(reason, "%s at offset %zu", (const char *) message, at);
        return NULL;
    }
    struct peri_pattern *pattern = malloc(sizeof(*pattern) + text.len + 1);
    if (pattern == NULL)
        abort();
    *pattern = (struct peri_pattern){.code = code};
    memcpy(pattern->source, text.data, text.len);
    pattern->source[text.len] = '\0';
    pattern->match = pcre2_match_data_create(1, NULL);
    pattern->context = pcre2_match_context_create(NULL);
    if (pattern->match == NULL || pattern->context == NULL)
        abort();
    pcre2_set_match_limit(pattern->context, MATCH_LIMIT);
    pcre2_set_depth_limit(pattern->context, DEPTH_LIMIT);
    if (pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0) {
        pattern->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_BYTES, NULL);
        pcre2_jit_stack_assign(pattern->context, NULL, pattern->stack);
    }
    pattern->next = *list;
    *list = pattern;
    return pattern;
}

void peri_patterns_free(struct peri_pattern *list)
{
    while (list != NULL) {
        struct peri_pattern *next = list->next;
        pcre2_match_data_free(list->match);
        pcre2_match_context_free(list->context);
        pcre2_jit_stack_free(list->stack);
        pcre2_code_free(list->code);
        free(list);
        list = next;
    }
}

bool peri_pattern_matches(struct peri_pattern *pattern, struct peri_text text)
{
    int rc = pcre2_match(pattern->code, (PCRE2_SPTR) text.data, text.len, 0, PCRE2_NO_UTF_CHECK,
                         pattern->match, pattern->context);
    if (rc >= 0)
        return true;
    if (rc == PCRE2_ERROR_NOMATCH)
        return false;
    atomic_fetch_add(&failures, 1);
    if (!pattern->logged) {
        pattern->logged = true; /* once per pattern: a client must not fill the log */
        peri_log_error("the pattern '%s' took too long and was counted as no match",
                       pattern->source);
    }
    return false;
}
