/* The store behind perigee.shared: values under names, for all threads of the process. It outlives
 * every VM, so it survives a reload.
 *
 * Keys are spread over shards, each with a lock, a hash table and a list in the order of use. No
 * lock is ever held while Lua runs: values go in and out as bytes (transfer.h), and an update by a
 * function is a compare-and-swap on the entry's version. Memory is bounded: beyond the limit the
 * entries that were not used for the longest time go, shard by shard in turn, so the order is that
 * of use nearly, not exactly. Hashes are keyed (SipHash), so that names chosen by clients cannot
 * crowd one chain.
 *
 * Every function may be called from any thread. Times are milliseconds; 0 as a time to live means
 * for ever. */
#ifndef PERI_STORE_H
#define PERI_STORE_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERI_STORE_MAX_KEY 4096

struct peri_store;

enum peri_store_kind {
    PERI_STORE_ABSENT,
    PERI_STORE_INTEGER,
    PERI_STORE_FLOAT,
    PERI_STORE_BYTES,
    PERI_STORE_LIST,
};

/* A value on its way in or out. Going out, bytes stand in the buffer that the caller gave. */
struct peri_store_value {
    enum peri_store_kind kind;
    int64_t integer;
    double number;
    const char *bytes;
    size_t len;
    uint64_t version; /* of the entry; 0: there is none */
};

enum peri_store_result {
    PERI_STORE_DONE,
    PERI_STORE_REFUSED, /* the condition does not hold: it is there, absent, or has changed */
    PERI_STORE_WRONG_KIND,
    PERI_STORE_TOO_BIG, /* larger than the whole store may be */
    PERI_STORE_OVERFLOW,
};

struct peri_store_stats {
    uint64_t entries;
    uint64_t bytes;
    uint64_t max_bytes;
    uint64_t hits;
    uint64_t misses;
    uint64_t evicted;
    uint64_t expired;
};

struct peri_store *peri_store_new(uint64_t max_bytes);
void peri_store_free(struct peri_store *store);

/* Those of the process, each made when it is first asked for, and the size each will have: what the
 * app shares, and the answers that operations keep. Clients decide how many answers there are, and
 * must not drive out what the app has put somewhere. */
struct peri_store *peri_store_of_process(void);
struct peri_store *peri_store_of_answers(void);
void peri_store_set_max(uint64_t max_bytes);

/* Another one, for what the host itself keeps from one version of the app to the next: apps neither
 * see nor clear it, and it is in no snapshot of theirs. */
struct peri_store *peri_store_of_host(void);

/* Reads into *value; bytes are appended to `out`. A list is WRONG_KIND. */
enum peri_store_result peri_store_get(struct peri_store *store, const char *key, size_t key_len,
                                      struct peri_store_value *value, struct peri_buf *out);

enum peri_store_condition {
    PERI_STORE_ALWAYS,
    PERI_STORE_IF_ABSENT,
    PERI_STORE_IF_VERSION, /* the entry has value->version, 0: is absent */
};

enum peri_store_result peri_store_set(struct peri_store *store, const char *key, size_t key_len,
                                      const struct peri_store_value *value, uint64_t ttl_ms,
                                      enum peri_store_condition condition);

/* Removes the entry; REFUSED when there is none, or with `version` not 0, another one. */
enum peri_store_result peri_store_delete(struct peri_store *store, const char *key, size_t key_len,
                                         uint64_t version);

/* Adds to a number: *value holds what is added and becomes the sum. An entry that is absent begins
 * with `initial` and gets the time to live; one that is there keeps its own. */
enum peri_store_result peri_store_incr(struct peri_store *store, const char *key, size_t key_len,
                                       struct peri_store_value *value,
                                       const struct peri_store_value *initial, uint64_t ttl_ms);

/* Gives an entry another time to live. REFUSED when it is absent. */
enum peri_store_result peri_store_expire(struct peri_store *store, const char *key, size_t key_len,
                                         uint64_t ttl_ms);

/* What is left of it: *ms, 0 for ever. REFUSED when it is absent. */
enum peri_store_result peri_store_ttl(struct peri_store *store, const char *key, size_t key_len,
                                      uint64_t *ms);

/* Lists. An absent one is empty; one that becomes empty is removed. *count becomes its length. */
enum peri_store_result peri_store_push(struct peri_store *store, const char *key, size_t key_len,
                                       const char *bytes, size_t len, bool front, uint64_t *count);
enum peri_store_result peri_store_pop(struct peri_store *store, const char *key, size_t key_len,
                                      bool front, struct peri_buf *out);
enum peri_store_result peri_store_length(struct peri_store *store, const char *key, size_t key_len,
                                         uint64_t *count);

/* Calls `each` for the keys that begin with `prefix`, until it returns false. The shard is locked
 * meanwhile: `each` copies and returns. */
void peri_store_keys(struct peri_store *store, const char *prefix, size_t len,
                     bool (*each)(void *context, const char *key, size_t key_len), void *context);

void peri_store_clear(struct peri_store *store);
void peri_store_stats(struct peri_store *store, struct peri_store_stats *stats);

/* A snapshot: each shard as it is at one moment, times to live as what is left of them. Restoring
 * adds to what is there and replaces equal keys. Returns 0, or UV_EINVAL when the bytes are no
 * complete snapshot of this format; nothing is changed then. */
void peri_store_snapshot(struct peri_store *store, struct peri_buf *out);
int peri_store_restore(struct peri_store *store, const char *bytes, size_t len);

#endif
