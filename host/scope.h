/* Cancel scopes: what a cancellation reaches. A tree, as in Trio: each task has a root scope;
 * groups, timeouts and shields are scopes inside of it, and the root of a task that was spawned in
 * a group hangs below the scope of the group. Cancelling a scope is seen by every wait in it and
 * below it, up to scopes that shield what they hold.
 *
 * It is a level, not an event: whoever swallows the error meets it again at the next wait, until
 * the scope has been left. A scope knows nothing of Lua; peri_task_interrupt() hurries the waits.
 *
 * Owned by what embeds them (a task, a userdata on the stack of a coroutine). Everything belongs to
 * one loop thread. */
#ifndef PERI_SCOPE_H
#define PERI_SCOPE_H

#include "list.h"
#include "timer.h"

#include <stdbool.h>
#include <stdint.h>

struct peri_task;

enum peri_scope_kind { PERI_SCOPE_TASK, PERI_SCOPE_GROUP, PERI_SCOPE_TIMED };

/* No larger than it must be: there may be 100,000 tasks. */
struct peri_scope {
    struct peri_scope *parent;
    struct peri_list link;      /* among the children of the parent: a ring without a head */
    struct peri_list *children; /* the first one; NULL: none */
    struct peri_task *task;     /* whose waits happen in it; NULL once that has ended */
    const char *seen;           /* what its waits meet, of its own or an outer scope. Static text */
    uint8_t kind;
    bool shield;    /* what happens to outer scopes does not get in */
    bool cancelled; /* itself */
};

/* A scope that is not a task's root: opened by code, in a coroutine. */
struct peri_opened_scope {
    struct peri_scope scope;
    struct lua_State *L; /* the coroutine */
};

/* A scope with a deadline: a timeout, or a shield that does not hold for ever. */
struct peri_timed_scope {
    struct peri_opened_scope opened;
    struct peri_timer timer;
    struct peri_timers *timers;
    uint64_t ms; /* of a shield: how long it holds once the outer scope is cancelled */
};

/* What follows `scope` among the children of its parent; NULL behind the last one. */
static inline struct peri_scope *peri_scope_next(const struct peri_scope *scope)
{
    if (scope->link.next == scope->parent->children)
        return NULL;
    return peri_container_of(scope->link.next, struct peri_scope, link);
}

static inline struct peri_scope *peri_scope_first(const struct peri_scope *scope)
{
    return scope->children == NULL ? NULL
                                   : peri_container_of(scope->children, struct peri_scope, link);
}

/* Puts a scope below `parent` (NULL: it is a root). `shield` must have been set. */
void peri_scope_open(struct peri_scope *scope, struct peri_scope *parent, struct peri_task *task);

/* Takes it out of the tree; what was below it goes to its parent. More than once is harmless. */
void peri_scope_close(struct peri_scope *scope);

/* The task of a root has ended. Scopes that it left open, in coroutines that were closed or dropped
 * while they waited, lose it; tasks below these are cancelled. */
void peri_scope_abandon(struct peri_scope *root);

/* Only the first cause counts. */
void peri_scope_cancel(struct peri_scope *scope, const char *cause);

/* Everything in the scope and below it sees the cancellation, shields or not. */
void peri_scope_force(struct peri_scope *scope, const char *cause);

/* From now on a shield lets pass what its parent sees. */
void peri_scope_lift(struct peri_scope *scope);

/* Bounds a shield whose parent is cancelled: it is lifted in `ms`. */
void peri_scope_bound(struct peri_timed_scope *shield);

#endif
