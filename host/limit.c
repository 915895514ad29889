#include "limit.h"

#include "hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 1024
#define MAX_SIZE (1U << 22) /* 64 MiB of keys */

struct bucket {
    uint64_t hash;    /* 0: free */
    uint64_t full_at; /* when all of the burst may come again */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct bucket *buckets;
static size_t size; /* a power of two, or 0 */
static size_t used;

static struct bucket *find_in(struct bucket *table, size_t table_size, uint64_t hash)
{
    size_t at = hash & (table_size - 1);
    while (table[at].hash != 0 && table[at].hash != hash)
        at = (at + 1) & (table_size - 1);
    return &table[at];
}

/* Moves what is not as good as new to a table that has room for as much again. */
static void grow(uint64_t now_ns)
{
    size_t live = 0;
    for (size_t i = 0; i < size; i++)
        live += buckets[i].hash != 0 && buckets[i].full_at > now_ns;
    size_t wanted = FIRST_SIZE;
    while (wanted < 4 * live && wanted < MAX_SIZE)
        wanted *= 2;
    struct bucket *table = calloc(wanted, sizeof(*table));
    if (table == NULL)
        return; /* as it was: whoever comes now is let through */
    for (size_t i = 0; i < size; i++) {
        if (buckets[i].hash != 0 && buckets[i].full_at > now_ns)
            *find_in(table, wanted, buckets[i].hash) = buckets[i];
    }
    free(buckets);
    buckets = table;
    size = wanted;
    used = live;
}

/* The bucket of a key, a new one where there is none; NULL when there is no room. */
static struct bucket *find(uint64_t hash, uint64_t now_ns)
{
    if (used >= size - size / 4) /* as it is while there is none */
        grow(now_ns);
    if (size == 0)
        return NULL;
    struct bucket *bucket = find_in(buckets, size, hash);
    if (bucket->hash == hash)
        return bucket;
    if (used >= size - size / 8)
        return NULL;
    used++;
    bucket->hash = hash;
    bucket->full_at = now_ns;
    return bucket;
}

struct peri_limit_answer peri_limit_take(const char *key, size_t len, struct peri_limit_rate rate,
                                         uint64_t now_ns)
{
    struct peri_limit_answer answer = {.allowed = true, .left = rate.burst - 1};
    uint64_t window = rate.every_ns * rate.burst;
    uint64_t hash = peri_keyed_hash(key, len) | 1; /* 0 means free */
    pthread_mutex_lock(&mutex);
    struct bucket *bucket = find(hash, now_ns);
    if (bucket != NULL) {
        uint64_t from = bucket->full_at > now_ns ? bucket->full_at : now_ns;
        uint64_t used_up = from + rate.every_ns - now_ns; /* with this one */
        answer.allowed = used_up <= window;
        if (answer.allowed) {
            bucket->full_at = from + rate.every_ns;
            answer.left = (window - used_up) / rate.every_ns;
            answer.reset_ns = used_up;
        } else {
            answer.left = 0;
            answer.reset_ns = from - now_ns;
            answer.wait_ns = used_up - window;
        }
    }
    pthread_mutex_unlock(&mutex);
    return answer;
}

size_t peri_limit_count(void)
{
    pthread_mutex_lock(&mutex);
    size_t count = used;
    pthread_mutex_unlock(&mutex);
    return count;
}

void peri_limit_forget(void)
{
    pthread_mutex_lock(&mutex);
    free(buckets);
    buckets = NULL;
    size = used = 0;
    pthread_mutex_unlock(&mutex);
}
