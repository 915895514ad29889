/* Addresses from text and back, and who belongs to a network. */
#include "address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void reads_to(const char *text, const char *expected, int port)
{
    union peri_address address = {0};
    char written[INET6_ADDRSTRLEN];
    assert_true(peri_address_parse(&address, text, strlen(text)));
    assert_int_equal(peri_address_format(&address, written), port);
    assert_string_equal(written, expected);
}

static void addresses_with_and_without_a_port_are_read(void **state)
{
    (void) state;
    reads_to("192.0.2.1", "192.0.2.1", 0);
    reads_to("192.0.2.1:8080", "192.0.2.1", 8080);
    reads_to("2001:db8::1", "2001:db8::1", 0);
    reads_to("[2001:db8::1]", "2001:db8::1", 0);
    reads_to("[2001:db8::1]:65535", "2001:db8::1", 65535);
}

static void what_is_no_address_changes_nothing(void **state)
{
    (void) state;
    static const char *const wrong[] = {
        "",           "unknown",     "_hidden", "192.0.2",      "192.0.2.1:",  "192.0.2.1:99999",
        "192.0.2.1x", "[192.0.2.1]", "[::1",    "[::1]8080",    "[::1]:",      "::1]:80",
        " 192.0.2.1", "1.2.3.4:-1",  "[]:80",   "fe80::1%eth0", "192.0.2.1/8",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        union peri_address address = {.any = {.sa_family = 99}};
        assert_false(peri_address_parse(&address, wrong[i], strlen(wrong[i])));
        assert_int_equal(address.any.sa_family, 99);
    }
}

static bool contains(const char *networks_text, const char *text)
{
    struct peri_networks networks;
    union peri_address address = {0};
    assert_true(peri_networks_parse(&networks, networks_text));
    if (strcmp(text, "unix") == 0)
        address.any.sa_family = AF_UNIX;
    else
        assert_true(peri_address_parse(&address, text, strlen(text)));
    return peri_networks_contain(&networks, &address);
}

static void networks_hold_their_addresses(void **state)
{
    (void) state;
    assert_true(contains("127.0.0.1", "127.0.0.1:5000"));
    assert_false(contains("127.0.0.1", "127.0.0.2"));
    assert_true(contains("10.0.0.0/8", "10.255.0.1"));
    assert_false(contains("10.0.0.0/8", "11.0.0.1"));
    assert_true(contains("192.168.1.128/25", "192.168.1.200"));
    assert_false(contains("192.168.1.128/25", "192.168.1.100"));
    assert_true(contains("0.0.0.0/0", "203.0.113.9"));
    assert_false(contains("0.0.0.0/0", "2001:db8::1"));
    assert_true(contains("2001:db8::/32", "2001:db8:ffff::1"));
    assert_false(contains("2001:db8::/32", "2001:db9::1"));
    assert_true(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
    assert_true(contains("::1, 127.0.0.1", "127.0.0.1"));
    assert_true(contains("*", "203.0.113.9"));
    assert_true(contains("unix", "unix"));
    assert_false(contains("127.0.0.1", "unix"));
    assert_false(contains("", "127.0.0.1"));
}

static void what_is_no_network_is_refused(void **state)
{
    (void) state;
    static const char *const wrong[] = {"localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "1.2.3"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct peri_networks networks;
        assert_false(peri_networks_parse(&networks, wrong[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_with_and_without_a_port_are_read),
        cmocka_unit_test(what_is_no_address_changes_nothing),
        cmocka_unit_test(networks_hold_their_addresses),
        cmocka_unit_test(what_is_no_network_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
