#include "inspect.h"

#include "access_log.h"
#include "after.h"
#include "coroutine.h"
#include "exchange.h"
#include "generation.h"
#include "json.h"
#include "log.h"
#include "slice.h"
#include "worker.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_LINES 1000 /* of one loop, in one answer */
#define MAX_DEPTH 16   /* coroutines that wait in each other */
#define MAX_LEVELS 200 /* of one coroutine, looked at */
#define MAX_FRAMES 40  /* of one coroutine, shown */
#define NAMES 8        /* functions whose names are remembered during a walk */

static const char CANCELLED[] = "cancelled by the operator";

/* One thread that is asked. Freed with its question. */
struct visit {
    struct peri_list link; /* in the mail of whom it is for; then detached */
    struct visit *next;    /* of the same question */
    struct peri_question *question;
    uint64_t generation; /* of a worker */
    unsigned index;
    bool worker;
    bool answered; /* under the lock */
};

struct peri_question {
    enum peri_subject subject;
    char id[PERI_REQUEST_ID];
    uint64_t number; /* `id` as one; 0: it is none */
    uint64_t asked_ns;
    struct visit *visits; /* the asker's */

    pthread_mutex_t lock;
    struct peri_buf lines;
    struct peri_replies missing;
    uv_async_t *news;  /* NULL once nobody waits */
    unsigned awaiting; /* visits that are not answered, and the asker */
};

/* --- questions ---------------------------------------------------------------------------------
 */

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("perigee: out of memory (a question of the operator)\n", stderr);
        abort();
    }
    return memory;
}

struct peri_question *peri_question_new(enum peri_subject subject, const char *id, uv_async_t *news)
{
    struct peri_question *question = allocate(sizeof(*question));
    question->subject = subject;
    question->news = news;
    question->awaiting = 1;
    question->asked_ns = uv_hrtime();
    snprintf(question->id, sizeof(question->id), "%s", id);
    size_t digits = strspn(question->id, "0123456789");
    if (digits > 0 && digits < 20 && question->id[digits] == '\0')
        question->number = strtoull(question->id, NULL, 10);
    pthread_mutex_init(&question->lock, NULL);
    return question;
}

/* Releases the lock, too. */
static void unref(struct peri_question *question)
{
    bool last = --question->awaiting == 0;
    pthread_mutex_unlock(&question->lock);
    if (!last)
        return;
    struct visit *next = NULL;
    for (struct visit *visit = question->visits; visit != NULL; visit = next) {
        next = visit->next;
        free(visit);
    }
    pthread_mutex_destroy(&question->lock);
    peri_buf_deinit(&question->lines);
    free(question);
}

static struct visit *add_visit(struct peri_question *question, unsigned index, bool worker)
{
    struct visit *visit = allocate(sizeof(*visit));
    peri_list_init(&visit->link);
    visit->question = question;
    visit->index = index;
    visit->worker = worker;
    pthread_mutex_lock(&question->lock);
    visit->next = question->visits;
    question->visits = visit;
    question->awaiting++;
    if (worker)
        question->missing.workers_missing++;
    else
        question->missing.loops_missing++;
    pthread_mutex_unlock(&question->lock);
    return visit;
}

static struct peri_list *visit_worker(struct peri_question *question, uint64_t generation,
                                      unsigned worker)
{
    struct visit *visit = add_visit(question, worker, true);
    visit->generation = generation;
    return &visit->link;
}

void peri_question_send(struct peri_question *question, struct peri_server *server)
{
    for (unsigned i = 0; i < server->loop_count; i++)
        peri_loop_post_visit(&server->loops[i], &add_visit(question, i, false)->link);
    peri_workers_visit(question, visit_worker);
}

/* Hands in the lines of one thread. */
static void answer(struct visit *visit, const struct peri_buf *lines)
{
    struct peri_question *question = visit->question;
    pthread_mutex_lock(&question->lock);
    visit->answered = true;
    if (visit->worker)
        question->missing.workers_missing--;
    else
        question->missing.loops_missing--;
    if (question->news != NULL) {
        peri_buf_add(&question->lines, lines->data, lines->len);
        uv_async_send(question->news);
    }
    unref(question);
}

struct peri_replies peri_question_replies(struct peri_question *question)
{
    pthread_mutex_lock(&question->lock);
    struct peri_replies missing = question->missing;
    pthread_mutex_unlock(&question->lock);
    return missing;
}

void peri_question_read(struct peri_question *question, struct peri_buf *lines)
{
    pthread_mutex_lock(&question->lock);
    peri_buf_add(lines, question->lines.data, question->lines.len);
    question->lines.len = 0;
    for (const struct visit *visit = question->visits; visit != NULL; visit = visit->next) {
        if (visit->answered)
            continue;
        if (visit->worker)
            peri_buf_addf(lines,
                          "{\"kind\":\"worker\",\"worker\":%u,\"generation\":%llu,\"answers\":"
                          "false}\n",
                          visit->index, (unsigned long long) visit->generation);
        else
            peri_buf_addf(lines, "{\"kind\":\"loop\",\"loop\":%u,\"answers\":false}\n",
                          visit->index);
    }
    pthread_mutex_unlock(&question->lock);
}

void peri_question_close(struct peri_question *question)
{
    pthread_mutex_lock(&question->lock);
    question->news = NULL;
    unref(question);
}

/* --- looking at coroutines ---------------------------------------------------------------------
 */

/* A walk over the tasks of a VM, on its thread. */
struct walk {
    const struct visit *visit;
    struct peri_vm *vm;
    struct peri_task *trip; /* of a worker: shown with the worker itself */
    struct peri_buf *out;
    size_t whole; /* bytes of `out` that are complete lines */
    unsigned lines;
    unsigned omitted;
    struct {
        const void *function;
        char name[64];
    } names[NAMES];
    unsigned named;
};

/* Where a task is, from the app's point of view. */
struct spot {
    char doing[64]; /* the function that the app has called and that waits; "" when none does */
    char place[LUA_IDSIZE + 16]; /* of the app's code; "" where there is none on the stack */
};

static void add_text(struct peri_buf *out, const char *key, const char *text, size_t len)
{
    peri_buf_addf(out, ",\"%s\":", key);
    peri_json_add_string(out, text, peri_utf8_valid(text, len));
}

static void add_str(struct peri_buf *out, const char *key, const char *text)
{
    add_text(out, key, text, strlen(text));
}

static void add_number(struct peri_buf *out, const char *key, uint64_t number)
{
    peri_buf_addf(out, ",\"%s\":%llu", key, (unsigned long long) number);
}

/* The coroutines of a task, the innermost last. Returns how many these are. */
static int coroutines_of(const struct peri_task *task, lua_State *list[MAX_DEPTH])
{
    int count = 0;
    for (lua_State *co = task->L; co != NULL && count < MAX_DEPTH; co = peri_coroutine_inner(co))
        list[count++] = co;
    return count;
}

static bool is_of_app(const lua_Debug *frame)
{
    return *frame->what != 'C' && strncmp(frame->source, "@perigee/", 9) != 0;
}

/* Looks for the function on top of L in a table of the framework's, below it; pushes its key. */
static bool find_in(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, -4)) {
            lua_pop(L, 1);
            return true;
        }
    }
    return false;
}

/* Finds what perigee.host calls the function on top of the stack; pops it. */
static void search_name(lua_State *L, char *name, size_t size)
{
    int top = lua_gettop(L) - 1;
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "perigee.host");
    if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
            if (!lua_istable(L, -1) || lua_type(L, -2) != LUA_TSTRING)
                continue;
            lua_pushvalue(L, top + 1);
            lua_insert(L, -2); /* the function below the table */
            if (find_in(L)) {
                snprintf(name, size, "%s.%s", lua_tostring(L, -4), lua_tostring(L, -1));
                break;
            }
            lua_remove(L, -2);
        }
    }
    lua_settop(L, top);
}

/* What the function of a frame is called: by who called it or, behind a tail call, by the host. */
static void name_of(struct walk *walk, lua_State *L, lua_State *co, lua_Debug *frame, char *name,
                    size_t size)
{
    lua_getinfo(co, "n", frame);
    if (*frame->namewhat != '\0') {
        snprintf(name, size, "%s", frame->name);
        return;
    }
    snprintf(name, size, "a function");
    lua_getinfo(L, "f", frame); /* pushed on L, whichever coroutine it runs in */
    const void *function = lua_topointer(L, -1);
    for (unsigned i = 0; i < walk->named && i < NAMES; i++) {
        if (walk->names[i].function == function) {
            snprintf(name, size, "%s", walk->names[i].name);
            lua_pop(L, 1);
            return;
        }
    }
    search_name(L, name, size);
    unsigned at = walk->named++ % NAMES;
    walk->names[at].function = function;
    snprintf(walk->names[at].name, sizeof(walk->names[at].name), "%s", name);
}

/* The first level of a coroutine that is its own: looking at the running one is a call in it. */
static int first_level(lua_State *L, lua_State *co)
{
    return co == L ? 1 : 0;
}

static void find_spot(struct walk *walk, lua_State *L, const struct peri_task *task,
                      struct spot *spot)
{
    lua_State *list[MAX_DEPTH];
    lua_Debug frame;
    lua_Debug inner;
    *spot = (struct spot){0};
    int count = coroutines_of(task, list);
    for (int i = count - 1; i >= 0; i--) {
        lua_State *co = list[i];
        int first = first_level(L, co);
        for (int level = first; level < MAX_LEVELS && lua_getstack(co, level, &frame); level++) {
            lua_getinfo(co, "Sl", &frame);
            if (is_of_app(&frame)) {
                snprintf(spot->place, sizeof(spot->place), "%s:%d", frame.short_src,
                         frame.currentline);
                if (level > first)
                    name_of(walk, L, co, &inner, spot->doing, sizeof(spot->doing));
                return;
            }
            inner = frame;
        }
    }
    if (count == 0)
        return;
    lua_State *co = list[count - 1]; /* the framework's only, behind a tail call of the app's */
    if (lua_getstack(co, first_level(L, co), &frame))
        name_of(walk, L, co, &frame, spot->doing, sizeof(spot->doing));
}

static void add_frame(struct peri_buf *out, lua_State *co, lua_Debug *frame)
{
    struct peri_buf text = {0};
    lua_getinfo(co, "Slnt", frame);
    peri_buf_addf(&text, "%s:", frame->short_src);
    if (frame->currentline > 0)
        peri_buf_addf(&text, "%d:", frame->currentline);
    if (*frame->namewhat != '\0')
        peri_buf_addf(&text, " in %s '%s'", frame->namewhat, frame->name);
    else if (*frame->what == 'm')
        peri_buf_add_lit(&text, " in main chunk");
    else if (*frame->what == 'C')
        peri_buf_add_lit(&text, " in a C function");
    else
        peri_buf_addf(&text, " in function <%s:%d>", frame->short_src, frame->linedefined);
    peri_json_add_string(out, text.data, peri_utf8_valid(text.data, text.len));
    peri_buf_deinit(&text);
    if (frame->istailcall)
        peri_buf_add_lit(out, ",\"(...tail calls...)\"");
}

/* The stack of a task, the innermost frame first. */
static void add_stack(struct peri_buf *out, lua_State *L, const struct peri_task *task)
{
    lua_State *list[MAX_DEPTH];
    lua_Debug frame;
    const char *comma = "";
    peri_buf_add_lit(out, ",\"stack\":[");
    for (int i = coroutines_of(task, list) - 1; i >= 0; i--) {
        int first = first_level(L, list[i]);
        for (int level = first; lua_getstack(list[i], level, &frame); level++) {
            peri_buf_add_str(out, comma);
            comma = ",";
            if (level - first == MAX_FRAMES) {
                peri_buf_add_lit(out, "\"...\"");
                break;
            }
            add_frame(out, list[i], &frame);
        }
    }
    peri_buf_add_byte(out, ']');
}

/* --- whom a task works for ---------------------------------------------------------------------
 */

static struct peri_exchange *exchange_of(const struct peri_task *task)
{
    return peri_exchange_of_task(task);
}

/* The task that a child of a group works for, or a function that a worker called back, in the end:
 * itself when there is none. */
static struct peri_task *origin_of(struct peri_task *task)
{
    struct peri_task *origin = task;
    for (const struct peri_scope *scope = task->root.parent; scope != NULL; scope = scope->parent) {
        if (scope->task != NULL)
            origin = scope->task;
    }
    struct peri_task *caller = peri_trip_caller(origin);
    return caller != NULL ? origin_of(caller) : origin;
}

static uint64_t number_at(uint64_t *number)
{
    if (*number == 0)
        *number = peri_next_number();
    return *number;
}

static uint64_t number_of(struct peri_task *task)
{
    struct peri_exchange *exchange = exchange_of(task);
    return number_at(exchange != NULL ? &exchange->id : &task->number);
}

static bool is_named(const struct peri_question *question, struct peri_exchange *exchange)
{
    char id[PERI_REQUEST_ID];
    peri_exchange_id(exchange, id);
    return (question->number != 0 && number_at(&exchange->id) == question->number) ||
           strcmp(id, question->id) == 0;
}

/* Whether the question is about this task, or about the request that it works for. */
static bool is_meant(const struct peri_question *question, struct peri_task *task)
{
    if (question->subject == PERI_ASK_ALL)
        return true;
    if (question->number != 0 && number_of(task) == question->number)
        return true;
    struct peri_task *origin = origin_of(task);
    struct peri_exchange *exchange = exchange_of(origin);
    if (exchange != NULL)
        return is_named(question, exchange);
    const char *behind = peri_after_request(origin);
    return (behind != NULL && strcmp(behind, question->id) == 0) ||
           (question->number != 0 && number_of(origin) == question->number);
}

/* --- lines -------------------------------------------------------------------------------------
 */

static void begin_line(struct walk *walk, const char *kind)
{
    const struct visit *visit = walk->visit;
    peri_buf_addf(walk->out, "{\"kind\":\"%s\",\"%s\":%u", kind, visit->worker ? "worker" : "loop",
                  visit->index);
}

static void end_line(struct walk *walk)
{
    peri_buf_add_lit(walk->out, "}\n");
    walk->whole = walk->out->len;
    walk->lines++;
}

static void add_request(struct peri_buf *out, struct peri_exchange *exchange)
{
    const struct peri_request *request = &exchange->request;
    const struct peri_operation *operation = exchange->operation;
    char id[PERI_REQUEST_ID];
    peri_exchange_id(exchange, id);
    size_t method_len = 0;
    const char *method = peri_request_method(request, &method_len);
    add_str(out, "request", id);
    add_text(out, "method", method, method_len);
    add_text(out, "target", peri_request_at(request, request->target), request->target.len);
    if (operation != NULL)
        add_str(out, "route", operation->path);
    if (operation != NULL && operation->source != NULL)
        add_str(out, "source", operation->source);
    if (exchange->conn != NULL || exchange->started_ns != 0) {
        struct peri_buf client = {0};
        struct peri_origin origin = peri_exchange_origin(exchange);
        peri_access_log_add_client(&client, &origin.client);
        add_text(out, "client", client.data, client.len);
        peri_buf_deinit(&client);
    }
    if (exchange->conn == NULL && exchange->site == NULL)
        peri_buf_add_lit(out, ",\"gone\":true");
    if (exchange->status != 0)
        add_number(out, "status", exchange->status);
}

static void add_age(struct walk *walk, uint64_t since)
{
    uint64_t now = uv_now(walk->vm->tasks.loop);
    if (since != 0)
        add_number(walk->out, "age_ms", now > since ? now - since : 0);
}

/* What the task does: it computes, is about to go on, or waits. */
static void add_state(struct walk *walk, lua_State *L, struct peri_task *task)
{
    struct peri_buf *out = walk->out;
    struct peri_exchange *exchange = exchange_of(task);
    struct spot spot;
    uint64_t generation = 0;
    int worker = -1;
    find_spot(walk, L, task, &spot);
    bool waits = task->op != NULL && !task->op->done;
    const char *state = waits ? "waits" : "ready";
    if (!waits && (task->slow || task->all->current == task))
        state = "computes";
    add_str(out, "state", state);
    if (waits && peri_trip_place(task->op, &generation, &worker)) {
        add_str(out, "waits", worker >= 0 ? "worker" : "a free worker");
        if (worker >= 0) {
            add_number(out, "on_worker", (uint64_t) worker);
            add_number(out, "generation", generation);
        }
    } else if (waits && exchange != NULL && exchange->waits_body != NULL &&
               &exchange->waits_body->op == task->op) {
        add_str(out, "waits", "request body");
    } else if (waits && exchange != NULL && exchange->waits_drain != NULL &&
               &exchange->waits_drain->op == task->op) {
        add_str(out, "waits", "client to read");
    } else if (waits && *spot.doing != '\0') {
        add_str(out, "waits", spot.doing);
    }
    if (*spot.place != '\0')
        add_str(out, "place", spot.place);
    if (task->computed)
        peri_buf_add_lit(out, ",\"slow\":true");
    if (peri_task_cancelled(task) != NULL)
        add_str(out, "cancelled", peri_task_cancelled(task));
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void describe(struct walk *walk, lua_State *L, struct peri_task *task)
{
    struct peri_buf *out = walk->out;
    struct peri_exchange *exchange = exchange_of(task);
    struct peri_task *origin = origin_of(task);
    const char *behind = peri_after_request(task);
    if (exchange != NULL)
        begin_line(walk, "request");
    else
        begin_line(walk, behind != NULL ? "after" : "task");
    add_number(out, "id", number_of(task));
    if (exchange != NULL) {
        add_request(out, exchange);
    } else {
        if (origin != task)
            add_number(out, "of", number_of(origin));
        if (behind != NULL)
            add_str(out, "request", behind);
    }
    add_age(walk, exchange != NULL ? earlier(exchange->body_since, task->since) : task->since);
    add_state(walk, L, task);
    if (walk->vm->life.phase >= PERI_LEAVING)
        peri_buf_add_lit(out, ",\"leaving\":true");
    if (walk->visit->question->subject == PERI_ASK_STACK)
        add_stack(out, L, task);
    end_line(walk);
}

static void look_at(struct walk *walk, lua_State *L, struct peri_task *task)
{
    if (task == walk->trip)
        return;
    bool works_for_trip = walk->trip != NULL && origin_of(task) == walk->trip;
    if (!works_for_trip && !is_meant(walk->visit->question, task))
        return;
    if (walk->lines >= MAX_LINES)
        walk->omitted++;
    else
        describe(walk, L, task);
}

static void look_at_list(struct walk *walk, lua_State *L, const struct peri_list *list)
{
    for (struct peri_list *at = list->next; at != list; at = at->next)
        look_at(walk, L, peri_container_of(at, struct peri_task, link));
}

/* Protected: names are found by Lua, and a VM may have no memory left. */
static int walk_tasks(lua_State *L)
{
    struct walk *walk = lua_touserdata(L, 1);
    struct peri_tasks *tasks = &walk->vm->tasks;
    if (tasks->current != NULL)
        look_at(walk, L, tasks->current);
    look_at_list(walk, L, &tasks->slow);
    look_at_list(walk, L, &tasks->ready);
    look_at_list(walk, L, &tasks->parked);
    return 0;
}

/* Calls `function` with the walk, in the running coroutine or the VM's main one. Where it fails for
 * want of memory the lines that are complete count. */
static void call(struct walk *walk, lua_CFunction function)
{
    lua_State *running = peri_watchdog.runner;
    lua_State *L = running != NULL ? running : walk->vm->L;
    walk->whole = walk->out->len;
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, walk);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        walk->out->len = walk->whole;
        walk->omitted++;
    }
}

/* --- cancelling --------------------------------------------------------------------------------
 */

static void say_cancelled(struct walk *walk, uint64_t number)
{
    begin_line(walk, "cancelled");
    add_number(walk->out, "id", number);
    end_line(walk);
}

static void cancel_exchange(struct walk *walk, struct peri_exchange *exchange)
{
    say_cancelled(walk, number_at(&exchange->id));
    peri_exchange_log(exchange, "%s", CANCELLED);
    peri_exchange_cancel(exchange, CANCELLED);
}

/* Cancels the task or the request of the question, not what works for it: that ends with it. */
static bool cancel_if_meant(struct walk *walk, struct peri_task *task)
{
    const struct peri_question *question = walk->visit->question;
    struct peri_exchange *exchange = exchange_of(task);
    const char *behind = peri_after_request(task);
    if (exchange != NULL ? !is_named(question, exchange)
                         : (question->number == 0 || number_of(task) != question->number) &&
                               (behind == NULL || strcmp(behind, question->id) != 0))
        return false;
    if (exchange != NULL) {
        cancel_exchange(walk, exchange);
        return true;
    }
    say_cancelled(walk, number_of(task));
    peri_log_warn("task %llu was %s", (unsigned long long) number_of(task), CANCELLED);
    peri_task_cancel(task, CANCELLED);
    return true;
}

static bool cancel_in_list(struct walk *walk, struct peri_list *list)
{
    for (struct peri_list *at = list->next; at != list; at = at->next) {
        if (cancel_if_meant(walk, peri_container_of(at, struct peri_task, link)))
            return true; /* the list may have changed */
    }
    return false;
}

static void cancel_in_vm(struct walk *walk)
{
    struct peri_tasks *tasks = &walk->vm->tasks;
    if (cancel_in_list(walk, &tasks->slow) || cancel_in_list(walk, &tasks->ready))
        return;
    cancel_in_list(walk, &tasks->parked);
}

/* --- whole threads -----------------------------------------------------------------------------
 */

/* Requests that are there and have no task: their body is awaited. */
static void walk_conns(struct walk *walk, struct peri_loop *loop)
{
    const struct peri_question *question = walk->visit->question;
    struct peri_list *next = NULL;
    for (struct peri_list *at = loop->conns.next; at != &loop->conns; at = next) {
        next = at->next;
        struct peri_exchange *exchange = peri_container_of(at, struct peri_conn, link)->exchange;
        if (exchange == NULL || !exchange->http.head_done || exchange->task != NULL ||
            exchange->answered || exchange->for_develop)
            continue;
        if (question->subject != PERI_ASK_ALL && !is_named(question, exchange))
            continue;
        if (question->subject == PERI_ASK_CANCEL) {
            cancel_exchange(walk, exchange);
            return;
        }
        if (walk->lines >= MAX_LINES) {
            walk->omitted++;
            continue;
        }
        walk->vm = exchange->vm;
        begin_line(walk, "request");
        add_number(walk->out, "id", number_at(&exchange->id));
        add_request(walk->out, exchange);
        add_age(walk, exchange->body_since);
        add_str(walk->out, "state", "waits");
        add_str(walk->out, "waits", "request body");
        end_line(walk);
    }
}

static void add_loop_line(struct walk *walk, struct peri_loop *loop)
{
    struct peri_buf *out = walk->out;
    uint64_t overruns = 0;
    size_t used = 0;
    size_t limit = 0;
    unsigned versions = 0;
    for (struct peri_list *at = loop->vms.next; at != &loop->vms; at = at->next) {
        const struct peri_vm *vm = peri_container_of(at, struct peri_vm, life.link);
        if (vm->life.phase == PERI_CLOSED)
            continue;
        overruns += vm->tasks.overruns;
        used += vm->heap.used;
        limit = vm->heap.limit;
        versions++;
    }
    begin_line(walk, "loop");
    peri_buf_addf(out, ",\"answers\":true,\"lag_ms\":%.3f",
                  (double) (uv_hrtime() - walk->visit->question->asked_ns) / 1e6);
    add_number(out, "connections", atomic_load(&loop->conn_count));
    add_number(out, "requests", loop->requests);
    add_number(out, "tasks", peri_generation_tasks(loop));
    add_number(out, "slow_slices", overruns);
    add_number(out, "lua_bytes", used);
    add_number(out, "lua_limit", limit);
    add_number(out, "versions", versions);
    if (walk->omitted > 0)
        add_number(out, "omitted", walk->omitted);
    end_line(walk);
}

void peri_inspect_loop(struct peri_loop *loop, struct peri_list *link)
{
    struct visit *visit = peri_container_of(link, struct visit, link);
    enum peri_subject subject = visit->question->subject;
    struct peri_buf lines = {0};
    struct walk walk = {.visit = visit, .out = &lines};
    for (struct peri_list *at = loop->vms.next; at != &loop->vms; at = at->next) {
        walk.vm = peri_container_of(at, struct peri_vm, life.link);
        walk.named = 0;
        if (walk.vm->life.phase == PERI_CLOSED)
            continue;
        if (subject == PERI_ASK_CANCEL)
            cancel_in_vm(&walk);
        else
            call(&walk, walk_tasks);
    }
    walk_conns(&walk, loop);
    if (subject == PERI_ASK_ALL)
        add_loop_line(&walk, loop);
    answer(visit, &lines);
    peri_buf_deinit(&lines);
}

/* Protected. The worker's line: what its trip does. */
static int walk_trip(lua_State *L)
{
    struct walk *walk = lua_touserdata(L, 1);
    struct peri_buf *out = walk->out;
    begin_line(walk, "worker");
    add_number(out, "generation", walk->visit->generation);
    peri_buf_add_lit(out, ",\"answers\":true");
    add_number(out, "lua_bytes", walk->vm->heap.used);
    if (walk->trip != NULL) {
        add_number(out, "id", number_of(walk->trip));
        add_state(walk, L, walk->trip);
        if (walk->visit->question->subject == PERI_ASK_STACK)
            add_stack(out, L, walk->trip);
    }
    end_line(walk);
    return 0;
}

void peri_inspect_worker(struct peri_vm *vm, struct peri_task *trip, struct peri_list *link)
{
    struct visit *visit = peri_container_of(link, struct visit, link);
    struct peri_buf lines = {0};
    struct walk walk = {.visit = visit, .vm = vm, .trip = trip, .out = &lines};
    if (visit->question->subject == PERI_ASK_CANCEL) {
        cancel_in_vm(&walk);
    } else {
        call(&walk, walk_trip);
        call(&walk, walk_tasks);
    }
    answer(visit, &lines);
    peri_buf_deinit(&lines);
}
