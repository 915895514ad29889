/* Bodies of multipart/form-data, fed whole, one byte at a time and cut in two at every place: the
 * outcome must be the same. Every feed gets a block of exactly its size, so that a sanitizer sees a
 * read behind it. What is accepted was held against python-multipart 0.0.34. */
#include "multipart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define D "Content-Disposition: form-data; name="

/* Writes down what comes: "<name|filename|header: value>bytes." for each part, the dot at its end.
 */
struct notes {
    struct peri_buf text;
    int part_status; /* the answers of the events */
    int data_status;
};

static int on_part(void *context, const struct peri_part *part)
{
    struct notes *notes = context;
    peri_buf_addf(&notes->text, "<%.*s", (int) part->name_len, part->name);
    if (part->filename != NULL)
        peri_buf_addf(&notes->text, "|%.*s", (int) part->filename_len, part->filename);
    for (unsigned i = 0; i < part->header_count; i++) {
        const struct peri_part_header *header = &part->headers[i];
        if (header->name_len != 19) /* Content-Disposition is told by the names */
            peri_buf_addf(&notes->text, "|%.*s: %.*s", (int) header->name_len, header->name,
                          (int) header->value_len, header->value);
    }
    peri_buf_add_lit(&notes->text, ">");
    return notes->part_status;
}

static int on_data(void *context, const char *bytes, size_t len)
{
    struct notes *notes = context;
    assert_true(len > 0);
    peri_buf_add(&notes->text, bytes, len);
    return notes->data_status;
}

static int on_part_end(void *context)
{
    struct notes *notes = context;
    peri_buf_add_lit(&notes->text, ".");
    return 0;
}

static const struct peri_multipart_events events = {
    .part = on_part, .data = on_data, .part_end = on_part_end};

static int feed(struct peri_multipart *multipart, const char *bytes, size_t len)
{
    char *block = malloc(len == 0 ? 1 : len);
    assert_non_null(block);
    memcpy(block, bytes, len);
    int rc = peri_multipart_feed(multipart, block, len);
    free(block);
    return rc;
}

/* Notes of a body in pieces: `first` bytes, then `step` by `step`. */
static void read_in_pieces(struct notes *notes, const char *boundary, const char *body, size_t len,
                           size_t first, size_t step)
{
    struct peri_multipart multipart;
    int rc = peri_multipart_init(&multipart, boundary, strlen(boundary), &events, notes);
    rc = rc == 0 ? feed(&multipart, body, first) : rc;
    for (size_t at = first; at < len && rc == 0; at += step)
        rc = feed(&multipart, body + at, len - at < step ? len - at : step);
    assert_int_equal(feed(&multipart, "more", 4), rc); /* epilogue, or the error again */
    if (rc == PERI_MULTIPART_INVALID)
        peri_buf_add_lit(&notes->text, " invalid");
    else if (rc == PERI_MULTIPART_UNNAMED)
        peri_buf_add_lit(&notes->text, " unnamed");
    else if (rc != 0)
        peri_buf_addf(&notes->text, " %d", rc);
    else if (!peri_multipart_is_complete(&multipart))
        peri_buf_add_lit(&notes->text, " incomplete");
    peri_buf_add_byte(&notes->text, '\0');
    peri_multipart_deinit(&multipart);
}

/* However the body is cut, the notes are these. */
static void expect_len(const char *boundary, const char *body, size_t len, const char *expected)
{
    for (size_t cut = 0; cut <= len; cut++) {
        struct notes notes = {0};
        read_in_pieces(&notes, boundary, body, len, cut, cut == 0 ? 1 : len);
        assert_string_equal(notes.text.data, expected);
        peri_buf_deinit(&notes.text);
    }
}

static void expect(const char *body, const char *expected)
{
    expect_len("b", body, strlen(body), expected);
}

static void reads_parts_in_order(void **state)
{
    (void) state;
    expect("--b\r\n" D "\"a\"\r\n\r\n1\r\n--b\r\n" D "\"f\"; filename=\"x.txt\"\r\n"
           "Content-Type: text/plain\r\n\r\nline\r\nline\r\n--b--\r\n",
           "<a>1.<f|x.txt|content-type: text/plain>line\r\nline.");
    expect("--b\r\n" D "a\r\n\r\n\r\n--b--", "<a>.");
    expect("--b--", "");
    expect("--b--\r\nepilogue\r\n--b\r\n", "");
    expect("--b\r\n" D "a\r\n\r\nx\r\n--b-- behind it", "<a>x.");
    expect_len("", "--\r\n" D "a\r\n\r\nx\r\n----", strlen("--\r\n" D "a\r\n\r\nx\r\n----"),
               "<a>x.");
}

static void keeps_any_bytes_of_a_part(void **state)
{
    (void) state;
    static const char body[] = "--b\r\n" D "a\r\n\r\n\0\r\xff\n\r\r\n\r\n--\r\n--b--";
    static const char data[] = "<a>\0\r\xff\n\r\r\n\r\n--.";
    for (size_t cut = 0; cut < sizeof(body); cut++) {
        struct notes notes = {0};
        read_in_pieces(&notes, "b", body, sizeof(body) - 1, cut, cut == 0 ? 1 : sizeof(body));
        assert_int_equal(notes.text.len, sizeof(data));
        assert_memory_equal(notes.text.data, data, sizeof(data));
        peri_buf_deinit(&notes.text);
    }
}

static void what_only_looks_like_a_boundary_is_data(void **state)
{
    (void) state;
    expect("--b\r\n" D "f\r\n\r\nx\r\n--bX\r\n--b-X\r\n--b\rX\r\n--b\r\r\n--\r\r\n\r\n--b--",
           "<f>x\r\n--bX\r\n--b-X\r\n--b\rX\r\n--b\r\r\n--\r\r\n.");
    expect("--b\r\n" D "f\r\n\r\n--b\r\nx\n--b--\r\n--b--", "<f>--b\r\nx\n--b--.");
    expect("--b\r\n" D "f\r\n\r\n\r\n\r\n--b\r\n\r\n--b--", "<f>\r\n. unnamed");
}

static void white_space_may_follow_a_boundary_between_parts(void **state)
{
    (void) state;
    expect("--b\r\n" D "a\r\n\r\nx\r\n--b \t \r\n" D "c\r\n\r\ny\r\n--b--", "<a>x.<c>y.");
    expect("--b\r\n" D "a\r\n\r\nx\r\n--b \tz\r\n", "<a>x invalid");
    expect("--b\r\n" D "a\r\n\r\nx\r\n--b \rz\r\n", "<a>x invalid");
    expect("--b \r\n" D "a\r\n\r\nx\r\n--b--", " invalid");
}

static void line_ends_may_stand_before_the_first_boundary_and_nothing_else(void **state)
{
    (void) state;
    expect("\r\n\n\r--b\r\n" D "a\r\n\r\nx\r\n--b--", "<a>x.");
    expect("preamble\r\n--b\r\n", " invalid");
    expect("--c\r\n", " invalid");
    expect("--bc\r\n", " invalid");
    expect("--b-\r\n", " invalid");
    expect("--b\rX", " invalid");
    expect("--b\n" D "a\n\nx\n--b--", " invalid");
}

static void a_part_that_is_cut_off_never_ends(void **state)
{
    (void) state;
    static const char *const bodies[] = {"--b\r\n" D "a\r\n\r\nx\r\n--b\r\n" D "c\r\n\r\nmore",
                                         "--b\r\n" D "a\r\n\r\nx\r\n--b\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct notes notes = {0};
        struct peri_multipart multipart;
        peri_multipart_init(&multipart, "b", 1, &events, &notes);
        assert_int_equal(feed(&multipart, bodies[i], strlen(bodies[i])), 0);
        assert_false(peri_multipart_is_complete(&multipart));
        peri_buf_add_byte(&notes.text, '\0');
        assert_string_equal(notes.text.data, i == 0 ? "<a>x.<c>more" : "<a>x.");
        peri_buf_deinit(&notes.text);
        peri_multipart_deinit(&multipart);
    }
}

static void header_lines_are_strict(void **state)
{
    (void) state;
    expect("--b\r\n\r\nx\r\n--b--", " unnamed");
    expect("--b\r\nX-Y: 1\r\n\r\nx\r\n--b--", " unnamed");
    expect("--b\r\n: 1\r\n", " invalid");
    expect("--b\r\nX Y: 1\r\n", " invalid");
    expect("--b\r\nX-Y: 1\rx", " invalid");
    expect("--b\r\n" D "a\r\n folded\r\n", " invalid");
    expect("--b\r\n" D "a\r\n\rx", " invalid");
    expect("--b\r\n" D "a\r\nX-Y:  1 \r\nx-y:\r\n\r\n\r\n--b--", "<a|x-y: 1 |x-y: >.");
    expect("--b\r\nA:1\r\n" D "a\r\n" D "c\r\n\r\n\r\n--b--", "<c|a: 1>.");
}

static void header_lines_are_bounded(void **state)
{
    (void) state;
    struct peri_buf body = {0};
    peri_buf_add_lit(&body, "--b\r\n" D "a\r\n");
    for (int i = 0; i < PERI_PART_MAX_HEADERS; i++)
        peri_buf_add_lit(&body, "A: b\r\n");
    peri_buf_add_lit(&body, "\r\n");
    expect_len("b", body.data, body.len, " invalid");

    for (size_t more = 0; more < 2; more++) {
        struct notes notes = {0};
        body.len = 0;
        peri_buf_add_lit(&body, "--b\r\n" D "a\r\nA: ");
        size_t len = PERI_PART_MAX_LINE - 3 + more;
        memset(peri_buf_reserve(&body, len), 'v', len);
        body.len += len;
        peri_buf_add_lit(&body, "\r\n\r\n\r\n--b--");
        read_in_pieces(&notes, "b", body.data, body.len, 0, body.len);
        assert_int_equal(strcmp(notes.text.data, " invalid") == 0, more == 1);
        peri_buf_deinit(&notes.text);
    }
    peri_buf_deinit(&body);
}

static void a_boundary_is_bounded(void **state)
{
    (void) state;
    char boundary[PERI_BOUNDARY_MAX + 2];
    memset(boundary, 'x', sizeof(boundary));
    struct peri_multipart multipart;
    assert_int_equal(peri_multipart_init(&multipart, boundary, PERI_BOUNDARY_MAX, &events, NULL),
                     0);
    assert_int_equal(
        peri_multipart_init(&multipart, boundary, PERI_BOUNDARY_MAX + 1, &events, NULL),
        PERI_MULTIPART_INVALID);
    assert_int_equal(peri_multipart_feed(&multipart, "--", 2), PERI_MULTIPART_INVALID);
}

static void file_names_are_read_as_browsers_write_them(void **state)
{
    (void) state;
#define FILE_NAMED(name) "--b\r\n" D "\"f\"; filename=" name "\r\n\r\n\r\n--b--"
    expect(FILE_NAMED("\"\""), "<f|>.");
    expect(FILE_NAMED(""), "<f|>.");
    expect(FILE_NAMED("plain.txt"), "<f|plain.txt>.");
    expect(FILE_NAMED("\"a;b.txt\""), "<f|a;b.txt>.");
    expect(FILE_NAMED("\"a%22b\\\"c\\\\d\""), "<f|a%22b\"c\\d>.");
    expect(FILE_NAMED("\"x\"; filename*=UTF-8''y"), "<f|x>.");
    expect(FILE_NAMED("\"C:\\\\x\\\\y.txt\""), "<f|y.txt>.");
    expect(FILE_NAMED("\"\\\\\\\\host\\\\y.txt\""), "<f|y.txt>.");
    expect(FILE_NAMED("\"../y.txt\""), "<f|../y.txt>.");
    expect(FILE_NAMED("\"open"), "<f|\"open>.");
    expect(FILE_NAMED("one; filename=two"), "<f|two>.");
#undef FILE_NAMED
    expect("--b\r\ncontent-disposition:\tform-data;\tName\t=\t\"q\"\t\r\n\r\n\r\n--b--", "<q>.");
    expect("--b\r\n" D "\"\"\r\n\r\n\r\n--b--", "<>.");
    expect("--b\r\n" D "\"a;b\\\";c\"\r\n\r\n\r\n--b--", "<a;b\";c>.");
    expect("--b\r\nContent-Disposition: name=a\r\n\r\n", " unnamed");
}

static void an_event_can_end_it(void **state)
{
    (void) state;
    static const char body[] = "--b\r\n" D "a\r\n\r\nx\r\n--b--";
    for (size_t step = 1; step < sizeof(body); step++) {
        struct notes notes = {.part_status = 413};
        read_in_pieces(&notes, "b", body, sizeof(body) - 1, 0, step);
        assert_string_equal(notes.text.data, "<a> 413");
        notes.text.len = 0;
        notes.part_status = 0;
        notes.data_status = 400;
        read_in_pieces(&notes, "b", body, sizeof(body) - 1, 0, step);
        assert_string_equal(notes.text.data, "<a>x 400");
        peri_buf_deinit(&notes.text);
    }
}

static void expect_param(const char *header, const char *name, const char *expected)
{
    struct peri_buf out = {0};
    peri_buf_add_lit(&out, "=");
    bool found = peri_header_param(header, strlen(header), name, &out);
    assert_int_equal(found, expected != NULL);
    peri_buf_add_byte(&out, '\0');
    assert_string_equal(out.data + 1, expected != NULL ? expected : "");
    peri_buf_deinit(&out);
}

static void header_parameters_are_found(void **state)
{
    (void) state;
    expect_param("multipart/form-data; boundary=x", "boundary", "x");
    expect_param("multipart/form-data ;Boundary=\"x y\" ; charset=utf-8", "boundary", "x y");
    expect_param("multipart/form-data ;Boundary=\"x y\" ; charset=utf-8", "charset", "utf-8");
    expect_param("a; b=1; b=2", "b", "2");
    expect_param("a; b=\"", "b", "\"");
    expect_param("a;;; b=1", "b", "1");
    expect_param("b=1", "b", NULL);
    expect_param("", "b", NULL);
    expect_param("a; bb=1", "b", NULL);
    assert_true(peri_header_is("Multipart/Form-Data ; x", 23, "multipart/form-data"));
    assert_true(peri_header_is(" multipart/form-data", 20, "multipart/form-data"));
    assert_false(peri_header_is("multipart/form-data2", 20, "multipart/form-data"));
    assert_false(peri_header_is("multipart/form", 14, "multipart/form-data"));
    assert_false(peri_header_is("", 0, "multipart/form-data"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_parts_in_order),
        cmocka_unit_test(keeps_any_bytes_of_a_part),
        cmocka_unit_test(what_only_looks_like_a_boundary_is_data),
        cmocka_unit_test(white_space_may_follow_a_boundary_between_parts),
        cmocka_unit_test(line_ends_may_stand_before_the_first_boundary_and_nothing_else),
        cmocka_unit_test(a_part_that_is_cut_off_never_ends),
        cmocka_unit_test(header_lines_are_strict),
        cmocka_unit_test(header_lines_are_bounded),
        cmocka_unit_test(a_boundary_is_bounded),
        cmocka_unit_test(file_names_are_read_as_browsers_write_them),
        cmocka_unit_test(an_event_can_end_it),
        cmocka_unit_test(header_parameters_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
