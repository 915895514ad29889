/* Doubles from and to decimal text: hard cases known from the literature, borders, layout, and the
 * round trip of many bit patterns. */
#include "number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* From a block that ends with the text, so that a sanitizer sees a read behind it. */
static double read_text(const char *text, size_t len)
{
    char *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, text, len);
    double value = peri_number_read(copy, len);
    free(copy);
    return value;
}

static uint64_t bits_of(double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static double from_bits(uint64_t bits)
{
    double value = 0;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void assert_reads(const char *text, double expected)
{
    double value = read_text(text, strlen(text));
    if (bits_of(value) != bits_of(expected))
        fail_msg("%s is read as %a, not %a", text, value, expected);
}

static void assert_writes(double value, const char *expected)
{
    char text[PERI_NUMBER_MAX + 1];
    size_t len = peri_number_write(text, value);
    assert_true(len <= PERI_NUMBER_MAX);
    text[len] = '\0';
    assert_string_equal(text, expected);
    assert_reads(text, value);
}

static void reads_what_is_exact(void **state)
{
    (void) state;
    assert_reads("0.0", 0.0);
    assert_reads("-0.0", -0.0);
    assert_reads("-0e5", -0.0);
    assert_reads("1.5", 1.5);
    assert_reads("-35.4", -35.4);
    assert_reads("1e22", 1e22);
    assert_reads("1E+5", 100000.0);
    assert_reads("1e-5", 0.00001);
    assert_reads("9007199254740993", 9007199254740992.0);
    assert_reads("000.5", 0.5);
}

static void reads_what_needs_more_than_one_operation(void **state)
{
    (void) state;
    assert_reads("1e23", 0x1.52d02c7e14af6p+76);
    assert_reads("8.5e23", 0x1.67fd2f45f5fa6p+79);
    assert_reads("123456789012345678", 0x1.b69b4ba630f35p+56);
    assert_reads("3.1415926535897932384626433832795", 0x1.921fb54442d18p+1);
    assert_reads("1.7976931348623157e308", 0x1.fffffffffffffp+1023);
    assert_reads("2.2250738585072014e-308", 0x1p-1022);
    assert_reads("2.2250738585072011e-308", 0x0.fffffffffffffp-1022); /* hung PHP and Java */
    assert_reads("5e-324", 0x1p-1074);
    assert_reads("9.5e-324", 0x1p-1073);
}

static void a_tie_goes_to_the_even_neighbour(void **state)
{
    (void) state;
    assert_reads("9007199254740993.0", 0x1p53);
    assert_reads("9007199254740995.0", 0x1.0000000000002p53);
    assert_reads("1.00000000000000011102230246251565404236316680908203125", 1.0);
    assert_reads("1.00000000000000011102230246251565404236316680908203124", 1.0);
    assert_reads("1.00000000000000011102230246251565404236316680908203126", 0x1.0000000000001p+0);
    assert_reads("1.00000000000000033306690738754696212708950042724609375", 0x1.0000000000002p+0);
}

/* Half of the smallest double, 2^-1075, has 752 digits: everything depends on the last one. */
static void every_digit_counts(void **state)
{
    (void) state;
    char tie[1200];
    char text[1300];
    int len = snprintf(tie, sizeof(tie), "%.1075Lf", ldexpl(1, -1075));
    assert_int_equal(len, 1077);
    assert_int_equal(tie[len - 1], '5');

    assert_reads(tie, 0.0);
    snprintf(text, sizeof(text), "%s%s", tie, "0000000000000000000000000000000000000000000000000");
    assert_reads(text, 0.0);
    snprintf(text, sizeof(text), "%s%s", tie, "0000000000000000000000000000000000000000000000001");
    assert_reads(text, 0x1p-1074);
    tie[len - 1] = '4';
    assert_reads(tie, 0.0);
    tie[len - 1] = '6';
    assert_reads(tie, 0x1p-1074);
}

static void the_borders_of_the_range(void **state)
{
    (void) state;
    assert_reads("1.7976931348623158e308", 0x1.fffffffffffffp+1023);
    assert_reads("1.7976931348623159e308", (double) INFINITY);
    assert_reads("-1e309", (double) -INFINITY);
    assert_reads("1e400", (double) INFINITY);
    assert_reads("1e99999999999999999999999", (double) INFINITY);
    assert_reads("0e99999999999999999999999", 0.0);
    assert_reads("2.4703282292062327e-324", 0.0);
    assert_reads("2.4703282292062328e-324", 0x1p-1074);
    assert_reads("1e-400", 0.0);
    assert_reads("-1e-99999999999999999999999", -0.0);
}

static void zeros_and_the_exponent_balance(void **state)
{
    (void) state;
    const size_t zeros = 5000;
    char *text = malloc(zeros + 20);
    assert_non_null(text);

    memset(text, '0', zeros);
    text[1] = '.';
    int len = snprintf(text + zeros, 20, "25e4999");
    double value = read_text(text, zeros + (size_t) len);
    free(text);
    assert_true(value == 2.5);
}

static void writes_as_python_does(void **state)
{
    (void) state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {35.4, "35.4"},
        {100.0, "100.0"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {9999999999999998.0, "9999999999999998.0"},
        {12345678901234567.0, "1.2345678901234568e+16"},
        {9007199254740991.0, "9007199254740991.0"},
        {9007199254740992.0, "9007199254740992.0"},
        {0.001, "0.001"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {0.000012345, "1.2345e-05"},
        {1.5e-7, "1.5e-07"},
        {1e100, "1e+100"},
        {1.5e300, "1.5e+300"},
        {123456.789, "123456.789"},
        {1.0 / 3.0, "0.3333333333333333"},
        {2.0 / 3.0, "0.6666666666666666"},
        {3.141592653589793, "3.141592653589793"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_writes(cases[i].value, cases[i].text);
}

static void writes_the_hard_ones(void **state)
{
    (void) state;
    assert_writes(0x1p-1074, "5e-324");
    assert_writes(0x1p-1073, "1e-323");
    assert_writes(0x0.fffffffffffffp-1022, "2.225073858507201e-308");
    assert_writes(-0x1p-1022, "-2.2250738585072014e-308"); /* the longest there is */
    assert_writes(0x1.fffffffffffffp+1023, "1.7976931348623157e+308");
    assert_writes(1e22, "1e+22");
    assert_writes(0x1.52d02c7e14af6p+76, "1e+23"); /* the lower one of two as near to it */
    assert_writes(0x1.52d02c7e14af7p+76, "1.0000000000000001e+23");
    assert_writes(2e23, "2e+23");
    assert_writes(9.5e-322, "9.5e-322");
    assert_writes(0x1p+56, "7.205759403792794e+16"); /* powers of two: the interval is uneven */
    assert_writes(0x1p+63, "9.223372036854776e+18");
    assert_writes(0x1p-44, "5.684341886080802e-14");
    assert_writes(4.35, "4.35");
    assert_writes(299792.458, "299792.458");
    assert_writes(2251799813685248.5, "2251799813685248.5");
    assert_writes(5e-322, "5e-322");
    assert_writes(562949953421312.25, "562949953421312.2"); /* as near as .3 */
    assert_writes(562949953421312.75, "562949953421312.8"); /* as near as .7 */
}

/* A fixed sequence of bit patterns: all exponents, and mantissas that are full, empty or short. */
static void every_double_reads_back(void **state)
{
    (void) state;
    uint64_t random = 88172645463325252;
    for (int i = 0; i < 200000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t bits = random;
        if (i % 4 == 1)
            bits &= UINT64_C(0xfff0000000000000);
        if (i % 4 == 2)
            bits |= UINT64_C(0x000fffffffffffff);
        if (i % 4 == 3)
            bits &= UINT64_C(0xffffffffff000000);
        double value = from_bits(bits);
        if (!isfinite(value))
            continue;
        char text[PERI_NUMBER_MAX + 1];
        size_t len = peri_number_write(text, value);
        text[len] = '\0';
        assert_reads(text, value);
        assert_true(bits_of(strtod(text, NULL)) == bits);
    }
}

/* What has few places is written by a short way of its own; the doubles beside it are not. Decimals
 * of up to 15 digits are all different doubles. */
static void a_few_places_are_written_as_they_were_read(void **state)
{
    (void) state;
    static const unsigned scales[] = {10, 100, 1000, 10000, 100000};
    uint64_t random = 88172645463325252;
    for (int i = 0; i < 200000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        int places = 1 + i % 5;
        uint64_t whole = (random >> 8) % (UINT64_C(1000000000000000) / scales[places - 1]);
        whole >>= random % 50;
        unsigned part = (unsigned) (random >> 32) % scales[places - 1];
        part += part % 10 == 0; /* the last digit counts */
        char text[32];
        snprintf(text, sizeof(text), "%llu.%0*u", (unsigned long long) whole, places, part);
        double value = strtod(text, NULL);
        if (value >= 1e-3) /* below, there may be an exponent */
            assert_writes(value, text);
        char beside[PERI_NUMBER_MAX + 1];
        beside[peri_number_write(beside, nextafter(value, 0))] = '\0';
        assert_true(strtod(beside, NULL) == nextafter(value, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_exact),
        cmocka_unit_test(reads_what_needs_more_than_one_operation),
        cmocka_unit_test(a_tie_goes_to_the_even_neighbour),
        cmocka_unit_test(every_digit_counts),
        cmocka_unit_test(the_borders_of_the_range),
        cmocka_unit_test(zeros_and_the_exponent_balance),
        cmocka_unit_test(writes_as_python_does),
        cmocka_unit_test(writes_the_hard_ones),
        cmocka_unit_test(every_double_reads_back),
        cmocka_unit_test(a_few_places_are_written_as_they_were_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
