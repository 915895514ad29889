/* The files of one version of an app, each read once: all of its VMs load the same bytes, also when
 * somebody writes to a file while they do, and what was not there for the first of them is not
 * there for the last. Any thread of the load may ask.
 *
 *   Lua files    require, dofile, loadfile; the comments that the documentation shows
 *   settings     .env
 *   data         what the app itself reads with io.open and io.lines (load_io.h)
 *
 * An app may also write while it loads, and must then read what it has written: data in a file that
 * it has opened for writing comes from the disk, all data does once it has renamed or removed files
 * or run a command, and what was missing before either is looked for again.
 *
 * It may also wait for a file: whoever asks again for what it has found missing looks at the disk.
 *
 * NULL in place of the texts means: from the disk. `asker` is the VM. */
#ifndef PERI_TEXTS_H
#define PERI_TEXTS_H

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

struct peri_buf;
struct peri_texts;

/* Returns NULL when out of memory. */
struct peri_texts *peri_texts_new(void);
void peri_texts_free(struct peri_texts *texts);

/* As luaL_loadfilex() with mode "t"; `name` may be NULL: the standard input. */
int peri_texts_load(struct peri_texts *texts, lua_State *L, const char *name);

/* Appends what the file holds. Where `regular` says so it is to be shown, and what is no file (a
 * pipe, which may keep us waiting) is not opened: UV_EINVAL. Returns 0 or a UV_E* code. */
int peri_texts_read(struct peri_texts *texts, const void *asker, const char *name, bool regular,
                    struct peri_buf *out);

/* Opens the app's data for reading: *file is a copy that belongs to the caller. Returns 0, a UV_E*
 * code that the disk has given, or UV_ENOTSUP: this file is read from the disk. */
int peri_texts_open(struct peri_texts *texts, const void *asker, const char *name, FILE **file);

/* The app has opened this file for writing; NULL: it has changed we do not know what. */
void peri_texts_written(struct peri_texts *texts, const char *name);

/* What the search for a module gave: pushes the file or nil, and then where it was looked for, and
 * returns true; false when nobody has looked. `key` is the module and the path. */
bool peri_texts_recall(struct peri_texts *texts, lua_State *L, const char *key);
/* ... unless somebody else was faster. `file` is NULL where it was not found. */
void peri_texts_remember(struct peri_texts *texts, const void *asker, const char *key,
                         const char *file, const char *message);

#endif
