/* The access log: one line for each request. */
#ifndef PERI_ACCESS_LOG_H
#define PERI_ACCESS_LOG_H

struct peri_exchange;

/* Queues the line of an exchange whose answer is out. */
void peri_access_log(struct peri_exchange *exchange);

#endif
