/* Who the client is when proxies stand between: the headers Forwarded (RFC 7239), X-Forwarded-For
 * and X-Forwarded-Proto, believed from trusted addresses only. Pure. */
#ifndef PERI_FORWARDED_H
#define PERI_FORWARDED_H

#include "address.h"
#include "request.h"

struct peri_origin {
    union peri_address client;
    bool https;
};

/* The client of a request that `peer` sent. Each proxy has appended whom it heard from, so the list
 * is read from its end, for as long as those who speak are trusted. Forwarded goes first; where it
 * stands, the other headers are not looked at. */
struct peri_origin peri_forwarded_origin(const struct peri_request *request,
                                         const union peri_address *peer,
                                         const struct peri_networks *trusted);

#endif
