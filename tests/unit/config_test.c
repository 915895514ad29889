/* Settings from flags and the environment: defaults, precedence, and one clear line for each
 * mistake. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct peri_config config;
static char error[300];

static int parse(const char *const *arguments, int count)
{
    char *argv[16];
    assert_true(count <= 16);
    for (int i = 0; i < count; i++)
        argv[i] = (char *) arguments[i];
    error[0] = '\0';
    int rc = peri_config_parse(&config, count, argv, false, error, sizeof(error));
    assert_int_equal(rc == 0, error[0] == '\0');
    return rc;
}

#define PARSE(...)                                                                                 \
    parse((const char *const[]){__VA_ARGS__},                                                      \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

#define accepts(...) assert_int_equal(PARSE(__VA_ARGS__), 0)

#define refuses(message, ...)                                                                      \
    do {                                                                                           \
        assert_int_equal(PARSE(__VA_ARGS__), -1);                                                  \
        assert_string_equal(error, message);                                                       \
    } while (0)

static void defaults_are_those_of_the_help(void **state)
{
    (void) state;
    accepts("apps/hello");
    assert_string_equal(config.app, "apps/hello");
    assert_string_equal(config.host, "127.0.0.1");
    assert_int_equal(config.port, 8000);
    assert_in_range(config.loops, 1, 256);
    assert_int_equal(config.log, PERI_LOG_TEXT);
    assert_int_equal(config.limits_given, 0);
    assert_int_equal(config.limits.max_head_bytes, 16384);
    assert_int_equal(config.limits.max_headers, 100);
    assert_int_equal(config.limits.max_target_bytes, 8192);
    assert_int_equal(config.limits.max_body_bytes, 1048576);
    assert_int_equal(config.limits.max_chunk_ext_bytes, 1024);
    assert_int_equal(config.limits.max_json_depth, 512);
    assert_int_equal(config.limits.head_timeout_ms, 10000);
    assert_int_equal(config.limits.body_timeout_ms, 30000);
    assert_int_equal(config.limits.keep_alive_timeout_ms, 5000);
    assert_int_equal(config.limits.write_timeout_ms, 30000);
    assert_int_equal(config.limits.shutdown_grace_ms, 10000);
}

static void flags_take_their_value_in_two_ways(void **state)
{
    (void) state;
    accepts("--host", "::1", "--port=0", "app", "--loops", "2", "--log=json");
    assert_string_equal(config.app, "app");
    assert_string_equal(config.host, "::1");
    assert_int_equal(config.port, 0);
    assert_int_equal(config.loops, 2);
    assert_int_equal(config.log, PERI_LOG_JSON);
    accepts("app", "--log", "off", "--host=", "--port", "65535", "--loops=256");
    assert_int_equal(config.log, PERI_LOG_OFF);
    assert_string_equal(config.host, "");
    assert_int_equal(config.port, 65535);
    accepts("app", "--port", "1", "--port", "2"); /* the last one counts */
    assert_int_equal(config.port, 2);
}

static void numbers_are_checked_to_the_digit(void **state)
{
    (void) state;
    static const char *const wrong[] = {"",   " 1",    "1 ",  "+1",
                                        "-1", "1.0",   "0x1", "1e3",
                                        "a",  "65536", "1a",  "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        char expected[100];
        snprintf(expected, sizeof(expected), "--port takes a number from 0 to 65535, not '%s'",
                 wrong[i]);
        refuses(expected, "app", "--port", wrong[i]);
    }
    refuses("--loops takes a number from 1 to 256, not '0'", "app", "--loops", "0");
    refuses("--loops takes a number from 1 to 256, not '257'", "app", "--loops", "257");
    refuses("--log takes text, json or off, not 'xml'", "app", "--log", "xml");
}

static void every_limit_is_a_flag_with_bounds(void **state)
{
    (void) state;
    for (size_t i = 0; i < peri_limit_option_count; i++) {
        const struct peri_limit_option *option = &peri_limit_options[i];
        char flag[64];
        char value[32];
        snprintf(flag, sizeof(flag), "--%s", option->name);
        for (char *c = flag; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;

        const uint64_t sound[] = {option->min, option->max, option->fallback};
        for (size_t k = 0; k < 3; k++) {
            assert_true(sound[k] >= option->min && sound[k] <= option->max);
            snprintf(value, sizeof(value), "%llu", (unsigned long long) sound[k]);
            accepts("app", flag, value);
            assert_true(*peri_limit(&config.limits, i) == sound[k]);
            assert_int_equal(config.limits_given, 1U << i);
        }
        snprintf(value, sizeof(value), "%llu", (unsigned long long) option->max + 1);
        char expected[160];
        snprintf(expected, sizeof(expected), "%s takes a whole number from %llu to %llu, not '%s'",
                 flag, (unsigned long long) option->min, (unsigned long long) option->max, value);
        refuses(expected, "app", flag, value);
        snprintf(expected, sizeof(expected), "%s wants a value", flag);
        refuses(expected, "app", flag);
    }
}

static void flags_are_written_with_dashes_and_in_full(void **state)
{
    (void) state;
    refuses("unknown option --max_body_bytes (did you mean --max-body-bytes?)", "app",
            "--max_body_bytes", "1");
    refuses("unknown option --max-body (perigee run --help lists them)", "app", "--max-body", "1");
    refuses("unknown option --max-body-bytess (did you mean --max-body-bytes?)", "app",
            "--max-body-bytess=1");
    refuses("unknown option --prot (did you mean --port?)", "app", "--prot", "1");
    refuses("unknown option -- (perigee run --help lists them)", "app", "--", "1");
    refuses("unknown option --nonsense (perigee run --help lists them)", "app", "--nonsense");
    char flag[300];
    memset(flag, 'x', sizeof(flag));
    flag[0] = flag[1] = '-';
    flag[sizeof(flag) - 1] = '\0';
    assert_int_equal(PARSE("app", flag, "1"), -1);
}

static void one_app_is_wanted(void **state)
{
    (void) state;
    refuses("which app? perigee run APPDIR, for example: perigee run .", "--port", "1");
    refuses("one app at a time: 'a' and 'b'", "a", "--port", "1", "b");
}

static void the_environment_stands_in_for_flags(void **state)
{
    (void) state;
    setenv("PERIGEE_PORT", "9000", 1);
    setenv("PERIGEE_HOST", "0.0.0.0", 1);
    setenv("PERIGEE_LOG", "off", 1);
    setenv("PERIGEE_MAX_BODY_BYTES", "5", 1);
    accepts("app");
    assert_int_equal(config.port, 9000);
    assert_string_equal(config.host, "0.0.0.0");
    assert_int_equal(config.log, PERI_LOG_OFF);
    assert_int_equal(config.limits.max_body_bytes, 5);
    assert_true(config.limits_given != 0);
    accepts("app", "--port", "1", "--max-body-bytes=6"); /* a flag wins */
    assert_int_equal(config.port, 1);
    assert_int_equal(config.limits.max_body_bytes, 6);

    setenv("PERIGEE_MAX_BODY_BYTES", "many", 1);
    refuses("PERIGEE_MAX_BODY_BYTES in the environment: --max-body-bytes takes a whole number "
            "from 0 to 4294967294, not 'many'",
            "app");
    unsetenv("PERIGEE_MAX_BODY_BYTES");
    setenv("PERIGEE_LOG", "loud", 1);
    refuses("PERIGEE_LOG in the environment: --log takes text, json or off, not 'loud'", "app");
    unsetenv("PERIGEE_LOG");
    unsetenv("PERIGEE_PORT");
    unsetenv("PERIGEE_HOST");
}

static void a_long_mistake_is_cut_not_overrun(void **state)
{
    (void) state;
    char small[20];
    char *argv[] = {(char *) "app", (char *) "--log", (char *) "a-very-long-name-of-a-format"};
    assert_int_equal(peri_config_parse(&config, 3, argv, false, small, sizeof(small)), -1);
    assert_string_equal(small, "--log takes text, j");
    argv[1] = (char *) "--prot";
    assert_int_equal(peri_config_parse(&config, 3, argv, false, small, sizeof(small)), -1);
    assert_string_equal(small, "unknown option --pr");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_help),
        cmocka_unit_test(flags_take_their_value_in_two_ways),
        cmocka_unit_test(numbers_are_checked_to_the_digit),
        cmocka_unit_test(every_limit_is_a_flag_with_bounds),
        cmocka_unit_test(flags_are_written_with_dashes_and_in_full),
        cmocka_unit_test(one_app_is_wanted),
        cmocka_unit_test(the_environment_stands_in_for_flags),
        cmocka_unit_test(a_long_mistake_is_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
