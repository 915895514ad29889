#include "forwarded.h"

#include <string.h>
#include <strings.h>

/* What one element of a list says, and whether the list goes on to the left of it. */
struct element {
    const char *at;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct element trimmed(const char *at, size_t len)
{
    while (len > 0 && is_blank(*at)) {
        at++;
        len--;
    }
    while (len > 0 && is_blank(at[len - 1]))
        len--;
    return (struct element){at, len};
}

/* Takes the last element off the list. Commas inside of quotes are no problem: an address has
 * none, and what is no address ends the search. */
static bool take_last(struct element *list, struct element *last)
{
    if (list->len == 0)
        return false;
    size_t start = list->len;
    while (start > 0 && list->at[start - 1] != ',')
        start--;
    *last = trimmed(list->at + start, list->len - start);
    list->len = start > 0 ? start - 1 : 0;
    return true;
}

/* The value of a parameter ("for", "proto") of an element of Forwarded; len 0 when it is absent. */
static struct element parameter(struct element element, const char *name)
{
    size_t name_len = strlen(name);
    while (element.len > 0) {
        const char *end = memchr(element.at, ';', element.len);
        size_t len = end != NULL ? (size_t) (end - element.at) : element.len;
        struct element pair = trimmed(element.at, len);
        size_t used = end != NULL ? len + 1 : len;
        element.at += used;
        element.len -= used;
        if (pair.len <= name_len || strncasecmp(pair.at, name, name_len) != 0 ||
            pair.at[name_len] != '=')
            continue;
        struct element value = {pair.at + name_len + 1, pair.len - name_len - 1};
        if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
            value = (struct element){value.at + 1, value.len - 2};
        return value;
    }
    return (struct element){NULL, 0};
}

static bool equals(struct element element, const char *text)
{
    return element.len == strlen(text) && strncasecmp(element.at, text, element.len) == 0;
}

static struct element value_of(const struct peri_request *request, int index)
{
    struct peri_span value = request->headers[index].value;
    return (struct element){peri_request_at(request, value), value.len};
}

/* The header of this name that the last proxy wrote: lines are appended, too. `before` is the index
 * that the search ends at. */
static int find_last(const struct peri_request *request, const char *name, int before)
{
    int found = -1;
    size_t len = strlen(name);
    for (int at = peri_request_find(request, 0, name, len); at >= 0 && at < before;
         at = peri_request_find(request, at + 1, name, len))
        found = at;
    return found;
}

/* Follows a list of addresses from its end. `name_of` finds the address in an element. */
static void follow(const struct peri_request *request, const char *name, bool is_forwarded,
                   const struct peri_networks *trusted, struct peri_origin *origin)
{
    int index = find_last(request, name, request->header_count);
    for (; index >= 0; index = find_last(request, name, index)) {
        struct element list = value_of(request, index);
        struct element last;
        while (take_last(&list, &last)) {
            if (is_forwarded) {
                origin->https = equals(parameter(last, "proto"), "https");
                last = parameter(last, "for");
            }
            if (last.len == 0 || !peri_address_parse(&origin->client, last.at, last.len) ||
                !peri_networks_contain(trusted, &origin->client))
                return;
        }
    }
}

struct peri_origin peri_forwarded_origin(const struct peri_request *request,
                                         const union peri_address *peer,
                                         const struct peri_networks *trusted)
{
    struct peri_origin origin = {.client = *peer};
    if (!peri_networks_contain(trusted, peer))
        return origin;
    if (peri_request_find(request, 0, "forwarded", 9) >= 0) {
        follow(request, "forwarded", true, trusted, &origin);
        return origin;
    }
    follow(request, "x-forwarded-for", false, trusted, &origin);
    int proto = find_last(request, "x-forwarded-proto", request->header_count);
    if (proto >= 0) {
        struct element list = value_of(request, proto);
        struct element last;
        origin.https = take_last(&list, &last) && equals(last, "https");
    }
    return origin;
}
