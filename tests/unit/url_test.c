/* Percent-decoding and the splitting of queries and cookies. What is expected of decoding and of
 * queries is what Python 3.11 answers: urllib.parse.unquote(), unquote_plus() and
 * parse_qsl(keep_blank_values=True). Texts stand in blocks of exactly their size. */
#include "url.h"

#include "json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *text;
    const char *unquoted;
    const char *unquoted_plus;
} decodings[] = {
    {"", "", ""},
    {"a", "a", "a"},
    {"a%20b", "a b", "a b"},
    {"%41%42", "AB", "AB"},
    {"%", "%", "%"},
    {"%4", "%4", "%4"},
    {"%%41", "%A", "%A"},
    {"%4g", "%4g", "%4g"},
    {"%g4", "%g4", "%g4"},
    {"%zz%41", "%zzA", "%zzA"},
    {"a%", "a%", "a%"},
    {"a%2", "a%2", "a%2"},
    {"%2525", "%25", "%25"},
    {"%C3%A9", "\xC3\xA9", "\xC3\xA9"},
    {"%c3%a9", "\xC3\xA9", "\xC3\xA9"},
    {"%C3", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
    {"%C3%28", "\xEF\xBF\xBD(", "\xEF\xBF\xBD("},
    {"%E2%82%AC", "\xE2\x82\xAC", "\xE2\x82\xAC"},
    {"%E2%82", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
    {"%E2%82x", "\xEF\xBF\xBDx", "\xEF\xBF\xBDx"},
    {"%E2%28%A1", "\xEF\xBF\xBD(\xEF\xBF\xBD", "\xEF\xBF\xBD(\xEF\xBF\xBD"},
    {"%F0%9F%98%80", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
    {"%F0%9F%98", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
    {"%F0%9F", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
    {"%F0%9F%98x", "\xEF\xBF\xBDx", "\xEF\xBF\xBDx"},
    {"%F0%80%80%80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD",
     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%F4%90%80%80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD",
     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%F5%80", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%C0%80", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%C1%BF", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%E0%80%80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%E0%9F%BF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%ED%A0%80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%ED%9F%BF", "\xED\x9F\xBF", "\xED\x9F\xBF"},
    {"%80", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
    {"%BF%BF", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%FF%FE", "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"%C3%A9%FF%C3%A9", "\xC3\xA9\xEF\xBF\xBD\xC3\xA9", "\xC3\xA9\xEF\xBF\xBD\xC3\xA9"},
    {"%E2%82%E2%82%AC", "\xEF\xBF\xBD\xE2\x82\xAC", "\xEF\xBF\xBD\xE2\x82\xAC"},
    {"%F0%9F%F0%9F%98%80", "\xEF\xBF\xBD\xF0\x9F\x98\x80", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
    {"%0d%0A", "\x0D\x0A", "\x0D\x0A"},
    {"a+b", "a+b", "a b"},
    {"%2B", "+", "+"},
    {"%E2%E2%E2", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"x%EF%BF%BDy", "x\xEF\xBF\xBDy", "x\xEF\xBF\xBDy"},
    {"%EF%BB%BF", "\xEF\xBB\xBF", "\xEF\xBB\xBF"},
    {"%C3%A9+%C3", "\xC3\xA9+\xEF\xBF\xBD", "\xC3\xA9 \xEF\xBF\xBD"},
    {"%f1%80%80%e1%80%c2x", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx",
     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx"},
};

static char *block_of(const char *text, size_t len)
{
    char *block = malloc(len > 0 ? len : 1);
    assert_non_null(block);
    memcpy(block, text, len);
    return block;
}

static void decodes_to(const char *text, bool plus, const char *expected)
{
    struct peri_buf out = {0};
    size_t len = strlen(text);
    char *block = block_of(text, len);
    peri_url_decode(&out, block, len, plus);
    peri_buf_add_byte(&out, '\0');
    assert_string_equal(out.data, expected);

    /* Behind other bytes, which stay as they are although they are no UTF-8. */
    out.len = 0;
    peri_buf_add_lit(&out, "\xE2\x82");
    peri_url_decode(&out, block, len, plus);
    peri_buf_add_byte(&out, '\0');
    assert_memory_equal(out.data, "\xE2\x82", 2);
    assert_string_equal(out.data + 2, expected);

    free(block);
    peri_buf_deinit(&out);
}

static void percent_decoding_agrees_with_python(void **state)
{
    (void) state;
    for (size_t i = 0; i < COUNT(decodings); i++) {
        decodes_to(decodings[i].text, false, decodings[i].unquoted);
        decodes_to(decodings[i].text, true, decodings[i].unquoted_plus);
    }
}

static void decoded_text_may_hold_nul(void **state)
{
    (void) state;
    struct peri_buf out = {0};
    peri_url_decode(&out, "a%00b", 5, false);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "a\0b", 3);
    peri_buf_deinit(&out);
}

/* Every pair of bytes, then a letter: decoded text is UTF-8 whatever was sent. */
static void decoded_text_is_always_utf8(void **state)
{
    (void) state;
    static const char hex[] = "0123456789ABCDEF";
    struct peri_buf out = {0};
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        char text[] = "%..%..x";
        text[1] = hex[pair >> 12];
        text[2] = hex[pair >> 8 & 15];
        text[4] = hex[pair >> 4 & 15];
        text[5] = hex[pair & 15];
        out.len = 0;
        peri_url_decode(&out, text, sizeof(text) - 1, false);
        assert_int_equal(peri_utf8_valid(out.data, out.len), out.len);
        assert_int_equal(out.data[out.len - 1], 'x');
    }
    peri_buf_deinit(&out);
}

static void splits_to(const char *query, const char *expected)
{
    size_t len = strlen(query);
    char *block = block_of(query, len);
    const char *text = block;
    struct peri_buf pair = {0};
    struct peri_buf all = {0};
    size_t name_len = 0;
    size_t value_len = 0;
    while (peri_url_next_pair(&text, &len, &pair, &name_len, &value_len)) {
        assert_int_equal(pair.len, name_len + value_len);
        peri_buf_add_lit(&all, "(");
        if (pair.len > 0) {
            peri_buf_add(&all, pair.data, name_len);
            peri_buf_add_lit(&all, ",");
            peri_buf_add(&all, pair.data + name_len, value_len);
        } else {
            peri_buf_add_lit(&all, ",");
        }
        peri_buf_add_lit(&all, ")");
        pair.len = 0;
    }
    assert_int_equal(len, 0);
    peri_buf_add_byte(&all, '\0');
    assert_string_equal(all.data, expected);
    peri_buf_deinit(&pair);
    peri_buf_deinit(&all);
    free(block);
}

static void queries_are_split_as_in_python(void **state)
{
    (void) state;
    splits_to("", "");
    splits_to("a", "(a,)");
    splits_to("a=", "(a,)");
    splits_to("=a", "(,a)");
    splits_to("=", "(,)");
    splits_to("a=1", "(a,1)");
    splits_to("a=1&b=2", "(a,1)(b,2)");
    splits_to("&a=1&&b=2&", "(a,1)(b,2)");
    splits_to("a=1&a=2&A=3", "(a,1)(a,2)(A,3)");
    splits_to("a=b=c", "(a,b=c)");
    splits_to("a%3Db=c%26d", "(a=b,c&d)");
    splits_to("a+b=c+d", "(a b,c d)");
    splits_to("%61=%31", "(a,1)");
    splits_to("a=%2B&b=+", "(a,+)(b, )");
    splits_to("a;b=c", "(a;b,c)");
    splits_to("a=1;b=2", "(a,1;b=2)");
    splits_to("&&&", "");
    splits_to("==&=", "(,=)(,)");
    splits_to("a=%FF&%E2%82=b", "(a,\xEF\xBF\xBD)(\xEF\xBF\xBD,b)");
    splits_to("%=%", "(%,%)");
}

static void cookies_are(const char *header, const char *expected)
{
    size_t len = strlen(header);
    char *block = block_of(header, len);
    const char *text = block;
    struct peri_buf all = {0};
    struct peri_field cookie;
    while (peri_cookie_next(&text, &len, &cookie)) {
        peri_buf_add_lit(&all, "(");
        peri_buf_add(&all, cookie.name, cookie.name_len);
        peri_buf_add_lit(&all, ",");
        peri_buf_add(&all, cookie.value, cookie.value_len);
        peri_buf_add_lit(&all, ")");
    }
    assert_int_equal(len, 0);
    peri_buf_add_byte(&all, '\0');
    assert_string_equal(all.data, expected);
    peri_buf_deinit(&all);
    free(block);
}

static void cookies_are_split_as_browsers_write_them(void **state)
{
    (void) state;
    cookies_are("", "");
    cookies_are("a=1", "(a,1)");
    cookies_are("a=1; b=2", "(a,1)(b,2)");
    cookies_are("a=1;b=2;", "(a,1)(b,2)");
    cookies_are(" a = 1 ;\tb\t=\t2\t", "(a,1)(b,2)");
    cookies_are("a=b=c; d==", "(a,b=c)(d,=)");
    cookies_are("a=", "(a,)");
    cookies_are("=a", "(,a)");
    cookies_are("a", "(,a)");
    cookies_are("=; ; ;a=1", "(a,1)");
    cookies_are("a=1, b=2", "(a,1, b=2)");
    cookies_are("a=%20+x", "(a,%20+x)");
    cookies_are("a=\"1 2\"; b=\"\"; c=\"; d=x\"y\"", "(a,1 2)(b,)(c,\")(d,x\"y\")");
    cookies_are("a=1; a=2", "(a,1)(a,2)");
}

static void header_bytes_become_utf8(void **state)
{
    (void) state;
    char every[256];
    for (int i = 0; i < 256; i++)
        every[i] = (char) i;
    struct peri_buf out = {0};
    peri_latin1_decode(&out, every, sizeof(every));
    assert_int_equal(out.len, 128 + 2 * 128);
    assert_int_equal(peri_utf8_valid(out.data, out.len), out.len);
    assert_int_equal(peri_utf8_count(out.data, out.len), 256);
    assert_memory_equal(out.data, every, 128);
    out.len = 0;
    peri_latin1_decode(&out, "a\xE9\xFF", 3);
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.data, "a\xC3\xA9\xC3\xBF", 5);
    out.len = 0;
    peri_latin1_decode(&out, "", 0);
    assert_int_equal(out.len, 0);
    peri_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_decoding_agrees_with_python),
        cmocka_unit_test(decoded_text_may_hold_nul),
        cmocka_unit_test(decoded_text_is_always_utf8),
        cmocka_unit_test(queries_are_split_as_in_python),
        cmocka_unit_test(cookies_are_split_as_browsers_write_them),
        cmocka_unit_test(header_bytes_become_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
