/* Paths to operations: precedence, converters, backtracking, methods, errors and warnings. */
#include "router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET 1 /* as llhttp numbers them */
#define HEAD 2
#define POST 3
#define PUT 4

#define BIT PERI_METHOD_BIT
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Operations are their pattern: a match is compared by name. */
static void add(struct peri_router *router, unsigned method, const char *path)
{
    char error[128] = "";
    int rc = peri_router_add(router, BIT(method), path, (void *) path, error, sizeof(error));
    assert_string_equal(error, "");
    assert_int_equal(rc, 0);
}

static struct peri_router *router_with(const char *const *paths, size_t count)
{
    struct peri_router *router = peri_router_new();
    for (size_t i = 0; i < count; i++)
        add(router, GET, paths[i]);
    return router;
}

#define ROUTER(...)                                                                                \
    router_with((const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

/* Writes what GET `path` gives as "pattern name=value name=value", "405" or "404". The path is
 * copied to a block of its own, so that a sanitizer sees a read behind it. */
static const char *get(const struct peri_router *router, const char *path)
{
    static char text[512];
    static char *copy;
    size_t len = strlen(path);
    free(copy);
    copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, path, len);

    struct peri_match match;
    switch (peri_router_match(router, copy, len, GET, &match)) {
    case PERI_MATCH_NONE:
        return "404";
    case PERI_MATCH_METHOD:
        return "405";
    case PERI_MATCH_FOUND:
        break;
    }
    int used = snprintf(text, sizeof(text), "%s", (const char *) match.route->operation);
    for (unsigned i = 0; i < match.param_count; i++) {
        const struct peri_param *param = &match.params[i];
        assert_true(param->value >= copy && param->value + param->len <= copy + len);
        used += snprintf(text + used, sizeof(text) - (size_t) used, " %s=%.*s", param->name,
                         (int) param->len, param->value);
    }
    return text;
}

static void matches_literal_paths_exactly(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/", "/items", "/items/", "/a/b/c", "/a/b", "/a//b");
    assert_string_equal(get(router, "/"), "/");
    assert_string_equal(get(router, "/items"), "/items");
    assert_string_equal(get(router, "/items/"), "/items/");
    assert_string_equal(get(router, "/a/b/c"), "/a/b/c");
    assert_string_equal(get(router, "/a//b"), "/a//b");
    assert_string_equal(get(router, "/a"), "404");
    assert_string_equal(get(router, "/a/b/"), "404");
    assert_string_equal(get(router, "/Items"), "404");
    assert_string_equal(get(router, "/item"), "404");
    assert_string_equal(get(router, "/itemss"), "404");
    assert_string_equal(get(router, "//"), "404");
    assert_string_equal(get(router, ""), "404");
    assert_string_equal(get(router, "items"), "404");
    assert_string_equal(get(router, "*"), "404");
    peri_router_free(router);
}

static void tells_literals_apart_that_look_alike(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/north_resource", "/south_resource", "/a", "/aa");
    assert_string_equal(get(router, "/north_resource"), "/north_resource");
    assert_string_equal(get(router, "/south_resource"), "/south_resource");
    assert_string_equal(get(router, "/worth_resource"), "404");
    assert_string_equal(get(router, "/a_resource"), "404");
    struct peri_match match;
    assert_int_equal(peri_router_match(router, "/a", 2, GET, &match), PERI_MATCH_FOUND);
    assert_int_equal(peri_router_match(router, "/\0a", 3, GET, &match), PERI_MATCH_NONE);
    peri_router_free(router);
}

static void misses_end_however_many_siblings_there_are(void **state)
{
    (void) state;
    static char paths[130][8];
    struct peri_router *router = peri_router_new();
    for (size_t i = 0; i < COUNT(paths); i++) {
        snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
        assert_string_equal(get(router, paths[i]), "404");
        add(router, GET, paths[i]);
        assert_string_equal(get(router, "/nowhere"), "404");
        for (size_t j = 0; j <= i; j++)
            assert_string_equal(get(router, paths[j]), paths[j]);
    }
    peri_router_free(router);
}

static void an_empty_router_finds_nothing(void **state)
{
    (void) state;
    struct peri_router *router = peri_router_new();
    assert_string_equal(get(router, "/"), "404");
    assert_null(peri_router_route(router, 0));
    peri_router_free(router);
    peri_router_free(NULL);
}

static void a_parameter_takes_one_segment_that_is_not_empty(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/items/{id}", "/users/{user:str}/posts/{post}");
    assert_string_equal(get(router, "/items/42"), "/items/{id} id=42");
    assert_string_equal(get(router, "/items/a b\xc3\xa9%2e?"), "/items/{id} id=a b\xc3\xa9%2e?");
    assert_string_equal(get(router, "/items/"), "404");
    assert_string_equal(get(router, "/items"), "404");
    assert_string_equal(get(router, "/items/1/"), "404");
    assert_string_equal(get(router, "/users/ann/posts/7"),
                        "/users/{user:str}/posts/{post} user=ann post=7");
    assert_string_equal(get(router, "/users//posts/7"), "404");
    peri_router_free(router);
}

static void a_value_may_contain_any_byte(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/{id}");
    struct peri_match match;
    assert_int_equal(peri_router_match(router, "/\0\xff\n", 4, GET, &match), PERI_MATCH_FOUND);
    assert_int_equal(match.params[0].len, 3);
    peri_router_free(router);
}

static void converters_take_only_their_kind(void **state)
{
    (void) state;
    struct peri_router *router =
        ROUTER("/i/{n:int}", "/f/{x:float}", "/u/{id:uuid}", "/f/{x:float}/y");
    assert_string_equal(get(router, "/i/0042"), "/i/{n:int} n=0042");
    assert_string_equal(get(router, "/i/-1"), "404");
    assert_string_equal(get(router, "/i/4x"), "404");
    assert_string_equal(get(router, "/i/"), "404");
    assert_string_equal(get(router, "/f/3"), "/f/{x:float} x=3");
    assert_string_equal(get(router, "/f/3.25"), "/f/{x:float} x=3.25");
    assert_string_equal(get(router, "/f/3.25/y"), "/f/{x:float}/y x=3.25");
    assert_string_equal(get(router, "/f/3."), "404");
    assert_string_equal(get(router, "/f/.5"), "404");
    assert_string_equal(get(router, "/f/1.2.3"), "404");
    assert_string_equal(get(router, "/f/1e5"), "404");
    assert_string_equal(get(router, "/u/5F0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09"),
                        "/u/{id:uuid} id=5F0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09");
    assert_string_equal(get(router, "/u/5f0c8b3a9d1e4c7b8a2f6e4d3b2c1a09"),
                        "/u/{id:uuid} id=5f0c8b3a9d1e4c7b8a2f6e4d3b2c1a09");
    assert_string_equal(get(router, "/u/5f0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a0"), "404");
    assert_string_equal(get(router, "/u/5f0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09a"), "404");
    assert_string_equal(get(router, "/u/5f0c8b3a--9d1e-4c7b-8a2f-6e4d3b2c1a09"), "404");
    assert_string_equal(get(router, "/u/gf0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09"), "404");
    peri_router_free(router);
}

static void converters_are_alternatives_in_one_place(void **state)
{
    (void) state;
    struct peri_router *router =
        ROUTER("/{id:uuid}", "/{n:int}", "/{n:int}-{m:int}", "/{a}-{m:int}", "/{w}");
    assert_string_equal(get(router, "/42"), "/{n:int} n=42");
    assert_string_equal(get(router, "/4-2"), "/{n:int}-{m:int} n=4 m=2");
    assert_string_equal(get(router, "/x-2"), "/{a}-{m:int} a=x m=2");
    assert_string_equal(get(router, "/x-y"), "/{w} w=x-y");
    peri_router_free(router);
}

static void a_path_parameter_takes_the_rest_and_may_be_empty(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/files/{p:path}", "/v{n:int}/{p:path}", "/x{p:path}");
    assert_string_equal(get(router, "/files/"), "/files/{p:path} p=");
    assert_string_equal(get(router, "/files/a"), "/files/{p:path} p=a");
    assert_string_equal(get(router, "/files//etc/passwd/"), "/files/{p:path} p=/etc/passwd/");
    assert_string_equal(get(router, "/files"), "404");
    assert_string_equal(get(router, "/v2/a/b"), "/v{n:int}/{p:path} n=2 p=a/b");
    assert_string_equal(get(router, "/x"), "/x{p:path} p=");
    assert_string_equal(get(router, "/xy/z"), "/x{p:path} p=y/z");
    peri_router_free(router);
}

static void a_path_parameter_may_stand_in_the_middle(void **state)
{
    (void) state;
    struct peri_router *router =
        ROUTER("/f/{p:path}", "/f/{p:path}/edit", "/f/{p:path}/by/{user}", "/f/{p:path}.map");
    assert_string_equal(get(router, "/f/a/b/edit"), "/f/{p:path}/edit p=a/b");
    assert_string_equal(get(router, "/f//edit"), "/f/{p:path}/edit p=");
    assert_string_equal(get(router, "/f/edit"), "/f/{p:path} p=edit");
    assert_string_equal(get(router, "/f/a/edit/edit"), "/f/{p:path}/edit p=a/edit");
    assert_string_equal(get(router, "/f/a/by/b/by/ann"), "/f/{p:path}/by/{user} p=a/by/b user=ann");
    assert_string_equal(get(router, "/f/a/by/b/c"), "/f/{p:path} p=a/by/b/c");
    assert_string_equal(get(router, "/f/js/app.js.map"), "/f/{p:path}.map p=js/app.js");
    peri_router_free(router);
}

static void parameters_share_a_segment_as_in_a_regular_expression(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER(
        "/files/{name}.txt", "/r/{a}-{b}", "/d/{y:int}-{m:int}-{d:int}.{ext}", "/c/{a}x{b:int}y{c}",
        "/p/{x:float},{y:float}z", "/w/{x:float}.{ext}", "/u/{a}-{id:uuid}.png");
    assert_string_equal(get(router, "/files/a.txt"), "/files/{name}.txt name=a");
    assert_string_equal(get(router, "/files/a.txt.txt"), "/files/{name}.txt name=a.txt");
    assert_string_equal(get(router, "/files/.txt"), "404");
    assert_string_equal(get(router, "/files/a.txt2"), "404");
    assert_string_equal(get(router, "/r/1-2"), "/r/{a}-{b} a=1 b=2");
    assert_string_equal(get(router, "/r/1-2-3"), "/r/{a}-{b} a=1-2 b=3");
    assert_string_equal(get(router, "/r/1--"), "/r/{a}-{b} a=1 b=-");
    assert_string_equal(get(router, "/r/---"), "/r/{a}-{b} a=- b=-");
    assert_string_equal(get(router, "/r/--"), "404");
    assert_string_equal(get(router, "/r/-2"), "404");
    assert_string_equal(get(router, "/d/2026-08-01.tar.gz"),
                        "/d/{y:int}-{m:int}-{d:int}.{ext} y=2026 m=08 d=01 ext=tar.gz");
    assert_string_equal(get(router, "/d/2026-08-x.gz"), "404");
    /* The last y has no digits before it: the one before must be taken. */
    assert_string_equal(get(router, "/c/fx1yAyz"), "/c/{a}x{b:int}y{c} a=f b=1 c=Ayz");
    assert_string_equal(get(router, "/p/1.5,2z"), "/p/{x:float},{y:float}z x=1.5 y=2");
    assert_string_equal(get(router, "/w/1.5"), "/w/{x:float}.{ext} x=1 ext=5");
    assert_string_equal(get(router, "/w/1.5.6"), "/w/{x:float}.{ext} x=1.5 ext=6");
    assert_string_equal(get(router, "/u/a-b-5f0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09.png"),
                        "/u/{a}-{id:uuid}.png a=a-b id=5f0c8b3a-9d1e-4c7b-8a2f-6e4d3b2c1a09");
    peri_router_free(router);
}

static void literal_text_beats_parameters_in_any_order_of_adding(void **state)
{
    (void) state;
    static const char *const paths[] = {
        "/{p:path}", "/u/{id}", "/u/{n:int}", "/u/{a}.json", "/u/me", "/{x}/me",
    };
    for (size_t first = 0; first < COUNT(paths); first++) {
        struct peri_router *router = peri_router_new();
        for (size_t i = 0; i < COUNT(paths); i++)
            add(router, GET, paths[(first + i) % COUNT(paths)]);
        assert_string_equal(get(router, "/u/me"), "/u/me");
        assert_string_equal(get(router, "/u/7"), "/u/{n:int} n=7");
        assert_string_equal(get(router, "/u/you.json"), "/u/{a}.json a=you");
        assert_string_equal(get(router, "/u/you"), "/u/{id} id=you");
        assert_string_equal(get(router, "/v/me"), "/{x}/me x=v");
        assert_string_equal(get(router, "/u/"), "/{p:path} p=u/");
        assert_string_equal(get(router, "/u/a/b"), "/{p:path} p=u/a/b");
        peri_router_free(router);
    }
}

static void among_equals_the_first_added_wins(void **state)
{
    (void) state;
    struct peri_router *router =
        ROUTER("/{a}-{b}", "/{a}.{b}", "/{x}", "/{y}", "/u/{n:float}", "/u/{n:int}");
    assert_string_equal(get(router, "/1-2.3"), "/{a}-{b} a=1 b=2.3");
    assert_string_equal(get(router, "/1"), "/{x} x=1");
    assert_string_equal(get(router, "/u/1"), "/u/{n:float} n=1");
    peri_router_free(router);
}

static void comes_back_from_dead_ends_at_any_depth(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/a/b/c/d", "/a/{x}/c/e", "/{w}/b/c/f", "/{w}/{x}/{y}/g",
                                        "/a/{p:path}", "/a/b/{q}/h");
    assert_string_equal(get(router, "/a/b/c/d"), "/a/b/c/d");
    assert_string_equal(get(router, "/a/b/c/e"), "/a/{x}/c/e x=b");
    assert_string_equal(get(router, "/a/b/c/h"), "/a/b/{q}/h q=c");
    assert_string_equal(get(router, "/a/b/c/f"), "/a/{p:path} p=b/c/f");
    assert_string_equal(get(router, "/z/b/c/f"), "/{w}/b/c/f w=z");
    assert_string_equal(get(router, "/z/b/c/g"), "/{w}/{x}/{y}/g w=z x=b y=c");
    assert_string_equal(get(router, "/z/b/c/h"), "404");
    peri_router_free(router);
}

static void each_route_keeps_its_own_names(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/u/{id}", "/u/{user_id}/posts", "/u/{name}/posts/{id}");
    assert_string_equal(get(router, "/u/1"), "/u/{id} id=1");
    assert_string_equal(get(router, "/u/1/posts"), "/u/{user_id}/posts user_id=1");
    assert_string_equal(get(router, "/u/1/posts/2"), "/u/{name}/posts/{id} name=1 id=2");
    peri_router_free(router);
}

static void a_route_without_the_method_hides_none_that_has_it(void **state)
{
    (void) state;
    struct peri_router *router = peri_router_new();
    add(router, POST, "/u/me");
    add(router, PUT, "/u/{id}");
    add(router, GET, "/u/{p:path}");
    assert_string_equal(get(router, "/u/me"), "/u/{p:path} p=me");

    struct peri_match match;
    assert_int_equal(peri_router_match(router, "/u/me", 5, PUT, &match), PERI_MATCH_FOUND);
    assert_string_equal(match.route->path, "/u/{id}");
    assert_int_equal(match.param_count, 1);
    assert_string_equal(match.params[0].name, "id");
    peri_router_free(router);
}

static void a_missing_method_tells_the_union_of_all_that_match(void **state)
{
    (void) state;
    struct peri_router *router = peri_router_new();
    add(router, POST, "/u/me");
    add(router, PUT, "/u/{id}");
    add(router, GET, "/{p:path}");
    add(router, 6, "/v/{id}");

    struct peri_match match;
    assert_int_equal(peri_router_match(router, "/u/me", 5, HEAD, &match), PERI_MATCH_METHOD);
    assert_true(match.methods == (BIT(POST) | BIT(PUT) | BIT(GET)));
    assert_null(match.route);
    assert_int_equal(peri_router_match(router, "/u/1", 4, HEAD, &match), PERI_MATCH_METHOD);
    assert_true(match.methods == (BIT(PUT) | BIT(GET)));
    assert_int_equal(peri_router_match(router, "u", 1, HEAD, &match), PERI_MATCH_NONE);
    peri_router_free(router);
}

static void one_path_may_have_several_operations(void **state)
{
    (void) state;
    struct peri_router *router = peri_router_new();
    char error[64];
    static char reads;
    static char writes;
    uint64_t both = BIT(POST) | BIT(63);
    assert_int_equal(peri_router_add(router, BIT(GET), "/x/{a}", &reads, error, sizeof(error)), 0);
    assert_int_equal(peri_router_add(router, both, "/x/{b}", &writes, error, sizeof(error)), 0);

    struct peri_match match;
    assert_int_equal(peri_router_match(router, "/x/1", 4, GET, &match), PERI_MATCH_FOUND);
    assert_ptr_equal(match.route->operation, &reads);
    assert_string_equal(match.params[0].name, "a");
    assert_int_equal(peri_router_match(router, "/x/1", 4, 63, &match), PERI_MATCH_FOUND);
    assert_ptr_equal(match.route->operation, &writes);
    assert_string_equal(match.params[0].name, "b");
    peri_router_free(router);
}

static void refuses_a_path_it_cannot_read(void **state)
{
    (void) state;
    static const struct {
        const char *path;
        const char *error;
    } cases[] = {
        {"", "no '/' at the beginning"},
        {"items", "no '/' at the beginning"},
        {"{p:path}", "no '/' at the beginning"},
        {"/{id", "a '{' without a '}'"},
        {"/{id/{x}", "a '{' without a '}'"},
        {"/a/id}", "a '}' without a '{'"},
        {"/{a}}", "a '}' without a '{'"},
        {"/{p:path}}", "a '}' without a '{'"},
        {"/{}", "a parameter name '' that is not an identifier"},
        {"/{a-b}", "a parameter name 'a-b' that is not an identifier"},
        {"/{1a}", "a parameter name '1a' that is not an identifier"},
        {"/{:int}", "a parameter name '' that is not an identifier"},
        {"/{a:foo}", "unknown converter 'foo' (known: str int float uuid path)"},
        {"/{a:}", "unknown converter '' (known: str int float uuid path)"},
        {"/{a}/{a}", "two parameters named 'a'"},
        {"/{a}{b}", "no literal text between 'a' and 'b'"},
        {"/{a:int}{b:path}", "no literal text between 'a' and 'b'"},
        {"/{a}-{b}-{c}-{d}-{e}-{f}-{g}-{h}-{i}", "too many parameters in one segment"},
        {"/{a:float}-{b:float}-{c:float}-{d:float}-{e:float}",
         "too many parameters in one segment"},
    };
    struct peri_router *router = peri_router_new();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char error[128] = "";
        int rc = peri_router_add(router, BIT(GET), cases[i].path, NULL, error, sizeof(error));
        assert_int_equal(rc, -1);
        char want[128];
        snprintf(want, sizeof(want), "%s in the path '%s'", cases[i].error, cases[i].path);
        assert_string_equal(error, want);
        assert_int_equal(peri_router_check(cases[i].path, error, sizeof(error)), -1);
        assert_string_equal(error, want);
    }
    char none[1];
    assert_int_equal(peri_router_check("/{a}-{b:int}/{c:path}", none, sizeof(none)), 0);
    assert_null(peri_router_route(router, 0));

    char path[512] = "";
    size_t len = 0;
    for (int i = 0; i < PERI_ROUTER_MAX_PARAMS; i++)
        len += (size_t) snprintf(path + len, sizeof(path) - len, "/{p%d}", i);
    char error[128] = "";
    assert_int_equal(peri_router_add(router, BIT(GET), path, NULL, error, sizeof(error)), 0);
    snprintf(path + len, sizeof(path) - len, "/{more}");
    assert_int_equal(peri_router_add(router, BIT(GET), path, NULL, error, sizeof(error)), -1);
    assert_memory_equal(error, "more than 32 parameters in the path '/{p0}/", 42);
    assert_int_equal(strlen(error), sizeof(error) - 1); /* cut, and ended */
    peri_router_free(router);
}

static void lists_the_routes_in_the_order_added(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/b", "/a", "/{p:path}");
    assert_string_equal(peri_router_route(router, 0)->path, "/b");
    assert_string_equal(peri_router_route(router, 1)->path, "/a");
    assert_string_equal(peri_router_route(router, 2)->path, "/{p:path}");
    assert_true(peri_router_route(router, 2)->methods == BIT(GET));
    assert_null(peri_router_route(router, 3));
    peri_router_free(router);
}

/* The path of the route that hides the last one of `paths`, or "none". */
static const char *shadow_of_last(const char *const *paths, size_t count)
{
    struct peri_router *router = router_with(paths, count);
    uint64_t methods = 0;
    const struct peri_route *shadow = peri_router_shadow(router, count - 1, &methods);
    assert_true(methods == (shadow != NULL ? BIT(GET) : 0));
    const char *path = shadow != NULL ? shadow->operation : "none";
    peri_router_free(router);
    return path;
}

#define SHADOW(...)                                                                                \
    shadow_of_last((const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

static void reports_a_route_that_is_never_reached(void **state)
{
    (void) state;
    assert_string_equal(SHADOW("/items", "/items"), "/items");
    assert_string_equal(SHADOW("/items/{id}", "/items/{item_id}"), "/items/{id}");
    assert_string_equal(SHADOW("/{x:float}", "/{n:int}"), "/{x:float}");
    assert_string_equal(SHADOW("/{a}-{b}", "/{a}-{b}-{c}"), "/{a}-{b}");
    assert_string_equal(SHADOW("/{a}-{b}", "/{id:uuid}"), "/{a}-{b}");
    assert_string_equal(SHADOW("/f/{p:path}", "/f/{q:path}"), "/f/{p:path}");
    assert_string_equal(SHADOW("/f/{p:path}.js", "/f/{p:path}.min.js"), "/f/{p:path}.js");

    assert_string_equal(SHADOW("/items", "/items/"), "none");
    assert_string_equal(SHADOW("/{id}", "/items"), "none");
    assert_string_equal(SHADOW("/items", "/{id}"), "none");
    assert_string_equal(SHADOW("/{n:int}", "/{x:float}"), "none");
    assert_string_equal(SHADOW("/{n:int}", "/{id}"), "none");
    assert_string_equal(SHADOW("/{a}", "/{a}/{b}", "/{a}/{b}/{c}", "/{p:path}"), "none");
    assert_string_equal(SHADOW("/{p:path}", "/{a}/{b}"), "none");
}

static void reports_which_methods_are_hidden(void **state)
{
    (void) state;
    struct peri_router *router = peri_router_new();
    char error[64];
    uint64_t mine = BIT(GET) | BIT(POST) | BIT(PUT);
    add(router, HEAD, "/x");
    add(router, POST, "/x");
    add(router, PUT, "/x");
    assert_int_equal(peri_router_add(router, mine, "/x", NULL, error, sizeof(error)), 0);

    uint64_t methods = 0;
    assert_ptr_equal(peri_router_shadow(router, 3, &methods), peri_router_route(router, 1));
    assert_true(methods == BIT(POST));
    assert_null(peri_router_shadow(router, 0, &methods));
    assert_true(methods == 0);
    peri_router_free(router);
}

/* What a backtracking matcher would need ages for; the test's time limit is the assertion. */
static void no_path_makes_matching_slow(void **state)
{
    (void) state;
    struct peri_router *router =
        ROUTER("/{a}-{b}-{c}-{d}-{e}-{f}-{g}.x", "/{p:path}/{q:path}/{r:path}/{s:path}/z",
               "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/z", "/a/{b}/{c}/{d}/{e}/{f}/{g}/{h}/z",
               "/{a}/a/{c}/{d}/{e}/{f}/{g}/{h}/z");
    static char path[8192];
    memset(path, '-', sizeof(path));
    path[0] = '/';
    struct peri_match match;
    assert_int_equal(peri_router_match(router, path, sizeof(path), GET, &match), PERI_MATCH_NONE);
    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = i % 2 == 0 ? '/' : 'a';
    assert_int_equal(peri_router_match(router, path, sizeof(path), GET, &match), PERI_MATCH_NONE);
    path[sizeof(path) - 1] = 'z';
    assert_int_equal(peri_router_match(router, path, sizeof(path), GET, &match), PERI_MATCH_FOUND);
    assert_int_equal(match.param_count, 4);
    assert_int_equal(match.params[0].len, sizeof(path) - strlen("//a/a/a/z"));
    peri_router_free(router);
}

static void the_longest_path_is_bounded(void **state)
{
    (void) state;
    struct peri_router *router = ROUTER("/x{p:path}y");
    size_t len = PERI_ROUTER_MAX_PATH;
    char *path = malloc(len + 1);
    assert_non_null(path);
    memset(path, 'x', len + 1);
    path[0] = '/';
    path[len - 1] = 'y';
    path[len] = 'y';
    struct peri_match match;
    assert_int_equal(peri_router_match(router, path, len, GET, &match), PERI_MATCH_FOUND);
    assert_int_equal(match.params[0].len, len - 3);
    assert_int_equal(peri_router_match(router, path, len + 1, GET, &match), PERI_MATCH_NONE);
    free(path);
    peri_router_free(router);
}

static void holds_many_routes(void **state)
{
    (void) state;
    enum { ROUTES = 2000 };
    static char paths[ROUTES][32];
    struct peri_router *router = peri_router_new();
    for (int i = 0; i < ROUTES; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/group%d/{id}/item%d", i % 40, i);
        add(router, GET, paths[i]);
    }
    for (int i = 0; i < ROUTES; i++) {
        char path[64];
        char want[96];
        snprintf(path, sizeof(path), "/group%d/%d/item%d", i % 40, i, i);
        snprintf(want, sizeof(want), "%s id=%d", paths[i], i);
        assert_string_equal(get(router, path), want);
    }
    assert_string_equal(get(router, "/group1/1/item2"), "404");
    peri_router_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_literal_paths_exactly),
        cmocka_unit_test(tells_literals_apart_that_look_alike),
        cmocka_unit_test(misses_end_however_many_siblings_there_are),
        cmocka_unit_test(an_empty_router_finds_nothing),
        cmocka_unit_test(a_parameter_takes_one_segment_that_is_not_empty),
        cmocka_unit_test(a_value_may_contain_any_byte),
        cmocka_unit_test(converters_take_only_their_kind),
        cmocka_unit_test(converters_are_alternatives_in_one_place),
        cmocka_unit_test(a_path_parameter_takes_the_rest_and_may_be_empty),
        cmocka_unit_test(a_path_parameter_may_stand_in_the_middle),
        cmocka_unit_test(parameters_share_a_segment_as_in_a_regular_expression),
        cmocka_unit_test(literal_text_beats_parameters_in_any_order_of_adding),
        cmocka_unit_test(among_equals_the_first_added_wins),
        cmocka_unit_test(comes_back_from_dead_ends_at_any_depth),
        cmocka_unit_test(each_route_keeps_its_own_names),
        cmocka_unit_test(a_route_without_the_method_hides_none_that_has_it),
        cmocka_unit_test(a_missing_method_tells_the_union_of_all_that_match),
        cmocka_unit_test(one_path_may_have_several_operations),
        cmocka_unit_test(refuses_a_path_it_cannot_read),
        cmocka_unit_test(lists_the_routes_in_the_order_added),
        cmocka_unit_test(reports_a_route_that_is_never_reached),
        cmocka_unit_test(reports_which_methods_are_hidden),
        cmocka_unit_test(no_path_makes_matching_slow),
        cmocka_unit_test(the_longest_path_is_bounded),
        cmocka_unit_test(holds_many_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
