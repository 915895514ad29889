#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#define STEP (1 << 20)
#define MAX_DEPTH 256 /* of folders in folders; each takes a descriptor */
#define TEMPORARY_TRIES 16

static int failure(void)
{
    return uv_translate_sys_error(errno);
}

static int first_of(int rc, int next)
{
    return rc < 0 ? rc : next;
}

static bool stopped(const atomic_bool *stop)
{
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed);
}

/* --- bytes -------------------------------------------------------------------------------------
 */

static int read_all(int fd, size_t max, struct peri_buf *bytes, const atomic_bool *stop)
{
    for (;;) {
        if (stopped(stop))
            return UV_ECANCELED;
        size_t room = bytes->cap - bytes->len;
        if (room == 0) {
            peri_buf_reserve(bytes, bytes->len < STEP ? STEP : bytes->len);
            room = bytes->cap - bytes->len;
        }
        ssize_t count = read(fd, bytes->data + bytes->len, room < STEP ? room : STEP);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return failure();
        if (count == 0)
            return 0;
        bytes->len += (size_t) count;
        if (bytes->len > max)
            return UV_EFBIG;
    }
}

int peri_file_read(const char *path, size_t max, struct peri_buf *bytes, const atomic_bool *stop)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return failure();
    int rc = fstat(fd, &info) == 0 ? 0 : failure();
    if (rc == 0 && S_ISREG(info.st_mode) && (uint64_t) info.st_size > max)
        rc = UV_EFBIG;
    if (rc == 0 && info.st_size > 0)
        peri_buf_reserve(bytes, (size_t) info.st_size + 1); /* one more to see the end */
    if (rc == 0)
        rc = read_all(fd, max, bytes, stop);
    close(fd);
    return rc;
}

static int write_all(int fd, const char *bytes, size_t len, const atomic_bool *stop)
{
    while (len > 0) {
        if (stopped(stop))
            return UV_ECANCELED;
        ssize_t count = write(fd, bytes, len < STEP ? len : STEP);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return failure();
        bytes += count;
        len -= (size_t) count;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t) (slash - path);
    memcpy(folder, len > 0 ? path : ".", len > 0 ? len : 1);
    folder[len > 0 ? len : 1] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failure();
    int rc = fsync(fd) == 0 ? 0 : failure();
    close(fd);
    return rc;
}

static int close_checked(int fd, int rc)
{
    return close(fd) == 0 || errno == EINTR ? rc : first_of(rc, failure());
}

/* --- replacing a file in one step --------------------------------------------------------------
 */

/* A file that is written beside the one it will replace. */
struct replacement {
    char target[PATH_MAX];
    char path[PATH_MAX];
    int fd;
};

/* Finds what `path` names behind its links; a name that does not exist yet is fine. */
static int find_target(const char *path, char target[PATH_MAX], struct stat *info)
{
    if (realpath(path, target) != NULL)
        return stat(target, info) == 0 ? 0 : failure();
    if (errno != ENOENT)
        return failure();
    size_t len = strlen(path);
    if (len >= PATH_MAX)
        return UV_ENAMETOOLONG;
    memcpy(target, path, len + 1);
    info->st_mode = 0;
    return 0;
}

static int begin(struct replacement *new, int mode)
{
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t) sizeof(random))
            return failure();
        int len = snprintf(new->path, PATH_MAX, "%s.%016llx.tmp", new->target,
                           (unsigned long long) random);
        if (len < 0 || len >= PATH_MAX)
            return UV_ENAMETOOLONG;
        new->fd = open(new->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t) mode);
        if (new->fd >= 0 || errno != EEXIST)
            break;
    }
    return new->fd >= 0 ? 0 : failure();
}

/* Puts it in its place when all went well, else away. */
static int end(struct replacement *new, int rc, bool sync)
{
    if (rc == 0 && sync && fsync(new->fd) != 0)
        rc = failure();
    rc = close_checked(new->fd, rc);
    if (rc == 0 && rename(new->path, new->target) != 0)
        rc = failure();
    if (rc != 0)
        unlink(new->path);
    else if (sync)
        rc = sync_folder_of(new->target);
    return rc;
}

static int write_to(const char *path, int flags, const struct peri_file_write *write,
                    const atomic_bool *stop)
{
    int mode = write->mode < 0 ? 0666 : write->mode;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags, (mode_t) mode);
    if (fd < 0)
        return failure();
    int rc = write_all(fd, write->bytes, write->len, stop);
    if (rc == 0 && write->sync && fsync(fd) != 0)
        rc = failure();
    return close_checked(fd, rc);
}

int peri_file_replace(const char *path, const struct peri_file_write *write,
                      const atomic_bool *stop)
{
    struct replacement new;
    struct stat old;
    int rc = find_target(path, new.target, &old);
    if (rc < 0)
        return rc;
    if (old.st_mode != 0 && !S_ISREG(old.st_mode))
        return write_to(path, 0, write, stop);
    rc = begin(&new, write->mode < 0 ? 0666 : write->mode);
    if (rc < 0)
        return rc;
    if (old.st_mode != 0)
        rc = fchmod(new.fd, old.st_mode & 07777) == 0 ? 0 : failure();
    if (rc == 0)
        rc = write_all(new.fd, write->bytes, write->len, stop);
    return end(&new, rc, write->sync);
}

int peri_file_append(const char *path, const struct peri_file_write *write, const atomic_bool *stop)
{
    return write_to(path, O_APPEND | O_CREAT, write, stop);
}

/* --- copying -----------------------------------------------------------------------------------
 */

static int copy_by_hand(int from, int to, const atomic_bool *stop)
{
    char *block = malloc(STEP);
    int rc = block != NULL ? 0 : UV_ENOMEM;
    while (rc == 0) {
        ssize_t count = read(from, block, STEP);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            rc = count < 0 ? failure() : 0;
            break;
        }
        rc = write_all(to, block, (size_t) count, stop);
    }
    free(block);
    return rc;
}

/* The kernel copies, where both file systems let it. */
static int copy_bytes(int from, int to, const atomic_bool *stop)
{
    bool any = false;
    for (;;) {
        if (stopped(stop))
            return UV_ECANCELED;
        ssize_t count = copy_file_range(from, NULL, to, NULL, 8 * STEP, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && any)
            return failure();
        if (count < 0 || (count == 0 && !any)) /* files of /proc say that they are empty */
            return copy_by_hand(from, to, stop);
        if (count == 0)
            return 0;
        any = true;
    }
}

int peri_file_copy(const char *from, const char *to, const atomic_bool *stop)
{
    struct replacement new;
    struct stat info;
    struct stat old;
    int fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return failure();
    int rc = fstat(fd, &info) == 0 ? 0 : failure();
    if (rc == 0 && !S_ISREG(info.st_mode))
        rc = S_ISDIR(info.st_mode) ? UV_EISDIR : UV_EINVAL;
    if (rc == 0)
        rc = find_target(to, new.target, &old);
    if (rc == 0 && old.st_mode != 0 && !S_ISREG(old.st_mode))
        rc = S_ISDIR(old.st_mode) ? UV_EISDIR : UV_EINVAL;
    if (rc == 0)
        rc = begin(&new, 0600);
    if (rc == 0) {
        rc = copy_bytes(fd, new.fd, stop);
        if (rc == 0 && fchmod(new.fd, info.st_mode & 0777) != 0)
            rc = failure();
        rc = end(&new, rc, false);
    }
    close(fd);
    return rc;
}

/* --- folders -----------------------------------------------------------------------------------
 */

static mode_t type_of(int folder, const struct dirent *entry)
{
    struct stat info;
    if (entry->d_type != DT_UNKNOWN)
        return DTTOIF(entry->d_type);
    bool known = fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    return known ? info.st_mode & S_IFMT : 0; /* some file systems do not say, but this does */
}

static bool is_itself(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int peri_folder_list(const char *path, size_t max_entries, struct peri_buf *entries,
                     const atomic_bool *stop)
{
    int rc = 0;
    size_t count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return failure();
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            rc = errno != 0 ? failure() : 0;
            break;
        }
        if (is_itself(entry->d_name))
            continue;
        rc = stopped(stop) ? UV_ECANCELED : ++count > max_entries ? UV_EFBIG : 0;
        if (rc < 0)
            break;
        peri_buf_add_byte(entries, (char) (type_of(dirfd(folder), entry) / PERI_FILE_TYPE_UNIT));
        peri_buf_add(entries, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(folder);
    return rc;
}

static int make_one(const char *path, int mode)
{
    struct stat info;
    if (mkdir(path, (mode_t) mode) == 0)
        return 0;
    int rc = failure();
    return rc == UV_EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? 0 : rc;
}

int peri_folder_make(const char *path, int mode, bool parents)
{
    char prefix[PATH_MAX];
    size_t len = strlen(path);
    if (!parents)
        return mkdir(path, (mode_t) mode) == 0 ? 0 : failure();
    if (len >= PATH_MAX)
        return UV_ENAMETOOLONG;
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/' || path[i - 1] == '/')
            continue;
        memcpy(prefix, path, i);
        prefix[i] = '\0';
        int rc = make_one(prefix, 0777);
        if (rc < 0)
            return rc == UV_EEXIST ? UV_ENOTDIR : rc;
    }
    return make_one(path, mode);
}

static int remove_at(int folder, const char *name, unsigned depth, const atomic_bool *stop);

/* Removes what is in the folder `fd`, which is closed afterwards. */
static int empty_folder(int fd, unsigned depth, const atomic_bool *stop)
{
    int rc = 0;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        rc = failure();
        close(fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            rc = errno != 0 ? failure() : 0;
            break;
        }
        if (!is_itself(entry->d_name))
            rc = remove_at(fd, entry->d_name, depth + 1, stop);
    }
    closedir(folder);
    return rc;
}

/* Goes from descriptor to descriptor and never through a link, so that nobody who renames things
 * meanwhile can lead it elsewhere. */
static int remove_at(int folder, const char *name, unsigned depth, const atomic_bool *stop)
{
    if (stopped(stop))
        return UV_ECANCELED;
    if (unlinkat(folder, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM) /* which of the two is up to the file system */
        return failure();
    int unlinking = failure();
    if (depth > MAX_DEPTH)
        return UV_ELOOP;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOTDIR ? unlinking : failure();
    int rc = empty_folder(fd, depth, stop);
    if (rc < 0)
        return rc;
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 ? 0 : failure();
}

int peri_file_remove(const char *path, bool recursive, const atomic_bool *stop)
{
    if (recursive)
        return remove_at(AT_FDCWD, path, 0, stop);
    return remove(path) == 0 ? 0 : failure();
}

/* --- the rest ----------------------------------------------------------------------------------
 */

/* The flags of fopen()'s modes; -1 for any other text. */
static int open_flags(const char *mode)
{
    int flags = *mode == 'r' ? 0 : *mode == 'w' ? O_CREAT | O_TRUNC : O_CREAT | O_APPEND;
    bool both = false;
    if (strchr("rwa", *mode) == NULL || *mode == '\0')
        return -1;
    for (const char *at = mode + 1; *at != '\0'; at++) {
        if (*at == '+')
            both = true;
        else if (*at == 'x' && *mode != 'r')
            flags |= O_EXCL;
        else if (*at != 'b')
            return -1;
    }
    return flags | (both ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY);
}

int peri_file_open(const char *path, const char *mode, int *fd)
{
    struct stat info;
    int flags = open_flags(mode);
    if (flags < 0)
        return UV_EINVAL;
    *fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (*fd < 0)
        return failure();
    int rc = fstat(*fd, &info) == 0 ? 0 : failure();
    if (rc == 0 && S_ISDIR(info.st_mode))
        rc = UV_EISDIR;
    if (rc == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode)))
        rc = UV_ENOTSUP;
    if (rc < 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

int peri_file_make_temporary(const char *folder, const char *prefix, int *fd, struct peri_buf *path)
{
    size_t begin = path->len;
    peri_buf_addf(path, "%s/%sXXXXXX", folder, prefix);
    peri_buf_add_byte(path, '\0');
    path->len--;
    char *name = path->data + begin;
    if (fd == NULL)
        return mkdtemp(name) != NULL ? 0 : failure();
    *fd = mkostemp(name, O_CLOEXEC);
    return *fd >= 0 ? 0 : failure();
}

const char *peri_file_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "folder";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "pipe";
    case S_IFSOCK:
        return "socket";
    default:
        return "device";
    }
}
