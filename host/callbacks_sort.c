/* Quicksort as in Lua's table.sort, turned inside out: it stops at each comparison. The pivot is
 * the median of three; the smaller part is sorted first, so that few of the larger ones wait. */
#include "callbacks.h"

#include "slice.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <uv.h>

#define MAX_WAITING 32  /* parts: each is at most half as long as the one before */
#define RANDOM_FROM 100 /* elements from which an unlucky choice of pivots is worth preventing */
#define IMBALANCE 128   /* how much longer one part is when the choice was unlucky */
#define PIVOT_ITSELF 0  /* as an index: the value that was chosen */
#define SHORT 1000      /* elements that Lua's own sorts by `<` in no time */
#define LOOK_EVERY 512  /* comparisons by `<` */

/* The stack of the call. */
enum { TABLE = 1, COMPARATOR, STATE, PIVOT };

/* What the comparator was asked last. */
enum question {
    LAST_BEFORE_FIRST,
    MIDDLE_BEFORE_FIRST,
    LAST_BEFORE_MIDDLE,
    LEFT_BEFORE_PIVOT, /* going up from the left */
    PIVOT_BEFORE_RIGHT /* going down from the right */
};

struct part {
    lua_Integer first;
    lua_Integer last;
};

struct sort {
    enum question question;
    struct part part; /* that is sorted now */
    lua_Integer middle;
    lua_Integer left;
    lua_Integer right;
    unsigned random;   /* 0: the pivot is in the middle */
    unsigned compared; /* by `<` */
    bool by_value;     /* there is no comparator */
    unsigned waiting_count;
    struct part waiting[MAX_WAITING];
};

static void push(lua_State *L, lua_Integer index)
{
    if (index == PIVOT_ITSELF)
        lua_pushvalue(L, PIVOT);
    else
        lua_geti(L, TABLE, index);
}

/* Pushes the call of the comparator, or what is to be compared. */
static bool ask(lua_State *L, struct sort *sort, enum question question, lua_Integer a,
                lua_Integer b)
{
    sort->question = question;
    if (!sort->by_value)
        lua_pushvalue(L, COMPARATOR);
    push(L, a);
    push(L, b);
    return true;
}

static void swap(lua_State *L, lua_Integer a, lua_Integer b)
{
    lua_geti(L, TABLE, a);
    lua_geti(L, TABLE, b);
    lua_seti(L, TABLE, a);
    lua_seti(L, TABLE, b);
}

/* Returns false when everything is sorted. */
static bool begin_part(lua_State *L, struct sort *sort)
{
    while (sort->part.first >= sort->part.last) {
        if (sort->waiting_count == 0)
            return false;
        sort->part = sort->waiting[--sort->waiting_count];
    }
    return ask(L, sort, LAST_BEFORE_FIRST, sort->part.last, sort->part.first);
}

static bool end_part(lua_State *L, struct sort *sort)
{
    sort->part.first = sort->part.last;
    return begin_part(L, sort);
}

static lua_Integer choose_middle(const struct sort *sort)
{
    lua_Integer first = sort->part.first;
    lua_Integer distance = sort->part.last - first;
    if (distance < RANDOM_FROM || sort->random == 0)
        return first + distance / 2;
    lua_Integer quarter = distance / 4;
    return first + quarter + sort->random % (quarter * 2);
}

static bool begin_partition(lua_State *L, struct sort *sort)
{
    struct part part = sort->part;
    if (part.last - part.first == 2)
        return end_part(L, sort);
    lua_geti(L, TABLE, sort->middle);
    lua_replace(L, PIVOT);
    swap(L, sort->middle, part.last - 1);
    sort->left = part.first + 1;
    sort->right = part.last - 1;
    return ask(L, sort, LEFT_BEFORE_PIVOT, sort->left, PIVOT_ITSELF);
}

/* The pivot is in its place: left and right of it are parts of their own. */
static bool split(lua_State *L, struct sort *sort, lua_Integer at)
{
    struct part before = {sort->part.first, at - 1};
    struct part behind = {at + 1, sort->part.last};
    bool shorter = at - before.first < behind.last - at;
    struct part larger = shorter ? behind : before;
    sort->part = shorter ? before : behind;
    lua_Integer length = sort->part.last - sort->part.first + 1;
    if ((larger.last - larger.first) / IMBALANCE > length)
        sort->random = (unsigned) uv_hrtime() | 1;
    sort->waiting[sort->waiting_count++] = larger;
    return begin_part(L, sort);
}

static int invalid_order(lua_State *L)
{
    return luaL_error(L, "invalid order function for sorting");
}

static bool partition(lua_State *L, struct sort *sort, bool yes)
{
    lua_Integer last = sort->part.last;
    if (sort->question == LEFT_BEFORE_PIVOT) {
        if (!yes)
            return ask(L, sort, PIVOT_BEFORE_RIGHT, PIVOT_ITSELF, --sort->right);
        if (sort->left == last - 1)
            invalid_order(L);
        return ask(L, sort, LEFT_BEFORE_PIVOT, ++sort->left, PIVOT_ITSELF);
    }
    if (yes) {
        if (sort->right < sort->left)
            invalid_order(L);
        return ask(L, sort, PIVOT_BEFORE_RIGHT, PIVOT_ITSELF, --sort->right);
    }
    if (sort->right < sort->left) {
        swap(L, last - 1, sort->left);
        return split(L, sort, sort->left);
    }
    swap(L, sort->left, sort->right);
    return ask(L, sort, LEFT_BEFORE_PIVOT, ++sort->left, PIVOT_ITSELF);
}

/* Takes the answer to the last question and pushes the next one; false when there is none. */
static bool advance(lua_State *L, struct sort *sort, bool yes)
{
    struct part part = sort->part;
    switch (sort->question) {
    case LAST_BEFORE_FIRST:
        if (yes)
            swap(L, part.first, part.last);
        if (part.last - part.first == 1)
            return end_part(L, sort);
        sort->middle = choose_middle(sort);
        return ask(L, sort, MIDDLE_BEFORE_FIRST, sort->middle, part.first);
    case MIDDLE_BEFORE_FIRST:
        if (!yes)
            return ask(L, sort, LAST_BEFORE_MIDDLE, part.last, sort->middle);
        swap(L, sort->middle, part.first);
        return begin_partition(L, sort);
    case LAST_BEFORE_MIDDLE:
        if (yes)
            swap(L, sort->middle, part.last);
        return begin_partition(L, sort);
    default:
        return partition(L, sort, yes);
    }
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    struct sort *sort = (struct sort *) context;
    (void) status;
    for (;;) {
        bool yes = lua_toboolean(L, -1);
        lua_settop(L, PIVOT);
        if (!advance(L, sort, yes))
            return 0;
        lua_callk(L, 2, 1, context, go_on);
    }
}

static int compare_on(lua_State *L, int status, lua_KContext context)
{
    struct sort *sort = (struct sort *) context;
    (void) status;
    for (;;) {
        if (++sort->compared % LOOK_EVERY == 0 && peri_slice_is_over(L) && peri_slice_must_yield(L))
            return peri_slice_yield(L, context, compare_on);
        bool yes = lua_compare(L, PIVOT + 1, PIVOT + 2, LUA_OPLT);
        lua_settop(L, PIVOT);
        if (!advance(L, sort, yes))
            return 0;
    }
}

static int table_sort(lua_State *L)
{
    bool by_value = lua_isnoneornil(L, COMPARATOR);
    if (!lua_istable(L, TABLE) || (!by_value && !lua_isfunction(L, COMPARATOR)))
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    if (by_value && lua_rawlen(L, TABLE) < SHORT)
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    lua_Integer length = luaL_len(L, TABLE);
    if (length < 2)
        return 0;
    luaL_argcheck(L, length < INT_MAX, TABLE, "array too big");
    lua_settop(L, COMPARATOR);
    struct sort *sort = lua_newuserdatauv(L, sizeof(*sort), 0);
    *sort = (struct sort){.part = {1, length}, .by_value = by_value};
    lua_pushnil(L); /* the pivot */
    begin_part(L, sort);
    if (by_value)
        return compare_on(L, LUA_OK, (lua_KContext) sort);
    lua_callk(L, 2, 1, (lua_KContext) sort, go_on);
    return go_on(L, LUA_OK, (lua_KContext) sort);
}

void peri_sort_open(lua_State *L)
{
    lua_getfield(L, -1, "sort");
    lua_pushcclosure(L, table_sort, 1);
    lua_setfield(L, -2, "sort");
}
