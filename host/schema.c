/* The results of validation: their memory, and what the host reads from them. */
#include "schema_type.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 4096, KEPT_ERROR_BYTES = 16384, KEPT_VALUES = 4096 };

struct peri_arena_block {
    struct peri_arena_block *next; /* older */
    size_t size;
    size_t used;
    _Alignas(max_align_t) char data[];
};

static void *allocate(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes);
    if (memory == NULL) {
        fprintf(stderr, "perigee: out of memory (%zu bytes for validation)\n", bytes);
        abort();
    }
    return memory;
}

void *peri_arena_take(struct peri_arena *arena, size_t size)
{
    size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    struct peri_arena_block *block = arena->block;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = allocate(NULL, sizeof(*block) + room);
        *block = (struct peri_arena_block){.next = arena->block, .size = room};
        arena->block = block;
    }
    void *memory = block->data + block->used;
    block->used += size;
    return memory;
}

void peri_arena_reset(struct peri_arena *arena)
{
    struct peri_arena_block *block = arena->block;
    if (block == NULL)
        return;
    while (block->next != NULL || block->size > BLOCK_BYTES) {
        struct peri_arena_block *older = block->next;
        free(block);
        block = older;
        if (block == NULL)
            break;
    }
    if (block != NULL)
        block->used = 0;
    arena->block = block;
}

void peri_arena_deinit(struct peri_arena *arena)
{
    while (arena->block != NULL) {
        struct peri_arena_block *older = arena->block->next;
        free(arena->block);
        arena->block = older;
    }
}

struct peri_result *peri_result_new(void)
{
    struct peri_result *result = allocate(NULL, sizeof(*result));
    *result = (struct peri_result){0};
    return result;
}

void peri_result_deinit(struct peri_result *result)
{
    free(result->values);
    free(result->groups);
    peri_arena_deinit(&result->arena);
    peri_json_doc_deinit(&result->doc);
    peri_json_doc_deinit(&result->error_doc);
    peri_buf_deinit(&result->errors);
    *result = (struct peri_result){0};
}

void peri_result_free(struct peri_result *result)
{
    if (result != NULL)
        peri_result_deinit(result);
    free(result);
}

void peri_result_reset(struct peri_result *result)
{
    if (result->cap > KEPT_VALUES) {
        free(result->values);
        result->values = NULL;
        result->cap = 0;
    }
    result->count = 0;
    result->error_count = 0;
    result->closed = false;
    result->group_count = 0;
    peri_arena_reset(&result->arena);
    peri_buf_reset(&result->errors, KEPT_ERROR_BYTES);
}

struct peri_value *peri_value_grow(struct peri_result *result)
{
    if (result->count == result->cap) {
        result->cap = result->cap < 64 ? 64 : result->cap * 2;
        result->values = allocate(result->values, result->cap * sizeof(*result->values));
    }
    return &result->values[result->count++];
}

struct peri_group_result *peri_result_add_group(struct peri_result *result)
{
    if (result->group_count == result->group_cap) {
        result->group_cap = result->group_cap < 8 ? 8 : result->group_cap * 2;
        result->groups = allocate(result->groups, result->group_cap * sizeof(*result->groups));
    }
    return &result->groups[result->group_count++];
}

void peri_result_close(struct peri_result *result)
{
    if (result->error_count > 0 && !result->closed)
        peri_buf_add_lit(&result->errors, "]}");
    result->closed = result->error_count > 0;
}

void peri_result_set_codes(struct peri_result *result, bool codes)
{
    result->codes = codes;
}

const char *peri_result_errors(const struct peri_result *result, size_t *len)
{
    *len = result->errors.len;
    return result->errors.data;
}

unsigned peri_result_error_count(const struct peri_result *result)
{
    return result->error_count;
}

unsigned peri_result_group_errors(const struct peri_result *result, int group)
{
    return group >= 0 && (uint32_t) group < result->group_count ? result->groups[group].errors : 0;
}

void peri_result_on_file(struct peri_result *result, void (*push_file)(lua_State *L, void *file))
{
    result->push_file = push_file;
}
