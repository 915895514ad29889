/* The datetime family as Pydantic reads and writes it. The reasons are speedate's texts; the order
 * of the checks decides which of them a client sees, so it follows speedate's too. Fractions of a
 * second beyond the sixth digit are cut off, Pydantic's default. */
#include "schema_time.h"

#include "json.h"

#include <math.h>
#include <string.h>

static const char too_short[] = "input is too short";
static const char extra_characters[] = "unexpected extra characters at the end of the input";
static const char too_small[] = "dates before 0000 are not supported as unix timestamps";
static const char too_large[] = "dates after 9999 are not supported as unix timestamps";
static const char no_nan[] = "NaN values not permitted";
static const char days_too_large[] = "durations may not exceed 999,999,999 days";
static const char hours_too_large[] = "durations may not exceed 999,999,999 hours";
static const char value_too_large[] = "a numeric value in the duration is too large";
static const char bad_days[] = "\"day\" identifier in duration not correctly formatted";

enum { DAY = 86400, MILLION = 1000000 };

/* Beyond this a timestamp counts milliseconds: 2603-10-11 in seconds, 1970-08-20 in milliseconds.
 */
#define MILLISECONDS_FROM INT64_C(20000000000)
#define UNIX_YEAR_0 INT64_C(-62167219200)
#define UNIX_YEAR_9999_END INT64_C(253402300799)
#define MOST_DAYS INT64_C(999999999)

struct cursor {
    const char *text;
    size_t len;
    size_t at;
};

static int byte_at(const struct cursor *in, size_t ahead)
{
    return in->at + ahead < in->len ? (unsigned char) in->text[in->at + ahead] : -1;
}

static bool is_digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

/* Two digits at the cursor; -1 when there are none. */
static int two_digits(const struct cursor *in, size_t ahead)
{
    int tens = byte_at(in, ahead);
    int ones = byte_at(in, ahead + 1);
    return is_digit(tens) && is_digit(ones) ? (tens - '0') * 10 + ones - '0' : -1;
}

/* -------------------------------------------------------------- calendar --- */

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years start in March here, so that the
 * leap day comes last. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct peri_civil *civil)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    civil->day = (int) (day_of_year - (153 * month + 2) / 5 + 1);
    civil->month = (int) (month < 10 ? month + 3 : month - 9);
    civil->year = (int) (year_of_era + era * 400 + (civil->month <= 2 ? 1 : 0));
}

static int64_t floor_div(int64_t value, int64_t by)
{
    int64_t quotient = value / by;
    return value % by < 0 ? quotient - 1 : quotient;
}

void peri_temporal_civil(const struct peri_temporal *temporal, struct peri_civil *civil)
{
    int64_t days = floor_div(temporal->seconds, DAY);
    int rest = (int) (temporal->seconds - days * DAY);
    civil_from_days(days, civil);
    civil->hour = rest / 3600;
    civil->minute = rest / 60 % 60;
    civil->second = rest % 60;
}

/* --------------------------------------------------------- parsing texts --- */

/* YYYY-MM-DD at the cursor, as days. */
static const char *parse_date_part(struct cursor *in, int64_t *days)
{
    if (in->len - in->at < 10)
        return too_short;
    int century = two_digits(in, 0);
    int years = two_digits(in, 2);
    if (century < 0 || years < 0)
        return "invalid character in year";
    if (byte_at(in, 4) != '-')
        return "invalid date separator, expected `-`";
    int month = two_digits(in, 5);
    if (month < 0)
        return "invalid character in month";
    if (byte_at(in, 7) != '-')
        return "invalid date separator, expected `-`";
    int day = two_digits(in, 8);
    if (day < 0)
        return "invalid character in day";
    if (month < 1 || month > 12)
        return "month value is outside expected range of 1-12";
    int year = century * 100 + years;
    if (day < 1 || day > days_in_month(year, month))
        return "day value is outside expected range";
    *days = days_from_civil(year, month, day);
    in->at += 10;
    return NULL;
}

/* HH:MM[:SS[.f]] at the cursor, as seconds. */
static const char *parse_time_part(struct cursor *in, int *seconds, uint32_t *micros)
{
    *micros = 0;
    if (in->len - in->at < 5)
        return too_short;
    int hour = two_digits(in, 0);
    if (hour < 0)
        return "invalid character in hour";
    if (byte_at(in, 2) != ':')
        return "invalid time separator, expected `:`";
    int minute = two_digits(in, 3);
    if (minute < 0)
        return "invalid character in minute";
    if (hour > 23)
        return "hour value is outside expected range of 0-23";
    if (minute > 59)
        return "minute value is outside expected range of 0-59";
    *seconds = hour * 3600 + minute * 60;
    if (byte_at(in, 5) != ':') {
        in->at += 5;
        return NULL;
    }
    int second = two_digits(in, 6);
    if (second < 0)
        return "invalid character in second";
    if (second > 59)
        return "second value is outside expected range of 0-59";
    *seconds += second;
    in->at += 8;
    int separator = byte_at(in, 0);
    if (separator != '.' && separator != ',')
        return NULL;
    in->at++;
    uint32_t unit = MILLION / 10;
    size_t start = in->at;
    for (; is_digit(byte_at(in, 0)); in->at++, unit /= 10)
        *micros += (uint32_t) (byte_at(in, 0) - '0') * unit;
    return in->at == start ? "second fraction digits missing after `.`" : NULL;
}

/* Z or +HH:MM or nothing, up to the end of the text. */
static const char *parse_offset_part(struct cursor *in, int16_t *offset)
{
    *offset = PERI_NAIVE;
    int sign_byte = byte_at(in, 0);
    if (sign_byte < 0)
        return NULL;
    if (sign_byte == 'Z' || sign_byte == 'z') {
        in->at++;
        *offset = 0;
        return in->at < in->len ? extra_characters : NULL;
    }
    int sign = sign_byte == '+' ? 1 : -1;
    if (sign_byte == 0xE2) { /* U+2212, the minus sign ISO 8601 prefers */
        if (byte_at(in, 1) != 0x88 || byte_at(in, 2) != 0x92)
            return "invalid timezone sign";
        in->at += 2;
    } else if (sign_byte != '+' && sign_byte != '-') {
        return "invalid timezone sign";
    }
    in->at++;
    int hours = two_digits(in, 0);
    if (hours < 0)
        return "invalid timezone hour";
    in->at += byte_at(in, 2) == ':' ? 3 : 2;
    int minutes = two_digits(in, 0);
    if (minutes < 0)
        return "invalid timezone minute";
    if (minutes > 59)
        return "timezone minute value is outside expected range of 0-59";
    if (hours > 23)
        return "timezone offset must be less than 24 hours";
    in->at += 2;
    *offset = (int16_t) (sign * (hours * 60 + minutes));
    return in->at < in->len ? extra_characters : NULL;
}

static const char *parse_rfc3339(const char *text, size_t len, struct peri_temporal *out)
{
    struct cursor in = {text, len, 0};
    int64_t days = 0;
    const char *reason = parse_date_part(&in, &days);
    if (reason != NULL)
        return reason;
    int separator = byte_at(&in, 0);
    if (separator != 'T' && separator != 't' && separator != ' ' && separator != '_')
        return "invalid datetime separator, expected `T`, `t`, `_` or space";
    in.at++;
    int seconds = 0;
    reason = parse_time_part(&in, &seconds, &out->micros);
    if (reason == NULL)
        reason = parse_offset_part(&in, &out->offset);
    if (reason != NULL)
        return reason;
    out->kind = PERI_DATETIME;
    out->seconds = days * DAY + seconds;
    return NULL;
}

/* A whole number of at most 18 digits, or more while it fits. */
static bool parse_integer(const char *text, size_t len, int64_t *out)
{
    size_t at = len > 1 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    if (at == len)
        return false;
    int64_t value = 0;
    for (size_t i = at; i < len; i++) {
        if (!is_digit((unsigned char) text[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text[i] - '0', &value))
            return false;
    }
    *out = text[0] == '-' ? -value : value;
    return true;
}

/* digits '.' digits ['e' digits], with digits on at least one side. */
static bool parse_fraction(const char *text, size_t len, double *out)
{
    struct cursor in = {text, len, 0};
    char digits[400];
    size_t count = 0;
    if (len >= sizeof(digits) - 4)
        return false;
    if (byte_at(&in, 0) == '-')
        digits[count++] = '-';
    if (byte_at(&in, 0) == '-' || byte_at(&in, 0) == '+')
        in.at++;
    size_t start = in.at;
    for (; is_digit(byte_at(&in, 0)); in.at++)
        digits[count++] = in.text[in.at];
    bool any = in.at > start;
    if (!any)
        digits[count++] = '0';
    if (byte_at(&in, 0) != '.')
        return false;
    in.at++;
    digits[count++] = '.';
    start = in.at;
    for (; is_digit(byte_at(&in, 0)); in.at++)
        digits[count++] = in.text[in.at];
    if (in.at == start) {
        if (!any)
            return false;
        digits[count++] = '0';
    }
    if (byte_at(&in, 0) == 'e' || byte_at(&in, 0) == 'E') {
        digits[count++] = in.text[in.at++];
        if (byte_at(&in, 0) == '-' || byte_at(&in, 0) == '+')
            digits[count++] = in.text[in.at++];
        start = in.at;
        for (; is_digit(byte_at(&in, 0)); in.at++)
            digits[count++] = in.text[in.at];
        if (in.at == start)
            return false;
    }
    if (in.at < len)
        return false;
    *out = peri_json_to_double(digits, count);
    return true;
}

const char *peri_datetime_parse(const char *text, size_t len, struct peri_temporal *out)
{
    const char *reason = parse_rfc3339(text, len, out);
    if (reason == NULL)
        return NULL;
    int64_t integer = 0;
    double number = 0;
    if (parse_integer(text, len, &integer))
        return peri_datetime_from_integer(integer, out);
    if (!parse_fraction(text, len, &number))
        return reason;
    bool milliseconds = fabs(number) > (double) MILLISECONDS_FROM;
    double seconds = milliseconds ? number / 1000 : number;
    double whole = floor(seconds);
    if (whole < (double) UNIX_YEAR_0)
        return too_small;
    if (whole > (double) UNIX_YEAR_9999_END)
        return too_large;
    const char *failed = peri_datetime_from_integer((int64_t) whole, out);
    uint32_t micros = (uint32_t) round((seconds - whole) * MILLION);
    out->seconds += micros / MILLION;
    out->micros = micros % MILLION;
    return failed;
}

const char *peri_date_parse(const char *text, size_t len, struct peri_temporal *out)
{
    struct cursor in = {text, len, 0};
    int64_t days = 0;
    const char *reason = parse_date_part(&in, &days);
    if (reason == NULL && in.at < len)
        reason = extra_characters;
    *out = (struct peri_temporal){.kind = PERI_DATE, .offset = PERI_NAIVE, .seconds = days * DAY};
    if (reason == NULL)
        return NULL;
    int64_t timestamp = 0;
    if (!parse_integer(text, len, &timestamp))
        return reason;
    struct peri_temporal moment;
    reason = peri_datetime_from_integer(timestamp, &moment);
    if (reason != NULL)
        return reason;
    if (moment.seconds % DAY != 0 || moment.micros != 0)
        return "Timestamp is not an exact date";
    out->seconds = moment.seconds;
    return NULL;
}

const char *peri_time_parse(const char *text, size_t len, struct peri_temporal *out)
{
    struct cursor in = {text, len, 0};
    int seconds = 0;
    const char *reason = parse_time_part(&in, &seconds, &out->micros);
    if (reason == NULL)
        reason = parse_offset_part(&in, &out->offset);
    out->kind = PERI_TIME;
    out->seconds = seconds;
    return reason;
}

/* ------------------------------------------------------------- durations --- */

/* A duration while it is read, in speedate's units: its limits are those of unsigned 32 bits. */
struct amount {
    uint32_t days, seconds, micros;
};

static bool add_checked(uint32_t *to, uint64_t more)
{
    if (more > UINT32_MAX - *to)
        return false;
    *to += (uint32_t) more;
    return true;
}

static const char *parse_count(struct cursor *in, uint32_t *out)
{
    if (!is_digit(byte_at(in, 0)))
        return "invalid digit in duration";
    uint64_t value = 0;
    for (; is_digit(byte_at(in, 0)); in->at++) {
        value = value * 10 + (uint64_t) (byte_at(in, 0) - '0');
        if (value > UINT32_MAX)
            return value_too_large;
    }
    *out = (uint32_t) value;
    return NULL;
}

/* The fraction behind a number; negative when there is none. */
static double parse_count_fraction(struct cursor *in)
{
    if (byte_at(in, 0) != '.' && byte_at(in, 0) != ',')
        return -1;
    double digits = 0;
    double unit = 1;
    for (in->at++; is_digit(byte_at(in, 0)); in->at++) {
        digits = digits * 10 + (byte_at(in, 0) - '0');
        unit *= 10;
    }
    return isfinite(unit) ? digits / unit : 0;
}

static bool add_fraction_of_seconds(struct amount *amount, double seconds)
{
    double whole = trunc(seconds);
    return add_checked(&amount->seconds, (uint64_t) whole) &&
           add_checked(&amount->micros, (uint64_t) round((seconds - whole) * MILLION));
}

/* One quantity with its unit: 1.5D. */
static const char *parse_quantity(struct cursor *in, bool in_time, struct amount *amount,
                                  bool *had_fraction)
{
    uint32_t value = 0;
    const char *reason = parse_count(in, &value);
    if (reason != NULL)
        return reason;
    double fraction = parse_count_fraction(in);
    if (*had_fraction)
        return "quantity fraction invalid in duration";
    *had_fraction = fraction >= 0;
    int unit = byte_at(in, 0);
    in->at++;
    if (in_time) {
        uint32_t factor = unit == 'H' ? 3600 : unit == 'M' ? 60 : unit == 'S' ? 1 : 0;
        if (factor == 0)
            return "quantity invalid in time part of duration";
        if (!add_checked(&amount->seconds, (uint64_t) value * factor) ||
            (fraction >= 0 && !add_fraction_of_seconds(amount, fraction * factor)))
            return value_too_large;
        return NULL;
    }
    uint32_t factor = unit == 'Y' ? 365 : unit == 'M' ? 30 : unit == 'W' ? 7 : unit == 'D' ? 1 : 0;
    if (factor == 0)
        return "quantity invalid in date part of duration";
    if (!add_checked(&amount->days, (uint64_t) value * factor))
        return value_too_large;
    if (fraction < 0)
        return NULL;
    double days = fraction * factor;
    double whole = trunc(days);
    if (!add_checked(&amount->days, (uint64_t) whole) ||
        !add_fraction_of_seconds(amount, (days - whole) * DAY))
        return value_too_large;
    return NULL;
}

/* What follows the P. */
static const char *parse_iso_duration(struct cursor *in, struct amount *amount)
{
    size_t start = in->at;
    bool in_time = false;
    bool had_fraction = false;
    while (in->at < in->len) {
        if (byte_at(in, 0) == 'T') {
            if (in_time)
                return "`t` character repeated in duration";
            in_time = true;
            in->at++;
            continue;
        }
        const char *reason = parse_quantity(in, in_time, amount, &had_fraction);
        if (reason != NULL)
            return reason;
    }
    return in->at - start < 2 ? too_short : NULL;
}

/* H:MM[:SS[.f]], with as many hours as one likes. */
static const char *parse_clock(struct cursor *in, struct amount *amount)
{
    if (in->len - in->at < 5)
        return too_short;
    const char *colon = memchr(in->text + in->at, ':', in->len - in->at);
    if (colon == NULL)
        return "invalid character in hour";
    if (colon - (in->text + in->at) > 10)
        return hours_too_large;
    int64_t hours = 0;
    for (; in->text + in->at < colon; in->at++) {
        if (!is_digit(byte_at(in, 0)))
            return "invalid character in hour";
        hours = hours * 10 + (byte_at(in, 0) - '0');
    }
    if (hours > 24 * INT64_C(100000000))
        return hours_too_large;

    char rest[16] = "00"; /* the clock behind the hours is read like a time of day */
    size_t rest_len = in->len - in->at;
    if (rest_len > 13)
        rest_len = 13;
    memcpy(rest + 2, in->text + in->at, rest_len);
    struct cursor time = {rest, rest_len + 2, 0};
    int seconds = 0;
    const char *reason = parse_time_part(&time, &seconds, &amount->micros);
    if (reason != NULL)
        return reason;
    if (time.at < time.len)
        return extra_characters;
    amount->days = (uint32_t) (hours / 24);
    amount->seconds = (uint32_t) (seconds + hours % 24 * 3600);
    return NULL;
}

static bool skip_word(struct cursor *in, const char *word)
{
    size_t len = strlen(word);
    if (in->len - in->at < len || memcmp(in->text + in->at, word, len) != 0)
        return false;
    in->at += len;
    return true;
}

/* 3 days, 04:05:06 */
static const char *parse_days(struct cursor *in, struct amount *amount)
{
    uint32_t days = 0;
    const char *reason = parse_count(in, &days);
    if (reason != NULL)
        return reason;
    skip_word(in, " ");
    if (!skip_word(in, "d") && !skip_word(in, "D"))
        return bad_days;
    if (!skip_word(in, "ays") && !skip_word(in, "ay") && !skip_word(in, "AYS") &&
        !skip_word(in, "AY") && (byte_at(in, 0) == 'a' || byte_at(in, 0) == 'A'))
        return bad_days;
    if (!skip_word(in, ", ") && !skip_word(in, ","))
        skip_word(in, " ");
    if (in->at < in->len) {
        reason = parse_clock(in, amount);
        if (reason != NULL)
            return reason;
        if (amount->days > 0)
            return hours_too_large;
    }
    amount->days = days;
    return NULL;
}

static const char *finish_duration(bool negative, const struct amount *amount,
                                   struct peri_temporal *out)
{
    uint64_t seconds = (uint64_t) amount->days * DAY + amount->seconds + amount->micros / MILLION;
    if (seconds / DAY > (uint64_t) MOST_DAYS)
        return days_too_large;
    *out = (struct peri_temporal){.kind = PERI_DURATION,
                                  .offset = PERI_NAIVE,
                                  .micros = amount->micros % MILLION,
                                  .seconds = (int64_t) seconds};
    if (negative) {
        out->seconds = -out->seconds - (out->micros > 0);
        out->micros = out->micros > 0 ? MILLION - out->micros : 0;
        if (out->seconds < -MOST_DAYS * DAY)
            return "days=-1000000000; must have magnitude <= 999999999";
    }
    return NULL;
}

const char *peri_duration_parse(const char *text, size_t len, struct peri_temporal *out)
{
    struct cursor in = {text, len, 0};
    struct amount amount = {0};
    bool negative = skip_word(&in, "-");
    if (!negative)
        skip_word(&in, "+");
    if (in.at == len)
        return too_short;
    const char *reason = NULL;
    size_t rest = len - in.at;
    if (skip_word(&in, "P"))
        reason = parse_iso_duration(&in, &amount);
    else if (rest < 5 || memchr(text + in.at, 'd', rest) || memchr(text + in.at, 'D', rest))
        reason = parse_days(&in, &amount);
    else
        reason = parse_clock(&in, &amount);
    return reason != NULL ? reason : finish_duration(negative, &amount, out);
}

/* ---------------------------------------------------------- from numbers --- */

const char *peri_datetime_from_integer(int64_t timestamp, struct peri_temporal *out)
{
    *out = (struct peri_temporal){.kind = PERI_DATETIME, .offset = 0, .seconds = timestamp};
    if (timestamp > MILLISECONDS_FROM || timestamp < -MILLISECONDS_FROM) {
        out->seconds = floor_div(timestamp, 1000);
        out->micros = (uint32_t) (timestamp - out->seconds * 1000) * 1000;
    }
    if (out->seconds < UNIX_YEAR_0)
        return too_small;
    return out->seconds > UNIX_YEAR_9999_END ? too_large : NULL;
}

const char *peri_datetime_from_number(double timestamp, struct peri_temporal *out)
{
    if (isnan(timestamp))
        return no_nan;
    double whole = floor(timestamp);
    if (whole < -9.2e18)
        return too_small;
    if (whole > 9.2e18)
        return too_large;
    bool milliseconds = fabs(timestamp) > (double) MILLISECONDS_FROM;
    double fraction = (timestamp - whole) * (milliseconds ? 1000 : MILLION);
    const char *reason = peri_datetime_from_integer((int64_t) whole, out);
    if (reason != NULL)
        return reason;
    uint32_t micros = out->micros + (uint32_t) round(fraction);
    out->seconds += micros / MILLION;
    out->micros = micros % MILLION;
    return out->seconds > UNIX_YEAR_9999_END ? too_large : NULL;
}

const char *peri_time_from_integer(int64_t seconds, struct peri_temporal *out)
{
    *out = (struct peri_temporal){.kind = PERI_TIME, .offset = 0, .seconds = seconds};
    if (seconds < 0)
        return "time in seconds should be positive";
    return seconds >= DAY ? "numeric times may not exceed 86,399 seconds" : NULL;
}

const char *peri_time_from_number(double seconds, struct peri_temporal *out)
{
    if (isnan(seconds))
        return no_nan;
    double whole = fmax(fmin(floor(seconds), 1e9), -1);
    const char *reason = peri_time_from_integer((int64_t) whole, out);
    if (reason != NULL)
        return reason;
    uint32_t micros = (uint32_t) round((seconds - trunc(seconds)) * MILLION);
    out->seconds += micros / MILLION;
    out->micros = micros % MILLION;
    return out->seconds >= DAY ? peri_time_from_integer(out->seconds, out) : NULL;
}

const char *peri_duration_from_integer(int64_t seconds, struct peri_temporal *out)
{
    *out = (struct peri_temporal){.kind = PERI_DURATION, .offset = PERI_NAIVE, .seconds = seconds};
    int64_t days = seconds / DAY;
    return days > MOST_DAYS || days < -MOST_DAYS ? days_too_large : NULL;
}

const char *peri_duration_from_number(double seconds, struct peri_temporal *out)
{
    if (isnan(seconds))
        return no_nan;
    double size = fabs(seconds);
    double whole = trunc(size);
    if (whole >= (double) (MOST_DAYS + 1) * DAY)
        return days_too_large;
    struct amount amount = {.days = (uint32_t) (whole / DAY),
                            .seconds = (uint32_t) ((uint64_t) whole % DAY),
                            .micros = (uint32_t) round((size - whole) * MILLION)};
    return finish_duration(seconds < 0, &amount, out);
}

double peri_duration_seconds(const struct peri_temporal *duration)
{
    /* One rounding only, as Python divides integers. */
    return (double) (((long double) duration->seconds * MILLION + duration->micros) / MILLION);
}

/* -------------------------------------------------------------- printing --- */

static void add_digits(struct peri_buf *out, unsigned value, int digits)
{
    char text[10];
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        text[i] = (char) ('0' + value % 10);
    peri_buf_add(out, text, (size_t) digits);
}

static void print_date(struct peri_buf *out, const struct peri_civil *civil)
{
    add_digits(out, (unsigned) civil->year, 4);
    peri_buf_add_byte(out, '-');
    add_digits(out, (unsigned) civil->month, 2);
    peri_buf_add_byte(out, '-');
    add_digits(out, (unsigned) civil->day, 2);
}

static void print_time(struct peri_buf *out, const struct peri_civil *civil,
                       const struct peri_temporal *temporal)
{
    add_digits(out, (unsigned) civil->hour, 2);
    peri_buf_add_byte(out, ':');
    add_digits(out, (unsigned) civil->minute, 2);
    peri_buf_add_byte(out, ':');
    add_digits(out, (unsigned) civil->second, 2);
    if (temporal->micros != 0) {
        peri_buf_add_byte(out, '.');
        add_digits(out, temporal->micros, 6);
    }
    if (temporal->offset == PERI_NAIVE)
        return;
    if (temporal->offset == 0) {
        peri_buf_add_byte(out, 'Z');
        return;
    }
    unsigned minutes = (unsigned) (temporal->offset < 0 ? -temporal->offset : temporal->offset);
    peri_buf_add_byte(out, temporal->offset < 0 ? '-' : '+');
    add_digits(out, minutes / 60, 2);
    peri_buf_add_byte(out, ':');
    add_digits(out, minutes % 60, 2);
}

static void print_unit(struct peri_buf *out, int64_t value, char unit)
{
    if (value == 0)
        return;
    peri_buf_add_int(out, value);
    peri_buf_add_byte(out, unit);
}

static void print_duration(struct peri_buf *out, const struct peri_temporal *duration)
{
    int64_t seconds = duration->seconds;
    uint32_t micros = duration->micros;
    if (seconds < 0) {
        peri_buf_add_byte(out, '-');
        seconds = -seconds - (micros > 0);
        micros = micros > 0 ? MILLION - micros : 0;
    }
    int64_t days = seconds / DAY;
    int64_t rest = seconds % DAY;
    peri_buf_add_byte(out, 'P');
    print_unit(out, days / 365, 'Y');
    print_unit(out, days % 365, 'D');
    if (rest == 0 && micros == 0) {
        if (days == 0)
            peri_buf_add_lit(out, "T0S");
        return;
    }
    peri_buf_add_byte(out, 'T');
    print_unit(out, rest / 3600, 'H');
    print_unit(out, rest / 60 % 60, 'M');
    if (rest % 60 == 0 && micros == 0)
        return;
    peri_buf_add_int(out, rest % 60);
    if (micros != 0) {
        peri_buf_add_byte(out, '.');
        add_digits(out, micros, 6);
        while (out->data[out->len - 1] == '0')
            out->len--;
    }
    peri_buf_add_byte(out, 'S');
}

void peri_temporal_print(struct peri_buf *out, const struct peri_temporal *temporal)
{
    struct peri_civil civil;
    peri_temporal_civil(temporal, &civil);
    switch ((enum peri_temporal_kind) temporal->kind) {
    case PERI_DATETIME:
        print_date(out, &civil);
        peri_buf_add_byte(out, 'T');
        print_time(out, &civil, temporal);
        break;
    case PERI_DATE:
        print_date(out, &civil);
        break;
    case PERI_TIME:
        print_time(out, &civil, temporal);
        break;
    case PERI_DURATION:
        print_duration(out, temporal);
        break;
    }
}

void peri_temporal_print_bound(struct peri_buf *out, const struct peri_temporal *temporal)
{
    if (temporal->kind != PERI_DURATION) {
        peri_temporal_print(out, temporal);
        return;
    }
    int64_t days = floor_div(temporal->seconds, DAY);
    int64_t rest = temporal->seconds - days * DAY;
    const struct {
        int64_t value;
        const char *name;
    } parts[] = {
        {days, "day"},
        {rest / 3600, "hour"},
        {rest / 60 % 60, "minute"},
        {rest % 60, "second"},
        {temporal->micros, "microsecond"},
    };
    bool any = false;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].value == 0)
            continue;
        if (any)
            peri_buf_add_lit(out, " and ");
        peri_buf_add_int(out, parts[i].value);
        peri_buf_add_byte(out, ' ');
        peri_buf_add_str(out, parts[i].name);
        if (parts[i].value != 1)
            peri_buf_add_byte(out, 's');
        any = true;
    }
    if (!any)
        peri_buf_add_lit(out, "0 seconds");
}

bool peri_duration_divides(const struct peri_temporal *duration, const struct peri_temporal *unit)
{
    __int128 whole = (__int128) duration->seconds * MILLION + duration->micros;
    __int128 part = (__int128) unit->seconds * MILLION + unit->micros;
    return part != 0 && whole % part == 0;
}

int peri_temporal_compare(const struct peri_temporal *a, const struct peri_temporal *b)
{
    int64_t left = a->seconds;
    int64_t right = b->seconds;
    if (a->offset != PERI_NAIVE && b->offset != PERI_NAIVE) {
        left -= (int64_t) a->offset * 60;
        right -= (int64_t) b->offset * 60;
    }
    if (left != right)
        return left < right ? -1 : 1;
    return a->micros == b->micros ? 0 : a->micros < b->micros ? -1 : 1;
}
