/* The server process: its loops, its signals, its listening sockets. Owned by main(). */
#ifndef PERI_SERVER_H
#define PERI_SERVER_H

#include "config.h"
#include "sockets.h"

#include <stdatomic.h>

struct peri_app;
struct peri_develop;
struct peri_generation;
struct peri_loop;

struct peri_server {
    const struct peri_config *config;
    struct peri_develop *develop; /* NULL but in development */
    struct peri_loop *loops;
    unsigned loop_count;
    struct peri_sockets *sockets;                 /* closed once the server stops */
    _Atomic(struct peri_generation *) generation; /* that requests begin in; NULL at first */
    atomic_ullong max_connections;
    atomic_ullong connections; /* open ones, of all loops */
    atomic_uint beat;          /* loops answer it, to show that they are not stuck */
    atomic_ullong beat_ns;     /* uv_hrtime() when it was sent */
    atomic_bool draining;      /* told to stop: readiness says so before connections are refused */
    atomic_bool short_of_room; /* some listener paused: a closing connection wakes them */
};

/* Serves on these sockets until told to stop, and closes them. Returns the exit code of the
 * process: 0 after a stop, 1 when the app does not load, 2 when there is none. */
int peri_server_run(const struct peri_config *config, struct peri_sockets *sockets);

/* Takes all descriptors the system allows, and derives how many connections fit. Before the loops
 * hear of the app: those that fit none pause. */
void peri_server_make_room(struct peri_server *server, const struct peri_app *app);

/* A connection of the process closed: listeners that paused go on. */
void peri_server_conn_closed(struct peri_server *server);

/* The loop that should serve the next connection accepted by `self`. */
struct peri_loop *peri_server_pick_loop(struct peri_server *server, struct peri_loop *self);

#endif
