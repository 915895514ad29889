/* Watches the files of an app and says when what they hold has changed and has come to rest.
 *
 * Events of the system only say "look": they are coalesced until 12 ms have passed without one
 * (half-written files, editors that write in two steps). After 200 ms a shorter gap will do. Then
 * the folder is walked; where a file has become empty or is gone, again for up to 100 ms, as it is
 * likely to come back; and files are compared by content with what was there before: a touch
 * changes nothing, and neither a lost event nor one too many does harm. Links are followed, to
 * folders and to files. Where the system has no watches left, the folder is walked twice a second.
 *
 * Belongs to the thread of its uv_loop, which it may keep busy for as long as a walk takes: it is
 * not the loop of a thread that serves. */
#ifndef PERI_WATCH_H
#define PERI_WATCH_H

#include "list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct peri_watch_file;

/* Some version of the files, sorted by path. */
struct peri_watch_state {
    struct peri_watch_file *files;
    size_t count;
    size_t cap;
};

struct peri_watch {
    /* `file` is one of those that changed, below the watched folder where it stands there, and
     * `others` the number of the rest. */
    void (*changed)(struct peri_watch *watch, const char *file, size_t others);

    uv_loop_t *uv;
    char *root;
    struct peri_watch_state state;
    struct peri_list folders;
    char **outside; /* paths of files that stand elsewhere */
    size_t outside_count;
    unsigned unsure; /* how often what was seen looked unfinished */
    uv_timer_t settle;
    uv_timer_t poll;
    uint64_t first_event; /* uv_now() of the first one since the last walk */
    bool short_of_watches;
    bool too_many; /* files: the rest is not seen */
};

/* Watches the folder at `path`, or that of the file at `path`. Returns 0 or a UV_E* code. */
int peri_watch_open(struct peri_watch *watch, uv_loop_t *uv, const char *path,
                    void (*changed)(struct peri_watch *watch, const char *file, size_t others));

/* Watches a file as well that may stand outside of the folder. */
void peri_watch_add(struct peri_watch *watch, const char *path);

/* Closes the handles and frees everything but `watch`, which belongs to the loop until they have
 * closed. */
void peri_watch_close(struct peri_watch *watch);

/* Whether files and folders of this name are none of the app's own: hidden ones, what editors and
 * databases leave beside the files they work on, what tools cache. */
bool peri_watch_ignores(const char *name);

#endif
