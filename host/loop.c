#include "loop.h"

#include "api/api.h"
#include "exchange.h"
#include "log.h"
#include "server.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <unistd.h>

#define LAST_WORDS_MS 50 /* a stopping loop reads what clients have just sent before it says no */
#define CUT_MS 1000      /* cancelled tasks must have ended by then */
#define CLEANUP_MS 800   /* and may clean up for so long */

static void end_if_empty(struct peri_loop *loop);

/* --- stopping ----------------------------------------------------------------------------------
 */

static void stop_conns(struct peri_loop *loop)
{
    struct peri_list *next = NULL;
    for (struct peri_list *at = loop->conns.next; at != &loop->conns; at = next) {
        next = at->next;
        peri_conn_stop(peri_container_of(at, struct peri_conn, link));
    }
}

static void cut_conns(struct peri_loop *loop)
{
    struct peri_list *next = NULL;
    for (struct peri_list *at = loop->conns.next; at != &loop->conns; at = next) {
        next = at->next;
        peri_conn_close(peri_container_of(at, struct peri_conn, link));
    }
}

static void on_given_up(struct peri_timer *timer)
{
    struct peri_loop *loop = peri_container_of(timer, struct peri_loop, grace);
    peri_log_error("loop %u: %u cancelled tasks did not end in time", loop->index,
                   loop->vm->tasks.alive);
    uv_stop(&loop->uv);
}

static void cut(struct peri_loop *loop)
{
    cut_conns(loop);
    loop->vm->tasks.cleanup_ms = CLEANUP_MS;
    peri_tasks_cancel(&loop->vm->tasks, "the server stops");
    loop->grace.fire = on_given_up;
    peri_timer_start(&loop->timers, &loop->grace, uv_now(&loop->uv) + CUT_MS);
    end_if_empty(loop);
}

static void on_grace_over(struct peri_timer *timer)
{
    cut(peri_container_of(timer, struct peri_loop, grace));
}

static void on_last_words(struct peri_timer *timer)
{
    struct peri_loop *loop = peri_container_of(timer, struct peri_loop, grace);
    stop_conns(loop);
    loop->grace.fire = on_grace_over;
    peri_timer_start(&loop->timers, timer,
                     uv_now(&loop->uv) + loop->vm->app.limits.shutdown_grace_ms);
    end_if_empty(loop);
}

static void stop(struct peri_loop *loop, int level)
{
    if (!loop->stopping) {
        loop->stopping = true;
        peri_listener_close(&loop->listener);
        loop->grace.fire = on_last_words;
        peri_timer_start(&loop->timers, &loop->grace, uv_now(&loop->uv) + LAST_WORDS_MS);
    }
    if (level >= 2)
        cut(loop);
}

/* Closes what still runs once the last connection and the last task are gone. */
static void end_if_empty(struct peri_loop *loop)
{
    if (!loop->stopping || loop->grace.fire == on_last_words || !peri_list_empty(&loop->conns) ||
        loop->vm->tasks.alive > 0)
        return;
    uv_stop(&loop->uv);
}

/* --- messages from other threads ---------------------------------------------------------------
 */

static void take_inbox(struct peri_loop *loop)
{
    pthread_mutex_lock(&loop->inbox_mutex);
    struct peri_inbox_item *items = loop->inbox;
    size_t count = loop->inbox_count;
    loop->inbox = NULL;
    loop->inbox_count = 0;
    loop->inbox_cap = 0;
    pthread_mutex_unlock(&loop->inbox_mutex);
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_sub_explicit(&loop->conn_count, 1, memory_order_relaxed);
        peri_conn_open(loop, items[i].fd, &items[i].peer);
    }
    free(items);
}

static void on_wake(uv_async_t *async)
{
    struct peri_loop *loop = async->data;
    take_inbox(loop);
    if (!atomic_load(&loop->server->short_of_room))
        peri_listener_resume(&loop->listener);
    int level = atomic_load(&loop->stop_level);
    if (level > 0)
        stop(loop, level);
}

void peri_loop_post_socket(struct peri_loop *loop, int fd, const union peri_address *peer)
{
    pthread_mutex_lock(&loop->inbox_mutex);
    if (loop->inbox_count == loop->inbox_cap) {
        size_t cap = loop->inbox_cap == 0 ? 16 : loop->inbox_cap * 2;
        struct peri_inbox_item *items = realloc(loop->inbox, cap * sizeof(*items));
        if (items == NULL) {
            pthread_mutex_unlock(&loop->inbox_mutex);
            close(fd);
            peri_server_conn_closed(loop->server);
            return;
        }
        loop->inbox = items;
        loop->inbox_cap = cap;
    }
    loop->inbox[loop->inbox_count++] = (struct peri_inbox_item){fd, *peer};
    pthread_mutex_unlock(&loop->inbox_mutex);
    atomic_fetch_add_explicit(&loop->conn_count, 1, memory_order_relaxed);
    uv_async_send(&loop->wake);
}

void peri_loop_post_stop(struct peri_loop *loop, int level)
{
    atomic_store(&loop->stop_level, level);
    uv_async_send(&loop->wake);
}

void peri_loop_conn_closed(struct peri_loop *loop)
{
    atomic_fetch_sub_explicit(&loop->conn_count, 1, memory_order_relaxed);
    peri_server_conn_closed(loop->server);
    end_if_empty(loop);
}

void peri_loop_task_ended(struct peri_loop *loop)
{
    if (loop->stopping)
        end_if_empty(loop);
}

/* --- life --------------------------------------------------------------------------------------
 */

int peri_loop_open(struct peri_loop *loop, struct peri_server *server, unsigned index,
                   struct peri_buf *error)
{
    *loop = (struct peri_loop){.server = server, .config = server->config, .index = index};
    peri_list_init(&loop->conns);
    peri_list_init(&loop->free_exchanges);
    pthread_mutex_init(&loop->inbox_mutex, NULL);
    loop->read_buffer = malloc(PERI_READ_BUFFER_SIZE);
    loop->vm = calloc(1, sizeof(*loop->vm));
    loop->result = peri_result_new();
    peri_result_on_file(loop->result, peri_file_push);

    int rc = uv_loop_init(&loop->uv);
    if (rc == 0 && loop->read_buffer != NULL && loop->vm != NULL) {
        peri_timers_open(&loop->timers, &loop->uv);
        uv_async_init(&loop->uv, &loop->wake, on_wake);
        loop->wake.data = loop;
        rc = peri_vm_open(loop->vm, &loop->uv, &loop->timers);
    }
    if (rc != 0 || loop->read_buffer == NULL || loop->vm == NULL) {
        peri_buf_addf(error, "cannot start loop %u: %s", index,
                      rc != 0 ? uv_strerror(rc) : "out of memory");
        return UV_ENOMEM;
    }
    rc = peri_vm_load(loop->vm, server->config, error);
    if (rc != 0)
        return rc;
    if (loop->vm->app.start != LUA_NOREF &&
        peri_vm_call(loop->vm, loop->vm->app.start, 0, NULL, error) != 0)
        return UV_EINVAL;
    loop->started = true;
    const struct peri_limits *limits = &loop->vm->app.limits;
    loop->http_limits = (struct peri_http_limits){
        .max_head_bytes = (uint32_t) limits->max_head_bytes,
        .max_headers = (uint32_t) limits->max_headers,
        .max_target_bytes = (uint32_t) limits->max_target_bytes,
        .max_chunk_ext_bytes = (uint32_t) limits->max_chunk_ext_bytes,
    };
    return 0;
}

static void *loop_main(void *arg)
{
    struct peri_loop *loop = arg;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

int peri_loop_start(struct peri_loop *loop, int fd)
{
    int rc = peri_listener_open(&loop->listener, loop, fd);
    if (rc < 0)
        return rc;
    return -pthread_create(&loop->thread, NULL, loop_main, loop);
}

/* What the app opened for its life is closed, behind the last request. */
static void stop_app(struct peri_loop *loop)
{
    struct peri_buf error = {0};
    if (loop->started && loop->vm->app.stop != LUA_NOREF &&
        peri_vm_call(loop->vm, loop->vm->app.stop, loop->vm->app.limits.shutdown_grace_ms, NULL,
                     &error) != 0)
        peri_log_error("the app did not stop cleanly: %.*s", (int) error.len, error.data);
    peri_buf_deinit(&error);
}

int peri_loop_close(struct peri_loop *loop)
{
    peri_listener_close(&loop->listener);
    take_inbox(loop);
    cut_conns(loop);
    peri_timer_stop(&loop->timers, &loop->grace);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* closes connections, ends what was cancelled */
    stop_app(loop);
    peri_vm_close(loop->vm);
    peri_timers_close(&loop->timers);
    uv_close((uv_handle_t *) &loop->wake, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    peri_exchange_free_pool(loop);
    peri_buf_deinit(&loop->out);
    peri_buf_deinit(&loop->body);
    peri_buf_deinit(&loop->text);
    peri_gather_deinit(&loop->gather);
    peri_result_free(loop->result);
    free(loop->read_buffer);
    free(loop->vm);
    pthread_mutex_destroy(&loop->inbox_mutex);
    return uv_loop_close(&loop->uv);
}
