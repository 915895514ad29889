#include "control.h"

#include "exchange.h"
#include "generation.h"
#include "inspect.h"
#include "json.h"
#include "log.h"
#include "supervised.h"
#include "worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CLIENTS 16
#define MAX_LINE 256
#define IDLE_MS 60000  /* for a client to ask */
#define TAKE_MS 10000  /* for a client to take an answer */
#define WORKERS_MS 250 /* for workers to answer: one that is in C code never does */
#define LOOPS_MS 2000  /* for loops: one that does not is stuck */
#define BACKLOG 128
#define PATH_SIZE sizeof(((struct sockaddr_un *) NULL)->sun_path)

static const char NEW[] = ".new"; /* behind the path while it is made */

enum phase {
    LISTENS, /* for a line */
    ASKS,    /* for answers of the threads */
    ANSWERS, /* until the client has taken it */
    CLOSED,
};

struct peri_control {
    struct peri_server *server;
    uv_pipe_t listener;
    uv_async_t news; /* some thread has answered some question */
    struct peri_list clients;
    unsigned count;
    unsigned handles; /* its own that are open, and clients */
    char path[PATH_SIZE - sizeof(NEW) + 1];
    dev_t device; /* of the socket's file */
    ino_t inode;
    uint64_t began_ns;
};

struct client {
    struct peri_control *control;
    struct peri_list link;
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned handles;
    enum phase phase;
    struct peri_question *question;
    bool hurried; /* workers have had their time */
    char line[MAX_LINE];
    size_t len;
    uv_write_t write;
    struct peri_buf out;
};

/* --- clients -----------------------------------------------------------------------------------
 */

static void control_unref(struct peri_control *control)
{
    if (--control->handles == 0)
        free(control);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    if (--client->handles > 0)
        return;
    peri_buf_deinit(&client->out);
    control_unref(client->control);
    free(client);
}

static void close_client(struct client *client)
{
    if (client->phase == CLOSED)
        return;
    client->phase = CLOSED;
    if (client->question != NULL)
        peri_question_close(client->question);
    client->question = NULL;
    peri_list_remove(&client->link);
    client->control->count--;
    uv_close((uv_handle_t *) &client->pipe, on_client_closed);
    uv_close((uv_handle_t *) &client->timer, on_client_closed);
}

static void on_late(uv_timer_t *timer);

static void set_deadline(struct client *client, uint64_t ms)
{
    uv_timer_start(&client->timer, on_late, ms, 0);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct client *client = handle->data;
    (void) suggested;
    *room = uv_buf_init(client->line + client->len, (unsigned) (MAX_LINE - client->len));
}

static void handle_line(struct client *client);

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes)
{
    struct client *client = stream->data;
    (void) bytes;
    if (count < 0) { /* also UV_ENOBUFS: no line is so long */
        close_client(client);
        return;
    }
    client->len += (size_t) count;
    handle_line(client);
}

/* Waits for the next line, which may have come already. */
static void listen_to(struct client *client)
{
    client->phase = LISTENS;
    set_deadline(client, IDLE_MS);
    if (uv_read_start((uv_stream_t *) &client->pipe, on_room, on_read) != 0)
        close_client(client);
    else
        handle_line(client);
}

static void on_written(uv_write_t *write, int status)
{
    struct client *client = write->data;
    if (client->phase == CLOSED)
        return;
    peri_buf_reset(&client->out, MAX_LINE);
    if (status < 0)
        close_client(client);
    else
        listen_to(client);
}

static void send_out(struct client *client)
{
    client->phase = ANSWERS;
    set_deadline(client, TAKE_MS);
    peri_buf_add_lit(&client->out, "{\"kind\":\"end\"}\n");
    client->write.data = client;
    uv_buf_t bytes = uv_buf_init(client->out.data, (unsigned) client->out.len);
    if (uv_write(&client->write, (uv_stream_t *) &client->pipe, &bytes, 1, on_written) != 0)
        close_client(client);
}

static void refuse(struct client *client, const char *message)
{
    peri_buf_add_lit(&client->out, "{\"kind\":\"error\",\"message\":");
    peri_json_add_string(&client->out, message, strlen(message));
    peri_buf_add_lit(&client->out, "}\n");
    send_out(client);
}

/* --- answers -----------------------------------------------------------------------------------
 */

static void add_text(struct peri_buf *out, const char *key, const char *text)
{
    peri_buf_addf(out, ",\"%s\":", key);
    peri_json_add_string(out, text, peri_utf8_valid(text, strlen(text)));
}

static void add_workers(struct peri_buf *out, struct peri_workers *workers)
{
    struct peri_workers_stats stats = peri_workers_stats(workers);
    peri_buf_addf(out,
                  ",\"workers\":{\"threads\":%u,\"busy\":%u,\"queued\":%u,\"trips\":%llu,"
                  "\"refused\":%llu}",
                  stats.threads, stats.busy, stats.depth, (unsigned long long) stats.trips,
                  (unsigned long long) stats.refused);
}

static void add_process(struct peri_control *control, struct peri_buf *out)
{
    struct peri_server *server = control->server;
    const struct peri_config *config = server->config;
    const struct peri_generation *generation = atomic_load(&server->generation);
    size_t rss = 0;
    uv_resident_set_memory(&rss);
    peri_buf_addf(out, "{\"kind\":\"process\",\"pid\":%ld,\"version\":\"" PERIGEE_VERSION "\"",
                  (long) getpid());
    if (peri_supervised_fd() >= 0)
        peri_buf_addf(out, ",\"supervisor\":%ld", (long) getppid());
    add_text(out, "app", config->app);
    if (generation != NULL && generation->vms[0] != NULL && generation->vms[0]->app.title != NULL)
        add_text(out, "title", generation->vms[0]->app.title);
    peri_buf_addf(out, ",\"dev\":%s,\"listens\":[", config->dev ? "true" : "false");
    for (unsigned i = 0; i < server->sockets->count; i++) {
        const char *name = server->sockets->list[i].name;
        peri_buf_add_str(out, i > 0 ? "," : "");
        peri_json_add_string(out, name, peri_utf8_valid(name, strlen(name)));
    }
    peri_buf_addf(out,
                  "],\"uptime_ms\":%llu,\"generation\":%llu,\"loops\":%u,\"connections\":%llu,"
                  "\"rss_bytes\":%zu",
                  (unsigned long long) ((uv_hrtime() - control->began_ns) / 1000000),
                  generation != NULL ? (unsigned long long) generation->number : 0,
                  server->loop_count, atomic_load(&server->connections), rss);
    if (generation != NULL && generation->workers != NULL)
        add_workers(out, generation->workers);
    peri_buf_add_lit(out, "}\n");
}

/* The threads have answered, or have had their time. */
static void end_question(struct client *client)
{
    add_process(client->control, &client->out);
    peri_question_read(client->question, &client->out);
    peri_question_close(client->question);
    client->question = NULL;
    send_out(client);
}

static void look_at_question(struct client *client)
{
    struct peri_replies missing = peri_question_replies(client->question);
    if (missing.loops_missing == 0 && (missing.workers_missing == 0 || client->hurried))
        end_question(client);
}

static void on_late(uv_timer_t *timer)
{
    struct client *client = timer->data;
    if (client->phase != ASKS) {
        close_client(client);
    } else if (client->hurried) {
        end_question(client);
    } else {
        client->hurried = true;
        set_deadline(client, LOOPS_MS - WORKERS_MS);
        look_at_question(client);
    }
}

static void on_news(uv_async_t *async)
{
    struct peri_control *control = async->data;
    struct peri_list *next = NULL;
    for (struct peri_list *at = control->clients.next; at != &control->clients; at = next) {
        next = at->next;
        struct client *client = peri_container_of(at, struct client, link);
        if (client->phase == ASKS)
            look_at_question(client);
    }
}

static void ask(struct client *client, enum peri_subject subject, const char *id)
{
    client->phase = ASKS;
    client->hurried = false;
    set_deadline(client, WORKERS_MS);
    client->question = peri_question_new(subject, id, &client->control->news);
    peri_question_send(client->question, client->control->server);
}

/* Whether the line is this command with an id behind it. */
static bool names(const char *line, const char *command, const char **id)
{
    size_t len = strlen(command);
    if (strncmp(line, command, len) != 0 || line[len] != ' ')
        return false;
    *id = line + len + 1;
    size_t id_len = strlen(*id);
    if (id_len == 0 || id_len >= PERI_REQUEST_ID)
        return false;
    for (const char *c = *id; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~')
            return false;
    }
    return true;
}

static void obey(struct client *client, const char *line)
{
    const char *id = "";
    if (strcmp(line, "ps") == 0)
        ask(client, PERI_ASK_ALL, "");
    else if (names(line, "stack", &id))
        ask(client, PERI_ASK_STACK, id);
    else if (names(line, "cancel", &id))
        ask(client, PERI_ASK_CANCEL, id);
    else
        refuse(client, "what can be asked: ps, stack ID, cancel ID");
}

static void handle_line(struct client *client)
{
    char *end = memchr(client->line, '\n', client->len);
    if (end == NULL) {
        if (client->len == MAX_LINE)
            close_client(client);
        return;
    }
    char line[MAX_LINE];
    size_t used = (size_t) (end - client->line) + 1;
    memcpy(line, client->line, used);
    line[used - 1] = '\0';
    client->len -= used;
    memmove(client->line, end + 1, client->len);
    uv_read_stop((uv_stream_t *) &client->pipe);
    peri_list_remove(&client->link); /* the one that has been silent longest stands first */
    peri_list_append(&client->control->clients, &client->link);
    obey(client, strlen(line) == used - 1 ? line : "");
}

/* Makes room for another client: the one that has been silent longest has to go. */
static bool make_room(struct peri_control *control)
{
    if (control->count < MAX_CLIENTS)
        return true;
    for (struct peri_list *at = control->clients.next; at != &control->clients; at = at->next) {
        struct client *client = peri_container_of(at, struct client, link);
        if (client->phase == LISTENS) {
            close_client(client);
            return true;
        }
    }
    return false;
}

static bool may_ask(const uv_pipe_t *pipe)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    uv_os_fd_t fd = -1;
    if (uv_fileno((const uv_handle_t *) pipe, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct peri_control *control = stream->data;
    if (status < 0)
        return;
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return;
    client->control = control;
    client->handles = 2;
    control->handles++;
    bool room = make_room(control);
    control->count++;
    peri_list_init(&client->link);
    peri_list_append(&control->clients, &client->link);
    uv_pipe_init(stream->loop, &client->pipe, 0);
    uv_timer_init(stream->loop, &client->timer);
    client->pipe.data = client;
    client->timer.data = client;
    if (uv_accept(stream, (uv_stream_t *) &client->pipe) != 0 || !room || !may_ask(&client->pipe))
        close_client(client);
    else
        listen_to(client);
}

/* --- where the socket is -----------------------------------------------------------------------
 */

/* Makes the folder if need be. Returns 0 or an errno: it must be a folder of this user's, which
 * nobody else can enter. */
static int make_folder(const char *folder)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return errno;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    struct stat info;
    int rc = fstat(fd, &info) != 0 ? errno : 0;
    if (rc == 0 && (info.st_uid != geteuid() || (info.st_mode & 077) != 0))
        rc = EPERM;
    close(fd);
    return rc;
}

/* Whether nobody listens there any more. */
static bool is_deserted(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int rc = connect(fd, (struct sockaddr *) &address, sizeof(address));
    bool deserted = rc != 0 && errno == ECONNREFUSED;
    close(fd);
    return deserted;
}

/* Removes the sockets of processes that were killed. One that has just been made, and is not
 * listened on yet, belongs to a process that lives. */
static void sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char *rest = NULL;
        long pid = strtol(entry->d_name, &rest, 10);
        if (pid <= 0 || (strcmp(rest, ".sock") != 0 && strcmp(rest, ".sock.new") != 0))
            continue;
        char path[PATH_SIZE];
        int len = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (len > 0 && (size_t) len < sizeof(path) && kill((pid_t) pid, 0) != 0 && errno == ESRCH &&
            is_deserted(path))
            unlink(path);
    }
    closedir(dir);
}

/* Fills control->path. Returns 0 or an errno, with what it is about in control->path. */
static int choose_path(struct peri_control *control)
{
    const char *asked = control->server->config->control;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    size_t room = sizeof(control->path);
    char *path = control->path;
    if (asked != NULL)
        return (size_t) snprintf(path, room, "%s", asked) >= room ? ENAMETOOLONG : 0;
    int len = runtime != NULL && *runtime == '/'
                  ? snprintf(path, room, "%s/perigee", runtime)
                  : snprintf(path, room, "/tmp/perigee-%lu", (unsigned long) geteuid());
    if (len < 0 || (size_t) len >= room)
        return ENAMETOOLONG;
    int rc = make_folder(path);
    if (rc != 0)
        return rc;
    sweep(path);
    int more = snprintf(path + len, room - (size_t) len, "/%ld.sock", (long) getpid());
    return more < 0 || (size_t) more >= room - (size_t) len ? ENAMETOOLONG : 0;
}

/* A listening socket at control->path, or -1 with errno. */
static int open_socket(struct peri_control *control)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    if (lstat(control->path, &info) == 0 && !S_ISSOCK(info.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", control->path, NEW);
    if (lstat(address.sun_path, &info) == 0 && S_ISSOCK(info.st_mode))
        unlink(address.sun_path);
    if (bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
        goto fail;
    if (chmod(address.sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0 ||
        lstat(address.sun_path, &info) != 0 || rename(address.sun_path, control->path) != 0) {
        int code = errno;
        unlink(address.sun_path);
        errno = code;
        goto fail;
    }
    control->device = info.st_dev;
    control->inode = info.st_ino;
    return fd;

fail:
    close(fd);
    return -1;
}

struct peri_control *peri_control_open(struct peri_server *server, uv_loop_t *uv)
{
    const char *asked = server->config->control;
    if (asked != NULL && strcmp(asked, "off") == 0)
        return NULL;
    struct peri_control *control = calloc(1, sizeof(*control));
    if (control == NULL)
        return NULL;
    control->server = server;
    control->began_ns = uv_hrtime();
    peri_list_init(&control->clients);
    int rc = choose_path(control);
    int fd = rc == 0 ? open_socket(control) : -1;
    if (fd < 0) {
        peri_log_warn("perigee ps will not find this server: %s: %s", control->path,
                      strerror(rc != 0 ? rc : errno));
        free(control);
        return NULL;
    }
    uv_pipe_init(uv, &control->listener, 0);
    uv_async_init(uv, &control->news, on_news);
    control->handles = 2;
    control->listener.data = control;
    control->news.data = control;
    rc = uv_pipe_open(&control->listener, fd);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *) &control->listener, BACKLOG, on_connection);
    if (rc == 0)
        return control;
    peri_log_warn("perigee ps will not find this server: %s: %s", control->path, uv_strerror(rc));
    peri_control_close(control);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    control_unref(handle->data);
}

void peri_control_close(struct peri_control *control)
{
    if (control == NULL)
        return;
    struct stat info;
    if (lstat(control->path, &info) == 0 && info.st_dev == control->device &&
        info.st_ino == control->inode)
        unlink(control->path); /* and not what has taken its place */
    struct peri_list *next = NULL;
    for (struct peri_list *at = control->clients.next; at != &control->clients; at = next) {
        next = at->next;
        close_client(peri_container_of(at, struct client, link));
    }
    uv_close((uv_handle_t *) &control->listener, on_closed);
    uv_close((uv_handle_t *) &control->news, on_closed);
}
