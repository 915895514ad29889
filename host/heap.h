/* The memory of one VM: Lua's allocator.
 *
 * Lua makes and drops many small blocks for each request, and malloc is dear for those: here a
 * block of up to PERI_HEAP_SMALL bytes comes from a free list of its size class, refilled from
 * pages that are given back when the heap closes.
 *
 * A heap over its limit refuses to grow: Lua then collects its garbage, tries again and raises "not
 * enough memory". What handles that error needs some memory, too, and a collection for each of its
 * small blocks would take for ever: from the third refusal on there is a reserve for them. Larger
 * blocks are malloc's. A heap belongs to one thread at a time. Builds with AddressSanitizer take
 * every block from malloc, so that it sees them. */
#ifndef PERI_HEAP_H
#define PERI_HEAP_H

#include <stddef.h>

#define PERI_HEAP_SMALL 720 /* the stack of a new coroutine */
#define PERI_HEAP_STEP 16

struct peri_heap_page;

struct peri_heap {
    size_t used;       /* bytes that Lua holds */
    size_t limit;      /* what it may hold; 0: as much as there is */
    unsigned refusals; /* since it last was well below its limit */
    void *free[PERI_HEAP_SMALL / PERI_HEAP_STEP +
               1]; /* by size class, linked through their first word */
    char *fresh;   /* the rest of the current page */
    size_t fresh_len;
    struct peri_heap_page *pages;
};

/* A zeroed heap is an empty one. Every block is gone afterwards. */
void peri_heap_deinit(struct peri_heap *heap);

/* lua_Alloc; `context` is the struct peri_heap. */
void *peri_heap_allocate(void *context, void *block, size_t before, size_t after);

/* To be called now and then: keeps the reserve for the next time once there is room again. */
static inline void peri_heap_settle(struct peri_heap *heap)
{
    if (__builtin_expect(heap->refusals != 0, 0) && heap->used < heap->limit - heap->limit / 8)
        heap->refusals = 0;
}

#endif
