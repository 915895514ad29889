/* One request, its response and its task: the one meeting place of HTTP and Lua.
 *
 *   begin -> feed (head: route, limits) -> feed (body) -> task runs handler -> answer -> over
 *
 * Refusals that need no Lua (404, 405, 413, a slash redirect, ...) are answered here and never
 * enter a VM, unless the app has middleware that wants to see them. The handler starts when the
 * bytes at hand are used up: with the whole message where it came in one read, otherwise with the
 * body still arriving. Request bytes stay in the loop's read buffer until the handler waits; then
 * they are copied once.
 *
 * Ownership: taken from and given back to the loop's pool. While `conn` is set the connection
 * points back at it; a connection that goes away first detaches it (peri_exchange_abort), and the
 * exchange then lives until its task has ended. The request object in Lua holds a box that is
 * emptied when the exchange ends. */
#ifndef PERI_EXCHANGE_H
#define PERI_EXCHANGE_H

#include "app.h"
#include "body.h"
#include "conn.h"
#include "form.h"
#include "forwarded.h"
#include "http.h"
#include "inflate.h"
#include "router.h"
#include "scratch.h"
#include "task.h"

struct peri_hop_site;

struct peri_request_box {
    struct peri_exchange *exchange; /* NULL once the exchange ended */
    const char *tag;                /* told by api_request.c: that this is one */
    uint32_t assigned;              /* bit i: Lua has assigned field i */
    bool responds;                  /* its `response` was asked for or assigned */
};

/* What a task waits for: more of the body, or room in the socket. As a rule it is the exchange's
 * own task; one that got hold of somebody else's request is woken when that ends. */
struct peri_exchange_op {
    struct peri_op op;
    struct peri_exchange *exchange;  /* NULL once the exchange has ended */
    struct peri_exchange_op **place; /* where the exchange keeps it */
};

struct peri_exchange {
    /* Goes from request to request: */
    struct peri_loop *loop; /* NULL on a worker */
    struct peri_list link;
    struct peri_buf head;   /* own copy of the head, once it is needed */
    struct peri_buf path;   /* the decoded path, when decoding changed it */
    struct peri_buf body;   /* own copy of the body, once it is needed */
    struct peri_timer ping; /* of a streamed answer that is kept alive */
    uint32_t header_room;   /* of request.headers */

    /* Set when a request begins: */
    struct peri_conn *conn; /* NULL after an abort, and on a worker */
    struct peri_scratch *scratch;
    struct peri_vm *vm; /* the loop's current one when the request began; it stays for it */
    struct peri_http http;
    struct peri_request request;
    struct peri_match match; /* parameters point into the head or into `path` */

    /* Zeroed when it is over, from here to the end: */
    const struct peri_operation *operation;

    const char *body_at; /* the body so far: in the bytes being fed, or in `body` */
    size_t body_len;
    uint64_t body_total; /* bytes that arrived, taken ones included */

    struct peri_inflate *inflate; /* of a compressed body that is declared; else NULL */
    struct peri_form *form;       /* of a declared form; else NULL */
    const char *detail;           /* why the body was refused, when its status does not say */

    struct peri_hop_site *site; /* on a worker (hop.h): where its answer goes; NULL on a loop */
    struct peri_task *task;
    struct peri_request_box *box; /* both anchored on the task's stack */
    struct peri_request_box *stream_box;
    struct peri_exchange_op *waits_body;
    struct peri_exchange_op *waits_drain;

    union peri_address peer; /* the client, also when it has gone */
    uint64_t started_ns;     /* 0 while nobody logs */
    int after;               /* registry reference of functions to run behind the answer; 0: none */
    uint64_t sent;           /* bytes of body sent */
    uint64_t id;             /* 0 until somebody asks */
    uint64_t body_since;     /* uv_now() when the client began to be timed */
    uint64_t body_base;      /* body_total at that time */
    uint16_t status;         /* of the answer; 0 until its head is out */
    uint16_t refusal;        /* the status of an answer without a handler: there is no operation,
                              * or it took too long; 0 otherwise */
    uint8_t body_mode;
    bool counted;  /* among those in flight */
    bool started;  /* the handler, or a refusal */
    bool answered; /* the answer is complete */
    bool logged;   /* what failed on a worker, there */
    bool failed;   /* the answer was cut: the connection is of no more use */
    bool keep_alive;
    bool chunked_out;
    uint8_t host_params; /* the last of match.params, which point into the head in any case */
    uint32_t ping_ms;    /* how long it may be silent; 0: for ever */
    bool sized_out;      /* a streamed answer of a declared length: */
    uint64_t owed;       /* bytes of it that are still to come */
    bool in_place;       /* body_at points into the bytes being fed */
    bool said_continue;
    bool complete;    /* the whole message has arrived */
    bool for_develop; /* develop.c answers it */
    bool decoded;     /* the body counts as what scratch->decoded holds, until the handler runs */
    bool invalid;     /* declared inputs are not valid; the loop's result says why */
};

/* Takes an exchange from the loop's pool. */
struct peri_exchange *peri_exchange_begin(struct peri_conn *conn);

/* Hands it bytes. Returns how many belong to it; the exchange may be over when this returns
 * (conn->exchange is NULL then). */
size_t peri_exchange_feed(struct peri_exchange *exchange, const char *bytes, size_t len);

/* Whether the handler is cancelled when the client has gone; otherwise it finishes. */
bool peri_exchange_ends_with_client(const struct peri_exchange *exchange);

/* The connection is gone or has to go: detaches it, and cancels the task if it ends with its
 * client.
 */
void peri_exchange_abort(struct peri_exchange *exchange, const char *reason);

/* The client closed its sending side with the message incomplete, or a deadline passed: answers
 * with `status` when that is still possible, and the connection closes. */
void peri_exchange_refuse(struct peri_exchange *exchange, int status);

/* Ends it on behalf of the operator: cancels its task and answers 503, or cuts the connection when
 * the answer has begun. */
void peri_exchange_cancel(struct peri_exchange *exchange, const char *reason);

/* The server stops without waiting for its task any longer: answers 503, and leaves it to the
 * connection to close. Returns false when there is no task or the answer has begun. */
bool peri_exchange_cut(struct peri_exchange *exchange);

/* It was answered outside of its task and of peri_exchange_feed(). */
void peri_exchange_finish(struct peri_exchange *exchange);

/* The socket has taken what was queued. */
void peri_exchange_on_drain(struct peri_exchange *exchange);

/* The loop is done with everything: frees the pool. */
void peri_exchange_free_pool(struct peri_loop *loop);

/* --- For hop.c, which handles a copy of the exchange on a worker --- */

/* Finds the operation of the request, or the status that refuses it. */
void peri_exchange_match(struct peri_exchange *exchange);

/* Holds the declared inputs against what came. Returns false when that is the answer, which has
 * been given: invalid input does not enter Lua unless the app has Lua that must see it. */
bool peri_exchange_validate(struct peri_exchange *exchange);

/* Runs the handler in the current task and answers; `return peri_exchange_handle(L, exchange);` as
 * the task's body. Its frame keeps the request object alive, so that the box can be emptied. */
int peri_exchange_handle(lua_State *L, struct peri_exchange *exchange);

/* The HTTP error on top of the stack is the answer to a request that no Lua of this VM has seen:
 * leads it through the app's middleware and error handlers. `return` it, with a request that was
 * not made (nil) at its index. */
int peri_exchange_lead_error(lua_State *L, struct peri_exchange *exchange);

/* Nobody waits for the exchange any more, and its request object is empty. */
void peri_exchange_task_ended(struct peri_exchange *exchange);

/* --- For the Lua side (api/api_request.c); all run in the exchange's task --- */

/* Parks the running task at `place` (&exchange->waits_body, say) until peri_exchange_wake().
 * `finish` finds op->exchange NULL, and raises through peri_exchange_of_op(), when the exchange
 * ended meanwhile. */
int peri_exchange_await(lua_State *L, struct peri_exchange *exchange,
                        struct peri_exchange_op **place,
                        int (*finish)(lua_State *L, struct peri_op *op));
void peri_exchange_wake(struct peri_exchange_op **place);

/* The exchange that an op waited for; raises when it has ended. */
struct peri_exchange *peri_exchange_of_op(lua_State *L, struct peri_op *op);

/* Waits until the socket has taken what was written. */
int peri_exchange_await_drain(lua_State *L, struct peri_exchange *exchange);

/* The exchange whose task this is; NULL for any other task and for NULL. Touches nothing else, so
 * that a crash handler may ask. */
struct peri_exchange *peri_exchange_of_task(const struct peri_task *task);

/* Who sent it, as far as trusted proxies tell. */
struct peri_origin peri_exchange_origin(const struct peri_exchange *exchange);

/* A number that nothing else in this process has. */
uint64_t peri_next_number(void);

#define PERI_REQUEST_ID 129 /* bytes of an id, with its NUL */

/* What names this request in logs: the X-Request-ID that a trusted proxy sent, when that is at most
 * 128 visible characters; else one that no other request has. */
void peri_exchange_id(struct peri_exchange *exchange, char text[PERI_REQUEST_ID]);

/* Logs on behalf of the request: method, path and where the operation was declared. */
__attribute__((format(printf, 2, 3))) void peri_exchange_log(struct peri_exchange *exchange,
                                                             const char *format, ...);

#endif
