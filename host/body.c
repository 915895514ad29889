#include "body.h"

#include "exchange.h"
#include "loop.h"

#include <lauxlib.h>
#include <string.h>

#define BODY_MARK 65536 /* unclaimed or streamed bytes of a body that are held */

uint64_t peri_body_max(const struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    return operation != NULL ? operation->max_body_bytes : exchange->vm->app.limits.max_body_bytes;
}

/* Keeps a piece of the body: where it is, when it is the first and `stays` until the exchange has
 * started, else in a buffer. */
static void keep_body(struct peri_exchange *exchange, const char *bytes, size_t len, bool stays)
{
    if (stays && exchange->body_len == 0 && exchange->body.len == 0) {
        exchange->body_at = bytes;
        exchange->body_len = len;
        exchange->in_place = true;
        return;
    }
    if (exchange->in_place) {
        exchange->in_place = false;
        peri_buf_add(&exchange->body, exchange->body_at, exchange->body_len);
    }
    peri_buf_add(&exchange->body, bytes, len);
    exchange->body_at = exchange->body.data;
    exchange->body_len = exchange->body.len;
}

static bool has_form(const struct peri_exchange *exchange)
{
    return exchange->operation != NULL && (exchange->operation->uses & PERI_USES_FORM);
}

/* What a status of the form means is said by the form. */
static int refuse_form(struct peri_exchange *exchange, int status)
{
    if (status != 0)
        exchange->detail = peri_form_detail(exchange->form);
    return status;
}

static int take_inflated(void *context, const char *bytes, size_t len)
{
    struct peri_exchange *exchange = context;
    if (exchange->form != NULL)
        return refuse_form(exchange, peri_form_feed(exchange->form, bytes, len));
    if (!has_form(exchange))
        keep_body(exchange, bytes, len, false);
    return 0;
}

int peri_body_take(void *context, const char *bytes, size_t len)
{
    struct peri_exchange *exchange = context;
    exchange->body_total += len;
    if (exchange->body_total > peri_body_max(exchange))
        return 413;
    if (exchange->body_mode == PERI_BODY_DROPPED)
        return 0;
    if (exchange->inflate != NULL)
        return peri_inflate_feed(exchange->inflate, bytes, len, take_inflated, exchange);
    if (has_form(exchange))
        return take_inflated(exchange, bytes, len);
    keep_body(exchange, bytes, len, true);
    return 0;
}

static const char *header_value(const struct peri_request *request, const char *name, size_t *len)
{
    int at = peri_request_find(request, 0, name, strlen(name));
    *len = at >= 0 ? request->headers[at].value.len : 0;
    return at >= 0 ? peri_request_at(request, request->headers[at].value) : NULL;
}

/* Makes ready for a declared body: forms are read, and compressed bodies inflated, while they
 * arrive. */
int peri_body_expect(struct peri_exchange *exchange)
{
    const struct peri_request *request = &exchange->request;
    unsigned uses = exchange->operation->uses;
    if (!(uses & (PERI_USES_BODY | PERI_USES_FORM)))
        return 0;
    size_t len = 0;
    int status = 0;
    const char *encoding = header_value(request, "content-encoding", &len);
    if (encoding != NULL)
        exchange->inflate =
            peri_inflate_new(encoding, len, exchange->operation->max_body_bytes, &status);
    if (uses & PERI_USES_FORM) {
        const char *type = header_value(request, "content-type", &len);
        exchange->form = peri_form_new(type, len, &exchange->vm->app.form_limits);
    }
    return status;
}

/* The declared body is complete: whether it is whole, too. Returns 0 or a status to refuse with. */
int peri_body_end(struct peri_exchange *exchange)
{
    int status = exchange->inflate != NULL ? peri_inflate_end(exchange->inflate) : 0;
    if (status == 0 && exchange->form != NULL)
        status = refuse_form(exchange, peri_form_end(exchange->form));
    return status;
}

void peri_body_wake(struct peri_exchange *exchange)
{
    if (peri_body_is_ready(exchange))
        peri_exchange_wake(&exchange->waits_body);
}

/* Whether a declared body has to be there before anything can start. */
bool peri_body_is_needed(struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    if (operation == NULL || !((operation->uses & (PERI_USES_BODY | PERI_USES_FORM)) ||
                               operation->threaded || operation->hop != LUA_NOREF))
        return false;
    if (exchange->body_mode == PERI_BODY_UNCLAIMED)
        peri_body_claim(exchange, PERI_BODY_WHOLE);
    return true;
}

bool peri_body_has_room(const struct peri_exchange *exchange)
{
    if (exchange->complete)
        return true; /* pipelined requests wait in the connection, and its end is noticed */
    switch ((enum peri_body_mode) exchange->body_mode) {
    case PERI_BODY_WHOLE:
    case PERI_BODY_DROPPED:
        return true;
    case PERI_BODY_UNCLAIMED:
    case PERI_BODY_CHUNKS:
        break;
    }
    return exchange->body_len < BODY_MARK;
}

/* The body has room again: if the socket was left alone for it, the client's time starts anew. */
static void read_on(struct peri_exchange *exchange)
{
    struct peri_conn *conn = exchange->conn;
    if (conn == NULL || exchange->complete || conn->reading)
        return;
    exchange->body_since = uv_now(&exchange->loop->uv);
    exchange->body_base = exchange->body_total;
    peri_conn_set_read_due(conn, exchange->body_since + exchange->vm->app.limits.body_timeout_ms);
    peri_conn_update_reading(conn);
}

bool peri_body_is_ready(const struct peri_exchange *exchange)
{
    return exchange->complete ||
           (exchange->body_mode == PERI_BODY_CHUNKS && exchange->body_len > 0);
}

void peri_body_claim(struct peri_exchange *exchange, enum peri_body_mode mode)
{
    struct peri_conn *conn = exchange->conn;
    if (exchange->body_mode == PERI_BODY_UNCLAIMED)
        exchange->body_mode = (uint8_t) mode;
    if (conn == NULL || exchange->complete)
        return;
    if ((exchange->request.flags & PERI_REQUEST_EXPECTS_100) && !exchange->said_continue &&
        exchange->body_total == 0 && exchange->status == 0) {
        exchange->said_continue = true;
        peri_buf_add_lit(peri_conn_out(conn), "HTTP/1.1 100 Continue\r\n\r\n");
        peri_conn_send(conn, NULL, 0);
    }
    read_on(exchange);
}

int peri_body_await(lua_State *L, struct peri_exchange *exchange,
                    int (*finish)(lua_State *L, struct peri_op *op))
{
    return peri_exchange_await(L, exchange, &exchange->waits_body, finish);
}

void peri_body_drop(struct peri_exchange *exchange)
{
    exchange->body.len = 0;
    exchange->body_len = 0;
    exchange->in_place = false;
    read_on(exchange);
}
