/* The userdata of datetime, date, time and duration: immutable, comparable, with Python's
 * arithmetic.
 *
 * One metatable for all four, because Lua picks the metamethod of either operand and every
 * operation has to look at both kinds anyway. */
#include "schema_lua.h"

#include <lauxlib.h>
#include <math.h>

#define TEMPORAL_TYPE "perigee.temporal"

static const char *const names[] = {"datetime", "date", "time", "duration"};

static const int64_t DAY_SECONDS = 86400;
static const int64_t MOST_SECONDS = INT64_C(999999999) * 86400;

const struct peri_temporal *peri_temporal_test(lua_State *L, int index)
{
    return luaL_testudata(L, index, TEMPORAL_TYPE);
}

static const struct peri_temporal *check(lua_State *L, int index)
{
    return luaL_checkudata(L, index, TEMPORAL_TYPE);
}

/* seconds and micros of any sign and size, made sound. */
static void push_sum(lua_State *L, struct peri_temporal kind, int64_t seconds, int64_t micros)
{
    int64_t carry = micros / 1000000;
    micros %= 1000000;
    if (micros < 0) {
        micros += 1000000;
        carry--;
    }
    kind.seconds = seconds + carry;
    kind.micros = (uint32_t) micros;
    if (kind.kind == PERI_DATE) {
        int64_t rest = kind.seconds % DAY_SECONDS;
        kind.seconds -= rest < 0 ? rest + DAY_SECONDS : rest;
        kind.micros = 0;
    }
    bool point = kind.kind != PERI_DURATION;
    if (kind.seconds < (point ? PERI_FIRST_SECOND : -MOST_SECONDS) ||
        kind.seconds > (point ? PERI_LAST_SECOND : MOST_SECONDS))
        luaL_error(L, "%s out of range", names[kind.kind]);
    peri_temporal_push(L, kind);
}

static void push_duration(lua_State *L, int64_t seconds, int64_t micros)
{
    push_sum(L, (struct peri_temporal){.kind = PERI_DURATION, .offset = PERI_NAIVE}, seconds,
             micros);
}

static int bad_operands(lua_State *L, const char *operation)
{
    const struct peri_temporal *a = peri_temporal_test(L, 1);
    const struct peri_temporal *b = peri_temporal_test(L, 2);
    return luaL_error(L, "cannot %s a %s and a %s", operation,
                      a != NULL ? names[a->kind] : luaL_typename(L, 1),
                      b != NULL ? names[b->kind] : luaL_typename(L, 2));
}

static void check_same_awareness(lua_State *L, const struct peri_temporal *a,
                                 const struct peri_temporal *b, const char *operation)
{
    if ((a->offset == PERI_NAIVE) != (b->offset == PERI_NAIVE))
        luaL_error(L, "cannot %s a naive and an aware %s", operation, names[a->kind]);
}

static bool moves(const struct peri_temporal *point)
{
    return point->kind == PERI_DATETIME || point->kind == PERI_DATE;
}

static int temporal_add(lua_State *L)
{
    const struct peri_temporal *a = peri_temporal_test(L, 1);
    const struct peri_temporal *b = peri_temporal_test(L, 2);
    if (a == NULL || b == NULL)
        return bad_operands(L, "add");
    if (a->kind == PERI_DURATION && moves(b)) {
        const struct peri_temporal *swap = a;
        a = b;
        b = swap;
    }
    if (b->kind != PERI_DURATION || a->kind == PERI_TIME)
        return bad_operands(L, "add");
    push_sum(L, *a, a->seconds + b->seconds, (int64_t) a->micros + b->micros);
    return 1;
}

static int temporal_sub(lua_State *L)
{
    const struct peri_temporal *a = peri_temporal_test(L, 1);
    const struct peri_temporal *b = peri_temporal_test(L, 2);
    if (a == NULL || b == NULL)
        return bad_operands(L, "subtract");
    int64_t seconds = a->seconds - b->seconds;
    int64_t micros = (int64_t) a->micros - b->micros;
    if (b->kind == PERI_DURATION && a->kind != PERI_TIME) {
        push_sum(L, *a, seconds, micros);
        return 1;
    }
    if (a->kind != b->kind || !moves(a))
        return bad_operands(L, "subtract");
    check_same_awareness(L, a, b, "subtract");
    if (a->offset != PERI_NAIVE)
        seconds -= ((int64_t) a->offset - b->offset) * 60;
    push_duration(L, seconds, micros);
    return 1;
}

static int temporal_mul(lua_State *L)
{
    int scalar = lua_isnumber(L, 1) ? 1 : 2;
    const struct peri_temporal *duration = peri_temporal_test(L, 3 - scalar);
    if (duration == NULL || duration->kind != PERI_DURATION || !lua_isnumber(L, scalar))
        return bad_operands(L, "multiply");
    double factor = lua_tonumber(L, scalar);
    double seconds = (double) duration->seconds * factor;
    double whole = floor(seconds);
    if (!(fabs(seconds) <= (double) MOST_SECONDS))
        return luaL_error(L, "duration out of range");
    double micros = (seconds - whole) * 1e6 + duration->micros * factor;
    if (!(fabs(micros) < 9e18))
        return luaL_error(L, "duration out of range");
    push_duration(L, (int64_t) whole, (int64_t) round(micros));
    return 1;
}

static int temporal_unm(lua_State *L)
{
    const struct peri_temporal *duration = check(L, 1);
    if (duration->kind != PERI_DURATION)
        return luaL_error(L, "cannot negate a %s", names[duration->kind]);
    push_duration(L, -duration->seconds, -(int64_t) duration->micros);
    return 1;
}

static int compare(lua_State *L)
{
    const struct peri_temporal *a = peri_temporal_test(L, 1);
    const struct peri_temporal *b = peri_temporal_test(L, 2);
    if (a == NULL || b == NULL || a->kind != b->kind)
        return bad_operands(L, "compare");
    check_same_awareness(L, a, b, "compare");
    return peri_temporal_compare(a, b);
}

static int temporal_lt(lua_State *L)
{
    lua_pushboolean(L, compare(L) < 0);
    return 1;
}

static int temporal_le(lua_State *L)
{
    lua_pushboolean(L, compare(L) <= 0);
    return 1;
}

/* Values of different kinds, and naive and aware ones, are just not equal. */
static int temporal_eq(lua_State *L)
{
    const struct peri_temporal *a = peri_temporal_test(L, 1);
    const struct peri_temporal *b = peri_temporal_test(L, 2);
    lua_pushboolean(L, a != NULL && b != NULL && a->kind == b->kind &&
                           (a->offset == PERI_NAIVE) == (b->offset == PERI_NAIVE) &&
                           peri_temporal_compare(a, b) == 0);
    return 1;
}

/* Serves __tostring and __tojson. */
static int temporal_tostring(lua_State *L)
{
    struct peri_buf text = {0};
    peri_temporal_print(&text, check(L, 1));
    char copy[64];
    size_t len = text.len < sizeof(copy) ? text.len : sizeof(copy);
    memcpy(copy, text.data, len);
    peri_buf_deinit(&text); /* before anything may raise */
    lua_pushlstring(L, copy, len);
    return 1;
}

static int temporal_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

static bool push_calendar_field(lua_State *L, const struct peri_temporal *point, const char *name)
{
    struct peri_civil civil;
    peri_temporal_civil(point, &civil);
    const struct {
        const char *name;
        int value;
        bool in_date, in_time;
    } fields[] = {
        {"year", civil.year, true, false},
        {"month", civil.month, true, false},
        {"day", civil.day, true, false},
        {"hour", civil.hour, false, true},
        {"minute", civil.minute, false, true},
        {"second", civil.second, false, true},
        {"microsecond", (int) point->micros, false, true},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        bool has = (fields[i].in_date && point->kind != PERI_TIME) ||
                   (fields[i].in_time && point->kind != PERI_DATE);
        if (has && strcmp(fields[i].name, name) == 0) {
            lua_pushinteger(L, fields[i].value);
            return true;
        }
    }
    return false;
}

static int temporal_index(lua_State *L)
{
    const struct peri_temporal *temporal = check(L, 1);
    const char *name = lua_tostring(L, 2);
    if (name == NULL)
        return 0;
    if (strcmp(name, "kind") == 0) {
        lua_pushstring(L, names[temporal->kind]);
        return 1;
    }
    if (temporal->kind == PERI_DURATION) {
        double seconds = peri_duration_seconds(temporal);
        if (strcmp(name, "seconds") == 0)
            lua_pushnumber(L, seconds);
        else if (strcmp(name, "days") == 0)
            lua_pushnumber(L, seconds / (double) DAY_SECONDS);
        else
            return 0;
        return 1;
    }
    if (push_calendar_field(L, temporal, name))
        return 1;
    if (strcmp(name, "offset") == 0 && temporal->offset != PERI_NAIVE) {
        lua_pushinteger(L, (lua_Integer) temporal->offset * 60);
        return 1;
    }
    if (strcmp(name, "timestamp") == 0 && temporal->kind == PERI_DATETIME) {
        int64_t shift = temporal->offset == PERI_NAIVE ? 0 : (int64_t) temporal->offset * 60;
        lua_pushnumber(L, (double) (temporal->seconds - shift) + temporal->micros / 1e6);
        return 1;
    }
    return 0;
}

static const luaL_Reg temporal_metamethods[] = {
    {"__add", temporal_add},         {"__concat", temporal_concat},
    {"__eq", temporal_eq},           {"__index", temporal_index},
    {"__le", temporal_le},           {"__lt", temporal_lt},
    {"__mul", temporal_mul},         {"__sub", temporal_sub},
    {"__tojson", temporal_tostring}, {"__tostring", temporal_tostring},
    {"__unm", temporal_unm},         {NULL, NULL},
};

void peri_temporal_push(lua_State *L, struct peri_temporal temporal)
{
    struct peri_temporal *memory = lua_newuserdatauv(L, sizeof(*memory), 0);
    *memory = temporal;
    if (luaL_newmetatable(L, TEMPORAL_TYPE))
        luaL_setfuncs(L, temporal_metamethods, 0);
    lua_setmetatable(L, -2);
}
