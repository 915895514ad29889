#include "form.h"

#include "json.h" /* UTF-8 */
#include "multipart.h"
#include "upload.h"
#include "url.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

const struct peri_form_limits peri_form_usual_limits = {
    .max_files = 1000,
    .max_fields = 1000,
    .max_field_bytes = 1 << 20,
    .max_text_bytes = 8 << 20,
    .max_file_memory = 1 << 20,
    .max_memory_bytes = 4 << 20,
};

/* A pair: a field, or a file. Offsets are into the form's text, which moves while it grows. */
struct pair {
    size_t name_at;
    size_t name_len;
    size_t value_at;
    size_t value_len;
    struct peri_upload *file; /* NULL: a field */
};

struct peri_form {
    const struct peri_form_limits *limits;
    bool is_multipart;
    bool is_utf8; /* what its text is in; Latin-1 otherwise */
    struct peri_multipart multipart;

    struct peri_buf text; /* names and values, decoded */
    struct pair *pairs;
    size_t count;
    size_t cap;
    struct pair part; /* the one being read; it counts when it ends */

    struct peri_buf pending; /* urlencoded: the pair being read */
    bool pending_sign;       /* its '=' has been seen */

    struct peri_spool *spool; /* NULL until a file needs it */
    size_t memory;            /* bytes of files that are in memory */
    size_t head_bytes;        /* of part headers that are kept */
    unsigned files;
    unsigned fields;

    int status; /* that refuses the form; 0 until then */
    const char *detail;
    char detail_text[80];
    struct peri_field *result; /* of peri_form_fields() */
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("perigee: out of memory (a form)\n", stderr);
        abort();
    }
    return memory;
}

/* --- refusals, in Starlette's words ------------------------------------------------------------
 */

static int refuse(struct peri_form *form, int status, const char *detail)
{
    form->status = status;
    form->detail = detail;
    return status;
}

static int refuse_number(struct peri_form *form, const char *format, size_t number)
{
    snprintf(form->detail_text, sizeof(form->detail_text), format, number);
    return refuse(form, 400, form->detail_text);
}

static int check_text(struct peri_form *form)
{
    bool too_much = form->text.len + form->head_bytes > form->limits->max_text_bytes;
    return too_much ? refuse(form, 413, NULL) : 0;
}

static int count_field(struct peri_form *form)
{
    if (++form->fields <= form->limits->max_fields)
        return 0;
    return refuse_number(form, "Too many fields. Maximum number of fields is %zu.",
                         form->limits->max_fields);
}

static int count_file(struct peri_form *form)
{
    if (++form->files <= form->limits->max_files)
        return 0;
    return refuse_number(form, "Too many files. Maximum number of files is %zu.",
                         form->limits->max_files);
}

/* --- pairs -------------------------------------------------------------------------------------
 */

static void add_pair(struct peri_form *form, struct pair pair)
{
    if (form->count == form->cap) {
        form->cap = form->cap == 0 ? 8 : form->cap * 2;
        form->pairs = must(realloc(form->pairs, form->cap * sizeof(*form->pairs)));
    }
    form->pairs[form->count++] = pair;
}

/* What is no UTF-8 is Latin-1, as a whole. */
static void add_decoded(struct peri_buf *out, bool is_utf8, const char *bytes, size_t len)
{
    if (is_utf8 && peri_utf8_valid(bytes, len) == len)
        peri_buf_add(out, bytes, len);
    else
        peri_latin1_decode(out, bytes, len);
}

/* --- multipart/form-data -----------------------------------------------------------------------
 */

/* Python's names of UTF-8. Any other charset counts as Latin-1, of which ASCII is a part: decoding
 * with tables that a client chooses is not worth what it could break. */
static bool is_utf8_name(const struct peri_buf *charset)
{
    static const char *const names[] = {"utf8", "u8", "utf", "cp65001"};
    char plain[16];
    size_t len = 0;
    for (size_t i = 0; i < charset->len; i++) {
        char c = charset->data[i];
        if (c == '-' || c == '_' || c == ' ')
            continue;
        if (len + 1 == sizeof(plain))
            return false;
        plain[len++] = (char) (c >= 'A' && c <= 'Z' ? c | 32 : c);
    }
    plain[len] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(plain, names[i]) == 0)
            return true;
    }
    return false;
}

static struct peri_upload *new_upload(struct peri_form *form, const struct peri_part *part)
{
    struct peri_buf name = {0};
    add_decoded(&name, form->is_utf8, part->filename, part->filename_len);
    struct peri_upload *upload = peri_upload_new(name.data, name.len, part);
    form->head_bytes += upload->text.len;
    peri_buf_deinit(&name);
    return upload;
}

static int on_part(void *context, const struct peri_part *part)
{
    struct peri_form *form = context;
    int status = part->filename != NULL ? count_file(form) : count_field(form);
    if (status != 0)
        return status;
    form->part = (struct pair){.name_at = form->text.len};
    add_decoded(&form->text, form->is_utf8, part->name, part->name_len);
    form->part.name_len = form->text.len - form->part.name_at;
    form->part.value_at = form->text.len;
    if (part->filename != NULL)
        form->part.file = new_upload(form, part);
    return check_text(form);
}

/* Which of two limits is told does not depend on how the bytes are cut: the one reached first. */
static int add_to_field(struct peri_form *form, const char *bytes, size_t len)
{
    const struct peri_form_limits *limits = form->limits;
    size_t field_room = limits->max_field_bytes - form->part.value_len;
    size_t text_room = limits->max_text_bytes - form->text.len - form->head_bytes;
    if (len > field_room && field_room <= text_room)
        return refuse_number(form, "Part exceeded maximum size of %zuKB.",
                             limits->max_field_bytes / 1024);
    if (len > text_room)
        return refuse(form, 413, NULL);
    form->part.value_len += len;
    peri_buf_add(&form->text, bytes, len);
    return 0;
}

/* Moves the file being read to the spool. */
static int spill(struct peri_form *form)
{
    struct peri_upload *file = form->part.file;
    int rc = form->spool == NULL ? peri_spool_new(&form->spool) : 0;
    if (rc < 0)
        return rc;
    form->memory -= file->memory.len;
    return peri_upload_spill(file, form->spool);
}

static int add_to_file(struct peri_form *form, const char *bytes, size_t len)
{
    struct peri_upload *file = form->part.file;
    int rc = 0;
    if (file->spool == NULL && (file->size + len > form->limits->max_file_memory ||
                                form->memory + len > form->limits->max_memory_bytes))
        rc = spill(form);
    if (rc == 0)
        rc = peri_upload_append(file, bytes, len);
    if (rc == 0 && file->spool == NULL)
        form->memory += len;
    return rc < 0 ? refuse(form, 507, NULL) : 0;
}

static int on_data(void *context, const char *bytes, size_t len)
{
    struct peri_form *form = context;
    return form->part.file != NULL ? add_to_file(form, bytes, len) : add_to_field(form, bytes, len);
}

static int on_part_end(void *context)
{
    struct peri_form *form = context;
    struct pair *part = &form->part;
    const char *value = form->text.data + part->value_at;
    if (part->file == NULL && part->value_len > 0 &&
        !(form->is_utf8 && peri_utf8_valid(value, part->value_len) == part->value_len)) {
        struct peri_buf raw = {0};
        peri_buf_add(&raw, value, part->value_len);
        form->text.len = part->value_at;
        peri_latin1_decode(&form->text, raw.data, raw.len);
        part->value_len = form->text.len - part->value_at;
        peri_buf_deinit(&raw);
    }
    add_pair(form, *part);
    *part = (struct pair){0};
    return check_text(form);
}

static const struct peri_multipart_events events = {
    .part = on_part, .data = on_data, .part_end = on_part_end};

static int refuse_multipart(struct peri_form *form, int error)
{
    switch (error) {
    case PERI_MULTIPART_UNNAMED:
        return refuse(form, 400, "The Content-Disposition header field \"name\" must be provided.");
    case PERI_MULTIPART_INVALID:
        return refuse(form, 400, "Invalid multipart data.");
    default:
        return error; /* an event has refused */
    }
}

static void begin_multipart(struct peri_form *form, const char *content_type, size_t len)
{
    struct peri_buf charset = {0};
    bool named = peri_header_param(content_type, len, "charset", &charset);
    form->is_utf8 = !named || is_utf8_name(&charset);
    peri_buf_deinit(&charset);

    struct peri_buf boundary = {0};
    if (!peri_header_param(content_type, len, "boundary", &boundary))
        refuse(form, 400, "Missing boundary in multipart.");
    else
        refuse_multipart(form, peri_multipart_init(&form->multipart, boundary.data, boundary.len,
                                                   &events, form));
    peri_buf_deinit(&boundary);
}

/* --- application/x-www-form-urlencoded ---------------------------------------------------------
 */

/* As Python's unquote_plus() reads text that was decoded as Latin-1: what stands in ASCII may be
 * percent-encoded UTF-8, each other byte is a character. */
static void add_unquoted(struct peri_buf *out, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t run = 0;
        while (run < len && !(bytes[run] & 0x80))
            run++;
        peri_url_decode(out, bytes, run, true);
        size_t end = run;
        while (end < len && (bytes[end] & 0x80))
            end++;
        peri_latin1_decode(out, bytes + run, end - run);
        bytes += end;
        len -= end;
    }
}

static int end_pair(struct peri_form *form, const char *bytes, size_t len)
{
    int status = count_field(form);
    if (status != 0)
        return status;
    const char *sign = memchr(bytes, '=', len);
    size_t name_len = sign != NULL ? (size_t) (sign - bytes) : len;
    struct pair pair = {.name_at = form->text.len};
    add_unquoted(&form->text, bytes, name_len);
    pair.name_len = form->text.len - pair.name_at;
    pair.value_at = form->text.len;
    if (sign != NULL)
        add_unquoted(&form->text, sign + 1, len - name_len - 1);
    pair.value_len = form->text.len - pair.value_at;
    add_pair(form, pair);
    form->pending.len = 0;
    form->pending_sign = false;
    return check_text(form);
}

static int check_pair(struct peri_form *form, const char *bytes, size_t len)
{
    form->pending_sign = form->pending_sign || memchr(bytes, '=', len) != NULL;
    if (form->pending.len + len - form->pending_sign <= form->limits->max_field_bytes)
        return 0;
    return refuse_number(form, "Field exceeded maximum size of %zuKB.",
                         form->limits->max_field_bytes / 1024);
}

static int feed_urlencoded(struct peri_form *form, const char *bytes, size_t len)
{
    int status = 0;
    while (len > 0 && status == 0) {
        const char *end = memchr(bytes, '&', len);
        size_t piece = end != NULL ? (size_t) (end - bytes) : len;
        status = check_pair(form, bytes, piece);
        if (status != 0)
            break;
        if (end == NULL || form->pending.len > 0)
            peri_buf_add(&form->pending, bytes, piece);
        if (end != NULL && form->pending.len > 0)
            status = end_pair(form, form->pending.data, form->pending.len);
        else if (end != NULL && piece > 0)
            status = end_pair(form, bytes, piece);
        piece += end != NULL;
        bytes += piece;
        len -= piece;
    }
    return status;
}

/* --- the form ----------------------------------------------------------------------------------
 */

struct peri_form *peri_form_new(const char *content_type, size_t len,
                                const struct peri_form_limits *limits)
{
    bool is_multipart =
        content_type != NULL && peri_header_is(content_type, len, "multipart/form-data");
    bool is_urlencoded = content_type != NULL &&
                         peri_header_is(content_type, len, "application/x-www-form-urlencoded");
    if (!is_multipart && !is_urlencoded)
        return NULL;
    struct peri_form *form = must(calloc(1, sizeof(*form)));
    form->limits = limits;
    form->is_multipart = is_multipart;
    peri_buf_reserve(&form->text, 1); /* even empty texts are somewhere */
    if (is_multipart)
        begin_multipart(form, content_type, len);
    return form;
}

int peri_form_feed(struct peri_form *form, const char *bytes, size_t len)
{
    if (form->status != 0 || len == 0)
        return form->status;
    if (form->is_multipart)
        return refuse_multipart(form, peri_multipart_feed(&form->multipart, bytes, len));
    return feed_urlencoded(form, bytes, len);
}

int peri_form_end(struct peri_form *form)
{
    if (form->status == 0 && form->pending.len > 0)
        return end_pair(form, form->pending.data, form->pending.len);
    return form->status;
}

const char *peri_form_detail(const struct peri_form *form)
{
    return form->detail;
}

/* The bytes of a file are there for types that want them at once; of a spooled one they are mapped,
 * which costs nothing until they are read. The schema counts them in 32 bits. */
static struct peri_field file_field(struct peri_upload *file)
{
    const char *bytes = file->size <= UINT32_MAX ? peri_upload_bytes(file) : NULL;
    const struct peri_part_header *type = peri_upload_header(file, "content-type");
    return (struct peri_field){.value = bytes,
                               .value_len = bytes != NULL ? (size_t) file->size : 0,
                               .file = file,
                               .type = type != NULL ? type->value : NULL,
                               .type_len = type != NULL ? type->value_len : 0,
                               .size = file->size,
                               .filename = file->name,
                               .filename_len = file->name_len};
}

struct peri_fields peri_form_fields(struct peri_form *form)
{
    if (form->result == NULL && form->count > 0) {
        form->result = must(calloc(form->count, sizeof(*form->result)));
        for (size_t i = 0; i < form->count; i++) {
            const struct pair *pair = &form->pairs[i];
            struct peri_field *field = &form->result[i];
            if (pair->file != NULL)
                *field = file_field(pair->file);
            else
                *field = (struct peri_field){.value = form->text.data + pair->value_at,
                                             .value_len = pair->value_len};
            field->name = form->text.data + pair->name_at;
            field->name_len = pair->name_len;
        }
    }
    return (struct peri_fields){form->result, form->count};
}

struct peri_form *peri_form_copy(const struct peri_form *form)
{
    struct peri_form *copy = must(calloc(1, sizeof(*copy)));
    copy->limits = form->limits;
    copy->status = form->status;
    if (form->spool != NULL && peri_spool_copy(form->spool, &copy->spool) != 0) {
        free(copy);
        return NULL;
    }
    peri_buf_reserve(&copy->text, 1);
    peri_buf_add(&copy->text, form->text.data, form->text.len);
    copy->pairs = must(calloc(form->count + 1, sizeof(*copy->pairs)));
    copy->cap = form->count + 1;
    for (; copy->count < form->count; copy->count++) {
        struct pair *pair = &copy->pairs[copy->count];
        *pair = form->pairs[copy->count];
        if (pair->file != NULL)
            pair->file = peri_upload_copy(pair->file, copy->spool);
    }
    return copy;
}

static void drop_file(struct peri_upload *file)
{
    if (file == NULL)
        return;
    peri_upload_close(file);
    peri_upload_unref(file);
}

void peri_form_free(struct peri_form *form)
{
    if (form == NULL)
        return;
    for (size_t i = 0; i < form->count; i++)
        drop_file(form->pairs[i].file);
    drop_file(form->part.file);
    peri_spool_unref(form->spool);
    peri_multipart_deinit(&form->multipart);
    peri_buf_deinit(&form->text);
    peri_buf_deinit(&form->pending);
    free(form->pairs);
    free(form->result);
    free(form);
}
