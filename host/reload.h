/* Loads generations of the app, the first one included, and makes them current: on SIGHUP, and for
 * whoever asks. Belongs to the server's own thread (not a loop thread) and its uv_loop.
 *
 *   request -> a thread of its own loads the VMs -> each loop starts its own -> current
 *
 * One load at a time: what is asked for meanwhile makes one more afterwards. Whatever fails (a file
 * that does not compile, an error, a start hook, the time limit) changes nothing: the version
 * before keeps serving, and the log says what is wrong and where. A load that is stuck in C, where
 * no limit reaches it, is left behind with its thread. */
#ifndef PERI_RELOAD_H
#define PERI_RELOAD_H

#include "buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct peri_generation;
struct peri_server;

struct peri_reload {
    /* Called when a load has ended: `error` is NULL when the generation is current now, otherwise
     * the reason, and `code` UV_ENOENT when there is no such app. */
    void (*ended)(struct peri_reload *reload, int code, const char *error);

    struct peri_server *server;
    uv_signal_t hangup;
    uv_async_t progress; /* from the loading thread, then from the loops */
    uv_timer_t limit;
    struct peri_load *load; /* in its thread */
    struct peri_generation *starting;
    uint64_t began_ns;
    uint64_t loads;        /* begun so far */
    struct peri_buf files; /* that the last load has read, each with a NUL behind; in development */
    bool again;            /* something changed since it began */
    bool closing;
};

/* Returns 0 or a UV_E* code. */
int peri_reload_open(struct peri_reload *reload, struct peri_server *server, uv_loop_t *uv,
                     void (*ended)(struct peri_reload *reload, int code, const char *error));

/* Loads what the files say now. */
void peri_reload_request(struct peri_reload *reload);

/* Makes a generation without an app current, where there is none: for development, which shows what
 * is wrong until there is one. */
void peri_reload_nothing(struct peri_reload *reload);

/* How long the load that has just ended took. */
double peri_reload_ms(const struct peri_reload *reload);

/* Begins no load any more and cuts the one under way short. */
void peri_reload_stop(struct peri_reload *reload);

/* Closes the handles, after the loops have ended and before they are closed. */
void peri_reload_close(struct peri_reload *reload);

#endif
