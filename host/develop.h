/* What pages in development hear from their server: that there is a new version of the app, or why
 * there is none.
 *
 * Every page of HTML that is answered in one piece carries a small script (pages/reload.js). It
 * asks GET /__perigee/reload?state=S, S being the version that made the page, and the answer waits
 * for as long as that is the state of affairs:
 *
 *     {"state":"5f0c-12","error":null}      version 12 has taken over: the page reloads itself
 *     {"state":"5f0c-13","error":"..."}     version 13 does not load: shown above the page
 *
 * Answered here, in C, on the loop threads: no middleware, no VM and no fault of the app is in the
 * way. While the app has never loaded, every request is answered here, with that error.
 *
 * One struct for the process, NULL in production. The mutex guards the text; who answers holds a
 * copy for that long. */
#ifndef PERI_DEVELOP_H
#define PERI_DEVELOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;
struct peri_answer;
struct peri_buf;
struct peri_develop;
struct peri_exchange;
struct peri_loop;
struct peri_server;

/* NULL: out of memory. */
struct peri_develop *peri_develop_new(void);
void peri_develop_free(struct peri_develop *develop);

/* From the server's own thread: load number `number` has ended, with this error or with NULL. Wakes
 * who waits. */
void peri_develop_tell(struct peri_develop *develop, struct peri_server *server, uint64_t number,
                       const char *error);

/* Whether the request, of which the head is there, is answered here. */
bool peri_develop_takes(const struct peri_exchange *exchange);

/* Answers it, or has it wait. */
void peri_develop_run(struct peri_exchange *exchange);

/* On the loop's thread: answers those who wait, when there is news for them; with `all` also when
 * there is none. */
void peri_develop_wake(struct peri_loop *loop, bool all);

/* Fills `page` with the body of an answer and the script in it. Returns false for an answer that is
 * no whole page of HTML. L holds the headers of the answer, when it has some there. */
bool peri_develop_add_script(struct lua_State *L, const struct peri_exchange *exchange,
                             const struct peri_answer *answer, struct peri_buf *page);

#endif
