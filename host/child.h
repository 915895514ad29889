/* A child process: started without a shell, its standard streams where one wants them, ended with
 * all that it started.
 *
 * A child leads a session of its own, so a signal to its group reaches its children too, and none
 * that was meant for the server reaches it. It inherits no descriptor but its three standard ones.
 * The struct is freed when its owner has closed it and libuv has seen it end, so no zombie stays.
 *
 * Belongs to one loop thread. Knows no Lua. */
#ifndef PERI_CHILD_H
#define PERI_CHILD_H

#include "stream.h"

enum peri_child_stdio {
    PERI_CHILD_DISCARD, /* /dev/null */
    PERI_CHILD_PIPE,    /* a stream to the child or from it */
    PERI_CHILD_INHERIT, /* the program's own */
    PERI_CHILD_MERGE,   /* of errors: where its output goes */
};

struct peri_child_options {
    char *const *args; /* file, found in PATH, and arguments; NULL at the end */
    char *const *env;  /* "NAME=value", NULL at the end; NULL: as the program's */
    const char *cwd;   /* NULL: as the program's */
    enum peri_child_stdio in, out, err;
};

struct peri_child {
    uv_process_t process;
    /* Called once when it has ended; NULL: nobody is interested. */
    void (*ended)(struct peri_child *child, void *owner);
    void *owner;
    int pid;
    bool has_ended;
    bool gone;   /* libuv let go */
    bool closed; /* so did its owner */
    int64_t code;
    int signal; /* 0 when it ended by itself */
};

/* Starts a child; the streams that are PERI_CHILD_PIPE belong to the caller. Returns 0 or UV_E*,
 * such as UV_ENOENT when there is no such program or folder; nothing is left then. */
int peri_child_start(uv_loop_t *loop, struct peri_timers *timers,
                     const struct peri_child_options *options, struct peri_child **child,
                     struct peri_stream *streams[3]);

/* Sends a signal to the child and all that is left of what it started. Returns 0, or UV_ESRCH when
 * it has ended. */
int peri_child_kill(struct peri_child *child, int signal);

/* Kills it unless it has ended, and frees it when that is done. */
void peri_child_close(struct peri_child *child);

#endif
