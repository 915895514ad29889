/* What is done to files and folders as a whole, in one go: plain POSIX calls that may block, made
 * for the threadpool. Nothing here knows of loops or Lua, and every descriptor is close-on-exec.
 *
 * Functions return 0 or a UV_E* code. Those that may take long look at `stop` between steps of a
 * megabyte or an entry and end with UV_ECANCELED, leaving no temporary file behind. Devices and
 * pipes are opened without waiting for a peer, so that none of them can hold a thread. */
#ifndef PERI_FILES_H
#define PERI_FILES_H

#include "buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

/* Adds a file's bytes; more than `max` are UV_EFBIG. */
int peri_file_read(const char *path, size_t max, struct peri_buf *bytes, const atomic_bool *stop);

/* How a file is written. */
struct peri_file_write {
    const char *bytes;
    size_t len;
    int mode;  /* of a new file, before the umask; -1: 0666. An existing file keeps its own */
    bool sync; /* on the disk before this returns */
};

/* Replaces a file in one step: at any moment, also after a crash, its name is the old or the new
 * content. A link is followed; what is no regular file is written in place. */
int peri_file_replace(const char *path, const struct peri_file_write *write,
                      const atomic_bool *stop);

/* Adds to the end of a file, which is made when it does not exist. */
int peri_file_append(const char *path, const struct peri_file_write *write,
                     const atomic_bool *stop);

/* Replaces `to` by a copy of the regular file `from`, its permissions included. */
int peri_file_copy(const char *from, const char *to, const atomic_bool *stop);

/* Adds for each entry, in no order: a byte, its S_IFMT bits divided by this; its name; NUL. */
#define PERI_FILE_TYPE_UNIT 010000
int peri_folder_list(const char *path, size_t max_entries, struct peri_buf *entries,
                     const atomic_bool *stop);

/* Makes a folder, with `parents` also those above it and none when it is there. */
int peri_folder_make(const char *path, int mode, bool parents);

/* Removes a file, a link (never what it points to), or a folder: when it is empty, or `recursive`ly
 * with all that is in it. */
int peri_file_remove(const char *path, bool recursive, const atomic_bool *stop);

/* Opens for streaming: 'r', 'w' or 'a' with '+' and 'x' as fopen() has them. Pipes and sockets are
 * UV_ENOTSUP. Stores the descriptor in *fd. */
int peri_file_open(const char *path, const char *mode, int *fd);

/* Makes a file (with its descriptor in *fd) or a folder (fd NULL) of a fresh name that only this
 * user can open: <folder>/<prefix>XXXXXX, whose path is added to `path`. */
int peri_file_make_temporary(const char *folder, const char *prefix, int *fd,
                             struct peri_buf *path);

/* S_IFMT bits as text: "file", "folder", "link", "pipe", "socket", "device". */
const char *peri_file_type(mode_t mode);

#endif
