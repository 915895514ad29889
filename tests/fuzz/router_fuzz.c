/* Lines of patterns, then a last line that is the path. The router must agree with PCRE2, which
 * gets each pattern as a regular expression, and with the rules of precedence applied to the
 * patterns that match. A pattern line may begin with a byte that stands for its method. */
#include "router.h"

#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PATTERNS 8
#define MAX_PATH 512
#define METHODS 4

struct pattern {
    char text[MAX_PATH];
    pcre2_code *regex;
    unsigned method;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "router_fuzz: %s\n", what);
    abort();
}

/* Reads a parameter of an accepted pattern: its converter's regular expression and its end. */
static const char *converter(const char *param, const char **end)
{
    *end = strchr(param, '}') + 1;
    const char *colon = memchr(param, ':', (size_t) (*end - param));
    if (colon == NULL || strncmp(colon, ":str}", 5) == 0)
        return "[^/]+";
    if (strncmp(colon, ":int}", 5) == 0)
        return "[0-9]+";
    if (strncmp(colon, ":float}", 7) == 0)
        return "[0-9]+(?:\\.[0-9]+)?";
    if (strncmp(colon, ":uuid}", 6) == 0)
        return "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}";
    return ".*";
}

static pcre2_code *compile(const char *pattern)
{
    char text[MAX_PATH * 16];
    size_t len = 0;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            len += (size_t) snprintf(text + len, sizeof(text) - len, "(%s)",
                                     converter(pattern, &pattern));
        } else {
            len += (size_t) snprintf(text + len, sizeof(text) - len, "\\x%02x",
                                     (unsigned char) *pattern++);
        }
    }
    int error = 0;
    size_t offset = 0;
    uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL;
    pcre2_code *regex = pcre2_compile((PCRE2_SPTR) text, len, options, &error, &offset, NULL);
    check(regex != NULL, "the reference does not compile");
    return regex;
}

/* The next step of a pattern without the names of its parameters; *rank by its kind. */
static const char *next_step(const char *at, char *step, int *rank)
{
    char *to = step;
    int pieces = 0;
    bool rest = false;
    bool plain = false;
    bool literal = true;
    at++; /* the slash */
    while (*at != '\0' && (*at != '/' || rest)) {
        if (*at != '{') {
            pieces += to == step || to[-1] == '}';
            *to++ = *at++;
            continue;
        }
        const char *regex = converter(at, &at);
        pieces++;
        literal = false;
        plain = regex[0] == '[' && regex[1] == '^';
        rest = rest || regex[0] == '.';
        to += sprintf(to, "{%c%zu}", regex[0], strlen(regex));
    }
    *to = '\0';
    if (rest)
        *rank = pieces == 1 ? 4 : 3;
    else
        *rank = literal ? 0 : pieces == 1 && plain ? 2 : 1;
    return at;
}

/* The index of the first pattern that has the same steps as `pattern` up to number `depth`. */
static int first_with(const struct pattern *patterns, const char *pattern, int depth)
{
    for (int i = 0;; i++) {
        const char *a = patterns[i].text;
        const char *b = pattern;
        int step = 0;
        for (; step <= depth && *a != '\0' && *b != '\0'; step++) {
            char left[MAX_PATH];
            char right[MAX_PATH];
            int rank = 0;
            a = next_step(a, left, &rank);
            b = next_step(b, right, &rank);
            if (strcmp(left, right) != 0)
                break;
        }
        if (step > depth)
            return i;
    }
}

/* Whether pattern `a` goes before pattern `b`, where both match. */
static bool goes_before(const struct pattern *patterns, int a, int b)
{
    const char *left = patterns[a].text;
    const char *right = patterns[b].text;
    for (int depth = 0; *left != '\0' && *right != '\0'; depth++) {
        char left_step[MAX_PATH];
        char right_step[MAX_PATH];
        int left_rank = 0;
        int right_rank = 0;
        left = next_step(left, left_step, &left_rank);
        right = next_step(right, right_step, &right_rank);
        if (left_rank != right_rank)
            return left_rank < right_rank;
        if (strcmp(left_step, right_step) != 0)
            return first_with(patterns, patterns[a].text, depth) <
                   first_with(patterns, patterns[b].text, depth);
    }
    return a < b;
}

/* 1 and the captures when the pattern matches, 0 when not, -1 when PCRE2 gave up. */
static int reference(const struct pattern *pattern, const char *path, size_t len,
                     pcre2_match_data *captures)
{
    int rc = pcre2_match(pattern->regex, (PCRE2_SPTR) path, len, 0, 0, captures, NULL);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    return rc > 0 ? 1 : -1;
}

static void compare(const struct peri_router *router, const struct pattern *patterns, int count,
                    const char *path, size_t len, unsigned method, pcre2_match_data *captures)
{
    int best = -1;
    uint64_t methods = 0;
    for (int i = 0; i < count; i++) {
        int matches = reference(&patterns[i], path, len, captures);
        if (matches < 0)
            return;
        if (matches == 0)
            continue;
        methods |= PERI_METHOD_BIT(patterns[i].method);
        if (patterns[i].method == method && (best < 0 || goes_before(patterns, i, best)))
            best = i;
    }

    struct peri_match match;
    enum peri_match_result result = peri_router_match(router, path, len, method, &match);
    if (best < 0) {
        check(result == (methods != 0 ? PERI_MATCH_METHOD : PERI_MATCH_NONE), "found too much");
        check(match.methods == methods, "another union of methods");
        return;
    }
    check(result == PERI_MATCH_FOUND, "not found");
    check(match.route == peri_router_route(router, (size_t) best), "another route");

    reference(&patterns[best], path, len, captures);
    const size_t *ends = pcre2_get_ovector_pointer(captures);
    for (unsigned i = 0; i < match.param_count; i++) {
        const size_t *span = ends + 2 * (i + 1);
        check(match.params[i].value == path + span[0], "a value begins elsewhere");
        check(match.params[i].len == span[1] - span[0], "a value ends elsewhere");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pattern patterns[MAX_PATTERNS + 1]; /* the last one is never kept */
    struct peri_router *router = peri_router_new();
    pcre2_match_data *captures = pcre2_match_data_create(PERI_ROUTER_MAX_PARAMS + 1, NULL);
    int count = 0;

    const char *at = (const char *) data;
    const char *end = at + size;
    for (const char *newline; (newline = memchr(at, '\n', (size_t) (end - at))) != NULL;
         at = newline + 1) {
        struct pattern *pattern = &patterns[count];
        pattern->method = 0;
        if (at < newline && *at != '/')
            pattern->method = (uint8_t) *at++ % METHODS;
        size_t len = (size_t) (newline - at);
        if (count == MAX_PATTERNS || len >= sizeof(pattern->text))
            continue;
        memcpy(pattern->text, at, len);
        pattern->text[len] = '\0';

        char error[128] = "";
        if (peri_router_add(router, PERI_METHOD_BIT(pattern->method), pattern->text, NULL, error,
                            sizeof(error)) < 0) {
            check(error[0] != '\0', "an error without words");
            continue;
        }
        pattern->regex = compile(pattern->text);
        count++;
    }

    size_t len = (size_t) (end - at);
    if (len <= MAX_PATH) {
        char *path = malloc(len + 1); /* so that reading behind it is seen */
        check(path != NULL, "out of memory");
        memcpy(path + 1, at, len);
        for (unsigned method = 0; method < METHODS; method++)
            compare(router, patterns, count, path + 1, len, method, captures);
        free(path);
    }
    for (int i = 0; i < count; i++) {
        uint64_t methods = 0;
        const struct peri_route *shadow = peri_router_shadow(router, (size_t) i, &methods);
        check((shadow == NULL) == (methods == 0), "a shadow without methods");
        check(shadow == NULL || (shadow->methods & methods) == methods, "not the shadow's methods");
        pcre2_code_free(patterns[i].regex);
    }
    pcre2_match_data_free(captures);
    peri_router_free(router);
    return 0;
}
