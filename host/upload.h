/* A file that a client sends in a form: what its part said about it, and its bytes.
 *
 * The bytes are in memory, or in the spool of the form: one temporary file that has no name, so
 * that nothing is left behind whatever ends the process, and that all files of a form share, so
 * that a form costs one descriptor at most. A file is written in one go and never changes
 * afterwards.
 *
 * Lives as long as anybody refers to it (the form, and each of its values in Lua); its bytes live
 * until it is closed, which the form does when the request is over. Belongs to one thread, but for
 * reading while pinned. */
#ifndef PERI_UPLOAD_H
#define PERI_UPLOAD_H

#include "buf.h"
#include "multipart.h"

#include <stdbool.h>
#include <stdint.h>

/* A temporary file without a name, shared by the files of one form. */
struct peri_spool {
    int fd;
    unsigned refs;
    uint64_t len;
    char *map; /* all of it, once peri_upload_bytes() asked; NULL before */
    uint64_t map_len;
};

/* Makes one in $TMPDIR or /tmp. Returns 0 or a UV_E* code. */
int peri_spool_new(struct peri_spool **spool);
void peri_spool_unref(struct peri_spool *spool); /* NULL is allowed */

/* The same file for another thread, once it is written. Returns 0 or a UV_E* code. */
int peri_spool_copy(const struct peri_spool *spool, struct peri_spool **copy);

struct peri_upload {
    const char *name; /* of the file, UTF-8; may be empty */
    size_t name_len;
    struct peri_part_header headers[PERI_PART_MAX_HEADERS]; /* UTF-8 */
    unsigned header_count;
    uint64_t size;

    struct peri_buf text;     /* what name and headers point into */
    struct peri_buf memory;   /* the bytes, when there is no spool */
    struct peri_spool *spool; /* else they start here: */
    uint64_t offset;
    unsigned refs;
    unsigned pins;
    bool closed;
};

/* A file without bytes so far, with one reference. `name` is the decoded file name; header values
 * are taken for Latin-1. */
struct peri_upload *peri_upload_new(const char *name, size_t len, const struct peri_part *part);
void peri_upload_ref(struct peri_upload *upload);
void peri_upload_unref(struct peri_upload *upload); /* NULL is allowed */

/* The same file for another thread: bytes in memory are copied, those in a spool stand in `spool`,
 * a copy of its own. One reference. */
struct peri_upload *peri_upload_copy(const struct peri_upload *upload, struct peri_spool *spool);

/* Adds bytes. In a spool this blocks the thread for as long as the page cache takes to copy them.
 * Returns 0 or a UV_E* code. */
int peri_upload_append(struct peri_upload *upload, const char *bytes, size_t len);

/* Moves the bytes from memory to the end of the spool, and stays there. Returns 0 or a UV_E* code.
 */
int peri_upload_spill(struct peri_upload *upload, struct peri_spool *spool);

/* All bytes as one piece of memory, valid until the file is closed; those in the spool are mapped.
 * NULL when they cannot be. */
const char *peri_upload_bytes(struct peri_upload *upload);

/* The value of a header (name in lower case), the first of its name; NULL when there is none. */
const struct peri_part_header *peri_upload_header(const struct peri_upload *upload,
                                                  const char *name);

/* Lets go of the bytes, for everybody, as soon as nobody has them pinned. More than once is fine.
 */
void peri_upload_close(struct peri_upload *upload);

/* Keeps the bytes of a file that is not closed, also when it is closed meanwhile. Other threads may
 * read them until then. */
void peri_upload_pin(struct peri_upload *upload);
void peri_upload_unpin(struct peri_upload *upload);

/* Writes the bytes to a file at `path`: to a new file beside it, which then takes its name, so that
 * nobody ever sees half of it. Durable as far as the file system's cache is. Blocks; may run in any
 * thread while the file is pinned; gives up with UV_ECANCELED when *stop becomes true. Returns 0 or
 * a UV_E* code. */
int peri_upload_save(const struct peri_upload *upload, const char *path, const _Atomic bool *stop);

#endif
