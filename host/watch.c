#include "watch.h"

#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS 12
#define SETTLE_MAX_MS 200
#define GAP_MS 5
#define NEVER_SETTLES_MS 2000
#define POLL_MS 500
#define UNSURE_MS 20 /* between looks at a file that is being written */
#define MAX_UNSURE 5
#define RECENT_NS 100000000    /* a file this young may change without its times telling */
#define COMPARED_BYTES 4194304 /* a longer file is told by its size and times alone */
#define MAX_FILES 20000
#define MAX_DEPTH 32

struct peri_watch_file {
    char *path;
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t changed_ns; /* when its content or its attributes last changed */
    uint64_t digest;    /* of the content */
    bool recent;        /* looked at right after a change */
};

/* A folder that the system watches. */
struct folder {
    uv_fs_event_t event;
    struct peri_watch *watch;
    struct peri_list link;
    char *path;
    dev_t dev;
    ino_t ino;
    char **names; /* of the files that matter; NULL: all of them */
    size_t name_count;
    bool seen; /* in this walk */
};

/* --- what counts -------------------------------------------------------------------------------
 */

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

bool peri_watch_ignores(const char *name)
{
    static const char *const names[] = {"node_modules", "__pycache__", "4913"}; /* 4913: of Vim */
    static const char *const ends[] = {
        "~",   ".swp",    ".swo",     ".swx",     ".tmp", ".bak", ".orig", ".part", ".log",
        ".db", ".sqlite", ".sqlite3", "-journal", "-wal", "-shm", ".pid",  ".lock", ".sock",
    };
    if (name[0] == '.' && strcmp(name, ".env") != 0)
        return true;
    if (name[0] == '#' && ends_with(name, "#"))
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        if (ends_with(name, ends[i]))
            return true;
    }
    return false;
}

/* --- folders -----------------------------------------------------------------------------------
 */

static void on_settled(uv_timer_t *timer);

static void look(struct peri_watch *watch)
{
    uv_update_time(watch->uv);
    uint64_t now = uv_now(watch->uv);
    if (!uv_is_active((uv_handle_t *) &watch->settle))
        watch->first_event = now;
    uint64_t waited = now - watch->first_event;
    if (waited < SETTLE_MAX_MS)
        uv_timer_start(&watch->settle, on_settled, SETTLE_MS, 0);
    else if (waited < NEVER_SETTLES_MS) /* a gap will do, but not the middle of a write */
        uv_timer_start(&watch->settle, on_settled, GAP_MS, 0);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct folder *folder = event->data;
    (void) events;
    (void) status;
    bool matters = name == NULL || folder->names == NULL;
    for (size_t i = 0; i < folder->name_count && !matters; i++)
        matters = strcmp(name, folder->names[i]) == 0;
    if (matters && (name == NULL || folder->names != NULL || !peri_watch_ignores(name)))
        look(folder->watch);
}

static void free_folder(struct folder *folder)
{
    for (size_t i = 0; i < folder->name_count; i++)
        free(folder->names[i]);
    free(folder->names);
    free(folder->path);
    free(folder);
}

static void on_folder_closed(uv_handle_t *handle)
{
    free_folder(handle->data);
}

static void close_folder(struct folder *folder)
{
    peri_list_remove(&folder->link);
    uv_close((uv_handle_t *) &folder->event, on_folder_closed);
}

static struct folder *find_folder(struct peri_watch *watch, const char *path,
                                  const struct stat *info)
{
    for (struct peri_list *at = watch->folders.next; at != &watch->folders; at = at->next) {
        struct folder *folder = peri_container_of(at, struct folder, link);
        if (folder->dev == info->st_dev && folder->ino == info->st_ino &&
            strcmp(folder->path, path) == 0)
            return folder;
    }
    return NULL;
}

/* The folder at `path`, watched from now on; NULL when that is not possible. */
static struct folder *watch_folder(struct peri_watch *watch, const char *path,
                                   const struct stat *info)
{
    struct folder *folder = find_folder(watch, path, info);
    if (folder != NULL)
        return folder;
    folder = calloc(1, sizeof(*folder));
    if (folder == NULL)
        return NULL;
    folder->watch = watch;
    folder->dev = info->st_dev;
    folder->ino = info->st_ino;
    folder->path = strdup(path);
    folder->event.data = folder;
    uv_fs_event_init(watch->uv, &folder->event);
    peri_list_append(&watch->folders, &folder->link);
    int rc =
        folder->path == NULL ? UV_ENOMEM : uv_fs_event_start(&folder->event, on_event, path, 0);
    if (rc == 0)
        return folder;
    if (rc == UV_ENOSPC || rc == UV_EMFILE || rc == UV_ENOMEM)
        watch->short_of_watches = true;
    close_folder(folder);
    return NULL;
}

/* Watches for one name in a folder. */
static void watch_name(struct peri_watch *watch, const char *path)
{
    char parent[PATH_MAX];
    struct stat info;
    const char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t) (slash - path) >= sizeof(parent))
        return;
    snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int) (slash - path), path);
    if (stat(parent, &info) != 0)
        return;
    struct folder *folder = watch_folder(watch, parent, &info);
    if (folder == NULL)
        return;
    bool is_new = !folder->seen && folder->names == NULL && folder->name_count == 0;
    folder->seen = true;
    if (folder->names == NULL && !is_new)
        return; /* all of it is watched */
    for (size_t i = 0; i < folder->name_count; i++) {
        if (strcmp(folder->names[i], slash + 1) == 0)
            return;
    }
    char **names = realloc(folder->names, (folder->name_count + 1) * sizeof(*names));
    if (names == NULL)
        return;
    folder->names = names;
    names[folder->name_count] = strdup(slash + 1);
    folder->name_count += names[folder->name_count] != NULL;
}

/* --- the walk ----------------------------------------------------------------------------------
 */

static int64_t ns_of(struct timespec time)
{
    return (int64_t) time.tv_sec * 1000000000 + time.tv_nsec;
}

static uint64_t digest_of(const char *path, const struct stat *info)
{
    uint64_t digest = 1469598103934665603U; /* FNV-1a */
    int fd = info->st_size > COMPARED_BYTES ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return digest ^ (uint64_t) ns_of(info->st_mtim) ^ ((uint64_t) info->st_size << 20);
    unsigned char bytes[16384];
    ssize_t len = 0;
    while ((len = read(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < len; i++)
            digest = (digest ^ bytes[i]) * 1099511628211U;
    }
    close(fd);
    return digest;
}

static int compare_files(const void *left, const void *right)
{
    return strcmp(((const struct peri_watch_file *) left)->path,
                  ((const struct peri_watch_file *) right)->path);
}

static const struct peri_watch_file *find_file(const struct peri_watch_state *state,
                                               const char *path)
{
    struct peri_watch_file key = {.path = (char *) path};
    if (state->count == 0)
        return NULL;
    return bsearch(&key, state->files, state->count, sizeof(key), compare_files);
}

/* What we write ourselves, with `> out.txt` in the app's folder: each load would tell of itself. */
static bool is_own_output(const struct stat *info)
{
    struct stat own;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fstat(fd, &own) == 0 && own.st_dev == info->st_dev && own.st_ino == info->st_ino)
            return true;
    }
    return false;
}

static void add_file(struct peri_watch *watch, struct peri_watch_state *state, const char *path,
                     const struct stat *info)
{
    if (state->count == MAX_FILES) {
        if (!watch->too_many)
            peri_log_warn("there are more than %d files in %s: changes of the rest are not seen",
                          MAX_FILES, watch->root);
        watch->too_many = true;
        return;
    }
    if (state->count == state->cap) {
        size_t cap = state->cap == 0 ? 64 : state->cap * 2;
        struct peri_watch_file *files = realloc(state->files, cap * sizeof(*files));
        if (files == NULL)
            return;
        state->files = files;
        state->cap = cap;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct peri_watch_file file = {.path = strdup(path), .dev = info->st_dev};
    if (file.path == NULL)
        return;
    file.ino = info->st_ino;
    file.size = info->st_size;
    file.changed_ns = ns_of(info->st_ctim);
    file.recent = ns_of(now) - file.changed_ns < RECENT_NS;
    const struct peri_watch_file *before = find_file(&watch->state, path);
    if (before != NULL && !before->recent && before->dev == file.dev && before->ino == file.ino &&
        before->size == file.size && before->changed_ns == file.changed_ns)
        file.digest = before->digest;
    else
        file.digest = digest_of(path, info);
    state->files[state->count++] = file;
}

/* A file that is reached through a link changes in the folder it really stands in. */
static void watch_target(struct peri_watch *watch, const char *path)
{
    char target[PATH_MAX];
    if (realpath(path, target) != NULL)
        watch_name(watch, target);
}

/* Where a walk has come from: links may lead in circles. */
struct step {
    const struct step *before;
    dev_t dev;
    ino_t ino;
    unsigned depth;
};

static bool is_circle(const struct step *step, const struct stat *info)
{
    for (; step != NULL; step = step->before) {
        if (step->dev == info->st_dev && step->ino == info->st_ino)
            return true;
    }
    return false;
}

static void walk(struct peri_watch *watch, struct peri_watch_state *state, const char *path,
                 const struct step *before);

static void visit(struct peri_watch *watch, struct peri_watch_state *state, const char *path,
                  const struct step *step)
{
    struct stat info;
    struct stat link;
    if (lstat(path, &link) != 0 || stat(path, &info) != 0)
        return; /* gone already, or it leads nowhere */
    if (S_ISDIR(info.st_mode)) {
        walk(watch, state, path, step);
        return;
    }
    if (!S_ISREG(info.st_mode) || is_own_output(&info))
        return;
    if (S_ISLNK(link.st_mode))
        watch_target(watch, path);
    add_file(watch, state, path, &info);
}

static void walk(struct peri_watch *watch, struct peri_watch_state *state, const char *path,
                 const struct step *before)
{
    struct stat info;
    if (stat(path, &info) != 0 || is_circle(before, &info) ||
        (before != NULL && before->depth == MAX_DEPTH))
        return;
    struct step step = {before, info.st_dev, info.st_ino, before != NULL ? before->depth + 1 : 0};
    /* Watched first: what appears while it is read is told by an event. */
    struct folder *folder = watch_folder(watch, path, &info);
    if (folder != NULL) {
        folder->seen = true;
        for (size_t i = 0; i < folder->name_count; i++)
            free(folder->names[i]);
        free(folder->names);
        folder->names = NULL;
        folder->name_count = 0;
    }
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        char child[PATH_MAX];
        const char *name = entries[i]->d_name;
        if (!peri_watch_ignores(name) &&
            snprintf(child, sizeof(child), "%s/%s", path, name) < (int) sizeof(child))
            visit(watch, state, child, &step);
        free(entries[i]);
    }
    free(entries);
}

static void free_state(struct peri_watch_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        free(state->files[i].path);
    free(state->files);
    *state = (struct peri_watch_state){0};
}

static void forget_unseen_folders(struct peri_watch *watch)
{
    struct peri_list *next = NULL;
    for (struct peri_list *at = watch->folders.next; at != &watch->folders; at = next) {
        struct folder *folder = peri_container_of(at, struct folder, link);
        next = at->next;
        if (!folder->seen)
            close_folder(folder);
    }
}

static void on_poll(uv_timer_t *timer);

/* Fills *state with what is there now, and watches the folders it stands in. */
static void take_state(struct peri_watch *watch, struct peri_watch_state *state)
{
    struct stat info;
    bool was_short = watch->short_of_watches;
    watch->short_of_watches = false;
    for (struct peri_list *at = watch->folders.next; at != &watch->folders; at = at->next)
        peri_container_of(at, struct folder, link)->seen = false;
    walk(watch, state, watch->root, NULL);
    watch_name(watch, watch->root); /* it may be moved away, and another one into its place */
    for (size_t i = 0; i < watch->outside_count; i++) {
        watch_name(watch, watch->outside[i]);
        if (stat(watch->outside[i], &info) == 0 && S_ISREG(info.st_mode))
            add_file(watch, state, watch->outside[i], &info);
    }
    forget_unseen_folders(watch);
    if (state->count > 0)
        qsort(state->files, state->count, sizeof(*state->files), compare_files);
    if (watch->short_of_watches && !was_short)
        peri_log_warn("the system has no watches left (fs.inotify.max_user_watches): the files "
                      "are looked at twice a second");
    if (watch->short_of_watches || stat(watch->root, &info) != 0)
        uv_timer_start(&watch->poll, on_poll, POLL_MS, 0);
}

/* --- what changed ------------------------------------------------------------------------------
 */

static const char *shown(const struct peri_watch *watch, const char *path)
{
    size_t len = strlen(watch->root);
    return strncmp(path, watch->root, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}

/* Counts files that differ, are new or are gone; *first is one of them. */
static size_t compare(const struct peri_watch_state *before, const struct peri_watch_state *now,
                      const char **first)
{
    size_t changes = 0;
    size_t i = 0;
    size_t j = 0;
    while (i < before->count || j < now->count) {
        int order = i == before->count ? 1
                    : j == now->count  ? -1
                                       : strcmp(before->files[i].path, now->files[j].path);
        bool differs = order != 0 || before->files[i].digest != now->files[j].digest;
        if (differs && changes++ == 0)
            *first = order < 0 ? before->files[i].path : now->files[j].path;
        i += order <= 0;
        j += order >= 0;
    }
    return changes;
}

/* Whether a file has become empty, or is gone: as a rule somebody is about to write it. */
static bool is_being_written(const struct peri_watch_state *before,
                             const struct peri_watch_state *now)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct peri_watch_file *file = find_file(now, before->files[i].path);
        if (before->files[i].size > 0 && (file == NULL || file->size == 0))
            return true;
    }
    return false;
}

static void compare_now(struct peri_watch *watch)
{
    struct peri_watch_state now = {0};
    struct peri_watch_state before = watch->state;
    const char *first = NULL;
    take_state(watch, &now);
    if (watch->unsure < MAX_UNSURE && is_being_written(&before, &now)) {
        watch->unsure++;
        free_state(&now);
        uv_timer_start(&watch->settle, on_settled, UNSURE_MS, 0);
        return;
    }
    watch->unsure = 0;
    size_t changes = compare(&before, &now, &first);
    watch->state = now;
    if (changes > 0)
        watch->changed(watch, shown(watch, first), changes - 1);
    free_state(&before);
}

static void on_settled(uv_timer_t *timer)
{
    compare_now(timer->data);
}

static void on_poll(uv_timer_t *timer)
{
    compare_now(timer->data);
}

/* --- life --------------------------------------------------------------------------------------
 */

/* Whether the walk meets the file at this path, all links resolved. */
static bool is_walked(const struct peri_watch *watch, const char *path)
{
    char root[PATH_MAX];
    if (realpath(watch->root, root) == NULL)
        return false;
    size_t len = strlen(root);
    if (strncmp(path, root, len) != 0 || path[len] != '/')
        return false;
    char *names = strdup(path + len);
    char *rest = names;
    bool walked = names != NULL;
    for (char *name; walked && (name = strsep(&rest, "/")) != NULL;)
        walked = *name == '\0' || !peri_watch_ignores(name);
    free(names);
    return walked;
}

void peri_watch_add(struct peri_watch *watch, const char *path)
{
    char real[PATH_MAX];
    struct stat info;
    if (realpath(path, real) == NULL || stat(real, &info) != 0 || is_walked(watch, real))
        return;
    for (size_t i = 0; i < watch->state.count; i++) {
        if (watch->state.files[i].dev == info.st_dev && watch->state.files[i].ino == info.st_ino)
            return;
    }
    for (size_t i = 0; i < watch->outside_count; i++) {
        if (strcmp(watch->outside[i], real) == 0)
            return;
    }
    char **outside = realloc(watch->outside, (watch->outside_count + 1) * sizeof(*outside));
    char *copy = strdup(real);
    if (outside != NULL)
        watch->outside = outside;
    if (outside == NULL || copy == NULL) {
        free(copy);
        return;
    }
    outside[watch->outside_count++] = copy;
    watch_name(watch, real);
    add_file(watch, &watch->state, real, &info);
    qsort(watch->state.files, watch->state.count, sizeof(*watch->state.files), compare_files);
}

/* The folder of the app as an absolute path whose links are not followed: it may be a link that
 * soon leads elsewhere. */
static char *folder_of(const char *path)
{
    struct stat info;
    char *folder = NULL;
    char here[PATH_MAX];
    if (stat(path, &info) != 0 || getcwd(here, sizeof(here)) == NULL)
        return NULL;
    size_t len = strlen(path);
    const char *slash = strrchr(path, '/');
    if (!S_ISDIR(info.st_mode))
        len = slash == NULL ? 0 : (size_t) (slash - path) + (slash == path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 1 && path[0] == '.')
        len = 0;
    bool whole = path[0] == '/';
    if (asprintf(&folder, "%s%s%.*s", whole ? "" : here, whole || len == 0 ? "" : "/", (int) len,
                 path) < 0)
        return NULL;
    return folder;
}

int peri_watch_open(struct peri_watch *watch, uv_loop_t *uv, const char *path,
                    void (*changed)(struct peri_watch *watch, const char *file, size_t others))
{
    *watch = (struct peri_watch){.uv = uv, .changed = changed};
    peri_list_init(&watch->folders);
    uv_timer_init(uv, &watch->settle);
    uv_timer_init(uv, &watch->poll);
    watch->settle.data = watch;
    watch->poll.data = watch;
    watch->root = folder_of(path);
    if (watch->root == NULL)
        return -errno;
    take_state(watch, &watch->state);
    return 0;
}

void peri_watch_close(struct peri_watch *watch)
{
    struct peri_list *link;
    while ((link = peri_list_first(&watch->folders)) != NULL)
        close_folder(peri_container_of(link, struct folder, link));
    free_state(&watch->state);
    for (size_t i = 0; i < watch->outside_count; i++)
        free(watch->outside[i]);
    free(watch->outside);
    free(watch->root);
    watch->outside = NULL;
    watch->outside_count = 0;
    watch->root = NULL;
    uv_close((uv_handle_t *) &watch->settle, NULL);
    uv_close((uv_handle_t *) &watch->poll, NULL);
}
