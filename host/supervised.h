/* The server process's side of its supervisor: a socket over which it tells how it is. Without a
 * supervisor every function does nothing. Called by the thread of the server's signals, but for
 * peri_supervised_crash().
 *
 * One datagram is one message (SOCK_SEQPACKET):
 *
 *   ready GRACE_MS   it accepts connections; asked to stop, it may take so long
 *   tick             all its loops have answered within the last second
 *   reloaded         a reload that was asked for by SIGHUP has ended, well or not
 *   last METHOD TARGET   what it was serving when it crashed */
#ifndef PERI_SUPERVISED_H
#define PERI_SUPERVISED_H

#include "sockets.h"

#include <stdbool.h>
#include <stdint.h>

#define PERI_SUPERVISED_ENV "PERIGEE_SERVER" /* "CONTROL;SOCKET,SOCKET,..." */
#define PERI_TICK_MS 1000

/* Whether this process was started by a supervisor: takes over its sockets and the control socket.
 * Returns 1, 0 when it was not, or a UV_E* code with the reason in `error`. */
int peri_supervised_open(struct peri_sockets *sockets, char *error, size_t error_size);

/* The control socket; -1 without a supervisor. It reads as ended when the supervisor is gone. */
int peri_supervised_fd(void);

void peri_supervised_ready(uint64_t grace_ms);
void peri_supervised_tick(void);
void peri_supervised_reloaded(void);

/* From a signal handler. */
void peri_supervised_crash(const char *text, size_t len);

#endif
