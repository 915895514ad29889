/* Files that the build links into the binary (cmake/embed.cmake): the framework's Lua modules, as
 * text and compiled, and the assets of the documentation pages (cmake/assets.cmake), which are gzip
 * files. */
#ifndef PERI_EMBED_H
#define PERI_EMBED_H

#include <stddef.h>

struct peri_embedded {
    const char *name;           /* "perigee.types": what require() is asked for */
    const char *chunkname;      /* "@perigee/types.lua": what tracebacks show */
    const unsigned char *bytes; /* not NUL-terminated */
    size_t len;
};

extern const struct peri_embedded peri_embedded[]; /* text: for tools that read its comments */
extern const size_t peri_embedded_count;

extern const struct peri_embedded peri_compiled[]; /* bytecode: what runs */
extern const size_t peri_compiled_count;

extern const struct peri_embedded peri_assets[]; /* "swagger-ui.css.gz" */
extern const size_t peri_assets_count;

extern const struct peri_embedded peri_pages[]; /* "reload.js": of pages in development */
extern const size_t peri_pages_count;

#endif
