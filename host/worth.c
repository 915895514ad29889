#include "worth.h"

uint64_t peri_worth_count(struct peri_worth *worth, uint64_t ns, bool waited)
{
    worth->settled = worth->settled || waited;
    if (worth->settled)
        return 0;
    worth->ns += ns;
    if (++worth->trips < PERI_WORTH_TRIPS)
        return 0;
    uint64_t average = worth->ns / worth->trips;
    worth->settled = average < PERI_WORTH_NS;
    worth->trips = 0;
    worth->ns = 0;
    return worth->settled ? average + (average == 0) : 0;
}
