/* Connects to a peer: resolves its name, tries the addresses in turn and gives a stream.
 *
 * The addresses alternate between IPv6 and IPv4, and the next one is tried as soon as the one
 * before it failed or has been silent for 250 ms; the first that answers wins (RFC 8305, "happy
 * eyeballs", with one resolution for both families). Whoever waits may leave at any moment: the
 * dial belongs to itself and ends when libuv let go, because a name that is being resolved cannot
 * be called back.
 *
 * Belongs to one loop thread. Knows no Lua. */
#ifndef PERI_DIAL_H
#define PERI_DIAL_H

#include "stream.h"

struct peri_dial;

struct peri_dial_target {
    const char *host; /* a name or an address; borrowed until peri_dial() returns */
    uint16_t port;
    const char *path;    /* of a Unix socket, instead of host and port */
    uint64_t timeout_ms; /* for all of it; 0: as long as the system tries */
};

/* Somebody who waits for a connection; valid until `done` or peri_dial_leave(). */
struct peri_dial_wait {
    /* Called once. 0 and a stream, which belongs to the callee now; or UV_E* and NULL: UV_EAI_*
     * when the name does not resolve, else why the last address failed. */
    void (*done)(struct peri_dial_wait *wait, int status, struct peri_stream *stream);
    struct peri_dial *dial; /* NULL while it does not wait */
};

/* Starts. Returns 0, or UV_E* when it cannot start; `done` is not called then. Otherwise it is, and
 * never before this has returned. */
int peri_dial(uv_loop_t *loop, struct peri_timers *timers, const struct peri_dial_target *target,
              struct peri_dial_wait *wait);

/* Ends a wait; harmless when it was answered. */
void peri_dial_leave(struct peri_dial_wait *wait);

#endif
