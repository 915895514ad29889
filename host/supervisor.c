#include "supervisor.h"

#include "buf.h"
#include "log.h"
#include "supervised.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define MAX_PROCESSES 8                 /* one serves, one starts, the others drain */
#define HEALTHY_MS 10000                /* a server that lived so long has not failed to start */
#define MAX_DELAY_MS 30000              /* between two tries */
#define KILL_BEYOND_MS 5000             /* a server ends within its grace and 2.5 s */
#define OVERSLEPT_MS 1000               /* beyond its time: we were stopped, or the machine was */
#define RESUME_ENV "PERIGEE_SUPERVISOR" /* "SOCKET,SOCKET,...;STAGE PID CONTROL GRACE;..." */

enum stage {
    STAGE_NONE, /* a free entry */
    STAGE_STARTING,
    STAGE_SERVING,
    STAGE_LEAVING,
};

struct process {
    enum stage stage;
    pid_t pid;
    int control;
    uint64_t since;  /* when it was started */
    uint64_t ticked; /* when it last ticked; 0 before it was ready */
    uint64_t grace_ms;
    uint64_t kill_at; /* while leaving */
    bool stalled;     /* killed by us */
    bool upgrade;     /* a newer binary than ours */
    bool hangup;      /* SIGHUP came while it started */
    char last[512];   /* what it served when it crashed */
};

struct supervisor {
    const struct peri_config *config;
    struct peri_sockets *sockets;
    char **argv;
    char path[4096]; /* of the binary; after an upgrade of the file, the newer one */
    struct process processes[MAX_PROCESSES];
    int signals;
    sigset_t mask; /* the signals as they were */
    bool stopping;
    bool ever_ready;
    unsigned failures;    /* one after the other */
    uint64_t restart_at;  /* 0: nothing is due */
    uint64_t watchdog_ms; /* the service manager's; 0: none */
    uint64_t watchdog_at;
    int exit_code;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* --- the service manager -----------------------------------------------------------------------
 */

/* sd_notify(3): one datagram to the socket it names. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, strlen(path));
    socklen_t len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (address.sun_path[0] == '@') /* an abstract one */
        address.sun_path[0] = '\0';
    else
        len++;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *) &address, len);
    close(fd);
}

static void notify_reloading(void)
{
    char text[80];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long) now_ms() * 1000);
    notify(text);
}

static void open_watchdog(struct supervisor *supervisor)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != getpid()))
        return;
    supervisor->watchdog_ms = strtoull(usec, NULL, 10) / 2000; /* twice as often as it asks for */
}

/* --- processes ---------------------------------------------------------------------------------
 */

static struct process *find(struct supervisor *supervisor, enum stage stage)
{
    for (int i = 0; i < MAX_PROCESSES; i++) {
        if (supervisor->processes[i].stage == stage)
            return &supervisor->processes[i];
    }
    return NULL;
}

static bool has_any(struct supervisor *supervisor)
{
    return find(supervisor, STAGE_STARTING) != NULL || find(supervisor, STAGE_SERVING) != NULL ||
           find(supervisor, STAGE_LEAVING) != NULL;
}

static void keep_across_exec(int fd)
{
    fcntl(fd, F_SETFD, 0);
}

static void close_on_exec(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Writes them as a list for the process that inherits them. */
static void pass_sockets(const struct peri_sockets *sockets, struct peri_buf *text)
{
    for (unsigned i = 0; i < sockets->count; i++) {
        keep_across_exec(sockets->list[i].fd);
        peri_buf_addf(text, "%s%d", i > 0 ? "," : "", sockets->list[i].fd);
    }
}

/* In the child. Does not return. */
static void become_server(struct supervisor *supervisor, const char *path, int control)
{
    struct peri_buf text = {0};
    peri_buf_addf(&text, "%d;", control);
    pass_sockets(supervisor->sockets, &text);
    peri_buf_add_byte(&text, '\0');
    setenv(PERI_SUPERVISED_ENV, text.data, 1);
    keep_across_exec(control);
    unsetenv("NOTIFY_SOCKET"); /* the supervisor speaks for all */
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    setpgid(0, 0); /* Ctrl-C is for the supervisor, which passes it on once */
    sigprocmask(SIG_SETMASK, &supervisor->mask, NULL);
    execv(path, supervisor->argv);
    fprintf(stderr, "perigee: cannot start %s: %s\n", path, strerror(errno));
    _exit(127);
}

/* Starts a server process. Returns NULL, with a line in the log, when the system has no room. */
static struct process *start(struct supervisor *supervisor, const char *path)
{
    struct process *process = find(supervisor, STAGE_NONE);
    int pair[2];
    if (process == NULL) {
        peri_log_error("too many server processes are still ending: try again later");
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        peri_log_error("cannot start a server process: %s", strerror(errno));
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_server(supervisor, path, pair[1]);
    close(pair[1]);
    if (pid < 0) {
        peri_log_error("cannot start a server process: %s", strerror(errno));
        close(pair[0]);
        return NULL;
    }
    *process = (struct process){
        .stage = STAGE_STARTING,
        .pid = pid,
        .control = pair[0],
        .since = now_ms(),
        .grace_ms = supervisor->config->limits.shutdown_grace_ms,
    };
    return process;
}

/* `waited_ms` is how long nobody has been served already: who stalls again and again is started
 * seldom enough for as long as that is the longer time. */
static void plan_restart(struct supervisor *supervisor, uint64_t waited_ms)
{
    uint64_t delay = 0;
    if (supervisor->failures > 0) {
        unsigned shift = supervisor->failures - 1;
        delay = shift >= 5 ? MAX_DELAY_MS : (uint64_t) 1000 << shift;
    }
    delay = delay > waited_ms ? delay - waited_ms : 0;
    supervisor->failures++;
    supervisor->restart_at = now_ms() + delay;
    if (delay > 0)
        peri_log_error("the next try is in %llu s", (unsigned long long) (delay + 999) / 1000);
}

static void restart(struct supervisor *supervisor)
{
    supervisor->restart_at = 0;
    if (start(supervisor, "/proc/self/exe") == NULL)
        plan_restart(supervisor, 0);
}

static void ask_to_leave(struct process *process)
{
    process->stage = STAGE_LEAVING;
    process->kill_at = now_ms() + process->grace_ms + KILL_BEYOND_MS;
    kill(process->pid, SIGTERM);
}

/* --- upgrade -----------------------------------------------------------------------------------
 */

static void upgrade(struct supervisor *supervisor)
{
    if (supervisor->stopping || find(supervisor, STAGE_STARTING) != NULL) {
        peri_log_warn("SIGUSR2 does nothing now: a server process is starting or ending");
        return;
    }
    peri_log_info("upgrade: starting %s", supervisor->path);
    struct process *process = start(supervisor, supervisor->path);
    if (process != NULL)
        process->upgrade = true;
}

/* The server of the new binary serves: the supervisor becomes that binary, too. */
static void become_new(struct supervisor *supervisor)
{
    struct peri_buf text = {0};
    pass_sockets(supervisor->sockets, &text);
    for (int i = 0; i < MAX_PROCESSES; i++) {
        const struct process *process = &supervisor->processes[i];
        if (process->stage == STAGE_NONE || process->control < 0)
            continue;
        keep_across_exec(process->control);
        peri_buf_addf(&text, ";%d %d %d %llu", process->stage, (int) process->pid, process->control,
                      (unsigned long long) process->grace_ms);
    }
    peri_buf_add_byte(&text, '\0');
    setenv(RESUME_ENV, text.data, 1);
    peri_buf_deinit(&text);
    execv(supervisor->path, supervisor->argv); /* signals stay blocked, so none is lost */
    peri_log_error("the supervisor stays as it was: cannot start %s: %s", supervisor->path,
                   strerror(errno));
    unsetenv(RESUME_ENV);
    for (int i = 0; i < MAX_PROCESSES; i++) {
        if (supervisor->processes[i].stage != STAGE_NONE && supervisor->processes[i].control >= 0)
            close_on_exec(supervisor->processes[i].control);
    }
}

/* Whether a path is one that this config binds: it was ours before the supervisor became new. */
static bool is_own_path(const struct peri_config *config, const char *path)
{
    for (unsigned i = 0; i < config->endpoint_count; i++) {
        if (config->endpoints[i].kind == PERI_ENDPOINT_UNIX &&
            strcmp(config->endpoints[i].text, path) == 0)
            return true;
    }
    return false;
}

int peri_supervisor_resume(struct peri_sockets *sockets, const struct peri_config *config,
                           char *error, size_t error_size)
{
    const char *text = getenv(RESUME_ENV);
    if (text == NULL)
        return 0;
    char *at = NULL;
    *sockets = (struct peri_sockets){0};
    do {
        int rc = peri_sockets_adopt(sockets, (int) strtol(text, &at, 10), error, error_size);
        if (rc != 0)
            return rc;
        struct peri_socket *item = &sockets->list[sockets->count - 1];
        if (strncmp(item->name, "unix:", 5) == 0 && is_own_path(config, item->name + 5))
            peri_socket_own(item, item->name + 5);
        text = at + 1;
    } while (*at == ',');
    return 1;
}

/* Takes the running servers over from the supervisor that this one was. */
static void take_over(struct supervisor *supervisor, const char *text)
{
    for (int i = 0; i < MAX_PROCESSES && (text = strchr(text, ';')) != NULL; i++) {
        struct process *process = &supervisor->processes[i];
        char *at = NULL;
        process->stage = (enum stage) strtol(++text, &at, 10);
        process->pid = (pid_t) strtol(at, &at, 10);
        process->control = (int) strtol(at, &at, 10);
        process->grace_ms = strtoull(at, &at, 10);
        process->since = process->ticked = now_ms();
        process->kill_at = process->since + process->grace_ms + KILL_BEYOND_MS;
        close_on_exec(process->control);
    }
    supervisor->ever_ready = true;
    unsetenv(RESUME_ENV);
    peri_log_info("upgrade: done (version " PERIGEE_VERSION ")");
}

/* --- what servers say --------------------------------------------------------------------------
 */

static void on_ready(struct supervisor *supervisor, struct process *process, const char *grace)
{
    process->grace_ms = strtoull(grace, NULL, 10);
    process->ticked = now_ms();
    if (process->stage != STAGE_STARTING)
        return;
    struct process *old = find(supervisor, STAGE_SERVING);
    process->stage = STAGE_SERVING;
    supervisor->ever_ready = true;
    notify("READY=1");
    if (process->hangup) /* it may have read the files before they were changed */
        kill(process->pid, SIGHUP);
    process->hangup = false;
    if (old != NULL)
        ask_to_leave(old);
    if (process->upgrade) {
        process->upgrade = false;
        become_new(supervisor);
    }
}

/* Takes one message; returns whether there was one. */
static bool hear(struct supervisor *supervisor, struct process *process)
{
    char text[600];
    ssize_t len = recv(process->control, text, sizeof(text) - 1, MSG_DONTWAIT);
    if (len <= 0) {
        if (len == 0 || (errno != EAGAIN && errno != EINTR)) { /* its end is seen by waitpid() */
            close(process->control);
            process->control = -1;
        }
        return false;
    }
    text[len] = '\0';
    if (strncmp(text, "ready ", 6) == 0)
        on_ready(supervisor, process, text + 6);
    else if (strcmp(text, "tick") == 0)
        process->ticked = now_ms();
    else if (strcmp(text, "reloaded") == 0)
        notify("READY=1");
    else if (strncmp(text, "last ", 5) == 0)
        snprintf(process->last, sizeof(process->last), "%.500s", text + 5);
    return true;
}

/* --- what becomes of them ----------------------------------------------------------------------
 */

static void log_end(const struct process *process, int status)
{
    const char *request = process->last[0] != '\0' ? process->last : NULL;
    if (process->stalled && process->ticked == 0)
        peri_log_error("the server process %d did not start in %llu s: it was killed",
                       (int) process->pid, (unsigned long long) (now_ms() - process->since) / 1000);
    else if (process->stalled)
        peri_log_error("the server process %d did not tick for %llu s (stuck in C, or stopped): it "
                       "was killed",
                       (int) process->pid,
                       (unsigned long long) (now_ms() - process->ticked) / 1000);
    else if (WIFSIGNALED(status))
        peri_log_error("the server process %d was killed by signal %d (%s)%s%s", (int) process->pid,
                       WTERMSIG(status), strsignal(WTERMSIG(status)),
                       request != NULL ? "; it was serving " : "", request != NULL ? request : "");
    else
        peri_log_error("the server process %d ended by itself with exit code %d",
                       (int) process->pid, WEXITSTATUS(status));
}

static int exit_code_of(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void on_end(struct supervisor *supervisor, struct process *process, int status)
{
    while (process->control >= 0 && hear(supervisor, process)) {
        /* its last words */
    }
    if (process->control >= 0) /* somebody else holds its end, a child of it */
        close(process->control);
    struct process ended = *process;
    *process = (struct process){0};

    if (ended.stage == STAGE_LEAVING) {
        bool loading = WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM; /* not stopped: ended */
        if (status != 0 && !loading)
            log_end(&ended, status);
        supervisor->exit_code = loading ? 0 : exit_code_of(status);
    } else if (ended.upgrade) {
        log_end(&ended, status);
        peri_log_error("upgrade: the new binary did not start; the old one serves on");
    } else if (!supervisor->ever_ready) {
        if (WIFSIGNALED(status)) /* otherwise it has said why it cannot start */
            log_end(&ended, status);
        supervisor->stopping = true;
        supervisor->exit_code = exit_code_of(status);
    } else {
        log_end(&ended, status);
        uint64_t now = now_ms();
        if (now - ended.since >= HEALTHY_MS)
            supervisor->failures = 0;
        if (!supervisor->stopping)
            plan_restart(supervisor, ended.stalled && ended.ticked != 0 ? now - ended.ticked : 0);
    }
}

static void reap(struct supervisor *supervisor)
{
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) { /* as process 1 there are others, too */
        for (int i = 0; i < MAX_PROCESSES; i++) {
            struct process *process = &supervisor->processes[i];
            if (process->stage != STAGE_NONE && process->pid == pid)
                on_end(supervisor, process, status);
        }
    }
}

/* --- signals -----------------------------------------------------------------------------------
 */

static void stop(struct supervisor *supervisor)
{
    if (!supervisor->stopping)
        notify("STOPPING=1");
    supervisor->stopping = true;
    supervisor->restart_at = 0;
    /* Who connects once the server closes them, too, is refused. */
    peri_sockets_stop(supervisor->sockets);
    for (int i = 0; i < MAX_PROCESSES; i++) {
        if (supervisor->processes[i].stage != STAGE_NONE)
            ask_to_leave(&supervisor->processes[i]);
    }
}

/* The server loads the app anew; so does one that is starting, as soon as it can. One that is to be
 * started need not wait any longer: what kept it from starting may be mended. */
static void hang_up(struct supervisor *supervisor)
{
    struct process *serving = find(supervisor, STAGE_SERVING);
    struct process *starting = find(supervisor, STAGE_STARTING);
    if (starting != NULL)
        starting->hangup = true;
    if (serving != NULL) {
        notify_reloading();
        kill(serving->pid, SIGHUP);
    } else if (supervisor->restart_at != 0) {
        supervisor->restart_at = now_ms();
    }
}

static void on_signal(struct supervisor *supervisor, int number)
{
    switch (number) {
    case SIGTERM:
    case SIGINT:
        stop(supervisor);
        break;
    case SIGHUP:
        hang_up(supervisor);
        break;
    case SIGUSR2:
        upgrade(supervisor);
        break;
    default: /* SIGCHLD: reaped after every wait */
        break;
    }
}

static void open_signals(struct supervisor *supervisor)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        sigaddset(&ours, numbers[i]);
    sigprocmask(SIG_BLOCK, &ours, &supervisor->mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        sigdelset(&supervisor->mask, numbers[i]); /* also when we were started with them blocked */
    supervisor->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
}

static void take_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signals, &info, sizeof(info)) == sizeof(info))
        on_signal(supervisor, (int) info.ssi_signo);
}

/* --- time --------------------------------------------------------------------------------------
 */

static void earlier(uint64_t *next, uint64_t due)
{
    if (due != 0 && (*next == 0 || due < *next))
        *next = due;
}

/* When the supervisor loses patience with a process; 0: never. */
static uint64_t end_of_patience(const struct supervisor *supervisor, const struct process *process)
{
    if (process->stalled)
        return 0;
    switch (process->stage) {
    case STAGE_STARTING: /* it loads, then its hooks run, each within the limit */
        return process->since + 2 * supervisor->config->load_timeout_ms + KILL_BEYOND_MS;
    case STAGE_SERVING:
        return supervisor->config->stall_timeout_ms > 0
                   ? process->ticked + supervisor->config->stall_timeout_ms
                   : 0;
    case STAGE_LEAVING:
        return process->kill_at;
    default:
        return 0;
    }
}

/* Does what is due. Returns how long nothing is, in milliseconds; -1 for ever. */
static int do_what_is_due(struct supervisor *supervisor)
{
    uint64_t now = now_ms();
    uint64_t next = 0;
    if (supervisor->restart_at != 0 && now >= supervisor->restart_at)
        restart(supervisor);
    earlier(&next, supervisor->restart_at);

    for (int i = 0; i < MAX_PROCESSES; i++) {
        struct process *process = &supervisor->processes[i];
        uint64_t due = end_of_patience(supervisor, process);
        if (due == 0 || now < due) {
            earlier(&next, due);
            continue;
        }
        process->stalled = process->stage != STAGE_LEAVING;
        process->kill_at = 0;
        kill(process->pid, SIGKILL);
    }

    if (supervisor->watchdog_ms != 0 && supervisor->ever_ready) { /* also between two tries */
        if (now >= supervisor->watchdog_at) {
            notify("WATCHDOG=1");
            supervisor->watchdog_at = now + supervisor->watchdog_ms;
        }
        earlier(&next, supervisor->watchdog_at);
    }
    if (next == 0)
        return -1;
    now = now_ms();
    return next > now ? (int) (next - now) : 0;
}

/* While we did not run (stopped, frozen with the machine) nobody's ticks were heard, and the
 * servers may have been stopped, too: their time begins anew. */
static void forgive(struct supervisor *supervisor)
{
    uint64_t now = now_ms();
    for (int i = 0; i < MAX_PROCESSES; i++) {
        struct process *process = &supervisor->processes[i];
        if (process->stage == STAGE_STARTING)
            process->since = now;
        else if (process->stage == STAGE_SERVING)
            process->ticked = now;
    }
}

static void wait_for_events(struct supervisor *supervisor, int timeout_ms)
{
    struct pollfd polled[MAX_PROCESSES + 1];
    polled[0] = (struct pollfd){.fd = supervisor->signals, .events = POLLIN};
    for (int i = 0; i < MAX_PROCESSES; i++) {
        const struct process *process = &supervisor->processes[i];
        polled[i + 1] = (struct pollfd){
            .fd = process->stage != STAGE_NONE ? process->control : -1,
            .events = POLLIN,
        };
    }
    uint64_t from = now_ms();
    int count = poll(polled, MAX_PROCESSES + 1, timeout_ms);
    if (timeout_ms >= 0 && now_ms() - from > (uint64_t) timeout_ms + OVERSLEPT_MS)
        forgive(supervisor);
    if (count <= 0)
        return;
    for (int i = 0; i < MAX_PROCESSES; i++) {
        if (polled[i + 1].revents != 0)
            hear(supervisor, &supervisor->processes[i]);
    }
    if (polled[0].revents != 0)
        take_signals(supervisor);
}

static void find_own_path(struct supervisor *supervisor)
{
    static const char gone[] = " (deleted)"; /* the kernel's note behind a file that was replaced */
    ssize_t len = readlink("/proc/self/exe", supervisor->path, sizeof(supervisor->path) - 1);
    supervisor->path[len > 0 ? len : 0] = '\0';
    size_t gone_len = sizeof(gone) - 1;
    if (len > (ssize_t) gone_len && strcmp(supervisor->path + len - gone_len, gone) == 0)
        supervisor->path[(size_t) len - gone_len] = '\0';
}

int peri_supervisor_run(const struct peri_config *config, struct peri_sockets *sockets, char **argv)
{
    struct supervisor supervisor = {.config = config, .sockets = sockets, .argv = argv};
    const char *resumed = getenv(RESUME_ENV);
    peri_log_set_format(config->log);
    find_own_path(&supervisor);
    open_signals(&supervisor);
    open_watchdog(&supervisor);
    if (resumed != NULL)
        take_over(&supervisor, resumed);
    else
        restart(&supervisor);

    while (!supervisor.stopping || has_any(&supervisor)) {
        wait_for_events(&supervisor, do_what_is_due(&supervisor));
        reap(&supervisor);
    }
    peri_sockets_close(sockets);
    close(supervisor.signals);
    return supervisor.exit_code;
}
