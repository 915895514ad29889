#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SETTINGS 100 /* --set */

#define MIN_LUA_MEMORY (8 << 20) /* the framework itself wants half of it */

#define LIMIT(member, fallback, min, max, help)                                                    \
    {                                                                                              \
#member, offsetof(struct peri_limits, member), fallback, min, max, help                    \
    }

const struct peri_limit_option peri_limit_options[] = {
    LIMIT(max_head_bytes, 16384, 256, 1 << 20, "request line and headers; over it: 431"),
    LIMIT(max_headers, 100, 1, 10000, "header fields; over it: 431"),
    LIMIT(max_target_bytes, 8192, 16, 1 << 20, "request target; over it: 414"),
    LIMIT(max_body_bytes, 1 << 20, 0, UINT32_MAX - 1, "request body; over it: 413"),
    LIMIT(max_chunk_ext_bytes, 1024, 0, 1 << 20, "chunk extensions of one request; over it: 400"),
    LIMIT(max_json_depth, 512, 1, 10000, "nesting of a JSON body"),
    LIMIT(max_form_files, 1000, 0, 100000, "files of one form; over it: 400"),
    LIMIT(max_form_fields, 1000, 0, 100000, "fields of one form; over it: 400"),
    LIMIT(max_form_field_bytes, 1 << 20, 0, UINT32_MAX - 1, "one field of a form; over it: 400"),
    LIMIT(max_connections, 0, 0, 10000000, "of the process, others wait; 0: the descriptor limit"),
    LIMIT(head_timeout_ms, 10000, 1, 86400000, "for a whole head to arrive; over it: 408"),
    LIMIT(body_timeout_ms, 30000, 1, 86400000, "for the next byte of a body; over it: 408"),
    LIMIT(body_min_rate, 100, 0, 1 << 30,
          "bytes a second of a body after that time; under it: 408"),
    LIMIT(keep_alive_timeout_ms, 5000, 1, 86400000, "for the next request; over it: close"),
    LIMIT(write_timeout_ms, 30000, 1, 86400000, "for the client to take a byte; over it: close"),
    LIMIT(timeout_ms, 30000, 1, 86400000, "for an operation to answer; over it: 504"),
    LIMIT(after_timeout_ms, 300000, 1, 86400000, "for the functions behind an answer"),
    LIMIT(drain_ms, 0, 0, 86400000, "between SIGTERM and the end of accepting: /readyz says no"),
    LIMIT(shutdown_grace_ms, 10000, 0, 86400000, "for requests in flight when told to stop"),
    LIMIT(max_queued, 1000, 0, 1000000, "threaded calls that wait for a thread; over it: 503"),
    LIMIT(queue_timeout_ms, 10000, 1, 86400000, "for a thread to be free; over it: 503"),
};
const size_t peri_limit_option_count = sizeof(peri_limit_options) / sizeof(*peri_limit_options);

static struct {
    const char *list[MAX_SETTINGS];
    size_t count;
} settings;

const char *peri_config_setting(size_t i)
{
    return i < settings.count ? settings.list[i] : NULL;
}

bool peri_config_add_setting(const char *text)
{
    if (settings.count == MAX_SETTINGS)
        return false;
    settings.list[settings.count++] = text;
    return true;
}

void peri_config_usage(struct peri_buf *text)
{
    peri_buf_add_lit(
        text,
        "usage: perigee run APPDIR [options]\n"
        "       perigee dev [APPDIR] [options]\n"
        "\n"
        "  APPDIR                      a folder with app.lua, or a Lua file that returns an app\n"
        "  --host ADDRESS              address to listen on (127.0.0.1)\n"
        "  --port N                    port to listen on, 0 for a free one (8000)\n"
        "  --listen HOST:PORT          another address; may be given again, as --uds and --fd may\n"
        "  --uds PATH                  a Unix socket\n"
        "  --fd N                      a listening socket that was opened by the parent process\n"
        "  --forwarded-allow-ips LIST  proxies whose Forwarded and X-Forwarded headers count: "
        "addresses,\n"
        "                              networks, unix, or * (127.0.0.1,::1,unix)\n"
        "  --proxy-protocol on|off     connections begin with a PROXY header, v1 or v2 (off)\n"
        "  --metrics PATH              serves metrics for Prometheus there\n"
        "  --health on|off             serves /healthz and /readyz (off)\n"
        "  --request-id on|off         every answer carries X-Request-ID (off)\n"
        "  --root-path PATH            what a proxy strips from the front of paths\n"
        "  --supervise on|off          a second process that replaces a dead server (on; dev: "
        "off)\n"
        "  --stall-timeout-ms N        after which a server that hangs is replaced, 0: never "
        "(4000)\n"
        "  --loops N                   loop threads (number of cores; dev: 1)\n"
        "  --threads N                 worker threads for threaded functions (number of cores, at "
        "least 2; dev: 2)\n"
        "  --shared-memory-bytes N     for perigee.shared; beyond it the oldest goes (67108864)\n"
        "  --log text|json|off         access log on standard output (text)\n"
        "  --control PATH|off          socket of perigee ps, stack, cancel and top (in "
        "$XDG_RUNTIME_DIR,\n"
        "                              else in /tmp)\n"
        "  --load-timeout-ms N         for the app to load, and for its start hooks (30000)\n"
        "  --lua-memory BYTES          for the Lua of each thread, as 64M or 1G; over it: 500 "
        "(512M)\n"
        "  --set NAME=VALUE            a setting that the app declares; may be given again\n"
        "\n"
        "every option may also stand in the environment: PERIGEE_PORT=9000\n"
        "\n"
        "limits (also options of perigee.app{ limits = { max_body_bytes = ... } }; a flag "
        "wins):\n\n");
    for (size_t i = 0; i < peri_limit_option_count; i++) {
        const struct peri_limit_option *option = &peri_limit_options[i];
        char flag[48];
        snprintf(flag, sizeof(flag), "--%s N", option->name);
        for (char *c = flag; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
        peri_buf_addf(text, "  %-27s %s (%llu)\n", flag, option->help,
                      (unsigned long long) option->fallback);
    }
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end = NULL;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < min || number > max)
        return -1;
    *value = number;
    return 0;
}

/* A number of bytes, or of what its last letter says: K, M or G. */
static int parse_bytes(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    static const char units[] = "KMG";
    char digits[24];
    size_t len = strlen(text);
    const char *unit = len > 0 ? strchr(units, text[len - 1] & ~0x20) : NULL;
    unsigned shift = unit != NULL && *unit != '\0' ? 10 * (unsigned) (unit - units + 1) : 0;
    len -= shift > 0;
    if (len >= sizeof(digits))
        return -1;
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (parse_number(digits, 1, max >> shift, value) != 0)
        return -1;
    *value <<= shift;
    return *value >= min ? 0 : -1;
}

/* Whether `flag` ("max-body-bytes") names the option ("max_body_bytes"). */
static bool names_option(const char *flag, const char *name)
{
    for (; *flag != '\0' && *name != '\0'; flag++, name++) {
        if (*flag != (*name == '_' ? '-' : *name))
            return false;
    }
    return *flag == *name;
}

static const char *const plain_flags[] = {"host",
                                          "port",
                                          "listen",
                                          "uds",
                                          "fd",
                                          "loops",
                                          "threads",
                                          "shared_memory_bytes",
                                          "stall_timeout_ms",
                                          "metrics",
                                          "health",
                                          "request_id",
                                          "log",
                                          "control",
                                          "supervise",
                                          "load_timeout_ms",
                                          "lua_memory",
                                          "forwarded_allow_ips",
                                          "proxy_protocol",
                                          "root_path",
                                          "set"};
#define PLAIN_FLAGS (sizeof(plain_flags) / sizeof(*plain_flags))

static bool is_flag(const char *flag)
{
    for (size_t i = 0; i < PLAIN_FLAGS; i++) {
        if (names_option(flag, plain_flags[i]))
            return true;
    }
    for (size_t i = 0; i < peri_limit_option_count; i++) {
        if (names_option(flag, peri_limit_options[i].name))
            return true;
    }
    return false;
}

/* The name of a flag or limit, with underscores; NULL behind the last one. */
static const char *option_name(size_t i)
{
    if (i < PLAIN_FLAGS)
        return plain_flags[i];
    i -= PLAIN_FLAGS;
    return i < peri_limit_option_count ? peri_limit_options[i].name : NULL;
}

/* Letters to insert, delete or replace until one is the other; dashes and underscores are one. */
static size_t distance(const char *flag, const char *name)
{
    size_t row[64];
    size_t width = strlen(name);
    if (width >= sizeof(row) / sizeof(*row))
        return SIZE_MAX;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; flag[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            bool same = flag[i] == (name[j] == '_' ? '-' : name[j]);
            size_t least = diagonal + !same;
            least = row[j] + 1 < least ? row[j] + 1 : least;
            least = row[j + 1] + 1 < least ? row[j + 1] + 1 : least;
            diagonal = row[j + 1];
            row[j + 1] = least;
        }
    }
    return row[width];
}

static const char *command_of(const struct peri_config *config)
{
    return config->dev ? "dev" : "run";
}

/* Says that there is no such flag, and which one it resembles. Returns -1. */
static int unknown_flag(const struct peri_config *config, const char *flag, char *error,
                        size_t error_size)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;
    const char *name = NULL;
    for (size_t i = 0; (name = option_name(i)) != NULL; i++) {
        size_t apart = distance(flag, name);
        size_t len = strlen(name);
        size_t most = len >= 9 ? len / 3 : len >= 4 ? 2 : 1; /* a swap of two letters counts two */
        if (apart < least && apart <= most) {
            least = apart;
            best = name;
        }
    }
    char hint[96];
    snprintf(hint, sizeof(hint), "perigee %s --help lists them", command_of(config));
    if (best != NULL) {
        snprintf(hint, sizeof(hint), "did you mean --%s?", best);
        for (char *c = hint; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
    }
    snprintf(error, error_size, "unknown option --%s (%s)", flag, hint);
    return -1;
}

static int parse_limit(struct peri_config *config, const char *flag, const char *text, char *error,
                       size_t error_size)
{
    for (size_t i = 0; i < peri_limit_option_count; i++) {
        const struct peri_limit_option *option = &peri_limit_options[i];
        if (!names_option(flag, option->name))
            continue;
        if (parse_number(text, option->min, option->max, peri_limit(&config->limits, i)) != 0) {
            snprintf(error, error_size, "--%s takes a whole number from %llu to %llu, not '%s'",
                     flag, (unsigned long long) option->min, (unsigned long long) option->max,
                     text);
            return -1;
        }
        config->limits_given |= 1U << i;
        return 0;
    }
    return unknown_flag(config, flag, error, error_size);
}

static int parse_switch(bool *on, const char *flag, const char *text, char *error,
                        size_t error_size)
{
    *on = strcmp(text, "on") == 0;
    if (*on || strcmp(text, "off") == 0)
        return 0;
    snprintf(error, error_size, "--%s takes on or off, not '%s'", flag, text);
    return -1;
}

static int add_endpoint(struct peri_config *config, const char *flag, int kind, const char *text,
                        size_t len, int port, char *error, size_t error_size)
{
    struct peri_endpoint *endpoint = &config->endpoints[config->endpoint_count];
    if (config->endpoint_count == PERI_MAX_ENDPOINTS) {
        snprintf(error, error_size, "at most %d of --listen, --uds and --fd", PERI_MAX_ENDPOINTS);
        return -1;
    }
    if (len >= sizeof(endpoint->text)) {
        snprintf(error, error_size, "--%s: at most %zu characters", flag,
                 sizeof(endpoint->text) - 1);
        return -1;
    }
    *endpoint = (struct peri_endpoint){.kind = kind, .port = port};
    memcpy(endpoint->text, text, len);
    config->endpoint_count++;
    return 0;
}

/* HOST:PORT or [ADDRESS]:PORT */
static int parse_listen(struct peri_config *config, const char *text, char *error,
                        size_t error_size)
{
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || parse_number(colon + 1, 0, 65535, &port) != 0) {
        snprintf(error, error_size, "--listen takes HOST:PORT, not '%s'", text);
        return -1;
    }
    const char *end = colon;
    if (text[0] == '[' && end[-1] == ']') {
        text++;
        end--;
    }
    return add_endpoint(config, "listen", PERI_ENDPOINT_TCP, text, (size_t) (end - text),
                        (int) port, error, error_size);
}

static int parse_flag(struct peri_config *config, const char *flag, const char *text, char *error,
                      size_t error_size)
{
    uint64_t number = 0;
    if (strcmp(flag, "host") == 0) {
        config->host = text;
        config->address_given = true;
    } else if (strcmp(flag, "port") == 0) {
        if (parse_number(text, 0, 65535, &number) != 0) {
            snprintf(error, error_size, "--port takes a number from 0 to 65535, not '%s'", text);
            return -1;
        }
        config->port = (int) number;
        config->address_given = true;
    } else if (strcmp(flag, "listen") == 0) {
        return parse_listen(config, text, error, error_size);
    } else if (strcmp(flag, "uds") == 0) {
        return add_endpoint(config, flag, PERI_ENDPOINT_UNIX, text, strlen(text), 0, error,
                            error_size);
    } else if (strcmp(flag, "fd") == 0) {
        if (parse_number(text, 0, 65535, &number) != 0) {
            snprintf(error, error_size, "--fd takes the number of a descriptor, not '%s'", text);
            return -1;
        }
        return add_endpoint(config, flag, PERI_ENDPOINT_FD, "", 0, (int) number, error, error_size);
    } else if (strcmp(flag, "forwarded-allow-ips") == 0) {
        if (!peri_networks_parse(&config->trusted, text)) {
            snprintf(error, error_size,
                     "--forwarded-allow-ips takes addresses and networks such as 10.0.0.0/8, "
                     "separated by commas, unix, or *, not '%s'",
                     text);
            return -1;
        }
    } else if (strcmp(flag, "control") == 0) {
        config->control = text;
    } else if (strcmp(flag, "root-path") == 0) {
        size_t len = strlen(text);
        if (len > 0 && (text[0] != '/' || text[len - 1] == '/')) {
            snprintf(error, error_size,
                     "--root-path begins with a slash and ends without, not '%s'", text);
            return -1;
        }
        config->root_path = text;
    } else if (strcmp(flag, "proxy-protocol") == 0) {
        return parse_switch(&config->proxy_protocol, flag, text, error, error_size);
    } else if (strcmp(flag, "set") == 0) {
        if (strchr(text, '=') == NULL || !peri_config_add_setting(text)) {
            snprintf(error, error_size, "--set takes NAME=VALUE, %d times at most, not '%s'",
                     MAX_SETTINGS, text);
            return -1;
        }
    } else if (strcmp(flag, "supervise") == 0) {
        return parse_switch(&config->supervise, flag, text, error, error_size);
    } else if (strcmp(flag, "shared-memory-bytes") == 0) {
        if (parse_number(text, 65536, UINT64_MAX / 2, &config->shared_memory_bytes) != 0) {
            snprintf(error, error_size,
                     "--shared-memory-bytes takes a whole number of 65536 or more, not '%s'", text);
            return -1;
        }
    } else if (strcmp(flag, "stall-timeout-ms") == 0) {
        if (parse_number(text, 0, 86400000, &config->stall_timeout_ms) != 0) {
            snprintf(error, error_size,
                     "--stall-timeout-ms takes a whole number from 0 to 86400000, not '%s'", text);
            return -1;
        }
    } else if (strcmp(flag, "metrics") == 0) {
        if (text[0] != '/') {
            snprintf(error, error_size, "--metrics takes a path such as /metrics, not '%s'", text);
            return -1;
        }
        config->metrics = text;
    } else if (strcmp(flag, "request-id") == 0) {
        config->request_id_given = true;
        return parse_switch(&config->request_id, flag, text, error, error_size);
    } else if (strcmp(flag, "health") == 0) {
        return parse_switch(&config->health, flag, text, error, error_size);
    } else if (strcmp(flag, "loops") == 0) {
        if (parse_number(text, 1, 256, &number) != 0) {
            snprintf(error, error_size, "--loops takes a number from 1 to 256, not '%s'", text);
            return -1;
        }
        config->loops = (int) number;
    } else if (strcmp(flag, "load-timeout-ms") == 0) {
        if (parse_number(text, 1, 86400000, &config->load_timeout_ms) != 0) {
            snprintf(error, error_size,
                     "--load-timeout-ms takes a whole number from 1 to 86400000, not '%s'", text);
            return -1;
        }
    } else if (strcmp(flag, "lua-memory") == 0) {
        if (parse_bytes(text, MIN_LUA_MEMORY, UINT64_C(1) << 40, &config->lua_memory) != 0) {
            snprintf(error, error_size,
                     "--lua-memory takes a number of bytes from 8M to 1024G, such as 512M, not "
                     "'%s'",
                     text);
            return -1;
        }
    } else if (strcmp(flag, "threads") == 0) {
        if (parse_number(text, 1, 256, &number) != 0) {
            snprintf(error, error_size, "--threads takes a number from 1 to 256, not '%s'", text);
            return -1;
        }
        config->threads = (int) number;
    } else if (strcmp(flag, "log") == 0) {
        static const char *const formats[] = {"text", "json", "off"};
        for (int i = 0; i < 3; i++) {
            if (strcmp(text, formats[i]) == 0) {
                config->log = (enum peri_log_format) i;
                return 0;
            }
        }
        snprintf(error, error_size, "--log takes text, json or off, not '%s'", text);
        return -1;
    } else {
        return parse_limit(config, flag, text, error, error_size);
    }
    return 0;
}

/* PERIGEE_PORT=9000 stands for --port 9000; a flag wins. */
static int parse_environment(struct peri_config *config, char *error, size_t error_size)
{
    for (size_t i = 0; i < PLAIN_FLAGS + peri_limit_option_count; i++) {
        const char *option =
            i < PLAIN_FLAGS ? plain_flags[i] : peri_limit_options[i - PLAIN_FLAGS].name;
        char name[64];
        char flag[64];
        snprintf(name, sizeof(name), "PERIGEE_%s", option);
        snprintf(flag, sizeof(flag), "%s", option);
        for (char *c = name; *c != '\0'; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char) (*c - 32) : *c;
        for (char *c = flag; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
        const char *value = getenv(name);
        char reason[200];
        if (value == NULL || parse_flag(config, flag, value, reason, sizeof(reason)) == 0)
            continue;
        snprintf(error, error_size, "%s in the environment: %s", name, reason);
        return -1;
    }
    return 0;
}

void peri_config_default(struct peri_config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *config = (struct peri_config){
        .host = "127.0.0.1",
        .port = 8000,
        .load_timeout_ms = 30000,
        .lua_memory = 512 << 20,
        .supervise = true,
        .shared_memory_bytes = 64 << 20,
        .stall_timeout_ms = 4000,
        .loops = cores < 1     ? 1
                 : cores > 256 ? 256
                               : (int) cores,
        .threads = cores < 2     ? 2
                   : cores > 256 ? 256
                                 : (int) cores,
    };
    peri_networks_parse(&config->trusted, "127.0.0.1,::1,unix");
    for (size_t i = 0; i < peri_limit_option_count; i++)
        *peri_limit(&config->limits, i) = peri_limit_options[i].fallback;
}

int peri_config_parse(struct peri_config *config, int argc, char **argv, bool dev, char *error,
                      size_t error_size)
{
    peri_config_default(config);
    if (dev) {
        config->dev = true;
        config->supervise = false;
        config->loops = 1;
        config->threads = 2;
    }
    if (parse_environment(config, error, error_size) != 0)
        return -1;
    for (int i = 0; i < argc; i++) {
        char *argument = argv[i];
        if (argument[0] == '-' && argument[1] != '-') {
            snprintf(error, error_size, "unknown option %s (perigee %s --help lists them)",
                     argument, command_of(config));
            return -1;
        }
        if (argument[0] != '-') {
            if (config->app != NULL) {
                snprintf(error, error_size, "one app at a time: '%s' and '%s'", config->app,
                         argument);
                return -1;
            }
            config->app = argument;
            continue;
        }
        char flag[64];
        const char *value = strchr(argument, '=');
        size_t flag_len = value != NULL ? (size_t) (value - argument) - 2 : strlen(argument) - 2;
        snprintf(flag, sizeof(flag), "%.*s", (int) (flag_len > 60 ? 60 : flag_len), argument + 2);
        if (value != NULL) {
            value++;
        } else if (i + 1 < argc) {
            value = argv[++i];
        } else if (is_flag(flag)) { /* what is no flag at all is said below */
            snprintf(error, error_size, "--%s wants a value", flag);
            return -1;
        }
        if (parse_flag(config, flag, value, error, error_size) != 0)
            return -1;
    }
    if (config->app == NULL && dev)
        config->app = ".";
    if (config->app == NULL) {
        snprintf(error, error_size, "which app? perigee run APPDIR, for example: perigee run .");
        return -1;
    }
    return 0;
}
