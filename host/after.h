/* Functions that run behind an answer, in a task of their own: the connection does not wait for
 * them. */
#ifndef PERI_AFTER_H
#define PERI_AFTER_H

struct peri_exchange;
struct peri_task;

/* Starts the functions at exchange->after, and takes them, and the files of its form, from it. */
void peri_after_start(struct peri_exchange *exchange);

/* The request behind whose answer this task runs functions; NULL for any other task. */
const char *peri_after_request(const struct peri_task *task);

#endif
