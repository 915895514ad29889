#include "server.h"

#include "control.h"
#include "crash.h"
#include "develop.h"
#include "generation.h"
#include "log.h"
#include "reload.h"
#include "store.h"
#include "supervised.h"
#include "watch.h"
#include "worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATIENCE_MS 2500 /* beyond the grace: cancelled tasks may clean up for a second of it */
#define RESERVED_DESCRIPTORS 16 /* beyond those of the loops: log, libuv, files of the app */

void peri_server_conn_closed(struct peri_server *server)
{
    atomic_fetch_sub(&server->connections, 1);
    if (!atomic_load_explicit(&server->short_of_room, memory_order_relaxed))
        return;
    atomic_store(&server->short_of_room, false);
    for (unsigned i = 0; i < server->loop_count; i++)
        uv_async_send(&server->loops[i].wake);
}

struct peri_loop *peri_server_pick_loop(struct peri_server *server, struct peri_loop *self)
{
    struct peri_loop *best = self;
    unsigned least = atomic_load_explicit(&self->conn_count, memory_order_relaxed);
    for (unsigned i = 0; i < server->loop_count; i++) {
        struct peri_loop *loop = &server->loops[i];
        unsigned count = atomic_load_explicit(&loop->conn_count, memory_order_relaxed);
        if (count < least) {
            least = count;
            best = loop;
        }
    }
    return best;
}

/* The app that is served. On the server's own thread, which alone replaces it. */
static const struct peri_app *current_app(const struct peri_server *server)
{
    const struct peri_generation *generation = atomic_load(&server->generation);
    return generation != NULL ? &generation->vms[0]->app : NULL;
}

void peri_server_make_room(struct peri_server *server, const struct peri_app *app)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            getrlimit(RLIMIT_NOFILE, &limit);
    }
    uint64_t reserved = RESERVED_DESCRIPTORS + 6 * (uint64_t) server->loop_count;
    uint64_t room = limit.rlim_cur > reserved + 8 ? limit.rlim_cur - reserved : 8;
    uint64_t asked = app->limits.max_connections;
    atomic_store(&server->max_connections, asked > 0 && asked < room ? asked : room);
}

/* --- signals -----------------------------------------------------------------------------------
 */

struct signals {
    uv_loop_t uv;
    uv_signal_t term;
    uv_signal_t interrupt;
    uv_async_t ended;
    uv_poll_t supervisor; /* when there is one: it ends when the supervisor does */
    uv_timer_t beat;
    uv_timer_t drain;
    uv_timer_t patience; /* for loops that do not come back from Lua to be told */
    struct peri_server *server;
    struct peri_reload reload;
    struct peri_watch watch;      /* of the app's files, in development */
    struct peri_control *control; /* NULL: the operator cannot ask */
    bool watching;
    bool announced;    /* the log has said where it serves */
    char changed[128]; /* what made it load the app again */
    int level;
    int code; /* that the process will exit with */
};

static void on_patience_over(uv_timer_t *timer)
{
    (void) timer;
    peri_log_error("a loop does not stop: it is busy in a handler; ending without it");
    peri_log_close();
    _exit(1);
}

static void stop(struct signals *signals, int level)
{
    signals->level = level;
    uv_timer_stop(&signals->drain);
    peri_sockets_close(signals->server->sockets); /* who connects from now on is refused */
    peri_reload_stop(&signals->reload);
    const struct peri_app *app = current_app(signals->server);
    uint64_t grace = app != NULL && level == 1 ? app->limits.shutdown_grace_ms : 0;
    peri_workers_stop_by(uv_hrtime() + grace * 1000000);
    uv_timer_start(&signals->patience, on_patience_over, grace + PATIENCE_MS, 0);
    for (unsigned i = 0; i < signals->server->loop_count; i++)
        peri_loop_post_stop(&signals->server->loops[i], signals->level);
}

static void on_drained(uv_timer_t *timer)
{
    stop(timer->data, 1);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct signals *signals = signal->data;
    const struct peri_app *app = current_app(signals->server);
    bool first = !atomic_exchange(&signals->server->draining, true);
    (void) number;
    if (signals->level == 0 && first && app != NULL && app->limits.drain_ms > 0)
        uv_timer_start(&signals->drain, on_drained, app->limits.drain_ms, 0);
    else if (signals->level < 2)
        stop(signals, signals->level + 1);
}

/* --- versions of the app -----------------------------------------------------------------------
 */

static void banner(const struct peri_server *server, const struct peri_app *app)
{
    if (atomic_load(&server->generation)->number == 0) {
        peri_log_info("%s shows what is wrong, until the app loads",
                      server->sockets->count > 0 ? server->sockets->list[0].name : "the server");
        return;
    }
    struct peri_buf text = {0};
    peri_buf_addf(&text, "%s on ", app->title != NULL ? app->title : "an app");
    for (unsigned i = 0; i < server->sockets->count; i++)
        peri_buf_addf(&text, "%s%s", i > 0 ? ", " : "", server->sockets->list[i].name);
    peri_buf_addf(&text, " (version " PERIGEE_VERSION ", %u loop%s, %zu operation%s",
                  server->loop_count, server->loop_count == 1 ? "" : "s", app->operation_count,
                  app->operation_count == 1 ? "" : "s");
    const char *url = server->sockets->count > 0 ? server->sockets->list[0].name : "";
    if (app->docs != NULL && strncmp(url, "http", 4) == 0)
        peri_buf_addf(&text, ", docs at %s%s", url, app->docs);
    peri_log_info("%.*s)%s", (int) text.len, text.data,
                  server->config->dev ? "; loaded again when its files change" : "");
    peri_buf_deinit(&text);
}

static void on_first(struct signals *signals, const struct peri_app *app)
{
    /* Whoever reads the banner may rely on the supervisor. */
    peri_supervised_ready(app->limits.drain_ms + app->limits.shutdown_grace_ms);
    banner(signals->server, app);
    signals->announced = true;
}

static void on_reloaded(struct signals *signals, const struct peri_app *app)
{
    const char *changed = signals->changed;
    peri_log_info("reloaded in %.0f ms%s%s%s: %s, %zu operation%s",
                  peri_reload_ms(&signals->reload), *changed != '\0' ? " (" : "", changed,
                  *changed != '\0' ? ")" : "", app->title != NULL ? app->title : "an app",
                  app->operation_count, app->operation_count == 1 ? "" : "s");
}

static void on_load_failed(struct signals *signals, int code, const char *error)
{
    if (current_app(signals->server) != NULL) {
        bool served = atomic_load(&signals->server->generation)->number > 0;
        peri_log_error("%s%s", error, served ? "\n\n  the version before it keeps serving" : "");
        return;
    }
    peri_log_error("%s", error);
    if (signals->server->develop != NULL) {
        peri_reload_nothing(&signals->reload);
    } else {
        signals->code = code == UV_ENOENT ? 2 : 1;
        stop(signals, 2);
    }
}

static void on_load_ended(struct peri_reload *reload, int code, const char *error)
{
    struct signals *signals = peri_container_of(reload, struct signals, reload);
    const struct peri_app *app = current_app(signals->server);
    struct peri_develop *develop = signals->server->develop;
    uint64_t number = app != NULL ? atomic_load(&signals->server->generation)->number : 0;
    if (develop != NULL && (error != NULL || number > 0))
        peri_develop_tell(develop, signals->server, reload->loads, error);
    for (size_t at = 0; at < reload->files.len && signals->watching;
         at += strlen(reload->files.data + at) + 1)
        peri_watch_add(&signals->watch, reload->files.data + at);
    if (signals->announced)
        peri_supervised_reloaded();
    if (error != NULL) {
        on_load_failed(signals, code, error);
    } else if (app != NULL) {
        peri_app_warn(app);
        if (signals->announced)
            on_reloaded(signals, app);
        else
            on_first(signals, app);
    }
    signals->changed[0] = '\0';
}

/* --- the supervisor ----------------------------------------------------------------------------
 */

/* Tells the supervisor when every loop has answered since the last time, and asks anew. */
static void on_beat(uv_timer_t *timer)
{
    struct signals *signals = timer->data;
    struct peri_server *server = signals->server;
    unsigned beat = atomic_load(&server->beat);
    for (unsigned i = 0; i < server->loop_count; i++) {
        if (atomic_load(&server->loops[i].beat) != beat)
            return;
    }
    peri_supervised_tick();
    atomic_store(&server->beat_ns, uv_hrtime());
    atomic_store(&server->beat, beat + 1);
    for (unsigned i = 0; i < server->loop_count; i++)
        uv_async_send(&server->loops[i].wake);
}

static void on_supervisor(uv_poll_t *poll, int status, int events)
{
    struct signals *signals = poll->data;
    (void) status;
    (void) events;
    uv_poll_stop(poll);
    peri_log_error("the supervisor is gone: finishing what is in flight");
    if (signals->level == 0)
        stop(signals, 1);
}

static void open_supervisor(struct signals *signals)
{
    if (peri_supervised_fd() < 0)
        return;
    uv_poll_init(&signals->uv, &signals->supervisor, peri_supervised_fd());
    uv_timer_init(&signals->uv, &signals->beat);
    signals->supervisor.data = signals;
    signals->beat.data = signals;
    uv_poll_start(&signals->supervisor, UV_READABLE | UV_DISCONNECT, on_supervisor);
    uv_timer_start(&signals->beat, on_beat, PERI_TICK_MS, PERI_TICK_MS);
}

static void close_supervisor(struct signals *signals)
{
    if (peri_supervised_fd() < 0)
        return;
    uv_close((uv_handle_t *) &signals->supervisor, NULL);
    uv_close((uv_handle_t *) &signals->beat, NULL);
}

/* --- development ------------------------------------------------------------------------------
 */

static void on_files_changed(struct peri_watch *watch, const char *file, size_t others)
{
    struct signals *signals = peri_container_of(watch, struct signals, watch);
    if (others > 0)
        snprintf(signals->changed, sizeof(signals->changed), "%.90s and %zu more", file, others);
    else
        snprintf(signals->changed, sizeof(signals->changed), "%.120s", file);
    peri_reload_request(&signals->reload);
}

/* --- their end ---------------------------------------------------------------------------------
 */

static void on_ended(uv_async_t *async)
{
    uv_stop(async->loop);
}

/* Waits for the loops beside the signal loop, because joining blocks. */
static void *join_main(void *arg)
{
    struct signals *signals = arg;
    for (unsigned i = 0; i < signals->server->loop_count; i++)
        pthread_join(signals->server->loops[i].thread, NULL);
    uv_async_send(&signals->ended);
    return NULL;
}

/* Watches the signals from here on; they take effect in wait_for_end(). */
static void open_signals(struct signals *signals, struct peri_server *server)
{
    *signals = (struct signals){.server = server};
    uv_loop_init(&signals->uv);
    uv_signal_init(&signals->uv, &signals->term);
    uv_signal_init(&signals->uv, &signals->interrupt);
    uv_async_init(&signals->uv, &signals->ended, on_ended);
    uv_timer_init(&signals->uv, &signals->patience);
    uv_timer_init(&signals->uv, &signals->drain);
    signals->drain.data = signals;
    signals->term.data = signals;
    signals->interrupt.data = signals;
    uv_signal_start(&signals->term, on_signal, SIGTERM);
    uv_signal_start(&signals->interrupt, on_signal, SIGINT);
    open_supervisor(signals);
    peri_reload_open(&signals->reload, server, &signals->uv, on_load_ended);
    signals->control = peri_control_open(server, &signals->uv);
}

static void wait_for_end(struct signals *signals)
{
    pthread_t joiner;
    pthread_create(&joiner, NULL, join_main, signals);
    uv_run(&signals->uv, UV_RUN_DEFAULT);
    pthread_join(joiner, NULL);

    peri_reload_close(&signals->reload);
    peri_control_close(signals->control);
    if (signals->watching)
        peri_watch_close(&signals->watch);
    uv_close((uv_handle_t *) &signals->term, NULL);
    uv_close((uv_handle_t *) &signals->interrupt, NULL);
    uv_close((uv_handle_t *) &signals->ended, NULL);
    uv_close((uv_handle_t *) &signals->patience, NULL);
    uv_close((uv_handle_t *) &signals->drain, NULL);
    close_supervisor(signals);
    uv_run(&signals->uv, UV_RUN_DEFAULT);
    uv_loop_close(&signals->uv);
}

/* --- life --------------------------------------------------------------------------------------
 */

static void close_loops(struct peri_server *server)
{
    for (unsigned i = 0; i < server->loop_count; i++) {
        int rc = peri_loop_close(&server->loops[i]);
        if (rc == UV_ETIMEDOUT) { /* other threads work with what closing would free */
            peri_log_error("ending without the tasks that do not end");
            peri_log_close();
            _exit(1);
        }
        if (rc != 0)
            peri_log_error("loop %u ended with an open handle: please report this", i);
    }
    free(server->loops);
    if (!peri_workers_wait(PATIENCE_MS)) {
        peri_log_error(
            "a worker does not stop: it is busy in a threaded function; ending without it");
        peri_log_close();
        _exit(1);
    }
}

/* Returns 0 or a UV_E* code. */
static int open_loops(struct peri_server *server)
{
    unsigned count = (unsigned) server->config->loops;
    server->loops = calloc(count, sizeof(*server->loops));
    if (server->loops == NULL)
        return UV_ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        server->loop_count = i + 1;
        int rc = peri_loop_open(&server->loops[i], server, i);
        if (rc != 0) {
            peri_log_error("cannot open loop %u: %s", i, uv_strerror(rc));
            return rc;
        }
    }
    return 0;
}

/* In development: from now on changes of the app's files load it again. Returns 0 or a UV_E* code,
 * when there is nothing to watch. */
static int open_development(struct signals *signals, const struct peri_config *config)
{
    int rc = peri_watch_open(&signals->watch, &signals->uv, config->app, on_files_changed);
    signals->watching = true;
    if (rc != 0)
        peri_log_error("no app at '%s': %s", config->app, uv_strerror(rc));
    return rc;
}

int peri_server_run(const struct peri_config *config, struct peri_sockets *sockets)
{
    struct peri_server server = {.config = config, .sockets = sockets};
    int code = 1;

    signal(SIGPIPE, SIG_IGN);
    peri_crash_open();
    peri_store_set_max(config->shared_memory_bytes);
    if (peri_log_open(config->log) != 0)
        return code;
    if (config->dev)
        server.develop = peri_develop_new();
    if (open_loops(&server) != 0)
        goto end_loops;

    struct signals signals;
    open_signals(&signals, &server);
    for (unsigned i = 0; i < server.loop_count; i++) {
        int rc = peri_loop_start(&server.loops[i]);
        if (rc != 0) {
            peri_log_error("cannot start loop %u: %s", i, uv_strerror(rc));
            peri_log_close();
            _exit(1); /* the loops that run already have nothing to finish */
        }
    }
    if (config->dev && open_development(&signals, config) != 0) {
        signals.code = 2;
        stop(&signals, 2);
    } else {
        peri_reload_request(&signals.reload);
    }
    wait_for_end(&signals);
    code = signals.code;

end_loops:
    close_loops(&server);
    peri_sockets_close(sockets);
    peri_develop_free(server.develop);
    peri_log_close();
    return code;
}
