/* Accepts connections of one listening socket, which every loop watches.
 *
 * Whoever wakes first accepts and gives the socket to the loop with the fewest connections, so that
 * loops stay balanced, a stuck loop strands nobody, and a supervisor has one descriptor to keep.
 * When descriptors or the connection limit run out, the listener stops watching (clients wait in
 * the kernel's backlog) and starts again as soon as a connection of the process closes. */
#ifndef PERI_LISTENER_H
#define PERI_LISTENER_H

#include "timer.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct peri_loop;

struct peri_listener {
    uv_poll_t poll;
    struct peri_loop *loop;
    struct peri_timer retry;
    int fd;
    bool open;
    bool paused;
};

/* Watches `fd`, which stays the caller's. Opens paused. Returns 0 or a UV_E* code. */
int peri_listener_open(struct peri_listener *listener, struct peri_loop *loop, int fd);

/* Watches again after a pause; harmless otherwise. */
void peri_listener_resume(struct peri_listener *listener);

void peri_listener_close(struct peri_listener *listener);

#endif
