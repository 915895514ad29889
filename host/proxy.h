/* The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt): what a
 * proxy in front of us says of the client before the client's own bytes. Pure. */
#ifndef PERI_PROXY_H
#define PERI_PROXY_H

#include "address.h"

#define PERI_PROXY_MAX 2048 /* bytes; a header with extensions that is longer is refused */

enum peri_proxy_outcome {
    PERI_PROXY_MORE, /* not complete yet */
    PERI_PROXY_DONE,
    PERI_PROXY_BAD,
};

/* Reads the header at the front of the bytes. When done, *used tells its length and *client becomes
 * the address it names; one that names none (a health check of the proxy itself) leaves it. */
enum peri_proxy_outcome peri_proxy_read(const char *bytes, size_t len, union peri_address *client,
                                        size_t *used);

#endif
