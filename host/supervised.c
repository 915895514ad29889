#include "supervised.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

static int control = -1;

int peri_supervised_open(struct peri_sockets *sockets, char *error, size_t error_size)
{
    const char *text = getenv(PERI_SUPERVISED_ENV);
    if (text == NULL)
        return 0;
    char *at = NULL;
    *sockets = (struct peri_sockets){0};
    control = (int) strtol(text, &at, 10);
    fcntl(control, F_SETFD, FD_CLOEXEC);
    while (*at == ';' || *at == ',') {
        int rc = peri_sockets_adopt(sockets, (int) strtol(at + 1, &at, 10), error, error_size);
        if (rc != 0)
            return rc;
    }
    unsetenv(PERI_SUPERVISED_ENV); /* not meant for what the app starts */
    return 1;
}

int peri_supervised_fd(void)
{
    return control;
}

static void tell(const char *text, size_t len)
{
    if (control >= 0) /* a supervisor that does not read has other worries */
        send(control, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void peri_supervised_ready(uint64_t grace_ms)
{
    char text[40];
    int len = snprintf(text, sizeof(text), "ready %llu", (unsigned long long) grace_ms);
    tell(text, (size_t) len);
}

void peri_supervised_tick(void)
{
    tell("tick", 4);
}

void peri_supervised_reloaded(void)
{
    tell("reloaded", 8);
}

void peri_supervised_crash(const char *text, size_t len)
{
    tell(text, len);
}
