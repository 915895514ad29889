/* Whether what is threaded is worth its hop. In development each loop counts how long the trips of
 * a function, or of an operation, have taken on their worker, and says once that a plain function
 * would do: after 100 in a row that waited for nothing and took less than a hop costs with all its
 * waking, 20 us, on average. Who has waited once is never told.
 *
 * Pure. Belongs to the thread of its owner. */
#ifndef PERI_WORTH_H
#define PERI_WORTH_H

#include <stdbool.h>
#include <stdint.h>

#define PERI_WORTH_TRIPS 100
#define PERI_WORTH_NS 20000 /* on average */

/* Zeroed at first. */
struct peri_worth {
    uint64_t ns;
    uint32_t trips; /* that took so long together */
    bool settled;   /* it is worth it, or it was said that it is not */
};

/* A trip took so long on its worker. Returns the average in nanoseconds when it is time to say that
 * it is not worth it, else 0. */
uint64_t peri_worth_count(struct peri_worth *worth, uint64_t ns, bool waited);

#endif
