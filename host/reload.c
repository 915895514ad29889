#include "reload.h"

#include "generation.h"
#include "log.h"

#include <signal.h>
#include <stdlib.h>

#define STUCK_MS 1000 /* beyond the limit, at which Lua is interrupted: this load is stuck in C */

/* A load in its thread. Both sides hold on to it; the last one frees it. */
struct peri_load {
    pthread_t thread;
    const struct peri_config *config;
    struct peri_generation *generation;
    uv_async_t *progress;
    pthread_mutex_t mutex;
    bool left_behind; /* nobody waits for it any more; under the mutex */
    atomic_bool over;
    int code;
    struct peri_buf error;
};

static void begin(struct peri_reload *reload);
static void on_limit(uv_timer_t *timer);

/* --- the loading thread ------------------------------------------------------------------------
 */

static void load_free(struct peri_load *load)
{
    if (load->generation != NULL)
        peri_generation_release(load->generation);
    pthread_mutex_destroy(&load->mutex);
    peri_buf_deinit(&load->error);
    free(load);
}

static void *load_main(void *arg)
{
    struct peri_load *load = arg;
    pthread_setname_np(pthread_self(), "load");
    load->code = peri_generation_load(load->generation, load->config, &load->error);
    pthread_mutex_lock(&load->mutex);
    bool left_behind = load->left_behind;
    atomic_store(&load->over, true);
    if (!left_behind)
        uv_async_send(load->progress);
    pthread_mutex_unlock(&load->mutex);
    if (left_behind)
        load_free(load);
    return NULL;
}

/* --- how it ends -------------------------------------------------------------------------------
 */

static void end(struct peri_reload *reload, int code, const char *error)
{
    uv_timer_stop(&reload->limit);
    if (reload->closing)
        return;
    reload->ended(reload, code, error);
    if (reload->again && !reload->closing)
        begin(reload);
}

/* The one step: every request that begins after this store begins in the new version. */
static void make_current(struct peri_reload *reload, struct peri_generation *generation)
{
    struct peri_server *server = reload->server;
    peri_server_make_room(server, &generation->vms[0]->app); /* before a loop accepts the first */
    struct peri_generation *before = atomic_exchange(&server->generation, generation);
    for (unsigned i = 0; i < server->loop_count; i++)
        peri_loop_post_change(&server->loops[i]);
    if (before != NULL)
        peri_generation_release(before);
    end(reload, 0, NULL);
}

static void give_up(struct peri_reload *reload, struct peri_generation *generation)
{
    atomic_store(&generation->given_up, true);
    for (unsigned i = 0; i < reload->server->loop_count; i++)
        peri_loop_post_change(&reload->server->loops[i]);
}

static void on_started(struct peri_reload *reload)
{
    struct peri_generation *generation = reload->starting;
    reload->starting = NULL;
    /* Every loop has reported: nobody else writes the error. */
    bool late = atomic_load(&generation->given_up);
    if (generation->error.len == 0 && !late && !reload->closing) {
        make_current(reload, generation);
        return;
    }
    give_up(reload, generation);
    if (late) {
        generation->error.len = 0;
        peri_buf_add_lit(&generation->error,
                         "the app took too long to start (--load-timeout-ms): a hook given to "
                         "app:on_start() did not end");
    }
    peri_buf_add_byte(&generation->error, '\0');
    end(reload, UV_EINVAL, generation->error.data);
    peri_generation_release(generation);
}

/* Takes the reference. */
static void start(struct peri_reload *reload, struct peri_generation *generation)
{
    struct peri_server *server = reload->server;
    reload->starting = generation;
    generation->started = &reload->progress;
    atomic_store(&generation->starting, server->loop_count);
    uv_timer_start(&reload->limit, on_limit, server->config->load_timeout_ms, 0);
    for (unsigned i = 0; i < server->loop_count; i++)
        peri_loop_post_generation(&server->loops[i], generation);
}

static void on_loaded(struct peri_reload *reload)
{
    struct peri_load *load = reload->load;
    reload->load = NULL;
    pthread_join(load->thread, NULL);
    struct peri_vm *first = load->generation->vms[0];
    peri_buf_deinit(&reload->files);
    if (first != NULL) {
        reload->files = first->files;
        first->files = (struct peri_buf){0};
    }
    if (load->code != 0 || reload->closing) {
        peri_buf_add_byte(&load->error, '\0');
        end(reload, load->code, load->error.data);
        load_free(load);
        return;
    }
    struct peri_generation *generation = load->generation;
    load->generation = NULL;
    load_free(load);
    start(reload, generation);
}

static void on_progress(uv_async_t *async)
{
    struct peri_reload *reload = async->data;
    if (reload->load != NULL && atomic_load(&reload->load->over))
        on_loaded(reload);
    else if (reload->starting != NULL && atomic_load(&reload->starting->starting) == 0)
        on_started(reload);
}

static void leave_behind(struct peri_reload *reload)
{
    struct peri_load *load = reload->load;
    pthread_mutex_lock(&load->mutex);
    bool over = atomic_load(&load->over);
    load->left_behind = !over;
    pthread_mutex_unlock(&load->mutex);
    if (over) /* just now: its message is on the way */
        return;
    pthread_detach(load->thread);
    reload->load = NULL;
    end(reload, UV_ETIMEDOUT,
        "the app took too long to load and cannot be interrupted: it is inside a C function");
}

static void on_limit(uv_timer_t *timer)
{
    struct peri_reload *reload = timer->data;
    if (reload->load != NULL)
        leave_behind(reload);
    else if (reload->starting != NULL) /* cancelled, the hooks end with an error */
        give_up(reload, reload->starting);
}

/* --- how it begins -----------------------------------------------------------------------------
 */

static struct peri_load *load_new(struct peri_reload *reload)
{
    struct peri_server *server = reload->server;
    struct peri_load *load = calloc(1, sizeof(*load));
    if (load == NULL)
        return NULL;
    load->config = server->config;
    load->progress = &reload->progress;
    pthread_mutex_init(&load->mutex, NULL);
    load->generation = peri_generation_new(++reload->loads, server->loop_count);
    if (load->generation == NULL)
        goto fail;
    uint64_t limit_ns = server->config->load_timeout_ms * 1000000;
    atomic_store(&load->generation->load_until, uv_hrtime() + limit_ns);
    if (pthread_create(&load->thread, NULL, load_main, load) != 0)
        goto fail;
    return load;

fail:
    load_free(load);
    return NULL;
}

static void begin(struct peri_reload *reload)
{
    reload->again = false;
    reload->began_ns = uv_hrtime();
    reload->load = load_new(reload);
    if (reload->load == NULL)
        end(reload, UV_ENOMEM, "out of memory: the app cannot be loaded");
    else
        uv_timer_start(&reload->limit, on_limit, reload->server->config->load_timeout_ms + STUCK_MS,
                       0);
}

void peri_reload_request(struct peri_reload *reload)
{
    if (reload->closing)
        return;
    if (reload->load != NULL || reload->starting != NULL)
        reload->again = true;
    else
        begin(reload);
}

void peri_reload_nothing(struct peri_reload *reload)
{
    struct peri_server *server = reload->server;
    struct peri_generation *generation = peri_generation_new(0, server->loop_count);
    if (generation == NULL || peri_generation_load_nothing(generation, server->config) != 0) {
        if (generation != NULL)
            peri_generation_release(generation);
        end(reload, UV_ENOMEM, "out of memory: nothing can be served");
        return;
    }
    start(reload, generation);
}

double peri_reload_ms(const struct peri_reload *reload)
{
    return (double) (uv_hrtime() - reload->began_ns) / 1e6;
}

static void on_hangup(uv_signal_t *signal, int number)
{
    (void) number;
    peri_reload_request(signal->data);
}

/* --- life --------------------------------------------------------------------------------------
 */

int peri_reload_open(struct peri_reload *reload, struct peri_server *server, uv_loop_t *uv,
                     void (*ended)(struct peri_reload *reload, int code, const char *error))
{
    *reload = (struct peri_reload){.server = server, .ended = ended};
    uv_signal_init(uv, &reload->hangup);
    uv_async_init(uv, &reload->progress, on_progress);
    uv_timer_init(uv, &reload->limit);
    reload->hangup.data = reload;
    reload->progress.data = reload;
    reload->limit.data = reload;
    return uv_signal_start(&reload->hangup, on_hangup, SIGHUP);
}

void peri_reload_stop(struct peri_reload *reload)
{
    reload->closing = true;
    if (reload->load != NULL)
        atomic_store(&reload->load->generation->load_until, 0);
    if (reload->starting != NULL)
        give_up(reload, reload->starting);
}

void peri_reload_close(struct peri_reload *reload)
{
    reload->closing = true;
    struct peri_load *load = reload->load;
    if (load != NULL) {
        atomic_store(&load->generation->load_until, 0);
        struct timespec limit;
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += STUCK_MS / 1000;
        if (pthread_timedjoin_np(load->thread, NULL, &limit) == 0)
            load_free(load);
        reload->load = NULL; /* otherwise the end of the process takes it along */
    }
    if (reload->starting != NULL)
        peri_generation_release(reload->starting);
    reload->starting = NULL;
    struct peri_generation *current = atomic_exchange(&reload->server->generation, NULL);
    if (current != NULL)
        peri_generation_release(current);
    peri_buf_deinit(&reload->files);
    uv_close((uv_handle_t *) &reload->hangup, NULL);
    uv_close((uv_handle_t *) &reload->progress, NULL);
    uv_close((uv_handle_t *) &reload->limit, NULL);
}
