#include "dial.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#define MAX_ADDRESSES 16
#define HEAD_START_MS 250

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct attempt {
    struct peri_dial *dial;
    struct peri_stream *stream; /* NULL when it is over, or was won */
    uv_connect_t req;
};

struct peri_dial {
    uv_loop_t *loop;
    struct peri_timers *timers;
    struct peri_dial_wait *wait; /* NULL once answered or left */
    struct peri_timer deadline;
    struct peri_timer head_start; /* of the attempt before the next one */
    uv_getaddrinfo_t resolve;
    unsigned pending; /* requests that libuv knows of */
    unsigned count;   /* of addresses */
    unsigned next;    /* the address to try next */
    unsigned trying;  /* attempts that may still succeed */
    int failure;      /* of the last attempt */
    union address addresses[MAX_ADDRESSES];
    struct attempt attempts[MAX_ADDRESSES];
};

static void free_when_idle(struct peri_dial *dial)
{
    if (dial->wait == NULL && dial->pending == 0)
        free(dial);
}

/* Stops all that is under way; what libuv knows of comes to its end by itself. */
static void stop(struct peri_dial *dial)
{
    dial->wait->dial = NULL;
    dial->wait = NULL;
    peri_timer_stop(dial->timers, &dial->deadline);
    peri_timer_stop(dial->timers, &dial->head_start);
    uv_cancel((uv_req_t *) &dial->resolve);
    for (unsigned i = 0; i < MAX_ADDRESSES; i++) {
        if (dial->attempts[i].stream != NULL)
            peri_stream_close(dial->attempts[i].stream);
        dial->attempts[i].stream = NULL;
    }
}

static void answer(struct peri_dial *dial, int status, struct peri_stream *stream)
{
    struct peri_dial_wait *wait = dial->wait;
    stop(dial);
    wait->done(wait, status, stream);
}

void peri_dial_leave(struct peri_dial_wait *wait)
{
    struct peri_dial *dial = wait->dial;
    if (dial == NULL)
        return;
    stop(dial);
    free_when_idle(dial);
}

static void on_deadline(struct peri_timer *timer)
{
    struct peri_dial *dial = peri_container_of(timer, struct peri_dial, deadline);
    answer(dial, UV_ETIMEDOUT, NULL);
    free_when_idle(dial);
}

/* --- trying addresses --------------------------------------------------------------------------
 */

static void try_next(struct peri_dial *dial);

static void on_head_start(struct peri_timer *timer)
{
    struct peri_dial *dial = peri_container_of(timer, struct peri_dial, head_start);
    try_next(dial);
    free_when_idle(dial);
}

static void fail_attempt(struct attempt *attempt, int status)
{
    attempt->dial->failure = status;
    attempt->dial->trying--;
    peri_stream_close(attempt->stream);
    attempt->stream = NULL;
}

static void on_connected(uv_connect_t *req, int status)
{
    struct attempt *attempt = req->data;
    struct peri_dial *dial = attempt->dial;
    dial->pending--;
    if (attempt->stream == NULL) {
        /* stopped before: the stream is closing */
    } else if (status < 0) {
        fail_attempt(attempt, status);
        try_next(dial);
    } else {
        struct peri_stream *stream = attempt->stream;
        attempt->stream = NULL;
        answer(dial, 0, stream);
    }
    free_when_idle(dial);
}

static struct attempt *new_attempt(struct peri_dial *dial, uv_handle_type type)
{
    struct attempt *attempt = &dial->attempts[dial->next++];
    attempt->dial = dial;
    attempt->stream = peri_stream_new(dial->loop, dial->timers, type);
    attempt->req.data = attempt;
    dial->trying++;
    return attempt;
}

static void try_next(struct peri_dial *dial)
{
    while (dial->next < dial->count) {
        const struct sockaddr *address = &dial->addresses[dial->next].any;
        struct attempt *attempt = new_attempt(dial, UV_TCP);
        int rc = uv_tcp_connect(&attempt->req, &attempt->stream->uv.tcp, address, on_connected);
        if (rc < 0) { /* such as: no IPv6 here */
            fail_attempt(attempt, rc);
            continue;
        }
        uv_tcp_nodelay(&attempt->stream->uv.tcp, 1);
        dial->pending++;
        if (dial->next < dial->count)
            peri_timer_start(dial->timers, &dial->head_start, uv_now(dial->loop) + HEAD_START_MS);
        return;
    }
    if (dial->trying == 0)
        answer(dial, dial->failure, NULL);
}

/* --- finding addresses -------------------------------------------------------------------------
 */

/* Copies the addresses of one family, as the system ordered them, into every other place. */
static unsigned spread(struct peri_dial *dial, const struct addrinfo *found, int family,
                       unsigned place)
{
    unsigned count = 0;
    for (; found != NULL && place < MAX_ADDRESSES; found = found->ai_next) {
        if (found->ai_family != family || found->ai_addrlen > sizeof(union address))
            continue;
        memcpy(&dial->addresses[place], found->ai_addr, found->ai_addrlen);
        place += 2;
        count++;
    }
    return count;
}

static void take_addresses(struct peri_dial *dial, const struct addrinfo *found)
{
    int first = found->ai_family;
    int other = first == AF_INET6 ? AF_INET : AF_INET6;
    unsigned firsts = spread(dial, found, first, 0);
    unsigned others = spread(dial, found, other, 1);
    unsigned filled = 0;
    for (unsigned i = 0; i < MAX_ADDRESSES; i++) { /* close the gaps of the shorter family */
        if (i / 2 < (i % 2 == 0 ? firsts : others))
            dial->addresses[filled++] = dial->addresses[i];
    }
    dial->count = filled;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct peri_dial *dial = peri_container_of(req, struct peri_dial, resolve);
    dial->pending--;
    if (dial->wait != NULL && status < 0) {
        answer(dial, status, NULL);
    } else if (dial->wait != NULL) {
        take_addresses(dial, found);
        try_next(dial);
    }
    uv_freeaddrinfo(found);
    free_when_idle(dial);
}

/* Whether the host is an address already, which needs no resolving. */
static bool is_address(struct peri_dial *dial, const struct peri_dial_target *target)
{
    union address *address = &dial->addresses[0];
    return uv_ip4_addr(target->host, target->port, &address->v4) == 0 ||
           uv_ip6_addr(target->host, target->port, &address->v6) == 0;
}

static int dial_host(struct peri_dial *dial, const struct peri_dial_target *target)
{
    char service[8];
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV,
    };
    if (is_address(dial, target)) {
        dial->count = 1;
        /* At once, but not from inside: an address that fails at once is an answer, too. */
        peri_timer_start(dial->timers, &dial->head_start, uv_now(dial->loop));
        return 0;
    }
    snprintf(service, sizeof(service), "%u", target->port);
    int rc = uv_getaddrinfo(dial->loop, &dial->resolve, on_resolved, target->host, service, &hints);
    dial->pending += rc == 0;
    return rc;
}

static int dial_path(struct peri_dial *dial, const char *path)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
        return UV_ENAMETOOLONG; /* libuv would cut it */
    struct attempt *attempt = new_attempt(dial, UV_NAMED_PIPE);
    uv_pipe_connect(&attempt->req, &attempt->stream->uv.pipe, path, on_connected);
    dial->pending++;
    return 0;
}

int peri_dial(uv_loop_t *loop, struct peri_timers *timers, const struct peri_dial_target *target,
              struct peri_dial_wait *wait)
{
    struct peri_dial *dial = calloc(1, sizeof(*dial));
    if (dial == NULL)
        return UV_ENOMEM;
    *dial = (struct peri_dial){
        .loop = loop,
        .timers = timers,
        .wait = wait,
        .deadline.fire = on_deadline,
        .head_start.fire = on_head_start,
    };
    wait->dial = dial;
    uv_update_time(loop);
    int rc = target->path != NULL ? dial_path(dial, target->path) : dial_host(dial, target);
    if (rc < 0) {
        wait->dial = NULL;
        free(dial);
        return rc;
    }
    if (target->timeout_ms > 0)
        peri_timer_start(timers, &dial->deadline, uv_now(loop) + target->timeout_ms);
    return 0;
}
