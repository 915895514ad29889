/* The tape and its text: what RFC 8259 accepts and refuses, the errors of Python's json module with
 * their positions, exact numbers, UTF-8, and writing nodes again. */
#include "json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DEPTH 512

static struct peri_json_doc doc; /* one for all tests, as in the host: reuse is tested as well */
static struct peri_json_error error;
static char *source; /* of the last parse; a block of its own, so that a sanitizer sees its end */

static int parse_bytes(const char *bytes, size_t len, unsigned max_depth, unsigned flags)
{
    free(source);
    source = malloc(len == 0 ? 1 : len);
    assert_non_null(source);
    memcpy(source, bytes, len);
    error = (struct peri_json_error){0};
    return peri_json_parse(&doc, source, len, max_depth, flags, &error);
}

static const struct peri_json_node *parse(const char *text)
{
    if (parse_bytes(text, strlen(text), DEPTH, 0) != 0)
        fail_msg("%s: %s at %zu", text, error.message, error.byte);
    return doc.nodes;
}

static void assert_written(const struct peri_json_node *node, const char *expected)
{
    struct peri_buf out = {0};
    peri_json_add_node(&out, node);
    peri_buf_add_byte(&out, '\0');
    assert_string_equal(out.data, expected);
    peri_buf_deinit(&out);
}

static void assert_rewritten(const char *text, const char *expected)
{
    assert_written(parse(text), expected);
}

static void assert_string(const struct peri_json_node *node, const char *expected, size_t len)
{
    assert_int_equal(node->type, PERI_JSON_STRING);
    assert_int_equal(node->count, len);
    assert_memory_equal(node->string, expected, len);
}

static void assert_error(const char *text, const char *message, size_t character)
{
    if (parse_bytes(text, strlen(text), DEPTH, 0) == 0)
        fail_msg("%s is accepted", text);
    if (strcmp(error.message, message) != 0 || error.character != character || error.unreadable)
        fail_msg("%s: %s at %zu, expected: %s at %zu", text, error.message, error.character,
                 message, character);
}

/* ---- the tape ---- */

static void scalars_are_one_node(void **state)
{
    (void) state;
    assert_int_equal(parse("null")->type, PERI_JSON_NULL);
    assert_int_equal(parse(" true ")->type, PERI_JSON_TRUE);
    assert_int_equal(parse("\t\r\nfalse")->type, PERI_JSON_FALSE);
    assert_int_equal(parse("42")->type, PERI_JSON_INTEGER);
    assert_int_equal(doc.nodes->integer, 42);
    assert_int_equal(parse("1.5")->type, PERI_JSON_NUMBER);
    assert_true(doc.nodes->number == 1.5);
    assert_string(parse("\"\""), "", 0);
    assert_int_equal(doc.count, 1);
    assert_int_equal(doc.nodes->skip, 1);
}

static void a_value_is_followed_by_what_it_contains(void **state)
{
    (void) state;
    const struct peri_json_node *root = parse("{\"a\": [1, {}, []], \"bc\": true}");
    static const struct {
        enum peri_json_type type;
        uint32_t skip, count, at;
    } expected[] = {
        {PERI_JSON_OBJECT, 8, 2, 0},  {PERI_JSON_STRING, 1, 1, 1},  {PERI_JSON_ARRAY, 4, 3, 6},
        {PERI_JSON_INTEGER, 1, 0, 7}, {PERI_JSON_OBJECT, 1, 0, 10}, {PERI_JSON_ARRAY, 1, 0, 14},
        {PERI_JSON_STRING, 1, 2, 19}, {PERI_JSON_TRUE, 1, 0, 25},
    };
    assert_int_equal(doc.count, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_int_equal(root[i].type, expected[i].type);
        assert_int_equal(root[i].skip, expected[i].skip);
        assert_int_equal(root[i].count, expected[i].count);
        assert_int_equal(root[i].at, expected[i].at);
    }
    assert_ptr_equal(root[1].string, source + 2); /* no copy */
}

static void a_tape_grows_as_needed(void **state)
{
    (void) state;
    static char text[2 * 40000 + 1];
    text[0] = '[';
    for (size_t i = 1; i < sizeof(text) - 1; i++)
        text[i] = i % 2 == 1 ? '7' : ',';
    text[sizeof(text) - 1] = ']';
    assert_int_equal(parse_bytes(text, sizeof(text), DEPTH, 0), 0);
    assert_int_equal(doc.nodes->count, 40000);
    assert_int_equal(doc.nodes->skip, doc.count);
    assert_int_equal(doc.nodes[doc.count - 1].integer, 7);

    uint32_t large = doc.cap;
    parse("[1]");
    assert_true(doc.cap < large);
}

static void blanks_may_stand_between_all_tokens(void **state)
{
    (void) state;
    assert_rewritten(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } , \"c\" : [ ] } \n",
                     "{\"a\":[1,2],\"b\":{},\"c\":[]}");
    assert_error("[1,\v2]", "Expecting value", 3);
    assert_error("\f1", "Expecting value", 0);
    assert_error("[1\xc2\xa0]", "Expecting ',' delimiter", 2);
}

/* ---- numbers ---- */

static void integers_are_exact_to_64_bits(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"-1", -1},
        {"9007199254740993", 9007199254740993},
        {"999999999999999999", 999999999999999999},
        {"1000000000000000000", 1000000000000000000},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct peri_json_node *node = parse(cases[i].text);
        assert_int_equal(node->type, PERI_JSON_INTEGER);
        assert_true(node->integer == cases[i].value);
    }
}

static void larger_integers_keep_their_digits(void **state)
{
    (void) state;
    static const char *const cases[] = {
        "9223372036854775808",  "-9223372036854775809", "9999999999999999999",
        "18446744073709551616", "18446744073709551617", "-123456789012345678901234567890",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct peri_json_node *node = parse(cases[i]);
        assert_int_equal(node->type, PERI_JSON_BIG);
        assert_int_equal(node->count, strlen(cases[i]));
        assert_memory_equal(node->string, cases[i], node->count);
        assert_written(node, cases[i]);
    }
}

static void integers_of_more_than_4300_digits_are_refused(void **state)
{
    (void) state;
    char digits[4303];
    memset(digits, '7', sizeof(digits));
    assert_int_equal(parse_bytes(digits, 4300, DEPTH, 0), 0);
    assert_int_equal(parse_bytes(digits, 4301, DEPTH, 0), -1);
    assert_true(error.unreadable);
    digits[0] = '-';
    assert_int_equal(parse_bytes(digits, 4301, DEPTH, 0), 0);
    assert_int_equal(parse_bytes(digits, 4302, DEPTH, 0), -1);
    assert_string_equal(error.message,
                        "Exceeds the limit (4300 digits) for integer string conversion");
    memset(digits, '7', sizeof(digits));
    digits[4301] = '.';
    assert_int_equal(parse_bytes(digits, 4303, DEPTH, 0), 0); /* a double may be as long */
    assert_true(isinf(doc.nodes->number));
}

static void a_fraction_or_an_exponent_makes_a_double(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0.0", 0.0},
        {"1.0", 1.0},
        {"-12.25", -12.25},
        {"1e5", 1e5},
        {"1E+2", 100.0},
        {"-1.5e-3", -0.0015},
        {"0e0", 0.0},
        {"1e400", (double) INFINITY},
        {"123456789012345678901234567890.0", 1.2345678901234568e29},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct peri_json_node *node = parse(cases[i].text);
        assert_int_equal(node->type, PERI_JSON_NUMBER);
        assert_true(node->number == cases[i].value);
    }
    assert_true(signbit(parse("-0.0")->number));
    assert_true(peri_json_to_double("-2.5e1", 6) == -25.0);
}

static void refuses_other_numbers(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *message;
        size_t character;
    } cases[] = {
        {"-", "Expecting value", 0},
        {"+1", "Expecting value", 0},
        {".5", "Expecting value", 0},
        {"-a", "Expecting value", 0},
        {"[-]", "Expecting value", 1},
        {"01", "Extra data", 1},
        {"-01", "Extra data", 2},
        {"1.", "Extra data", 1},
        {"1.e5", "Extra data", 1},
        {"1e", "Extra data", 1},
        {"1e+", "Extra data", 1},
        {"1.5e", "Extra data", 3},
        {"1.5.5", "Extra data", 3},
        {"0x10", "Extra data", 1},
        {"1_000", "Extra data", 1},
        {"[1 000]", "Expecting ',' delimiter", 3},
        {"NaN", "Expecting value", 0},
        {"Infinity", "Expecting value", 0},
        {"-Infinity", "Expecting value", 0},
        {"[1,2e]", "Expecting ',' delimiter", 4},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_error(cases[i].text, cases[i].message, cases[i].character);
}

static void not_a_number_is_a_number_where_allowed(void **state)
{
    (void) state;
    const char *text = "[NaN,Infinity,-Infinity]";
    assert_int_equal(parse_bytes(text, strlen(text), DEPTH, PERI_JSON_ALLOW_NAN), 0);
    assert_true(isnan(doc.nodes[1].number));
    assert_true(doc.nodes[2].number == (double) INFINITY);
    assert_true(doc.nodes[3].number == (double) -INFINITY);
    assert_written(doc.nodes, "[null,null,null]");

    static const char *const wrong[] = {"nan", "-NaN", "Infinit", "-I", "inf", "N"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(parse_bytes(wrong[i], strlen(wrong[i]), DEPTH, PERI_JSON_ALLOW_NAN), -1);
        assert_string_equal(error.message, "Expecting value");
        assert_int_equal(error.character, 0);
    }
}

/* ---- strings ---- */

static void escapes_stand_for_their_bytes(void **state)
{
    (void) state;
    assert_string(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\/\b\f\n\r\t", 8);
    assert_string(parse("\"a\\u0041\\u00e9\\u20ac\\uFFFF\""), "aA\xc3\xa9\xe2\x82\xac\xef\xbf\xbf",
                  10);
    assert_string(parse("\"\\ud83d\\ude00\""), "\xf0\x9f\x98\x80", 4);
    assert_string(parse("\"\\uDBFF\\uDFFFx\""), "\xf4\x8f\xbf\xbfx", 5);
    assert_string(parse("\"a\\u0000b\""), "a\0b", 3);
    assert_string(parse("\"before \\n a longer run behind it \xc3\xa9 and \\t the end\""),
                  "before \n a longer run behind it \xc3\xa9 and \t the end", 48);

    const struct peri_json_node *root = parse("[\"\\n\", \"plain\", \"\\t\\t\", \"\\\\\"]");
    assert_string(root + 1, "\n", 1);
    assert_string(root + 2, "plain", 5);
    assert_string(root + 3, "\t\t", 2);
    assert_string(root + 4, "\\", 1);
}

static void knows_which_strings_are_ascii(void **state)
{
    (void) state;
    assert_true(parse("\"plain\"")->ascii);
    assert_true(parse("\"\\n\\u0041\"")->ascii);
    assert_false(parse("\"\xc3\xa9\"")->ascii);
    assert_false(parse("\"a long text with one letter \xc3\xa9\"")->ascii);
    assert_false(parse("\"\\u00e9\"")->ascii);
    assert_false(parse("\"\\n\xc3\xa9\"")->ascii);
    assert_false(parse("\"\xc3\xa9\\n\"")->ascii);
}

/* What ends a string is looked for eight bytes at a time: put it at every distance. */
static void finds_the_end_at_every_distance(void **state)
{
    (void) state;
    for (size_t len = 0; len < 40; len++) {
        char text[64];
        memset(text, 'x', sizeof(text));
        text[0] = '"';
        text[len + 1] = '"';
        assert_int_equal(parse_bytes(text, len + 2, DEPTH, 0), 0);
        assert_int_equal(doc.nodes->count, len);
        assert_int_equal(parse_bytes(text, len + 1, DEPTH, 0), -1);
        assert_string_equal(error.message, "Unterminated string starting at");

        text[len + 2] = '"';
        text[len + 1] = '\x1f';
        assert_int_equal(parse_bytes(text, len + 3, DEPTH, 0), -1);
        assert_string_equal(error.message, "Invalid control character at");
        assert_int_equal(error.byte, len + 1);
        text[len + 1] = '\x7f';
        assert_int_equal(parse_bytes(text, len + 3, DEPTH, 0), 0);
        text[len + 1] = '\x80';
        assert_int_equal(parse_bytes(text, len + 3, DEPTH, 0), -1);
        assert_string_equal(error.message, "Invalid UTF-8");
        assert_int_equal(error.byte, len + 1);
    }
}

static void refuses_broken_strings(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *message;
        size_t character;
    } cases[] = {
        {"\"abc", "Unterminated string starting at", 0},
        {"  \"a", "Unterminated string starting at", 2},
        {"\"a\\", "Unterminated string starting at", 0},
        {"\"a\\n", "Unterminated string starting at", 0},
        {"[\"\xc3\xa9\", \"abc]", "Unterminated string starting at", 6},
        {"{\"a", "Unterminated string starting at", 1},
        {"\"a\nb\"", "Invalid control character at", 2},
        {"\"\\n\tb\"", "Invalid control character at", 3},
        {"{\"a\x01\":1}", "Invalid control character at", 3},
        {"\"\\x\"", "Invalid \\escape", 1},
        {"\"\xc3\xa9\\q\"", "Invalid \\escape", 2},
        {"\"\\U0041\"", "Invalid \\escape", 1},
        {"\"\\'\"", "Invalid \\escape", 1},
        {"\"\\u", "Invalid \\uXXXX escape", 2},
        {"\"\\u12\"", "Invalid \\uXXXX escape", 2},
        {"\"\\u12G4\"", "Invalid \\uXXXX escape", 2},
        {"\"\\u0x12\"", "Invalid \\uXXXX escape", 2},
        {"\"\\u+123\"", "Invalid \\uXXXX escape", 2},
        {"\"\\u1234", "Invalid \\uXXXX escape", 2},
        {"\"\\u12345", "Unterminated string starting at", 0},
        {"\"\\ud800\\u12\"", "Invalid \\uXXXX escape", 8},
        {"\"\\ud800\\u123g\"", "Invalid \\uXXXX escape", 8},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_error(cases[i].text, cases[i].message, cases[i].character);

    assert_int_equal(parse_bytes("\"\0\"", 3, DEPTH, 0), -1);
    assert_string_equal(error.message, "Invalid control character at");
}

static void refuses_lone_surrogates(void **state)
{
    (void) state;
    assert_error("\"\\ud800\"", "Invalid \\uXXXX escape", 2);
    assert_error("\"\\udfff\"", "Invalid \\uXXXX escape", 2);
    assert_error("\"x\\ude00\\ud83d\"", "Invalid \\uXXXX escape", 3);
    assert_error("\"\\ud83d\\n\"", "Invalid \\uXXXX escape", 2);
    assert_error("\"\\ud83dxu1234\"", "Invalid \\uXXXX escape", 2);
    assert_error("\"\\ud83d\\u0041\"", "Invalid \\uXXXX escape", 2);
    assert_error("\"\\ud83d\\ud83d\\ude00\"", "Invalid \\uXXXX escape", 2);
}

/* ---- UTF-8 ---- */

static const char *const well_formed[] = {
    "\xc2\x80",         "\xdf\xbf",         "\xe0\xa0\x80",     "\xe1\x80\xbf",
    "\xed\x9f\xbf",     "\xee\x80\x80",     "\xef\xbf\xbf",     "\xf0\x90\x80\x80",
    "\xf1\x80\x80\x80", "\xf3\xbf\xbf\xbf", "\xf4\x8f\xbf\xbf",
};

static const char *const ill_formed[] = {
    "\x80",
    "\xbf",
    "\xc0\x80",
    "\xc1\xbf",
    "\xc2",
    "\xc2x",
    "\xc2\xc0",
    "\xe0\x9f\xbf",
    "\xe1\x80",
    "\xe1\x80x",
    "\xe1x\x80",
    "\xed\xa0\x80",
    "\xed\xbf\xbf",
    "\xf0\x8f\xbf\xbf",
    "\xf0\x90\x80",
    "\xf1\x80\x80x",
    "\xf1\x80x\x80",
    "\xf4\x90\x80\x80",
    "\xf5\x80\x80\x80",
    "\xff",
    "\xf8\x88\x80\x80\x80",
};

static void strings_hold_well_formed_utf8(void **state)
{
    (void) state;
    for (size_t i = 0; i < COUNT(well_formed); i++) {
        char text[32];
        size_t len = strlen(well_formed[i]);
        assert_int_equal(peri_utf8_valid(well_formed[i], len), len);
        assert_int_equal(peri_utf8_count(well_formed[i], len), 1);
        snprintf(text, sizeof(text), "\"%s\"", well_formed[i]);
        assert_string(parse(text), well_formed[i], len);
        snprintf(text, sizeof(text), "\"\\n%s\"", well_formed[i]);
        assert_int_equal(parse(text)->count, len + 1);
    }
}

static void any_other_bytes_are_unreadable(void **state)
{
    (void) state;
    for (size_t i = 0; i < COUNT(ill_formed); i++) {
        char text[32];
        size_t len = strlen(ill_formed[i]);
        char *copy = malloc(len);
        assert_non_null(copy);
        memcpy(copy, ill_formed[i], len);
        assert_int_equal(peri_utf8_valid(copy, len), 0);
        free(copy);

        static const char *const formats[] = {"\"ab%s\"", "\"\\n%s\"", "12 %s", "\"ab%s"};
        for (size_t j = 0; j < COUNT(formats); j++) {
            snprintf(text, sizeof(text), formats[j], ill_formed[i]);
            assert_int_equal(parse_bytes(text, strlen(text), DEPTH, 0), -1);
            assert_string_equal(error.message, "Invalid UTF-8");
            assert_int_equal(error.byte, 3);
            assert_true(error.unreadable);
        }
    }
}

static void wrong_utf8_outweighs_wrong_grammar(void **state)
{
    (void) state;
    assert_int_equal(parse_bytes("[1,,\"\xc3\xa9\xff\"]", 9, DEPTH, 0), -1);
    assert_string_equal(error.message, "Invalid UTF-8");
    assert_int_equal(error.byte, 7);
    assert_int_equal(error.character, 6);
    assert_true(error.unreadable);
}

static void a_byte_order_mark_is_skipped(void **state)
{
    (void) state;
    assert_int_equal(parse("\xef\xbb\xbf [1]")->at, 4);
    assert_error("\xef\xbb\xbf {\"a\":}", "Expecting value", 6);
    assert_int_equal(error.byte, 9);
    assert_error("\xef\xbb\xbf", "Expecting value", 0);
    assert_error("\xef\xbb\xbf\xef\xbb\xbf[1]", "Expecting value", 0);
    assert_error("[\xef\xbb\xbf]", "Expecting value", 1);
}

/* ---- structure ---- */

static void errors_are_those_of_python(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *message;
        size_t character;
    } cases[] = {
        {"", "Expecting value", 0},
        {"  ", "Expecting value", 2},
        {"nul", "Expecting value", 0},
        {"tru", "Expecting value", 0},
        {"[fals]", "Expecting value", 1},
        {"True", "Expecting value", 0},
        {"truex", "Extra data", 4},
        {"1 2", "Extra data", 2},
        {"{} []", "Extra data", 3},
        {"\"\xc3\xa9\" x", "Extra data", 4},
        {"[", "Expecting value", 1},
        {"[ ", "Expecting value", 2},
        {"[}", "Expecting value", 1},
        {"]", "Expecting value", 0},
        {"[,]", "Expecting value", 1},
        {"[1", "Expecting ',' delimiter", 2},
        {"[1 ", "Expecting ',' delimiter", 3},
        {"[1,", "Expecting value", 3},
        {"[1,,2]", "Expecting value", 3},
        {"[1 2]", "Expecting ',' delimiter", 3},
        {"[1}", "Expecting ',' delimiter", 2},
        {"[1:2]", "Expecting ',' delimiter", 2},
        {"[[] []]", "Expecting ',' delimiter", 4},
        {"[1,]", "Illegal trailing comma before end of array", 2},
        {"[1 , ]", "Illegal trailing comma before end of array", 3},
        {"[{},\n]", "Illegal trailing comma before end of array", 3},
        {"{", "Expecting property name enclosed in double quotes", 1},
        {"{ ", "Expecting property name enclosed in double quotes", 2},
        {"{]", "Expecting property name enclosed in double quotes", 1},
        {"{,}", "Expecting property name enclosed in double quotes", 1},
        {"{1:2}", "Expecting property name enclosed in double quotes", 1},
        {"{some broken json}", "Expecting property name enclosed in double quotes", 1},
        {"{'a':1}", "Expecting property name enclosed in double quotes", 1},
        {"{\"a\":1,", "Expecting property name enclosed in double quotes", 7},
        {"{\"a\":1,,}", "Expecting property name enclosed in double quotes", 7},
        {"{\"a\":1,]", "Expecting property name enclosed in double quotes", 7},
        {"{\"a\":1,}", "Illegal trailing comma before end of object", 6},
        {"{\"a\":[] , }", "Illegal trailing comma before end of object", 8},
        {"{\"a\"", "Expecting ':' delimiter", 4},
        {"{\"a\" 1}", "Expecting ':' delimiter", 5},
        {"{\"a\",1}", "Expecting ':' delimiter", 4},
        {"{\"a\"}", "Expecting ':' delimiter", 4},
        {"{\"a\":", "Expecting value", 5},
        {"{\"a\" : ", "Expecting value", 7},
        {"{\"a\"::1}", "Expecting value", 5},
        {"{\"a\":}", "Expecting value", 5},
        {"{\"a\":1", "Expecting ',' delimiter", 6},
        {"{\"a\":1]", "Expecting ',' delimiter", 6},
        {"{\"a\":1 \"b\":2}", "Expecting ',' delimiter", 7},
        {"[\"\xc3\xa9\xe2\x82\xac\",\n1 2]", "Expecting ',' delimiter", 9},
        {"/* c */ 1", "Expecting value", 0},
        {"[1]//", "Extra data", 3},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_error(cases[i].text, cases[i].message, cases[i].character);

    assert_int_equal(parse_bytes("[1]\0", 4, DEPTH, 0), -1);
    assert_string_equal(error.message, "Extra data");
    assert_int_equal(parse_bytes("[\0]", 3, DEPTH, 0), -1);
    assert_string_equal(error.message, "Expecting value");
}

/* Cutting a text anywhere is an error, and the doc serves again afterwards. */
static void every_prefix_of_a_text_is_an_error(void **state)
{
    (void) state;
    const char *text =
        "{\"a\\n\":[1,-2.5e3,true,null,\"\\u00e9\\ud83d\\ude00 \xc3\xa9\"],\"b\":{}}";
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(parse_bytes(text, len, DEPTH, 0), -1);
    assert_rewritten(text, "{\"a\\n\":[1,-2500.0,true,null,"
                           "\"\xc3\xa9\xf0\x9f\x98\x80 \xc3\xa9\"],\"b\":{}}");
}

static void nesting_is_bounded(void **state)
{
    (void) state;
    assert_int_equal(parse_bytes("1", 1, 0, 0), 0);
    assert_int_equal(parse_bytes("[]", 2, 0, 0), -1);
    assert_int_equal(parse_bytes("[{\"a\":[]},{\"b\":[]}]", 19, 3, 0), 0);
    assert_int_equal(parse_bytes("[{\"a\":[]},{\"b\":[]}]", 19, 2, 0), -1);
    assert_string_equal(error.message, "Nesting too deep");
    assert_int_equal(error.byte, 6);
    assert_true(error.unreadable);

    static char deep[1000000];
    memset(deep, '[', sizeof(deep));
    assert_int_equal(parse_bytes(deep, sizeof(deep), UINT32_MAX, 0), -1);
    assert_string_equal(error.message, "Nesting too deep");
    assert_int_equal(error.byte, PERI_JSON_MAX_DEPTH);

    const size_t len = (size_t) 2 * PERI_JSON_MAX_DEPTH;
    memset(deep + PERI_JSON_MAX_DEPTH, ']', PERI_JSON_MAX_DEPTH);
    assert_int_equal(parse_bytes(deep, len, UINT32_MAX, 0), 0);
    deep[len] = '\0';
    assert_written(doc.nodes, deep);
}

/* ---- writing ---- */

static void nodes_are_written_as_python_would(void **state)
{
    (void) state;
    assert_rewritten("[1.0, 1e16, 1e-5, -0.0, -0, 100, 0.1, 1E400]",
                     "[1.0,1e+16,1e-05,-0.0,0,100,0.1,null]");
    assert_rewritten("\"\\u0000\\u001f\\b\\t\\n\\f\\r\\u000b\\\"\\\\\\/\\u007f\\u2028\"",
                     "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\u000b\\\"\\\\/\x7f\xe2\x80\xa8\"");
    assert_rewritten("[[],{},[{}],{\"\":\"\"}]", "[[],{},[{}],{\"\":\"\"}]");
    assert_rewritten("[true,false,null]", "[true,false,null]");
}

static void of_equal_keys_the_last_value_stands_first(void **state)
{
    (void) state;
    assert_rewritten("{\"a\":1,\"b\":2,\"a\":{\"x\":[3]}}", "{\"a\":{\"x\":[3]},\"b\":2}");
    assert_rewritten("{\"a\":1,\"\\u0061\":2,\"b\":0,\"a\":3,\"b\":4}", "{\"a\":3,\"b\":4}");
    assert_rewritten("{\"\":1,\"\":2}", "{\"\":2}");
}

/* Beyond some members another way of finding them takes over. */
static void equal_keys_are_found_among_many(void **state)
{
    (void) state;
    for (int count = 1; count < 60; count++) {
        struct peri_buf text = {0};
        struct peri_buf expected = {0};
        peri_buf_add_lit(&text, "{\"k\":0");
        peri_buf_addf(&expected, "{\"k\":%d", count);
        for (int i = 1; i <= count; i++) {
            peri_buf_addf(&text, ",\"key%d\":[%d],\"k\":%d", i % 20, i, i);
            if (i <= 20) /* written at their first place with the last value */
                peri_buf_addf(&expected, ",\"key%d\":[%d]", i % 20, i + (count - i) / 20 * 20);
        }
        peri_buf_add_byte(&text, '}');
        peri_buf_add(&expected, "}", 2);
        assert_int_equal(parse_bytes(text.data, text.len, DEPTH, 0), 0);
        assert_written(doc.nodes, expected.data);
        peri_buf_deinit(&text);
        peri_buf_deinit(&expected);
    }
}

static void strings_are_escaped_at_every_distance(void **state)
{
    (void) state;
    for (size_t at = 0; at < 24; at++) {
        char plain[33];
        char expected[64];
        memset(plain, 'x', sizeof(plain));
        plain[at] = '\n';
        memset(expected, 'x', sizeof(expected));
        expected[0] = '"';
        expected[at + 1] = '\\';
        expected[at + 2] = 'n';
        for (size_t len = at + 1; len < sizeof(plain); len++) {
            struct peri_buf out = {0};
            assert_true(peri_json_add_string(&out, plain, len));
            assert_int_equal(out.len, len + 3);
            assert_memory_equal(out.data, expected, out.len - 1);
            assert_int_equal(out.data[out.len - 1], '"');
            peri_buf_deinit(&out);
        }
    }
}

static void what_is_no_utf8_is_not_written(void **state)
{
    (void) state;
    struct peri_buf out = {0};
    for (size_t i = 0; i < COUNT(ill_formed); i++) {
        char text[32];
        snprintf(text, sizeof(text), "longer than a word\n%s", ill_formed[i]);
        assert_false(peri_json_add_string(&out, text, strlen(text)));
        assert_int_equal(out.len, 0);
    }
    for (size_t i = 0; i < COUNT(well_formed); i++)
        assert_true(peri_json_add_string(&out, well_formed[i], strlen(well_formed[i])));
    assert_int_equal(peri_utf8_valid(out.data, out.len), out.len);
    peri_buf_deinit(&out);
}

static void pretty_text_is_indented(void **state)
{
    (void) state;
    const char *text = "{\"a\":[1,{},[],\"x:,{}[]\\\"\\\\\"],\"b\":{\"c\":null}}";
    const char *expected = "{\n"
                           "  \"a\": [\n"
                           "    1,\n"
                           "    {},\n"
                           "    [],\n"
                           "    \"x:,{}[]\\\"\\\\\"\n"
                           "  ],\n"
                           "  \"b\": {\n"
                           "    \"c\": null\n"
                           "  }\n"
                           "}";
    struct peri_buf out = {0};
    peri_json_add_pretty(&out, text, strlen(text));
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);
    peri_buf_deinit(&out);
}

static int clean_up(void **state)
{
    (void) state;
    free(source);
    peri_json_doc_deinit(&doc);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_one_node),
        cmocka_unit_test(a_value_is_followed_by_what_it_contains),
        cmocka_unit_test(a_tape_grows_as_needed),
        cmocka_unit_test(blanks_may_stand_between_all_tokens),
        cmocka_unit_test(integers_are_exact_to_64_bits),
        cmocka_unit_test(larger_integers_keep_their_digits),
        cmocka_unit_test(integers_of_more_than_4300_digits_are_refused),
        cmocka_unit_test(a_fraction_or_an_exponent_makes_a_double),
        cmocka_unit_test(refuses_other_numbers),
        cmocka_unit_test(not_a_number_is_a_number_where_allowed),
        cmocka_unit_test(escapes_stand_for_their_bytes),
        cmocka_unit_test(knows_which_strings_are_ascii),
        cmocka_unit_test(finds_the_end_at_every_distance),
        cmocka_unit_test(refuses_broken_strings),
        cmocka_unit_test(refuses_lone_surrogates),
        cmocka_unit_test(strings_hold_well_formed_utf8),
        cmocka_unit_test(any_other_bytes_are_unreadable),
        cmocka_unit_test(wrong_utf8_outweighs_wrong_grammar),
        cmocka_unit_test(a_byte_order_mark_is_skipped),
        cmocka_unit_test(errors_are_those_of_python),
        cmocka_unit_test(every_prefix_of_a_text_is_an_error),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(nodes_are_written_as_python_would),
        cmocka_unit_test(of_equal_keys_the_last_value_stands_first),
        cmocka_unit_test(equal_keys_are_found_among_many),
        cmocka_unit_test(strings_are_escaped_at_every_distance),
        cmocka_unit_test(what_is_no_utf8_is_not_written),
        cmocka_unit_test(pretty_text_is_indented),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
