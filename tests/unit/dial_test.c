/* Connecting without Lua: which addresses are tried and when, and that whoever waits may leave at
 * any moment. Names are resolved by hand: this file has its own uv_getaddrinfo(). */
#include "dial.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NOT_YET 1
#define QUEUE_FILLERS 4

static struct {
    uv_loop_t loop;
    struct peri_timers timers;
    uv_getaddrinfo_t *resolving;
    uv_getaddrinfo_cb resolved;
} world;

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb callback,
                   const char *node, const char *service, const struct addrinfo *hints)
{
    (void) loop;
    (void) hints;
    assert_string_equal(node, "burger.test");
    assert_true(atoi(service) > 0);
    world.resolving = req;
    world.resolved = callback;
    return 0;
}

void uv_freeaddrinfo(struct addrinfo *found)
{
    (void) found; /* on the stack of resolve() */
}

struct waiter {
    struct peri_dial_wait wait;
    int status; /* NOT_YET until it is answered */
    struct peri_stream *stream;
};

static void on_done(struct peri_dial_wait *wait, int status, struct peri_stream *stream)
{
    struct waiter *waiter = peri_container_of(wait, struct waiter, wait);
    assert_int_equal(waiter->status, NOT_YET);
    waiter->status = status;
    waiter->stream = stream;
}

static void dial(struct waiter *waiter, const char *host, int port, uint64_t timeout_ms)
{
    struct peri_dial_target target = {
        .host = host, .port = (uint16_t) port, .timeout_ms = timeout_ms};
    *waiter = (struct waiter){.wait.done = on_done, .status = NOT_YET};
    assert_int_equal(peri_dial(&world.loop, &world.timers, &target, &waiter->wait), 0);
    assert_int_equal(waiter->status, NOT_YET);
}

static void run_until_answered(struct waiter *waiter)
{
    while (waiter->status == NOT_YET)
        uv_run(&world.loop, UV_RUN_ONCE);
}

/* Answers the name that is being resolved by these addresses of one port. */
static void resolve(const char *const addresses[], int port)
{
    struct addrinfo found[20] = {0};
    struct sockaddr_in6 names[20] = {0};
    int count = 0;
    for (; addresses[count] != NULL; count++) {
        bool is_v4 = uv_ip4_addr(addresses[count], port, (struct sockaddr_in *) &names[count]) == 0;
        if (!is_v4)
            uv_ip6_addr(addresses[count], port, &names[count]);
        found[count].ai_family = is_v4 ? AF_INET : AF_INET6;
        found[count].ai_addr = (struct sockaddr *) &names[count];
        found[count].ai_addrlen = is_v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if (count > 0)
            found[count - 1].ai_next = &found[count];
    }
    world.resolved(world.resolving, 0, found);
}

/* --- peers -------------------------------------------------------------------------------------
 */

struct peer {
    int listener;
    int fillers[QUEUE_FILLERS];
    int port;
};

static struct peer listen_at(const char *address, int port, int backlog)
{
    struct peer peer = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in name;
    socklen_t len = sizeof(name);
    uv_ip4_addr(address, port, &name);
    assert_int_equal(bind(peer.listener, (struct sockaddr *) &name, len), 0);
    assert_int_equal(listen(peer.listener, backlog), 0);
    getsockname(peer.listener, (struct sockaddr *) &name, &len);
    peer.port = ntohs(name.sin_port);
    memset(peer.fillers, -1, sizeof(peer.fillers));
    return peer;
}

/* A listener whose queue is full: whoever connects hears nothing. */
static struct peer silent_at(const char *address, int port)
{
    struct peer peer = listen_at(address, port, 0);
    struct sockaddr_in name;
    uv_ip4_addr(address, peer.port, &name);
    for (int i = 0; i < QUEUE_FILLERS; i++) {
        peer.fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void) connect(peer.fillers[i], (struct sockaddr *) &name, sizeof(name));
    }
    return peer;
}

static void close_peer(struct peer *peer)
{
    close(peer->listener);
    for (int i = 0; i < QUEUE_FILLERS; i++) {
        if (peer->fillers[i] >= 0)
            close(peer->fillers[i]);
    }
}

static void assert_connected_to(struct waiter *waiter, const char *address)
{
    struct sockaddr_in name;
    int len = sizeof(name);
    char text[INET_ADDRSTRLEN];
    assert_int_equal(waiter->status, 0);
    uv_tcp_getpeername(&waiter->stream->uv.tcp, (struct sockaddr *) &name, &len);
    uv_ip4_name(&name, text, sizeof(text));
    assert_string_equal(text, address);
    peri_stream_close(waiter->stream);
}

static int set_up(void **state)
{
    (void) state;
    uv_loop_init(&world.loop);
    peri_timers_open(&world.timers, &world.loop);
    return 0;
}

/* An empty loop: nothing of any dial is left. */
static int tear_down(void **state)
{
    (void) state;
    peri_timers_close(&world.timers);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&world.loop);
}

/* --- which addresses are tried -----------------------------------------------------------------
 */

static void test_an_address_needs_no_resolving(void **state)
{
    (void) state;
    struct waiter waiter;
    struct peer peer = listen_at("127.0.0.1", 0, 8);
    dial(&waiter, "127.0.0.1", peer.port, 0);
    run_until_answered(&waiter);
    assert_connected_to(&waiter, "127.0.0.1");
    close_peer(&peer);
}

static void test_what_refuses_is_passed_over_at_once(void **state)
{
    (void) state;
    struct waiter waiter;
    struct peer peer = listen_at("127.0.0.9", 0, 8);
    dial(&waiter, "burger.test", peer.port, 0);
    resolve((const char *[]){"127.0.0.1", "127.0.0.2", "::1", "127.0.0.9", NULL}, peer.port);
    run_until_answered(&waiter);
    assert_connected_to(&waiter, "127.0.0.9");
    close_peer(&peer);
}

static void test_what_is_silent_gets_company_after_a_while(void **state)
{
    (void) state;
    struct waiter waiter;
    struct peer silent = silent_at("127.0.0.1", 0);
    struct peer peer = listen_at("127.0.0.2", silent.port, 8);
    uint64_t start = uv_hrtime();
    dial(&waiter, "burger.test", peer.port, 0);
    resolve((const char *[]){"127.0.0.1", "127.0.0.2", NULL}, peer.port);
    run_until_answered(&waiter);
    assert_connected_to(&waiter, "127.0.0.2");
    assert_true(uv_hrtime() - start >= 240 * 1000000ULL); /* the first one had its head start */
    close_peer(&silent);
    close_peer(&peer);
}

static void test_the_last_failure_is_the_answer(void **state)
{
    (void) state;
    struct waiter waiter;
    struct peer gone = listen_at("127.0.0.1", 0, 8);
    close_peer(&gone);
    dial(&waiter, "burger.test", gone.port, 0);
    resolve((const char *[]){"127.0.0.1", "127.0.0.2", NULL}, gone.port);
    run_until_answered(&waiter);
    assert_int_equal(waiter.status, UV_ECONNREFUSED);
    assert_null(waiter.stream);
}

static void test_more_addresses_than_there_is_room_for(void **state)
{
    (void) state;
    struct waiter waiter;
    const char *addresses[20] = {NULL};
    struct peer gone = listen_at("127.0.0.1", 0, 8);
    close_peer(&gone);
    for (int i = 0; i < 19; i++)
        addresses[i] = i < 12 ? "127.0.0.1" : "::1";
    dial(&waiter, "burger.test", gone.port, 0);
    resolve(addresses, gone.port);
    run_until_answered(&waiter);
    assert_true(waiter.status < 0);
}

/* --- ending early ------------------------------------------------------------------------------
 */

static void test_a_name_that_does_not_resolve(void **state)
{
    (void) state;
    struct waiter waiter;
    dial(&waiter, "burger.test", 1, 60000);
    world.resolved(world.resolving, UV_EAI_NONAME, NULL);
    assert_int_equal(waiter.status, UV_EAI_NONAME);
}

static void test_leaving_while_the_name_is_resolved(void **state)
{
    (void) state;
    struct waiter waiter;
    dial(&waiter, "burger.test", 1, 60000);
    peri_dial_leave(&waiter.wait);
    peri_dial_leave(&waiter.wait);
    assert_int_equal(waiter.status, NOT_YET);
    resolve((const char *[]){"127.0.0.1", NULL}, 1); /* too late for anybody, and freed */
    assert_int_equal(waiter.status, NOT_YET);
}

static void test_leaving_while_several_are_tried(void **state)
{
    (void) state;
    struct waiter waiter;
    struct peer one = silent_at("127.0.0.1", 0);
    struct peer two = silent_at("127.0.0.2", one.port);
    dial(&waiter, "burger.test", one.port, 60000);
    resolve((const char *[]){"127.0.0.1", "127.0.0.2", "127.0.0.1", NULL}, one.port);
    peri_dial_leave(&waiter.wait);
    assert_int_equal(waiter.status, NOT_YET);
    close_peer(&one);
    close_peer(&two);
}

static void test_time_is_up_for_all_of_it(void **state)
{
    (void) state;
    struct waiter waiter;
    struct peer silent = silent_at("127.0.0.1", 0);
    dial(&waiter, "127.0.0.1", silent.port, 5);
    run_until_answered(&waiter);
    assert_int_equal(waiter.status, UV_ETIMEDOUT);
    dial(&waiter, "burger.test", silent.port, 5);
    run_until_answered(&waiter);
    assert_int_equal(waiter.status, UV_ETIMEDOUT);
    world.resolved(world.resolving, UV_ECANCELED, NULL);
    close_peer(&silent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_address_needs_no_resolving),
        TEST(test_what_refuses_is_passed_over_at_once),
        TEST(test_what_is_silent_gets_company_after_a_while),
        TEST(test_the_last_failure_is_the_answer),
        TEST(test_more_addresses_than_there_is_room_for),
        TEST(test_a_name_that_does_not_resolve),
        TEST(test_leaving_while_the_name_is_resolved),
        TEST(test_leaving_while_several_are_tried),
        TEST(test_time_is_up_for_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
