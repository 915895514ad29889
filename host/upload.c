#include "upload.h"

#include "url.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define SAVE_PIECE (1 << 20)

/* Negative, whatever the library forgot to say. */
static int last_error(void)
{
    int code = uv_translate_sys_error(errno);
    return code < 0 ? code : UV_EIO;
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("perigee: out of memory (an upload)\n", stderr);
        abort();
    }
    return memory;
}

/* --- the spool ---------------------------------------------------------------------------------
 */

/* Not every file system has O_TMPFILE. */
static int open_nameless(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL))
        return fd >= 0 ? fd : last_error();
    char *path = NULL;
    if (asprintf(&path, "%s/perigee-XXXXXX", folder) < 0)
        return UV_ENOMEM;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        fd = last_error();
    else
        unlink(path);
    free(path);
    return fd;
}

int peri_spool_new(struct peri_spool **spool)
{
    const char *folder = getenv("TMPDIR");
    int fd = open_nameless(folder != NULL && *folder != '\0' ? folder : "/tmp");
    if (fd < 0)
        return fd;
    *spool = allocate(sizeof(**spool));
    (*spool)->fd = fd;
    (*spool)->refs = 1;
    return 0;
}

int peri_spool_copy(const struct peri_spool *spool, struct peri_spool **copy)
{
    int fd = fcntl(spool->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return last_error();
    *copy = allocate(sizeof(**copy));
    (*copy)->fd = fd;
    (*copy)->refs = 1;
    (*copy)->len = spool->len;
    return 0;
}

void peri_spool_unref(struct peri_spool *spool)
{
    if (spool == NULL || --spool->refs > 0)
        return;
    if (spool->map != NULL)
        munmap(spool->map, spool->map_len);
    close(spool->fd);
    free(spool);
}

static int write_fully(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, bytes, len);
        if (count < 0 && errno != EINTR)
            return last_error();
        bytes += count < 0 ? 0 : count;
        len -= count < 0 ? 0 : (size_t) count;
    }
    return 0;
}

/* The descriptor's own position is the end: everybody else reads with pread(). */
static int spool_write(struct peri_spool *spool, const char *bytes, size_t len)
{
    int rc = write_fully(spool->fd, bytes, len);
    if (rc == 0)
        spool->len += len;
    return rc;
}

/* --- an upload ---------------------------------------------------------------------------------
 */

struct peri_upload *peri_upload_new(const char *name, size_t len, const struct peri_part *part)
{
    struct peri_upload *upload = allocate(sizeof(*upload));
    struct peri_buf *text = &upload->text;
    size_t room = len;
    for (unsigned i = 0; i < part->header_count; i++)
        room += part->headers[i].name_len + 2 * part->headers[i].value_len;
    peri_buf_reserve(text, room + 1); /* it does not move: the names point into it */

    upload->refs = 1;
    upload->name = text->data;
    upload->name_len = len;
    peri_buf_add(text, name, len);
    upload->header_count = part->header_count;
    for (unsigned i = 0; i < part->header_count; i++) {
        struct peri_part_header *header = &upload->headers[i];
        *header = part->headers[i];
        header->name = text->data + text->len;
        peri_buf_add(text, part->headers[i].name, header->name_len);
        header->value = text->data + text->len;
        peri_latin1_decode(text, part->headers[i].value, header->value_len);
        header->value_len = (size_t) (text->data + text->len - header->value);
    }
    return upload;
}

static void free_if_unused(struct peri_upload *upload)
{
    if (upload->refs > 0 || upload->pins > 0)
        return;
    peri_buf_deinit(&upload->text);
    peri_buf_deinit(&upload->memory);
    peri_spool_unref(upload->spool);
    free(upload);
}

static void release_bytes(struct peri_upload *upload)
{
    peri_buf_deinit(&upload->memory);
    peri_spool_unref(upload->spool);
    upload->spool = NULL;
}

struct peri_upload *peri_upload_copy(const struct peri_upload *upload, struct peri_spool *spool)
{
    struct peri_upload *copy = allocate(sizeof(*copy));
    const char *from = upload->text.data;
    peri_buf_add(&copy->text, from, upload->text.len);
    const char *to = copy->text.data;
    copy->refs = 1;
    copy->name = upload->name_len > 0 ? to + (upload->name - from) : "";
    copy->name_len = upload->name_len;
    copy->header_count = upload->header_count;
    for (unsigned i = 0; i < upload->header_count; i++) {
        copy->headers[i] = upload->headers[i];
        copy->headers[i].name = to + (upload->headers[i].name - from);
        copy->headers[i].value = to + (upload->headers[i].value - from);
    }
    copy->size = upload->size;
    copy->closed = upload->closed;
    copy->offset = upload->offset;
    peri_buf_add(&copy->memory, upload->memory.data, upload->memory.len);
    if (upload->spool != NULL && spool != NULL) {
        copy->spool = spool;
        spool->refs++;
    }
    return copy;
}

void peri_upload_ref(struct peri_upload *upload)
{
    upload->refs++;
}

void peri_upload_unref(struct peri_upload *upload)
{
    if (upload == NULL)
        return;
    upload->refs--;
    free_if_unused(upload);
}

void peri_upload_close(struct peri_upload *upload)
{
    upload->closed = true;
    if (upload->pins == 0)
        release_bytes(upload);
}

void peri_upload_pin(struct peri_upload *upload)
{
    upload->pins++;
}

void peri_upload_unpin(struct peri_upload *upload)
{
    upload->pins--;
    if (upload->closed && upload->pins == 0)
        release_bytes(upload);
    free_if_unused(upload);
}

int peri_upload_append(struct peri_upload *upload, const char *bytes, size_t len)
{
    int rc = 0;
    if (upload->spool != NULL)
        rc = spool_write(upload->spool, bytes, len);
    else
        peri_buf_add(&upload->memory, bytes, len);
    if (rc == 0)
        upload->size += len;
    return rc;
}

int peri_upload_spill(struct peri_upload *upload, struct peri_spool *spool)
{
    uint64_t offset = spool->len;
    int rc = spool_write(spool, upload->memory.data, upload->memory.len);
    if (rc < 0)
        return rc;
    upload->offset = offset;
    upload->spool = spool;
    spool->refs++;
    peri_buf_deinit(&upload->memory);
    return 0;
}

const char *peri_upload_bytes(struct peri_upload *upload)
{
    struct peri_spool *spool = upload->spool;
    if (upload->size == 0)
        return "";
    if (spool == NULL)
        return upload->memory.data;
    if (spool->map == NULL) {
        void *map = mmap(NULL, spool->len, PROT_READ, MAP_SHARED, spool->fd, 0);
        if (map == MAP_FAILED)
            return NULL;
        spool->map = map;
        spool->map_len = spool->len;
    }
    return spool->map + upload->offset;
}

const struct peri_part_header *peri_upload_header(const struct peri_upload *upload,
                                                  const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < upload->header_count; i++) {
        const struct peri_part_header *header = &upload->headers[i];
        if (header->name_len == len && memcmp(header->name, name, len) == 0)
            return header;
    }
    return NULL;
}

/* --- saving ------------------------------------------------------------------------------------
 */

/* Opens a new file in the folder of `path`. The caller frees its name, whatever this returns. */
static int open_beside(const char *path, char **name)
{
    const char *slash = strrchr(path, '/');
    int folder_len = slash != NULL ? (int) (slash + 1 - path) : 0;
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return last_error();
    if (asprintf(name, "%.*s.perigee-%016llx", folder_len, path, (unsigned long long) random) < 0) {
        *name = NULL;
        return UV_ENOMEM;
    }
    int fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return fd < 0 ? last_error() : fd;
}

/* Returns how many bytes it wrote, or a UV_E* code. */
static ssize_t save_piece(const struct peri_upload *upload, int fd, uint64_t done)
{
    uint64_t left = upload->size - done;
    size_t len = left < SAVE_PIECE ? (size_t) left : SAVE_PIECE;
    off_t at = (off_t) (upload->offset + done);
    ssize_t count = upload->spool != NULL ? sendfile(fd, upload->spool->fd, &at, len)
                                          : write(fd, upload->memory.data + done, len);
    if (count < 0)
        return errno == EINTR ? 0 : last_error();
    return count == 0 ? UV_EIO : count; /* the file ends before its end: a broken disk */
}

static int save_bytes(const struct peri_upload *upload, int fd, const _Atomic bool *stop)
{
    uint64_t done = 0;
    while (done < upload->size) {
        ssize_t count = *stop ? UV_ECANCELED : save_piece(upload, fd, done);
        if (count < 0)
            return (int) count;
        done += (uint64_t) count;
    }
    return 0;
}

int peri_upload_save(const struct peri_upload *upload, const char *path, const _Atomic bool *stop)
{
    char *name = NULL;
    int fd = open_beside(path, &name);
    if (fd < 0) {
        free(name);
        return fd;
    }
    int rc = save_bytes(upload, fd, stop);
    if (close(fd) < 0 && rc == 0)
        rc = last_error();
    if (rc == 0 && rename(name, path) < 0)
        rc = last_error();
    if (rc < 0)
        unlink(name);
    free(name);
    return rc;
}
