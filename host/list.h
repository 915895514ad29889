/* An intrusive, doubly linked, circular list. A head and a detached node both point at themselves,
 * so removing twice is harmless. Belongs to one thread; owns nothing. */
#ifndef PERI_LIST_H
#define PERI_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define peri_container_of(pointer, type, member)                                                   \
    ((type *) ((char *) (pointer) -offsetof(type, member)))

struct peri_list {
    struct peri_list *next;
    struct peri_list *prev;
};

static inline void peri_list_init(struct peri_list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool peri_list_empty(const struct peri_list *head)
{
    return head->next == head;
}

static inline void peri_list_append(struct peri_list *head, struct peri_list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

static inline void peri_list_remove(struct peri_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    peri_list_init(node);
}

/* Takes the first node out of the list; NULL when the list is empty. */
static inline struct peri_list *peri_list_pop(struct peri_list *head)
{
    struct peri_list *node = head->next;
    if (node == head)
        return NULL;
    head->next = node->next;
    node->next->prev = head;
    peri_list_init(node);
    return node;
}

/* The first node, still linked; NULL when the list is empty. */
static inline struct peri_list *peri_list_first(const struct peri_list *head)
{
    return head->next == head ? NULL : head->next;
}

/* Moves every node of `from` to `to`, which must be empty; `from` is empty afterwards. */
static inline void peri_list_take(struct peri_list *to, struct peri_list *from)
{
    if (peri_list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    peri_list_init(from);
}

#endif
