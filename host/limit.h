/* How often somebody may do something: counts of the whole process, shared by all of its threads
 * and kept while apps are loaded anew.
 *
 * Each key has one number, the time at which everything it was allowed would have been used up at
 * the steady rate (the generic cell rate algorithm): exact, and 16 bytes a key. Keys are known by a
 * keyed hash of 64 bits, so that what clients choose costs no memory of its own. What is as good as
 * new is forgotten; where the table is full even so, further keys are let through. */
#ifndef PERI_LIMIT_H
#define PERI_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peri_limit_rate {
    uint64_t every_ns; /* one more each time that this has passed */
    uint64_t burst;    /* how many may come at once */
};

struct peri_limit_answer {
    bool allowed;
    uint64_t left;     /* how many more may come at once */
    uint64_t reset_ns; /* until all of them may */
    uint64_t wait_ns;  /* until one may; 0 when it was allowed */
};

/* From any thread. `now_ns` never goes back: uv_hrtime(). */
struct peri_limit_answer peri_limit_take(const char *key, size_t len, struct peri_limit_rate rate,
                                         uint64_t now_ns);

/* How many keys are known; forgets all of them. For tests. */
size_t peri_limit_count(void);
void peri_limit_forget(void);

#endif
