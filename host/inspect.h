/* What runs at this moment, for the operator: a question goes to every loop, and to every worker
 * that runs a trip, and each answers on its own thread, for only there a VM can be looked at.
 *
 *   asker (control.c): peri_question_new, _send         the server's own thread
 *   loop, worker: peri_inspect_loop, _worker            outside of Lua, or in a hook between two
 *                                                       instructions of what computes
 *   asker: told by `news` when lines have come; takes them; closes the question
 *
 * Nobody is waited for: who holds the loop in C does not answer, and the asker says so when its
 * patience is over. A question outlives its asker for as long as somebody may still answer it.
 *
 * The answer is lines of JSON, one for each request, task and thread. Looking makes no Lua values
 * but for a few names, takes a bounded number of lines, and changes nothing; cancelling is the
 * other thing that can be asked for.
 *
 * Names: a request has the id that logs have, and a number; tasks have numbers from the same
 * count. */
#ifndef PERI_INSPECT_H
#define PERI_INSPECT_H

#include "buf.h"
#include "list.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct peri_server;
struct peri_task;
struct peri_vm;
struct peri_loop;
struct peri_question;

enum peri_subject {
    PERI_ASK_ALL,    /* a line for everything that runs */
    PERI_ASK_STACK,  /* the lines of one request or task and of what runs for it, with their stacks
                      */
    PERI_ASK_CANCEL, /* the same request or task is to end */
};

/* What has come so far. */
struct peri_replies {
    unsigned loops_missing;
    unsigned workers_missing;
};

/* A question about `id` ("" for all). `news` is sent whenever somebody has answered. */
struct peri_question *peri_question_new(enum peri_subject subject, const char *id,
                                        uv_async_t *news);

/* Asks all loops of the server and all workers of the process. */
void peri_question_send(struct peri_question *question, struct peri_server *server);

struct peri_replies peri_question_replies(struct peri_question *question);

/* Appends the lines that have come, and one for each thread that has not answered. */
void peri_question_read(struct peri_question *question, struct peri_buf *lines);

/* Nobody waits for answers any more. */
void peri_question_close(struct peri_question *question);

/* On the loop's thread: answers what `visit` asks. */
void peri_inspect_loop(struct peri_loop *loop, struct peri_list *visit);

/* On a worker's thread, whose trip runs in `trip` (NULL: none does). */
void peri_inspect_worker(struct peri_vm *vm, struct peri_task *trip, struct peri_list *visit);

#endif
