/* One search for a Lua pattern in a text: what string.find, match, gmatch and gsub share. It means
 * what Lua 5.4 means by a pattern, down to its errors. Unlike Lua's own it can be left off: after
 * so many steps (`budget`) it pauses, and goes on with all that it knew, because what waits to be
 * tried stands on a stack of its own and not on that of C.
 *
 * A pattern has no alternatives and repeats single items only, so that this stack never holds more
 * than one choice for each item of the pattern. Lua calls a pattern that needs 200 of them too
 * complex, and so do we: the struct is of fixed size, owns nothing, and may be copied and dropped
 * at any time; copy peri_search_size() bytes.
 *
 * Text and pattern stay with the caller, and both end with a NUL behind their last byte, as Lua's
 * strings do. Pure: knows no Lua state. */
#ifndef PERI_SEARCH_H
#define PERI_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERI_SEARCH_CAPTURES 32
#define PERI_SEARCH_CHOICES 199
#define PERI_SEARCH_BUDGET 20000 /* some 50 microseconds */

enum peri_found {
    PERI_FOUND,
    PERI_FOUND_NOTHING,
    PERI_FOUND_FAULT, /* the pattern is malformed: `fault` */
    PERI_FOUND_LATER, /* the budget is used up: call again */
};

struct peri_capture {
    const char *at;
    ptrdiff_t len; /* or one of these: */
};

enum { PERI_CAPTURE_OPEN = -1, PERI_CAPTURE_POSITION = -2 };

/* What to do when the rest of the pattern does not match. */
struct peri_search_choice {
    const char *at;   /* in the text */
    const char *item; /* in the pattern */
    const char *item_end;
    size_t count; /* of repetitions that are left to try */
    uint8_t kind;
};

struct peri_search {
    const char *text;
    const char *text_end;
    const char *pattern;
    const char *pattern_end;
    const char *begin; /* of the match that was found; set by the caller: where to look from */
    const char *end;
    const char *last; /* a match that ends here does not count; may be NULL */
    const char *fault;
    int fault_index; /* to be appended to the fault; -1: nothing */
    int64_t budget;  /* bytes that may be looked at, roughly; refilled by the caller */
    int lead;        /* the byte that every match begins with; -1: there is none */
    bool anchored;   /* it matches at `begin` or not at all */
    bool under_way;
    unsigned capture_count;
    unsigned choice_count;
    struct peri_capture captures[PERI_SEARCH_CAPTURES];
    struct peri_search_choice choices[PERI_SEARCH_CHOICES];
};

/* Gets ready to look from `begin` on for a pattern, whose '^' has been taken off. */
void peri_search_init(struct peri_search *search, const char *text, size_t text_len,
                      const char *pattern, size_t pattern_len);

/* Looks for the next match from `begin` on. */
enum peri_found peri_search_run(struct peri_search *search);

/* To be called when a match was found: the next one begins at its end, and is not an empty one. */
static inline void peri_search_go_behind(struct peri_search *search)
{
    search->begin = search->last = search->end;
}

/* How much of the struct is in use. */
static inline size_t peri_search_size(const struct peri_search *search)
{
    return offsetof(struct peri_search, choices) +
           search->choice_count * sizeof(search->choices[0]);
}

/* Whether a pattern means just its characters, as far as string.find is concerned. */
bool peri_search_is_plain(const char *pattern, size_t len);

#endif
