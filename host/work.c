#include "work.h"

#include "vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char JOB_TYPE[] = "perigee.job";

static int job_gc(lua_State *L)
{
    struct peri_job *job = lua_touserdata(L, 1);
    if (job->deinit != NULL)
        job->deinit(job);
    job->deinit = NULL;
    return 0;
}

static void on_work(uv_work_t *req)
{
    struct peri_job *job = peri_container_of(req, struct peri_job, req);
    job->run(job);
}

static void after_work(uv_work_t *req, int status)
{
    (void) status; /* UV_ECANCELED: then the wait raises, and nobody asks for a result */
    struct peri_job *job = peri_container_of(req, struct peri_job, req);
    if (job->over != NULL)
        job->over(job);
    peri_op_done(&job->op);
}

static void job_cancel(struct peri_op *op)
{
    struct peri_job *job = peri_container_of(op, struct peri_job, op);
    uv_cancel((uv_req_t *) &job->req); /* fails when it runs: then after_work() follows its end */
}

bool peri_may_wait(lua_State *L)
{
    return peri_task_current(L) != NULL && lua_isyieldable(L) &&
           peri_vm_of(L)->tasks.unyieldable == 0;
}

/* Makes the collector free the job on top of the stack. */
static void mark(lua_State *L)
{
    if (luaL_newmetatable(L, JOB_TYPE)) {
        lua_pushcfunction(L, job_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
}

void *peri_job_new(lua_State *L, size_t size)
{
    struct peri_job *job = peri_op_new(L, size);
    mark(L);
    job->op.cancel = job_cancel;
    return job;
}

void *peri_job_new_in_place(lua_State *L, size_t size)
{
    struct peri_job *job = lua_newuserdatauv(L, size, 0);
    memset(job, 0, size);
    mark(L);
    return job;
}

int peri_job_await(lua_State *L, struct peri_job *job)
{
    int rc = uv_queue_work(peri_vm_of(L)->tasks.loop, &job->req, on_work, after_work);
    if (rc != 0)
        return luaL_error(L, "the threadpool takes no job: %s", uv_strerror(rc));
    return peri_op_await(L, &job->op);
}

/* --- chores ------------------------------------------------------------------------------------
 */

static const char CHORE_TYPE[] = "perigee.chore";

struct peri_chore_op {
    struct peri_op op;
    struct peri_chore *chore; /* NULL once it was left behind */
};

static void chore_free(struct peri_chore *chore)
{
    if (chore->deinit != NULL)
        chore->deinit(chore);
    free(chore);
}

/* It does not run: the scheduler keeps an op that is not done. */
static int chore_gc(lua_State *L)
{
    struct peri_chore_op *op = lua_touserdata(L, 1);
    if (op->chore != NULL)
        chore_free(op->chore);
    op->chore = NULL;
    return 0;
}

static void on_chore(uv_work_t *req)
{
    struct peri_chore *chore = peri_container_of(req, struct peri_chore, req);
    chore->run(chore);
}

static void after_chore(uv_work_t *req, int status)
{
    (void) status; /* UV_ECANCELED: then nobody waits */
    struct peri_chore *chore = peri_container_of(req, struct peri_chore, req);
    if (chore->op != NULL)
        peri_op_done(&chore->op->op);
    else
        chore_free(chore);
}

static void chore_cancel(struct peri_op *base)
{
    struct peri_chore_op *op = peri_container_of(base, struct peri_chore_op, op);
    struct peri_chore *chore = op->chore;
    op->chore = NULL;
    chore->op = NULL;
    uv_cancel((uv_req_t *) &chore->req); /* where it has not begun it never will */
    peri_op_done(base);
}

static int chore_finish(lua_State *L, struct peri_op *base)
{
    struct peri_chore *chore = peri_container_of(base, struct peri_chore_op, op)->chore;
    return chore->finish(L, chore);
}

void *peri_chore_new(lua_State *L, size_t size)
{
    struct peri_chore_op *op = NULL;
    if (peri_task_current(L) != NULL) {
        op = peri_op_new(L, sizeof(*op));
    } else {
        op = lua_newuserdatauv(L, sizeof(*op), 0);
        memset(op, 0, sizeof(*op));
    }
    if (luaL_newmetatable(L, CHORE_TYPE)) {
        lua_pushcfunction(L, chore_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    op->op.cancel = chore_cancel;
    op->op.finish = chore_finish;
    op->chore = calloc(1, size);
    if (op->chore == NULL)
        luaL_error(L, "out of memory");
    op->chore->op = op;
    return op->chore;
}

int peri_chore_await(lua_State *L, struct peri_chore *chore)
{
    if (peri_task_current(L) == NULL) {
        chore->run(chore);
        return chore->finish(L, chore);
    }
    int rc = uv_queue_work(peri_vm_of(L)->tasks.loop, &chore->req, on_chore, after_chore);
    if (rc != 0)
        return luaL_error(L, "the threadpool takes no job: %s", uv_strerror(rc));
    return peri_op_await(L, &chore->op->op);
}
