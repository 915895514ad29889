/* PROXY headers, whole and one byte at a time, and those that are none. */
#include "proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"

/* Reads a copy in a block of exactly its size, so that reading too far is seen. */
static enum peri_proxy_outcome read_copy(const char *bytes, size_t len, union peri_address *client,
                                         size_t *used)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum peri_proxy_outcome outcome = peri_proxy_read(copy, len, client, used);
    free(copy);
    return outcome;
}

/* The header is complete with its last byte and not before; what follows is not touched. */
static void names_client(const char *header, size_t len, const char *expected, int port)
{
    char text[INET6_ADDRSTRLEN];
    union peri_address client = {0};
    size_t used = 0;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(read_copy(header, i, &client, &used), PERI_PROXY_MORE);
    char more[512];
    memcpy(more, header, len);
    memcpy(more + len, "GET /", 5);
    assert_int_equal(read_copy(more, len + 5, &client, &used), PERI_PROXY_DONE);
    assert_int_equal(used, len);
    assert_int_equal(peri_address_format(&client, text), port);
    assert_string_equal(text, expected);
}

#define NAMES(header, expected, port) names_client(header, sizeof(header) - 1, expected, port)

static void version_1_is_read(void **state)
{
    (void) state;
    NAMES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1", 56324);
    NAMES("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "2001:db8::1", 56324);
    NAMES("PROXY UNKNOWN\r\n", "", 0);
    NAMES("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", 0);
}

static void version_2_is_read(void **state)
{
    (void) state;
    NAMES(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb", "192.0.2.1", 56324);
    NAMES(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
             "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdc\x04\x01\xbb",
          "2001:db8::1", 56324);
    NAMES(V2 "\x21\x11\0\x0f\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\0\0", "192.0.2.1",
          56324); /* with an extension */
    NAMES(V2 "\x20\0\0\0", "", 0);
    NAMES(V2 "\x21\0\0\0", "", 0);
}

static void is_bad(const char *bytes, size_t len)
{
    union peri_address client = {0};
    size_t used = 0;
    assert_int_equal(read_copy(bytes, len, &client, &used), PERI_PROXY_BAD);
    assert_int_equal(client.any.sa_family, 0);
}

#define IS_BAD(bytes) is_bad(bytes, sizeof(bytes) - 1)

static void what_is_none_is_bad(void **state)
{
    (void) state;
    IS_BAD("GET / HTTP/1.1\r\n");
    IS_BAD("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n");
    IS_BAD("PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n");
    IS_BAD("PROXY TCP6 192.0.2.1 198.51.100.1 56324 443\r\n");
    IS_BAD("PROXY TCP4 192.0.2.1 198.51.100.1 99999 443\r\n");
    IS_BAD("PROXY TCP4  192.0.2.1 198.51.100.1 1 443\r\n");
    IS_BAD("PROXY TCP4 192.0.2.1 198.51.100.1 1 443\n");
    IS_BAD("PROXY TCP4 192.0.2.1 198.51.100.1 1 443 more\r\n");
    IS_BAD("PROXY TCP4 192.0.2.1\0 198.51.100.1 1 443\r\n");
    IS_BAD("PROXY TCP9 192.0.2.1 198.51.100.1 1 443\r\n");
    IS_BAD("PROXY \n");
    IS_BAD(V2 "\x11\x11\0\x0c");
    IS_BAD(V2 "\x22\x11\0\x0c");
    IS_BAD(V2 "\x21\x11\xff\xff");
    IS_BAD(V2 "\x21\x41\0\0");
    IS_BAD(V2 "\x21\x13\0\0");
    IS_BAD(V2 "\x21\x11\0\x04\xc0\0\x02\x01");
    char endless[200];
    memset(endless, 'x', sizeof(endless));
    memcpy(endless, "PROXY ", 6);
    is_bad(endless, sizeof(endless));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_read),
        cmocka_unit_test(version_2_is_read),
        cmocka_unit_test(what_is_none_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
