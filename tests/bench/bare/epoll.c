/* The bare epoll loop: what HTTP over loopback costs when nothing is done with a request.
 * One thread, level-triggered, keep-alive. It finds the end of each head, skips a sized body,
 * and answers canned bytes as long as a real server's. It parses no header but Content-Length,
 * knows no limits, no timeouts and no chunks: a ruler, not a server. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 128,
    IN_MAX = 16 * 1024,  /* one read; also the longest head with its body */
    OUT_MAX = 64 * 1024, /* the answers to one full input of the shortest requests fit */
    ANSWER_MAX = 512,
};

struct answer {
    char bytes[ANSWER_MAX];
    size_t length;
};

/* Bytes of requests that are not whole yet wait here between reads. */
struct conn {
    int fd;
    size_t length;
    char in[IN_MAX];
};

static struct answer root_answer, item_answer, create_answer;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The Date stays the one of the start: a real server renews it once a second, at no cost. */
static void prepare(struct answer *answer, const char *json)
{
    char date[64];
    time_t now = time(NULL);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    int length = snprintf(answer->bytes, sizeof(answer->bytes),
                          "HTTP/1.1 200 OK\r\n"
                          "content-length: %zu\r\n"
                          "content-type: application/json\r\n"
                          "date: %s\r\n"
                          "\r\n"
                          "%s",
                          strlen(json), date, json);
    if (length < 0 || (size_t) length >= sizeof(answer->bytes)) {
        fprintf(stderr, "epoll: the canned answer does not fit\n");
        exit(1);
    }
    answer->length = (size_t) length;
}

static const struct answer *choose(const char *head)
{
    if (head[0] == 'P')
        return &create_answer;
    return head[5] == ' ' ? &root_answer : &item_answer; /* "GET / " or "GET /items..." */
}

/* Content-Length of a head that ends before `end`, 0 without one. */
static size_t body_length(const char *head, const char *end)
{
    static const char name[] = "\ncontent-length:";
    if (head[0] == 'G')
        return 0;
    for (const char *line = head; line != NULL; line = memchr(line + 1, '\n', end - line - 1))
        if ((size_t) (end - line) > sizeof(name) && strncasecmp(line, name, sizeof(name) - 1) == 0)
            return strtoul(line + sizeof(name) - 1, NULL, 10);
    return 0;
}

/* Answers every whole request of the input in one write; false: close the connection. */
static bool serve(struct conn *conn)
{
    static char out[OUT_MAX];
    size_t out_length = 0;
    char *at = conn->in, *limit = conn->in + conn->length;

    while (at < limit) {
        char *end = memmem(at, limit - at, "\r\n\r\n", 4);
        if (end == NULL)
            break;
        size_t body = body_length(at, end);
        if (body > (size_t) (limit - end - 4))
            break;
        const struct answer *answer = choose(at);
        if (out_length + answer->length > sizeof(out))
            return false;
        memcpy(out + out_length, answer->bytes, answer->length);
        out_length += answer->length;
        at = end + 4 + body;
    }
    conn->length = limit - at;
    if (conn->length == sizeof(conn->in))
        return false;
    memmove(conn->in, at, conn->length);
    return out_length == 0 || write(conn->fd, out, out_length) == (ssize_t) out_length;
}

static void on_readable(struct conn *conn)
{
    ssize_t got = read(conn->fd, conn->in + conn->length, sizeof(conn->in) - conn->length);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        conn->length += got;
        if (serve(conn))
            return;
    }
    close(conn->fd); /* which also takes it out of the epoll set */
    free(conn);
}

static void on_acceptable(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct conn *conn = malloc(sizeof(*conn));
    if (conn == NULL)
        die("malloc");
    conn->fd = fd;
    conn->length = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: epoll PORT\n");
        return 2;
    }
    prepare(&root_answer, "{\"message\":\"Hello World\"}");
    prepare(&item_answer, "{\"item_id\":42,\"q\":\"hello\",\"limit\":5}");
    prepare(&create_answer,
            "{\"name\":\"Foo\",\"price\":35.4,\"tax\":3.2,\"description\":\"A very nice Item\","
            "\"tags\":[\"red\",\"green\",\"blue\"]}");

    int listener = listen_on((uint16_t) strtoul(argv[1], NULL, 10));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");

    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                on_acceptable(epoll, listener);
            else
                on_readable(events[i].data.ptr);
        }
    }
}
