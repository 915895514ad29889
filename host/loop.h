/* One loop thread: a uv_loop with its listener, its connections and its VM.
 *
 * Owned by the server process, which starts the thread, asks it to stop through
 * peri_loop_post_stop() and joins it. Everything else here is touched by the loop's own thread
 * only. */
#ifndef PERI_LOOP_H
#define PERI_LOOP_H

#include "config.h"
#include "conn.h"
#include "http.h"
#include "listener.h"
#include "metrics.h"
#include "response.h"
#include "scratch.h"
#include "vm.h"

#include <pthread.h>
#include <stdatomic.h>

#define PERI_READ_BUFFER_SIZE 65536

struct peri_generation;
struct peri_server;

struct peri_inbox_item {
    int fd;
    union peri_address peer;
};

struct peri_loop {
    struct peri_server *server;
    const struct peri_config *config;
    unsigned index;
    pthread_t thread;
    uv_loop_t uv;
    bool uv_open;
    struct peri_timers timers;
    struct peri_vm *vm;              /* the current one; NULL until the app has loaded */
    struct peri_list vms;            /* this one, those that leave, and the next: generation.h */
    struct peri_listener *listeners; /* one for each socket of the server */
    unsigned listener_count;
    struct peri_list conns;
    struct peri_list turns;  /* connections that wait for their turn */
    uv_check_t serve_turns;  /* runs while there are any, behind the I/O */
    uv_idle_t without_delay; /* likewise: the loop does not block */
    atomic_uint conn_count;  /* read by other loops that look for the least busy one */
    struct peri_list free_exchanges;
    unsigned free_exchange_count;
    struct peri_head_cache heads;
    struct peri_buf out;        /* answers of one connection, until its turn ends */
    struct peri_conn *out_conn; /* whose they are; NULL when `out` is empty */
    struct peri_scratch scratch;
    char *read_buffer;
    struct peri_list listeners_to_news; /* exchanges that develop.c answers when there are some */
    struct peri_timer develop_timer;
    bool stopping;

    uv_async_t wake;
    pthread_mutex_t inbox_mutex;
    struct peri_inbox_item *inbox; /* sockets that another loop accepted for this one */
    size_t inbox_count;
    size_t inbox_cap;
    struct peri_list visits; /* of the operator, under the same mutex: inspect.h */
    uint64_t requests;       /* begun so far */
    _Atomic(struct peri_generation *) arriving; /* has loaded, is to be started */
    struct peri_gauges gauges;
    atomic_uint beat;      /* the last one of the server's that it answered */
    atomic_int stop_level; /* 0, 1: finish what is in flight, 2: cut */
    struct peri_timer grace;
};

/* Opens the loop. Returns 0 or a UV_E* code; peri_loop_close() is due in every case. */
int peri_loop_open(struct peri_loop *loop, struct peri_server *server, unsigned index);

/* Starts the thread that runs the loop. It accepts from the server's sockets once there is an app.
 * Returns 0 or UV_E*. */
int peri_loop_start(struct peri_loop *loop);

/* From any thread: starts the app of a generation that has loaded. One at a time. */
void peri_loop_post_generation(struct peri_loop *loop, struct peri_generation *generation);

/* From any thread: the server's current generation is another one, or one was given up. */
void peri_loop_post_change(struct peri_loop *loop);

/* From any thread: hands over an accepted socket. */
void peri_loop_post_socket(struct peri_loop *loop, int fd, const union peri_address *peer);

/* From any thread: the operator asks what goes on here (inspect.h). */
void peri_loop_post_visit(struct peri_loop *loop, struct peri_list *visit);

/* From any thread: level 1 finishes what is in flight, level 2 cuts. */
void peri_loop_post_stop(struct peri_loop *loop, int level);

/* After the thread was joined (or never started): everything is closed and freed. Returns 0;
 * UV_EBUSY when a handle was left open, which is a bug; or UV_ETIMEDOUT when cancelled tasks have
 * not ended: nothing is freed then, as jobs on the threadpool may still use their memory. */
int peri_loop_close(struct peri_loop *loop);

/* A connection waits for its turn. */
void peri_loop_has_turns(struct peri_loop *loop);

/* Closes every connection. */
void peri_loop_cut(struct peri_loop *loop);

/* A connection of this loop is gone; its descriptor is free again. */
void peri_loop_conn_closed(struct peri_loop *loop);

/* The last task of a VM of this loop ended: a stopping loop may have waited for it. */
void peri_loop_tasks_ended(struct peri_loop *loop);

#endif
