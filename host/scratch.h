/* Memory that every request of a thread uses anew: one for each loop thread, one for each worker.
 */
#ifndef PERI_SCRATCH_H
#define PERI_SCRATCH_H

#include "buf.h"
#include "sources.h"

struct peri_scratch {
    struct peri_buf body;       /* the JSON text of one answer */
    struct peri_buf text;       /* decoded names and values; never across a call of Lua */
    struct peri_buf decoded;    /* the JSON text of a body in another format, see decode.h */
    struct peri_gather gather;  /* the inputs of one request */
    struct peri_result *result; /* what their validation gave */
};

/* Returns 0, or UV_ENOMEM; peri_scratch_close() is due in every case. */
int peri_scratch_open(struct peri_scratch *scratch);
void peri_scratch_close(struct peri_scratch *scratch);

#endif
