#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* One of the three standard streams while the child is being started. */
struct end {
    int child_fd; /* the child's end, closed after the start; -1 when there is none */
    struct peri_stream *stream;
};

/* A pipe and not libuv's socket pair: what the child opens as /dev/stdout must be one. */
static int open_pipe(uv_loop_t *loop, struct peri_timers *timers, bool child_reads, struct end *end)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return uv_translate_sys_error(errno);
    end->child_fd = fds[child_reads ? 0 : 1];
    end->stream = peri_stream_new(loop, timers, UV_NAMED_PIPE);
    int ours = fds[child_reads ? 1 : 0];
    int rc = uv_pipe_open(&end->stream->uv.pipe, ours);
    if (rc < 0)
        close(ours);
    return rc;
}

static int open_ends(uv_loop_t *loop, struct peri_timers *timers,
                     const enum peri_child_stdio kinds[3], struct end ends[3])
{
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) {
        if (kinds[i] == PERI_CHILD_PIPE)
            rc = open_pipe(loop, timers, i == 0, &ends[i]);
    }
    return rc;
}

static uv_stdio_container_t container(enum peri_child_stdio kind, int fd, int child_fd)
{
    if (kind == PERI_CHILD_DISCARD)
        return (uv_stdio_container_t){.flags = UV_IGNORE}; /* libuv gives it /dev/null */
    return (uv_stdio_container_t){
        .flags = UV_INHERIT_FD,
        .data.fd = kind == PERI_CHILD_INHERIT ? fd : child_fd,
    };
}

static void free_when_done(struct peri_child *child)
{
    if (child->gone && child->closed)
        free(child);
}

static void on_gone(uv_handle_t *handle)
{
    struct peri_child *child = handle->data;
    child->gone = true;
    free_when_done(child);
}

static void on_exit_seen(uv_process_t *process, int64_t code, int signal)
{
    struct peri_child *child = process->data;
    child->has_ended = true;
    child->code = code;
    child->signal = signal;
    uv_close((uv_handle_t *) process, on_gone);
    if (child->ended != NULL)
        child->ended(child, child->owner);
}

static int spawn(uv_loop_t *loop, const struct peri_child_options *options,
                 const struct end ends[3], struct peri_child *child)
{
    enum peri_child_stdio err = options->err;
    bool merge = err == PERI_CHILD_MERGE;
    uv_stdio_container_t stdio[3] = {
        container(options->in, STDIN_FILENO, ends[0].child_fd),
        container(options->out, STDOUT_FILENO, ends[1].child_fd),
        merge ? container(options->out, STDOUT_FILENO, ends[1].child_fd)
              : container(err, STDERR_FILENO, ends[2].child_fd),
    };
    uv_process_options_t start = {
        .exit_cb = on_exit_seen,
        .file = options->args[0],
        .args = (char **) options->args,
        .env = (char **) options->env,
        .cwd = options->cwd,
        .flags = UV_PROCESS_DETACHED, /* a session of its own */
        .stdio_count = 3,
        .stdio = stdio,
    };
    child->process.data = child;
    /* What the host opens is close-on-exec; what it inherited, or a module opened, may be not. */
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    int rc = uv_spawn(loop, &child->process, &start);
    child->pid = rc == 0 ? child->process.pid : 0;
    return rc;
}

int peri_child_start(uv_loop_t *loop, struct peri_timers *timers,
                     const struct peri_child_options *options, struct peri_child **child,
                     struct peri_stream *streams[3])
{
    struct end ends[3] = {{.child_fd = -1}, {.child_fd = -1}, {.child_fd = -1}};
    const enum peri_child_stdio kinds[3] = {options->in, options->out, options->err};
    struct peri_child *started = calloc(1, sizeof(*started));
    if (started == NULL)
        return UV_ENOMEM;
    int rc = open_ends(loop, timers, kinds, ends);
    bool known = rc == 0; /* to libuv */
    if (rc == 0)
        rc = spawn(loop, options, ends, started);
    for (int i = 0; i < 3; i++) {
        if (ends[i].child_fd >= 0)
            close(ends[i].child_fd);
        if (rc < 0 && ends[i].stream != NULL)
            peri_stream_close(ends[i].stream);
        streams[i] = rc == 0 ? ends[i].stream : NULL;
    }
    *child = rc == 0 ? started : NULL;
    if (rc == 0)
        return 0;
    started->closed = true;
    if (known)
        uv_close((uv_handle_t *) &started->process, on_gone);
    else
        free(started);
    return rc;
}

int peri_child_kill(struct peri_child *child, int signal)
{
    if (child->has_ended)
        return UV_ESRCH; /* its number may be another's by now */
    return kill(-child->pid, signal) == 0 ? 0 : uv_translate_sys_error(errno);
}

void peri_child_close(struct peri_child *child)
{
    child->ended = NULL;
    child->closed = true;
    peri_child_kill(child, SIGKILL);
    free_when_done(child);
}
