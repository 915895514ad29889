#include "store.h"

#include "hash.h"
#include "list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <zlib.h>

#define SHARDS 16 /* a power of two */
#define FIRST_BUCKETS 64
#define DEFAULT_MAX (64ULL << 20)
#define HOST_MAX (1 << 20)
#define SWEPT                                                                                      \
    2 /* entries that were not used for long, looked at in each write: have they expired? */

static const char MAGIC[] = "perigee shared 1"; /* changes with the format, also transfer.c's */

/* One item of a list. */
struct item {
    struct peri_list link;
    size_t len;
    char bytes[];
};

struct entry {
    struct entry *next; /* in its bucket */
    struct peri_list use;
    uint64_t hash;
    uint64_t due; /* 0: never */
    uint64_t version;
    size_t charged; /* bytes that count for it */
    uint32_t key_len;
    uint8_t kind;
    union {
        int64_t integer;
        double number;
        struct {
            char *bytes;
            size_t len;
        };
        struct {
            struct peri_list items;
            uint64_t count;
        };
    };
    char key[];
};

struct shard {
    pthread_mutex_t lock;
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    struct peri_list use; /* the most recently used last */
    uint64_t hits;
    uint64_t misses;
    uint64_t evicted;
    uint64_t expired;
};

struct peri_store {
    struct shard shards[SHARDS];
    uint64_t max_bytes;
    atomic_ullong bytes;
    atomic_ullong version;
    atomic_uint next_victim; /* the shard whose turn it is */
};

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        fputs("perigee: out of memory (the shared store)\n", stderr);
        abort();
    }
    return memory;
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000 + 1; /* never 0 */
}

/* --- entries -----------------------------------------------------------------------------------
 */

static struct shard *lock_shard(struct peri_store *store, uint64_t hash)
{
    struct shard *shard = &store->shards[hash >> 60 & (SHARDS - 1)];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

/* What the entry holds besides its key goes. */
static void empty(struct entry *entry)
{
    struct peri_list *link;
    if (entry->kind == PERI_STORE_BYTES)
        free(entry->bytes);
    else if (entry->kind == PERI_STORE_LIST)
        while ((link = peri_list_pop(&entry->items)) != NULL)
            free(peri_container_of(link, struct item, link));
    entry->kind = PERI_STORE_ABSENT;
}

/* Counts the entry's memory anew. */
static void charge(struct peri_store *store, struct entry *entry, size_t held)
{
    size_t size = sizeof(*entry) + entry->key_len + sizeof(void *) + held;
    atomic_fetch_add(&store->bytes, size - entry->charged); /* may wrap round: it is a sum */
    entry->charged = size;
}

static struct entry **place_of(struct shard *shard, uint64_t hash, const char *key, size_t len)
{
    struct entry **place = &shard->buckets[hash & (shard->bucket_count - 1)];
    while (*place != NULL && ((*place)->hash != hash || (*place)->key_len != len ||
                              memcmp((*place)->key, key, len) != 0))
        place = &(*place)->next;
    return place;
}

static void remove_at(struct peri_store *store, struct shard *shard, struct entry **place)
{
    struct entry *entry = *place;
    if (entry == NULL) /* who asks has it in hand */
        return;
    *place = entry->next;
    peri_list_remove(&entry->use);
    shard->count--;
    atomic_fetch_sub(&store->bytes, entry->charged);
    empty(entry);
    free(entry);
}

static void remove_entry(struct peri_store *store, struct shard *shard, struct entry *entry)
{
    remove_at(store, shard, place_of(shard, entry->hash, entry->key, entry->key_len));
}

/* The entry of this key, which counts as used; NULL when it is absent or has expired. */
static struct entry *find(struct peri_store *store, struct shard *shard, uint64_t hash,
                          const char *key, size_t len)
{
    struct entry **place = place_of(shard, hash, key, len);
    struct entry *entry = *place;
    if (entry == NULL)
        return NULL;
    if (entry->due != 0 && entry->due <= now_ms()) {
        shard->expired++;
        remove_at(store, shard, place);
        return NULL;
    }
    peri_list_remove(&entry->use);
    peri_list_append(&shard->use, &entry->use);
    return entry;
}

static void grow(struct shard *shard)
{
    size_t count = shard->bucket_count * 2;
    struct entry **buckets = calloc(count, sizeof(struct entry *)); /* NOLINT: pointers */
    if (buckets == NULL)
        return; /* chains get longer */
    for (size_t i = 0; i < shard->bucket_count; i++) {
        struct entry *next = NULL;
        for (struct entry *entry = shard->buckets[i]; entry != NULL; entry = next) {
            next = entry->next;
            struct entry **place = &buckets[entry->hash & (count - 1)];
            entry->next = *place;
            *place = entry;
        }
    }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->bucket_count = count;
}

static void sweep(struct peri_store *store, struct shard *shard)
{
    for (int i = 0; i < SWEPT; i++) {
        struct peri_list *oldest = peri_list_first(&shard->use);
        if (oldest == NULL)
            return;
        struct entry *entry = peri_container_of(oldest, struct entry, use);
        if (entry->due == 0 || entry->due > now_ms())
            return;
        shard->expired++;
        remove_entry(store, shard, entry);
    }
}

/* A new entry, which is absent until it is given a value. */
static struct entry *insert(struct peri_store *store, struct shard *shard, uint64_t hash,
                            const char *key, size_t len)
{
    sweep(store, shard);
    if (shard->count >= shard->bucket_count)
        grow(shard);
    struct entry *entry = allocate(sizeof(*entry) + len);
    *entry = (struct entry){.hash = hash, .key_len = (uint32_t) len};
    memcpy(entry->key, key, len);
    struct entry **place = &shard->buckets[hash & (shard->bucket_count - 1)];
    entry->next = *place;
    *place = entry;
    peri_list_init(&entry->use);
    peri_list_append(&shard->use, &entry->use);
    shard->count++;
    return entry;
}

static void put(struct peri_store *store, struct entry *entry, const struct peri_store_value *value)
{
    size_t held = 0;
    empty(entry);
    entry->kind = (uint8_t) value->kind;
    if (value->kind == PERI_STORE_INTEGER) {
        entry->integer = value->integer;
    } else if (value->kind == PERI_STORE_FLOAT) {
        entry->number = value->number;
    } else {
        entry->bytes = allocate(value->len > 0 ? value->len : 1);
        memcpy(entry->bytes, value->bytes, value->len);
        entry->len = held = value->len;
    }
    entry->version = atomic_fetch_add(&store->version, 1) + 1;
    charge(store, entry, held);
}

static void set_due(struct entry *entry, uint64_t ttl_ms)
{
    entry->due = ttl_ms > 0 ? now_ms() + ttl_ms : 0;
}

static bool fits(const struct peri_store *store, size_t key_len, size_t len)
{
    return sizeof(struct entry) + key_len + len <= store->max_bytes;
}

/* Outside of any lock: lets entries go until the store is within its limit. What stands alone in
 * its shard may have been written just now: it goes when a whole round found nothing else. */
static void evict(struct peri_store *store)
{
    for (int idle = 0; atomic_load(&store->bytes) > store->max_bytes && idle < 2 * SHARDS;) {
        unsigned turn = atomic_fetch_add(&store->next_victim, 1);
        struct shard *shard = &store->shards[turn & (SHARDS - 1)];
        pthread_mutex_lock(&shard->lock);
        bool found = shard->count > 1 || (shard->count == 1 && idle >= SHARDS);
        if (found) {
            shard->evicted++;
            remove_entry(store, shard,
                         peri_container_of(peri_list_first(&shard->use), struct entry, use));
        }
        pthread_mutex_unlock(&shard->lock);
        idle = found ? 0 : idle + 1;
    }
}

/* --- values ------------------------------------------------------------------------------------
 */

static void read_value(const struct entry *entry, struct peri_store_value *value,
                       struct peri_buf *out)
{
    *value = (struct peri_store_value){.kind = entry->kind, .version = entry->version};
    if (entry->kind == PERI_STORE_INTEGER) {
        value->integer = entry->integer;
    } else if (entry->kind == PERI_STORE_FLOAT) {
        value->number = entry->number;
    } else {
        peri_buf_add(out, entry->bytes, entry->len);
        value->len = entry->len;
    }
}

enum peri_store_result peri_store_get(struct peri_store *store, const char *key, size_t key_len,
                                      struct peri_store_value *value, struct peri_buf *out)
{
    enum peri_store_result result = PERI_STORE_DONE;
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    *value = (struct peri_store_value){0};
    if (entry == NULL) {
        shard->misses++;
    } else {
        shard->hits++;
        if (entry->kind == PERI_STORE_LIST)
            result = PERI_STORE_WRONG_KIND;
        else
            read_value(entry, value, out);
    }
    pthread_mutex_unlock(&shard->lock);
    return result;
}

static bool holds(const struct entry *entry, const struct peri_store_value *value,
                  enum peri_store_condition condition)
{
    if (condition == PERI_STORE_IF_ABSENT)
        return entry == NULL;
    if (condition == PERI_STORE_IF_VERSION)
        return (entry != NULL ? entry->version : 0) == value->version;
    return true;
}

enum peri_store_result peri_store_set(struct peri_store *store, const char *key, size_t key_len,
                                      const struct peri_store_value *value, uint64_t ttl_ms,
                                      enum peri_store_condition condition)
{
    if (!fits(store, key_len, value->len))
        return PERI_STORE_TOO_BIG;
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    bool wanted = holds(entry, value, condition);
    if (wanted) {
        if (entry == NULL)
            entry = insert(store, shard, hash, key, key_len);
        put(store, entry, value);
        set_due(entry, ttl_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    evict(store);
    return wanted ? PERI_STORE_DONE : PERI_STORE_REFUSED;
}

enum peri_store_result peri_store_delete(struct peri_store *store, const char *key, size_t key_len,
                                         uint64_t version)
{
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    bool found = entry != NULL && (version == 0 || entry->version == version);
    if (found)
        remove_entry(store, shard, entry);
    pthread_mutex_unlock(&shard->lock);
    return found ? PERI_STORE_DONE : PERI_STORE_REFUSED;
}

/* Adds two numbers as Lua does, but that integers do not wrap round. */
static enum peri_store_result add(struct peri_store_value *sum, const struct peri_store_value *by)
{
    if (sum->kind == PERI_STORE_INTEGER && by->kind == PERI_STORE_INTEGER)
        return __builtin_add_overflow(sum->integer, by->integer, &sum->integer)
                   ? PERI_STORE_OVERFLOW
                   : PERI_STORE_DONE;
    double a = sum->kind == PERI_STORE_INTEGER ? (double) sum->integer : sum->number;
    double b = by->kind == PERI_STORE_INTEGER ? (double) by->integer : by->number;
    *sum = (struct peri_store_value){.kind = PERI_STORE_FLOAT, .number = a + b};
    return PERI_STORE_DONE;
}

static bool is_number(enum peri_store_kind kind)
{
    return kind == PERI_STORE_INTEGER || kind == PERI_STORE_FLOAT;
}

enum peri_store_result peri_store_incr(struct peri_store *store, const char *key, size_t key_len,
                                       struct peri_store_value *value,
                                       const struct peri_store_value *initial, uint64_t ttl_ms)
{
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    struct peri_store_value sum = *initial;
    enum peri_store_result result = PERI_STORE_DONE;
    if (entry != NULL && !is_number(entry->kind))
        result = PERI_STORE_WRONG_KIND;
    else if (entry != NULL)
        read_value(entry, &sum, NULL);
    if (result == PERI_STORE_DONE)
        result = add(&sum, value);
    if (result == PERI_STORE_DONE) {
        if (entry == NULL) {
            entry = insert(store, shard, hash, key, key_len);
            set_due(entry, ttl_ms);
        }
        put(store, entry, &sum);
        *value = sum;
    }
    pthread_mutex_unlock(&shard->lock);
    evict(store);
    return result;
}

enum peri_store_result peri_store_expire(struct peri_store *store, const char *key, size_t key_len,
                                         uint64_t ttl_ms)
{
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    if (entry != NULL)
        set_due(entry, ttl_ms);
    pthread_mutex_unlock(&shard->lock);
    return entry != NULL ? PERI_STORE_DONE : PERI_STORE_REFUSED;
}

enum peri_store_result peri_store_ttl(struct peri_store *store, const char *key, size_t key_len,
                                      uint64_t *ms)
{
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    if (entry != NULL && entry->due != 0) {
        uint64_t now = now_ms();
        *ms = entry->due > now ? entry->due - now : 1; /* it has ended since it was found */
    } else if (entry != NULL) {
        *ms = 0;
    }
    pthread_mutex_unlock(&shard->lock);
    return entry != NULL ? PERI_STORE_DONE : PERI_STORE_REFUSED;
}

/* --- lists -------------------------------------------------------------------------------------
 */

static void add_item(struct peri_store *store, struct entry *entry, const char *bytes, size_t len,
                     bool front)
{
    struct item *item = allocate(sizeof(*item) + len);
    item->len = len;
    memcpy(item->bytes, bytes, len);
    peri_list_init(&item->link);
    peri_list_append(front ? entry->items.next : &entry->items, &item->link);
    entry->count++;
    entry->charged += sizeof(*item) + len;
    atomic_fetch_add(&store->bytes, sizeof(*item) + len);
    entry->version = atomic_fetch_add(&store->version, 1) + 1;
}

static void become_list(struct peri_store *store, struct entry *entry)
{
    entry->kind = PERI_STORE_LIST;
    entry->count = 0;
    peri_list_init(&entry->items);
    charge(store, entry, 0);
}

enum peri_store_result peri_store_push(struct peri_store *store, const char *key, size_t key_len,
                                       const char *bytes, size_t len, bool front, uint64_t *count)
{
    if (!fits(store, key_len, len))
        return PERI_STORE_TOO_BIG;
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    enum peri_store_result result = PERI_STORE_DONE;
    if (entry == NULL) {
        entry = insert(store, shard, hash, key, key_len);
        become_list(store, entry);
    }
    if (entry->kind != PERI_STORE_LIST) {
        result = PERI_STORE_WRONG_KIND;
    } else if (entry->charged + sizeof(struct item) + len > store->max_bytes) {
        result = PERI_STORE_TOO_BIG;
        if (entry->count == 0)
            remove_entry(store, shard, entry);
    } else {
        add_item(store, entry, bytes, len, front);
        *count = entry->count;
    }
    pthread_mutex_unlock(&shard->lock);
    evict(store);
    return result;
}

enum peri_store_result peri_store_pop(struct peri_store *store, const char *key, size_t key_len,
                                      bool front, struct peri_buf *out)
{
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    enum peri_store_result result = entry == NULL ? PERI_STORE_REFUSED : PERI_STORE_DONE;
    struct item *item = NULL;
    if (entry != NULL && entry->kind != PERI_STORE_LIST) {
        result = PERI_STORE_WRONG_KIND;
    } else if (entry != NULL) {
        struct peri_list *link = front ? entry->items.next : entry->items.prev;
        peri_list_remove(link);
        item = peri_container_of(link, struct item, link);
        entry->charged -= sizeof(*item) + item->len;
        atomic_fetch_sub(&store->bytes, sizeof(*item) + item->len);
        entry->version = atomic_fetch_add(&store->version, 1) + 1;
        if (--entry->count == 0)
            remove_entry(store, shard, entry);
    }
    pthread_mutex_unlock(&shard->lock);
    if (item != NULL)
        peri_buf_add(out, item->bytes, item->len);
    free(item);
    return result;
}

enum peri_store_result peri_store_length(struct peri_store *store, const char *key, size_t key_len,
                                         uint64_t *count)
{
    uint64_t hash = peri_keyed_hash(key, key_len);
    struct shard *shard = lock_shard(store, hash);
    struct entry *entry = find(store, shard, hash, key, key_len);
    bool wrong = entry != NULL && entry->kind != PERI_STORE_LIST;
    *count = entry != NULL && !wrong ? entry->count : 0;
    pthread_mutex_unlock(&shard->lock);
    return wrong ? PERI_STORE_WRONG_KIND : PERI_STORE_DONE;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

void peri_store_keys(struct peri_store *store, const char *prefix, size_t len,
                     bool (*each)(void *context, const char *key, size_t key_len), void *context)
{
    bool goes_on = true;
    uint64_t now = now_ms();
    for (int i = 0; i < SHARDS && goes_on; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (struct peri_list *at = shard->use.next; at != &shard->use && goes_on; at = at->next) {
            const struct entry *entry = peri_container_of(at, struct entry, use);
            if ((entry->due == 0 || entry->due > now) && entry->key_len >= len &&
                memcmp(entry->key, prefix, len) == 0)
                goes_on = each(context, entry->key, entry->key_len);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

static void clear_shard(struct peri_store *store, struct shard *shard)
{
    struct peri_list *oldest;
    while ((oldest = peri_list_first(&shard->use)) != NULL)
        remove_entry(store, shard, peri_container_of(oldest, struct entry, use));
}

void peri_store_clear(struct peri_store *store)
{
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&store->shards[i].lock);
        clear_shard(store, &store->shards[i]);
        pthread_mutex_unlock(&store->shards[i].lock);
    }
}

void peri_store_stats(struct peri_store *store, struct peri_store_stats *stats)
{
    *stats = (struct peri_store_stats){.max_bytes = store->max_bytes};
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->lock);
        stats->entries += shard->count;
        stats->hits += shard->hits;
        stats->misses += shard->misses;
        stats->evicted += shard->evicted;
        stats->expired += shard->expired;
        pthread_mutex_unlock(&shard->lock);
    }
    stats->bytes = atomic_load(&store->bytes);
}

struct peri_store *peri_store_new(uint64_t max_bytes)
{
    struct peri_store *store = allocate(sizeof(*store));
    memset(store, 0, sizeof(*store));
    store->max_bytes = max_bytes;
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        peri_list_init(&shard->use);
        shard->bucket_count = FIRST_BUCKETS;
        size_t size = FIRST_BUCKETS * sizeof(struct entry *); /* NOLINT: pointers */
        shard->buckets = allocate(size);
        memset(shard->buckets, 0, size);
    }
    return store;
}

void peri_store_free(struct peri_store *store)
{
    for (int i = 0; i < SHARDS; i++) {
        clear_shard(store, &store->shards[i]);
        free(store->shards[i].buckets);
        pthread_mutex_destroy(&store->shards[i].lock);
    }
    free(store);
}

static uint64_t process_max = DEFAULT_MAX;
static struct peri_store *process_store;
static struct peri_store *answer_store;

static void make_process_store(void)
{
    process_store = peri_store_new(process_max);
}

static void make_answer_store(void)
{
    answer_store = peri_store_new(process_max);
}

struct peri_store *peri_store_of_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_process_store);
    return process_store;
}

struct peri_store *peri_store_of_answers(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_answer_store);
    return answer_store;
}

static struct peri_store *host_store;

static void make_host_store(void)
{
    host_store = peri_store_new(HOST_MAX);
}

struct peri_store *peri_store_of_host(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_host_store);
    return host_store;
}

void peri_store_set_max(uint64_t max_bytes)
{
    process_max = max_bytes;
}

/* --- snapshots ---------------------------------------------------------------------------------
 *
 * MAGIC, the entries, a CRC of all of it. An entry: kind, key length, time to live left, then
 * number or length and bytes, or the items' count and each item's length and bytes; the key. */

static void add_u64(struct peri_buf *out, uint64_t value)
{
    peri_buf_add(out, &value, sizeof(value));
}

static void add_bytes(struct peri_buf *out, const char *bytes, size_t len)
{
    add_u64(out, len);
    peri_buf_add(out, bytes, len);
}

static void add_entry(struct peri_buf *out, const struct entry *entry, uint64_t now)
{
    peri_buf_add_byte(out, (char) entry->kind);
    add_u64(out, entry->due != 0 ? entry->due - now : 0);
    add_bytes(out, entry->key, entry->key_len);
    if (entry->kind == PERI_STORE_BYTES) {
        add_bytes(out, entry->bytes, entry->len);
    } else if (entry->kind == PERI_STORE_LIST) {
        add_u64(out, entry->count);
        for (struct peri_list *at = entry->items.next; at != &entry->items; at = at->next) {
            const struct item *item = peri_container_of(at, struct item, link);
            add_bytes(out, item->bytes, item->len);
        }
    } else {
        peri_buf_add(out, &entry->integer, sizeof(entry->integer)); /* or the number's bits */
    }
}

void peri_store_snapshot(struct peri_store *store, struct peri_buf *out)
{
    size_t start = out->len;
    peri_buf_add(out, MAGIC, sizeof(MAGIC));
    uint64_t now = now_ms();
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (struct peri_list *at = shard->use.next; at != &shard->use; at = at->next) {
            const struct entry *entry = peri_container_of(at, struct entry, use);
            if (entry->due == 0 || entry->due > now)
                add_entry(out, entry, now);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    uint64_t crc = crc32_z(0, (const unsigned char *) out->data + start, out->len - start);
    add_u64(out, crc);
}

struct reader {
    const char *at;
    const char *end;
    bool broken;
};

static uint64_t take_u64(struct reader *reader)
{
    uint64_t value = 0;
    if ((size_t) (reader->end - reader->at) < sizeof(value)) {
        reader->broken = true;
        return 0;
    }
    memcpy(&value, reader->at, sizeof(value));
    reader->at += sizeof(value);
    return value;
}

static const char *take_bytes(struct reader *reader, size_t *len)
{
    uint64_t count = take_u64(reader);
    if (count > (uint64_t) (reader->end - reader->at)) {
        reader->broken = true;
        count = 0;
    }
    const char *bytes = reader->at;
    reader->at += count;
    *len = count;
    return bytes;
}

/* Reads one entry and, with a store, puts it there. */
static void take_entry(struct reader *reader, struct peri_store *store)
{
    size_t key_len = 0;
    struct peri_store_value value = {.kind = (enum peri_store_kind)(unsigned char) *reader->at++};
    uint64_t ttl = take_u64(reader);
    const char *key = take_bytes(reader, &key_len);
    uint64_t items = 0;
    switch (value.kind) {
    case PERI_STORE_INTEGER:
        value.integer = (int64_t) take_u64(reader);
        break;
    case PERI_STORE_FLOAT: {
        uint64_t bits = take_u64(reader);
        memcpy(&value.number, &bits, sizeof(bits));
        break;
    }
    case PERI_STORE_BYTES:
        value.bytes = take_bytes(reader, &value.len);
        break;
    case PERI_STORE_LIST:
        items = take_u64(reader);
        if (store != NULL)
            peri_store_delete(store, key, key_len, 0);
        for (uint64_t i = 0; i < items && !reader->broken; i++) {
            uint64_t count = 0;
            size_t len = 0;
            const char *bytes = take_bytes(reader, &len);
            if (store != NULL)
                peri_store_push(store, key, key_len, bytes, len, false, &count);
        }
        if (store != NULL && ttl > 0)
            peri_store_expire(store, key, key_len, ttl);
        return;
    default:
        reader->broken = true;
        return;
    }
    if (store != NULL)
        peri_store_set(store, key, key_len, &value, ttl, PERI_STORE_ALWAYS);
}

int peri_store_restore(struct peri_store *store, const char *bytes, size_t len)
{
    uint64_t crc = 0;
    if (len < sizeof(MAGIC) + sizeof(crc) || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
        return UV_EINVAL;
    size_t checked = len - sizeof(crc);
    memcpy(&crc, bytes + checked, sizeof(crc));
    if (crc32_z(0, (const unsigned char *) bytes, checked) != crc)
        return UV_EINVAL;
    struct peri_store *const targets[] = {NULL, store}; /* first it is only looked at */
    for (int i = 0; i < 2; i++) {
        struct reader reader = {bytes + sizeof(MAGIC), bytes + checked, false};
        while (reader.at < reader.end && !reader.broken)
            take_entry(&reader, targets[i]);
        if (reader.broken)
            return UV_EINVAL;
    }
    return 0;
}
