/* What a crash leaves behind: the supervisor learns which request was being served. The signal then
 * takes its usual course, with a core where the system wants one. */
#ifndef PERI_CRASH_H
#define PERI_CRASH_H

struct peri_loop;

/* Watches SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, unless a sanitizer does. */
void peri_crash_open(void);

/* Says that the calling thread runs this loop. */
void peri_crash_of_loop(struct peri_loop *loop);

#endif
