#include "proxy.h"

#include <arpa/inet.h>
#include <string.h>

#define V1_MAX 107 /* with CR LF */
#define V2_HEAD 16

static const char V2_SIGNATURE[12] = "\r\n\r\n\0\r\nQUIT\n";

/* The next word of a line, which ends at a blank; NULL when there is none. */
static const char *next_word(const char **at, const char *end, size_t *len)
{
    const char *word = *at;
    const char *blank = memchr(word, ' ', (size_t) (end - word));
    *len = (size_t) ((blank != NULL ? blank : end) - word);
    *at = blank != NULL ? blank + 1 : end;
    return *len > 0 ? word : NULL;
}

/* "TCP4 192.0.2.1 198.51.100.1 56324 443" or "UNKNOWN ..." */
static bool read_line(const char *at, const char *end, union peri_address *client)
{
    size_t len = 0;
    const char *kind = next_word(&at, end, &len);
    if (kind != NULL && len == 7 && memcmp(kind, "UNKNOWN", 7) == 0)
        return true;
    bool six = kind != NULL && len == 4 && memcmp(kind, "TCP6", 4) == 0;
    if (!six && (kind == NULL || len != 4 || memcmp(kind, "TCP4", 4) != 0))
        return false;
    size_t source_len = 0;
    size_t port_len = 0;
    const char *source = next_word(&at, end, &source_len);
    const char *destination = next_word(&at, end, &len);
    const char *port = next_word(&at, end, &port_len);
    if (source == NULL || destination == NULL || port == NULL || source_len > 45 || port_len > 5 ||
        next_word(&at, end, &len) == NULL || at != end)
        return false;
    char text[64]; /* "[ADDRESS]:PORT", as peri_address_parse() reads it */
    size_t n = 0;
    if (six)
        text[n++] = '[';
    memcpy(text + n, source, source_len);
    n += source_len;
    if (six)
        text[n++] = ']';
    text[n++] = ':';
    memcpy(text + n, port, port_len);
    union peri_address parsed = {0};
    if (!peri_address_parse(&parsed, text, n + port_len) ||
        parsed.any.sa_family != (six ? AF_INET6 : AF_INET))
        return false;
    *client = parsed;
    return true;
}

static enum peri_proxy_outcome read_v1(const char *bytes, size_t len, union peri_address *client,
                                       size_t *used)
{
    const char *newline = memchr(bytes, '\n', len < V1_MAX ? len : V1_MAX);
    if (newline == NULL)
        return len < V1_MAX ? PERI_PROXY_MORE : PERI_PROXY_BAD;
    if (newline[-1] != '\r' || !read_line(bytes + 6, newline - 1, client))
        return PERI_PROXY_BAD;
    *used = (size_t) (newline + 1 - bytes);
    return PERI_PROXY_DONE;
}

static enum peri_proxy_outcome read_v2(const char *bytes, size_t len, union peri_address *client,
                                       size_t *used)
{
    if (len < V2_HEAD)
        return PERI_PROXY_MORE;
    unsigned char command = (unsigned char) bytes[12];
    unsigned char family = (unsigned char) bytes[13];
    size_t rest = (size_t) (unsigned char) bytes[14] << 8 | (unsigned char) bytes[15];
    if ((command != 0x20 && command != 0x21) || family >> 4 > 3 || (family & 15) > 2 ||
        V2_HEAD + rest > PERI_PROXY_MAX)
        return PERI_PROXY_BAD;
    if (len < V2_HEAD + rest)
        return PERI_PROXY_MORE;
    *used = V2_HEAD + rest;
    if (command == 0x20) /* LOCAL: the proxy speaks for itself */
        return PERI_PROXY_DONE;
    const char *at = bytes + V2_HEAD;
    if (family == 0x11 && rest >= 12) {
        *client = (union peri_address){.v4 = {.sin_family = AF_INET}};
        memcpy(&client->v4.sin_addr, at, 4);
        memcpy(&client->v4.sin_port, at + 8, 2);
    } else if (family == 0x21 && rest >= 36) {
        *client = (union peri_address){.v6 = {.sin6_family = AF_INET6}};
        memcpy(&client->v6.sin6_addr, at, 16);
        memcpy(&client->v6.sin6_port, at + 32, 2);
    } else if (family == 0x11 || family == 0x21) {
        return PERI_PROXY_BAD;
    }
    return PERI_PROXY_DONE;
}

enum peri_proxy_outcome peri_proxy_read(const char *bytes, size_t len, union peri_address *client,
                                        size_t *used)
{
    size_t seen = len < sizeof(V2_SIGNATURE) ? len : sizeof(V2_SIGNATURE);
    if (memcmp(bytes, V2_SIGNATURE, seen) == 0)
        return seen < sizeof(V2_SIGNATURE) ? PERI_PROXY_MORE : read_v2(bytes, len, client, used);
    seen = len < 6 ? len : 6;
    if (memcmp(bytes, "PROXY ", seen) == 0)
        return seen < 6 ? PERI_PROXY_MORE : read_v1(bytes, len, client, used);
    return PERI_PROXY_BAD;
}
