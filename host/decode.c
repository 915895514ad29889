#include "decode.h"

#include "answer.h"
#include "exchange.h"
#include "vm.h"

#include <lauxlib.h>
#include <string.h>
#include <strings.h>

/* The media type of the request, without parameters. */
static const char *media_type(const struct peri_request *request, size_t *len)
{
    static const char name[] = "content-type";
    int at = peri_request_find(request, 0, name, sizeof(name) - 1);
    if (at < 0)
        return NULL;
    const char *text = peri_request_at(request, request->headers[at].value);
    size_t end = 0;
    while (end < request->headers[at].value.len && text[end] != ';' && text[end] != ' ' &&
           text[end] != '\t')
        end++;
    *len = end;
    return text;
}

/* Whether a type stands in a list, parted by blanks. */
static bool has_type(const char *list, const char *type, size_t len)
{
    while (*list != '\0') {
        size_t each = strcspn(list, " ");
        if (each == len && strncasecmp(list, type, len) == 0)
            return true;
        list += each + (list[each] == ' ');
    }
    return false;
}

bool peri_decode_is_due(const struct peri_exchange *exchange)
{
    const struct peri_operation *operation = exchange->operation;
    size_t len = 0;
    if (operation == NULL || operation->decoder == LUA_NOREF || exchange->body_len == 0 ||
        !(operation->uses & PERI_USES_BODY))
        return false;
    const char *type = media_type(&exchange->request, &len);
    return type != NULL && len > 0 && has_type(operation->decodes, type, len);
}

static void keep_text(struct peri_exchange *exchange, const char *text, size_t len)
{
    struct peri_buf *decoded = &exchange->scratch->decoded;
    decoded->len = 0;
    peri_buf_add(decoded, text, len);
    exchange->decoded = true;
}

static int on_decoded(lua_State *L, int status, lua_KContext context)
{
    struct peri_exchange *exchange = (struct peri_exchange *) context;
    size_t len = 0;
    if (status != LUA_OK && status != LUA_YIELD) {
        if (peri_is_cancelled(L, -1)) { /* whoever cancelled has answered, or nobody is there */
            peri_answer_fail(exchange);
            return 0;
        }
        peri_push_message(L, lua_gettop(L));
        peri_exchange_log(exchange, "the decoder failed: %s", lua_tostring(L, -1));
        lua_pushnil(L);
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        peri_answer_text_detail(exchange, 400, "There was an error parsing the body");
        return 0;
    }
    const char *text = lua_tolstring(L, -1, &len);
    keep_text(exchange, text, len);
    return peri_exchange_validate(exchange) ? peri_exchange_handle(L, exchange) : 0;
}

int peri_decode_handle(lua_State *L, struct peri_exchange *exchange)
{
    size_t len = 0;
    const char *type = media_type(&exchange->request, &len);
    lua_KContext context = (lua_KContext) exchange;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->operation->decoder);
    lua_pushlstring(L, type, len);
    lua_pushlstring(L, exchange->body_at, exchange->body_len);
    return on_decoded(L, lua_pcallk(L, 2, 1, 0, context, on_decoded), context);
}
