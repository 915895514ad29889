/* The parent process of `perigee run`: keeps the listening sockets and sees to it that a server
 * process serves them. It runs no app, no loop and no thread, so that little can go wrong in it.
 *
 *   supervisor --fork, exec--> server   (the same binary; sockets and a control socket inherited)
 *   server --control socket--> supervisor: ready, tick, reloaded, last request (supervised.h)
 *
 * - A server that dies is replaced: at once the first time, then after 1, 2, 4 ... 30 s for as long
 *   as it does not live for 10 s. Connections wait in the backlog meanwhile. One that has never
 * been ready ends the supervisor with its exit code.
 * - A server that stops ticking for 4 s (--stall-timeout-ms; stuck in C, stopped) is killed and
 * replaced; the time that it did not tick counts as waited.
 * - SIGTERM and SIGINT stop everything, SIGHUP is passed on, SIGUSR2 upgrades: a server of the
 *   binary that is now at the supervisor's path starts beside the old one; once it is ready the old
 *   one drains, and the supervisor becomes the new binary itself, keeping its pid and children.
 * - A service manager (systemd) is told what goes on, and its watchdog is fed while the server
 *   ticks.
 *
 * When the supervisor itself is killed, the server notices and drains. */
#ifndef PERI_SUPERVISOR_H
#define PERI_SUPERVISOR_H

#include "config.h"
#include "sockets.h"

/* Whether this process is a supervisor that has just become a new binary: takes over its sockets.
 * Returns 1, 0 when it is not, or a UV_E* code with the reason in `error`. */
int peri_supervisor_resume(struct peri_sockets *sockets, const struct peri_config *config,
                           char *error, size_t error_size);

/* Runs until told to stop. `argv` is that of main(). Closes the sockets. Returns the exit code. */
int peri_supervisor_run(const struct peri_config *config, struct peri_sockets *sockets,
                        char **argv);

#endif
