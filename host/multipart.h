/* multipart/form-data (RFC 7578, RFC 2046 5.1), fed in any pieces: bytes in, parts out. Pure; keeps
 * no more than the header lines of one part.
 *
 * It accepts what python-multipart 0.0.34 accepts: lines end in CRLF and nothing else, the first
 * boundary stands at the very beginning (line ends before it are skipped), white space may follow a
 * boundary between parts, what follows the last one is ignored. A part that is cut off by the end
 * of the body never ends. */
#ifndef PERI_MULTIPART_H
#define PERI_MULTIPART_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERI_PART_MAX_HEADERS 8
#define PERI_PART_MAX_LINE 4224 /* bytes of one header line without its CRLF */
#define PERI_BOUNDARY_MAX 256

struct peri_part_header {
    const char *name; /* in lower case */
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* One part as its headers describe it; bytes as sent, in whatever charset. */
struct peri_part {
    const char *name;
    size_t name_len;
    const char *filename; /* NULL: not a file. "" is a file, though none was chosen */
    size_t filename_len;
    const struct peri_part_header *headers;
    unsigned header_count;
};

/* Each answers 0 to go on, or a positive number that peri_multipart_feed() then returns. The bytes
 * are valid during the call. */
struct peri_multipart_events {
    int (*part)(void *context, const struct peri_part *part);
    int (*data)(void *context, const char *bytes, size_t len);
    int (*part_end)(void *context);
};

enum peri_multipart_error {
    PERI_MULTIPART_INVALID = -1, /* it breaks the grammar or a limit above */
    PERI_MULTIPART_UNNAMED = -2, /* a part without a name */
};

struct peri_multipart_line {
    uint32_t name_at; /* into `head` */
    uint32_t name_len;
    uint32_t value_at;
    uint32_t value_len;
};

struct peri_multipart {
    const struct peri_multipart_events *events;
    void *context;
    struct peri_buf head; /* the header lines of the part being read */
    struct peri_multipart_line lines[PERI_PART_MAX_HEADERS];
    unsigned line_count;
    unsigned line_bytes;                   /* of the line being read */
    char delimiter[4 + PERI_BOUNDARY_MAX]; /* CR LF - - boundary */
    size_t delimiter_len;
    size_t matched; /* bytes of the delimiter seen so far */
    uint8_t state;
    bool in_part; /* false until the first boundary */
    int error;    /* what the last feed returned: nothing is read after it */
};

/* Returns 0, or PERI_MULTIPART_INVALID when the boundary is too long; an empty one is allowed. */
int peri_multipart_init(struct peri_multipart *multipart, const char *boundary, size_t len,
                        const struct peri_multipart_events *events, void *context);
void peri_multipart_deinit(struct peri_multipart *multipart);

/* Returns 0, an enum peri_multipart_error, or what an event answered. */
int peri_multipart_feed(struct peri_multipart *multipart, const char *bytes, size_t len);

/* Whether the last boundary has been read. */
bool peri_multipart_is_complete(const struct peri_multipart *multipart);

/* --- header values with parameters: `type; name=value; name="value"` ----------------------------
 */

/* Whether the value is of this type (in lower case), whatever its parameters are. */
bool peri_header_is(const char *value, size_t len, const char *type);

/* Appends the value of a parameter (its name in lower case), without quotes; the last one counts.
 * Returns false when there is none. */
bool peri_header_param(const char *value, size_t len, const char *name, struct peri_buf *out);

#endif
