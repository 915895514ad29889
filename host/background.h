/* What an app does beside its requests, and how it hears that it is to stop.
 *
 * One task runs the function `background` of the app (its schedules), in one VM of the process, for
 * as long as that VM is current. And whatever has no end of its own, there or in an answer that
 * goes on for ever, stands in a scope of task.until_stop() (api_task.c): these scopes are cancelled
 * when the VM leaves or the server stops, so that they keep nobody waiting. All else has the usual
 * grace.
 *
 * Belongs to the thread of the VM. */
#ifndef PERI_BACKGROUND_H
#define PERI_BACKGROUND_H

#include "list.h"

#include <stdbool.h>

struct peri_scope;
struct peri_task;
struct peri_vm;

/* A scope that ends when its VM is to stop. */
struct peri_until_stop {
    struct peri_list link; /* taken out when it ends, or was told */
    struct peri_scope *scope;
};

struct peri_background {
    struct peri_list scopes; /* struct peri_until_stop */
    struct peri_task *task;  /* that runs the function; NULL before and after */
    bool started;
    bool stopping;
};

void peri_background_init(struct peri_background *background);

/* The VM is current. Does nothing for an app without such a function. Outside of Lua. */
void peri_background_start(struct peri_vm *vm);

/* The VM leaves, or the server stops: cancels those scopes. Runs no Lua. More than once is
 * harmless. */
void peri_background_stop(struct peri_vm *vm);

/* A scope that was opened just now; it is cancelled at once where its VM stops already. */
void peri_background_add(struct peri_vm *vm, struct peri_until_stop *until,
                         struct peri_scope *scope);

#endif
