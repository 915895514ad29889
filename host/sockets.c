#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG 2048
#define FIRST_PASSED_FD 3 /* sd_listen_fds(3) */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage room;
};

static void name_it(struct peri_socket *item)
{
    union address address = {0};
    socklen_t len = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "?";
    getsockname(item->fd, &address.any, &len);
    switch (address.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text));
        snprintf(item->name, sizeof(item->name), "http://%s:%d", text, ntohs(address.v4.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text));
        snprintf(item->name, sizeof(item->name), "http://[%s]:%d", text,
                 ntohs(address.v6.sin6_port));
        break;
    case AF_UNIX:
        snprintf(item->name, sizeof(item->name), "unix:%.*s", (int) sizeof(address.local.sun_path),
                 address.local.sun_path[0] != '\0' ? address.local.sun_path : "(no name)");
        break;
    default:
        snprintf(item->name, sizeof(item->name), "descriptor %d", item->fd);
    }
}

void peri_socket_own(struct peri_socket *item, const char *path)
{
    struct stat info = {0};
    lstat(path, &info);
    item->owned_path = strdup(path);
    item->owned_device = info.st_dev;
    item->owned_inode = info.st_ino;
}

/* Unless another program has put its own there meanwhile. */
static void disown(struct peri_socket *item)
{
    struct stat info;
    if (item->owned_path != NULL && lstat(item->owned_path, &info) == 0 &&
        info.st_dev == item->owned_device && info.st_ino == item->owned_inode)
        unlink(item->owned_path);
    free(item->owned_path);
    item->owned_path = NULL;
}

static void add(struct peri_sockets *sockets, int fd, const char *owned_path)
{
    struct peri_socket *item = &sockets->list[sockets->count++];
    *item = (struct peri_socket){.fd = fd};
    if (owned_path != NULL)
        peri_socket_own(item, owned_path);
    name_it(item);
}

static int fail(int fd, int code, char *error, size_t size, const char *what, const char *where)
{
    if (code == EADDRINUSE)
        snprintf(error, size, "%s is in use by another program; stop it or choose another address",
                 where);
    else
        snprintf(error, size, "cannot %s %s: %s", what, where, strerror(code));
    if (fd >= 0)
        close(fd);
    return -code;
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static int open_tcp(struct peri_sockets *sockets, const char *host, int port, char *error,
                    size_t error_size)
{
    char service[8];
    char where[160];
    snprintf(service, sizeof(service), "%d", port);
    snprintf(where, sizeof(where), strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        snprintf(error, error_size, "cannot listen on %s: %s", where, gai_strerror(rc));
        return UV_EADDRNOTAVAIL;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    rc = fd < 0 ? -1 : bind(fd, found->ai_addr, found->ai_addrlen);
    int code = errno;
    freeaddrinfo(found);
    if (rc != 0)
        return fail(fd, code, error, error_size, "bind to", where);
    if (listen(fd, BACKLOG) != 0)
        return fail(fd, errno, error, error_size, "listen on", where);
    add(sockets, fd, NULL);
    return 0;
}

/* --- Unix sockets ------------------------------------------------------------------------------
 */

/* Whether somebody listens there; a socket that nobody listens on is what a crash left behind. */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0;
    if (fd >= 0)
        close(fd);
    return alive;
}

static int open_unix(struct peri_sockets *sockets, const char *path, char *error, size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(error, error_size, "--uds: '%s' is too long for a socket's path (%zu bytes)", path,
                 sizeof(address.sun_path) - 1);
        return UV_ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    struct stat info;
    if (lstat(path, &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return fail(-1, EEXIST, error, error_size, "bind to", path);
        if (is_alive(&address))
            return fail(-1, EADDRINUSE, error, error_size, "bind to", path);
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
        return fail(fd, errno, error, error_size, "bind to", path);
    chmod(path, 0666); /* a proxy runs as somebody else: the folder says who may enter */
    if (listen(fd, BACKLOG) != 0)
        return fail(fd, errno, error, error_size, "listen on", path);
    add(sockets, fd, path);
    return 0;
}

/* --- descriptors -------------------------------------------------------------------------------
 */

int peri_sockets_adopt(struct peri_sockets *sockets, int fd, char *error, size_t error_size)
{
    char where[32];
    snprintf(where, sizeof(where), "descriptor %d", fd);
    int listens = 0;
    socklen_t len = sizeof(listens);
    if (sockets->count == PERI_MAX_SOCKETS)
        return fail(-1, ENOSPC, error, error_size, "use", where);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0)
        return fail(-1, errno, error, error_size, "use", where);
    if (!listens && listen(fd, BACKLOG) != 0)
        return fail(-1, errno, error, error_size, "listen on", where);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    add(sockets, fd, NULL);
    return 0;
}

/* What a service manager has opened (systemd.socket). */
static int adopt_passed(struct peri_sockets *sockets, char *error, size_t error_size)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    int rc = 0;
    if (pid != NULL && count != NULL && strtol(pid, NULL, 10) == getpid()) {
        for (int i = 0; i < (int) strtol(count, NULL, 10) && rc == 0; i++)
            rc = peri_sockets_adopt(sockets, FIRST_PASSED_FD + i, error, error_size);
    }
    unsetenv("LISTEN_PID"); /* meant for this process alone */
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return rc;
}

/* --- all of them -------------------------------------------------------------------------------
 */

int peri_sockets_open(struct peri_sockets *sockets, const struct peri_config *config, char *error,
                      size_t error_size)
{
    *sockets = (struct peri_sockets){0};
    int rc = adopt_passed(sockets, error, error_size);
    bool passed = sockets->count > 0;
    for (unsigned i = 0; i < config->endpoint_count && rc == 0; i++) {
        const struct peri_endpoint *endpoint = &config->endpoints[i];
        if (sockets->count == PERI_MAX_SOCKETS) {
            snprintf(error, error_size, "at most %d listening sockets", PERI_MAX_SOCKETS);
            rc = UV_ENOSPC;
        } else if (endpoint->kind == PERI_ENDPOINT_UNIX) {
            rc = open_unix(sockets, endpoint->text, error, error_size);
        } else if (endpoint->kind == PERI_ENDPOINT_FD) {
            rc = peri_sockets_adopt(sockets, endpoint->port, error, error_size);
        } else {
            rc = open_tcp(sockets, endpoint->text, endpoint->port, error, error_size);
        }
    }
    /* The usual address, unless others were named instead of it. A service manager that listens has
     * it already: the same unit may be started with its socket and without. */
    if (rc == 0 && !passed && (sockets->count == 0 || config->address_given))
        rc = open_tcp(sockets, config->host, config->port, error, error_size);
    return rc;
}

void peri_sockets_stop(struct peri_sockets *sockets)
{
    for (unsigned i = 0; i < sockets->count; i++) {
        if (sockets->list[i].fd >= 0)
            close(sockets->list[i].fd);
        sockets->list[i].fd = -1;
    }
}

void peri_sockets_close(struct peri_sockets *sockets)
{
    for (unsigned i = 0; i < sockets->count; i++)
        disown(&sockets->list[i]);
    peri_sockets_stop(sockets);
    sockets->count = 0;
}
