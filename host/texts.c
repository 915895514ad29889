#include "texts.h"

#include "buf.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct text {
    struct text *next;
    char *name;
    struct peri_buf bytes;
};

struct peri_texts {
    pthread_mutex_t mutex;
    struct text *first; /* what is in the list does not change any more */
};

struct peri_texts *peri_texts_new(void)
{
    struct peri_texts *texts = calloc(1, sizeof(*texts));
    if (texts != NULL)
        pthread_mutex_init(&texts->mutex, NULL);
    return texts;
}

static void text_free(struct text *text)
{
    peri_buf_deinit(&text->bytes);
    free(text->name);
    free(text);
}

void peri_texts_free(struct peri_texts *texts)
{
    if (texts == NULL)
        return;
    while (texts->first != NULL) {
        struct text *text = texts->first;
        texts->first = text->next;
        text_free(text);
    }
    pthread_mutex_destroy(&texts->mutex);
    free(texts);
}

/* NULL: it cannot be read. */
static struct text *read_text(const char *name)
{
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return NULL;
    struct text *text = calloc(1, sizeof(*text));
    if (text != NULL)
        text->name = strdup(name);
    struct stat info;
    bool whole = text != NULL && text->name != NULL && fstat(fileno(file), &info) == 0;
    size_t room =
        whole ? (size_t) info.st_size + 1 : 0; /* more than is expected: so ends are seen */
    size_t len = room;
    while (whole && len == room) {
        len = fread(peri_buf_reserve(&text->bytes, room), 1, room, file);
        text->bytes.len += len;
        whole = ferror(file) == 0;
    }
    fclose(file);
    if (whole || text == NULL)
        return text;
    text_free(text);
    return NULL;
}

static const struct text *find(struct peri_texts *texts, const char *name)
{
    pthread_mutex_lock(&texts->mutex);
    struct text *text = texts->first;
    while (text != NULL && strcmp(text->name, name) != 0)
        text = text->next;
    if (text == NULL && (text = read_text(name)) != NULL) {
        text->next = texts->first;
        texts->first = text;
    }
    pthread_mutex_unlock(&texts->mutex);
    return text;
}

int peri_texts_load(struct peri_texts *texts, lua_State *L, const char *name)
{
    const struct text *text = texts != NULL && name != NULL ? find(texts, name) : NULL;
    if (text == NULL)
        return luaL_loadfilex(L, name, "t");
    const char *bytes = text->bytes.len > 0 ? text->bytes.data : "";
    size_t len = text->bytes.len;
    if (len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        bytes += 3;
        len -= 3;
    }
    if (len > 0 && *bytes == '#') { /* the first line is for the shell; its end stays */
        const char *end = memchr(bytes, '\n', len);
        len = end != NULL ? len - (size_t) (end - bytes) : 0;
        bytes = end != NULL ? end : "";
    }
    lua_pushfstring(L, "@%s", name);
    int rc = luaL_loadbufferx(L, bytes, len, lua_tostring(L, -1), "t");
    lua_remove(L, -2);
    return rc;
}
