#include "heap.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 65536
#define MARGIN_PART 64     /* of the limit: a heap without as much behind a collection is full */
#define RESERVE_PART 4     /* of the limit, for what handles the error */
#define STEP_PART 16       /* of the limit, between two collections there */
#define RESERVE_BLOCK 4096 /* bytes of a block that may be taken from it */

struct peri_heap_page {
    struct peri_heap_page *next;
    char blocks[] __attribute__((aligned(PERI_HEAP_STEP)));
};

#if defined(__SANITIZE_ADDRESS__)
#define IS_SMALL(size) ((void) (size), 0)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SMALL(size) ((void) (size), 0)
#endif
#endif
#ifndef IS_SMALL
#define IS_SMALL(size) ((size) <= PERI_HEAP_SMALL)
#endif

#define NOT_INLINE __attribute__((noinline)) /* so that the way past it saves no registers */

static size_t class_of(size_t size)
{
    return (size + PERI_HEAP_STEP - 1) / PERI_HEAP_STEP;
}

static inline void give(struct peri_heap *heap, void *block, size_t size)
{
    if (__builtin_expect(!IS_SMALL(size), 0)) {
        free(block);
        return;
    }
    *(void **) block = heap->free[class_of(size)];
    heap->free[class_of(size)] = block;
}

/* A block of a class whose free list is empty: cut from the page, or from a new one. */
static NOT_INLINE void *cut(struct peri_heap *heap, size_t size_class)
{
    size_t size = size_class * PERI_HEAP_STEP;
    if (heap->fresh_len < size) {
        struct peri_heap_page *page = malloc(sizeof(*page) + PAGE_BYTES);
        if (page == NULL)
            return NULL;
        page->next = heap->pages;
        heap->pages = page;
        if (heap->fresh_len > 0) /* less than was asked for: it still serves a smaller class */
            give(heap, heap->fresh, heap->fresh_len);
        heap->fresh = page->blocks;
        heap->fresh_len = PAGE_BYTES;
    }
    void *block = heap->fresh;
    heap->fresh += size;
    heap->fresh_len -= size;
    return block;
}

static inline void *take(struct peri_heap *heap, size_t size)
{
    if (__builtin_expect(!IS_SMALL(size), 0))
        return malloc(size);
    size_t size_class = class_of(size);
    void *block = heap->free[size_class];
    if (__builtin_expect(block == NULL, 0))
        return cut(heap, size_class);
    heap->free[size_class] = *(void **) block;
    return block;
}

void *peri_heap_take(struct peri_heap *heap, size_t size)
{
    return take(heap, size);
}

void peri_heap_give(struct peri_heap *heap, void *block, size_t size)
{
    give(heap, block, size);
}

static void *resize(struct peri_heap *heap, void *block, size_t before, size_t after)
{
    if (IS_SMALL(before) && IS_SMALL(after) && class_of(before) == class_of(after))
        return block;
    if (!IS_SMALL(before) && !IS_SMALL(after))
        return realloc(block, after);
    void *moved = take(heap, after);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, before < after ? before : after);
    give(heap, block, before);
    return moved;
}

/* Whether a block is refused that the heap would pass its bar with. For the first time: Lua
 * collects and asks again, which is the next time that this is called, as the bar is down until
 * then. */
static NOT_INLINE bool refuses(struct peri_heap *heap, size_t more)
{
    size_t limit = heap->limit;
    size_t wanted = heap->used + more;
    bool from_reserve = heap->refusals > 0 && more <= RESERVE_BLOCK;
    if (!heap->collects) {
        if (from_reserve && wanted <= heap->room)
            return false;
        heap->collects = true;
        heap->bar = 1;
        return true;
    }
    heap->collects = false;
    heap->bar = limit;
    if (wanted <= limit - limit / MARGIN_PART)
        return false;
    size_t end = limit + limit / RESERVE_PART;
    heap->room = (heap->used > limit ? heap->used : limit) + limit / STEP_PART;
    if (heap->room > end)
        heap->room = end;
    if (from_reserve && wanted <= end)
        return false;
    heap->refusals++;
    heap->met_limit = true;
    return true;
}

static inline bool would_exceed(struct peri_heap *heap, size_t more)
{
    /* Without a limit the right side is the largest number. */
    if (__builtin_expect(heap->used + more - 1 <= heap->bar - 1, 1))
        return false;
    return refuses(heap, more);
}

void peri_heap_set_limit(struct peri_heap *heap, size_t limit)
{
    heap->limit = heap->bar = limit;
    heap->collects = false;
}

/* What is rare: a block that the heap has at hand no other for, or that it may refuse. */
static NOT_INLINE void *allocate_slowly(struct peri_heap *heap, size_t size)
{
    if (would_exceed(heap, size))
        return NULL;
    void *block = take(heap, size);
    heap->used += block != NULL ? size : 0;
    return block;
}

static NOT_INLINE void *reallocate(struct peri_heap *heap, void *block, size_t before, size_t after)
{
    if (after > before && would_exceed(heap, after - before))
        return NULL;
    block = resize(heap, block, before, after);
    if (block != NULL)
        heap->used = heap->used - before + after;
    return block;
}

/* Every object of Lua's comes and goes this way: the usual two cases call nothing. */
void *peri_heap_allocate(void *context, void *block, size_t before, size_t after)
{
    struct peri_heap *heap = context;
    if (block == NULL) { /* `before` is the kind of object then */
        if (after == 0)
            return NULL;
        if (!IS_SMALL(after) || heap->used + after - 1 > heap->bar - 1)
            return allocate_slowly(heap, after);
        void **free_list = &heap->free[class_of(after)];
        if (*free_list == NULL)
            return allocate_slowly(heap, after);
        block = *free_list;
        *free_list = *(void **) block;
        heap->used += after;
        return block;
    }
    if (after != 0)
        return reallocate(heap, block, before, after);
    heap->used -= before;
    give(heap, block, before);
    return NULL;
}

void peri_heap_deinit(struct peri_heap *heap)
{
    struct peri_heap_page *page = heap->pages;
    while (page != NULL) {
        struct peri_heap_page *next = page->next;
        free(page);
        page = next;
    }
    *heap = (struct peri_heap){0};
}
