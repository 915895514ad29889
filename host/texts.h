/* The Lua files of one version of an app, each read once: all of its VMs load the same bytes, also
 * when somebody writes to a file while they do. Any thread of the load may ask. */
#ifndef PERI_TEXTS_H
#define PERI_TEXTS_H

#include <lua.h>

struct peri_texts;

/* Returns NULL when out of memory. */
struct peri_texts *peri_texts_new(void);
void peri_texts_free(struct peri_texts *texts);

/* As luaL_loadfilex() with mode "t", which it is for `texts` NULL, and for a file that cannot be
 * read. */
int peri_texts_load(struct peri_texts *texts, lua_State *L, const char *name);

#endif
