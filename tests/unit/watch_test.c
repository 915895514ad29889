/* The names that a watch ignores, and what it says of a folder that is worked on. */
#include "watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void editors_and_tools_leave_what_is_ignored(void **state)
{
    (void) state;
    static const char *const ignored[] = {
        ".git",      ".app.lua.swp", ".",           "..",      "app.lua~",
        "#app.lua#", "node_modules", "__pycache__", "4913",    "app.tmp",
        "data.db",   "data.db-wal",  "x.sqlite3",   "app.log", "app.lua.orig",
    };
    static const char *const own[] = {
        "app.lua", ".env", "page.html", "style.css", "db",
        "log",     "tmp",  "data.json", "#notes",    "~a",
    };
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        assert_true(peri_watch_ignores(ignored[i]));
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        assert_false(peri_watch_ignores(own[i]));
}

/* --- a folder ----------------------------------------------------------------------------------
 */

struct bench {
    uv_loop_t uv;
    struct peri_watch watch;
    char folder[64];
    char said[256]; /* "app.lua+2" */
};

static void on_changed(struct peri_watch *watch, const char *file, size_t others)
{
    struct bench *bench = peri_container_of(watch, struct bench, watch);
    snprintf(bench->said, sizeof(bench->said), "%s+%zu", file, others);
    uv_stop(&bench->uv);
}

static void write_file(struct bench *bench, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", bench->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_file(struct bench *bench, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", bench->folder, name);
    assert_int_equal(unlink(path), 0);
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    snprintf(bench->folder, sizeof(bench->folder), "/tmp/perigee-watch-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    write_file(bench, "app.lua", "one");
    uv_loop_init(&bench->uv);
    assert_int_equal(peri_watch_open(&bench->watch, &bench->uv, bench->folder, on_changed), 0);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    char command[128];
    peri_watch_close(&bench->watch);
    uv_run(&bench->uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bench->uv), 0);
    snprintf(command, sizeof(command), "rm -r %s", bench->folder);
    assert_int_equal(system(command), 0);
    free(bench);
    return 0;
}

static void expect(struct bench *bench, const char *said)
{
    bench->said[0] = '\0';
    uv_run(&bench->uv, UV_RUN_DEFAULT);
    assert_string_equal(bench->said, said);
}

static void a_change_is_told_with_its_file(void **state)
{
    write_file(*state, "app.lua", "two");
    expect(*state, "app.lua+0");
}

static void changes_at_once_are_told_at_once(void **state)
{
    write_file(*state, "b.lua", "new");
    write_file(*state, "app.lua", "two");
    write_file(*state, "c.lua", "new");
    expect(*state, "app.lua+2");
}

static void a_file_written_as_it_was_is_no_change(void **state)
{
    write_file(*state, "app.lua", "");
    write_file(*state, "app.lua", "one");
    write_file(*state, "gone.lua", "x");
    remove_file(*state, "gone.lua");
    write_file(*state, "z.lua", "new");
    expect(*state, "z.lua+0");
}

static void what_a_size_does_not_tell_the_content_does(void **state)
{
    write_file(*state, "app.lua", "two");
    expect(*state, "app.lua+0");
    write_file(*state, "app.lua", "six");
    expect(*state, "app.lua+0");
}

static void a_file_that_goes_is_a_change(void **state)
{
    remove_file(*state, "app.lua");
    expect(*state, "app.lua+0");
}

static void a_file_that_is_emptied_has_time_to_be_written(void **state)
{
    struct bench *bench = *state;
    write_file(bench, "app.lua", "");
    while (bench->watch.unsure == 0)
        uv_run(&bench->uv, UV_RUN_ONCE);
    assert_string_equal(bench->said, "");
    write_file(bench, "app.lua", "one");
    write_file(bench, "z.lua", "new");
    expect(bench, "z.lua+0");
    write_file(bench, "app.lua", ""); /* and stays so */
    expect(bench, "app.lua+0");
}

static void a_new_folder_is_watched(void **state)
{
    struct bench *bench = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/lib", bench->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(bench, "lib/a.lua", "one");
    expect(bench, "lib/a.lua+0");
    write_file(bench, "lib/a.lua", "two");
    expect(bench, "lib/a.lua+0");
}

static void a_file_elsewhere_is_watched_when_it_is_named(void **state)
{
    struct bench *bench = *state;
    char path[] = "/tmp/perigee-elsewhere-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    peri_watch_add(&bench->watch, path);
    peri_watch_add(&bench->watch, path);
    assert_int_equal(write(fd, "new", 3), 3);
    close(fd);
    char said[64];
    snprintf(said, sizeof(said), "%s+0", path);
    expect(bench, said);
    unlink(path);
}

static void a_folder_that_is_not_there_cannot_be_watched(void **state)
{
    (void) state;
    uv_loop_t uv;
    struct peri_watch watch;
    uv_loop_init(&uv);
    assert_int_equal(peri_watch_open(&watch, &uv, "/no/such/folder", on_changed), UV_ENOENT);
    peri_watch_close(&watch);
    uv_run(&uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&uv), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(editors_and_tools_leave_what_is_ignored),
        cmocka_unit_test_setup_teardown(a_change_is_told_with_its_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_at_once_are_told_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_written_as_it_was_is_no_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_size_does_not_tell_the_content_does, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_goes_is_a_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_emptied_has_time_to_be_written, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_new_folder_is_watched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_elsewhere_is_watched_when_it_is_named, set_up,
                                        tear_down),
        cmocka_unit_test(a_folder_that_is_not_there_cannot_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
