/* The app as the host runs it: what entry.load() returned, in C. Belongs to the VM that loaded it.
 */
#ifndef PERI_APP_H
#define PERI_APP_H

#include "buf.h"
#include "config.h"
#include "form.h"
#include "http.h"
#include "router.h"
#include "schema.h"
#include "task.h"

#include <lua.h>
#include <stdbool.h>

/* What the answers look like that C gives by itself. */
enum peri_error_detail {
    PERI_DETAIL_FULL,
    PERI_DETAIL_CODES, /* of refused input: what went wrong where, and no more */
    PERI_DETAIL_NONE,
};

struct peri_error_style {
    bool problem; /* RFC 9457's problem details in place of {"detail": ...} */
    enum peri_error_detail validation;
};

/* What becomes of a handler whose client has gone. */
enum peri_on_disconnect {
    PERI_DISCONNECT_USUAL, /* GET and HEAD are cancelled, the others finish */
    PERI_DISCONNECT_CANCEL,
    PERI_DISCONNECT_FINISH,
};

/* One path operation. */
struct peri_operation {
    int handler;        /* registry reference of a function (req) -> result */
    uint16_t status;    /* of a plain returned value */
    int hop;            /* LUA_NOREF, or what a worker runs of it: function (req, errand) */
    bool threaded;      /* all of it runs on a worker thread */
    bool takes_request; /* false: the handler has no parameter, so no request object is made */
    bool sees_invalid; /* the handler is called with (req, errors, failed) for invalid input, too */
    unsigned uses;     /* enum peri_inputs_uses */
    struct peri_inputs *inputs; /* NULL: nothing is declared */
    int inputs_ref;
    int decoder;      /* LUA_NOREF, or function (media_type, bytes) -> JSON text; see decode.h */
    char *decodes;    /* the media types that it knows, parted by blanks; NULL without one */
    int response_ref; /* LUA_NOREF: results are written as they are */
    uint64_t max_body_bytes;
    struct peri_metrics_route *metrics; /* NULL: nobody counts */
    struct peri_work *work;             /* what its tasks do: its deadline, its name */
    uint8_t on_disconnect;              /* enum peri_on_disconnect */
    struct peri_error_style errors;
    char *label;  /* methods and path, for logs */
    char *path;   /* as declared, for logs */
    char *source; /* file:line of the declaration; may be NULL */
};

/* The operations for one host name. */
struct peri_realm {
    char *host; /* as declared: "api.example.com", "{tenant}.example.com" */
    struct peri_router *router;
    const char *suffix; /* in `host`: what stands behind the parameter; else all of it */
    char *param;        /* the parameter's name; NULL: there is none */
};

struct peri_app {
    bool measured;                        /* requests are counted, see metrics.h */
    struct peri_metrics_route *unmatched; /* ... those that no operation takes */
    bool request_id;                      /* answers carry X-Request-ID */
    struct peri_router *router;           /* its values are struct peri_operation */
    struct peri_realm *realms;            /* asked first, in their order */
    size_t realm_count;
    struct peri_operation *operations;
    struct peri_work *works;       /* of the operations */
    struct peri_work refusal_work; /* middleware around answers of the host */
    struct peri_work after_work;   /* functions behind an answer */
    size_t operation_count;
    int fallback;   /* registry references, or LUA_NOREF: answers made by C pass through this one */
    int start;      /* called before the first request */
    int stop;       /* called after the last one */
    int background; /* called in one VM of the process, beside its requests */
    struct peri_error_style errors;      /* where there is no operation */
    struct peri_limits limits;           /* defaults, the app's options, the flags: in this order */
    struct peri_form_limits form_limits; /* the same, as forms want them */
    struct peri_http_limits http_limits; /* those of them that the parser holds to */
    char *title;
    char **threaded; /* what tells its threaded functions, in the order they were made */
    size_t threaded_count;
    char *docs;           /* path of the documentation's page; NULL: there is none */
    bool cleans_threaded; /* some of them clean up behind others */
};

/* Reads the table on top of the stack, as common to entry.load(): raises when it is not as agreed
 * upon, so it runs in a protected call. Fills *app even then; peri_app_deinit() is due either way.
 */
void peri_app_read(lua_State *L, struct peri_app *app, const struct peri_config *config);

/* An app without operations. Returns 0 or UV_ENOMEM. */
int peri_app_empty(struct peri_app *app, const struct peri_config *config);

/* Whether two VMs have loaded the same operations, in whatever order. If not, says in `error` which
 * one only one of them has. */
bool peri_app_agrees(const struct peri_app *first, const struct peri_app *other,
                     struct peri_buf *error);

/* Calls `say` for each operation that no request reaches, with both places. */
void peri_app_each_shadowed(const struct peri_app *app,
                            void (*say)(void *context, const char *text), void *context);

/* Logs them as warnings. */
void peri_app_warn(const struct peri_app *app);

/* Gives back what the app holds in the registry of a VM that lives on, and then as below. */
void peri_app_release(lua_State *L, struct peri_app *app);

/* The realm of a Host header's value; NULL when it is the app itself. The parameter of the realm's
 * host, if it has one, is the first *param_len bytes. */
const struct peri_realm *peri_app_realm(const struct peri_app *app, const char *host,
                                        size_t host_len, size_t *param_len);

void peri_app_deinit(struct peri_app *app);

#endif
