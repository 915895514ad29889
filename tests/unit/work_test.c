/* Chores: what a task that is cancelled leaves behind ends by itself, and is freed once. */
#include "work.h"

#include "task_world.h"

#include <semaphore.h>
#include <stdatomic.h>

#define THREADS 4 /* of libuv's pool, as a rule */

static sem_t go_on;
static atomic_int begun;
static atomic_int freed;

struct held {
    struct peri_chore chore;
    int value;
};

/* On another thread: until the test lets it go on. */
static void held_run(struct peri_chore *chore)
{
    atomic_fetch_add(&begun, 1);
    sem_wait(&go_on);
    peri_container_of(chore, struct held, chore)->value = 7;
}

static int held_finish(lua_State *L, struct peri_chore *chore)
{
    lua_pushinteger(L, peri_container_of(chore, struct held, chore)->value);
    return 1;
}

static void held_deinit(struct peri_chore *chore)
{
    (void) chore;
    atomic_fetch_add(&freed, 1);
}

/* held(): waits for a chore that the test holds. */
static int lua_held(lua_State *L)
{
    struct held *held = peri_chore_new(L, sizeof(*held));
    held->chore.run = held_run;
    held->chore.finish = held_finish;
    held->chore.deinit = held_deinit;
    return peri_chore_await(L, &held->chore);
}

/* unused(): makes one and fails. */
static int lua_unused(lua_State *L)
{
    struct held *held = peri_chore_new(L, sizeof(*held));
    held->chore.deinit = held_deinit;
    return luaL_error(L, "it was not needed");
}

static int set_up_chores(void **state)
{
    sem_init(&go_on, 0, 0);
    atomic_store(&begun, 0);
    atomic_store(&freed, 0);
    if (set_up(state) != 0)
        return -1;
    lua_register(world.vm.L, "held", lua_held);
    lua_register(world.vm.L, "unused", lua_unused);
    return 0;
}

static int tear_down_chores(void **state)
{
    int rc = tear_down(state);
    sem_destroy(&go_on);
    return rc;
}

static void wait_until_begun(int count)
{
    while (atomic_load(&begun) < count)
        uv_sleep(1);
}

static void a_chore_is_waited_for(void **state)
{
    (void) state;
    sem_post(&go_on);
    does("log(held())", "7");
    collect();
    assert_int_equal(atomic_load(&freed), 1);
}

static void a_cancelled_task_leaves_its_chore_behind(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(pcall(held))");
    wait_until_begun(1);
    peri_task_cancel(run.task, "not wanted");
    while (!run.ended)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    logged("false,cancelled: not wanted");
    collect();
    assert_int_equal(atomic_load(&freed), 0); /* its thread is not done with it */
    sem_post(&go_on);
    settle();
    assert_int_equal(atomic_load(&freed), 1);
}

static void one_that_has_not_begun_never_runs(void **state)
{
    (void) state;
    struct run busy[THREADS];
    struct run queued;
    for (int i = 0; i < THREADS; i++)
        start(&busy[i], "held()");
    wait_until_begun(THREADS);
    start(&queued, "log(pcall(held))");
    peri_task_cancel(queued.task, "not wanted");
    while (!queued.ended || atomic_load(&freed) == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    logged("false,cancelled: not wanted");
    for (int i = 0; i < THREADS; i++)
        sem_post(&go_on);
    settle();
    collect();
    assert_int_equal(atomic_load(&begun), THREADS);
    assert_int_equal(atomic_load(&freed), THREADS + 1);
}

static void one_that_was_not_awaited_is_freed(void **state)
{
    (void) state;
    does("log(pcall(unused))", "false,it was not needed");
    collect();
    assert_int_equal(atomic_load(&freed), 1);
}

static void without_a_task_it_is_done_in_place(void **state)
{
    (void) state;
    sem_post(&go_on);
    assert_string_equal(outside("assert(held() == 7)"), "no error");
    collect();
    assert_int_equal(atomic_load(&freed), 1);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up_chores, tear_down_chores)
    const struct CMUnitTest tests[] = {
        test(a_chore_is_waited_for),
        test(a_cancelled_task_leaves_its_chore_behind),
        test(one_that_has_not_begun_never_runs),
        test(one_that_was_not_awaited_is_freed),
        test(without_a_task_it_is_done_in_place),
    };
#undef test
    setenv("UV_THREADPOOL_SIZE", "4", 1); /* THREADS */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
