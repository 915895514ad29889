/* The VM's allocator against a plain model: what was written stays, whatever is made, resized and
 * given back around it. Under AddressSanitizer every block is malloc's, and overlaps are its
 * business. */
#include "heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCKS 400
#define ROUNDS 200000

struct block {
    unsigned char *bytes;
    size_t size;
    unsigned char mark;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void check(const struct block *block)
{
    for (size_t i = 0; i < block->size; i++)
        assert_int_equal(block->bytes[i], block->mark);
}

/* Small sizes mostly, and the edges between the heap's and malloc's. */
static size_t some_size(uint32_t *state)
{
    uint32_t kind = next_random(state) % 10;
    if (kind < 7)
        return 1 + next_random(state) % 200;
    if (kind < 9)
        return PERI_HEAP_SMALL - 20 + next_random(state) % 40;
    return 1 + next_random(state) % 20000;
}

static void blocks_keep_what_is_written(void **unused)
{
    (void) unused;
    struct peri_heap heap = {0};
    static struct block blocks[BLOCKS];
    uint32_t state = 1;
    size_t used = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct block *block = &blocks[next_random(&state) % BLOCKS];
        check(block);
        size_t size = block->size > 0 && next_random(&state) % 3 == 0 ? 0 : some_size(&state);
        unsigned char *moved = peri_heap_allocate(&heap, block->bytes, block->size, size);
        used = used - block->size + size;
        assert_int_equal(heap.used, used);
        if (size == 0) {
            assert_null(moved);
            *block = (struct block){0};
            continue;
        }
        size_t kept = block->size < size ? block->size : size;
        for (size_t i = 0; i < kept; i++)
            assert_int_equal(moved[i], block->mark);
        assert_int_equal((uintptr_t) moved % sizeof(void *), 0);
        *block = (struct block){moved, size, (unsigned char) round};
        memset(moved, block->mark, size);
    }
    for (int i = 0; i < BLOCKS; i++) {
        check(&blocks[i]);
        if (blocks[i].bytes != NULL)
            peri_heap_allocate(&heap, blocks[i].bytes, blocks[i].size, 0);
    }
    assert_int_equal(heap.used, 0);
    peri_heap_deinit(&heap);
}

static void a_new_block_ignores_the_kind_of_object(void **unused)
{
    (void) unused;
    struct peri_heap heap = {0};
    void *block = peri_heap_allocate(&heap, NULL, 5 /* a kind, as Lua passes it */, 40);
    assert_non_null(block);
    assert_int_equal(heap.used, 40);
    assert_null(peri_heap_allocate(&heap, NULL, 5, 0));
    peri_heap_allocate(&heap, block, 40, 0);
    peri_heap_deinit(&heap);
}

/* As Lua asks: once, and again behind a collection. */
static void *ask(struct peri_heap *heap, size_t size)
{
    void *block = peri_heap_allocate(heap, NULL, 0, size);
    return block != NULL ? block : peri_heap_allocate(heap, NULL, 0, size);
}

static void a_heap_does_not_grow_beyond_its_limit(void **unused)
{
    (void) unused;
    struct peri_heap heap = {0};
    peri_heap_set_limit(&heap, 1 << 20);
    char *large = ask(&heap, (1 << 20) - 100);
    assert_non_null(large);
    void *last = ask(&heap, 100);
    assert_non_null(last);
    assert_null(ask(&heap, 1));
    assert_null(peri_heap_allocate(&heap, large, (1 << 20) - 100, SIZE_MAX / 2));

    large = peri_heap_allocate(&heap, large, (1 << 20) - 100, 1000); /* shrinking always works */
    assert_non_null(large);
    peri_heap_settle(&heap);
    assert_int_equal(heap.refusals, 0);
    assert_null(ask(&heap, 1 << 20));
    peri_heap_allocate(&heap, large, 1000, 0);
    peri_heap_allocate(&heap, last, 100, 0);
    assert_int_equal(heap.used, 0);
    peri_heap_deinit(&heap);
}

static void a_collection_that_makes_room_is_no_error(void **unused)
{
    (void) unused;
    struct peri_heap heap = {0};
    peri_heap_set_limit(&heap, 1 << 20);
    void *kept = ask(&heap, 1 << 19);
    void *garbage = ask(&heap, 1 << 19);
    for (int i = 0; i < 10; i++) {
        assert_null(peri_heap_allocate(&heap, NULL, 0, 100000));
        peri_heap_allocate(&heap, garbage, 1 << 19, 0);
        void *block = peri_heap_allocate(&heap, NULL, 0, 100000);
        assert_non_null(block);
        peri_heap_allocate(&heap, block, 100000, 0);
        assert_non_null(garbage = peri_heap_allocate(&heap, NULL, 0, 1 << 19));
    }
    assert_int_equal(heap.refusals, 0);
    assert_false(heap.met_limit);

    /* One that makes next to none is: the next one would come at once. */
    assert_null(peri_heap_allocate(&heap, NULL, 0, 100));
    garbage = peri_heap_allocate(&heap, garbage, 1 << 19, (1 << 19) - 200);
    assert_null(peri_heap_allocate(&heap, NULL, 0, 100));
    assert_int_equal(heap.refusals, 1);
    assert_true(heap.met_limit);
    peri_heap_allocate(&heap, garbage, (1 << 19) - 200, 0);
    peri_heap_allocate(&heap, kept, 1 << 19, 0);
    peri_heap_deinit(&heap);
}

static void what_handles_the_error_has_a_reserve(void **unused)
{
    (void) unused;
    struct peri_heap heap = {0};
    peri_heap_set_limit(&heap, 1 << 20);
    void *large = ask(&heap, 1 << 20);
    assert_null(ask(&heap, 100));
    void *small = peri_heap_allocate(&heap, NULL, 0, 100);
    assert_non_null(small);
    assert_null(peri_heap_allocate(&heap, NULL, 0, 10000));
    size_t count = 0;
    void *blocks[100];
    while (count < 100 && (blocks[count] = peri_heap_allocate(&heap, NULL, 0, 4000)) != NULL)
        count++;
    assert_in_range(count, 1, 17); /* a sixteenth of the limit, then a collection */
    while (count < 100 && (blocks[count] = ask(&heap, 4000)) != NULL)
        count++;
    assert_in_range(count, 60, 65); /* a quarter of it in all */
    while (count-- > 0)
        peri_heap_allocate(&heap, blocks[count], 4000, 0);
    peri_heap_allocate(&heap, small, 100, 0);
    peri_heap_settle(&heap);
    assert_int_not_equal(heap.refusals, 0); /* it is full */
    peri_heap_allocate(&heap, large, 1 << 20, 0);
    peri_heap_settle(&heap);
    assert_int_equal(heap.refusals, 0);
    peri_heap_deinit(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_what_is_written),
        cmocka_unit_test(a_new_block_ignores_the_kind_of_object),
        cmocka_unit_test(a_heap_does_not_grow_beyond_its_limit),
        cmocka_unit_test(a_collection_that_makes_room_is_no_error),
        cmocka_unit_test(what_handles_the_error_has_a_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
