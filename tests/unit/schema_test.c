/* What a value of each type accepts, becomes and is refused with. The expected texts are answers of
 * FastAPI 0.141 with Pydantic 2.14, taken from them and not made up: for a valid value its JSON
 * text as a response, else the errors' own JSON. Every value stands in a field v of a body. */
#include "json_lua.h"
#include "schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct example {
    const char *type; /* in Lua; t.kind{options} makes a node */
    const char *input;
    const char *want;
};

static const struct example texts[] = {
    {"t.string{}", "\"é\"", "\"é\""},
    {"t.string{}", "5",
     "{\"type\":\"string_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "string\",\"input\":5}"},
    {"t.string{}", "null",
     "{\"type\":\"string_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "string\",\"input\":null}"},
    {"t.string{}", "true",
     "{\"type\":\"string_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "string\",\"input\":true}"},
    {"t.string{min_length = 3}", "\"ab\"",
     "{\"type\":\"string_too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should have at "
     "least 3 characters\",\"input\":\"ab\",\"ctx\":{\"min_length\":3}}"},
    {"t.string{min_length = 3}", "\"éé\"",
     "{\"type\":\"string_too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should have at "
     "least 3 characters\",\"input\":\"éé\",\"ctx\":{\"min_length\":3}}"},
    {"t.string{min_length = 3}", "\"ééé\"", "\"ééé\""},
    {"t.string{max_length = 1}", "\"ab\"",
     "{\"type\":\"string_too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should have at most "
     "1 character\",\"input\":\"ab\",\"ctx\":{\"max_length\":1}}"},
    {"t.string{max_length = 1}", "\"é\"", "\"é\""},
    {"t.string{min_length = 1}", "\"\"",
     "{\"type\":\"string_too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should have at "
     "least 1 character\",\"input\":\"\",\"ctx\":{\"min_length\":1}}"},
    {"t.string{pattern = '^a.c$'}", "\"abc\"", "\"abc\""},
    {"t.string{pattern = '^a.c$'}", "\"abc\\n\"",
     "{\"type\":\"string_pattern_mismatch\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should match "
     "pattern '^a.c$'\",\"input\":\"abc\\n\",\"ctx\":{\"pattern\":\"^a.c$\"}}"},
    {"t.string{pattern = '^a.c$'}", "\"xabc\"",
     "{\"type\":\"string_pattern_mismatch\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should match "
     "pattern '^a.c$'\",\"input\":\"xabc\",\"ctx\":{\"pattern\":\"^a.c$\"}}"},
    {"t.string{strip = true, min_length = 2}", "\" \\u00a0a \"",
     "{\"type\":\"string_too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"String should have at "
     "least 2 characters\",\"input\":\"  a \",\"ctx\":{\"min_length\":2}}"},
    {"t.string{strip = true, min_length = 2}", "\" ab \"", "\"ab\""},
    {"t.string{nullable = true}", "null", "null"},
    {"t.string{nullable = true}", "1",
     "{\"type\":\"string_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "string\",\"input\":1}"},
    {"t.string{optional = true}", "null", "null"},
    {"t.bytes{min_length = 3, max_length = 4}", "\"ab\"",
     "{\"type\":\"bytes_too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"Data should have at least 3 "
     "bytes\",\"input\":\"ab\",\"ctx\":{\"min_length\":3}}"},
    {"t.bytes{min_length = 3, max_length = 4}", "\"éé\"", "\"éé\""},
    {"t.bytes{min_length = 3, max_length = 4}", "\"abcde\"",
     "{\"type\":\"bytes_too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"Data should have at most 4 "
     "bytes\",\"input\":\"abcde\",\"ctx\":{\"max_length\":4}}"},
    {"t.uuid{}", "\"12345678-1234-1234-1234-12345678ABCD\"",
     "\"12345678-1234-1234-1234-12345678abcd\""},
    {"t.uuid{}", "\"urn:uuid:12345678-1234-1234-1234-12345678abcd\"",
     "\"12345678-1234-1234-1234-12345678abcd\""},
    {"t.uuid{}", "\"x\"",
     "{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid UUID, "
     "invalid character: found `x` at 0\",\"input\":\"x\",\"ctx\":{\"error\":\"invalid character: "
     "found `x` at 0\"}}"},
    {"t.uuid{}", "\"1234\"",
     "{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid UUID, "
     "invalid length: found 4\",\"input\":\"1234\",\"ctx\":{\"error\":\"invalid length: found "
     "4\"}}"},
    {"t.uuid{}", "\"a-b\"",
     "{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid UUID, "
     "invalid group count: expected 5, found 2\",\"input\":\"a-b\",\"ctx\":{\"error\":\"invalid "
     "group count: expected 5, found 2\"}}"},
    {"t.uuid{}", "\"12345678-12341234-1234-1234-123456789012\"",
     "{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid UUID, "
     "invalid group length in group 1: expected 4, found "
     "8\",\"input\":\"12345678-12341234-1234-1234-123456789012\",\"ctx\":{\"error\":\"invalid "
     "group length in group 1: expected 4, found 8\"}}"},
    {"t.uuid{}", "\"{12345678-g234-1234-1234-123456789012}\"",
     "{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid UUID, "
     "invalid character: found `g` at 9\",\"input\":\"{12345678-g234-1234-1234-123456789012}\","
     "\"ctx\":{\"error\":\"invalid character: found `g` at 9\"}}"},
    {"t.uuid{}", "\"{g}\"",
     "{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid UUID, "
     "invalid character: found `g` at 1\",\"input\":\"{g}\",\"ctx\":{\"error\":\"invalid "
     "character: found `g` at 1\"}}"},
    {"t.uuid{}", "5",
     "{\"type\":\"uuid_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"UUID input should be a string, "
     "bytes or UUID object\",\"input\":5}"},
    {"t.uuid{strict = true}", "\"12345678-1234-1234-1234-12345678abcd\"",
     "{\"type\":\"is_instance_of\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be an instance "
     "of UUID\",\"input\":\"12345678-1234-1234-1234-12345678abcd\",\"ctx\":{\"class\":\"UUID\"}}"},
    {"t.email{}", "\"A@B.Co\"", "\"A@b.co\""},
    {"t.email{}", "\"x\"",
     "{\"type\":\"value_error\",\"loc\":[\"body\",\"v\"],\"msg\":\"value is not a valid email "
     "address: An email address must have an @-sign.\",\"input\":\"x\",\"ctx\":{\"reason\":\"An "
     "email address must have an @-sign.\"}}"},
    {"t.email{}", "\"a@b\"",
     "{\"type\":\"value_error\",\"loc\":[\"body\",\"v\"],\"msg\":\"value is not a valid email "
     "address: The part after the @-sign is not valid. It should have a "
     "period.\",\"input\":\"a@b\",\"ctx\":{\"reason\":\"The part after the @-sign is not valid. It "
     "should have a period.\"}}"},
    {"t.email{}", "5",
     "{\"type\":\"string_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "string\",\"input\":5}"},
    {"t.url{}", "\"HTTP://Ex.com:80/a b\"", "\"http://ex.com/a%20b\""},
    {"t.url{}", "\"x\"",
     "{\"type\":\"url_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid URL, "
     "relative URL without a base\",\"input\":\"x\",\"ctx\":{\"error\":\"relative URL without a "
     "base\"}}"},
    {"t.url{}", "\"http://\"",
     "{\"type\":\"url_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid URL, "
     "empty host\",\"input\":\"http://\",\"ctx\":{\"error\":\"empty host\"}}"},
    {"t.url{}", "5",
     "{\"type\":\"url_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"URL input should be a string or "
     "URL\",\"input\":5}"},
    {"t.url{schemes = {'http', 'https'}, max_length = 20}", "\"ftp://x\"",
     "{\"type\":\"url_scheme\",\"loc\":[\"body\",\"v\"],\"msg\":\"URL scheme should be 'http' or "
     "'https'\",\"input\":\"ftp://x\",\"ctx\":{\"expected_schemes\":\"'http' or 'https'\"}}"},
    {"t.url{schemes = {'http', 'https'}, max_length = 20}", "\"http://a/aaaaaaaaaaaaaaaa\"",
     "{\"type\":\"url_too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"URL should have at most 20 "
     "characters\",\"input\":\"http://a/aaaaaaaaaaaaaaaa\",\"ctx\":{\"max_length\":20}}"},
    {"t.ipv4{}", "\"1.2.3.4\"", "\"1.2.3.4\""},
    {"t.ipv4{}", "\"01.2.3.4\"",
     "{\"type\":\"ip_v4_address\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input is not a valid IPv4 "
     "address\",\"input\":\"01.2.3.4\"}"},
    {"t.ipv4{}", "5", "\"0.0.0.5\""},
    {"t.ipv6{}", "\"FE80::1\"", "\"fe80::1\""},
    {"t.ipv6{}", "\"::ffff:1.2.3.4\"", "\"::ffff:102:304\""},
    {"t.ipv6{}", "\"1::2::3\"",
     "{\"type\":\"ip_v6_address\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input is not a valid IPv6 "
     "address\",\"input\":\"1::2::3\"}"},
};

static const struct example numbers[] = {
    {"t.integer{}", "1", "1"},
    {"t.integer{}", "\"1\"", "1"},
    {"t.integer{}", "\"+1_000.00\"", "1000"},
    {"t.integer{}", "1.0", "1"},
    {"t.integer{}", "1.5",
     "{\"type\":\"int_from_float\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "integer, got a number with a fractional part\",\"input\":1.5}"},
    {"t.integer{}", "true", "1"},
    {"t.integer{}", "\"1.5\"",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "integer, unable to parse string as an integer\",\"input\":\"1.5\"}"},
    {"t.integer{}", "null",
     "{\"type\":\"int_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "integer\",\"input\":null}"},
    {"t.integer{}", "1e300",
     "{\"type\":\"int_parsing_size\",\"loc\":[\"body\",\"v\"],\"msg\":\"Unable to parse input "
     "string as an integer, exceeded maximum size\",\"input\":1e+300}"},
    {"t.integer{}", "NaN",
     "{\"type\":\"finite_number\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a finite "
     "number\",\"input\":null}"},
    {"t.integer{ge = 1, le = 10}", "0",
     "{\"type\":\"greater_than_equal\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater "
     "than or equal to 1\",\"input\":0,\"ctx\":{\"ge\":1}}"},
    {"t.integer{ge = 1, le = 10}", "11",
     "{\"type\":\"less_than_equal\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be less than "
     "or equal to 10\",\"input\":11,\"ctx\":{\"le\":10}}"},
    {"t.integer{gt = 1, lt = 3}", "1",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "1\",\"input\":1,\"ctx\":{\"gt\":1}}"},
    {"t.integer{gt = 1, lt = 3}", "3",
     "{\"type\":\"less_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be less than "
     "3\",\"input\":3,\"ctx\":{\"lt\":3}}"},
    {"t.integer{gt = 1, lt = 3}", "99999999999999999999",
     "{\"type\":\"less_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be less than "
     "3\",\"input\":99999999999999999999,\"ctx\":{\"lt\":3}}"},
    {"t.integer{gt = 1, lt = 3}", "-99999999999999999999",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "1\",\"input\":-99999999999999999999,\"ctx\":{\"gt\":1}}"},
    {"t.integer{multiple_of = 3}", "4",
     "{\"type\":\"multiple_of\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a multiple of "
     "3\",\"input\":4,\"ctx\":{\"multiple_of\":3}}"},
    {"t.integer{strict = true}", "\"1\"",
     "{\"type\":\"int_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "integer\",\"input\":\"1\"}"},
    {"t.integer{strict = true}", "1.0",
     "{\"type\":\"int_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "integer\",\"input\":1.0}"},
    {"t.integer{strict = true}", "true",
     "{\"type\":\"int_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "integer\",\"input\":true}"},
    {"t.integer{strict = true}", "1", "1"},
    {"t.number{}", "1", "1.0"},
    {"t.number{}", "\"1.5\"", "1.5"},
    {"t.number{}", "\" inf \"", "null"},
    {"t.number{}", "true", "1.0"},
    {"t.number{}", "\"x\"",
     "{\"type\":\"float_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "number, unable to parse string as a number\",\"input\":\"x\"}"},
    {"t.number{}", "[]",
     "{\"type\":\"float_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "number\",\"input\":[]}"},
    {"t.number{gt = 0, le = 10.5}", "0",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "0\",\"input\":0,\"ctx\":{\"gt\":0.0}}"},
    {"t.number{gt = 0, le = 10.5}", "10.6",
     "{\"type\":\"less_than_equal\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be less than "
     "or equal to 10.5\",\"input\":10.6,\"ctx\":{\"le\":10.5}}"},
    {"t.number{gt = 1e22}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "10000000000000000000000\",\"input\":-1e+30,\"ctx\":{\"gt\":1e+22}}"},
    {"t.number{gt = 2^53}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "9007199254740992\",\"input\":-1e+30,\"ctx\":{\"gt\":9007199254740992.0}}"},
    {"t.number{gt = 1.25e-7}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "0.000000125\",\"input\":-1e+30,\"ctx\":{\"gt\":1.25e-07}}"},
    {"t.number{gt = 0.5}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "0.5\",\"input\":-1e+30,\"ctx\":{\"gt\":0.5}}"},
    {"t.number{gt = 0.0012}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "0.0012\",\"input\":-1e+30,\"ctx\":{\"gt\":0.0012}}"},
    {"t.number{gt = -0.0}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "-0\",\"input\":-1e+30,\"ctx\":{\"gt\":-0.0}}"},
    {"t.number{gt = -1e20}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "-100000000000000000000\",\"input\":-1e+30,\"ctx\":{\"gt\":-1e+20}}"},
    {"t.number{gt = 1200}", "-1e30",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "1200\",\"input\":-1e+30,\"ctx\":{\"gt\":1200.0}}"},
    {"t.number{gt = 0, le = 10.5}", "\"5e-1\"", "0.5"},
    {"t.number{multiple_of = 0.1}", "0.3", "0.3"},
    {"t.number{multiple_of = 0.1}", "0.35",
     "{\"type\":\"multiple_of\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a multiple of "
     "0.1\",\"input\":0.35,\"ctx\":{\"multiple_of\":0.1}}"},
    {"t.number{allow_inf_nan = false}", "1e400",
     "{\"type\":\"finite_number\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a finite "
     "number\",\"input\":null}"},
    {"t.boolean{}", "\"YES\"", "true"},
    {"t.boolean{}", "\"off\"", "false"},
    {"t.boolean{}", "1", "true"},
    {"t.boolean{}", "0.0", "false"},
    {"t.boolean{}", "2",
     "{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "boolean, unable to interpret input\",\"input\":2}"},
    {"t.boolean{}", "\"maybe\"",
     "{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "boolean, unable to interpret input\",\"input\":\"maybe\"}"},
    {"t.boolean{}", "1.5",
     "{\"type\":\"bool_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "boolean\",\"input\":1.5}"},
    {"t.boolean{}", "null",
     "{\"type\":\"bool_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "boolean\",\"input\":null}"},
    {"t.boolean{strict = true}", "1",
     "{\"type\":\"bool_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "boolean\",\"input\":1}"},
    {"t.decimal{}", "\"1.50\"", "\"1.50\""},
    {"t.decimal{}", "1.1", "\"1.1\""},
    {"t.decimal{}", "\"1e5\"", "\"1E+5\""},
    {"t.decimal{}", "\"-٣.५0\"", "\"-3.50\""},
    {"t.decimal{}", "\"NaN1\"",
     "{\"type\":\"finite_number\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a finite "
     "number\",\"input\":\"NaN1\"}"},
    {"t.decimal{lt = 3}", "\"٣\"",
     "{\"type\":\"less_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be less than "
     "3\",\"input\":\"٣\",\"ctx\":{\"lt\":3}}"},
    {"t.decimal{}", "\"x\"",
     "{\"type\":\"decimal_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "decimal\",\"input\":\"x\"}"},
    {"t.decimal{}", "\"nan\"",
     "{\"type\":\"finite_number\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a finite "
     "number\",\"input\":\"nan\"}"},
    {"t.decimal{}", "true",
     "{\"type\":\"decimal_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Decimal input should be an "
     "integer, float, string or Decimal object\",\"input\":true}"},
    {"t.decimal{max_digits = 3, decimal_places = 1}", "\"1.23\"",
     "{\"type\":\"decimal_max_places\",\"loc\":[\"body\",\"v\"],\"msg\":\"Decimal input should "
     "have no more than 1 decimal place\",\"input\":\"1.23\",\"ctx\":{\"decimal_places\":1}}"},
    {"t.decimal{max_digits = 3, decimal_places = 1}", "\"1234\"",
     "{\"type\":\"decimal_max_digits\",\"loc\":[\"body\",\"v\"],\"msg\":\"Decimal input should "
     "have no more than 3 digits in total\",\"input\":\"1234\",\"ctx\":{\"max_digits\":3}}"},
    {"t.decimal{max_digits = 3, decimal_places = 1}", "\"123\"",
     "{\"type\":\"decimal_whole_digits\",\"loc\":[\"body\",\"v\"],\"msg\":\"Decimal input should "
     "have no more than 2 digits before the decimal "
     "point\",\"input\":\"123\",\"ctx\":{\"whole_digits\":2}}"},
    {"t.decimal{max_digits = 3, decimal_places = 1}", "\"12.30\"", "\"12.30\""},
    {"t.decimal{gt = '1.5', le = '10'}", "\"1.5\"",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "1.5\",\"input\":\"1.5\",\"ctx\":{\"gt\":1.5}}"},
    {"t.decimal{gt = '1.5', le = '10'}", "\"10.01\"",
     "{\"type\":\"less_than_equal\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be less than "
     "or equal to 10\",\"input\":\"10.01\",\"ctx\":{\"le\":10}}"},
    {"t.decimal{gt = '1.5', le = '10'}", "\"2\"", "\"2\""},
    {"t.decimal{multiple_of = '0.25'}", "\"1.10\"",
     "{\"type\":\"multiple_of\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a multiple of "
     "0.25\",\"input\":\"1.10\",\"ctx\":{\"multiple_of\":0.25}}"},
    {"t.decimal{multiple_of = '0.25'}", "\"1.75\"", "\"1.75\""},
};

static const struct example moments[] = {
    {"t.datetime{}", "\"2020-01-01T10:20:30.123456789Z\"", "\"2020-01-01T10:20:30.123456Z\""},
    {"t.datetime{}", "\"2020-01-01\"", "\"2020-01-01T00:00:00\""},
    {"t.datetime{}", "1577836800.5", "\"2020-01-01T00:00:00.500000Z\""},
    {"t.datetime{}", "\"not a date\"",
     "{\"type\":\"datetime_from_date_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be "
     "a valid datetime or date, invalid character in year\",\"input\":\"not a "
     "date\",\"ctx\":{\"error\":\"invalid character in year\"}}"},
    {"t.datetime{}", "\"2020-01-01T25:00\"",
     "{\"type\":\"datetime_from_date_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be "
     "a valid datetime or date, unexpected extra characters at the end of the "
     "input\",\"input\":\"2020-01-01T25:00\",\"ctx\":{\"error\":\"unexpected extra characters at "
     "the end of the input\"}}"},
    {"t.datetime{}", "\"0000-01-01\"",
     "{\"type\":\"datetime_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "datetime, year 0 is out of range\",\"input\":\"0000-01-01\",\"ctx\":{\"error\":\"year 0 is "
     "out of range\"}}"},
    {"t.datetime{}", "true",
     "{\"type\":\"datetime_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "datetime\",\"input\":true}"},
    {"t.datetime{gt = '2020-01-01T00:00:00'}", "\"2020-01-01T00:00:00Z\"",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater than "
     "2020-01-01T00:00:00\",\"input\":\"2020-01-01T00:00:00Z\",\"ctx\":{\"gt\":\"2020-01-01T00:00:"
     "00\"}}"},
    {"t.date{}", "\"2020-02-29\"", "\"2020-02-29\""},
    {"t.date{}", "\"2019-02-29\"",
     "{\"type\":\"date_from_datetime_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be "
     "a valid date or datetime, day value is outside expected "
     "range\",\"input\":\"2019-02-29\",\"ctx\":{\"error\":\"day value is outside expected "
     "range\"}}"},
    {"t.date{}", "\"2020-01-01T00:00:00\"", "\"2020-01-01\""},
    {"t.date{}", "\"2020-01-01T00:00:01\"",
     "{\"type\":\"date_from_datetime_inexact\",\"loc\":[\"body\",\"v\"],\"msg\":\"Datetimes "
     "provided to dates should have zero time - e.g. be exact "
     "dates\",\"input\":\"2020-01-01T00:00:01\"}"},
    {"t.date{}", "86400", "\"1970-01-02\""},
    {"t.date{}", "86401",
     "{\"type\":\"date_from_datetime_inexact\",\"loc\":[\"body\",\"v\"],\"msg\":\"Datetimes "
     "provided to dates should have zero time - e.g. be exact dates\",\"input\":86401}"},
    {"t.date{ge = '2020-01-01'}", "\"2019-12-31\"",
     "{\"type\":\"greater_than_equal\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater "
     "than or equal to 2020-01-01\",\"input\":\"2019-12-31\",\"ctx\":{\"ge\":\"2020-01-01\"}}"},
    {"t.date{strict = true}", "\"2020-01-01\"",
     "{\"type\":\"date_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "date\",\"input\":\"2020-01-01\"}"},
    {"t.time{}", "\"12:00\"", "\"12:00:00\""},
    {"t.time{}", "\"12:00:00.5+01:30\"", "\"12:00:00.500000+01:30\""},
    {"t.time{}", "3600", "\"01:00:00Z\""},
    {"t.time{}", "-1",
     "{\"type\":\"time_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be in a valid "
     "time format, time in seconds should be positive\",\"input\":-1,\"ctx\":{\"error\":\"time in "
     "seconds should be positive\"}}"},
    {"t.time{}", "\"24:00\"",
     "{\"type\":\"time_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be in a valid "
     "time format, hour value is outside expected range of "
     "0-23\",\"input\":\"24:00\",\"ctx\":{\"error\":\"hour value is outside expected range of "
     "0-23\"}}"},
    {"t.duration{}", "\"P1DT2H\"", "\"P1DT2H\""},
    {"t.duration{}", "\"-PT0.5S\"", "\"-PT0.5S\""},
    {"t.duration{}", "\"1 day, 12:00:00\"", "\"P1DT12H\""},
    {"t.duration{}", "90061.25", "\"P1DT1H1M1.25S\""},
    {"t.duration{}", "\"x\"",
     "{\"type\":\"time_delta_parsing\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "timedelta, invalid digit in duration\",\"input\":\"x\",\"ctx\":{\"error\":\"invalid digit in "
     "duration\"}}"},
    {"t.duration{}", "\"P1.5Y\"", "\"P1Y182DT12H\""},
    {"t.duration{ge = 'PT1H'}", "60",
     "{\"type\":\"greater_than_equal\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be greater "
     "than or equal to 1 hour\",\"input\":60.0,\"ctx\":{\"ge\":\"1 hour\"}}"},
};

static const struct example constants[] = {
    {"t.enum{name = 'E', values = {'a', 'b'}}", "\"a\"", "\"a\""},
    {"t.enum{name = 'E', values = {'a', 'b'}}", "\"c\"",
     "{\"type\":\"enum\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be 'a' or "
     "'b'\",\"input\":\"c\",\"ctx\":{\"expected\":\"'a' or 'b'\"}}"},
    {"t.enum{name = 'E', values = {1, 2}}", "\"1\"", "1"},
    {"t.enum{name = 'E', values = {1, 2}}", "2.0", "2"},
    {"t.enum{name = 'E', values = {1, 2}}", "true", "1"},
    {"t.enum{name = 'E', values = {1, 2}}", "3",
     "{\"type\":\"enum\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be 1 or "
     "2\",\"input\":3,\"ctx\":{\"expected\":\"1 or 2\"}}"},
    {"t.enum{name = 'E', values = {1, 2}}", "\" +0123456789012345678901234567890.0\"",
     "{\"type\":\"int_parsing_size\",\"loc\":[\"body\",\"v\"],\"msg\":\"Unable to parse input "
     "string as an integer, exceeded maximum size\",\"input\":123456789012345678901234567890}"},
    {"t.enum{name = 'E', values = {'1', '2'}}", "\"123456789012345678901234567890\"",
     "{\"type\":\"enum\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be '1' or "
     "'2'\",\"input\":\"123456789012345678901234567890\",\"ctx\":{\"expected\":\"'1' or '2'\"}}"},
    {"t.enum{name = 'E', values = {'a', 2}}", "2", "2"},
    {"t.enum{name = 'E', values = {'a', 2}}", "\"2\"",
     "{\"type\":\"enum\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be 'a' or "
     "2\",\"input\":\"2\",\"ctx\":{\"expected\":\"'a' or 2\"}}"},
    {"t.enum{name = 'E', values = {'a'}, strict = true}", "\"a\"",
     "{\"type\":\"is_instance_of\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be an instance "
     "of E\",\"input\":\"a\",\"ctx\":{\"class\":\"E\"}}"},
    {"t.literal{values = {'x', 1, json.null, true}}", "1", "1"},
    {"t.literal{values = {'x', 1, json.null, true}}", "true", "true"},
    {"t.literal{values = {'x', 1, json.null, true}}", "null", "null"},
    {"t.literal{values = {'x', 1, json.null, true}}", "\"y\"",
     "{\"type\":\"literal_error\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be 'x', 1, None "
     "or True\",\"input\":\"y\",\"ctx\":{\"expected\":\"'x', 1, None or True\"}}"},
    {"t.literal{values = {'it\\'s', 'q\"'}}", "1",
     "{\"type\":\"literal_error\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be \\\"it's\\\" "
     "or 'q\\\"'\",\"input\":1,\"ctx\":{\"expected\":\"\\\"it's\\\" or 'q\\\"'\"}}"},
    {"t.null{}", "null", "null"},
    {"t.null{}", "0",
     "{\"type\":\"none_required\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be "
     "None\",\"input\":0}"},
    {"t.any{}", "{\"a\":[1,2.5,null]}", "{\"a\":[1,2.5,null]}"},
};

static const struct example collections[] = {
    {"t.array{item = t.integer{}}", "[\"1\",2]", "[1,2]"},
    {"t.array{item = t.integer{}}", "[1,\"x\",null]",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",1],\"msg\":\"Input should be a valid "
     "integer, unable to parse string as an "
     "integer\",\"input\":\"x\"},{\"type\":\"int_type\",\"loc\":[\"body\",\"v\",2],\"msg\":\"Input "
     "should be a valid integer\",\"input\":null}"},
    {"t.array{item = t.integer{}}", "{}",
     "{\"type\":\"list_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "list\",\"input\":{}}"},
    {"t.array{item = t.integer{}}", "\"abc\"",
     "{\"type\":\"list_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "list\",\"input\":\"abc\"}"},
    {"t.array{item = t.integer{}, min_items = 2, max_items = 3}", "[1]",
     "{\"type\":\"too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"List should have at least 2 items "
     "after validation, not "
     "1\",\"input\":[1],\"ctx\":{\"field_type\":\"List\",\"min_length\":2,\"actual_length\":1}}"},
    {"t.array{item = t.integer{}, min_items = 2, max_items = 3}", "[1,2,3,4]",
     "{\"type\":\"too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"List should have at most 3 items "
     "after validation, not "
     "4\",\"input\":[1,2,3,4],\"ctx\":{\"field_type\":\"List\",\"max_length\":3,\"actual_length\":"
     "4}}"},
    {"t.array{item = t.integer{}, min_items = 2, max_items = 3}", "[\"x\"]",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",0],\"msg\":\"Input should be a valid "
     "integer, unable to parse string as an integer\",\"input\":\"x\"}"},
    {"t.array{item = t.integer{}, min_items = 2, max_items = 3}", "[\"x\",2,3,4]",
     "{\"type\":\"too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"List should have at most 3 items "
     "after validation, not "
     "4\",\"input\":[\"x\",2,3,4],\"ctx\":{\"field_type\":\"List\",\"max_length\":3,\"actual_"
     "length\":4}}"},
    {"t.set{item = t.integer{}}", "[1,\"1\",2,1.0]", "[1,2]"},
    {"t.set{item = t.integer{}}", "5",
     "{\"type\":\"set_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "set\",\"input\":5}"},
    {"t.set{item = t.integer{}, min_items = 2, max_items = 2}", "[1,1]",
     "{\"type\":\"too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"Set should have at least 2 items "
     "after validation, not "
     "1\",\"input\":[1,1],\"ctx\":{\"field_type\":\"Set\",\"min_length\":2,\"actual_length\":1}}"},
    {"t.set{item = t.integer{}, min_items = 2, max_items = 2}", "[1,2,3]",
     "{\"type\":\"too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"Set should have at most 2 items "
     "after validation, not "
     "more\",\"input\":[1,2,3],\"ctx\":{\"field_type\":\"Set\",\"max_length\":2,\"actual_length\":"
     "null}}"},
    {"t.set{item = t.array{item = t.integer{}}}", "[[1]]",
     "{\"type\":\"set_item_not_hashable\",\"loc\":[\"body\",\"v\",0],\"msg\":\"Set items should be "
     "hashable\",\"input\":[1]}"},
    {"t.tuple{items = {t.integer{}, t.string{}}}", "[1,\"a\"]", "[1,\"a\"]"},
    {"t.tuple{items = {t.integer{}, t.string{}}}", "[1]",
     "{\"type\":\"missing\",\"loc\":[\"body\",\"v\",1],\"msg\":\"Field required\",\"input\":[1]}"},
    {"t.tuple{items = {t.integer{}, t.string{}}}", "[1,\"a\",2]",
     "{\"type\":\"too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"Tuple should have at most 2 items "
     "after validation, not "
     "3\",\"input\":[1,\"a\",2],\"ctx\":{\"field_type\":\"Tuple\",\"max_length\":2,\"actual_"
     "length\":3}}"},
    {"t.tuple{items = {t.integer{}, t.string{}}}", "{}",
     "{\"type\":\"tuple_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "tuple\",\"input\":{}}"},
    {"t.tuple{items = {}, rest = t.integer{}}", "[1,\"2\",3]", "[1,2,3]"},
    {"t.tuple{items = {}, rest = t.integer{}}", "[\"x\"]",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",0],\"msg\":\"Input should be a valid "
     "integer, unable to parse string as an integer\",\"input\":\"x\"}"},
    {"t.map{value = t.integer{}}", "{\"a\":\"1\"}", "{\"a\":1}"},
    {"t.map{value = t.integer{}}", "{\"a\":\"x\"}",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",\"a\"],\"msg\":\"Input should be a valid "
     "integer, unable to parse string as an integer\",\"input\":\"x\"}"},
    {"t.map{value = t.integer{}}", "[]",
     "{\"type\":\"dict_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a valid "
     "dictionary\",\"input\":[]}"},
    {"t.map{key = t.integer{}, value = t.any{}}", "{\"1\":2,\"x\":\"y\"}",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",\"x\",\"[key]\"],\"msg\":\"Input should be "
     "a valid integer, unable to parse string as an integer\",\"input\":\"x\"}"},
    {"t.map{min_items = 1, max_items = 1}", "{}",
     "{\"type\":\"too_short\",\"loc\":[\"body\",\"v\"],\"msg\":\"Dictionary should have at least 1 "
     "item after validation, not "
     "0\",\"input\":{},\"ctx\":{\"field_type\":\"Dictionary\",\"min_length\":1,\"actual_length\":0}"
     "}"},
    {"t.map{min_items = 1, max_items = 1}", "{\"a\":1,\"b\":2}",
     "{\"type\":\"too_long\",\"loc\":[\"body\",\"v\"],\"msg\":\"Dictionary should have at most 1 "
     "item after validation, not "
     "more\",\"input\":{\"a\":1,\"b\":2},\"ctx\":{\"field_type\":\"Dictionary\",\"max_length\":1,"
     "\"actual_length\":null}}"},
};

static const struct example models[] = {
    {"t.model{name = 'Item', fields = {{'name', t.string{}}, {'price', t.number{gt = 0}}, {'tax', "
     "t.number{optional = true}}, {'tags', t.array{item = t.string{}, default = {}}}}}",
     "{\"name\":\"a\",\"price\":1}", "{\"name\":\"a\",\"price\":1.0,\"tax\":null,\"tags\":[]}"},
    {"t.model{name = 'Item', fields = {{'name', t.string{}}, {'price', t.number{gt = 0}}, {'tax', "
     "t.number{optional = true}}, {'tags', t.array{item = t.string{}, default = {}}}}}",
     "{\"price\":\"x\",\"tags\":[1]}",
     "{\"type\":\"missing\",\"loc\":[\"body\",\"v\",\"name\"],\"msg\":\"Field "
     "required\",\"input\":{\"price\":\"x\",\"tags\":[1]}},{\"type\":\"float_parsing\",\"loc\":["
     "\"body\",\"v\",\"price\"],\"msg\":\"Input should be a valid number, unable to parse string "
     "as a "
     "number\",\"input\":\"x\"},{\"type\":\"string_type\",\"loc\":[\"body\",\"v\",\"tags\",0],"
     "\"msg\":\"Input should be a valid string\",\"input\":1}"},
    {"t.model{name = 'Item', fields = {{'name', t.string{}}, {'price', t.number{gt = 0}}, {'tax', "
     "t.number{optional = true}}, {'tags', t.array{item = t.string{}, default = {}}}}}",
     "[]",
     "{\"type\":\"model_attributes_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a "
     "valid dictionary or object to extract fields from\",\"input\":[]}"},
    {"t.model{name = 'Item', fields = {{'name', t.string{}}, {'price', t.number{gt = 0}}, {'tax', "
     "t.number{optional = true}}, {'tags', t.array{item = t.string{}, default = {}}}}}",
     "null",
     "{\"type\":\"model_attributes_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a "
     "valid dictionary or object to extract fields from\",\"input\":null}"},
    {"t.model{name = 'Item', fields = {{'name', t.string{}}, {'price', t.number{gt = 0}}, {'tax', "
     "t.number{optional = true}}, {'tags', t.array{item = t.string{}, default = {}}}}}",
     "{\"name\":\"a\",\"price\":1,\"zz\":2}",
     "{\"name\":\"a\",\"price\":1.0,\"tax\":null,\"tags\":[]}"},
    {"t.model{name = 'Item', fields = {{'name', t.string{}}, {'price', t.number{gt = 0}}, {'tax', "
     "t.number{optional = true}}, {'tags', t.array{item = t.string{}, default = {}}}}}",
     "{\"name\":\"a\",\"name\":\"b\",\"price\":1}",
     "{\"name\":\"b\",\"price\":1.0,\"tax\":null,\"tags\":[]}"},
    {"t.model{name = 'F', fields = {{'a', t.integer{}}}, extra = 'forbid'}",
     "{\"a\":1,\"b\":2,\"c\":3}",
     "{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"v\",\"b\"],\"msg\":\"Extra inputs are not "
     "permitted\",\"input\":2},{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"v\",\"c\"],"
     "\"msg\":\"Extra inputs are not permitted\",\"input\":3}"},
    {"t.model{name = 'E', fields = {{'a', t.integer{}}}, extra = 'allow'}", "{\"a\":1,\"b\":[2]}",
     "{\"a\":1,\"b\":[2]}"},
    {"t.model{name = 'G', fields = {{'a', t.integer{alias = 'b'}}}}", "{\"b\":1}", "{\"b\":1}"},
    {"t.model{name = 'G', fields = {{'a', t.integer{alias = 'b'}}}}", "{\"a\":1}",
     "{\"type\":\"missing\",\"loc\":[\"body\",\"v\",\"b\"],\"msg\":\"Field "
     "required\",\"input\":{\"a\":1}}"},
    {"t.model{name = 'H', fields = {{'a', t.integer{}}, {'d', t.date{}}, {'l', t.array{item = "
     "t.integer{}}}}, strict = true}",
     "{\"a\":\"1\",\"d\":\"2020-01-01\",\"l\":[\"1\"]}",
     "{\"type\":\"int_type\",\"loc\":[\"body\",\"v\",\"a\"],\"msg\":\"Input should be a valid "
     "integer\",\"input\":\"1\"},{\"type\":\"date_type\",\"loc\":[\"body\",\"v\",\"d\"],\"msg\":"
     "\"Input should be a valid "
     "date\",\"input\":\"2020-01-01\"},{\"type\":\"int_type\",\"loc\":[\"body\",\"v\",\"l\",0],"
     "\"msg\":\"Input should be a valid integer\",\"input\":\"1\"}"},
    {"t.model{name = 'O', fields = {{'i', t.model{name = 'Item', fields = {{'name', t.string{}}, "
     "{'price', t.number{gt = 0}}, {'tax', t.number{optional = true}}, {'tags', t.array{item = "
     "t.string{}, default = {}}}}}}, {'o', t.model{name = 'P', fields = {{'x', t.integer{}}}, "
     "optional = true}}}}",
     "{\"i\":{\"name\":\"a\",\"price\":0},\"o\":{\"x\":\"y\"}}",
     "{\"type\":\"greater_than\",\"loc\":[\"body\",\"v\",\"i\",\"price\"],\"msg\":\"Input should "
     "be greater than "
     "0\",\"input\":0,\"ctx\":{\"gt\":0.0}},{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\","
     "\"o\",\"x\"],\"msg\":\"Input should be a valid integer, unable to parse string as an "
     "integer\",\"input\":\"y\"}"},
    {"t.model{name = 'O', fields = {{'i', t.model{name = 'Item', fields = {{'name', t.string{}}, "
     "{'price', t.number{gt = 0}}, {'tax', t.number{optional = true}}, {'tags', t.array{item = "
     "t.string{}, default = {}}}}}}, {'o', t.model{name = 'P', fields = {{'x', t.integer{}}}, "
     "optional = true}}}}",
     "{\"i\":{\"name\":\"a\",\"price\":2},\"o\":null}",
     "{\"i\":{\"name\":\"a\",\"price\":2.0,\"tax\":null,\"tags\":[]},\"o\":null}"},
};

static const struct example unions[] = {
    {"t.union{members = {t.integer{}, t.string{}}}", "\"1\"", "\"1\""},
    {"t.union{members = {t.integer{}, t.string{}}}", "1", "1"},
    {"t.union{members = {t.array{item = t.union{members = {t.integer{}, t.null{}}}}, t.boolean{}}}",
     "[\"x\"]",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",\"list[nullable[int]]\",0],\"msg\":\"Input "
     "should be a valid integer, unable to parse string as an integer\",\"input\":\"x\"},"
     "{\"type\":\"bool_type\",\"loc\":[\"body\",\"v\",\"bool\"],\"msg\":\"Input should be a valid "
     "boolean\",\"input\":[\"x\"]}"},
    {"t.union{members = {t.integer{}, t.string{}}}", "1.0", "1"},
    {"t.union{members = {t.integer{}, t.string{}}}", "[]",
     "{\"type\":\"int_type\",\"loc\":[\"body\",\"v\",\"int\"],\"msg\":\"Input should be a valid "
     "integer\",\"input\":[]},{\"type\":\"string_type\",\"loc\":[\"body\",\"v\",\"str\"],\"msg\":"
     "\"Input should be a valid string\",\"input\":[]}"},
    {"t.union{members = {t.number{}, t.integer{}}}", "1", "1"},
    {"t.union{members = {t.number{}, t.integer{}}}", "\"1\"", "1.0"},
    {"t.union{members = {t.boolean{}, t.integer{}}}", "1", "1"},
    {"t.union{members = {t.boolean{}, t.integer{}}}", "true", "true"},
    {"t.union{members = {t.uuid{}, t.secret{}}}", "\"12345678-1234-1234-1234-12345678ABCD\"",
     "\"**********\""},
    {"t.union{members = {t.uuid{}, t.string{}}}", "\"12345678-1234-1234-1234-12345678abcd\"",
     "\"12345678-1234-1234-1234-12345678abcd\""},
    {"t.union{members = {t.array{item = t.integer{}}, t.array{item = t.string{}}}}", "[\"1\"]",
     "[\"1\"]"},
    {"t.union{members = {t.model{name = 'A1', fields = {{'a', t.integer{default = 0}}, {'b', "
     "t.integer{default = 0}}}}, t.model{name = 'A2', fields = {{'a', t.integer{default = 0}}, "
     "{'c', t.integer{default = 0}}}}}}",
     "{\"a\":1}", "{\"a\":1,\"b\":0}"},
    {"t.union{members = {t.model{name = 'A1', fields = {{'a', t.integer{default = 0}}, {'b', "
     "t.integer{default = 0}}}}, t.model{name = 'A2', fields = {{'a', t.integer{default = 0}}, "
     "{'c', t.integer{default = 0}}}}}}",
     "{\"c\":1}", "{\"a\":0,\"c\":1}"},
    {"t.union{members = {t.model{name = 'A1', fields = {{'a', t.integer{default = 0}}, {'b', "
     "t.integer{default = 0}}}}, t.model{name = 'A2', fields = {{'a', t.integer{default = 0}}, "
     "{'c', t.integer{default = 0}}}}}}",
     "{\"a\":1,\"c\":2}", "{\"a\":1,\"c\":2}"},
    {"t.union{members = {t.integer{}, t.null{}, t.date{}}}", "null", "null"},
    {"t.union{members = {t.integer{}, t.null{}, t.date{}}}", "\"x\"",
     "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"v\",\"int\"],\"msg\":\"Input should be a valid "
     "integer, unable to parse string as an "
     "integer\",\"input\":\"x\"},{\"type\":\"date_from_datetime_parsing\",\"loc\":[\"body\",\"v\","
     "\"date\"],\"msg\":\"Input should be a valid date or datetime, input is too "
     "short\",\"input\":\"x\",\"ctx\":{\"error\":\"input is too short\"}}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "{\"kind\":\"cat\"}", "{\"kind\":\"cat\",\"lives\":9}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "{\"kind\":\"dog\"}",
     "{\"type\":\"missing\",\"loc\":[\"body\",\"v\",\"dog\",\"name\"],\"msg\":\"Field "
     "required\",\"input\":{\"kind\":\"dog\"}}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "{\"kind\":1}",
     "{\"type\":\"missing\",\"loc\":[\"body\",\"v\",1,\"name\"],\"msg\":\"Field "
     "required\",\"input\":{\"kind\":1}}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "{\"kind\":\"bird\"}",
     "{\"type\":\"union_tag_invalid\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input tag 'bird' found "
     "using 'kind' does not match any of the expected tags: 'cat', 'dog', "
     "1\",\"input\":{\"kind\":\"bird\"},\"ctx\":{\"discriminator\":\"'kind'\",\"tag\":\"bird\","
     "\"expected_tags\":\"'cat', 'dog', 1\"}}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "{\"kind\":[true]}",
     "{\"type\":\"union_tag_invalid\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input tag '[True]' found "
     "using 'kind' does not match any of the expected tags: 'cat', 'dog', "
     "1\",\"input\":{\"kind\":[true]},\"ctx\":{\"discriminator\":\"'kind'\",\"tag\":\"[True]\","
     "\"expected_tags\":\"'cat', 'dog', 1\"}}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "{}",
     "{\"type\":\"union_tag_not_found\",\"loc\":[\"body\",\"v\"],\"msg\":\"Unable to extract tag "
     "using discriminator 'kind'\",\"input\":{},\"ctx\":{\"discriminator\":\"'kind'\"}}"},
    {"t.tagged{tag = 'kind', cases = {{'cat', t.model{name = 'Cat', fields = {{'kind', "
     "t.literal{values = {'cat'}}}, {'lives', t.integer{default = 9}}}}}, {'dog', t.model{name = "
     "'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', t.string{}}}}}, {1, "
     "t.model{name = 'Dog', fields = {{'kind', t.literal{values = {'dog', 1}}}, {'name', "
     "t.string{}}}}}}}",
     "5",
     "{\"type\":\"model_attributes_type\",\"loc\":[\"body\",\"v\"],\"msg\":\"Input should be a "
     "valid dictionary or object to extract fields from\",\"input\":5}"},
};

static lua_State *L;
static struct peri_result *result;

static int open_vm(void **state)
{
    (void) state;
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_perigee_json, 1);
    luaL_requiref(L, "schema", luaopen_perigee_schema, 1);
    lua_settop(L, 0);
    result = peri_result_new();
    return luaL_dostring(
        L, "t = setmetatable({}, { __index = function(_, kind)\n"
           "  return function(node)\n"
           "    node.kind = kind\n"
           "    return node\n"
           "  end\n"
           "end })\n"
           "function wrap(v)\n"
           "  local body = t.model{ name = 'W', fields = { { 'v', v } } }\n"
           "  return schema.inputs{ groups = { { source = 'body', model = body } } },\n"
           "    schema.compile(body)\n"
           "end");
}

static int close_vm(void **state)
{
    (void) state;
    peri_result_free(result);
    lua_close(L);
    return 0;
}

/* Leaves the inputs at 1 and the program at 2. */
static void compile(const char *type)
{
    lua_settop(L, 0);
    const char *chunk = lua_pushfstring(L, "return wrap(%s)", type);
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s: %s", type, lua_tostring(L, -1));
    lua_remove(L, 1);
}

static enum peri_verdict validate(const char *input, struct peri_buf *body)
{
    static const char json[] = "application/json";
    body->len = 0;
    peri_buf_addf(body, "{\"v\":%s}", input);
    const struct peri_sources sources = {.body = body->data,
                                         .body_len = body->len,
                                         .content_type = json,
                                         .content_type_len = sizeof(json) - 1};
    return peri_inputs_validate(peri_schema_inputs(L, 1), &sources, 64, result);
}

/* The text between a known start and end. */
static void expect(const struct example *example, const char *text, size_t len, const char *start,
                   const char *end)
{
    size_t skip = strlen(start);
    assert_true(len >= skip + strlen(end));
    assert_memory_equal(text, start, skip);
    len -= skip + strlen(end);
    if (len != strlen(example->want) || memcmp(text + skip, example->want, len) != 0)
        fail_msg("%s with %s\n  want %s\n  got  %.*s", example->type, example->input, example->want,
                 (int) len, text + skip);
}

static void keep_in_table(lua_State *state, int target, const char *name, size_t len)
{
    (void) len;
    lua_setfield(state, target, name);
}

static void check(const struct example *examples, size_t count)
{
    struct peri_buf body = {0};
    struct peri_buf text = {0};
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(examples[i].type, examples[i - 1].type) != 0)
            compile(examples[i].type);
        size_t len = 0;
        if (validate(examples[i].input, &body) == PERI_INVALID) {
            const char *errors = peri_result_errors(result, &len);
            expect(&examples[i], errors, len, "{\"detail\":[", "]}");
            continue;
        }
        lua_settop(L, 2);
        lua_newtable(L);
        assert_int_equal(peri_inputs_push(L, 1, result, keep_in_table, 3), PERI_VALID);
        lua_getfield(L, 3, "body");
        text.len = 0;
        if (peri_schema_encode(L, 4, 2, &text) != 0)
            fail_msg("%s with %s: %s", examples[i].type, examples[i].input, lua_tostring(L, -1));
        expect(&examples[i], text.data, text.len, "{\"v\":", "}");
    }
    peri_buf_deinit(&body);
    peri_buf_deinit(&text);
}

static void texts_are_converted_as_pydantic_does(void **state)
{
    (void) state;
    check(texts, COUNT(texts));
}

static void numbers_are_converted_as_pydantic_does(void **state)
{
    (void) state;
    check(numbers, COUNT(numbers));
}

static void moments_are_converted_as_pydantic_does(void **state)
{
    (void) state;
    check(moments, COUNT(moments));
}

static void constants_are_found_as_pydantic_does(void **state)
{
    (void) state;
    check(constants, COUNT(constants));
}

static void collections_are_bounded_as_pydantic_does(void **state)
{
    (void) state;
    check(collections, COUNT(collections));
}

static void models_report_fields_in_their_order(void **state)
{
    (void) state;
    check(models, COUNT(models));
}

static void unions_choose_as_pydantic_does(void **state)
{
    (void) state;
    check(unions, COUNT(unions));
}

static void integers_beyond_64_bits_are_refused_by_size(void **state)
{
    (void) state;
    static const struct example big[] = {
        {"t.integer{}", "9223372036854775807", "9223372036854775807"},
        {"t.integer{}", "9223372036854775808",
         "{\"type\":\"int_parsing_size\",\"loc\":[\"body\",\"v\"],\"msg\":\"Unable to parse input "
         "string as an integer, exceeded maximum size\",\"input\":9223372036854775808}"},
    };
    check(big, COUNT(big));
}

static void a_secret_is_masked_wherever_an_error_would_show_it(void **state)
{
    (void) state;
    static const struct example secrets[] = {
        {"t.model{ name = 'Login', fields = { { 'name', t.string{} }, { 'password', t.secret{ "
         "min_length = 8 } } } }",
         "{\"password\":\"hunter2\"}",
         "{\"type\":\"missing\",\"loc\":[\"body\",\"v\",\"name\"],\"msg\":\"Field required\","
         "\"input\":{\"password\":\"**********\"}},"
         "{\"type\":\"too_short\",\"loc\":[\"body\",\"v\",\"password\"],\"msg\":\"Value should "
         "have "
         "at least 8 items after validation, not 7\",\"input\":\"**********\",\"ctx\":{"
         "\"field_type\":\"Value\",\"min_length\":8,\"actual_length\":7}}"},
        {"t.secret{}", "\"hunter2\"", "\"**********\""},
    };
    check(secrets, COUNT(secrets));
}

/* Each level tries both members, which both go on: 2^40 attempts if nobody counted. */
static void unions_within_unions_end_in_an_error(void **state)
{
    (void) state;
    struct peri_buf body = {0};
    struct peri_buf input = {0};
    lua_settop(L, 0);
    const char *chunk =
        "local A, B\n"
        "local next = t.union{ members = { t.ref{ target = function() return A end },\n"
        "  t.ref{ target = function() return B end } }, optional = true }\n"
        "A = t.model{ name = 'A', fields = { { 'n', next }, { 'a', t.integer{} } } }\n"
        "B = t.model{ name = 'B', fields = { { 'n', next }, { 'b', t.integer{} } } }\n"
        "return wrap(next)";
    assert_int_equal(luaL_dostring(L, chunk), LUA_OK);
    for (int i = 0; i < 40; i++)
        peri_buf_add_lit(&input, "{\"n\":");
    peri_buf_add_lit(&input, "{}");
    for (int i = 0; i < 40; i++)
        peri_buf_add_byte(&input, '}');
    peri_buf_add_byte(&input, '\0');
    assert_int_equal(validate(input.data, &body), PERI_INVALID);
    peri_buf_deinit(&input);
    peri_buf_deinit(&body);
}

static void the_errors_of_one_answer_are_bounded(void **state)
{
    (void) state;
    struct peri_buf body = {0};
    struct peri_buf input = {0};
    compile("t.array{ item = t.integer{} }");
    peri_buf_add_byte(&input, '[');
    for (int i = 0; i < 100000; i++)
        peri_buf_add_str(&input, i == 0 ? "\"x\"" : ",\"x\"");
    peri_buf_add(&input, "]", 2);
    assert_int_equal(validate(input.data, &body), PERI_INVALID);
    size_t len = 0;
    const char *errors = peri_result_errors(result, &len);
    assert_int_equal(peri_result_error_count(result), 100000);
    assert_true(len < 2 << 20);
    assert_memory_equal(errors + len - 2, "]}", 2);
    peri_buf_deinit(&input);
    peri_buf_deinit(&body);
}

static void a_pattern_that_explodes_counts_as_no_match(void **state)
{
    (void) state;
    struct peri_buf body = {0};
    lua_settop(L, 0);
    assert_int_equal(luaL_dostring(L, "return schema.stats().patterns_failed"), LUA_OK);
    lua_Integer before = lua_tointeger(L, 1);
    compile("t.string{ pattern = '^(a+)+$' }");
    assert_int_equal(validate("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"", &body),
                     PERI_INVALID);
    lua_settop(L, 0);
    assert_int_equal(luaL_dostring(L, "return schema.stats().patterns_failed"), LUA_OK);
    assert_int_equal(lua_tointeger(L, 1), before + 1);
    peri_buf_deinit(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_converted_as_pydantic_does),
        cmocka_unit_test(numbers_are_converted_as_pydantic_does),
        cmocka_unit_test(moments_are_converted_as_pydantic_does),
        cmocka_unit_test(constants_are_found_as_pydantic_does),
        cmocka_unit_test(collections_are_bounded_as_pydantic_does),
        cmocka_unit_test(models_report_fields_in_their_order),
        cmocka_unit_test(unions_choose_as_pydantic_does),
        cmocka_unit_test(integers_beyond_64_bits_are_refused_by_size),
        cmocka_unit_test(a_secret_is_masked_wherever_an_error_would_show_it),
        cmocka_unit_test(unions_within_unions_end_in_an_error),
        cmocka_unit_test(the_errors_of_one_answer_are_bounded),
        cmocka_unit_test(a_pattern_that_explodes_counts_as_no_match),
    };
    return cmocka_run_group_tests(tests, open_vm, close_vm);
}
