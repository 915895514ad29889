#include "listener.h"

#include "loop.h"
#include "server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define RETRY_MS 100 /* descriptors may also be freed by what is not ours */

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
