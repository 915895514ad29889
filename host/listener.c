#include "listener.h"

#include "loop.h"
#include "server.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 2048
#define ACCEPTS_PER_TURN 64
#define RETRY_MS 100 /* descriptors may also be freed by what is not ours */

static int fail(int fd, char *error, size_t size, const char *what, const char *host, int port)
{
    int code = -errno;
    if (code == -EADDRINUSE)
        snprintf(error, size,
                 "%s:%d is in use by another program; stop it or choose another --port", host,
                 port);
    else
        snprintf(error, size, "cannot %s %s:%d: %s", what, host, port, strerror(-code));
    if (fd >= 0)
        close(fd);
    return code;
}

int peri_listener_bind(const char *host, int *port, char *error, size_t error_size)
{
    char service[8];
    snprintf(service, sizeof(service), "%d", *port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        snprintf(error, error_size, "--host %s: %s", host, gai_strerror(rc));
        return UV_EADDRNOTAVAIL;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    rc = fd < 0 ? -1 : bind(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (rc != 0)
        return fail(fd, error, error_size, "bind to", host, *port);
    if (listen(fd, BACKLOG) != 0)
        return fail(fd, error, error_size, "listen on", host, *port);

    union peri_address address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, &address.any, &len) == 0)
        *port =
            ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
    return fd;
}

static void pause_listener(struct peri_listener *listener)
{
    struct peri_loop *loop = listener->loop;
    uv_poll_stop(&listener->poll);
    listener->paused = true;
    atomic_store(&loop->server->short_of_room, true);
    peri_timer_start(&loop->timers, &listener->retry, uv_now(&loop->uv) + RETRY_MS);
}

static void on_retry(struct peri_timer *timer)
{
    peri_listener_resume(peri_container_of(timer, struct peri_listener, retry));
}

static void accept_all(struct peri_listener *listener)
{
    struct peri_loop *loop = listener->loop;
    struct peri_server *server = loop->server;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (atomic_fetch_add(&server->connections, 1) >= server->max_connections) {
            atomic_fetch_sub(&server->connections, 1);
            pause_listener(listener);
            return;
        }
        union peri_address peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(listener->fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            atomic_fetch_sub(&server->connections, 1);
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_listener(listener);
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            return;
        }
        struct peri_loop *target = peri_server_pick_loop(server, loop);
        if (target == loop)
            peri_conn_open(loop, fd, &peer);
        else
            peri_loop_post_socket(target, fd, &peer);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct peri_listener *listener = poll->data;
    if (status == 0 && (events & UV_READABLE))
        accept_all(listener);
}

int peri_listener_open(struct peri_listener *listener, struct peri_loop *loop, int fd)
{
    *listener = (struct peri_listener){.loop = loop};
    listener->retry.fire = on_retry;
    /* A descriptor of its own: epoll forgets a description only when all its descriptors are gone.
     */
    listener->fd = dup(fd);
    if (listener->fd < 0)
        return -errno;
    int rc = uv_poll_init(&loop->uv, &listener->poll, listener->fd);
    if (rc < 0) {
        close(listener->fd);
        return rc;
    }
    listener->poll.data = listener;
    listener->open = true;
    listener->paused = true;
    return 0;
}

void peri_listener_resume(struct peri_listener *listener)
{
    if (!listener->open || !listener->paused)
        return;
    listener->paused = false;
    peri_timer_stop(&listener->loop->timers, &listener->retry);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

static void on_closed(uv_handle_t *handle)
{
    struct peri_listener *listener = handle->data;
    close(listener->fd);
}

void peri_listener_close(struct peri_listener *listener)
{
    if (!listener->open)
        return;
    if (!listener->paused)
        accept_all(listener); /* who connected in time is served */
    listener->open = false;
    peri_timer_stop(&listener->loop->timers, &listener->retry);
    uv_close((uv_handle_t *) &listener->poll, on_closed);
}
