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
 * way. Only to who knows the server by its address or its own name: a site whose name was made to
 * lead here (DNS rebinding) is the "same origin" for its pages. While the app has never loaded,
 * every request is answered here, with that error.
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

/* Makes an answer one with the script, its body in `page`, when it is a whole page of HTML; a
 * failure of the host's own words becomes a page where a browser wants to show it, so that it
 * reloads when it is mended. L holds the headers of the answer, when it has some there. */
void peri_develop_dress(struct lua_State *L, const struct peri_exchange *exchange,
                        struct peri_answer *answer, struct peri_buf *page);

#endif
