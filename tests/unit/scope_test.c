/* Cancel scopes by themselves: the tasks are made of paper, and only count how often they are
 * interrupted. */
#include "scope.h"

#include "task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEEP 100000

/* A task that waits in the scope it is given. */
struct paper {
    struct peri_task task;
    struct peri_op op;
    int interrupts;
};

static void on_interrupt(struct peri_op *op)
{
    peri_container_of(op, struct paper, op)->interrupts++;
}

static void waits_in(struct paper *paper, struct peri_scope *scope)
{
    memset(paper, 0, sizeof(*paper));
    paper->op.cancel = on_interrupt;
    paper->task.op = &paper->op;
    paper->task.scope = scope;
    scope->task = &paper->task;
}

static void open_in(struct peri_scope *scope, struct peri_scope *parent, bool shield)
{
    memset(scope, 0, sizeof(*scope));
    scope->shield = shield;
    peri_scope_open(scope, parent, NULL);
}

static void a_cancellation_reaches_all_below_and_nobody_else(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope cut;
    struct peri_scope below;
    struct peri_scope beside;
    struct paper in_cut;
    struct paper in_below;
    struct paper in_beside;
    open_in(&root, NULL, false);
    open_in(&cut, &root, false);
    open_in(&beside, &root, false);
    open_in(&below, &cut, false);
    waits_in(&in_cut, &cut);
    waits_in(&in_below, &below);
    waits_in(&in_beside, &beside);
    peri_scope_cancel(&cut, "first");
    peri_scope_cancel(&cut, "second");
    peri_scope_cancel(&below, "third");
    assert_string_equal(cut.seen, "first");
    assert_string_equal(below.seen, "first");
    assert_null(root.seen);
    assert_null(beside.seen);
    assert_int_equal(in_cut.interrupts, 1);
    assert_int_equal(in_below.interrupts, 1);
    assert_int_equal(in_beside.interrupts, 0);
}

static void a_wait_that_is_over_or_deaf_is_let_alone(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope done_in;
    struct peri_scope deaf_in;
    struct peri_scope inner;
    struct paper done;
    struct paper deaf;
    open_in(&root, NULL, false);
    open_in(&done_in, &root, false);
    open_in(&deaf_in, &root, false);
    waits_in(&done, &done_in);
    waits_in(&deaf, &deaf_in);
    done.op.done = true;
    deaf.op.deaf = true;
    peri_scope_cancel(&root, "all");
    assert_int_equal(done.interrupts + deaf.interrupts, 0);

    /* A task waits in its innermost scope only. */
    struct paper paper;
    struct peri_scope outer;
    open_in(&outer, NULL, false);
    open_in(&inner, &outer, true);
    waits_in(&paper, &outer);
    paper.task.scope = &inner;
    inner.task = &paper.task;
    peri_scope_cancel(&outer, "outside");
    assert_int_equal(paper.interrupts, 0);
}

static void a_shield_keeps_out_what_happens_outside(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope shield;
    struct peri_scope below;
    struct paper paper;
    open_in(&root, NULL, false);
    open_in(&shield, &root, true);
    open_in(&below, &shield, false);
    waits_in(&paper, &below);
    peri_scope_cancel(&root, "outside");
    assert_null(shield.seen);
    assert_null(below.seen);

    struct peri_scope later;
    open_in(&later, &root, false);
    assert_string_equal(later.seen, "outside");
    struct peri_scope shielded_later;
    open_in(&shielded_later, &root, true);
    assert_null(shielded_later.seen);

    peri_scope_lift(&shield);
    assert_string_equal(below.seen, "outside");
    assert_int_equal(paper.interrupts, 1);
}

static void lifting_a_shield_of_nothing_does_nothing_yet(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope shield;
    open_in(&root, NULL, false);
    open_in(&shield, &root, true);
    peri_scope_lift(&shield);
    assert_null(shield.seen);
    peri_scope_cancel(&root, "now");
    assert_string_equal(shield.seen, "now");
}

static void a_shield_can_be_cancelled_itself(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope shield;
    struct peri_scope below;
    open_in(&root, NULL, false);
    open_in(&shield, &root, true);
    open_in(&below, &shield, false);
    peri_scope_cancel(&shield, "itself");
    assert_string_equal(below.seen, "itself");
    assert_null(root.seen);
}

static void force_passes_every_shield(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope outer;
    struct peri_scope inner;
    struct paper paper;
    open_in(&root, NULL, false);
    open_in(&outer, &root, true);
    open_in(&inner, &outer, true);
    waits_in(&paper, &inner);
    peri_scope_cancel(&root, "asked");
    assert_int_equal(paper.interrupts, 0);
    peri_scope_force(&root, "forced");
    assert_string_equal(root.seen, "asked");
    assert_string_equal(inner.seen, "forced");
    assert_int_equal(paper.interrupts, 1);
    assert_false(outer.shield || inner.shield);
}

static void what_is_below_a_closed_scope_goes_to_its_parent(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope middle;
    struct peri_scope a;
    struct peri_scope b;
    open_in(&root, NULL, false);
    open_in(&middle, &root, false);
    open_in(&a, &middle, false);
    open_in(&b, &middle, false);
    peri_scope_close(&middle);
    peri_scope_close(&middle);
    assert_ptr_equal(a.parent, &root);
    assert_ptr_equal(b.parent, &root);
    assert_ptr_equal(peri_scope_first(&root), &a);
    assert_ptr_equal(peri_scope_next(&a), &b);
    assert_null(peri_scope_next(&b));
    peri_scope_close(&a);
    assert_ptr_equal(peri_scope_first(&root), &b);
    peri_scope_cancel(&root, "all");
    assert_string_equal(b.seen, "all");
    assert_null(a.seen);
    peri_scope_close(&b);
    assert_null(peri_scope_first(&root));
}

static void scopes_of_a_task_that_has_ended_lose_it(void **state)
{
    (void) state;
    struct peri_scope root;
    struct peri_scope group;
    struct peri_scope child;
    struct paper ended;
    struct paper other;
    open_in(&root, NULL, false);
    open_in(&group, &root, true);
    open_in(&child, &group, false);
    waits_in(&ended, &root);
    group.task = &ended.task;
    ended.task.op = NULL;
    waits_in(&other, &child);
    peri_scope_abandon(&root);
    assert_null(group.task);
    assert_ptr_equal(child.task, &other.task);
    assert_string_equal(child.seen, "the group was left behind");
    assert_int_equal(other.interrupts, 1);

    struct peri_scope alone;
    open_in(&alone, NULL, false);
    peri_scope_abandon(&alone); /* nothing is below: nobody is cancelled */
    assert_null(alone.seen);
}

static void a_bounded_shield_is_lifted_in_its_time(void **state)
{
    (void) state;
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_scope root;
    struct peri_timed_scope shield = {.timers = &timers, .ms = 50};
    struct paper paper;
    uv_loop_init(&loop);
    peri_timers_open(&timers, &loop);
    peri_timers_freeze(&timers);
    uint64_t began = peri_timers_now(&timers);
    open_in(&root, NULL, false);
    shield.opened.scope.kind = PERI_SCOPE_TIMED;
    shield.opened.scope.shield = true;
    peri_scope_open(&shield.opened.scope, &root, NULL);
    waits_in(&paper, &shield.opened.scope);
    assert_false(peri_timer_runs(&shield.timer)); /* for as long as nobody wants in */
    peri_scope_cancel(&root, "outside");
    assert_true(peri_timer_runs(&shield.timer));
    uint64_t due = shield.timer.due;
    peri_scope_bound(&shield);
    assert_true(shield.timer.due == due); /* the first bound counts */
    peri_timers_advance(&timers, began + 40);
    assert_int_equal(paper.interrupts, 0);
    while (peri_timers_advance(&timers, began + 1000))
        ;
    assert_int_equal(paper.interrupts, 1);
    assert_string_equal(shield.opened.scope.seen, "outside");
    peri_timers_thaw(&timers);
    peri_timers_close(&timers);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_tree_may_be_deeper_than_the_stack(void **state)
{
    (void) state;
    struct peri_scope *chain = calloc(DEEP, sizeof(*chain));
    for (int i = 0; i < DEEP; i++)
        open_in(&chain[i], i > 0 ? &chain[i - 1] : NULL, i == DEEP / 2);
    peri_scope_cancel(&chain[0], "top");
    assert_string_equal(chain[DEEP / 2 - 1].seen, "top");
    assert_null(chain[DEEP / 2].seen);
    peri_scope_force(&chain[0], "force");
    assert_string_equal(chain[DEEP - 1].seen, "force");
    for (int i = 0; i < DEEP; i++)
        peri_scope_close(&chain[i]);
    free(chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancellation_reaches_all_below_and_nobody_else),
        cmocka_unit_test(a_wait_that_is_over_or_deaf_is_let_alone),
        cmocka_unit_test(a_shield_keeps_out_what_happens_outside),
        cmocka_unit_test(lifting_a_shield_of_nothing_does_nothing_yet),
        cmocka_unit_test(a_shield_can_be_cancelled_itself),
        cmocka_unit_test(force_passes_every_shield),
        cmocka_unit_test(what_is_below_a_closed_scope_goes_to_its_parent),
        cmocka_unit_test(scopes_of_a_task_that_has_ended_lose_it),
        cmocka_unit_test(a_bounded_shield_is_lifted_in_its_time),
        cmocka_unit_test(a_tree_may_be_deeper_than_the_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
