#include "topics.h"

#include "hash.h"
#include "list.h"
#include "vm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256 /* of topics; a power of two */

struct peri_message {
    atomic_uint references;
    size_t topic_len;
    size_t len;
    char bytes[]; /* the topic, the message */
};

/* One slot of a queue. */
struct waiting {
    struct peri_list link;
    struct peri_message *message;
};

/* What wakes a VM. `ready` and the queues of its subscriptions are under its lock. */
struct peri_topic_inbox {
    uv_async_t async;
    pthread_mutex_t lock;
    struct peri_list ready; /* subscriptions with news that the loop has not seen */
};

struct peri_subscription {
    struct peri_list link;  /* in the bucket of its topic, or among the patterns: registry.lock */
    struct peri_list ready; /* inbox->lock, like the queue */
    struct peri_list queue;
    unsigned count;
    unsigned limit;
    uint64_t dropped;
    struct peri_topic_inbox *inbox;
    struct peri_op *op; /* these are the loop's own */
    unsigned references;
    bool closed;

    bool is_pattern;
    size_t topic_len; /* without the '*' */
    char topic[];
};

static struct {
    pthread_mutex_t lock;
    struct peri_list buckets[BUCKETS];
    struct peri_list patterns;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void make_registry(void)
{
    for (int i = 0; i < BUCKETS; i++)
        peri_list_init(&registry.buckets[i]);
    peri_list_init(&registry.patterns);
}

static void lock_registry(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_registry);
    pthread_mutex_lock(&registry.lock);
}

static struct peri_list *bucket_of(const char *topic, size_t len)
{
    return &registry.buckets[peri_keyed_hash(topic, len) & (BUCKETS - 1)];
}

/* --- messages ----------------------------------------------------------------------------------
 */

static struct peri_message *message_new(const char *topic, size_t topic_len, const char *bytes,
                                        size_t len)
{
    struct peri_message *message = malloc(sizeof(*message) + topic_len + len);
    if (message == NULL)
        return NULL;
    atomic_init(&message->references, 1);
    message->topic_len = topic_len;
    message->len = len;
    memcpy(message->bytes, topic, topic_len);
    memcpy(message->bytes + topic_len, bytes, len);
    return message;
}

void peri_message_release(struct peri_message *message)
{
    if (atomic_fetch_sub(&message->references, 1) == 1)
        free(message);
}

const char *peri_message_bytes(const struct peri_message *message, size_t *len)
{
    *len = message->len;
    return message->bytes + message->topic_len;
}

const char *peri_message_topic(const struct peri_message *message, size_t *len)
{
    *len = message->topic_len;
    return message->bytes;
}

/* The oldest of a queue, whose lock is held. */
static struct peri_message *pop(struct peri_subscription *subscription)
{
    struct peri_list *link = peri_list_pop(&subscription->queue);
    if (link == NULL)
        return NULL;
    struct waiting *waiting = peri_container_of(link, struct waiting, link);
    struct peri_message *message = waiting->message;
    free(waiting);
    subscription->count--;
    return message;
}

/* --- publishing --------------------------------------------------------------------------------
 */

static bool deliver(struct peri_subscription *subscription, struct peri_message *message)
{
    struct peri_topic_inbox *inbox = subscription->inbox;
    struct waiting *waiting = malloc(sizeof(*waiting));
    if (waiting == NULL)
        return false;
    waiting->message = message;
    peri_list_init(&waiting->link);
    atomic_fetch_add(&message->references, 1);

    pthread_mutex_lock(&inbox->lock);
    struct peri_message *oldest = NULL;
    if (subscription->count == subscription->limit) {
        oldest = pop(subscription);
        subscription->dropped++;
    }
    peri_list_append(&subscription->queue, &waiting->link);
    subscription->count++;
    bool asleep = peri_list_empty(&inbox->ready);
    if (peri_list_empty(&subscription->ready))
        peri_list_append(&inbox->ready, &subscription->ready);
    if (asleep)
        uv_async_send(&inbox->async);
    pthread_mutex_unlock(&inbox->lock);
    if (oldest != NULL)
        peri_message_release(oldest);
    return true;
}

static unsigned deliver_to(struct peri_list *list, struct peri_message *message)
{
    unsigned count = 0;
    for (struct peri_list *at = list->next; at != list; at = at->next) {
        struct peri_subscription *subscription =
            peri_container_of(at, struct peri_subscription, link);
        size_t len = subscription->topic_len;
        if (subscription->is_pattern && message->topic_len > 0 && message->bytes[0] == '\0')
            continue; /* the framework's own */
        if ((subscription->is_pattern ? message->topic_len >= len : message->topic_len == len) &&
            memcmp(subscription->topic, message->bytes, len) == 0)
            count += deliver(subscription, message);
    }
    return count;
}

unsigned peri_topics_publish(const char *topic, size_t topic_len, const char *bytes, size_t len)
{
    struct peri_message *message = message_new(topic, topic_len, bytes, len);
    if (message == NULL)
        return 0;
    lock_registry();
    unsigned count = deliver_to(bucket_of(topic, topic_len), message);
    count += deliver_to(&registry.patterns, message);
    pthread_mutex_unlock(&registry.lock);
    peri_message_release(message);
    return count;
}

/* --- subscribing -------------------------------------------------------------------------------
 */

static void on_news(uv_async_t *async)
{
    struct peri_topic_inbox *inbox = async->data;
    struct peri_list *link;
    pthread_mutex_lock(&inbox->lock);
    while ((link = peri_list_pop(&inbox->ready)) != NULL) {
        struct peri_subscription *subscription =
            peri_container_of(link, struct peri_subscription, ready);
        if (subscription->op != NULL)
            peri_op_done(subscription->op); /* only marks the task as ready */
        subscription->op = NULL;
    }
    pthread_mutex_unlock(&inbox->lock);
}

static struct peri_topic_inbox *inbox_of(struct peri_vm *vm)
{
    if (vm->topics != NULL)
        return vm->topics;
    struct peri_topic_inbox *inbox = calloc(1, sizeof(*inbox));
    if (inbox == NULL || uv_async_init(vm->tasks.loop, &inbox->async, on_news) != 0) {
        free(inbox);
        return NULL;
    }
    uv_unref((uv_handle_t *) &inbox->async); /* listening keeps no loop alive */
    inbox->async.data = inbox;
    pthread_mutex_init(&inbox->lock, NULL);
    peri_list_init(&inbox->ready);
    return vm->topics = inbox;
}

static void on_inbox_closed(uv_handle_t *handle)
{
    struct peri_topic_inbox *inbox = handle->data;
    pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

void peri_topic_inbox_close(struct peri_topic_inbox *inbox)
{
    if (inbox != NULL)
        uv_close((uv_handle_t *) &inbox->async, on_inbox_closed);
}

struct peri_subscription *peri_topics_subscribe(struct peri_vm *vm, const char *topic, size_t len,
                                                unsigned limit)
{
    struct peri_topic_inbox *inbox = inbox_of(vm);
    struct peri_subscription *subscription = calloc(1, sizeof(*subscription) + len);
    if (inbox == NULL || subscription == NULL) {
        free(subscription);
        return NULL;
    }
    subscription->is_pattern = len > 0 && topic[len - 1] == '*';
    subscription->topic_len = len - subscription->is_pattern;
    subscription->limit = limit;
    subscription->references = 1;
    subscription->inbox = inbox;
    memcpy(subscription->topic, topic, len);
    peri_list_init(&subscription->link);
    peri_list_init(&subscription->ready);
    peri_list_init(&subscription->queue);
    lock_registry();
    peri_list_append(subscription->is_pattern ? &registry.patterns : bucket_of(topic, len),
                     &subscription->link);
    pthread_mutex_unlock(&registry.lock);
    return subscription;
}

void peri_topics_unsubscribe(struct peri_subscription *subscription)
{
    if (subscription->closed)
        return;
    subscription->closed = true;
    lock_registry(); /* nobody delivers meanwhile, or afterwards */
    peri_list_remove(&subscription->link);
    pthread_mutex_unlock(&registry.lock);
    pthread_mutex_lock(&subscription->inbox->lock);
    peri_list_remove(&subscription->ready);
    pthread_mutex_unlock(&subscription->inbox->lock);
    struct peri_message *message;
    while ((message = pop(subscription)) != NULL)
        peri_message_release(message);
    if (subscription->op != NULL)
        peri_op_done(subscription->op);
    subscription->op = NULL;
}

void peri_subscription_hold(struct peri_subscription *subscription)
{
    subscription->references++;
}

void peri_subscription_drop(struct peri_subscription *subscription)
{
    if (--subscription->references > 0)
        return;
    peri_topics_unsubscribe(subscription);
    free(subscription);
}

struct peri_message *peri_subscription_take(struct peri_subscription *subscription)
{
    pthread_mutex_lock(&subscription->inbox->lock);
    struct peri_message *message = pop(subscription);
    pthread_mutex_unlock(&subscription->inbox->lock);
    return message;
}

uint64_t peri_subscription_dropped(struct peri_subscription *subscription)
{
    pthread_mutex_lock(&subscription->inbox->lock);
    uint64_t dropped = subscription->dropped;
    subscription->dropped = 0;
    pthread_mutex_unlock(&subscription->inbox->lock);
    return dropped;
}

bool peri_subscription_wait(struct peri_subscription *subscription, struct peri_op *op)
{
    if (subscription->op != NULL)
        return false;
    pthread_mutex_lock(&subscription->inbox->lock);
    bool has_news = subscription->count > 0;
    pthread_mutex_unlock(&subscription->inbox->lock);
    if (has_news || subscription->closed)
        peri_op_done(op);
    else
        subscription->op = op; /* on_news() comes later, on this thread */
    return true;
}

void peri_subscription_rest(struct peri_subscription *subscription)
{
    subscription->op = NULL;
}
