/* Publish and subscribe, between all threads of the process. A message is copied once into bytes
 * and shared by all who get it.
 *
 * A subscription belongs to the VM that made it, and so does its queue's reading end; publishers on
 * other threads append to it under the lock of that VM's inbox, and wake the loop when it was
 * asleep. A queue is bounded: the oldest message goes, and is counted. */
#ifndef PERI_TOPICS_H
#define PERI_TOPICS_H

#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peri_vm;
struct peri_subscription;

/* Topics that begin with a NUL are the framework's own: no pattern has them. */

/* From any thread: gives the bytes to everybody who listens. Returns how many that are. */
unsigned peri_topics_publish(const char *topic, size_t topic_len, const char *bytes, size_t len);

/* Subscribes to a topic, or with a '*' at its end to all that begin so. `limit` messages wait at
 * most. NULL: out of memory. */
struct peri_subscription *peri_topics_subscribe(struct peri_vm *vm, const char *topic, size_t len,
                                                unsigned limit);

/* Gets nothing any more; whoever waits is woken. More than once is harmless. */
void peri_topics_unsubscribe(struct peri_subscription *subscription);

/* It is counted, on its own thread: subscribing gives one reference, the last one frees it. */
void peri_subscription_hold(struct peri_subscription *subscription);
void peri_subscription_drop(struct peri_subscription *subscription);

/* A message; give it back with peri_message_release(). */
struct peri_message;
const char *peri_message_bytes(const struct peri_message *message, size_t *len);
const char *peri_message_topic(const struct peri_message *message, size_t *len);
void peri_message_release(struct peri_message *message);

/* The oldest message that waits; NULL when there is none. */
struct peri_message *peri_subscription_take(struct peri_subscription *subscription);

/* How many messages were dropped since the last time this was asked. */
uint64_t peri_subscription_dropped(struct peri_subscription *subscription);

/* `op` will be done when a message comes or the subscription ends. Returns false when another one
 * waits already. peri_subscription_rest() takes it back. */
bool peri_subscription_wait(struct peri_subscription *subscription, struct peri_op *op);
void peri_subscription_rest(struct peri_subscription *subscription);

/* The VM has closed: no subscription of it is left. NULL is allowed. */
struct peri_topic_inbox;
void peri_topic_inbox_close(struct peri_topic_inbox *inbox);

#endif
