/* The datetime family: what is read, in speedate's words what is refused, and how it is printed.
 * The expected results are Pydantic's own. */
#include "schema_time.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct example {
    const char *text;
    const char *value;  /* printed; NULL: refused */
    const char *reason; /* NULL: accepted */
};

typedef const char *parser(const char *text, size_t len, struct peri_temporal *out);

static void check(parser *parse, const struct example *examples, size_t count)
{
    struct peri_buf out = {0};
    for (size_t i = 0; i < count; i++) {
        struct peri_temporal value;
        const char *want = examples[i].value ? examples[i].value : examples[i].reason;
        const char *reason = parse(examples[i].text, strlen(examples[i].text), &value);
        out.len = 0;
        if (reason != NULL)
            peri_buf_add_str(&out, reason);
        else
            peri_temporal_print(&out, &value);
        if ((reason != NULL) != (examples[i].reason != NULL) || strlen(want) != out.len ||
            memcmp(want, out.data, out.len) != 0)
            fail_msg("%s: want %s, got %.*s", examples[i].text, want, (int) out.len, out.data);
    }
    peri_buf_deinit(&out);
}

/* A text that is no datetime is tried as a date, and the other way round; the second reason counts.
 */
static const char *parse_datetime(const char *text, size_t len, struct peri_temporal *out)
{
    return peri_datetime_parse(text, len, out) == NULL ? NULL : peri_date_parse(text, len, out);
}

static const char *parse_date(const char *text, size_t len, struct peri_temporal *out)
{
    return peri_date_parse(text, len, out) == NULL ? NULL : peri_datetime_parse(text, len, out);
}

static void datetimes_are_read_and_printed(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"2020-01-01T00:00:00", "2020-01-01T00:00:00", NULL},
        {"2020-01-01T10:20:30.123456Z", "2020-01-01T10:20:30.123456Z", NULL},
        {"2020-01-01T10:20:30.5+05:30", "2020-01-01T10:20:30.500000+05:30", NULL},
        {"2020-01-01t00:00:00z", "2020-01-01T00:00:00Z", NULL},
        {"2020-01-01_01:00", "2020-01-01T01:00:00", NULL},
        {"2020-01-01T10:20:30.1234567", "2020-01-01T10:20:30.123456", NULL},
        {"2020-01-01T10:20:30,5", "2020-01-01T10:20:30.500000", NULL},
        {"2020-01-01T25:00", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:60", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:61", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30+24:00", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30+05", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30-0330", "2020-01-01T10:20:30-03:30", NULL},
        {"2020-01-01T10:20:30−01:00", "2020-01-01T10:20:30-01:00", NULL},
        {"2020-01-01T10:20:30X", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30Zx", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30.", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T1a:00", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10-00", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:2x", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:+1", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30+0a:00", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30+01:6a", NULL, "unexpected extra characters at the end of the input"},
        {"2020-01-01T10:20:30+01:60", NULL, "unexpected extra characters at the end of the input"},
        {"1577836800", "2020-01-01T00:00:00Z", NULL},
        {"1577836800.5", "2020-01-01T00:00:00.500000Z", NULL},
        {"-1.25", "1969-12-31T23:59:58.750000Z", NULL},
        {"1.", "1970-01-01T00:00:01Z", NULL},
        {"-.5", "1969-12-31T23:59:59.500000Z", NULL},
        {"1.5e3", "1970-01-01T00:25:00Z", NULL},
        {"1577836800123", "2020-01-01T00:00:00.123000Z", NULL},
        {"20000000000", "2603-10-11T11:33:20Z", NULL},
        {"20000000001", "1970-08-20T11:33:20.001000Z", NULL},
        {"99999999999999", "5138-11-16T09:46:39.999000Z", NULL},
        {"-99999999999999", NULL, "dates before 0000 are not supported as unix timestamps"},
        {"253402300800", "1978-01-11T21:31:40.800000Z", NULL},
        {"1e5", NULL, "input is too short"},
        {"2020-02-30T00:00", NULL, "day value is outside expected range"},
    };
    check(parse_datetime, examples, COUNT(examples));
}

static void dates_are_read_and_printed(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"2020-02-29", "2020-02-29", NULL},
        {"2019-02-29", NULL, "day value is outside expected range"},
        {"2020-13-01", NULL, "month value is outside expected range of 1-12"},
        {"2020-00-01", NULL, "month value is outside expected range of 1-12"},
        {"2020-1-1", NULL, "input is too short"},
        {"x02-01-01-1", NULL, "invalid character in year"},
        {"2020/01/01", NULL, "invalid date separator, expected `-`"},
        {"2020-0a-01", NULL, "invalid character in month"},
        {"2020-01-0a", NULL, "invalid character in day"},
        {"2020-01-32", NULL, "day value is outside expected range"},
        {"2020-01-01x", NULL, "invalid datetime separator, expected `T`, `t`, `_` or space"},
        {"0", "1970-01-01", NULL},
        {"86400", "1970-01-02", NULL},
        {"1577836800000", "2020-01-01", NULL},
    };
    check(parse_date, examples, COUNT(examples));
}

static void times_are_read_and_printed(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"12:00", "12:00:00", NULL},
        {"12:00:01.5", "12:00:01.500000", NULL},
        {"12:00:00.1234567", "12:00:00.123456", NULL},
        {"12:00Z", "12:00:00Z", NULL},
        {"12:00:00+01:30", "12:00:00+01:30", NULL},
        {"24:00", NULL, "hour value is outside expected range of 0-23"},
        {"12:60", NULL, "minute value is outside expected range of 0-59"},
        {"12:00:60", NULL, "second value is outside expected range of 0-59"},
        {"1:00", NULL, "input is too short"},
        {"1200", NULL, "input is too short"},
        {"12:00:00.", NULL, "second fraction digits missing after `.`"},
        {"12:00x", NULL, "invalid timezone sign"},
        {"12:0", NULL, "input is too short"},
    };
    check(peri_time_parse, examples, COUNT(examples));
}

static void durations_are_read_and_printed(void **state)
{
    (void) state;
    static const struct example examples[] = {
        {"P1DT2H", "P1DT2H", NULL},
        {"PT1H", "PT1H", NULL},
        {"P1Y2M3DT4H5M6.7S", "P1Y63DT4H5M6.7S", NULL},
        {"P1W", "P7D", NULL},
        {"-P1D", "-P1D", NULL},
        {"+P1D", "P1D", NULL},
        {"P", NULL, "input is too short"},
        {"P1", NULL, "quantity invalid in date part of duration"},
        {"PT", NULL, "input is too short"},
        {"P1DT", "P1D", NULL},
        {"P1H", NULL, "quantity invalid in date part of duration"},
        {"PT1D", NULL, "quantity invalid in time part of duration"},
        {"P1.5D", "P1DT12H", NULL},
        {"P1,5D", "P1DT12H", NULL},
        {"P1.5Y2D", NULL, "quantity fraction invalid in duration"},
        {"PTT1S", NULL, "`t` character repeated in duration"},
        {"PT0.0000001S", "PT0S", NULL},
        {"P4294967296D", NULL, "a numeric value in the duration is too large"},
        {"P1d", NULL, "quantity invalid in date part of duration"},
        {"1 day", "P1D", NULL},
        {"1d", "P1D", NULL},
        {"1days", "P1D", NULL},
        {"1 days, 12:00:00", "P1DT12H", NULL},
        {"3d04:05:06", "P3DT4H5M6S", NULL},
        {"1D 24:00:00", NULL, "durations may not exceed 999,999,999 hours"},
        {"1 dax", NULL, "\"day\" identifier in duration not correctly formatted"},
        {"day", NULL, "invalid digit in duration"},
        {"12:30", "PT12H30M", NULL},
        {"100:00:00", "P4DT4H", NULL},
        {"-00:00:01", "-PT1S", NULL},
        {"99999999999:00", NULL, "durations may not exceed 999,999,999 hours"},
        {"2400000001:00", NULL, "durations may not exceed 999,999,999 hours"},
        {"1:0", NULL, "\"day\" identifier in duration not correctly formatted"},
        {"12:00:00.5", "PT12H0.5S", NULL},
        {"x", NULL, "invalid digit in duration"},
        {"P999999999D", "P2739726Y9D", NULL},
        {"P1000000000D", NULL, "durations may not exceed 999,999,999 days"},
        {"+", NULL, "input is too short"},
        {"12:00:00x", NULL, "unexpected extra characters at the end of the input"},
        {"1 day,12:00", "P1DT12H", NULL},
        {"1 day  12:00", NULL, "invalid character in hour"},
    };
    check(peri_duration_parse, examples, COUNT(examples));
}

static void the_calendar_is_gregorian_in_both_directions(void **state)
{
    (void) state;
    struct peri_temporal day;
    struct peri_civil civil;
    for (int64_t seconds = PERI_FIRST_SECOND; seconds <= PERI_LAST_SECOND;
         seconds += 86400 * INT64_C(97)) {
        struct peri_buf text = {0};
        const struct peri_temporal date = {PERI_DATE, PERI_NAIVE, 0, seconds};
        peri_temporal_print(&text, &date);
        assert_null(peri_date_parse(text.data, text.len, &day));
        assert_int_equal(day.seconds, seconds);
        peri_buf_deinit(&text);
    }
    assert_null(peri_date_parse("2000-02-29", 10, &day));
    peri_temporal_civil(&day, &civil);
    assert_true(civil.year == 2000 && civil.month == 2 && civil.day == 29);
    assert_non_null(peri_date_parse("1900-02-29", 10, &day));
}

static void numbers_are_timestamps_and_seconds(void **state)
{
    (void) state;
    struct peri_temporal value;
    assert_null(peri_datetime_from_number(-1.25, &value));
    assert_true(value.seconds == -2 && value.micros == 750000 && value.offset == 0);
    assert_null(peri_datetime_from_integer(1577836800123, &value));
    assert_true(value.seconds == 1577836800 && value.micros == 123000);
    assert_non_null(peri_datetime_from_number(NAN, &value));
    assert_non_null(peri_datetime_from_number(INFINITY, &value));
    assert_non_null(peri_datetime_from_integer(INT64_MIN, &value));
    assert_null(peri_time_from_number(3600.5, &value));
    assert_true(value.seconds == 3600 && value.micros == 500000);
    assert_non_null(peri_time_from_number(86399.9999999, &value));
    assert_non_null(peri_time_from_integer(-1, &value));
    assert_null(peri_duration_from_number(-0.000001, &value));
    assert_true(value.seconds == -1 && value.micros == 999999);
    assert_non_null(peri_duration_from_number(-INFINITY, &value));
    assert_non_null(peri_duration_from_integer(INT64_MAX, &value));
}

static void bounds_are_shown_in_words(void **state)
{
    (void) state;
    struct peri_buf text = {0};
    const struct peri_temporal bound = {PERI_DURATION, PERI_NAIVE, 500,
                                        INT64_C(400) * 86400 + 3600};
    peri_temporal_print_bound(&text, &bound);
    static const char want[] = "400 days and 1 hour and 500 microseconds";
    assert_int_equal(text.len, sizeof(want) - 1);
    assert_memory_equal(text.data, want, text.len);
    peri_buf_deinit(&text);
}

static void aware_and_naive_times_compare_as_they_read(void **state)
{
    (void) state;
    const struct peri_temporal utc = {PERI_DATETIME, 0, 0, 3600};
    const struct peri_temporal east = {PERI_DATETIME, 60, 0, 7200};
    const struct peri_temporal naive = {PERI_DATETIME, PERI_NAIVE, 0, 7200};
    assert_int_equal(peri_temporal_compare(&utc, &east), 0);
    assert_int_equal(peri_temporal_compare(&utc, &naive), -1);
    assert_int_equal(peri_temporal_compare(&east, &naive), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datetimes_are_read_and_printed),
        cmocka_unit_test(dates_are_read_and_printed),
        cmocka_unit_test(times_are_read_and_printed),
        cmocka_unit_test(durations_are_read_and_printed),
        cmocka_unit_test(the_calendar_is_gregorian_in_both_directions),
        cmocka_unit_test(numbers_are_timestamps_and_seconds),
        cmocka_unit_test(bounds_are_shown_in_words),
        cmocka_unit_test(aware_and_naive_times_compare_as_they_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
