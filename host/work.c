#include "work.h"

#include "vm.h"

#include <lauxlib.h>
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
