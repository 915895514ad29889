/* The pure parsers of texts. The expected results are those of the libraries that Pydantic 2.14
 * uses, taken from them. */
#include "schema_string.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct example {
    const char *input;
    const char *value;  /* NULL: refused */
    const char *reason; /* NULL: accepted */
};

static struct peri_text text_of(const char *string)
{
    return (struct peri_text){string, (uint32_t) strlen(string)};
}

static void expect(const char *input, const char *want, const char *got, size_t len)
{
    if (want == NULL || strlen(want) != len || memcmp(want, got, len) != 0)
        fail_msg("'%s': want '%s', got '%.*s'", input, want ? want : "(other)", (int) len, got);
}

static void urls_are_normalised_or_refused(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"", NULL, "input is empty"},
        {"x", NULL, "relative URL without a base"},
        {"http://", NULL, "empty host"},
        {"http://a", "http://a/", NULL},
        {"HTTP://ExAmple.COM:80/a/../b?q=a b'#f g", "http://example.com/b?q=a%20b%27#f%20g", NULL},
        {"http://a b.com", NULL, "invalid international domain name"},
        {"http://a<b", NULL, "invalid international domain name"},
        {"http://a%41b.com", "http://aab.com/", NULL},
        {"http://[::1]:8080/x", "http://[::1]:8080/x", NULL},
        {"http://[::1", NULL, "invalid IPv6 address"},
        {"http://1.2.3", "http://1.2.0.3/", NULL},
        {"http://256.1.1.1", NULL, "invalid IPv4 address"},
        {"http://0x7f.1", "http://127.0.0.1/", NULL},
        {"http://user:pa ss@h/", "http://user:pa%20ss@h/", NULL},
        {"http://:@h/", "http://h/", NULL},
        {"http://h:99999", NULL, "invalid port number"},
        {"http://h:x", NULL, "invalid port number"},
        {"http:h", "http://h/", NULL},
        {"http:\\\\h\\x", "http://h/x", NULL},
        {"foo://Host/x/../y", "foo://Host/y", NULL},
        {"foo:bar baz", "foo:bar baz", NULL},
        {"foo:/a/./b", "foo:/a/b", NULL},
        {"mailto:a@b.c", "mailto:a@b.c", NULL},
        {"foo://", "foo://", NULL},
        {"//x", NULL, "relative URL without a base"},
        {"1:b", NULL, "relative URL without a base"},
        {"http://h/^`{}|\"<>'", "http://h/^%60%7B%7D|%22%3C%3E'", NULL},
        {"http://münchen.de/ü?ü#ü", "http://xn--mnchen-3ya.de/%C3%BC?%C3%BC#%C3%BC", NULL},
        {"http://ＧＯ.com", "http://go.com/", NULL},
        {"http://h/%zz", "http://h/%zz", NULL},
        {"http://h?", "http://h/?", NULL},
        {"http://h/a//b/./c/..", "http://h/a//b/", NULL},
        {"http://h/%2e%2E/a", "http://h/a", NULL},
        {" http://h \n", "http://h/", NULL},
        {"ht\ntp://h", "http://h/", NULL},
        {"http://h/a\tb", "http://h/ab", NULL},
        {"file:///etc/x", "file:///etc/x", NULL},
        {"file://host/x", "file://host/x", NULL},
        {"file://localhost/x", "file:///x", NULL},
        {"postgres://user@h1,h2/db", "postgres://user@h1,h2/db", NULL},
        {"https://ex.com:443", "https://ex.com/", NULL},
        {"http://a..b", "http://a..b/", NULL},
        {"http://xn--a", NULL, "invalid international domain name"},
        {"http://ß.de", "http://xn--zca.de/", NULL},
        {"http://a@b@c/", "http://a%40b@c/", NULL},
        {"http://a:b:c@d/", "http://a:b%3Ac@d/", NULL},
        {"x:///a", "x:///a", NULL},
        {"x://u@/a", NULL, "empty host"},
        {"http://%", NULL, "invalid international domain name"},
        {"foo://a b", NULL, "invalid domain character"},
        {"http://1.1.1.1.1", NULL, "invalid IPv4 address"},
        {"http://09", NULL, "invalid IPv4 address"},
        {"http://1.2.3.4.", "http://1.2.3.4/", NULL},
        {"http://[1::2::3]", NULL, "invalid IPv6 address"},
        {"http://[::1.2.3.4]", "http://[::102:304]/", NULL},
        {"http://h:", "http://h/", NULL},
        {"http://日本語.jp", "http://xn--wgv71a119e.jp/", NULL},
        {"http://a。b", "http://a.b/", NULL},
        {"http://h/a\\b?c\\d", "http://h/a/b?c\\d", NULL},
        {"foo://h/a\\b", "foo://h/a\\b", NULL},
        {"http://a^b", NULL, "invalid international domain name"},
    };
    struct peri_buf out = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        struct peri_text scheme;
        bool has_host = false;
        out.len = 0;
        const char *reason = peri_url_read(text_of(examples[i].input), &out, &scheme, &has_host);
        if (reason != NULL)
            expect(examples[i].input, examples[i].reason, reason, strlen(reason));
        else
            expect(examples[i].input, examples[i].value, out.data, out.len);
    }
    peri_buf_deinit(&out);
}

static void emails_are_normalised_or_refused(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"a@b.co", "a@b.co", NULL},
        {"A.B+c@Ex.Com", "A.B+c@ex.com", NULL},
        {"x", NULL, "An email address must have an @-sign."},
        {"a@b", NULL, "The part after the @-sign is not valid. It should have a period."},
        {"@b.co", NULL, "There must be something before the @-sign."},
        {"a@", NULL, "There must be something after the @-sign."},
        {"a b@c.de", NULL,
         "The email address contains invalid characters before the @-sign: SPACE."},
        {"a..b@c.dd", NULL, "An email address cannot have two periods in a row."},
        {".a@b.cc", NULL, "An email address cannot start with a period."},
        {"a.@b.cc", NULL, "An email address cannot have a period immediately before the @-sign."},
        {"a@b..cc", NULL, "An email address cannot have two periods in a row."},
        {"a@-b.cc", NULL, "An email address cannot have a hyphen immediately after the @-sign."},
        {"a@b-.cc", NULL, "An email address cannot have a period and a hyphen next to each other."},
        {"a@b.-c.dd", NULL,
         "An email address cannot have a period and a hyphen next to each other."},
        {"a@b.c1", NULL,
         "The part after the @-sign is not valid. It is not within a valid top-level domain."},
        {"a@localhost", NULL, "The part after the @-sign is not valid. It should have a period."},
        {"a@x.test", NULL,
         "The part after the @-sign is a special-use or reserved name that cannot be used with "
         "email."},
        {"a@b@c.dd", NULL, "The part after the @-sign contains invalid characters: '@'."},
        {"a(b)\\,c@d.ee", NULL,
         "The email address contains invalid characters before the @-sign: \"\\\", '(', ')', ','."},
        {"INFO@X.COM", "info@x.com", NULL},
        {"a@aa--b.com", NULL,
         "An email address cannot have two letters followed by two dashes immediately after the "
         "@-sign or after a period, except Punycode."},
        {"\"a b\"@c.de", NULL, "Quoting the part before the @-sign is not allowed here."},
        {"Joe <joe@x.com>", "joe@x.com", NULL},
        {"\"J. D.\" <a@b.co>", "a@b.co", NULL},
        {"<a@b.co>", "a@b.co", NULL},
        {"Joe <joe@x.com", NULL,
         "An open angle bracket at the start of the email address has to be followed by a close "
         "angle bracket at the end."},
        {"a@[1.2.3.4]", NULL, "A bracketed IP address after the @-sign is not allowed here."},
        {"é@x.com", "é@x.com", NULL},
        {"a@éx.com", "a@éx.com", NULL},
        {" a@b.co ", "a@b.co", NULL},
        {"a\nb@c.de", NULL, "Carriage return and line feed characters are not allowed"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.co",
         NULL, "The email address is too long (1 character too many)."},
        {"a@bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.co", NULL,
         "After the @-sign, periods cannot be separated by so many characters (1 character too "
         "many)."},
        {"a@b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b."
         "b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b."
         "b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.co",
         NULL, "The email address is too long after the @-sign (9 characters too many)."},
        {"a\x01"
         "b@c.de",
         NULL, "The email address contains invalid characters before the @-sign: U+0001."},
        {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xx",
         NULL, "Length must not exceed 2048 characters"},
    };
    struct peri_buf out = {0};
    struct peri_buf reason = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        out.len = 0;
        reason.len = 0;
        if (peri_email_read(text_of(examples[i].input), &out, &reason))
            expect(examples[i].input, examples[i].value, out.data, out.len);
        else
            expect(examples[i].input, examples[i].reason, reason.data, reason.len);
    }
    peri_buf_deinit(&out);
    peri_buf_deinit(&reason);
}

static void integers_are_read_with_pythons_freedom(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        enum peri_integer_verdict verdict;
        int64_t value;
    } examples[] = {
        {"0", PERI_INTEGER_OK, 0},
        {"-0", PERI_INTEGER_OK, 0},
        {" \t+07\n", PERI_INTEGER_OK, 7},
        {"\u00A01_000.00", PERI_INTEGER_OK, 1000},
        {"0_0", PERI_INTEGER_OK, 0},
        {"00.0", PERI_INTEGER_OK, 0},
        {"9223372036854775807", PERI_INTEGER_OK, INT64_MAX},
        {"-9223372036854775808", PERI_INTEGER_OK, INT64_MIN},
        {"9223372036854775808", PERI_INTEGER_POSITIVE, 0},
        {"-9223372036854775809", PERI_INTEGER_NEGATIVE, 0},
        {"", PERI_INTEGER_BAD, 0},
        {"-", PERI_INTEGER_BAD, 0},
        {"+-1", PERI_INTEGER_BAD, 0},
        {"--1", PERI_INTEGER_BAD, 0},
        {"1__0", PERI_INTEGER_BAD, 0},
        {"_1", PERI_INTEGER_BAD, 0},
        {"1_", PERI_INTEGER_BAD, 0},
        {"1.", PERI_INTEGER_BAD, 0},
        {"1.5", PERI_INTEGER_BAD, 0},
        {"1e3", PERI_INTEGER_BAD, 0},
        {"0x10", PERI_INTEGER_BAD, 0},
        {"1 000", PERI_INTEGER_BAD, 0},
    };
    for (size_t i = 0; i < COUNT(examples); i++) {
        int64_t value = 0;
        if (peri_integer_read(text_of(examples[i].text), &value) != examples[i].verdict ||
            value != examples[i].value)
            fail_msg("'%s'", examples[i].text);
    }
}

static void decimals_keep_every_digit(void **state)
{
    (void) state;
    static const char *const examples[][2] = {
        {"1.50", "1.50"},     {" 1_0 ", "10"},
        {".5", "0.5"},        {"5.", "5"},
        {"-0", "-0"},         {"1e5", "1E+5"},
        {"1E-10", "1E-10"},   {"0.000001", "0.000001"},
        {"1e-7", "1E-7"},     {"0E+3", "0E+3"},
        {"123e-2", "1.23"},   {"1.5e400", "1.5E+400"},
        {"inf", "Infinity"},  {"-Infinity", "-Infinity"},
        {"nan", "NaN"},       {"-NaN12", "-NaN"},
        {"sNaN7", "NaN"},     {"_-_1__.5_e_-_2_", "-0.015"},
        {"_inf", "Infinity"}, {"1e0000000000000000000003", "1E+3"},
    };
    struct peri_buf out = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        char room[64];
        struct peri_decimal decimal;
        assert_true(peri_decimal_read(text_of(examples[i][0]), room, &decimal));
        out.len = 0;
        peri_decimal_print(&out, &decimal);
        expect(examples[i][0], examples[i][1], out.data, out.len);
    }
    peri_buf_deinit(&out);
    static const char *const bad[] = {
        "",      ".",    "--1", "1e",  "1.2.3", "x",    "1 2",
        "nan1x", "inf1", "_",   "1e_", "1e_-_", "-_-1", "1e100000000000000000"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char room[64];
        struct peri_decimal decimal;
        assert_false(peri_decimal_read(text_of(bad[i]), room, &decimal));
    }
}

static void decimals_take_the_digits_of_every_script(void **state)
{
    (void) state;
    static const char *const examples[][2] = {
        {"-٣.٥", "-3.5"}, {"1e٣", "1e3"}, {"１２_३", "12_3"}, {"𝟏\xF0\x9D\x9F\xBF", "19"},
        {"²é", "²é"},     {"", ""},
    };
    struct peri_buf out = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        out.len = 0;
        peri_decimal_fold(&out, text_of(examples[i][0]));
        expect(examples[i][0], examples[i][1], out.data, out.len);
    }
    peri_buf_deinit(&out);
}

static void letters_of_every_script_have_cases(void **state)
{
    (void) state;
    static const char *const examples[][3] = {
        {"Zoé и ñandú", "ZOÉ И ÑANDÚ", "zoé и ñandú"},
        {"ŉ1\nÇ", "ŉ1\nÇ", "ŉ1\nç"},
        {"ⱥ", "Ⱥ", "ⱥ"}, /* three bytes and two */
        {"日本", "日本", "日本"},
    };
    struct peri_buf out = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        for (int upper = 0; upper < 2; upper++) {
            out.len = 0;
            peri_text_change_case(&out, text_of(examples[i][0]), upper == 1);
            expect(examples[i][0], examples[i][upper == 1 ? 1 : 2], out.data, out.len);
        }
    }
    peri_buf_deinit(&out);
}

static void the_digits_of_an_integer_are_bare(void **state)
{
    (void) state;
    static const char *const examples[][2] = {
        {" +00_1_0.00 ", "10"},
        {"-9223372036854775809", "-9223372036854775809"},
        {"x", ""},
    };
    struct peri_buf out = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        out.len = 0;
        peri_integer_print(&out, text_of(examples[i][0]));
        expect(examples[i][0], examples[i][1], out.data, out.len);
    }
    peri_buf_deinit(&out);
}

static int order(const char *a, const char *b)
{
    char rooms[2][64];
    struct peri_decimal left;
    struct peri_decimal right;
    assert_true(peri_decimal_read(text_of(a), rooms[0], &left));
    assert_true(peri_decimal_read(text_of(b), rooms[1], &right));
    return peri_decimal_compare(&left, &right);
}

static void decimals_compare_by_value(void **state)
{
    (void) state;
    assert_int_equal(order("1.50", "1.5"), 0);
    assert_int_equal(order("-0", "0"), 0);
    assert_int_equal(order("0.1", "0.10000000000000000000001"), -1);
    assert_int_equal(order("1e3", "999"), 1);
    assert_int_equal(order("-1e3", "-999"), -1);
    assert_int_equal(order("-1", "0"), -1);
    assert_int_equal(order("1e-400", "0"), 1);
}

static void base64_takes_both_alphabets_and_no_stray_bits(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"", "", NULL},
        {"YWJj", "abc", NULL},
        {"YWI=", "ab", NULL},
        {"YWI", "ab", NULL},
        {"_-__", "\xFF\xEF\xFF", NULL},
        {"/+//", "\xFF\xEF\xFF", NULL},
        {"YW J", NULL, "Invalid symbol 32, offset 2."},
        {"YWJ", NULL, "Invalid last symbol 0x4a ('J') at offset 2, decoded as 0b00001001."},
    };
    struct peri_buf reason = {0};
    for (size_t i = 0; i < COUNT(examples); i++) {
        char out[16];
        uint32_t len = 0;
        reason.len = 0;
        if (peri_base64_read(text_of(examples[i].input), out, &len, &reason))
            expect(examples[i].input, examples[i].value, out, len);
        else
            expect(examples[i].input, examples[i].reason, reason.data, reason.len);
    }
    peri_buf_deinit(&reason);
}

static void blanks_are_those_of_unicode(void **state)
{
    (void) state;
    struct peri_text text = peri_text_trim(text_of("\u2003 \xC2\x85\u3042\u3000b\u200A\n"));
    expect("blanks", "\u3042\u3000b", text.data, text.len);
    assert_int_equal(peri_text_trim(text_of(" \u00A0 ")).len, 0);
    assert_int_equal(peri_text_trim(text_of("\u200B")).len, 3);
}

static void patterns_see_unicode_and_the_very_end(void **state)
{
    (void) state;
    struct peri_pattern *list = NULL;
    struct peri_buf reason = {0};
    struct peri_pattern *words = peri_pattern_new(&list, text_of("^\\w+$"), &reason);
    assert_non_null(words);
    assert_true(peri_pattern_matches(words, text_of("h\u00E9")));
    assert_false(peri_pattern_matches(words, text_of("a\n")));
    assert_null(peri_pattern_new(&list, text_of("(a"), &reason));
    expect("(a", "missing closing parenthesis at offset 2", reason.data, reason.len);
    peri_buf_deinit(&reason);
    peri_patterns_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_normalised_or_refused),
        cmocka_unit_test(emails_are_normalised_or_refused),
        cmocka_unit_test(integers_are_read_with_pythons_freedom),
        cmocka_unit_test(decimals_keep_every_digit),
        cmocka_unit_test(decimals_take_the_digits_of_every_script),
        cmocka_unit_test(letters_of_every_script_have_cases),
        cmocka_unit_test(the_digits_of_an_integer_are_bare),
        cmocka_unit_test(decimals_compare_by_value),
        cmocka_unit_test(base64_takes_both_alphabets_and_no_stray_bits),
        cmocka_unit_test(blanks_are_those_of_unicode),
        cmocka_unit_test(patterns_see_unicode_and_the_very_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
