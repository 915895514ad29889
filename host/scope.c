#include "scope.h"

#include "task.h"

static void enter_parent(struct peri_scope *scope, struct peri_scope *parent)
{
    scope->parent = parent;
    if (parent == NULL)
        return;
    if (parent->children == NULL)
        parent->children = &scope->link;
    else
        peri_list_append(parent->children, &scope->link);
}

static void leave_parent(struct peri_scope *scope)
{
    struct peri_scope *parent = scope->parent;
    if (parent != NULL && parent->children == &scope->link)
        parent->children = scope->link.next == &scope->link ? NULL : scope->link.next;
    peri_list_remove(&scope->link);
    scope->parent = NULL;
}

void peri_scope_open(struct peri_scope *scope, struct peri_scope *parent, struct peri_task *task)
{
    peri_list_init(&scope->link);
    scope->children = NULL;
    scope->task = task;
    scope->cancelled = false;
    scope->seen = parent != NULL && !scope->shield ? parent->seen : NULL;
    enter_parent(scope, parent);
}

void peri_scope_close(struct peri_scope *scope)
{
    struct peri_scope *child;
    while ((child = peri_scope_first(scope)) != NULL) {
        leave_parent(child);
        enter_parent(child, scope->parent);
    }
    leave_parent(scope);
}

/* What follows `scope` in the tree below `top`, its own children included when `inside`. */
static struct peri_scope *next_in(struct peri_scope *top, struct peri_scope *scope, bool inside)
{
    struct peri_scope *next = inside ? peri_scope_first(scope) : NULL;
    for (; next == NULL && scope != top; scope = scope->parent)
        next = peri_scope_next(scope);
    return next;
}

static void meet(struct peri_scope *scope, const char *cause)
{
    if (scope->seen != NULL)
        return;
    scope->seen = cause;
    if (scope->task != NULL && scope->task->scope == scope)
        peri_task_interrupt(scope->task);
}

/* Whether a cancellation of the parent enters the scope. */
static bool enters(struct peri_scope *scope)
{
    if (scope->shield && scope->kind == PERI_SCOPE_TIMED)
        peri_scope_bound(peri_container_of(scope, struct peri_timed_scope, opened.scope));
    return !scope->shield && scope->seen == NULL;
}

/* Without recursion: a tree of tasks may be deeper than the C stack. Interrupting a task wakes it
 * but runs nothing, so that the tree stays as it is. */
static void spread(struct peri_scope *top, const char *cause, bool force)
{
    bool inside = force || top->seen == NULL;
    meet(top, cause);
    struct peri_scope *scope = top;
    while ((scope = next_in(top, scope, inside)) != NULL) {
        inside = enters(scope) || force;
        scope->shield &= !force;
        if (inside)
            meet(scope, cause);
    }
}

void peri_scope_abandon(struct peri_scope *root)
{
    if (root->children == NULL)
        return;
    peri_scope_force(root, "the group was left behind");
    for (struct peri_scope *at = root; (at = next_in(root, at, true)) != NULL;)
        if (at->task == root->task)
            at->task = NULL;
}

void peri_scope_cancel(struct peri_scope *scope, const char *cause)
{
    if (scope->cancelled)
        return;
    scope->cancelled = true;
    spread(scope, cause, false);
}

void peri_scope_force(struct peri_scope *scope, const char *cause)
{
    spread(scope, cause, true);
}

void peri_scope_lift(struct peri_scope *scope)
{
    scope->shield = false;
    if (scope->parent != NULL && scope->parent->seen != NULL)
        spread(scope, scope->parent->seen, false);
}

static void on_bound(struct peri_timer *timer)
{
    peri_scope_lift(&peri_container_of(timer, struct peri_timed_scope, timer)->opened.scope);
}

void peri_scope_bound(struct peri_timed_scope *shield)
{
    if (peri_timer_runs(&shield->timer))
        return;
    shield->timer.fire = on_bound;
    peri_timer_start(shield->timers, &shield->timer,
                     uv_now(shield->timers->clock.loop) + shield->ms);
}
