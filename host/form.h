/* A form while it arrives: application/x-www-form-urlencoded or multipart/form-data, fed in any
 * pieces, read into the pairs that declared inputs are validated from. Knows no sockets and no Lua.
 *
 * Values are what Starlette 1.0 reads from the same bytes, and so are the refusals, down to their
 * text. Memory is bounded whatever the client sends: text by max_text_bytes, files by
 * max_memory_bytes; file bytes beyond that are written to a temporary file (upload.h), on the
 * calling thread: a copy into the page cache of as much as one read of the socket gave. */
#ifndef PERI_FORM_H
#define PERI_FORM_H

#include "schema.h" /* struct peri_field */

#include <stddef.h>

struct peri_form;

struct peri_form_limits {
    unsigned max_files;
    unsigned max_fields;
    size_t max_field_bytes;  /* of one field that is no file */
    size_t max_text_bytes;   /* of names, fields and part headers together */
    size_t max_file_memory;  /* bytes of one file that stay in memory */
    size_t max_memory_bytes; /* bytes of all files together that stay in memory */
};

/* 1000 files, 1000 fields, 1 MiB a field, 8 MiB of text; 1 MiB of a file, 4 MiB of all files. */
extern const struct peri_form_limits peri_form_usual_limits;

/* Begins a form of this content type (the header's value; NULL is allowed). NULL when it is none of
 * the two: the form is then empty, and the body nobody's. `limits` must outlive the form. */
struct peri_form *peri_form_new(const char *content_type, size_t len,
                                const struct peri_form_limits *limits);

/* Hands it bytes of the body; peri_form_end() says that there are no more. Both return 0, or the
 * status that refuses the request: 400, 413 or 507. After that they only return it again. */
int peri_form_feed(struct peri_form *form, const char *bytes, size_t len);
int peri_form_end(struct peri_form *form);

/* Why the form was refused, the answer's `detail`; NULL when the status says it all. Valid as long
 * as the form. */
const char *peri_form_detail(const struct peri_form *form);

/* The pairs of a form that has ended, in the order sent; valid as long as the form. `file` of a
 * file is a struct peri_upload, for peri_file_push(). */
struct peri_fields peri_form_fields(struct peri_form *form);

/* The same form for another thread, once it has ended. NULL when there is no descriptor left for
 * its files. */
struct peri_form *peri_form_copy(const struct peri_form *form);

/* Closes all its files, also those that Lua still has: called when the request is over, and what
 * runs behind its answer too. NULL is allowed. */
void peri_form_free(struct peri_form *form);

#endif
