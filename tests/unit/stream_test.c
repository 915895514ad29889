/* Streams without Lua: waiting, reading ahead, writing more than the kernel takes, filters, and
 * that closing at any moment wakes everybody and leaves nothing. The peer is the other end of a
 * socket pair, driven by hand. */
#include "stream.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NOT_YET 1

static struct {
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_stream *stream;
    int peer;
} world;

struct waiter {
    struct peri_stream_wait wait;
    size_t wanted;
    int status; /* NOT_YET until it is woken */
};

static bool is_enough(struct peri_stream_wait *wait, const char *bytes, size_t len)
{
    (void) bytes;
    return len >= peri_container_of(wait, struct waiter, wait)->wanted;
}

static void on_wake(struct peri_stream_wait *wait, int status)
{
    struct waiter *waiter = peri_container_of(wait, struct waiter, wait);
    assert_int_equal(waiter->status, NOT_YET);
    assert_null(wait->stream);
    waiter->status = status;
}

static struct waiter waiting_for(size_t wanted)
{
    return (struct waiter){
        .wait = {.wake = on_wake, .enough = is_enough}, .wanted = wanted, .status = NOT_YET};
}

static void run_until_woken(struct waiter *waiter)
{
    while (waiter->status == NOT_YET)
        uv_run(&world.loop, UV_RUN_ONCE);
}

static void assert_bytes(const char *expected)
{
    size_t len = 0;
    const char *bytes = peri_stream_bytes(world.stream, &len);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(bytes, expected, len);
}

static void peer_writes(const char *text)
{
    assert_int_equal(write(world.peer, text, strlen(text)), strlen(text));
}

static void assert_peer_reads(const char *expected)
{
    char got[256];
    ssize_t count = read(world.peer, got, sizeof(got));
    assert_int_equal(count, strlen(expected));
    assert_memory_equal(got, expected, strlen(expected));
}

static int set_up(void **state)
{
    (void) state;
    int ends[2];
    uv_loop_init(&world.loop);
    peri_timers_open(&world.timers, &world.loop);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    world.stream = peri_stream_new(&world.loop, &world.timers, UV_NAMED_PIPE);
    world.peer = ends[1];
    return uv_pipe_open(&world.stream->uv.pipe, ends[0]);
}

static int tear_down(void **state)
{
    (void) state;
    if (world.stream != NULL)
        peri_stream_close(world.stream);
    close(world.peer);
    peri_timers_close(&world.timers);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&world.loop);
}

/* The stream as a whole, gone: the next test finds none. */
static void close_stream(void)
{
    peri_stream_close(world.stream);
    world.stream = NULL;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static void test_a_reader_is_woken_when_there_is_enough(void **state)
{
    (void) state;
    struct waiter reader = waiting_for(5);
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    peer_writes("abc");
    uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(reader.status, NOT_YET);
    peer_writes("defg");
    run_until_woken(&reader);
    assert_int_equal(reader.status, 0);
    assert_bytes("abcdefg");
    peri_stream_take(world.stream, 5);
    assert_bytes("fg");

    struct waiter next = waiting_for(2); /* what is there already needs no waiting */
    peri_stream_await_bytes(world.stream, &next.wait, 0);
    assert_int_equal(next.status, 0);
}

static void test_the_end_wakes_a_reader_who_wants_more(void **state)
{
    (void) state;
    struct waiter reader = waiting_for(5);
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    peer_writes("abc");
    shutdown(world.peer, SHUT_WR);
    run_until_woken(&reader);
    assert_int_equal(reader.status, UV_EOF);
    assert_bytes("abc");
}

static void test_reading_ahead_is_bounded(void **state)
{
    (void) state;
    struct waiter reader = waiting_for(1);
    char block[65536] = {0};
    size_t sent = 0;
    int idle = 0;
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    while (idle < 10) { /* until the kernel takes no more, however often the loop runs */
        ssize_t count = write(world.peer, block, sizeof(block));
        idle = count < 0 ? idle + 1 : 0;
        sent += count > 0 ? (size_t) count : 0;
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(reader.status, 0);
    size_t len = 0;
    peri_stream_bytes(world.stream, &len);
    assert_in_range(len, PERI_STREAM_AHEAD, 2 * PERI_STREAM_AHEAD);

    struct waiter all = waiting_for(sent); /* a reader that needs it gets it all */
    peri_stream_await_bytes(world.stream, &all.wait, 0);
    run_until_woken(&all);
    assert_int_equal(all.status, 0);
}

static void test_a_reader_whose_time_is_up_leaves_the_bytes_to_the_next(void **state)
{
    (void) state;
    struct waiter reader = waiting_for(5);
    peer_writes("abc");
    peri_stream_await_bytes(world.stream, &reader.wait, 1);
    run_until_woken(&reader);
    assert_int_equal(reader.status, UV_ETIMEDOUT);
    struct waiter next = waiting_for(3);
    peri_stream_await_bytes(world.stream, &next.wait, 0);
    run_until_woken(&next);
    assert_bytes("abc");
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void send_more_than_the_kernel_takes(void)
{
    static const char block[65536];
    while (peri_stream_is_sent(world.stream))
        assert_int_equal(peri_stream_send(world.stream, block, sizeof(block)), 0);
}

static size_t drain_peer(void)
{
    static char bytes[65536];
    size_t all = 0;
    ssize_t count = 0;
    while ((count = read(world.peer, bytes, sizeof(bytes))) > 0)
        all += (size_t) count;
    return all;
}

static void test_a_writer_waits_until_the_kernel_has_it_all(void **state)
{
    (void) state;
    struct waiter writer = waiting_for(0);
    send_more_than_the_kernel_takes();
    assert_int_equal(peri_stream_send(world.stream, "end", 3), 0);
    peri_stream_await_sent(world.stream, &writer.wait, 0);
    assert_int_equal(writer.status, NOT_YET);
    size_t got = 0;
    while (writer.status == NOT_YET) {
        got += drain_peer();
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    got += drain_peer();
    assert_int_equal(writer.status, 0);
    assert_int_equal(got, world.stream->sent);
}

static void test_the_sending_side_ends_behind_the_last_byte(void **state)
{
    (void) state;
    struct waiter writer = waiting_for(0);
    send_more_than_the_kernel_takes();
    assert_int_equal(peri_stream_finish(world.stream), 0);
    assert_int_equal(peri_stream_send(world.stream, "late", 4), UV_EPIPE);
    peri_stream_await_sent(world.stream, &writer.wait, 0);
    size_t got = 0;
    while (writer.status == NOT_YET) {
        got += drain_peer();
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    got += drain_peer();
    assert_int_equal(writer.status, 0);
    assert_int_equal(got + 1, world.stream->sent); /* the end counts as one */
    errno = 0;
    assert_int_equal(read(world.peer, &(char){0}, 1), 0);

    struct waiter reader = waiting_for(2); /* the other direction is as it was */
    peer_writes("ok");
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    run_until_woken(&reader);
    assert_bytes("ok");
}

static void test_a_writer_that_leaves_breaks_what_it_began(void **state)
{
    (void) state;
    struct waiter leaves = waiting_for(0);
    struct waiter other = waiting_for(0);
    send_more_than_the_kernel_takes();
    peri_stream_await_sent(world.stream, &leaves.wait, 0);
    peri_stream_await_sent(world.stream, &other.wait, 0);
    peri_stream_leave(&leaves.wait);
    assert_int_equal(leaves.status, NOT_YET);
    assert_int_equal(other.status, UV_EPIPE);
    assert_int_equal(peri_stream_send(world.stream, "x", 1), UV_EPIPE);
}

static void test_a_peer_that_is_gone_fails_writers(void **state)
{
    (void) state;
    struct waiter writer = waiting_for(0);
    send_more_than_the_kernel_takes();
    peri_stream_await_sent(world.stream, &writer.wait, 0);
    shutdown(world.peer, SHUT_RDWR);
    run_until_woken(&writer);
    assert_int_equal(writer.status, UV_EPIPE);
}

static void test_closing_wakes_everybody(void **state)
{
    (void) state;
    struct waiter reader = waiting_for(1);
    struct waiter writer = waiting_for(0);
    peri_stream_await_bytes(world.stream, &reader.wait, 60000);
    send_more_than_the_kernel_takes();
    peri_stream_await_sent(world.stream, &writer.wait, 60000);
    struct peri_stream *stream = world.stream;
    close_stream();
    peri_stream_close(stream); /* once more does no harm before the loop has gone on */
    assert_int_equal(reader.status, UV_ECANCELED);
    assert_int_equal(writer.status, UV_ECANCELED);
    struct waiter late = waiting_for(1);
    peri_stream_await_bytes(stream, &late.wait, 0);
    assert_int_equal(late.status, UV_ECANCELED);
    assert_int_equal(peri_stream_send(stream, "x", 1), UV_ECANCELED);
}

/* --- filters -----------------------------------------------------------------------------------
 */

/* Says "hi." first and expects "ho."; letters travel in upper case; '!' ends the conversation and
 * '?' is not understood. */
struct loud {
    struct peri_filter filter;
    size_t greeted;
    bool freed;
};

static int loud_receive(struct peri_filter *filter, const char *bytes, size_t len,
                        struct peri_buf *plain, struct peri_buf *wire)
{
    struct loud *loud = peri_container_of(filter, struct loud, filter);
    if (len == 0)
        peri_buf_add_lit(wire, "hi.");
    for (size_t i = 0; i < len; i++) {
        if (loud->greeted < 3)
            loud->greeted++;
        else if (bytes[i] == '!')
            return UV_EOF;
        else if (bytes[i] == '?')
            return UV_EPROTO;
        else
            peri_buf_add_byte(plain, (char) (bytes[i] | 0x20));
    }
    return 0;
}

static int loud_send(struct peri_filter *filter, const char *bytes, size_t len,
                     struct peri_buf *wire)
{
    (void) filter;
    for (size_t i = 0; i < len; i++)
        peri_buf_add_byte(wire, (char) (bytes[i] & ~0x20));
    return 0;
}

static void loud_finish(struct peri_filter *filter, struct peri_buf *wire)
{
    (void) filter;
    peri_buf_add_lit(wire, "!");
}

static int loud_cut(struct peri_filter *filter)
{
    (void) filter;
    return UV_ECONNRESET;
}

static void loud_free(struct peri_filter *filter)
{
    peri_container_of(filter, struct loud, filter)->freed = true;
}

static struct loud make_loud(void)
{
    return (struct loud){
        .filter = {loud_receive, loud_send, loud_finish, loud_cut, loud_free},
    };
}

static bool is_greeted(struct peri_stream_wait *wait, const char *bytes, size_t len)
{
    (void) bytes;
    (void) len;
    return peri_container_of(wait->stream->filter, struct loud, filter)->greeted == 3;
}

static void test_a_filter_greets_and_translates(void **state)
{
    (void) state;
    struct loud loud = make_loud();
    struct waiter hello = waiting_for(0);
    hello.wait.enough = is_greeted;
    assert_int_equal(peri_stream_set_filter(world.stream, &loud.filter), 0);
    assert_peer_reads("hi.");
    peer_writes("ho.ABC");
    peri_stream_await_bytes(world.stream, &hello.wait, 0);
    run_until_woken(&hello);
    assert_int_equal(hello.status, 0);
    assert_bytes("abc");
    assert_int_equal(peri_stream_send(world.stream, "burger", 6), 0);
    assert_peer_reads("BURGER");
    assert_int_equal(peri_stream_finish(world.stream), 0);
    assert_peer_reads("!");

    struct waiter reader = waiting_for(10);
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    peer_writes("D!");
    run_until_woken(&reader);
    assert_int_equal(reader.status, UV_EOF);
    assert_bytes("abcd");
    close_stream();
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_true(loud.freed);
}

static void test_a_filter_sees_what_was_read_ahead(void **state)
{
    (void) state;
    struct loud loud = make_loud();
    struct waiter reader = waiting_for(4);
    peer_writes("go! ho.ABC");
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    run_until_woken(&reader);
    peri_stream_take(world.stream, 4);
    assert_int_equal(peri_stream_set_filter(world.stream, &loud.filter), 0);
    assert_bytes("abc");
    close_stream();
    uv_run(&world.loop, UV_RUN_NOWAIT);
}

static void read_to_the_end(struct loud *loud, const char *text, int expected)
{
    struct waiter reader = waiting_for(10);
    peri_stream_set_filter(world.stream, &loud->filter);
    peer_writes(text);
    shutdown(world.peer, SHUT_WR);
    peri_stream_await_bytes(world.stream, &reader.wait, 0);
    run_until_woken(&reader);
    assert_int_equal(reader.status, expected);
    assert_bytes("a");
    close_stream();
    uv_run(&world.loop, UV_RUN_NOWAIT);
}

static void test_what_a_filter_does_not_understand_ends_the_stream(void **state)
{
    (void) state;
    struct loud loud = make_loud();
    read_to_the_end(&loud, "ho.A?B", UV_EPROTO);
}

static void test_an_end_that_is_not_the_filters_own_is_its_to_judge(void **state)
{
    (void) state;
    struct loud loud = make_loud();
    read_to_the_end(&loud, "ho.A", UV_ECONNRESET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_reader_is_woken_when_there_is_enough),
        TEST(test_the_end_wakes_a_reader_who_wants_more),
        TEST(test_reading_ahead_is_bounded),
        TEST(test_a_reader_whose_time_is_up_leaves_the_bytes_to_the_next),
        TEST(test_a_writer_waits_until_the_kernel_has_it_all),
        TEST(test_the_sending_side_ends_behind_the_last_byte),
        TEST(test_a_writer_that_leaves_breaks_what_it_began),
        TEST(test_a_peer_that_is_gone_fails_writers),
        TEST(test_closing_wakes_everybody),
        TEST(test_a_filter_greets_and_translates),
        TEST(test_a_filter_sees_what_was_read_ahead),
        TEST(test_what_a_filter_does_not_understand_ends_the_stream),
        TEST(test_an_end_that_is_not_the_filters_own_is_its_to_judge),
    };
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
