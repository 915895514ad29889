/* Writes what an exchange answers: results of handlers, errors, streams, and what C answers by
 * itself. Functions that take a lua_State run in the exchange's task and may raise for want of
 * memory. */
#ifndef PERI_ANSWER_H
#define PERI_ANSWER_H

#include "buf.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct peri_exchange;

/* A whole answer. */
struct peri_answer {
    unsigned status;
    const char *type; /* content type; NULL for none */
    size_t type_len;
    int headers;       /* index of an array of {name, value} pairs, or 0 */
    const char *lines; /* header lines made by C, each with its CRLF; may be NULL */
    const char *body;
    size_t body_len;
};

/* Sends it, once for each exchange: later answers are dropped. Returns 0, or -1 with a message
 * pushed and nothing sent when a header is not sound. L may be NULL when there are no Lua headers.
 */
int peri_answer_send(lua_State *L, struct peri_exchange *exchange,
                     const struct peri_answer *answer);

/* Appends the pairs of the array at `index` as header lines. Returns 0, or -1 with a message
 * pushed; `out` is as before then. */
int peri_answer_add_headers(lua_State *L, int index, struct peri_buf *out);

/* Sends 103 Early Hints (RFC 8297) with the pairs of the array at `headers`. Returns 1; 0 where
 * there is nobody to read them: HTTP/1.0, an answer that has begun, a client that has gone, a
 * worker thread; or -1 with a message pushed when a header is not sound. */
int peri_answer_early_hints(lua_State *L, struct peri_exchange *exchange, int headers);

/* The answers that C gives by itself have FastAPI's shape: {"detail":"Not Found"}. */
void peri_answer_detail(struct peri_exchange *exchange, unsigned status, const char *lines);

/* The same with a text of its own. */
void peri_answer_text_detail(struct peri_exchange *exchange, unsigned status, const char *detail);

/* The client's input is not valid: 422 with the errors of the loop's result. */
void peri_answer_invalid(struct peri_exchange *exchange);

/* The handler failed: 500, or a cut connection when the head is already out. */
void peri_answer_fail(struct peri_exchange *exchange);

/* Answers with the handler's result on top of the stack: any JSON value, or an explicit response.
 * May park the task to stream, so it must be the last call of a continuation. */
int peri_answer_result(lua_State *L, struct peri_exchange *exchange);

/* Answers with the error on top of the stack: an HTTP error, or a 500 and a traceback in the log.
 */
void peri_answer_error(lua_State *L, struct peri_exchange *exchange);

/* Writes a piece of a streamed answer; the first one is preceded by the head, which the stream's
 * response at index `response` describes. Returns false when the connection is gone. */
bool peri_answer_stream_write(lua_State *L, struct peri_exchange *exchange, int response,
                              const char *bytes, size_t len);

/* Sends a comment of server-sent events whenever nothing was written for that long, so that neither
 * a proxy nor the client takes the connection for dead. 0 ends it. */
void peri_answer_keep_alive(struct peri_exchange *exchange, uint32_t silence_ms);

/* Where the task of an exchange keeps things on its stack. */
enum peri_task_index {
    PERI_TRACEBACK_INDEX = 1,
    PERI_REQUEST_INDEX, /* nil for a handler without a parameter */
    PERI_RESULT_INDEX,
};

#endif
