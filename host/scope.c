#include "scope.h"

#include "task.h"

void peri_scope_open(struct peri_scope *scope, struct peri_scope *parent, struct peri_task *task)
{
    peri_list_init(&scope->link);
    peri_list_init(&scope->children);
    scope->parent = parent;
    scope->task = task;
    scope->cause = NULL;
    scope->seen = parent != NULL && !scope->shield ? parent->seen : NULL;
    if (parent != NULL)
        peri_list_append(&parent->children, &scope->link);
}

void peri_scope_close(struct peri_scope *scope)
{
    struct peri_list *link;
    while ((link = peri_list_pop(&scope->children)) != NULL) {
        struct peri_scope *child = peri_container_of(link, struct peri_scope, link);
        child->parent = scope->parent;
        if (scope->parent != NULL)
            peri_list_append(&scope->parent->children, &child->link);
    }
    peri_list_remove(&scope->link);
    scope->parent = NULL;
}

static struct peri_scope *first_child(struct peri_scope *scope)
{
    struct peri_list *link = peri_list_first(&scope->children);
    return link != NULL ? peri_container_of(link, struct peri_scope, link) : NULL;
}

/* What follows `scope` in the tree below `top`, its own children included when `inside`. */
static struct peri_scope *next_in(struct peri_scope *top, struct peri_scope *scope, bool inside)
{
    struct peri_scope *child = inside ? first_child(scope) : NULL;
    if (child != NULL)
        return child;
    for (; scope != top; scope = scope->parent)
        if (scope->link.next != &scope->parent->children)
            return peri_container_of(scope->link.next, struct peri_scope, link);
    return NULL;
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
    if (peri_list_empty(&root->children))
        return;
    peri_scope_force(root, "the group was left behind");
    for (struct peri_scope *at = root; (at = next_in(root, at, true)) != NULL;)
        if (at->task == root->task)
            at->task = NULL;
}

void peri_scope_cancel(struct peri_scope *scope, const char *cause)
{
    if (scope->cause != NULL)
        return;
    scope->cause = cause;
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
