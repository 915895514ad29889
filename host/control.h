/* The control socket: a Unix socket on which the operator asks what the server process is doing
 * (`perigee ps`, `stack`, `cancel`, `top`). It is served by the thread of the server's signals, so
 * it answers also while every loop is stuck; inspect.h does the looking.
 *
 * A client writes a line (`ps`, `stack ID`, `cancel ID`) and reads lines of JSON until one of the
 * kind "end"; then it may ask again. Lines are short, clients few, and every step has a deadline:
 * nobody can keep the thread busy or make it hold much.
 *
 * Who may connect: the user who runs the server, and root. The usual path is
 * $XDG_RUNTIME_DIR/perigee/PID.sock, else /tmp/perigee-UID/PID.sock, in a folder that belongs to
 * the user alone. The socket is made under another name and renamed, so that whoever sees it can
 * connect, and what stood there before is replaced in one step. It is removed at the end; sockets
 * of processes that were killed are removed by the next one that starts. */
#ifndef PERI_CONTROL_H
#define PERI_CONTROL_H

#include <uv.h>

struct peri_control;
struct peri_server;

/* Opens the socket that the server's config asks for. NULL when there is to be none, or when it
 * cannot be opened: that is a warning in the log, and the server runs without. */
struct peri_control *peri_control_open(struct peri_server *server, uv_loop_t *uv);

/* Removes the socket and closes what is open; its memory is freed by the loop's next run. NULL is
 * fine. */
void peri_control_close(struct peri_control *control);

#endif
