#include "url.h"

#include "json.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Replaces what is no UTF-8 from `start` on: one U+FFFD for each maximal part of a character that
 * could have become one (Unicode's recommendation, and Python's practice). */
static void repair_utf8(struct peri_buf *out, size_t start)
{
    size_t valid = peri_utf8_valid(out->data + start, out->len - start);
    if (start + valid == out->len)
        return;
    struct peri_buf rest = {0};
    peri_buf_add(&rest, out->data + start + valid, out->len - start - valid);
    out->len = start + valid;
    size_t at = 0;
    while (at < rest.len) {
        valid = peri_utf8_valid(rest.data + at, rest.len - at);
        peri_buf_add(out, rest.data + at, valid);
        at += valid;
        if (at == rest.len)
            break;
        unsigned char lead = (unsigned char) rest.data[at++];
        int need = lead >= 0xC2 && lead <= 0xDF   ? 1
                   : lead >= 0xE0 && lead <= 0xEF ? 2
                   : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                  : 0;
        for (int i = 0; i < need && at < rest.len; i++, at++) {
            unsigned char c = (unsigned char) rest.data[at];
            unsigned char low = 0x80;
            unsigned char high = 0xBF;
            if (i == 0) {
                low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
                high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
            }
            if (c < low || c > high)
                break;
        }
        peri_buf_add_lit(out, "\xEF\xBF\xBD");
    }
    peri_buf_deinit(&rest);
}

void peri_url_decode(struct peri_buf *out, const char *text, size_t len, bool plus)
{
    if (len == 0) /* an empty buffer has no memory to point into */
        return;
    size_t start = out->len;
    char *to = peri_buf_reserve(out, len);
    bool high = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%' && i + 2 < len && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            c = (char) (hex(text[i + 1]) * 16 + hex(text[i + 2]));
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        high = high || (c & 0x80);
        *to++ = c;
    }
    out->len = (size_t) (to - out->data);
    if (high)
        repair_utf8(out, start);
}

bool peri_url_next_pair(const char **text, size_t *len, struct peri_buf *out, size_t *name_len,
                        size_t *value_len)
{
    while (*len > 0) {
        const char *pair = *text;
        const char *end = memchr(pair, '&', *len);
        size_t pair_len = end != NULL ? (size_t) (end - pair) : *len;
        size_t taken = end != NULL ? pair_len + 1 : pair_len;
        *text += taken;
        *len -= taken;
        if (pair_len == 0)
            continue;
        const char *equals = memchr(pair, '=', pair_len);
        size_t raw_name = equals != NULL ? (size_t) (equals - pair) : pair_len;
        size_t before = out->len;
        peri_url_decode(out, pair, raw_name, true);
        *name_len = out->len - before;
        before = out->len;
        if (equals != NULL)
            peri_url_decode(out, equals + 1, pair_len - raw_name - 1, true);
        *value_len = out->len - before;
        return true;
    }
    return false;
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && ((*text)[*len - 1] == ' ' || (*text)[*len - 1] == '\t'))
        (*len)--;
}

bool peri_cookie_next(const char **text, size_t *len, struct peri_field *cookie)
{
    while (*len > 0) {
        const char *name = *text;
        const char *end = memchr(name, ';', *len);
        size_t name_len = end != NULL ? (size_t) (end - name) : *len;
        size_t taken = end != NULL ? name_len + 1 : name_len;
        *text += taken;
        *len -= taken;
        const char *value = memchr(name, '=', name_len);
        size_t value_len = 0;
        if (value != NULL) {
            value_len = name_len - (size_t) (value - name) - 1;
            name_len = (size_t) (value - name);
            value++;
        } else { /* a value without a name, as browsers and Starlette read it */
            value = name;
            value_len = name_len;
            name_len = 0;
        }
        trim(&name, &name_len);
        trim(&value, &value_len);
        if (name_len == 0 && value_len == 0)
            continue;
        if (value_len >= 2 && value[0] == '"' && value[value_len - 1] == '"') {
            value++;
            value_len -= 2;
        }
        *cookie = (struct peri_field){
            .name = name, .name_len = name_len, .value = value, .value_len = value_len};
        return true;
    }
    return false;
}

static bool is_octal(const char *text)
{
    return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' &&
           text[2] <= '7';
}

void peri_cookie_unquote(struct peri_buf *out, const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = value[i];
        if (c == '\\' && i + 3 < len && is_octal(value + i + 1)) {
            c = (char) ((value[i + 1] - '0') * 64 + (value[i + 2] - '0') * 8 + value[i + 3] - '0');
            i += 3;
        } else if (c == '\\' && i + 1 < len) {
            c = value[++i];
        }
        peri_buf_add_byte(out, c);
    }
}

void peri_latin1_decode(struct peri_buf *out, const char *bytes, size_t len)
{
    if (len == 0)
        return;
    char *to = peri_buf_reserve(out, len * 2);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) bytes[i];
        if (c < 0x80) {
            *to++ = (char) c;
        } else {
            *to++ = (char) (0xC0 | (c >> 6));
            *to++ = (char) (0x80 | (c & 0x3F));
        }
    }
    out->len = (size_t) (to - out->data);
}
