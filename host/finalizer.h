/* Finalizers written in Lua. The collector calls them with hooks off in the coroutine that it
 * happened to interrupt, so that nothing could end one that does not end by itself. Therefore
 * setmetatable, otherwise as in the manual, wraps a `__gc` that is Lua: it runs in a coroutine of
 * its own, for 10 ms at most, and what goes wrong in it is logged. It cannot wait.
 *
 * One collection may call thousands of them, and the loop cannot be left meanwhile. So a function
 * that had to be stopped, or whose calls took 100 ms in all, has had its time for a second: until
 * that is over a call of it has some ten thousand instructions, enough to close a file, and once
 * twenty calls had to be stopped it is not called at all. Functions are told apart by the line that
 * they are defined in; where too many have had their time, one account is for all the others.
 *
 * Belongs to the VM's thread. */
#ifndef PERI_FINALIZER_H
#define PERI_FINALIZER_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#define PERI_FINALIZER_ACCOUNTS 8

enum peri_finalizer {
    PERI_FINALIZER_NONE,
    PERI_FINALIZER_RUNS,
    PERI_FINALIZER_STOPPED,
};

/* What the finalizers of one line have taken of the VM's time lately. */
struct peri_finalizer_account {
    char source[LUA_IDSIZE];
    int line;
    unsigned ticks; /* of the watchdog, that met it */
    unsigned stops;
    uint64_t until_ms; /* then it is forgotten */
};

/* Of one VM. */
struct peri_finalizers {
    uint8_t state;       /* enum peri_finalizer */
    bool brief;          /* the one that runs has had its time */
    unsigned looks;      /* of the hook at it */
    unsigned since;      /* the ticks when it began */
    unsigned skipped;    /* calls that were left out, all in all */
    unsigned account_ms; /* how long an account lasts */
    unsigned account_count;
    struct peri_finalizer_account accounts[PERI_FINALIZER_ACCOUNTS];
};

/* Replaces the global setmetatable. */
void peri_finalizer_open(lua_State *L);

/* For the hook that looks at a finalizer: whether it is to be stopped. */
bool peri_finalizer_must_stop(struct peri_finalizers *all);

#endif
