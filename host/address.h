/* Socket addresses of clients, and sets of them. Pure. */
#ifndef PERI_ADDRESS_H
#define PERI_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

union peri_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Writes the address without its port, "" when it is no IP address (a client of a Unix socket).
 * Returns the port, 0 then. */
int peri_address_format(const union peri_address *address, char text[INET6_ADDRSTRLEN]);

/* Reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1" or "[2001:db8::1]:80". Returns false, and leaves
 * *address alone, when it is none of these. */
bool peri_address_parse(union peri_address *address, const char *text, size_t len);

#define PERI_MAX_NETWORKS 32

struct peri_network {
    uint8_t prefix[16]; /* IPv4 as mapped into IPv6 */
    uint8_t bits;
};

/* Who is trusted: addresses and networks. */
struct peri_networks {
    struct peri_network list[PERI_MAX_NETWORKS];
    unsigned count;
    bool all;
    bool local; /* clients of Unix sockets */
};

/* Reads "127.0.0.1,10.0.0.0/8,::1,unix" or "*". Returns false when a part is none. */
bool peri_networks_parse(struct peri_networks *networks, const char *text);

bool peri_networks_contain(const struct peri_networks *networks, const union peri_address *address);

#endif
