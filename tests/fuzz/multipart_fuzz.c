/* A first line that is the Content-Type, then the body of a form. Fed whole and in pieces the form
 * must come out the same, or be refused for the same reason; no part may hold what separates parts,
 * and limits hold. */
#include "form.h"

#include "multipart.h"
#include "upload.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const struct peri_form_limits limits = {
    .max_files = 4,
    .max_fields = 4,
    .max_field_bytes = 1024,
    .max_text_bytes = 2048,
    .max_file_memory = 256,
    .max_memory_bytes = 512,
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "multipart_fuzz: %s\n", what);
    abort();
}

/* Feeds blocks of exactly their size. The pieces' lengths come from the body itself. */
static int feed(struct peri_form *form, const char *body, size_t len, bool whole)
{
    size_t at = 0;
    while (at < len) {
        size_t piece = whole ? len : 1 + (unsigned char) body[at] % 7;
        piece = piece < len - at ? piece : len - at;
        char *block = malloc(piece);
        check(block != NULL, "out of memory");
        memcpy(block, body + at, piece);
        peri_form_feed(form, block, piece);
        free(block);
        at += piece;
    }
    return peri_form_end(form);
}

static void check_field(const struct peri_field *field, const struct peri_buf *separator)
{
    const struct peri_upload *file = field->file;
    check(field->value != NULL, "a value is missing");
    if (file == NULL) {
        check(field->name_len + field->value_len <= limits.max_text_bytes, "too much text");
        return;
    }
    check(file->size == field->value_len, "a file's size is not that of its bytes");
    check(file->spool != NULL || file->size <= limits.max_file_memory, "too much in memory");
    check(separator->len == 0 ||
              memmem(field->value, field->value_len, separator->data, separator->len) == NULL,
          "a boundary inside of a file");
}

static void check_same(const struct peri_field *a, const struct peri_field *b)
{
    check(a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0, "other names");
    check(a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0,
          "other values");
    check((a->file == NULL) == (b->file == NULL), "other kinds");
    if (a->file == NULL)
        return;
    const struct peri_upload *left = a->file;
    const struct peri_upload *right = b->file;
    check(
        left->text.len == right->text.len &&
            (left->text.len == 0 || memcmp(left->text.data, right->text.data, left->text.len) == 0),
        "other headers");
}

static void compare(struct peri_form *whole, struct peri_form *pieces,
                    const struct peri_buf *separator)
{
    struct peri_fields left = peri_form_fields(whole);
    struct peri_fields right = peri_form_fields(pieces);
    check(left.count == right.count, "another count");
    check(left.count <= limits.max_fields + limits.max_files, "too many pairs");
    for (size_t i = 0; i < left.count; i++) {
        check_field(&left.items[i], separator);
        check_field(&right.items[i], separator);
        check_same(&left.items[i], &right.items[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *type = (const char *) data;
    const char *end = size > 0 ? memchr(type, '\n', size) : NULL;
    if (end == NULL)
        return 0;
    size_t type_len = (size_t) (end - type);
    struct peri_form *whole = peri_form_new(type, type_len, &limits);
    struct peri_form *pieces = peri_form_new(type, type_len, &limits);
    check((whole == NULL) == (pieces == NULL), "another type");
    if (whole == NULL)
        return 0;

    struct peri_buf separator = {0};
    peri_buf_add_lit(&separator, "\r\n--");
    if (peri_header_param(type, type_len, "boundary", &separator))
        peri_buf_add_lit(&separator, "\r\n");
    else
        separator.len = 0;

    int status = feed(whole, end + 1, size - type_len - 1, true);
    check(feed(pieces, end + 1, size - type_len - 1, false) == status, "another status");
    const char *left = peri_form_detail(whole);
    const char *right = peri_form_detail(pieces);
    check((left == NULL) == (right == NULL) && (left == NULL || strcmp(left, right) == 0),
          "another detail");
    if (status == 0)
        compare(whole, pieces, &separator);
    peri_buf_deinit(&separator);
    peri_form_free(whole);
    peri_form_free(pieces);
    return 0;
}
