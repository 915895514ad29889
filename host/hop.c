#include "hop.h"

#include "after.h"
#include "answer.h"
#include "api/api.h"
#include "decode.h"
#include "exchange.h"
#include "locals.h"
#include "log.h"
#include "protect.h"
#include "transfer.h"
#include "vm.h"
#include "worker.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* What a trip brings home, in the first byte of trip->out. */
enum outcome {
    OUTCOME_VALUES, /* transferred values follow */
    OUTCOME_ERROR,  /* two of them: what was raised, and its traceback or nil */
    OUTCOME_ANSWER, /* struct answer_head and what it announces follow */
};

/* A request, followed by its headers, its head, its body and its errand. */
struct image {
    struct peri_request request; /* without pointers that count */
    union peri_address peer;
    uint64_t id;
    size_t body_len;
    size_t errand_len; /* 0: there is none */
    bool final;        /* the errand ends with the handler */
};

struct answer_head {
    uint32_t status;
    uint32_t type_len;
    uint32_t lines_len;    /* header lines, of a whole request */
    uint32_t header_count; /* else name and value of each, behind their lengths */
    size_t body_len;
    bool has_type;
};

struct peri_hop_site {
    struct peri_vm *vm;
    const struct peri_config *config;
    struct peri_exchange exchange;
    struct peri_scratch scratch;
    struct peri_trip *trip;   /* whose request this is; NULL between requests */
    struct peri_after *after; /* of the request that has just ended */
    const char *errand;
    size_t errand_len;
    bool final;
};

/* Their addresses are registry keys of each VM: threaded functions by their number; the last error
 * that came from a worker, and its traceback; the metatable of an error beside its traceback. */
static const char functions_key;
static const char error_key;
static const char trace_key;
static const char traced_key;
static const char traced_now; /* the one that is being made */

/* --- errors on their way home ------------------------------------------------------------------
 */

int peri_hop_traceback(lua_State *L)
{
    peri_protect_note(L);
    if (peri_is_http_error(L, 1) || peri_is_cancelled(L, 1) || peri_is_validation_error(L, 1))
        return 1;
    lua_settop(L, 1);
    peri_protect_blame(L);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traced_now);
    peri_traceback(L); /* not called by Lua: its frame would be in the traceback */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traced_now);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 2);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traced_now);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &traced_key) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &traced_key);
    }
    lua_setmetatable(L, -2);
    return 1;
}

static bool is_traced(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traced_key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Writes the error on top of the stack; one that cannot cross goes as its text. */
static void write_error(lua_State *L, struct peri_buf *out)
{
    if (is_traced(L, -1)) {
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
    } else {
        lua_pushvalue(L, -1);
        lua_pushnil(L);
    }
    out->len = 0;
    peri_buf_add_byte(out, OUTCOME_ERROR);
    if (peri_transfer_write(L, -2, 2, "error", out) == 0)
        return;
    lua_pop(L, 1);
    peri_push_message(L, -2);
    lua_replace(L, -3);
    peri_transfer_write(L, -2, 2, "error", out);
}

/* Raises what stands in the trip. */
static int raise_error(lua_State *L, const struct peri_trip *trip)
{
    peri_transfer_read(L, trip->out.data + 1, trip->out.len - 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &trace_key);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
    return lua_error(L);
}

bool peri_hop_push_trace(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
    bool same = !lua_isnil(L, -1) && lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    if (!same)
        return false;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &trace_key) != LUA_TSTRING) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushstring(L, peri_vm_of(L)->worker == NULL ? "on a worker thread: " : "on its loop: ");
    lua_insert(L, -2);
    lua_concat(L, 2);
    return true;
}

/* A body that raised has run out of memory, as a rule. */
static void check_failed(lua_State *L, const struct peri_trip *trip)
{
    if (trip->failed)
        luaL_error(L, "%s", lua_pushlstring(L, trip->out.data, trip->out.len));
}

/* What the other side came to: pushes the values, or raises the error. */
static int finish_values(lua_State *L, struct peri_trip *trip)
{
    check_failed(L, trip);
    if (*trip->out.data == OUTCOME_ERROR)
        return raise_error(L, trip);
    return peri_transfer_read(L, trip->out.data + 1, trip->out.len - 1);
}

/* --- what is not worth its hop -----------------------------------------------------------------
 */

#define NOT_WORTH                                                                                  \
    "%u times in a row it took %.1f us on a worker and waited for nothing: a plain function "      \
    "would "                                                                                       \
    "cost less than the way there"

static void judge_operation(struct peri_exchange *exchange, const struct peri_trip *trip)
{
    const struct peri_operation *operation = exchange != NULL ? exchange->operation : NULL;
    if (trip->ran_ns == 0 || operation == NULL)
        return;
    uint64_t ns = peri_worth_count(&operation->work->worth, trip->ran_ns, trip->waited);
    if (ns != 0)
        peri_log_warn("%s (%s): " NOT_WORTH, operation->label,
                      operation->source != NULL ? operation->source : "?", PERI_WORTH_TRIPS,
                      (double) ns / 1e3);
}

/* In a threaded_call(). */
static void judge_call(lua_State *L, const struct peri_trip *trip)
{
    struct peri_worth *worth = lua_touserdata(L, lua_upvalueindex(4));
    if (trip->ran_ns == 0 || trip->urgent)
        return;
    uint64_t ns = peri_worth_count(worth, trip->ran_ns, trip->waited);
    if (ns == 0)
        return;
    lua_Debug place;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_getinfo(L, ">S", &place);
    peri_log_warn("the threaded function at %s:%d: " NOT_WORTH, place.short_src, place.linedefined,
                  PERI_WORTH_TRIPS, (double) ns / 1e3);
}

/* --- calls -------------------------------------------------------------------------------------
 */

static int on_call_end(lua_State *L, int status, lua_KContext context)
{
    struct peri_trip *trip = (struct peri_trip *) context;
    trip->out.len = 0;
    if (status == LUA_OK || status == LUA_YIELD) {
        peri_buf_add_byte(&trip->out, OUTCOME_VALUES);
        if (peri_transfer_write(L, 2, lua_gettop(L) - 1, "result", &trip->out) == 0)
            return 0;
    }
    write_error(L, &trip->out);
    return 0;
}

/* What the words of a call begin with; then the caller's task locals, and the arguments. */
struct call_head {
    uint32_t index; /* of the function */
    uint32_t locals_len;
};

/* Adds the task locals, each pair with its length, but for those that cannot cross. */
static void add_locals(lua_State *L, const struct peri_task *task, struct peri_buf *in)
{
    size_t start = in->len;
    luaL_checkstack(L, 8, "task locals");
    peri_locals_push(L, task);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        size_t pair = in->len;
        uint32_t len = 0;
        int top = lua_gettop(L);
        peri_buf_add(in, &len, sizeof(len));
        if (peri_transfer_write(L, top - 1, 2, "local", in) == 0) {
            len = (uint32_t) (in->len - pair - sizeof(len));
            memcpy(in->data + pair, &len, sizeof(len));
        } else {
            in->len = pair;
        }
        lua_settop(L, top);
    }
    lua_pop(L, 1);
    uint32_t all = (uint32_t) (in->len - start);
    memcpy(in->data + start - sizeof(all), &all, sizeof(all));
}

static void take_locals(lua_State *L, const char *at, size_t len)
{
    const char *end = at + len;
    while (at < end) {
        uint32_t pair = 0;
        memcpy(&pair, at, sizeof(pair));
        at += sizeof(pair);
        peri_transfer_read(L, at, pair);
        peri_locals_set(L, peri_task_current(L));
        at += pair;
    }
}

/* The body of a call's trip. */
static int call_main(lua_State *L)
{
    struct peri_trip *trip = lua_touserdata(L, 1);
    struct call_head head;
    const char *at = trip->in.data + sizeof(head);
    memcpy(&head, trip->in.data, sizeof(head));
    lua_settop(L, 0);
    if (head.locals_len > 0)
        take_locals(L, at, head.locals_len);
    at += head.locals_len;
    lua_pushcfunction(L, peri_hop_traceback);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
    lua_rawgeti(L, -1, head.index);
    lua_remove(L, -2);
    int count = peri_transfer_read(L, at, (size_t) (trip->in.data + trip->in.len - at));
    int status = lua_pcallk(L, count, LUA_MULTRET, 1, (lua_KContext) trip, on_call_end);
    return on_call_end(L, status, (lua_KContext) trip);
}

static int after_plain_call(lua_State *L, int status, lua_KContext context)
{
    (void) status;
    (void) context;
    return lua_gettop(L);
}

static int call_plainly(lua_State *L)
{
    int count = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, count, LUA_MULTRET, 0, after_plain_call);
    return lua_gettop(L);
}

/* Begins a trip with the call of the function whose number is the second upvalue. */
static struct peri_trip *begin_call(lua_State *L)
{
    struct call_head head = {.index = (uint32_t) lua_tointeger(L, lua_upvalueindex(2))};
    const struct peri_task *task = peri_task_current(L);
    struct peri_trip *trip = peri_trip_take(peri_vm_of(L));
    trip->body = call_main;
    peri_buf_add(&trip->in, &head, sizeof(head));
    if (task != NULL && task->has_locals)
        add_locals(L, task, &trip->in);
    if (peri_transfer_write(L, 1, lua_gettop(L), "argument", &trip->in) != 0) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
        lua_error(L);
    }
    return trip;
}

static int finish_call(lua_State *L, struct peri_trip *trip)
{
    judge_call(L, trip);
    return finish_values(L, trip);
}

/* Upvalues: the function, its number, whether its calls are urgent, and a struct peri_worth. */
static int threaded_call(lua_State *L)
{
    if (peri_vm_of(L)->workers == NULL)
        return call_plainly(L);
    const struct peri_task *task = peri_task_current(L);
    if (task != NULL && task->guest)
        return luaL_error(L, "a threaded function cannot be called from a function of "
                             "perigee.on_loop: its worker waits meanwhile; call it on the worker, "
                             "before or after that one");
    struct peri_trip *trip = begin_call(L);
    trip->urgent = lua_toboolean(L, lua_upvalueindex(3));
    return peri_trip_await(L, trip, finish_call);
}

/* Upvalues: the function, its number. */
static int loop_call(lua_State *L)
{
    struct peri_worker *worker = peri_vm_of(L)->worker;
    if (worker == NULL)
        return call_plainly(L);
    struct peri_mailbox *origin = peri_worker_origin(worker);
    if (origin == NULL)
        return luaL_error(L, "a function of perigee.on_loop was called on a worker that runs "
                             "nothing for a loop: the app loads, starts or stops there");
    return peri_trip_visit(L, begin_call(L), origin, finish_values);
}

/* Keeps the function at 1 under the number at 2. */
static void keep_function(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_Integer index = luaL_checkinteger(L, 2);
    int top = lua_gettop(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key) == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
    }
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, index);
    lua_settop(L, top);
}

int peri_hop_wrap(lua_State *L)
{
    lua_settop(L, 3);
    keep_function(L);
    *(struct peri_worth *) lua_newuserdatauv(L, sizeof(struct peri_worth), 0) =
        (struct peri_worth){0};
    lua_pushcclosure(L, threaded_call, 4);
    return 1;
}

int peri_hop_wrap_loop(lua_State *L)
{
    lua_settop(L, 2);
    keep_function(L);
    lua_pushcclosure(L, loop_call, 2);
    return 1;
}

static int request_main(lua_State *L);

/* --- a request on its way out ------------------------------------------------------------------
 */

/* Begins a trip with the request; whoever has an errand adds it behind. */
static struct peri_trip *begin_request(struct peri_exchange *exchange)
{
    struct peri_trip *trip = peri_trip_take(exchange->vm);
    const struct peri_request *request = &exchange->request;
    char id[PERI_REQUEST_ID];
    peri_exchange_id(exchange, id); /* numbers it: both sides call it the same in the log */
    struct image image = {
        .request = *request,
        .peer = exchange->conn != NULL ? exchange->conn->peer : exchange->peer,
        .id = exchange->id,
        .body_len = exchange->form != NULL ? 0 : exchange->body_len,
    };
    peri_buf_add(&trip->in, &image, sizeof(image));
    peri_buf_add(&trip->in, request->headers, request->header_count * sizeof(*request->headers));
    peri_buf_add(&trip->in, request->base, request->head_len);
    peri_buf_add(&trip->in, exchange->body_at, image.body_len);
    return trip;
}

static void drop_form(void *cargo)
{
    peri_form_free(cargo);
}

/* The parts of an answer in a trip's bytes. */
struct parcel {
    struct answer_head head;
    const char *type;
    const char *headers; /* lines, or pairs */
    const char *body;
};

static void unpack(const struct peri_trip *trip, struct parcel *parcel)
{
    const char *at = trip->out.data + 1;
    memcpy(&parcel->head, at, sizeof(parcel->head));
    parcel->type = at + sizeof(parcel->head);
    parcel->body = parcel->type + parcel->head.type_len;
    parcel->headers = parcel->body + parcel->head.body_len;
}

/* Sends what the worker has made of a whole request. */
static int finish_whole(lua_State *L, struct peri_trip *trip)
{
    struct peri_exchange *exchange = lua_touserdata(L, 1);
    check_failed(L, trip);
    judge_operation(exchange, trip);
    if (trip->out.len == 0)
        return luaL_error(L, "the worker gave no answer");
    if (*trip->out.data == OUTCOME_ERROR) {
        exchange->logged = true;
        return raise_error(L, trip);
    }
    struct parcel parcel;
    unpack(trip, &parcel);
    struct peri_answer answer = {
        .status = parcel.head.status,
        .type = parcel.head.has_type ? parcel.type : NULL,
        .type_len = parcel.head.type_len,
        .lines = parcel.head.lines_len > 0 ? parcel.headers : NULL,
        .body = parcel.body,
        .body_len = parcel.head.body_len,
    };
    peri_answer_send(NULL, exchange, &answer);
    return 0;
}

static int send_whole(lua_State *L)
{
    struct peri_exchange *exchange = lua_touserdata(L, 1);
    struct peri_trip *trip = begin_request(exchange);
    trip->body = request_main;
    if (exchange->form != NULL) {
        trip->cargo = exchange->form;
        trip->drop = drop_form;
        exchange->form = NULL;
    }
    return peri_trip_await(L, trip, finish_whole);
}

static int on_whole_end(lua_State *L, int status, lua_KContext context)
{
    if (status != LUA_OK && status != LUA_YIELD)
        return peri_exchange_lead_error(L, (struct peri_exchange *) context);
    return 0;
}

int peri_hop_whole(lua_State *L, struct peri_exchange *exchange)
{
    lua_settop(L, 0);
    lua_pushcfunction(L, peri_traceback);
    lua_pushnil(L); /* no request object */
    lua_pushcfunction(L, send_whole);
    lua_pushlightuserdata(L, exchange);
    int status = lua_pcallk(L, 1, 0, 0, (lua_KContext) exchange, on_whole_end);
    return on_whole_end(L, status, (lua_KContext) exchange);
}

static uint32_t take_length(const char **at)
{
    uint32_t len = 0;
    memcpy(&len, *at, sizeof(len));
    *at += sizeof(len);
    return len;
}

/* Pushes the response that an errand's answer is. */
static int push_response(lua_State *L, const struct parcel *parcel)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, parcel->head.status);
    lua_setfield(L, -2, "status");
    if (parcel->head.has_type) {
        lua_pushlstring(L, parcel->type, parcel->head.type_len);
        lua_setfield(L, -2, "content_type");
    }
    lua_pushlstring(L, parcel->body, parcel->head.body_len);
    lua_setfield(L, -2, "body");
    lua_createtable(L, (int) parcel->head.header_count, 0);
    const char *at = parcel->headers;
    for (uint32_t i = 1; i <= parcel->head.header_count; i++) {
        lua_createtable(L, 2, 0);
        for (int k = 1; k <= 2; k++) {
            uint32_t len = take_length(&at);
            lua_pushlstring(L, at, len);
            lua_rawseti(L, -2, k);
            at += len;
        }
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "headers");
    peri_response_mark(L);
    return 1;
}

static int finish_errand(lua_State *L, struct peri_trip *trip)
{
    if (trip->ran_ns != 0)
        judge_operation(peri_request_exchange(L, 1), trip);
    if (trip->failed || trip->out.len == 0 || *trip->out.data != OUTCOME_ANSWER)
        return finish_values(L, trip);
    struct parcel parcel;
    unpack(trip, &parcel);
    return push_response(L, &parcel);
}

int peri_hop_send(lua_State *L)
{
    struct peri_exchange *exchange = peri_request_exchange(L, 1);
    bool final = lua_toboolean(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (exchange == NULL)
        return luaL_error(L, "this request has ended: its dependencies cannot be resolved");
    struct peri_trip *trip = begin_request(exchange);
    trip->body = request_main;
    size_t before = trip->in.len;
    if (peri_transfer_write(L, 3, 1, "the request's part", &trip->in) != 0)
        return lua_error(L);
    size_t errand_len = trip->in.len - before;
    memcpy(trip->in.data + offsetof(struct image, errand_len), &errand_len, sizeof(errand_len));
    memcpy(trip->in.data + offsetof(struct image, final), &final, sizeof(final));
    if (exchange->form != NULL) {
        trip->cargo = peri_form_copy(exchange->form);
        trip->drop = drop_form;
        if (trip->cargo == NULL)
            return luaL_error(L, "no descriptor is left for the files of the form");
    }
    return peri_trip_await(L, trip, finish_errand);
}

/* --- a request on a worker ---------------------------------------------------------------------
 */

struct peri_hop_site *peri_hop_site_new(struct peri_vm *vm, const struct peri_config *config)
{
    struct peri_hop_site *site = calloc(1, sizeof(*site));
    if (site == NULL || peri_scratch_open(&site->scratch) != 0) {
        fputs("perigee: out of memory (a worker)\n", stderr);
        abort();
    }
    site->vm = vm;
    site->config = config;
    return site;
}

const struct peri_config *peri_hop_config(const struct peri_hop_site *site)
{
    return site->config;
}

void peri_hop_site_free(struct peri_hop_site *site)
{
    if (site == NULL)
        return;
    peri_scratch_close(&site->scratch);
    peri_buf_deinit(&site->exchange.path);
    free(site);
}

/* The trip's bytes become the site's exchange, which points into them. */
static void receive(struct peri_hop_site *site, struct peri_trip *trip)
{
    struct image image;
    char *at = trip->in.data;
    memcpy(&image, at, sizeof(image));
    at += sizeof(image);

    struct peri_buf path = site->exchange.path;
    path.len = 0;
    struct peri_exchange *exchange = &site->exchange;
    *exchange = (struct peri_exchange){
        .vm = site->vm,
        .scratch = &site->scratch,
        .site = site,
        .request = image.request,
        .path = path,
        .peer = image.peer,
        .id = image.id,
        .form = trip->cargo,
        .body_len = image.body_len,
        .complete = true,
        .http.head_done = true,
    };
    trip->cargo = NULL;
    exchange->request.headers = (struct peri_header *) (void *) at;
    at += image.request.header_count * sizeof(struct peri_header);
    exchange->request.base = at;
    at += image.request.head_len;
    exchange->body_at = at;
    at += image.body_len;
    site->trip = trip;
    site->errand = at;
    site->errand_len = image.errand_len;
    site->final = image.final;
}

/* The body of a request's trip. */
static int request_main(lua_State *L)
{
    struct peri_hop_site *site = peri_worker_site(peri_vm_of(L)->worker);
    struct peri_exchange *exchange = &site->exchange;
    receive(site, lua_touserdata(L, 1));
    exchange->task = peri_task_current(L);
    peri_exchange_match(exchange);
    if (exchange->operation == NULL)
        return luaL_error(L, "the worker does not know the operation");
    if (peri_decode_is_due(exchange))
        return peri_decode_handle(L, exchange);
    if (exchange->operation->inputs != NULL && !peri_exchange_validate(exchange))
        return 0;
    return peri_exchange_handle(L, exchange);
}

bool peri_hop_has_errand(const struct peri_exchange *exchange)
{
    return exchange->site != NULL && exchange->site->errand_len > 0;
}

bool peri_hop_push_errand(lua_State *L, struct peri_exchange *exchange)
{
    if (!peri_hop_has_errand(exchange))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->operation->hop);
    lua_pushvalue(L, PERI_REQUEST_INDEX);
    peri_transfer_read(L, exchange->site->errand, exchange->site->errand_len);
    return true;
}

bool peri_hop_reports(lua_State *L, struct peri_exchange *exchange, bool failed)
{
    struct peri_hop_site *site = exchange->site;
    if (!peri_hop_has_errand(exchange) || (site->final && !failed))
        return false;
    struct peri_buf *out = &site->trip->out;
    out->len = 0;
    peri_buf_add_byte(out, OUTCOME_VALUES);
    if (failed || peri_transfer_write(L, -1, 1, "result", out) != 0)
        write_error(L, out);
    return true;
}

void peri_hop_fail(lua_State *L, struct peri_exchange *exchange)
{
    write_error(L, &exchange->site->trip->out);
}

/* Writes the pairs at `index` of L, but for the content type, which stands by itself. */
static uint32_t add_pairs(lua_State *L, int index, struct peri_buf *out)
{
    uint32_t written = 0;
    lua_Unsigned count = lua_rawlen(L, index);
    for (lua_Unsigned i = 1; i <= count; i++) {
        int top = lua_gettop(L);
        lua_rawgeti(L, index, (lua_Integer) i);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        if (strcasecmp(lua_tostring(L, -2), "content-type") != 0) {
            for (int k = -2; k <= -1; k++) {
                size_t len = 0;
                const char *text = lua_tolstring(L, k, &len);
                uint32_t len32 = (uint32_t) len;
                peri_buf_add(out, &len32, sizeof(len32));
                peri_buf_add(out, text, len);
            }
            written++;
        }
        lua_settop(L, top);
    }
    return written;
}

int peri_hop_answer(lua_State *L, struct peri_exchange *exchange, const struct peri_answer *answer)
{
    struct peri_hop_site *site = exchange->site;
    struct peri_buf *out = &site->trip->out;
    struct answer_head head = {
        .status = answer->status,
        .type_len = (uint32_t) answer->type_len,
        .body_len = answer->body_len,
        .has_type = answer->type != NULL,
    };
    out->len = 0;
    peri_buf_add_byte(out, OUTCOME_ANSWER);
    peri_buf_add(out, &head, sizeof(head));
    if (answer->type != NULL)
        peri_buf_add(out, answer->type, answer->type_len);
    peri_buf_add(out, answer->body, answer->body_len);
    size_t headers_at = out->len;
    if (answer->headers != 0 && peri_answer_add_headers(L, answer->headers, out) != 0)
        return -1;
    if (peri_hop_has_errand(exchange)) { /* they were sound; Lua wants them as pairs */
        out->len = headers_at;
        if (answer->headers != 0)
            head.header_count = add_pairs(L, answer->headers, out);
    } else {
        if (answer->lines != NULL)
            peri_buf_add_str(out, answer->lines);
        head.lines_len = (uint32_t) (out->len - headers_at);
        peri_buf_add_byte(out, '\0');
    }
    memcpy(out->data + 1, &head, sizeof(head));
    exchange->status = (uint16_t) answer->status;
    exchange->answered = true;
    return 0;
}

void peri_hop_ended(struct peri_hop_site *site)
{
    if (site->trip == NULL)
        return;
    site->trip = NULL;
    site->after = peri_after_take(&site->exchange);
    peri_exchange_task_ended(&site->exchange);
}

void peri_hop_after(struct peri_hop_site *site)
{
    peri_after_start(site->after);
    site->after = NULL;
    peri_form_free(site->exchange.form);
    site->exchange.form = NULL;
}
