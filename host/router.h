/* Method and path to operation and raw parameters: a tree of path segments, built once at load and
 * read-only afterwards, so any thread may match. Pure: no sockets, no Lua, no decoding.
 *
 * A pattern is literal text with parameters: `{p}` is [^/]+ (`{p:str}` the same), `{p:int}` [0-9]+,
 * `{p:float}` [0-9]+(\.[0-9]+)?, `{p:uuid}` a UUID with or without its dashes and `{p:path}` .*,
 * which may be empty. Parameters may share a segment when literal text parts them (`/{a}-{b}.txt`)
 * and are greedy from left to right, as in a regular expression.
 *
 * Where several patterns match, the first segment in which they differ decides: literal text beats
 * a parameter with literal text around it or a converter, that beats `{p}`, and that beats
 * `{p:path}` and all that follows it. Among equals the one whose segment was added first wins. A
 * pattern without the method never hides one that has it. */
#ifndef PERI_ROUTER_H
#define PERI_ROUTER_H

#include <stddef.h>
#include <stdint.h>

#define PERI_ROUTER_MAX_PARAMS 32

/* No pattern matches a path longer than this. */
#define PERI_ROUTER_MAX_PATH 65535

/* Methods are bits: 1 << the number llhttp gives them. */
#define PERI_METHOD_BIT(method) (UINT64_C(1) << (method))

struct peri_route {
    const char *path; /* as added */
    uint64_t methods;
    void *operation;
};

struct peri_param {
    const char *name;  /* lives as long as the router */
    const char *value; /* points into the path that was matched */
    size_t len;
};

struct peri_match {
    const struct peri_route *route; /* set when found */
    uint64_t methods; /* unless found: of all patterns that match the path, for Allow */
    unsigned param_count;
    struct peri_param params[PERI_ROUTER_MAX_PARAMS]; /* in the order of the pattern */
};

enum peri_match_result {
    PERI_MATCH_FOUND,
    PERI_MATCH_METHOD, /* patterns match the path, none has the method */
    PERI_MATCH_NONE,
};

struct peri_router *peri_router_new(void);
void peri_router_free(struct peri_router *router); /* NULL is fine */

/* Adds a pattern; copies `path`, borrows `operation`. Returns 0, or -1 with words in `error` (of a
 * size of 1 or more) that say what is wrong with which path. A pattern that an earlier one hides is
 * no error: see peri_router_shadow(). */
int peri_router_add(struct peri_router *router, uint64_t methods, const char *path, void *operation,
                    char *error, size_t error_size);

/* Whether a pattern could be added: 0, or -1 with the same words. */
int peri_router_check(const char *path, char *error, size_t error_size);

/* Matches a path that was percent-decoded by the caller, once. Allocates nothing; its time is
 * bounded by the length of the path times the size of the patterns. */
enum peri_match_result peri_router_match(const struct peri_router *router, const char *path,
                                         size_t len, unsigned method, struct peri_match *match);

/* The routes in the order they were added; NULL behind the last one. */
const struct peri_route *peri_router_route(const struct peri_router *router, size_t index);

/* The route that takes all requests of this one, for the methods in *methods; NULL when none does.
 * For warnings, once everything is added. */
const struct peri_route *peri_router_shadow(const struct peri_router *router, size_t index,
                                            uint64_t *methods);

#endif
