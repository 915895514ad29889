#include "app.h"

#include "log.h"
#include "metrics.h"

#include <lauxlib.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

static uint64_t method_bit(lua_State *L, const char *name)
{
#define CASE(number, symbol, text)                                                                 \
    if (strcmp(name, #text) == 0)                                                                  \
        return PERI_METHOD_BIT(number);
    HTTP_METHOD_MAP(CASE)
#undef CASE
    return (uint64_t) luaL_error(L, "'%s' is no method this server knows", name);
}

/* The text field of the table on top; NULL when it is absent. The caller frees it. */
static char *text_field(lua_State *L, const char *key)
{
    char *text = NULL;
    lua_getfield(L, -1, key);
    if (lua_type(L, -1) == LUA_TSTRING)
        text = strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
    return text;
}

static lua_Integer integer_field(lua_State *L, const char *key, lua_Integer fallback)
{
    lua_getfield(L, -1, key);
    lua_Integer value = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : fallback;
    lua_pop(L, 1);
    return value;
}

/* Takes the function at field `key` of the table on top into the registry. */
static int function_field(lua_State *L, const char *key)
{
    if (lua_getfield(L, -1, key) != LUA_TFUNCTION) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Whether the function at a registry reference has a parameter to receive the request in. */
static bool takes_argument(lua_State *L, int reference)
{
    lua_Debug info;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
    lua_getinfo(L, ">u", &info);
    return info.nparams > 0 || info.isvararg;
}

/* The fields `problem` and `validation_detail` of the table on top. */
static struct peri_error_style error_style(lua_State *L)
{
    struct peri_error_style style = {0};
    lua_getfield(L, -1, "problem");
    style.problem = lua_toboolean(L, -1);
    if (lua_getfield(L, -2, "validation_detail") == LUA_TSTRING) {
        const char *detail = lua_tostring(L, -1);
        if (strcmp(detail, "codes") == 0)
            style.validation = PERI_DETAIL_CODES;
        else if (strcmp(detail, "none") == 0)
            style.validation = PERI_DETAIL_NONE;
    }
    lua_pop(L, 2);
    return style;
}

/* The limits as those want them who hold to them. */
static void derive_limits(struct peri_app *app)
{
    app->form_limits = peri_form_usual_limits;
    app->form_limits.max_files = (unsigned) app->limits.max_form_files;
    app->form_limits.max_fields = (unsigned) app->limits.max_form_fields;
    app->form_limits.max_field_bytes = (size_t) app->limits.max_form_field_bytes;
    if (app->form_limits.max_text_bytes < app->form_limits.max_field_bytes)
        app->form_limits.max_text_bytes = app->form_limits.max_field_bytes;
    app->http_limits = (struct peri_http_limits){
        .max_head_bytes = (uint32_t) app->limits.max_head_bytes,
        .max_headers = (uint32_t) app->limits.max_headers,
        .max_target_bytes = (uint32_t) app->limits.max_target_bytes,
        .max_chunk_ext_bytes = (uint32_t) app->limits.max_chunk_ext_bytes,
    };
}

/* Names and values have been looked at by perigee.app() (app.lua). */
static void read_limits(lua_State *L, struct peri_app *app, const struct peri_config *config)
{
    app->limits = config->limits;
    if (lua_getfield(L, -1, "limits") == LUA_TTABLE) {
        for (size_t i = 0; i < peri_limit_option_count; i++) {
            const struct peri_limit_option *option = &peri_limit_options[i];
            if (lua_getfield(L, -1, option->name) != LUA_TNIL) {
                lua_Integer value = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
                if (value < 0 || (uint64_t) value < option->min || (uint64_t) value > option->max)
                    luaL_error(L, "limits.%s is out of its range", option->name);
                if (!(config->limits_given & (1U << i)))
                    *peri_limit(&app->limits, i) = (uint64_t) value;
            }
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    derive_limits(app);
}

static uint8_t read_on_disconnect(lua_State *L)
{
    static const char *const words[] = {"usual", "cancel", "finish", NULL};
    lua_getfield(L, -1, "on_disconnect");
    int word = luaL_checkoption(L, lua_gettop(L), "usual", words);
    lua_pop(L, 1);
    return (uint8_t) word;
}

/* The deadline of the operation on top of the stack; false is none. */
static uint64_t read_timeout(lua_State *L, const struct peri_app *app)
{
    lua_getfield(L, -1, "timeout_ms");
    bool none = lua_isboolean(L, -1);
    lua_pop(L, 1);
    return none ? 0
                : (uint64_t) integer_field(L, "timeout_ms", (lua_Integer) app->limits.timeout_ms);
}

/* The router of the operations for a host, which is made when it is first asked for. */
static struct peri_router *router_for(lua_State *L, struct peri_app *app, const char *host)
{
    if (host == NULL)
        return app->router;
    for (size_t i = 0; i < app->realm_count; i++) {
        if (strcmp(app->realms[i].host, host) == 0)
            return app->realms[i].router;
    }
    struct peri_realm *realms = realloc(app->realms, (app->realm_count + 1) * sizeof(*app->realms));
    if (realms == NULL)
        luaL_error(L, "out of memory");
    app->realms = realms;
    struct peri_realm *realm = &realms[app->realm_count++];
    *realm = (struct peri_realm){.host = strdup(host), .router = peri_router_new()};
    if (realm->host == NULL || realm->router == NULL)
        luaL_error(L, "out of memory");
    realm->suffix = realm->host;
    const char *end = host[0] == '{' ? strchr(realm->host, '}') : NULL;
    if (end != NULL) {
        realm->param = strndup(realm->host + 1, (size_t) (end - realm->host - 1));
        realm->suffix = end + 1;
    }
    return realm->router;
}

const struct peri_realm *peri_app_realm(const struct peri_app *app, const char *host,
                                        size_t host_len, size_t *param_len)
{
    for (size_t at = host_len; at-- > 0 && host[at] != ']';) { /* without its port */
        if (host[at] == ':')
            host_len = at;
    }
    for (size_t i = 0; i < app->realm_count; i++) {
        const struct peri_realm *realm = &app->realms[i];
        size_t suffix_len = strlen(realm->suffix);
        if (host_len < suffix_len ||
            strncasecmp(host + host_len - suffix_len, realm->suffix, suffix_len) != 0)
            continue;
        *param_len = host_len - suffix_len;
        bool label = *param_len > 0 && memchr(host, '.', *param_len) == NULL;
        if (realm->param != NULL ? label : *param_len == 0)
            return realm;
    }
    return NULL;
}

/* Reads the operation on top of the stack. */
static void read_operation(lua_State *L, struct peri_app *app, struct peri_operation *operation)
{
    operation->path = text_field(L, "path");
    operation->source = text_field(L, "source");
    if (app->measured)
        operation->metrics = peri_metrics_route(operation->path);
    operation->status = (uint16_t) integer_field(L, "status", 200);
    operation->errors = error_style(L);
    operation->max_body_bytes =
        (uint64_t) integer_field(L, "max_body_bytes", (lua_Integer) app->limits.max_body_bytes);
    operation->label = text_field(L, "label");
    operation->on_disconnect = read_on_disconnect(L);
    operation->work->name = operation->label != NULL ? operation->label : operation->path;
    operation->work->source = operation->source;
    operation->work->timeout_ms = read_timeout(L, app);
    operation->handler = function_field(L, "handler");
    if (operation->path == NULL || operation->handler == LUA_NOREF)
        luaL_error(L, "an operation needs a path and a handler function");
    operation->hop = function_field(L, "hop");
    operation->decodes = text_field(L, "decodes");
    operation->decoder = function_field(L, "decoder");
    lua_getfield(L, -1, "threaded");
    operation->threaded = lua_toboolean(L, -1);
    lua_pop(L, 1);
    operation->takes_request = takes_argument(L, operation->handler);
    lua_getfield(L, -1, "sees_invalid");
    operation->sees_invalid = lua_toboolean(L, -1);
    lua_getfield(L, -2, "inputs");
    operation->inputs = peri_schema_inputs(L, -1);
    operation->uses = operation->inputs != NULL ? peri_inputs_uses(operation->inputs) : 0;
    operation->inputs_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -2, "response");
    operation->response_ref = LUA_NOREF;
    if (peri_schema_program(L, -1) != NULL)
        operation->response_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    lua_pop(L, 1);

    uint64_t methods = 0;
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_getfield(L, -1, "methods");
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_Unsigned count = lua_rawlen(L, -1);
    for (lua_Unsigned i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (lua_Integer) i);
        methods |= method_bit(L, luaL_checkstring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);

    lua_getfield(L, -1, "host");
    struct peri_router *router = router_for(L, app, lua_tostring(L, -1));
    lua_pop(L, 1);
    char error[200];
    if (peri_router_add(router, methods, operation->path, operation, error, sizeof(error)) != 0)
        luaL_error(L, "%s%s%s", operation->source != NULL ? operation->source : "",
                   operation->source != NULL ? ": " : "", error);
}

/* Raises for want of memory only: the list is the framework's. */
static void read_threaded(lua_State *L, struct peri_app *app)
{
    if (lua_getfield(L, -1, "threaded") == LUA_TTABLE) {
        lua_Unsigned count = lua_rawlen(L, -1);
        app->threaded = calloc(count > 0 ? count : 1, sizeof(*app->threaded));
        for (lua_Unsigned i = 1; i <= count && app->threaded != NULL; i++) {
            lua_rawgeti(L, -1, (lua_Integer) i);
            app->threaded[app->threaded_count++] = strdup(luaL_checkstring(L, -1));
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

void peri_app_read(lua_State *L, struct peri_app *app, const struct peri_config *config)
{
    luaL_checktype(L, -1, LUA_TTABLE);
    app->fallback = app->start = app->stop = app->background = LUA_NOREF;
    app->router = peri_router_new();
    read_limits(L, app, config);
    app->refusal_work =
        (struct peri_work){.name = "middleware",
                           .timeout_ms = (uint64_t) integer_field(
                               L, "timeout_ms", (lua_Integer) app->limits.timeout_ms)};
    app->after_work = (struct peri_work){.name = "a function behind an answer",
                                         .timeout_ms = app->limits.after_timeout_ms};
    app->title = text_field(L, "title");
    app->docs = text_field(L, "docs");
    app->errors = error_style(L);
    app->fallback = function_field(L, "fallback");
    app->start = function_field(L, "start");
    app->stop = function_field(L, "stop");
    app->background = function_field(L, "background");
    read_threaded(L, app);
    lua_getfield(L, -1, "cleans_threaded");
    app->cleans_threaded = lua_toboolean(L, -1);
    lua_pop(L, 1);

    lua_getfield(L, -1, "request_id");
    app->request_id = lua_toboolean(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "measured");
    app->measured = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (app->measured) {
        peri_metrics_enable();
        app->unmatched = peri_metrics_route(NULL);
    }

    lua_getfield(L, -1, "operations");
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_Unsigned count = lua_rawlen(L, -1);
    app->operations = calloc(count > 0 ? count : 1, sizeof(*app->operations));
    app->works = calloc(count > 0 ? count : 1, sizeof(*app->works));
    if (app->operations == NULL || app->works == NULL || app->router == NULL)
        luaL_error(L, "out of memory");
    for (lua_Unsigned i = 1; i <= count; i++) {
        app->operation_count = i;
        app->operations[i - 1].work = &app->works[i - 1];
        lua_rawgeti(L, -1, (lua_Integer) i);
        read_operation(L, app, &app->operations[i - 1]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

int peri_app_empty(struct peri_app *app, const struct peri_config *config)
{
    app->fallback = app->start = app->stop = app->background = LUA_NOREF;
    app->router = peri_router_new();
    app->limits = config->limits;
    derive_limits(app);
    return app->router != NULL ? 0 : UV_ENOMEM;
}

static void each_shadowed(const struct peri_router *router,
                          void (*say)(void *context, const char *text), void *context)
{
    const struct peri_route *route = NULL;
    for (size_t i = 0; (route = peri_router_route(router, i)) != NULL; i++) {
        uint64_t methods = 0;
        const struct peri_route *first = peri_router_shadow(router, i, &methods);
        if (first == NULL)
            continue;
        const struct peri_operation *hidden = route->operation;
        const struct peri_operation *taker = first->operation;
        struct peri_buf text = {0};
        peri_buf_addf(&text, "%s: ", hidden->source != NULL ? hidden->source : "?");
        const char *separator = "";
        for (unsigned method = 0; method < 64; method++) {
            if (!(methods & PERI_METHOD_BIT(method)))
                continue;
            peri_buf_addf(&text, "%s%s", separator, llhttp_method_name((llhttp_method_t) method));
            separator = ", ";
        }
        peri_buf_addf(&text, " %s is never reached: %s at %s takes its requests", hidden->path,
                      taker->path, taker->source != NULL ? taker->source : "?");
        peri_buf_add_byte(&text, '\0');
        say(context, text.data);
        peri_buf_deinit(&text);
    }
}

static void warn(void *context, const char *text)
{
    (void) context;
    peri_log_warn("%s", text);
}

static const char *name_of(const struct peri_operation *operation)
{
    const char *name = operation->label != NULL ? operation->label : operation->path;
    return name != NULL ? name : "";
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(name_of(*(const struct peri_operation *const *) a),
                  name_of(*(const struct peri_operation *const *) b));
}

/* The operations by name; NULL: out of memory, or there are none. */
static const struct peri_operation **sorted(const struct peri_app *app)
{
    const struct peri_operation **list = calloc(app->operation_count, sizeof(*list));
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < app->operation_count; i++)
        list[i] = &app->operations[i];
    qsort(list, app->operation_count, sizeof(*list), compare_names);
    return list;
}

/* The first one that only one list has; NULL: there is none. */
static const struct peri_operation *find_odd(const struct peri_operation **a, size_t a_count,
                                             const struct peri_operation **b, size_t b_count)
{
    for (size_t i = 0; i < a_count || i < b_count; i++) {
        if (i == a_count)
            return b[i];
        if (i == b_count)
            return a[i];
        int order = compare_names(&a[i], &b[i]);
        if (order != 0)
            return order < 0 ? a[i] : b[i];
    }
    return NULL;
}

bool peri_app_agrees(const struct peri_app *first, const struct peri_app *other,
                     struct peri_buf *error)
{
    const struct peri_operation **a = sorted(first);
    const struct peri_operation **b = sorted(other);
    const struct peri_operation *odd = find_odd(a, a != NULL ? first->operation_count : 0, b,
                                                b != NULL ? other->operation_count : 0);
    if (odd != NULL)
        peri_buf_addf(error,
                      "the app does not load the same way in every thread: only some have %s (%s); "
                      "what it declares must not depend on chance, on time, or on files that come "
                      "and go while it loads",
                      name_of(odd), odd->source != NULL ? odd->source : "?");
    free(a);
    free(b);
    return odd == NULL;
}

void peri_app_warn(const struct peri_app *app)
{
    peri_app_each_shadowed(app, warn, NULL);
}

/* 0 is what a reference is before it was read. */
static void unref(lua_State *L, int reference)
{
    if (reference > 0)
        luaL_unref(L, LUA_REGISTRYINDEX, reference);
}

void peri_app_release(lua_State *L, struct peri_app *app)
{
    for (size_t i = 0; i < app->operation_count; i++) {
        unref(L, app->operations[i].handler);
        unref(L, app->operations[i].inputs_ref);
        unref(L, app->operations[i].decoder);
        unref(L, app->operations[i].response_ref);
    }
    unref(L, app->fallback);
    unref(L, app->start);
    unref(L, app->stop);
    peri_app_deinit(app);
}

void peri_app_each_shadowed(const struct peri_app *app,
                            void (*say)(void *context, const char *text), void *context)
{
    each_shadowed(app->router, say, context);
    for (size_t i = 0; i < app->realm_count; i++)
        each_shadowed(app->realms[i].router, say, context);
}

void peri_app_deinit(struct peri_app *app)
{
    for (size_t i = 0; i < app->realm_count; i++) {
        free(app->realms[i].host);
        free(app->realms[i].param);
        peri_router_free(app->realms[i].router);
    }
    free(app->realms);
    for (size_t i = 0; i < app->operation_count; i++) {
        free(app->operations[i].path);
        free(app->operations[i].label);
        free(app->operations[i].decodes);
        free(app->operations[i].source);
    }
    for (size_t i = 0; i < app->threaded_count; i++)
        free(app->threaded[i]);
    free(app->threaded);
    free(app->operations);
    free(app->works);
    free(app->title);
    free(app->docs);
    peri_router_free(app->router);
    *app = (struct peri_app){0};
}
