#include "texts.h"

#include "buf.h"
#include "hash.h"
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define READ_MORE 4096       /* than is expected: so ends are seen */
#define MAX_DATA (64 << 20)  /* bytes of a file that is kept for all; others read longer ones */
#define MAX_SHOWN (16 << 20) /* bytes of a file with source text */
#define MAX_WRITTEN 64       /* files; after that all data comes from the disk */
#define BUCKETS 4096         /* of texts: apps may have thousands of data files */

/* Which file it was, under whatever name. */
struct identity {
    dev_t device;
    ino_t inode;
};

struct text {
    struct text *next;
    char *name;
    struct peri_buf bytes;
    struct identity identity;
    int error;          /* 0, or errno: it cannot be read */
    const char *failed; /* what could not be done with it then */
    const void *asker;  /* then: who found that out */
    bool forgotten;
};

struct search {
    struct search *next;
    char *key;
    char *file;    /* NULL: it was not found */
    char *message; /* then: where not */
    const void *asker;
    bool forgotten;
};

/* What is in the lists stays until the end, and only `forgotten` changes: under the mutex, as all
 * else here. */
struct peri_texts {
    pthread_mutex_t mutex;
    struct text *buckets[BUCKETS]; /* by name */
    struct search *searches;
    struct identity written[MAX_WRITTEN];
    size_t written_count;
    bool all_written;
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

static void search_free(struct search *search)
{
    free(search->key);
    free(search->file);
    free(search->message);
    free(search);
}

void peri_texts_free(struct peri_texts *texts)
{
    if (texts == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (texts->buckets[i] != NULL) {
            struct text *text = texts->buckets[i];
            texts->buckets[i] = text->next;
            text_free(text);
        }
    }
    while (texts->searches != NULL) {
        struct search *search = texts->searches;
        texts->searches = search->next;
        search_free(search);
    }
    pthread_mutex_destroy(&texts->mutex);
    free(texts);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static void read_all(FILE *file, size_t expected, struct text *text)
{
    size_t room = expected + READ_MORE;
    size_t len = room;
    while (len == room) {
        errno = 0;
        len = fread(peri_buf_reserve(&text->bytes, room), 1, room, file);
        text->bytes.len += len;
    }
    if (ferror(file)) {
        text->error = errno != 0 ? errno : EIO;
        text->failed = "read";
    }
}

/* NULL: out of memory. */
static struct text *read_text(const char *name, bool regular)
{
    struct text *text = calloc(1, sizeof(*text));
    if (text == NULL || (text->name = strdup(name)) == NULL) {
        free(text);
        return NULL;
    }
    text->failed = "open";
    struct stat info;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | (regular ? O_NONBLOCK : 0));
    FILE *file = NULL;
    if (fd < 0 || fstat(fd, &info) != 0)
        text->error = errno;
    else if (regular && !S_ISREG(info.st_mode))
        text->error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    else if ((file = fdopen(fd, "r")) == NULL)
        text->error = errno;
    if (file != NULL) {
        text->identity = (struct identity){info.st_dev, info.st_ino};
        read_all(file, S_ISREG(info.st_mode) ? (size_t) info.st_size : 0, text);
        fclose(file);
    } else if (fd >= 0) {
        close(fd);
    }
    return text;
}

static struct text **bucket_of(struct peri_texts *texts, const char *name)
{
    return &texts->buckets[peri_keyed_hash(name, strlen(name)) % BUCKETS];
}

static bool is_still_missing(const struct text *text)
{
    struct stat info;
    return stat(text->name, &info) != 0 && errno == text->error;
}

/* What was missing when this VM asked before may have come since: it may wait for that. For the
 * others it is as the first one has last seen it. */
static const struct text *find(struct peri_texts *texts, const void *asker, const char *name)
{
    struct text *text = *bucket_of(texts, name);
    while (text != NULL && (text->forgotten || strcmp(text->name, name) != 0))
        text = text->next;
    if (text == NULL || text->error == 0 || text->asker != asker || is_still_missing(text))
        return text;
    text->forgotten = true;
    return NULL;
}

/* NULL: out of memory. */
static const struct text *add(struct peri_texts *texts, const void *asker, const char *name,
                              bool regular)
{
    struct text *text = read_text(name, regular);
    if (text == NULL)
        return NULL;
    text->asker = asker;
    struct text **bucket = bucket_of(texts, name);
    text->next = *bucket;
    *bucket = text;
    return text;
}

static const struct text *find_or_add(struct peri_texts *texts, const void *asker, const char *name,
                                      bool regular)
{
    pthread_mutex_lock(&texts->mutex);
    const struct text *text = find(texts, asker, name);
    if (text == NULL)
        text = add(texts, asker, name, regular);
    pthread_mutex_unlock(&texts->mutex);
    return text;
}

static int load_text(lua_State *L, const struct text *text, const char *name)
{
    if (text->error != 0) {
        lua_pushfstring(L, "cannot %s %s: %s", text->failed, name, strerror(text->error));
        return LUA_ERRFILE;
    }
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

int peri_texts_load(struct peri_texts *texts, lua_State *L, const char *name)
{
    const struct text *text =
        texts != NULL && name != NULL ? find_or_add(texts, peri_vm_of(L), name, false) : NULL;
    return text != NULL ? load_text(L, text, name) : luaL_loadfilex(L, name, "t");
}

int peri_texts_read(struct peri_texts *texts, const void *asker, const char *name, bool regular,
                    struct peri_buf *out)
{
    struct stat info;
    bool known = regular && stat(name, &info) == 0;
    if (known && !S_ISREG(info.st_mode))
        return S_ISDIR(info.st_mode) ? UV_EISDIR : UV_EINVAL;
    if (known && info.st_size > MAX_SHOWN)
        return UV_EFBIG;
    struct text *own = texts == NULL ? read_text(name, regular) : NULL;
    const struct text *text = texts == NULL ? own : find_or_add(texts, asker, name, regular);
    if (text == NULL)
        return UV_ENOMEM;
    int rc = -text->error;
    if (rc == 0)
        peri_buf_add(out, text->bytes.data, text->bytes.len);
    if (own != NULL)
        text_free(own);
    return rc;
}

/* --- the app's own data ------------------------------------------------------------------------
 */

static bool is_written(const struct peri_texts *texts, const struct identity *identity)
{
    if (texts->all_written)
        return true;
    for (size_t i = 0; i < texts->written_count; i++) {
        if (texts->written[i].device == identity->device &&
            texts->written[i].inode == identity->inode)
            return true;
    }
    return false;
}

/* Whether the data of this file, which nobody has read yet, is kept. */
static bool is_kept(const struct peri_texts *texts, const char *name)
{
    struct stat info;
    if (strncmp(name, "/proc/", 6) == 0 || strncmp(name, "/sys/", 5) == 0)
        return false; /* not files but questions */
    if (stat(name, &info) != 0)
        return !texts->all_written; /* that it is missing is */
    struct identity identity = {info.st_dev, info.st_ino};
    return S_ISREG(info.st_mode) && info.st_size <= MAX_DATA && !is_written(texts, &identity);
}

static const struct text *find_data(struct peri_texts *texts, const void *asker, const char *name)
{
    const struct text *text = find(texts, asker, name);
    if (text == NULL)
        return is_kept(texts, name) ? add(texts, asker, name, true) : NULL;
    return is_written(texts, &text->identity) ? NULL : text;
}

/* A file of its own, without a name: what reads and seeks notices no difference. */
static FILE *copy_of(const struct text *text)
{
    int fd = memfd_create("perigee", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    FILE *file = NULL;
    for (size_t at = 0; at < text->bytes.len;) {
        ssize_t count = write(fd, text->bytes.data + at, text->bytes.len - at);
        if (count < 0 && errno != EINTR)
            goto fail;
        at += count > 0 ? (size_t) count : 0;
    }
    if (lseek(fd, 0, SEEK_SET) == 0 && (file = fdopen(fd, "r")) != NULL)
        return file;

fail:
    close(fd);
    return NULL;
}

int peri_texts_open(struct peri_texts *texts, const void *asker, const char *name, FILE **file)
{
    if (texts == NULL)
        return UV_ENOTSUP;
    pthread_mutex_lock(&texts->mutex);
    const struct text *text = find_data(texts, asker, name);
    int rc = text == NULL ? UV_ENOTSUP : -text->error;
    pthread_mutex_unlock(&texts->mutex);
    if (rc != 0)
        return rc;
    *file = copy_of(text);
    return *file != NULL ? 0 : UV_ENOTSUP;
}

/* What was missing may be there now. */
static void forget_missing(struct peri_texts *texts)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct text *text = texts->buckets[i]; text != NULL; text = text->next)
            text->forgotten = text->forgotten || text->error != 0;
    }
    for (struct search *search = texts->searches; search != NULL; search = search->next)
        search->forgotten = search->forgotten || search->file == NULL;
}

static void add_written(struct peri_texts *texts, const char *name)
{
    struct stat info;
    if (name == NULL || stat(name, &info) != 0 || texts->written_count == MAX_WRITTEN) {
        texts->all_written = true;
        return;
    }
    struct identity identity = {info.st_dev, info.st_ino};
    if (!is_written(texts, &identity))
        texts->written[texts->written_count++] = identity;
}

void peri_texts_written(struct peri_texts *texts, const char *name)
{
    if (texts == NULL)
        return;
    pthread_mutex_lock(&texts->mutex);
    add_written(texts, name);
    forget_missing(texts);
    pthread_mutex_unlock(&texts->mutex);
}

/* --- where modules were found ------------------------------------------------------------------
 */

static struct search *find_search(struct peri_texts *texts, const char *key)
{
    struct search *search = texts->searches;
    while (search != NULL && (search->forgotten || strcmp(search->key, key) != 0))
        search = search->next;
    return search;
}

bool peri_texts_recall(struct peri_texts *texts, lua_State *L, const char *key)
{
    if (texts == NULL)
        return false;
    pthread_mutex_lock(&texts->mutex);
    struct search *search = find_search(texts, key);
    bool again = search != NULL && search->file == NULL && search->asker == peri_vm_of(L);
    if (again)
        search->forgotten = true;
    pthread_mutex_unlock(&texts->mutex);
    if (search == NULL || again)
        return false;
    lua_pushstring(L, search->file); /* or nil */
    lua_pushstring(L, search->message);
    return true;
}

static bool copy_text(char **copy, const char *text)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL;
}

void peri_texts_remember(struct peri_texts *texts, const void *asker, const char *key,
                         const char *file, const char *message)
{
    struct search *search = texts != NULL ? calloc(1, sizeof(*search)) : NULL;
    if (search == NULL)
        return;
    search->asker = asker;
    bool whole = copy_text(&search->key, key) && copy_text(&search->file, file) &&
                 copy_text(&search->message, message);
    pthread_mutex_lock(&texts->mutex);
    bool first = whole && find_search(texts, key) == NULL;
    if (first) {
        search->next = texts->searches;
        texts->searches = search;
    }
    pthread_mutex_unlock(&texts->mutex);
    if (!first)
        search_free(search);
}
