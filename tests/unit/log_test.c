/* The log's writer: what comes out of standard output and error, what is escaped, what is dropped
 * when nobody reads. Both descriptors are pipes while a test logs. */
#include "log.h"

#include "buf.h"
#include "json.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* One descriptor that a pipe stands in for. */
struct capture {
    int fd;
    int saved;
    int reader;
    struct peri_buf text;
};

static struct capture out = {.fd = STDOUT_FILENO};
static struct capture err = {.fd = STDERR_FILENO};

static void capture_begin(struct capture *capture)
{
    int ends[2];
    fflush(NULL);
    capture->text.len = 0;
    capture->saved = dup(capture->fd);
    if (pipe(ends) != 0 || dup2(ends[1], capture->fd) < 0)
        abort();
    close(ends[1]);
    capture->reader = ends[0];
}

static void capture_end(struct capture *capture)
{
    dup2(capture->saved, capture->fd); /* the only writing end: the reader meets the end */
    close(capture->saved);
}

static void *read_to_the_end(void *context)
{
    struct capture *capture = context;
    for (;;) {
        char *to = peri_buf_reserve(&capture->text, 65536);
        ssize_t count = read(capture->reader, to, 65536);
        if (count <= 0)
            break;
        capture->text.len += (size_t) count;
    }
    close(capture->reader);
    return NULL;
}

static void begin(enum peri_log_format format)
{
    capture_begin(&out);
    capture_begin(&err);
    assert_int_equal(peri_log_open(format), 0);
}

/* Closes the log while somebody reads, and gives the descriptors back. */
static void end(void)
{
    pthread_t readers[2];
    pthread_create(&readers[0], NULL, read_to_the_end, &out);
    pthread_create(&readers[1], NULL, read_to_the_end, &err);
    peri_log_close();
    capture_end(&out);
    capture_end(&err);
    pthread_join(readers[0], NULL);
    pthread_join(readers[1], NULL);
    peri_buf_add_byte(&out.text, '\0');
    peri_buf_add_byte(&err.text, '\0');
}

static int tear_down(void **state)
{
    (void) state;
    peri_buf_deinit(&out.text);
    peri_buf_deinit(&err.text);
    return 0;
}

static void log_line(enum peri_log_stream stream, const char *line)
{
    peri_log_write(stream, line, strlen(line));
}

static void lines_go_to_their_stream_in_order(void **state)
{
    (void) state;
    begin(PERI_LOG_TEXT);
    log_line(PERI_LOG_ACCESS, "one\n");
    log_line(PERI_LOG_ERROR, "two\n");
    log_line(PERI_LOG_ACCESS, "three\n");
    peri_log_error("%s %d", "four", 4);
    peri_log_warn("five");
    end();
    assert_string_equal(out.text.data, "one\nthree\n");
    assert_string_equal(err.text.data, "two\nperigee: four 4\nperigee: five\n");
}

/* As with `2>&1`: more than one piece of it, so that a line could be cut where the streams meet. */
static void one_pipe_for_both_has_whole_lines_in_their_order(void **state)
{
    (void) state;
    struct peri_buf expected = {0};
    capture_begin(&out);
    int saved = dup(STDERR_FILENO);
    dup2(STDOUT_FILENO, STDERR_FILENO);
    assert_int_equal(peri_log_open(PERI_LOG_TEXT), 0);
    for (int i = 0; i < 1000; i++) {
        char line[64];
        snprintf(line, sizeof(line), "line %d of a stream\n", i);
        peri_buf_add_str(&expected, line);
        log_line(i % 3 == 0 ? PERI_LOG_ERROR : PERI_LOG_ACCESS, line);
    }
    pthread_t reader;
    pthread_create(&reader, NULL, read_to_the_end, &out);
    peri_log_close();
    dup2(saved, STDERR_FILENO);
    close(saved);
    capture_end(&out);
    pthread_join(reader, NULL);
    peri_buf_add_byte(&out.text, '\0');
    peri_buf_add_byte(&expected, '\0');
    assert_string_equal(out.text.data, expected.data);
    peri_buf_deinit(&expected);
}

static void the_format_is_that_of_the_last_opening(void **state)
{
    (void) state;
    begin(PERI_LOG_OFF);
    assert_int_equal(peri_log_access_format(), PERI_LOG_OFF);
    end();
    begin(PERI_LOG_JSON);
    assert_int_equal(peri_log_access_format(), PERI_LOG_JSON);
    end();
}

static void without_a_writer_lines_are_written_at_once(void **state)
{
    (void) state;
    begin(PERI_LOG_TEXT);
    end();
    capture_begin(&out);
    log_line(PERI_LOG_ACCESS, "at once\n");
    char text[32] = "";
    ssize_t len = read(out.reader, text, sizeof(text) - 1);
    capture_end(&out);
    close(out.reader);
    assert_int_equal(len, 8);
    assert_string_equal(text, "at once\n");
}

static void control_characters_are_escaped(void **state)
{
    (void) state;
    begin(PERI_LOG_TEXT);
    peri_log_error("a\x1B[31m\r\n\tb\x7F\x01 \xC3\xA9%s", "");
    end();
    assert_string_equal(err.text.data, "perigee: a\\x1b[31m\\x0d\n  \tb\\x7f\\x01 \xC3\xA9\n");
}

/* Parses a JSON line and returns the member, which must be a string. */
static void member_is(const char *line, const char *name, const char *expected)
{
    struct peri_json_doc doc = {0};
    struct peri_json_error error;
    assert_int_equal(peri_json_parse(&doc, line, strlen(line), 8, 0, &error), 0);
    const struct peri_json_node *node = doc.nodes + 1;
    bool found = false;
    for (uint32_t i = 0; i < doc.nodes->count; i++) {
        const struct peri_json_node *value = node + node->skip;
        if (node->count == strlen(name) && memcmp(node->string, name, node->count) == 0) {
            assert_int_equal(value->type, PERI_JSON_STRING);
            assert_int_equal(value->count, strlen(expected));
            assert_memory_equal(value->string, expected, value->count);
            found = true;
        }
        node = value + value->skip;
    }
    assert_true(found);
    peri_json_doc_deinit(&doc);
}

static void json_messages_are_json_whatever_they_say(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"plain", "plain"},
        {"\"quoted\"\\\r\n\x1B", "\"quoted\"\\\r\n\x1B"},
        {"", ""},
        {"\xC3\xA9 \xFF rest \xC3", "\xC3\xA9 \xEF\xBF\xBD rest \xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        begin(PERI_LOG_JSON);
        peri_log_error("%s", cases[i].text);
        end();
        assert_ptr_equal(strchr(err.text.data, '\n'), err.text.data + err.text.len - 2);
        member_is(err.text.data, "level", "error");
        member_is(err.text.data, "message", cases[i].message);
    }
    begin(PERI_LOG_JSON);
    peri_log_warn("careful");
    end();
    member_is(err.text.data, "level", "warning");
}

#define LINE_BYTES 1000

/* Three times what may wait: the writer holds as much again, the pipe little. */
#define LINES 12000

/* Nobody reads: writing never blocks, what does not fit is counted. */
static void overflow(enum peri_log_format format)
{
    char line[LINE_BYTES];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    begin(format);
    for (int i = 0; i < LINES; i++)
        peri_log_write(PERI_LOG_ACCESS, line, sizeof(line));
    log_line(PERI_LOG_ERROR, "{\"level\":\"other\"}\n"); /* its own queue has room */
    end();
    assert_int_equal((out.text.len - 1) % LINE_BYTES, 0); /* whole lines only */
    for (size_t at = 0; at + 1 < out.text.len; at += LINE_BYTES)
        assert_memory_equal(out.text.data + at, line, LINE_BYTES);
}

/* What is dropped is told as soon as there is somebody to tell it, so possibly in several lines:
 * returns their sum. Each has the number behind `before`. */
static size_t reported_drops(const char *before)
{
    size_t sum = 0;
    for (const char *at = err.text.data; (at = strstr(at, before)) != NULL;) {
        char *end = NULL;
        at += strlen(before);
        size_t dropped = strtoul(at, &end, 10);
        if (strncmp(end, " log lines dropped", 18) == 0)
            sum += dropped;
    }
    return sum;
}

static void lines_that_do_not_fit_are_dropped_and_counted(void **state)
{
    (void) state;
    overflow(PERI_LOG_TEXT);
    size_t dropped = reported_drops("perigee: ");
    assert_true(dropped > 0);
    assert_int_equal((out.text.len - 1) / LINE_BYTES + dropped, LINES);
    assert_non_null(strstr(err.text.data, "other"));
}

static void the_count_of_dropped_lines_is_json_where_the_log_is(void **state)
{
    (void) state;
    overflow(PERI_LOG_JSON);
    size_t dropped = reported_drops("\"message\":\"");
    assert_true(dropped > 0);
    assert_int_equal((out.text.len - 1) / LINE_BYTES + dropped, LINES);
    char *report = strstr(err.text.data, "{\"time\"");
    assert_non_null(report);
    *strchr(report, '\n') = '\0';
    member_is(report, "level", "warning");
}

#define THREADS 4
#define LINES_EACH 2000

static void *log_from_a_thread(void *context)
{
    for (int i = 0; i < LINES_EACH; i++) {
        char line[32];
        int len = snprintf(line, sizeof(line), "%c %d\n", *(const char *) context, i);
        peri_log_write(PERI_LOG_ACCESS, line, (size_t) len);
    }
    return NULL;
}

static void threads_never_tear_each_others_lines(void **state)
{
    (void) state;
    static const char names[THREADS] = "abcd";
    pthread_t threads[THREADS];
    begin(PERI_LOG_TEXT);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, log_from_a_thread, (void *) &names[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    end();
    int next[THREADS] = {0};
    const char *at = out.text.data;
    while (*at != '\0') {
        int thread = *at - 'a';
        assert_in_range(thread, 0, THREADS - 1);
        char expected[32];
        int len = snprintf(expected, sizeof(expected), "%c %d\n", *at, next[thread]++);
        assert_memory_equal(at, expected, (size_t) len);
        at += len;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES_EACH);
}

static void a_reader_that_is_gone_stops_nobody(void **state)
{
    (void) state;
    begin(PERI_LOG_TEXT);
    close(out.reader);
    log_line(PERI_LOG_ACCESS, "to nobody\n");
    log_line(PERI_LOG_ERROR, "to somebody\n");
    out.reader = -1;
    end();
    assert_string_equal(err.text.data, "to somebody\n");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in main.c */
#define test(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        test(lines_go_to_their_stream_in_order),
        test(one_pipe_for_both_has_whole_lines_in_their_order),
        test(the_format_is_that_of_the_last_opening),
        test(without_a_writer_lines_are_written_at_once),
        test(control_characters_are_escaped),
        test(json_messages_are_json_whatever_they_say),
        test(lines_that_do_not_fit_are_dropped_and_counted),
        test(the_count_of_dropped_lines_is_json_where_the_log_is),
        test(threads_never_tear_each_others_lines),
        test(a_reader_that_is_gone_stops_nobody),
    };
#undef test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
