/* What an app does beside its requests: one task that runs the function `background` of the app, in
 * one VM of the process, for as long as that VM is current. Its waits end when the VM leaves or the
 * server stops, so that a schedule keeps nobody waiting; a job that runs has the usual grace.
 *
 * Belongs to the thread of the VM. */
#ifndef PERI_BACKGROUND_H
#define PERI_BACKGROUND_H

#include "list.h"

#include <stdbool.h>

struct peri_vm;

struct peri_background {
    struct peri_list sleepers; /* the waits of api_background.c */
    bool open;                 /* false before the start and after the end */
};

void peri_background_init(struct peri_background *background);

/* The VM is current. Does nothing for an app without such a function. Outside of Lua. */
void peri_background_start(struct peri_vm *vm);

/* The VM leaves, or the server stops: wakes whoever sleeps. More than once is harmless. */
void peri_background_stop(struct peri_vm *vm);

#endif
