/* Entry: reads the command and runs it. */
#include "config.h"
#include "script.h"
#include "server.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void usage(void)
{
    puts("perigee " PERIGEE_VERSION ": serves web APIs written in Lua\n"
         "\n"
         "  perigee run APPDIR [options]   serves the app (perigee run --help lists the options)\n"
         "  perigee routes APPDIR          lists its operations and where they are defined\n"
         "  perigee openapi APPDIR         prints its OpenAPI document\n"
         "  perigee FILE.lua [arguments]   runs a script inside the loop\n"
         "  perigee version\n"
         "  perigee help");
}

static int run(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            peri_config_usage();
            return 0;
        }
    }
    struct peri_config config;
    char error[256];
    if (peri_config_parse(&config, argc, argv, error, sizeof(error)) != 0) {
        fprintf(stderr, "perigee: %s\n", error);
        return 2;
    }
    return peri_server_run(&config);
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
    const char *command = argc > 1 ? argv[1] : "help";
    if (strcmp(command, "run") == 0)
        return run(argc - 2, argv + 2);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        puts("perigee " PERIGEE_VERSION);
        return 0;
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0) {
        usage();
        return argc > 1 ? 0 : 2;
    }
    if (strcmp(command, "routes") == 0 || strcmp(command, "openapi") == 0)
        return peri_script_command(argc - 1, argv + 1);
    size_t len = strlen(command);
    if (len > 4 && strcmp(command + len - 4, ".lua") == 0)
        return peri_script_run(argc - 1, argv + 1);
    fprintf(stderr, "perigee: unknown command '%s' (perigee help lists them)\n", command);
    return 2;
}
