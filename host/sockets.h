/* The listening sockets of the process: addresses, Unix sockets, and descriptors that somebody else
 * has opened (`--fd`, a service manager, the supervisor). Opened once before any loop runs, owned
 * by whoever opened them, read-only afterwards. */
#ifndef PERI_SOCKETS_H
#define PERI_SOCKETS_H

#include "config.h"

#include <sys/types.h>

#define PERI_MAX_SOCKETS 16

struct peri_socket {
    int fd;           /* -1: stopped */
    char name[160];   /* how people reach it: "http://127.0.0.1:8000", "unix:/run/app.sock" */
    char *owned_path; /* of a Unix socket that was bound here; else NULL */
    dev_t owned_device;
    ino_t owned_inode;
};

struct peri_sockets {
    struct peri_socket list[PERI_MAX_SOCKETS];
    unsigned count;
};

/* Binds and listens on all that the config asks for, and takes what a service manager passes
 * (LISTEN_FDS) in place of its host and port. Returns 0, or a UV_E* code with one line in `error`.
 * Close it either way. */
int peri_sockets_open(struct peri_sockets *sockets, const struct peri_config *config, char *error,
                      size_t error_size);

/* Adds a descriptor that listens already; the name is made from its address. Returns 0 or UV_E*. */
int peri_sockets_adopt(struct peri_sockets *sockets, int fd, char *error, size_t error_size);

/* Notes that a Unix socket's path is ours to remove at the end. */
void peri_socket_own(struct peri_socket *item, const char *path);

/* Closes the descriptors, so that clients are refused once no other process has them. Paths stay:
 * a server that drains is still found by them. */
void peri_sockets_stop(struct peri_sockets *sockets);

/* Likewise, and removes the paths of Unix sockets that were bound here. */
void peri_sockets_close(struct peri_sockets *sockets);

#endif
