#include "response.h"

#include "bytes.h"

#include <time.h>

static const struct {
    uint16_t status;
    const char *text;
} phrases[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a Teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};

const char *peri_status_text(unsigned status)
{
    for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].text;
    }
    return "";
}

bool peri_status_has_no_body(unsigned status)
{
    return status < 200 || status == 204 || status == 304;
}

static void refresh(struct peri_head_cache *cache, uint64_t now_ms)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);
    strftime(cache->date, sizeof(cache->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    cache->next_ms = now_ms + 1000 - (uint64_t) now.tv_nsec / 1000000;
    for (int i = 0; i < PERI_HEAD_CACHE_SIZE; i++)
        cache->entries[i].status = 0;
}

static void format(struct peri_buf *out, const char *date, unsigned status, const char *type,
                   size_t type_len)
{
    peri_buf_addf(out, "HTTP/1.1 %u %s\r\ndate: %s\r\n", status, peri_status_text(status), date);
    if (type_len > 0) {
        peri_buf_add_lit(out, "content-type: ");
        peri_buf_add(out, type, type_len);
        peri_buf_add_lit(out, "\r\n");
    }
}

void peri_head_begin(struct peri_head_cache *cache, uint64_t now_ms, struct peri_buf *out,
                     unsigned status, const char *type, size_t type_len)
{
    if (now_ms >= cache->next_ms)
        refresh(cache, now_ms);
    for (int i = 0; i < PERI_HEAD_CACHE_SIZE; i++) {
        /* The content type ends the block: `type CRLF`. */
        if (cache->entries[i].status == status && cache->entries[i].type_len == type_len &&
            peri_bytes_equal(cache->entries[i].bytes + cache->entries[i].len - 2 - type_len, type,
                             type_len)) {
            peri_buf_add(out, cache->entries[i].bytes, cache->entries[i].len);
            return;
        }
    }
    size_t start = out->len;
    format(out, cache->date, status, type, type_len);
    size_t len = out->len - start;
    if (len > PERI_HEAD_CACHE_BYTES)
        return;
    unsigned turn = cache->turn++ % PERI_HEAD_CACHE_SIZE;
    cache->entries[turn].status = (uint16_t) status;
    cache->entries[turn].len = (uint16_t) len;
    cache->entries[turn].type_len = (uint16_t) type_len;
    memcpy(cache->entries[turn].bytes, out->data + start, len);
}

bool peri_header_name_is_sound(const char *name, size_t len)
{
    static const char symbols[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool alphanumeric = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!alphanumeric && (c == '\0' || strchr(symbols, c) == NULL))
            return false;
    }
    return len > 0;
}

bool peri_header_value_is_sound(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
