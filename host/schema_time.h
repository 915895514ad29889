/* Dates, times and durations: parsing and printing exactly as Pydantic does (its speedate rules,
 * unix timestamps included). Pure. */
#ifndef PERI_SCHEMA_TIME_H
#define PERI_SCHEMA_TIME_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum peri_temporal_kind { PERI_DATETIME, PERI_DATE, PERI_TIME, PERI_DURATION };

enum { PERI_NAIVE = INT16_MIN };

#define PERI_FIRST_SECOND INT64_C(-62135596800) /* 0001-01-01T00:00:00 */
#define PERI_LAST_SECOND INT64_C(253402300799)  /* 9999-12-31T23:59:59 */

/* A point in time is held as it reads on the wall, not in UTC. */
struct peri_temporal {
    uint8_t kind;
    int16_t offset;  /* datetime, time: minutes east of UTC, or PERI_NAIVE */
    uint32_t micros; /* 0 to 999999; a negative duration has negative seconds and these on top */
    int64_t
        seconds; /* datetime, date: since 1970-01-01 00:00; time: since midnight; duration: all */
};

struct peri_civil {
    int year, month, day, hour, minute, second;
};

/* The parsers return NULL, or the reason in speedate's words. They know a year 0, which Python's
 * values and ours do not: see PERI_FIRST_SECOND. */
const char *peri_datetime_parse(const char *text, size_t len, struct peri_temporal *out);
const char *peri_date_parse(const char *text, size_t len, struct peri_temporal *out);
const char *peri_time_parse(const char *text, size_t len, struct peri_temporal *out);
const char *peri_duration_parse(const char *text, size_t len, struct peri_temporal *out);

const char *peri_datetime_from_integer(int64_t timestamp, struct peri_temporal *out);
const char *peri_datetime_from_number(double timestamp, struct peri_temporal *out);
const char *peri_time_from_integer(int64_t seconds, struct peri_temporal *out);
const char *peri_time_from_number(double seconds, struct peri_temporal *out);
const char *peri_duration_from_integer(int64_t seconds, struct peri_temporal *out);
const char *peri_duration_from_number(double seconds, struct peri_temporal *out);

/* seconds and micros as one count of seconds. */
double peri_duration_seconds(const struct peri_temporal *duration);

/* Year, month and so on of a datetime or date; a time has only its last three. */
void peri_temporal_civil(const struct peri_temporal *temporal, struct peri_civil *civil);

/* The text Pydantic's JSON has: 2020-01-02T03:04:05.000006Z, P1DT2H3.5S. */
void peri_temporal_print(struct peri_buf *out, const struct peri_temporal *temporal);
/* The text Pydantic shows for a bound: durations in words ("1 day and 2 hours"), the rest as above.
 */
void peri_temporal_print_bound(struct peri_buf *out, const struct peri_temporal *temporal);

/* Whether the duration is a whole multiple of another one. */
bool peri_duration_divides(const struct peri_temporal *duration, const struct peri_temporal *unit);

/* -1, 0, 1. Aware and naive values compare as they read, as in Pydantic's bounds. */
int peri_temporal_compare(const struct peri_temporal *a, const struct peri_temporal *b);

#endif
