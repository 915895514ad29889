/* Settings of one server process, from flags. Checked once, read-only afterwards, so every thread
 * may read them. Limits may also be options of perigee.app{ limits = {...} }; a flag wins over the
 * app. */
#ifndef PERI_CONFIG_H
#define PERI_CONFIG_H

#include "address.h"
#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peri_limits {
    uint64_t max_head_bytes;
    uint64_t max_headers;
    uint64_t max_target_bytes;
    uint64_t max_body_bytes;
    uint64_t max_chunk_ext_bytes;
    uint64_t max_json_depth;
    uint64_t max_form_files;
    uint64_t max_form_fields;
    uint64_t max_form_field_bytes;
    uint64_t max_connections; /* of the whole process; 0: as many as there are descriptors */
    uint64_t head_timeout_ms;
    uint64_t body_timeout_ms; /* without any byte of it */
    uint64_t body_min_rate;   /* bytes a second, once body_timeout_ms have passed; 0: any */
    uint64_t keep_alive_timeout_ms;
    uint64_t write_timeout_ms; /* without the client taking any byte */
    uint64_t timeout_ms;       /* for an operation to answer */
    uint64_t after_timeout_ms; /* for the functions behind an answer */
    uint64_t drain_ms; /* told to stop, it is not ready, but accepts and serves for so long */
    uint64_t shutdown_grace_ms;
    uint64_t max_queued; /* threaded calls that wait for a thread */
    uint64_t queue_timeout_ms;
};

/* One entry of the table that flags, app options and the help text are made from. */
struct peri_limit_option {
    const char *name; /* with underscores: the app's option; the flag has dashes */
    size_t offset;    /* in struct peri_limits */
    uint64_t fallback;
    uint64_t min;
    uint64_t max;
    const char *help;
};

extern const struct peri_limit_option peri_limit_options[];
extern const size_t peri_limit_option_count;

static inline uint64_t *peri_limit(struct peri_limits *limits, size_t option)
{
    return (uint64_t *) (void *) ((char *) limits + peri_limit_options[option].offset);
}

enum peri_log_format {
    PERI_LOG_TEXT,
    PERI_LOG_JSON,
    PERI_LOG_OFF,
};

#define PERI_MAX_ENDPOINTS 16

/* Where to listen besides, or instead of, host and port. */
struct peri_endpoint {
    enum { PERI_ENDPOINT_TCP, PERI_ENDPOINT_UNIX, PERI_ENDPOINT_FD } kind;
    char text[256]; /* host or path */
    int port;       /* or descriptor */
};

struct peri_config {
    const char *app; /* a directory with app.lua, or a Lua file */
    bool dev;        /* in development: errors are shown, files are watched */
    const char *host;
    int port;
    bool address_given; /* host or port were asked for */
    struct peri_endpoint endpoints[PERI_MAX_ENDPOINTS];
    unsigned endpoint_count;
    bool proxy_protocol;          /* every connection begins with a header of its proxy */
    struct peri_networks trusted; /* proxies whose word on the client is believed */
    const char *root_path;        /* what a proxy strips from the front of paths; NULL: nothing */
    uint64_t shared_memory_bytes;
    uint64_t stall_timeout_ms; /* without a tick the supervisor replaces the server; 0: never */
    const char *metrics;       /* the path of the metrics; NULL: the app decides */
    bool request_id;           /* every answer names its request: */
    bool request_id_given;
    bool health;    /* /healthz and /readyz, unless the app has its own */
    bool supervise; /* a process of its own keeps the sockets and restarts the server */
    int loops;
    int threads; /* for threaded functions */
    enum peri_log_format log;
    const char *control;      /* path of the operator's socket, "off", or NULL: the usual one */
    uint64_t lua_memory;      /* bytes that each VM may hold */
    uint64_t load_timeout_ms; /* for the app to load and to start, each */
    struct peri_limits limits;
    uint32_t limits_given; /* bit i: option i came as a flag */
};

/* The settings of a server that is told nothing. */
void peri_config_default(struct peri_config *config);

/* Reads the flags behind `perigee run`, or `perigee dev`, which has one loop, two worker threads
 * and no supervisor and serves the current folder unless told otherwise. Returns 0, or -1 with one
 * line in `error` that says what is wrong and what is meant. `argv` must outlive the config. */
int peri_config_parse(struct peri_config *config, int argc, char **argv, bool dev, char *error,
                      size_t error_size);

/* A text given as --set name=value: settings of the app's own, for perigee/settings.lua. There is
 * one command line, so they are the process's. NULL behind the last one. */
const char *peri_config_setting(size_t i);

/* Adds one; `text` must outlive the process's threads. False when there are too many. */
bool peri_config_add_setting(const char *text);

/* Appends the flags with their defaults: the help of `perigee run`, from which its manual page and
 * the completion of shells are made, too. */
void peri_config_usage(struct peri_buf *text);

#endif
