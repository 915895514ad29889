/* The memory of one VM: Lua's allocator.
 *
 * Lua makes and drops many small blocks for each request, and malloc is dear for those: here a
 * block of up to PERI_HEAP_SMALL bytes comes from a free list of its size class, refilled from
 * pages that are given back when the heap closes.
 *
 * A heap that is full refuses to grow: Lua then collects its garbage, asks again and, refused once
 * more, raises "not enough memory". What handles that error needs some memory, too, and a
 * collection for each of its small blocks would take for ever: from then on there is a reserve for
 * them, of a quarter of the limit, with a collection for each sixteenth. It is there again once the
 * heap has room: whoever runs Lua collects when the one that met the limit is over. Larger blocks
 * are malloc's. A heap belongs to one thread at a time. Builds with AddressSanitizer take every
 * block from malloc, so that it sees them. */
#ifndef PERI_HEAP_H
#define PERI_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#define PERI_HEAP_SMALL 720 /* the stack of a new coroutine */
#define PERI_HEAP_STEP 8

struct peri_heap_page;

struct peri_heap {
    size_t used;       /* bytes that Lua holds */
    size_t limit;      /* what it may hold; 0: as much as there is */
    size_t bar;        /* growing beyond it is looked at: the limit, or 1 while Lua collects */
    size_t room;       /* of small blocks before the next collection, once there were refusals */
    unsigned refusals; /* errors since it last was well below its limit */
    bool collects;     /* a block was refused, and Lua will ask for it again */
    bool met_limit;    /* there was an error; whoever has seen it puts this back */
    void *free[PERI_HEAP_SMALL / PERI_HEAP_STEP +
               1]; /* by size class, linked through their first word */
    char *fresh;   /* the rest of the current page */
    size_t fresh_len;
    struct peri_heap_page *pages;
};

/* A zeroed heap is an empty one. Every block is gone afterwards. */
void peri_heap_deinit(struct peri_heap *heap);

/* Not while Lua asks for memory. */
void peri_heap_set_limit(struct peri_heap *heap, size_t limit);

/* lua_Alloc; `context` is the struct peri_heap. */
void *peri_heap_allocate(void *context, void *block, size_t before, size_t after);

/* A small block that is not Lua's: it does not count. NULL for want of memory. Given back with the
 * same size. */
void *peri_heap_take(struct peri_heap *heap, size_t size);
void peri_heap_give(struct peri_heap *heap, void *block, size_t size);

/* To be called now and then: keeps the reserve for the next time once there is room again. */
static inline void peri_heap_settle(struct peri_heap *heap)
{
    if (__builtin_expect(heap->refusals != 0, 0) && heap->used < heap->limit - heap->limit / 8)
        heap->refusals = 0;
}

#endif
