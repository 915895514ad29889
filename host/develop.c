#include "develop.h"

#include "answer.h"
#include "embed.h"
#include "exchange.h"
#include "generation.h"
#include "json.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#define PREFIX "/__perigee/"
#define WAIT_MS 25000 /* a client that has gone without a word is noticed when it is answered */
#define JSON_TYPE "application/json"
#define HTML_TYPE "text/html; charset=utf-8"
#define TEXT_TYPE "text/plain; charset=utf-8"
#define SCRIPT_TYPE "text/javascript; charset=utf-8"
#define NO_STORE "cache-control: no-store\r\n"

struct peri_develop {
    pthread_mutex_t mutex;
    uint32_t process;      /* tells this one from the one before on the same port */
    atomic_ullong number;  /* of the last load that has ended */
    struct peri_buf error; /* of that load; empty when the app has loaded */
};

/* --- the state ---------------------------------------------------------------------------------
 */

struct peri_develop *peri_develop_new(void)
{
    struct peri_develop *develop = calloc(1, sizeof(*develop));
    if (develop == NULL)
        return NULL;
    pthread_mutex_init(&develop->mutex, NULL);
    if (getrandom(&develop->process, sizeof(develop->process), 0) != sizeof(develop->process))
        develop->process = (uint32_t) uv_hrtime();
    return develop;
}

void peri_develop_free(struct peri_develop *develop)
{
    if (develop == NULL)
        return;
    pthread_mutex_destroy(&develop->mutex);
    peri_buf_deinit(&develop->error);
    free(develop);
}

void peri_develop_tell(struct peri_develop *develop, struct peri_server *server, uint64_t number,
                       const char *error)
{
    pthread_mutex_lock(&develop->mutex);
    develop->error.len = 0;
    if (error != NULL)
        peri_buf_add_str(&develop->error, error);
    atomic_store(&develop->number, number);
    pthread_mutex_unlock(&develop->mutex);
    for (unsigned i = 0; i < server->loop_count; i++)
        peri_loop_post_change(&server->loops[i]);
}

static void add_state(struct peri_buf *text, const struct peri_develop *develop, uint64_t number)
{
    peri_buf_addf(text, "%08x-%llu", develop->process, (unsigned long long) number);
}

/* --- requests ----------------------------------------------------------------------------------
 */

bool peri_develop_takes(const struct peri_exchange *exchange)
{
    const struct peri_request *request = &exchange->request;
    const size_t len = sizeof(PREFIX) - 1;
    return exchange->vm->life.generation->number == 0 ||
           (request->path.len >= len &&
            memcmp(peri_request_at(request, request->path), PREFIX, len) == 0);
}

static void send_text(struct peri_exchange *exchange, unsigned status, const char *type,
                      const char *body, size_t len)
{
    peri_answer_send(NULL, exchange,
                     &(struct peri_answer){.status = status,
                                           .type = type,
                                           .type_len = strlen(type),
                                           .lines = NO_STORE,
                                           .body = body,
                                           .body_len = len});
}

static void send_state(struct peri_exchange *exchange)
{
    struct peri_develop *develop = exchange->loop->server->develop;
    struct peri_buf body = {0};
    pthread_mutex_lock(&develop->mutex);
    peri_buf_add_lit(&body, "{\"state\":\"");
    add_state(&body, develop, atomic_load(&develop->number));
    peri_buf_add_lit(&body, "\",\"error\":");
    if (develop->error.len == 0)
        peri_buf_add_lit(&body, "null");
    else
        peri_json_add_string(&body, develop->error.data,
                             peri_utf8_valid(develop->error.data, develop->error.len));
    peri_buf_add_byte(&body, '}');
    pthread_mutex_unlock(&develop->mutex);
    send_text(exchange, 200, JSON_TYPE, body.data, body.len);
    peri_buf_deinit(&body);
}

/* Whether the client knows the present state: ?state=5f0c-12. */
static bool is_up_to_date(const struct peri_exchange *exchange)
{
    const struct peri_request *request = &exchange->request;
    struct peri_develop *develop = exchange->loop->server->develop;
    struct peri_buf known = {0};
    peri_buf_add_lit(&known, "state=");
    add_state(&known, develop, atomic_load(&develop->number));
    bool same = request->query.len == known.len &&
                memcmp(peri_request_at(request, request->query), known.data, known.len) == 0;
    peri_buf_deinit(&known);
    return same;
}

/* The value of a header; empty when it is absent. */
static const char *value_of(const struct peri_request *request, const char *name, size_t *len)
{
    int at = peri_request_find(request, 0, name, strlen(name));
    *len = at >= 0 ? request->headers[at].value.len : 0;
    return at >= 0 ? peri_request_at(request, request->headers[at].value) : "";
}

static bool has_value(const struct peri_request *request, const char *name, const char *value)
{
    size_t len = 0;
    const char *found = value_of(request, name, &len);
    return len == strlen(value) && memcmp(found, value, len) == 0;
}

static bool is_text(const char *text, size_t len, const char *wanted)
{
    return len == strlen(wanted) && strncasecmp(text, wanted, len) == 0;
}

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len > end_len && strncasecmp(text + len - end_len, end, end_len) == 0;
}

/* Whether a host, without its port, is one that no stranger can have led here: an address, a name
 * that is nobody's (RFC 6761), or one that this machine, or who started the server, gives it. */
static bool is_own_host(const struct peri_config *config, const char *host, size_t len)
{
    char text[256];
    unsigned char address[16];
    if (len >= sizeof(text))
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    if (text[0] == '[' || inet_pton(AF_INET, text, address) == 1)
        return true;
    if (is_text(host, len, "localhost") || ends_with(host, len, ".localhost") ||
        ends_with(host, len, ".test") || is_text(host, len, config->host))
        return true;
    for (unsigned i = 0; i < config->endpoint_count; i++) {
        if (is_text(host, len, config->endpoints[i].text))
            return true;
    }
    char own[256] = "";
    gethostname(own, sizeof(own) - 1);
    if (ends_with(host, len, ".local"))
        len -= sizeof(".local") - 1;
    return is_text(host, len, own);
}

/* Whether the client knows the server by a name of somebody else's. */
static bool is_misled(const struct peri_exchange *exchange)
{
    size_t len = 0;
    const char *host = value_of(&exchange->request, "host", &len);
    const char *port = len > 0 ? memrchr(host, ':', len) : NULL;
    if (port != NULL && memchr(port, ']', len - (size_t) (port - host)) == NULL)
        len = (size_t) (port - host);
    return len > 0 && !is_own_host(exchange->loop->config, host, len);
}

/* Browsers say where a request comes from. The error quotes the app's source: it is for its own
 * pages. */
static bool is_foreign(const struct peri_request *request)
{
    size_t len = 0;
    value_of(request, "sec-fetch-site", &len);
    return len > 0 && !has_value(request, "sec-fetch-site", "same-origin") &&
           !has_value(request, "sec-fetch-site", "none");
}

static void on_waited(struct peri_timer *timer)
{
    peri_develop_wake(peri_container_of(timer, struct peri_loop, develop_timer), true);
}

static void send_news(struct peri_exchange *exchange)
{
    struct peri_loop *loop = exchange->loop;
    if (is_foreign(&exchange->request)) {
        peri_answer_detail(exchange, 403, NULL);
    } else if (!is_up_to_date(exchange) || loop->stopping || !exchange->complete) {
        send_state(exchange);
    } else {
        peri_list_append(&loop->listeners_to_news, &exchange->link);
        loop->develop_timer.fire = on_waited;
        if (!peri_timer_runs(&loop->develop_timer))
            peri_timer_start(&loop->timers, &loop->develop_timer, uv_now(&loop->uv) + WAIT_MS);
    }
}

static void send_script(struct peri_exchange *exchange)
{
    for (size_t i = 0; i < peri_pages_count; i++) {
        if (strcmp(peri_pages[i].name, "reload.js") == 0)
            send_text(exchange, 200, SCRIPT_TYPE, (const char *) peri_pages[i].bytes,
                      peri_pages[i].len);
    }
}

static bool wants_html(const struct peri_request *request)
{
    size_t len = 0;
    const char *accepted = value_of(request, "accept", &len);
    return memmem(accepted, len, "text/html", 9) != NULL;
}

static void add_escaped(struct peri_buf *html, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '<')
            peri_buf_add_lit(html, "&lt;");
        else if (text[i] == '&')
            peri_buf_add_lit(html, "&amp;");
        else
            peri_buf_add_byte(html, text[i]);
    }
}

static void add_page(struct peri_buf *html, const char *title, const char *text, size_t len)
{
    peri_buf_addf(html,
                  "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\">"
                  "<title>%s</title></head>\n<body>\n<pre>",
                  title);
    add_escaped(html, text, len);
    peri_buf_add_lit(html, "</pre>\n</body>\n</html>\n");
}

static bool is_html(const struct peri_answer *answer)
{
    return answer->type_len >= 9 && strncasecmp(answer->type, "text/html", 9) == 0;
}

/* There is no app yet: a page that becomes the app's once it loads, or the plain text. */
static void send_error(struct peri_exchange *exchange)
{
    struct peri_develop *develop = exchange->loop->server->develop;
    struct peri_buf body = {0};
    bool html = wants_html(&exchange->request);
    pthread_mutex_lock(&develop->mutex);
    if (html) {
        add_page(&body, "The app does not load", develop->error.data, develop->error.len);
    } else {
        peri_buf_add(&body, develop->error.data, develop->error.len);
        peri_buf_add_byte(&body, '\n');
    }
    pthread_mutex_unlock(&develop->mutex);
    send_text(exchange, 500, html ? HTML_TYPE : TEXT_TYPE, body.data, body.len);
    peri_buf_deinit(&body);
}

void peri_develop_run(struct peri_exchange *exchange)
{
    const struct peri_request *request = &exchange->request;
    const char *path = peri_request_at(request, request->path);
    size_t len = request->path.len;
    bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
    if (is_misled(exchange))
        peri_answer_detail(exchange, 403, NULL);
    else if (reads && len == sizeof(PREFIX "reload") - 1 && memcmp(path, PREFIX "reload", len) == 0)
        send_news(exchange);
    else if (reads && len == sizeof(PREFIX "reload.js") - 1 &&
             memcmp(path, PREFIX "reload.js", len) == 0)
        send_script(exchange);
    else if (exchange->vm->life.generation->number == 0)
        send_error(exchange);
    else
        peri_answer_detail(exchange, 404, NULL);
}

void peri_develop_wake(struct peri_loop *loop, bool all)
{
    struct peri_list *next = NULL;
    struct peri_list *head = &loop->listeners_to_news;
    for (struct peri_list *at = head->next; at != head; at = next) {
        struct peri_exchange *exchange = peri_container_of(at, struct peri_exchange, link);
        next = at->next;
        if (!all && is_up_to_date(exchange))
            continue;
        struct peri_conn *conn = exchange->conn;
        peri_list_remove(&exchange->link);
        send_state(exchange);
        if (conn->exchange == exchange) /* otherwise the client has gone, and this with it */
            peri_exchange_finish(exchange);
    }
    if (peri_list_empty(head))
        peri_timer_stop(&loop->timers, &loop->develop_timer);
}

/* --- pages -------------------------------------------------------------------------------------
 */

static const char *find_last(const char *text, size_t len, const char *word)
{
    size_t word_len = strlen(word);
    for (size_t at = len; at >= word_len; at--) {
        if (strncasecmp(text + at - word_len, word, word_len) == 0)
            return text + at - word_len;
    }
    return NULL;
}

/* Where the script goes; NULL when this is a piece of a page and none of its own. */
static const char *place_of_script(const char *html, size_t len)
{
    const char *place = find_last(html, len, "</body");
    if (place != NULL)
        return place;
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", html[at]) != NULL)
        at++;
    if (len - at >= 14 && strncasecmp(html + at, "<!doctype html", 14) == 0)
        return html + len;
    if (len - at >= 5 && strncasecmp(html + at, "<html", 5) == 0)
        return html + len;
    return NULL;
}

/* The nonce that a Content-Security-Policy asks of scripts: 'nonce-...'. */
static void add_nonce(struct peri_buf *page, const char *policy, size_t len)
{
    const char *nonce = memmem(policy, len, "'nonce-", 7);
    if (nonce == NULL)
        return;
    nonce += 7;
    const char *end = memchr(nonce, '\'', len - (size_t) (nonce - policy));
    if (end == NULL || memchr(nonce, '"', (size_t) (end - nonce)) != NULL)
        return;
    peri_buf_add_lit(page, " nonce=\"");
    peri_buf_add(page, nonce, (size_t) (end - nonce));
    peri_buf_add_byte(page, '"');
}

/* What the headers of an answer say of its body, wherever they stand. */
struct page_headers {
    bool encoded; /* no text, but bytes */
    const char *policy;
    size_t policy_len;
};

static bool is_name(const char *name, size_t len, const char *wanted)
{
    return len == strlen(wanted) && strncasecmp(name, wanted, len) == 0;
}

static void take_header(struct page_headers *headers, const char *name, size_t name_len,
                        const char *value, size_t value_len)
{
    if (is_name(name, name_len, "content-encoding"))
        headers->encoded = true;
    if (!is_name(name, name_len, "content-security-policy"))
        return;
    headers->policy = value;
    headers->policy_len = value_len;
}

/* The pairs at an index of the stack. Their strings live as long as they stand there. */
static void take_pairs(lua_State *L, int index, struct page_headers *headers)
{
    int top = lua_gettop(L);
    lua_Unsigned count = lua_rawlen(L, index);
    for (lua_Unsigned i = 1; i <= count; i++) {
        if (lua_rawgeti(L, index, (lua_Integer) i) == LUA_TTABLE &&
            lua_rawgeti(L, -1, 1) == LUA_TSTRING && lua_rawgeti(L, -2, 2) == LUA_TSTRING) {
            size_t name_len = 0;
            size_t value_len = 0;
            const char *name = lua_tolstring(L, -2, &name_len);
            const char *value = lua_tolstring(L, -1, &value_len);
            take_header(headers, name, name_len, value, value_len);
        }
        lua_settop(L, top);
    }
}

/* The lines that C has made, or that came from a worker thread. */
static void take_lines(const char *lines, struct page_headers *headers)
{
    const char *end = NULL;
    for (; (end = strstr(lines, "\r\n")) != NULL; lines = end + 2) {
        const char *colon = memchr(lines, ':', (size_t) (end - lines));
        if (colon != NULL)
            take_header(headers, lines, (size_t) (colon - lines), colon + 1,
                        (size_t) (end - colon - 1));
    }
}

/* Fills `page` with a whole page of HTML and the script in it; leaves it alone for other answers.
 */
static void add_script(lua_State *L, const struct peri_exchange *exchange,
                       const struct peri_answer *answer, struct peri_buf *page)
{
    const char *place = place_of_script(answer->body, answer->body_len);
    if (place == NULL)
        return;
    struct page_headers headers = {0};
    if (answer->headers != 0)
        take_pairs(L, answer->headers, &headers);
    if (answer->lines != NULL)
        take_lines(answer->lines, &headers);
    if (headers.encoded)
        return;
    peri_buf_add(page, answer->body, (size_t) (place - answer->body));
    peri_buf_add_lit(page, "<script src=\"" PREFIX "reload.js\" data-state=\"");
    add_state(page, exchange->loop->server->develop, exchange->vm->life.generation->number);
    peri_buf_add_byte(page, '"');
    if (headers.policy != NULL)
        add_nonce(page, headers.policy, headers.policy_len);
    peri_buf_add_lit(page, "></script>");
    peri_buf_add(page, place, answer->body_len - (size_t) (place - answer->body));
}

/* Whether a browser opens this as a page of its own. */
static bool is_navigation(const struct peri_request *request)
{
    return has_value(request, "sec-fetch-dest", "document") && wants_html(request);
}

void peri_develop_dress(struct lua_State *L, const struct peri_exchange *exchange,
                        struct peri_answer *answer, struct peri_buf *page)
{
    struct peri_buf html = {0};
    if (answer->body == NULL)
        return;
    if (answer->status >= 500 && answer->headers == 0 && answer->type_len > 0 && !is_html(answer) &&
        is_navigation(&exchange->request)) {
        add_page(&html, "The request failed", answer->body, answer->body_len);
        answer->body = html.data;
        answer->body_len = html.len;
        answer->type = HTML_TYPE;
        answer->type_len = sizeof(HTML_TYPE) - 1;
    }
    if (is_html(answer))
        add_script(L, exchange, answer, page);
    if (page->len > 0) {
        answer->body = page->data;
        answer->body_len = page->len;
    }
    if (html.len > 0 && page->len == 0) /* it stays a page without the script */
        *page = html;
    else
        peri_buf_deinit(&html);
}
