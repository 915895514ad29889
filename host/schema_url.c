/* URLs as the WHATWG standard parses and writes them, without a base, with the reasons of the
 * parser that Pydantic uses. */
#include "schema_string.h"

static const char no_base[] = "relative URL without a base";
static const char empty_host[] = "empty host";
static const char bad_port[] = "invalid port number";
static const char bad_ipv4[] = "invalid IPv4 address";
static const char bad_ipv6[] = "invalid IPv6 address";
static const char bad_domain[] = "invalid international domain name";
static const char bad_host[] = "invalid domain character";

struct url {
    const char *at;
    const char *end;
    struct peri_buf *out;
    bool special;
    bool file;
    int port; /* the scheme's own; -1: none */
    bool has_host;
};

/* Which characters are percent-encoded, beside controls and what is not ASCII. */
static const char fragment_set[] = " \"<>`";
static const char query_set[] = " \"#<>";
static const char special_query_set[] = " \"#<>'";
static const char path_set[] = " \"<>`#?{}";
static const char user_set[] = " \"<>`#?{}/:;=@[\\]^|";

static void add_encoded(struct peri_buf *out, unsigned char byte, const char *set)
{
    if (byte < 0x20 || byte > 0x7E || strchr(set, byte) != NULL)
        peri_buf_addf(out, "%%%02X", byte);
    else
        peri_buf_add_byte(out, (char) byte);
}

static bool is_alpha(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char) (byte | 0x20) : byte;
}

static int hex_value(char byte)
{
    if (is_digit(byte))
        return byte - '0';
    byte = lower(byte);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* ----------------------------------------------------------------- hosts --- */

/* One number of an IPv4 address: decimal, 0x hexadecimal or 0 octal. */
static bool read_ipv4_number(const char *at, const char *end, uint64_t *out)
{
    unsigned base = 10;
    if (end - at >= 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
        base = 16;
        at += 2;
    } else if (end - at >= 2 && at[0] == '0') {
        base = 8;
        at++;
    }
    *out = 0;
    for (; at < end; at++) {
        int digit = hex_value(*at);
        if (digit < 0 || (unsigned) digit >= base)
            return false;
        *out = *out * base + (unsigned) digit;
        if (*out > UINT32_MAX)
            *out = UINT64_C(1) << 33; /* too large, and stays so */
    }
    return true;
}

/* Whether the last label makes the name an IPv4 address, sound or not. */
static bool ends_in_number(const char *name, const char *end)
{
    if (end > name && end[-1] == '.')
        end--;
    const char *label = end;
    bool digits = true;
    uint64_t ignored = 0;
    while (label > name && label[-1] != '.') {
        label--;
        digits = digits && is_digit(*label);
    }
    if (label == end)
        return false;
    return digits || (end - label >= 2 && label[0] == '0' && lower(label[1]) == 'x' &&
                      read_ipv4_number(label, end, &ignored));
}

static bool read_ipv4(const char *name, const char *end, uint32_t *out)
{
    uint64_t numbers[4];
    int count = 0;
    if (end > name && end[-1] == '.')
        end--;
    for (const char *at = name;; at++) {
        const char *dot = memchr(at, '.', (size_t) (end - at));
        const char *stop = dot != NULL ? dot : end;
        if (count == 4 || stop == at || !read_ipv4_number(at, stop, &numbers[count++]))
            return false;
        at = stop;
        if (dot == NULL)
            break;
    }
    uint64_t last = numbers[count - 1];
    if (last >= UINT64_C(1) << (8 * (5 - count)))
        return false;
    uint64_t address = last;
    for (int i = 0; i < count - 1; i++) {
        if (numbers[i] > 255)
            return false;
        address |= numbers[i] << (8 * (3 - i));
    }
    *out = (uint32_t) address;
    return true;
}

static void decode_percent(struct peri_buf *out, const char *at, const char *end)
{
    for (; at < end; at++) {
        if (*at == '%' && end - at > 2 && hex_value(at[1]) >= 0 && hex_value(at[2]) >= 0) {
            peri_buf_add_byte(out, (char) (hex_value(at[1]) * 16 + hex_value(at[2])));
            at += 2;
        } else {
            peri_buf_add_byte(out, *at);
        }
    }
}

static const char *add_special_host(struct url *url, const char *start, const char *end)
{
    struct peri_buf decoded = {0};
    const char *reason = NULL;
    size_t from = url->out->len;
    uint32_t address = 0;
    decode_percent(&decoded, start, end);
    if (!peri_domain_to_ascii(url->out, (struct peri_text){decoded.data, (uint32_t) decoded.len})) {
        reason = bad_domain;
    } else if (ends_in_number(url->out->data + from, url->out->data + url->out->len)) {
        if (read_ipv4(url->out->data + from, url->out->data + url->out->len, &address)) {
            url->out->len = from;
            peri_ipv4_print(url->out, address);
        } else {
            reason = bad_ipv4;
        }
    }
    peri_buf_deinit(&decoded);
    return reason;
}

static const char *add_opaque_host(struct url *url, const char *start, const char *end)
{
    static const char forbidden[] = "\t\n\r #/:<>?@[\\]^|";
    for (const char *at = start; at < end; at++) {
        if (*at == '\0' || strchr(forbidden, *at) != NULL)
            return bad_host;
    }
    for (; start < end; start++)
        add_encoded(url->out, (unsigned char) *start, "");
    return NULL;
}

static const char *add_ipv6_host(struct url *url, const char *start, const char *end)
{
    if (end - start < 2 || end[-1] != ']')
        return bad_ipv6;
    peri_buf_add_byte(url->out, '[');
    struct peri_text inside = {start + 1, (uint32_t) (end - start - 2)};
    bool zone = memchr(inside.data, '%', inside.len) != NULL;
    if (zone || !peri_ipv6_read(inside, url->out))
        return bad_ipv6;
    peri_buf_add_byte(url->out, ']');
    return NULL;
}

static const char *add_port(struct url *url, const char *at, const char *end)
{
    unsigned port = 0;
    if (at == end)
        return NULL;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return bad_port;
        port = port * 10 + (unsigned) (*at - '0');
        if (port > 65535)
            return bad_port;
    }
    if ((int) port != url->port)
        peri_buf_addf(url->out, ":%u", port);
    return NULL;
}

static bool ends_authority(const struct url *url, char byte)
{
    return byte == '/' || byte == '?' || byte == '#' || (url->special && byte == '\\');
}

static void add_user(struct url *url, const char *start, const char *end)
{
    const char *colon = memchr(start, ':', (size_t) (end - start));
    const char *name_end = colon != NULL ? colon : end;
    bool password = colon != NULL && colon + 1 < end;
    for (const char *at = start; at < name_end; at++)
        add_encoded(url->out, (unsigned char) *at, user_set);
    if (password) {
        peri_buf_add_byte(url->out, ':');
        for (const char *at = colon + 1; at < end; at++)
            add_encoded(url->out, (unsigned char) *at, user_set);
    }
    if (name_end > start || password)
        peri_buf_add_byte(url->out, '@');
}

static const char *add_authority(struct url *url)
{
    const char *end = url->at;
    const char *user_end = NULL;
    for (; end < url->end && !ends_authority(url, *end); end++) {
        if (*end == '@')
            user_end = end;
    }
    if (user_end != NULL) {
        add_user(url, url->at, user_end);
        url->at = user_end + 1;
    }
    const char *host_end = url->at;
    for (bool bracket = false; host_end < end && (bracket || *host_end != ':'); host_end++) {
        if (*host_end == '[' || *host_end == ']')
            bracket = *host_end == '[';
    }
    if (host_end == url->at && (url->special || user_end != NULL || host_end < end))
        return empty_host;
    const char *reason = NULL;
    if (*url->at == '[' && host_end > url->at)
        reason = add_ipv6_host(url, url->at, host_end);
    else if (host_end > url->at)
        reason = url->special ? add_special_host(url, url->at, host_end)
                              : add_opaque_host(url, url->at, host_end);
    url->has_host = host_end > url->at;
    if (reason == NULL && host_end < end)
        reason = add_port(url, host_end + 1, end);
    url->at = end;
    return reason;
}

/* ----------------------------------------------------------------- paths --- */

/* 1 for "." and 2 for "..", also with encoded dots; 0 for any other segment. */
static int count_dots(const char *at, const char *end)
{
    int dots = 0;
    while (at < end) {
        if (*at == '.')
            at++;
        else if (end - at >= 3 && at[0] == '%' && at[1] == '2' && lower(at[2]) == 'e')
            at += 3;
        else
            return 0;
        if (++dots > 2)
            return 0;
    }
    return dots;
}

static void drop_segment(struct peri_buf *out, size_t root)
{
    while (out->len > root && out->data[out->len - 1] != '/')
        out->len--;
    if (out->len > root)
        out->len--;
}

/* The path up to the query, its dot segments resolved. Every segment follows a slash. */
static void add_path(struct url *url)
{
    struct peri_buf *out = url->out;
    size_t root = out->len;
    while (true) {
        const char *start = url->at;
        while (url->at < url->end && *url->at != '/' && *url->at != '?' && *url->at != '#' &&
               !(url->special && *url->at == '\\'))
            url->at++;
        int dots = count_dots(start, url->at);
        bool last = url->at == url->end || *url->at == '?' || *url->at == '#';
        if (dots == 2)
            drop_segment(out, root);
        if (dots == 0) {
            peri_buf_add_byte(out, '/');
            for (const char *at = start; at < url->at; at++)
                add_encoded(out, (unsigned char) *at, path_set);
        } else if (last) {
            peri_buf_add_byte(out, '/');
        }
        if (last)
            return;
        url->at++;
    }
}

static void add_rest(struct url *url)
{
    if (url->at < url->end && *url->at == '?') {
        const char *set = url->special ? special_query_set : query_set;
        for (peri_buf_add_byte(url->out, *url->at++); url->at < url->end && *url->at != '#';
             url->at++)
            add_encoded(url->out, (unsigned char) *url->at, set);
    }
    if (url->at < url->end && *url->at == '#') {
        for (peri_buf_add_byte(url->out, *url->at++); url->at < url->end; url->at++)
            add_encoded(url->out, (unsigned char) *url->at, fragment_set);
    }
}

static bool is_slash(const struct url *url, const char *at)
{
    return at < url->end && (*at == '/' || (url->special && *at == '\\'));
}

static const char *add_hierarchy(struct url *url)
{
    bool authority = is_slash(url, url->at) && is_slash(url, url->at + 1);
    const char *reason = NULL;
    if (url->special && !url->file) {
        while (is_slash(url, url->at))
            url->at++;
        authority = true;
    } else if (authority) {
        url->at += 2;
    }
    if (url->file) {
        peri_buf_add_lit(url->out, "//");
        const char *start = url->at;
        while (authority && url->at < url->end && !ends_authority(url, *url->at))
            url->at++;
        if (url->at > start) {
            size_t from = url->out->len;
            reason = add_special_host(url, start, url->at);
            bool local =
                url->out->len - from == 9 && memcmp(url->out->data + from, "localhost", 9) == 0;
            if (local)
                url->out->len = from;
            url->has_host = !local;
        }
    } else if (authority) {
        peri_buf_add_lit(url->out, "//");
        reason = add_authority(url);
    }
    if (reason != NULL)
        return reason;
    bool path = url->at < url->end && *url->at != '?' && *url->at != '#';
    if (path || url->special) {
        if (is_slash(url, url->at))
            url->at++;
        add_path(url);
    }
    return NULL;
}

/* What follows a scheme without a slash: kept nearly as it is. */
static void add_opaque_path(struct url *url)
{
    for (; url->at < url->end && *url->at != '?' && *url->at != '#'; url->at++)
        add_encoded(url->out, (unsigned char) *url->at, "");
}

static const struct {
    const char *name;
    int port;
} specials[] = {{"http", 80}, {"https", 443}, {"ws", 80}, {"wss", 443}, {"ftp", 21}, {"file", -1}};

static const char *add_scheme(struct url *url, struct peri_text *scheme)
{
    const char *colon = url->at;
    if (colon == url->end || !is_alpha(*colon))
        return no_base;
    while (colon < url->end && *colon != ':') {
        if (!is_alpha(*colon) && !is_digit(*colon) && strchr("+-.", *colon) == NULL)
            return no_base;
        peri_buf_add_byte(url->out, lower(*colon++));
    }
    if (colon == url->end)
        return no_base;
    *scheme = (struct peri_text){NULL, (uint32_t) url->out->len};
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (strlen(specials[i].name) == url->out->len &&
            memcmp(specials[i].name, url->out->data, url->out->len) == 0) {
            url->special = true;
            url->file = specials[i].port < 0;
            url->port = specials[i].port;
        }
    }
    peri_buf_add_byte(url->out, ':');
    url->at = colon + 1;
    return NULL;
}

/* Blanks and controls at the ends, tabs and newlines anywhere are not part of a URL. */
static void clean(struct peri_text text, struct peri_buf *out)
{
    const char *start = text.data;
    const char *end = text.data + text.len;
    while (start < end && (unsigned char) *start <= ' ')
        start++;
    while (end > start && (unsigned char) end[-1] <= ' ')
        end--;
    for (; start < end; start++) {
        if (*start != '\t' && *start != '\n' && *start != '\r')
            peri_buf_add_byte(out, *start);
    }
}

const char *peri_url_read(struct peri_text text, struct peri_buf *out, struct peri_text *scheme,
                          bool *has_host)
{
    if (text.len == 0)
        return "input is empty";
    struct peri_buf cleaned = {0};
    clean(text, &cleaned);
    peri_buf_reserve(&cleaned, 1);
    struct url url = {
        .at = cleaned.data, .end = cleaned.data + cleaned.len, .out = out, .port = -1};
    const char *reason = add_scheme(&url, scheme);
    if (reason == NULL) {
        if (url.special || is_slash(&url, url.at))
            reason = add_hierarchy(&url);
        else
            add_opaque_path(&url);
    }
    if (reason == NULL)
        add_rest(&url);
    peri_buf_deinit(&cleaned);
    scheme->data = out->data;
    *has_host = url.has_host;
    return reason;
}
