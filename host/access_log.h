/* The access log: one line for each request. */
#ifndef PERI_ACCESS_LOG_H
#define PERI_ACCESS_LOG_H

#include "address.h"
#include "buf.h"

struct peri_exchange;

/* Queues the line of an exchange whose answer is out. */
void peri_access_log(struct peri_exchange *exchange);

/* Appends the client as logs name it: "192.0.2.1:80", "[2001:db8::1]:80" or "unix". */
void peri_access_log_add_client(struct peri_buf *line, const union peri_address *client);

#endif
