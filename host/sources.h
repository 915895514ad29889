/* The raw inputs of a request, as pairs that point into its bytes: what declared types validate.
 * Pure but for the request; no Lua. */
#ifndef PERI_SOURCES_H
#define PERI_SOURCES_H

#include "request.h"
#include "router.h"
#include "schema.h"

/* Memory for pairs, reused from request to request. One for each loop thread. */
struct peri_gather {
    struct peri_field *fields;
    size_t count;
    size_t cap;
    struct peri_buf text; /* what had to be decoded */
};

void peri_gather_deinit(struct peri_gather *gather);

/* Fills path, query, headers and cookies of *sources, those of them that `uses` (enum
 * peri_inputs_uses) names, and the content type of a body. The pairs are valid until the next call
 * and as long as the bytes of the request. */
void peri_gather_sources(struct peri_gather *gather, const struct peri_request *request,
                         const struct peri_match *match, unsigned uses,
                         struct peri_sources *sources);

#endif
