/* Entry: serves, runs a script, or hands the command to lua/perigee/cli.lua. */
#include "config.h"
#include "script.h"
#include "server.h"
#include "supervised.h"
#include "supervisor.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int run(int argc, char **argv, bool dev)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            char *help[] = {(char *) "help", argv[1]};
            return peri_script_command(2, help);
        }
    }
    struct peri_config config;
    char error[256];
    if (peri_config_parse(&config, argc - 2, argv + 2, dev, error, sizeof(error)) != 0) {
        fprintf(stderr, "perigee: %s\n", error);
        return 2;
    }
    struct peri_sockets sockets;
    int supervised = peri_supervised_open(&sockets, error, sizeof(error));
    int rc = supervised;
    if (rc == 0)
        rc = peri_supervisor_resume(&sockets, &config, error, sizeof(error));
    if (rc == 0)
        rc = peri_sockets_open(&sockets, &config, error, sizeof(error));
    if (rc < 0) {
        peri_sockets_close(&sockets);
        fprintf(stderr, "perigee: %s\n", error);
        return 2;
    }
    if (supervised == 0 && config.supervise)
        return peri_supervisor_run(&config, &sockets, argv);
    return peri_server_run(&config, &sockets);
}

/* Started without standard streams, the first sockets would take their numbers, and the log would
 * be written into them. */
static void fill_standard_streams(void)
{
    int fd = 0;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_streams();
    pthread_setname_np(pthread_self(), "perigee"); /* not "exe", as the supervisor starts it */
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "run") == 0)
        return run(argc, argv, false);
    if (strcmp(command, "dev") == 0)
        return run(argc, argv, true);
    bool is_version = strcmp(command, "version") == 0 || strcmp(command, "--version") == 0;
    if (is_version && argc == 2) {
        puts("perigee " PERIGEE_VERSION);
        return 0;
    }
    size_t len = strlen(command);
    if (len > 4 && strcmp(command + len - 4, ".lua") == 0)
        return peri_script_run(argc - 1, argv + 1);
    return peri_script_command(argc - 1, argv + 1);
}
