#include "address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int peri_address_format(const union peri_address *address, char text[INET6_ADDRSTRLEN])
{
    text[0] = '\0';
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->v4.sin_addr, text, INET6_ADDRSTRLEN);
        return ntohs(address->v4.sin_port);
    }
    if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, text, INET6_ADDRSTRLEN);
        return ntohs(address->v6.sin6_port);
    }
    return 0;
}

static bool parse_port(const char *text, size_t len, in_port_t *port)
{
    unsigned value = 0;
    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned) (text[i] - '0');
    }
    *port = htons((in_port_t) value);
    return value <= 65535;
}

static bool parse_ip(union peri_address *address, const char *text, size_t len, in_port_t port)
{
    char copy[INET6_ADDRSTRLEN];
    union peri_address parsed = {0};
    if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, &parsed.v4.sin_addr) == 1) {
        parsed.v4.sin_family = AF_INET;
        parsed.v4.sin_port = port;
    } else if (inet_pton(AF_INET6, copy, &parsed.v6.sin6_addr) == 1) {
        parsed.v6.sin6_family = AF_INET6;
        parsed.v6.sin6_port = port;
    } else {
        return false;
    }
    *address = parsed;
    return true;
}

bool peri_address_parse(union peri_address *address, const char *text, size_t len)
{
    in_port_t port = 0;
    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        if (end == NULL)
            return false;
        size_t rest = len - (size_t) (end + 1 - text);
        if (rest > 0 && (end[1] != ':' || !parse_port(end + 2, rest - 1, &port)))
            return false;
        return memchr(text, ':', (size_t) (end - text)) != NULL &&
               parse_ip(address, text + 1, (size_t) (end - text) - 1, port);
    }
    const char *colon = memchr(text, ':', len);
    if (colon != NULL && memchr(colon + 1, ':', len - (size_t) (colon + 1 - text)) == NULL) {
        if (!parse_port(colon + 1, len - (size_t) (colon + 1 - text), &port))
            return false;
        len = (size_t) (colon - text);
    }
    return parse_ip(address, text, len, port);
}

/* --- networks ----------------------------------------------------------------------------------
 */

static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};

/* The address as 16 bytes; false when it is no IP address. */
static bool to_bytes(const union peri_address *address, uint8_t bytes[16])
{
    if (address->any.sa_family == AF_INET) {
        memcpy(bytes, MAPPED, sizeof(MAPPED));
        memcpy(bytes + sizeof(MAPPED), &address->v4.sin_addr, 4);
        return true;
    }
    if (address->any.sa_family == AF_INET6) {
        memcpy(bytes, &address->v6.sin6_addr, 16);
        return true;
    }
    return false;
}

static bool parse_network(struct peri_network *network, const char *text, size_t len)
{
    union peri_address address = {0};
    const char *slash = memchr(text, '/', len);
    size_t ip_len = slash != NULL ? (size_t) (slash - text) : len;
    if (!parse_ip(&address, text, ip_len, 0) || !to_bytes(&address, network->prefix))
        return false;
    unsigned most = address.any.sa_family == AF_INET ? 32 : 128;
    unsigned bits = most;
    if (slash != NULL) {
        in_port_t number = 0;
        if (!parse_port(slash + 1, len - ip_len - 1, &number) || ntohs(number) > most)
            return false;
        bits = ntohs(number);
    }
    network->bits = (uint8_t) (bits + (most == 32 ? 96 : 0));
    return true;
}

bool peri_networks_parse(struct peri_networks *networks, const char *text)
{
    *networks = (struct peri_networks){0};
    while (*text != '\0') {
        text += strspn(text, ", ");
        size_t len = strcspn(text, ", ");
        if (len == 0)
            break;
        if (len == 1 && *text == '*')
            networks->all = true;
        else if (len == 4 && memcmp(text, "unix", 4) == 0)
            networks->local = true;
        else if (networks->count == PERI_MAX_NETWORKS ||
                 !parse_network(&networks->list[networks->count++], text, len))
            return false;
        text += len;
    }
    return true;
}

static bool starts_with(const uint8_t *bytes, const struct peri_network *network)
{
    unsigned whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    if (memcmp(bytes, network->prefix, whole) != 0)
        return false;
    return rest == 0 || ((bytes[whole] ^ network->prefix[whole]) >> (8 - rest)) == 0;
}

bool peri_networks_contain(const struct peri_networks *networks, const union peri_address *address)
{
    uint8_t bytes[16];
    if (networks->all)
        return true;
    if (!to_bytes(address, bytes))
        return networks->local;
    for (unsigned i = 0; i < networks->count; i++) {
        if (starts_with(bytes, &networks->list[i]))
            return true;
    }
    return false;
}
