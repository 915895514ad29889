/* Forms fed whole and in pieces, their refusals and limits, and where the bytes of files are.
 * Values and refusals were held against Starlette 1.10. */
#include "form.h"

#include "upload.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define URLENCODED "application/x-www-form-urlencoded"
#define MULTIPART "multipart/form-data; boundary=b"
#define FIELD(name) "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define FILE_PART(name, file)                                                                      \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"; filename=\"" file "\"\r\n\r\n"
#define END "\r\n--b--"

static const struct peri_form_limits small = {
    .max_files = 2,
    .max_fields = 2,
    .max_field_bytes = 2048,
    .max_text_bytes = 3000,
    .max_file_memory = 8,
    .max_memory_bytes = 12,
};

static char folder[] = "/tmp/perigee-form-test-XXXXXX";

static struct peri_form *begin(const char *type, const struct peri_form_limits *limits)
{
    struct peri_form *form = peri_form_new(type, strlen(type), limits);
    assert_non_null(form);
    return form;
}

static int feed(struct peri_form *form, const char *bytes, size_t len, size_t step)
{
    int status = 0;
    for (size_t at = 0; at < len; at += step) {
        size_t piece = len - at < step ? len - at : step;
        char *block = malloc(piece);
        assert_non_null(block);
        memcpy(block, bytes + at, piece);
        status = peri_form_feed(form, block, piece);
        free(block);
    }
    return status;
}

static int feed_text(struct peri_form *form, const char *text)
{
    return feed(form, text, strlen(text), strlen(text));
}

/* "name=value&name=value", files as "name=<file|bytes>". */
static void describe(struct peri_form *form, struct peri_buf *out)
{
    struct peri_fields fields = peri_form_fields(form);
    for (size_t i = 0; i < fields.count; i++) {
        const struct peri_field *field = &fields.items[i];
        const struct peri_upload *file = field->file;
        peri_buf_add(out, "&", i > 0);
        peri_buf_add(out, field->name, field->name_len);
        peri_buf_add_lit(out, "=");
        if (file != NULL)
            peri_buf_addf(out, "<%.*s|", (int) file->name_len, file->name);
        peri_buf_add(out, field->value, field->value_len);
        peri_buf_add(out, ">", file != NULL);
    }
    peri_buf_add_byte(out, '\0');
}

static void expect(const char *type, const char *body, const char *expected)
{
    for (size_t step = 1; step <= strlen(body); step++) {
        struct peri_form *form = begin(type, &peri_form_usual_limits);
        feed(form, body, strlen(body), step);
        assert_int_equal(peri_form_end(form), 0);
        struct peri_buf out = {0};
        describe(form, &out);
        assert_string_equal(out.data, expected);
        peri_buf_deinit(&out);
        peri_form_free(form);
    }
}

static void expect_refusal(const struct peri_form_limits *limits, const char *type,
                           const char *body, int status, const char *detail)
{
    size_t steps[] = {1, 7, strlen(body) + 1};
    for (size_t i = 0; i < 3; i++) {
        struct peri_form *form = begin(type, limits);
        feed(form, body, strlen(body), steps[i]);
        assert_int_equal(peri_form_end(form), status);
        assert_int_equal(peri_form_feed(form, "x", 1), status);
        if (detail != NULL)
            assert_string_equal(peri_form_detail(form), detail);
        else
            assert_null(peri_form_detail(form));
        peri_form_free(form);
    }
}

static void other_types_are_no_forms(void **state)
{
    (void) state;
    assert_null(peri_form_new(NULL, 0, &peri_form_usual_limits));
    assert_null(peri_form_new("", 0, &peri_form_usual_limits));
    assert_null(peri_form_new("application/json", 16, &peri_form_usual_limits));
    assert_null(peri_form_new("multipart/mixed; boundary=b", 27, &peri_form_usual_limits));
}

static void reads_urlencoded_pairs_as_starlette_does(void **state)
{
    (void) state;
    expect(URLENCODED, "a=1&&b=%C3%A9&c&=&d=a+b%2B&e=%zz&", "a=1&b=é&c=&=&d=a b+&e=%zz");
    expect("Application/X-WWW-Form-URLencoded ; charset=x", "a=b=c&&&", "a=b=c");
    expect(URLENCODED, "&", "");
    expect(URLENCODED, "e=%e9", "e=\xEF\xBF\xBD");
    expect(URLENCODED, "a=\xC3\xA9%C3%A9%C3\xA9", "a=Ã©é\xEF\xBF\xBD©"); /* raw bytes: Latin-1 */
}

static void reads_multipart_parts_as_starlette_does(void **state)
{
    (void) state;
    expect(MULTIPART,
           FIELD("a") "1\r\n" FILE_PART("f", "x.txt") "line\r\nline\r\n" FIELD("a") "2" END,
           "a=1&f=<x.txt|line\r\nline>&a=2");
    expect(MULTIPART, FILE_PART("f", "") END, "f=<|>");
    expect(MULTIPART, FIELD("a") "whole\r\n" FIELD("c") "cut off", "a=whole");
    expect(MULTIPART, FIELD("a") "1\r\n" FILE_PART("f", "cut.off") "bytes", "a=1");
    expect("Multipart/Form-Data ; Boundary=\"b\"", FIELD("a") "1" END, "a=1");
}

static void text_that_is_no_utf8_is_latin1(void **state)
{
    (void) state;
    expect(MULTIPART, FIELD("\xC3\xA9") "\xC3\xA9" END, "é=é");
    expect(MULTIPART, FIELD("a") "\xE9t\xC3\xA9" END, "a=étÃ©");
    expect(MULTIPART, FIELD("\xC3\xA9\xFF") "1\r\n" FILE_PART("f", "\xE9") "\xE9" END,
           "Ã©ÿ=1&f=<é|\xE9>");
    expect(MULTIPART "; charset=latin-1", FIELD("a") "\xC3\xA9" END, "a=Ã©");
    expect(MULTIPART "; charset=\"UTF_8\"", FIELD("a") "\xC3\xA9" END, "a=é");
    expect(MULTIPART "; charset=what-nobody-knows-of", FIELD("a") "\xC3\xA9" END, "a=Ã©");
}

static void refusals_use_starlettes_words(void **state)
{
    (void) state;
    const struct peri_form_limits *usual = &peri_form_usual_limits;
    expect_refusal(usual, "multipart/form-data", "x", 400, "Missing boundary in multipart.");
    expect_refusal(usual, MULTIPART, "garbage", 400, "Invalid multipart data.");
    expect_refusal(usual, MULTIPART, "--b\r\n\r\nx", 400,
                   "The Content-Disposition header field \"name\" must be provided.");
    expect_refusal(&small, URLENCODED, "a&b&c", 400,
                   "Too many fields. Maximum number of fields is 2.");
    expect_refusal(&small, MULTIPART, FIELD("a") "\r\n" FIELD("a") "\r\n" FIELD("a") END, 400,
                   "Too many fields. Maximum number of fields is 2.");
    expect_refusal(&small, MULTIPART,
                   FILE_PART("f", "1") "\r\n" FILE_PART("f", "2") "\r\n" FILE_PART("f", "3") END,
                   400, "Too many files. Maximum number of files is 2.");
}

static void a_field_has_a_limit(void **state)
{
    (void) state;
    char body[4096];
    size_t fits = small.max_field_bytes;
    for (size_t more = 0; more < 2; more++) {
        int len = snprintf(body, sizeof(body), FIELD("a") "%0*d" END, (int) (fits + more), 0);
        struct peri_form *form = begin(MULTIPART, &small);
        assert_int_equal(feed(form, body, (size_t) len, 100), more == 0 ? 0 : 400);
        if (more == 1)
            assert_string_equal(peri_form_detail(form), "Part exceeded maximum size of 2KB.");
        peri_form_free(form);

        len = snprintf(body, sizeof(body), "name=%0*d", (int) (fits - 4 + more), 0);
        form = begin(URLENCODED, &small);
        feed(form, body, (size_t) len, 100);
        assert_int_equal(peri_form_end(form), more == 0 ? 0 : 400);
        if (more == 1)
            assert_string_equal(peri_form_detail(form), "Field exceeded maximum size of 2KB.");
        peri_form_free(form);
    }
}

static void all_text_together_has_a_limit(void **state)
{
    (void) state;
    char body[8192];
    snprintf(body, sizeof(body), "a=%02000d&b=%02000d", 0, 0);
    expect_refusal(&small, URLENCODED, body, 413, NULL);
    snprintf(body, sizeof(body), FIELD("a") "%02000d\r\n" FIELD("b") "%02000d" END, 0, 0);
    expect_refusal(&small, MULTIPART, body, 413, NULL);
    snprintf(body, sizeof(body),
             "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n"
             "X: %03500d\r\n\r\n" END,
             0);
    expect_refusal(&small, MULTIPART, body, 413, NULL);
}

static const struct peri_upload *file_at(struct peri_form *form, size_t index)
{
    return peri_form_fields(form).items[index].file;
}

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2; /* . and .. */
}

static void big_files_go_to_a_spool_that_has_no_name(void **state)
{
    (void) state;
    static const char body[] =
        FILE_PART("f", "8") "12345678\r\n" FILE_PART("f", "9") "abcdefghi" END;
    for (size_t step = 1; step < sizeof(body); step++) {
        struct peri_form *form = begin(MULTIPART, &small);
        feed(form, body, sizeof(body) - 1, step);
        assert_int_equal(peri_form_end(form), 0);
        assert_null(file_at(form, 0)->spool);
        assert_non_null(file_at(form, 1)->spool);
        assert_int_equal(count_entries(folder), 0);
        struct peri_buf out = {0};
        describe(form, &out);
        assert_string_equal(out.data, "f=<8|12345678>&f=<9|abcdefghi>");
        peri_buf_deinit(&out);
        peri_form_free(form);
    }
}

static void all_files_together_have_their_share_of_memory_and_one_spool(void **state)
{
    (void) state;
    struct peri_form_limits limits = small;
    limits.max_files = 4;
    struct peri_form *form = begin(MULTIPART, &limits);
    feed_text(form, FILE_PART("f", "1") "1234567\r\n" FILE_PART("f", "2") "abcdefg\r\n");
    feed_text(form, FILE_PART("f", "3") "ABCDE\r\n" FILE_PART("f", "4") "a");
    feed_text(form, "bcdefghijk" END);
    assert_int_equal(peri_form_end(form), 0);
    assert_null(file_at(form, 0)->spool);
    assert_null(file_at(form, 2)->spool);
    assert_ptr_equal(file_at(form, 1)->spool, file_at(form, 3)->spool);
    struct peri_buf out = {0};
    describe(form, &out);
    assert_string_equal(out.data, "f=<1|1234567>&f=<2|abcdefg>&f=<3|ABCDE>&f=<4|abcdefghijk>");
    peri_buf_deinit(&out);
    peri_form_free(form);
}

static void a_spool_without_a_place_is_a_507(void **state)
{
    (void) state;
    setenv("TMPDIR", "/nowhere/at/all", 1);
    expect_refusal(&small, MULTIPART, FILE_PART("f", "x") "123456789" END, 507, NULL);
    setenv("TMPDIR", folder, 1);
}

static struct peri_form *form_with_files(void)
{
    struct peri_form *form = begin(MULTIPART, &small);
    feed_text(form, "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n"
                    "Content-Type: text/plain\r\nX-N: \xE9\r\nx-n: 2\r\n\r\nsmall\r\n");
    feed_text(form, FILE_PART("f", "y") "beyond the limit" END);
    assert_int_equal(peri_form_end(form), 0);
    return form;
}

static void a_file_knows_its_headers(void **state)
{
    (void) state;
    struct peri_form *form = form_with_files();
    const struct peri_upload *file = file_at(form, 0);
    const struct peri_part_header *header = peri_upload_header(file, "content-type");
    assert_int_equal(header->value_len, 10);
    assert_memory_equal(header->value, "text/plain", 10);
    header = peri_upload_header(file, "x-n"); /* the first one; Latin-1 */
    assert_int_equal(header->value_len, 2);
    assert_memory_equal(header->value, "é", 2);
    assert_null(peri_upload_header(file, "x"));
    peri_form_free(form);
}

static void a_file_outlives_its_form_without_its_bytes(void **state)
{
    (void) state;
    for (size_t i = 0; i < 2; i++) {
        struct peri_form *form = form_with_files();
        struct peri_upload *file = peri_form_fields(form).items[i].file;
        peri_upload_ref(file);
        peri_upload_pin(file);
        peri_form_free(form);
        assert_true(file->closed);
        assert_string_equal(i == 0 ? "small" : "beyond the limit",
                            strndupa(peri_upload_bytes(file), file->size));
        peri_upload_unpin(file);
        assert_null(file->spool);
        assert_null(file->memory.data);
        assert_memory_equal(file->name, i == 0 ? "x" : "y", 1);
        peri_upload_close(file);
        peri_upload_unref(file);
    }
}

static void read_whole(const char *path, char text[64])
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, 63, file)] = '\0';
    fclose(file);
}

static void a_file_is_saved_under_its_new_name_only(void **state)
{
    (void) state;
    char path[128];
    char text[64];
    atomic_bool stop = false;
    snprintf(path, sizeof(path), "%s/saved", folder);
    struct peri_form *form = form_with_files();
    mode_t mask = umask(022);
    for (size_t i = 0; i < 2; i++) { /* the second one replaces the first */
        assert_int_equal(peri_upload_save(file_at(form, i), path, &stop), 0);
        read_whole(path, text);
        assert_string_equal(text, i == 0 ? "small" : "beyond the limit");
        assert_int_equal(count_entries(folder), 1);
    }
    umask(mask);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
    unlink(path);
    peri_form_free(form);
}

static void a_save_that_fails_leaves_nothing_behind(void **state)
{
    (void) state;
    char path[128];
    atomic_bool stop = false;
    struct peri_form *form = form_with_files();
    assert_int_equal(peri_upload_save(file_at(form, 0), "/nowhere/at/all", &stop), UV_ENOENT);
    snprintf(path, sizeof(path), "%s/taken", folder);
    mkdir(path, 0700);
    assert_int_equal(peri_upload_save(file_at(form, 0), path, &stop), UV_EISDIR);
    rmdir(path);
    stop = true;
    assert_int_equal(peri_upload_save(file_at(form, 1), path, &stop), UV_ECANCELED);
    assert_int_equal(count_entries(folder), 0);
    peri_form_free(form);
}

static int make_folder(void **state)
{
    (void) state;
    return mkdtemp(folder) == NULL || setenv("TMPDIR", folder, 1) != 0;
}

static int remove_folder(void **state)
{
    (void) state;
    return rmdir(folder); /* empty, or the group fails */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_types_are_no_forms),
        cmocka_unit_test(reads_urlencoded_pairs_as_starlette_does),
        cmocka_unit_test(reads_multipart_parts_as_starlette_does),
        cmocka_unit_test(text_that_is_no_utf8_is_latin1),
        cmocka_unit_test(refusals_use_starlettes_words),
        cmocka_unit_test(a_field_has_a_limit),
        cmocka_unit_test(all_text_together_has_a_limit),
        cmocka_unit_test(big_files_go_to_a_spool_that_has_no_name),
        cmocka_unit_test(all_files_together_have_their_share_of_memory_and_one_spool),
        cmocka_unit_test(a_spool_without_a_place_is_a_507),
        cmocka_unit_test(a_file_knows_its_headers),
        cmocka_unit_test(a_file_outlives_its_form_without_its_bytes),
        cmocka_unit_test(a_file_is_saved_under_its_new_name_only),
        cmocka_unit_test(a_save_that_fails_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
