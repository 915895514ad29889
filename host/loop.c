#include "loop.h"

#include "crash.h"
#include "develop.h"
#include "exchange.h"
#include "generation.h"
#include "inspect.h"
#include "log.h"
#include "server.h"
#include "slice.h"

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

static void cut_conn(struct peri_conn *conn)
{
    if (conn->exchange == NULL || !peri_exchange_cut(conn->exchange))
        peri_conn_close(conn);
}

static void cut_conns(struct peri_loop *loop)
{
    struct peri_list *next = NULL;
    for (struct peri_list *at = loop->conns.next; at != &loop->conns; at = next) {
        next = at->next;
        cut_conn(peri_container_of(at, struct peri_conn, link));
    }
}

static void on_given_up(struct peri_timer *timer)
{
    struct peri_loop *loop = peri_container_of(timer, struct peri_loop, grace);
    unsigned tasks = peri_generation_tasks(loop);
    if (tasks > 0) /* otherwise it is clients that do not close */
        peri_log_error("loop %u: %u cancelled tasks did not end in time", loop->index, tasks);
    uv_stop(&loop->uv);
}

static void cut(struct peri_loop *loop)
{
    cut_conns(loop);
    peri_generation_cancel(loop, CLEANUP_MS, "the server stops");
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
    uint64_t grace = loop->vm != NULL ? loop->vm->app.limits.shutdown_grace_ms : 0;
    peri_timer_start(&loop->timers, timer, uv_now(&loop->uv) + grace);
    end_if_empty(loop);
}

static void resume_listeners(struct peri_loop *loop)
{
    for (unsigned i = 0; i < loop->listener_count; i++)
        peri_listener_resume(&loop->listeners[i]);
}

static void close_listeners(struct peri_loop *loop)
{
    for (unsigned i = 0; i < loop->listener_count; i++)
        peri_listener_close(&loop->listeners[i]);
}

static void stop(struct peri_loop *loop, int level)
{
    if (!loop->stopping) {
        loop->stopping = true;
        if (loop->server->develop != NULL)
            peri_develop_wake(loop, true);
        close_listeners(loop);
        if (loop->vm != NULL)
            peri_background_stop(loop->vm);
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
        peri_generation_tasks(loop) > 0)
        return;
    uv_stop(&loop->uv);
}

void peri_loop_cut(struct peri_loop *loop)
{
    cut_conns(loop);
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

static void take_visits(struct peri_loop *loop)
{
    struct peri_list visits;
    peri_list_init(&visits);
    pthread_mutex_lock(&loop->inbox_mutex);
    peri_list_take(&visits, &loop->visits);
    pthread_mutex_unlock(&loop->inbox_mutex);
    struct peri_list *link;
    while ((link = peri_list_pop(&visits)) != NULL)
        peri_inspect_loop(loop, link);
}

static void on_wake(uv_async_t *async)
{
    struct peri_loop *loop = async->data;
    if (atomic_load(&loop->beat) != atomic_load(&loop->server->beat)) {
        peri_metrics_publish(loop, atomic_load(&loop->server->beat_ns));
        atomic_store(&loop->beat, atomic_load(&loop->server->beat));
    }
    struct peri_generation *arriving = atomic_exchange(&loop->arriving, NULL);
    if (arriving != NULL)
        peri_generation_adopt(arriving, loop);
    peri_generation_follow(loop);
    peri_generation_tend(loop);
    if (loop->server->develop != NULL)
        peri_develop_wake(loop, false);
    take_inbox(loop);
    take_visits(loop);
    if (loop->vm != NULL && !atomic_load(&loop->server->short_of_room))
        resume_listeners(loop);
    int level = atomic_load(&loop->stop_level);
    if (level > 0)
        stop(loop, level);
}

/* --- turns of connections ----------------------------------------------------------------------
 */

static void on_idle(uv_idle_t *idle)
{
    (void) idle; /* running at all is what it is for */
}

static void on_check(uv_check_t *check)
{
    struct peri_loop *loop = check->data;
    peri_conn_serve_turns(loop);
    if (!peri_list_empty(&loop->turns))
        return;
    uv_check_stop(check);
    uv_idle_stop(&loop->without_delay);
}

void peri_loop_has_turns(struct peri_loop *loop)
{
    uv_check_start(&loop->serve_turns, on_check);
    uv_idle_start(&loop->without_delay, on_idle);
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

void peri_loop_post_visit(struct peri_loop *loop, struct peri_list *visit)
{
    pthread_mutex_lock(&loop->inbox_mutex);
    peri_list_append(&loop->visits, visit);
    pthread_mutex_unlock(&loop->inbox_mutex);
    uv_async_send(&loop->wake);
}

void peri_loop_post_stop(struct peri_loop *loop, int level)
{
    atomic_store(&loop->stop_level, level);
    uv_async_send(&loop->wake);
}

void peri_loop_post_generation(struct peri_loop *loop, struct peri_generation *generation)
{
    atomic_store(&loop->arriving, generation);
    uv_async_send(&loop->wake);
}

void peri_loop_post_change(struct peri_loop *loop)
{
    uv_async_send(&loop->wake);
}

void peri_loop_conn_closed(struct peri_loop *loop)
{
    atomic_fetch_sub_explicit(&loop->conn_count, 1, memory_order_relaxed);
    peri_server_conn_closed(loop->server);
    end_if_empty(loop);
}

void peri_loop_tasks_ended(struct peri_loop *loop)
{
    if (loop->stopping)
        end_if_empty(loop);
}

/* --- life --------------------------------------------------------------------------------------
 */

int peri_loop_open(struct peri_loop *loop, struct peri_server *server, unsigned index)
{
    *loop = (struct peri_loop){.server = server, .config = server->config, .index = index};
    peri_list_init(&loop->conns);
    peri_list_init(&loop->turns);
    peri_list_init(&loop->vms);
    peri_list_init(&loop->listeners_to_news);
    peri_list_init(&loop->free_exchanges);
    peri_list_init(&loop->visits);
    pthread_mutex_init(&loop->inbox_mutex, NULL);
    loop->read_buffer = malloc(PERI_READ_BUFFER_SIZE);
    int rc = peri_scratch_open(&loop->scratch);
    if (rc != 0 || loop->read_buffer == NULL)
        return UV_ENOMEM;

    rc = uv_loop_init(&loop->uv);
    if (rc != 0)
        return rc;
    loop->uv_open = true;
    peri_timers_open(&loop->timers, &loop->uv);
    uv_check_init(&loop->uv, &loop->serve_turns);
    uv_idle_init(&loop->uv, &loop->without_delay);
    loop->serve_turns.data = loop;
    loop->wake.data = loop;
    return uv_async_init(&loop->uv, &loop->wake, on_wake);
}

static void *loop_main(void *arg)
{
    struct peri_loop *loop = arg;
    char name[16]; /* what top -H shows */
    snprintf(name, sizeof(name), "loop %u", loop->index);
    pthread_setname_np(pthread_self(), name);
    int rc = peri_watchdog_open(peri_slice_overran);
    if (rc != 0)
        peri_log_error("loop %u: handlers that compute cannot be interrupted: %s", loop->index,
                       uv_strerror(rc));
    peri_crash_of_loop(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    peri_watchdog_close();
    return NULL;
}

int peri_loop_start(struct peri_loop *loop)
{
    const struct peri_sockets *sockets = loop->server->sockets;
    loop->listeners = calloc(sockets->count, sizeof(*loop->listeners));
    if (loop->listeners == NULL)
        return UV_ENOMEM;
    for (unsigned i = 0; i < sockets->count; i++) {
        int rc = peri_listener_open(&loop->listeners[i], loop, sockets->list[i].fd);
        if (rc < 0)
            return rc;
        loop->listener_count = i + 1;
    }
    return -pthread_create(&loop->thread, NULL, loop_main, loop);
}

int peri_loop_close(struct peri_loop *loop)
{
    int rc = 0;
    if (loop->uv_open) {
        close_listeners(loop);
        take_inbox(loop);
        take_visits(loop);
        cut_conns(loop);
        peri_timer_stop(&loop->timers, &loop->grace);
        peri_timer_stop(&loop->timers, &loop->develop_timer);
        uv_run(&loop->uv, UV_RUN_NOWAIT); /* closes connections, ends what was cancelled */
        if (peri_generation_tasks(loop) > 0)
            return UV_ETIMEDOUT;
        peri_watchdog_open(peri_slice_overran); /* another thread than the loop's, as a rule */
        peri_generation_close(loop);
        peri_watchdog_close();
        peri_timers_close(&loop->timers);
        uv_close((uv_handle_t *) &loop->serve_turns, NULL);
        uv_close((uv_handle_t *) &loop->without_delay, NULL);
        uv_close((uv_handle_t *) &loop->wake, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        peri_generation_free(loop);
        rc = uv_loop_close(&loop->uv);
    }
    peri_exchange_free_pool(loop);
    peri_buf_deinit(&loop->out);
    peri_scratch_close(&loop->scratch);
    free(loop->read_buffer);
    free(loop->listeners);
    pthread_mutex_destroy(&loop->inbox_mutex);
    return rc;
}
