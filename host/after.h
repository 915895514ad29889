/* Functions that run behind an answer, in a task of their own: the connection does not wait for
 * them. */
#ifndef PERI_AFTER_H
#define PERI_AFTER_H

struct peri_after;
struct peri_exchange;
struct peri_task;

/* Takes the functions at exchange->after, and the files of its form, from it. NULL if there are
 * none. What is taken no longer needs the exchange nor its request. */
struct peri_after *peri_after_take(struct peri_exchange *exchange);

/* Starts what was taken, on the thread of its VM; NULL is fine. */
void peri_after_start(struct peri_after *after);

/* The request behind whose answer this task runs functions; NULL for any other task. */
const char *peri_after_request(const struct peri_task *task);

#endif
