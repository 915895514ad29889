/* Texts and what is written as one: each kind follows its counterpart in Pydantic's core. */
#include "schema_site.h"
#include "schema_string.h"

#include <string.h>

static bool check_length(const struct peri_site *site, struct peri_text text, bool ascii)
{
    const struct peri_type *type = site->type;
    if (!type->string.has_min && !type->string.has_max)
        return true;
    size_t points = ascii ? text.len : peri_utf8_count(text.data, text.len);
    if (type->string.has_min && points < type->string.min)
        return peri_refuse_integer(site, PERI_ERROR_STRING_SHORT, "min_length", type->string.min);
    if (type->string.has_max && points > type->string.max)
        return peri_refuse_integer(site, PERI_ERROR_STRING_LONG, "max_length", type->string.max);
    return true;
}

/* Pydantic takes the length of a text before. */
static struct peri_text change_case(const struct peri_site *site, struct peri_text text)
{
    if (!(site->node->ascii & PERI_NODE_ASCII)) {
        struct peri_buf out = {0};
        peri_text_change_case(&out, text, site->type->string.upper);
        char *copy = peri_arena_take(&site->run->result->arena, out.len + 1);
        memcpy(copy, out.data, out.len);
        text = (struct peri_text){copy, (uint32_t) out.len};
        peri_buf_deinit(&out);
        return text;
    }
    char *copy = peri_arena_take(&site->run->result->arena, text.len + 1);
    char first = site->type->string.lower ? 'A' : 'a';
    for (uint32_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        copy[i] = byte >= first && byte < first + 26 ? (char) (byte ^ 0x20) : byte;
    }
    return (struct peri_text){copy, text.len};
}

bool peri_validate_string(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    if (site->node->type != PERI_JSON_STRING) {
        if (site->node->type != PERI_TAPE_BYTES || type->strict)
            return peri_refuse(site, PERI_ERROR_STRING_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        if (peri_utf8_valid(site->node->string, site->node->count) != site->node->count)
            return peri_refuse(site, PERI_ERROR_STRING_UNICODE);
    }
    struct peri_text text = peri_text_of(site->node);
    if (type->string.strip)
        text = peri_text_trim(text);
    if (!check_length(site, text, site->node->ascii & PERI_NODE_ASCII))
        return false;
    if (type->string.pattern != NULL && !peri_pattern_matches(type->string.pattern, text))
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_STRING_PATTERN,
                              "pattern", type->string.pattern_text);
    if (type->string.lower || type->string.upper)
        text = change_case(site, text);
    return peri_put_text(site, text);
}

/* Pydantic checks the length of a secret from outside, in the words of any sized value. */
bool peri_validate_secret(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    if (site->node->type != PERI_JSON_STRING) /* a text is one as it stands */
        peri_run_floor(site->run, PERI_LAX);
    if (!peri_is_text(site->node) || (type->strict && site->node->type != PERI_JSON_STRING))
        return peri_refuse(site, PERI_ERROR_STRING_TYPE);
    struct peri_text text = peri_text_of(site->node);
    int64_t points = (int64_t) peri_utf8_count(text.data, text.len);
    struct peri_context context[] = {
        {.key = "field_type", .kind = PERI_CONTEXT_TEXT, .text = {"Value", 5}},
        {.key = "min_length", .integer = type->string.min},
        {.key = "actual_length", .integer = points},
    };
    if (type->string.has_min && points < type->string.min)
        return peri_fail(site->run, site->loc, site->node, PERI_ERROR_TOO_SHORT, context, 3);
    context[1] = (struct peri_context){.key = "max_length", .integer = type->string.max};
    if (type->string.has_max && points > type->string.max)
        return peri_fail(site->run, site->loc, site->node, PERI_ERROR_TOO_LONG, context, 3);
    if (type->string.pattern != NULL && !peri_pattern_matches(type->string.pattern, text))
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_STRING_PATTERN,
                              "pattern", type->string.pattern_text);
    return peri_put_text(site, text);
}

static bool decode_bytes(const struct peri_site *site, struct peri_text *text)
{
    if (site->type->string.encoding == PERI_ENCODING_UTF8)
        return true;
    bool base64 = site->type->string.encoding == PERI_ENCODING_BASE64;
    struct peri_buf reason = {0};
    char *room = peri_arena_take(&site->run->result->arena, text->len + 1);
    uint32_t len = 0;
    bool sound = base64 ? peri_base64_read(*text, room, &len, &reason)
                        : peri_hex_read(*text, room, &len, &reason);
    if (!sound) {
        const char *encoding = base64 ? "base64" : "hex";
        struct peri_context context[] = {
            {.key = "encoding",
             .kind = PERI_CONTEXT_TEXT,
             .text = {encoding, (uint32_t) strlen(encoding)}},
            {.key = "encoding_error",
             .kind = PERI_CONTEXT_TEXT,
             .text = {reason.data, (uint32_t) reason.len}},
        };
        peri_fail(site->run, site->loc, site->node, PERI_ERROR_BYTES_ENCODING, context, 2);
    }
    peri_buf_deinit(&reason);
    *text = (struct peri_text){room, len};
    return sound;
}

bool peri_validate_bytes(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    struct peri_text text = peri_text_of(site->node);
    if (site->node->type == PERI_TAPE_FILE) {
        const struct peri_field *field = (const struct peri_field *) site->node->string;
        if (field->value == NULL)
            return peri_refuse(site, PERI_ERROR_BYTES_TYPE);
        text = (struct peri_text){field->value, (uint32_t) field->value_len};
    } else if (site->node->type == PERI_JSON_STRING) {
        if (type->strict && site->run->mode != PERI_MODE_JSON)
            return peri_refuse(site, PERI_ERROR_BYTES_TYPE);
        peri_run_floor(site->run, PERI_LAX);
        if (!decode_bytes(site, &text))
            return false;
    } else if (site->node->type != PERI_TAPE_BYTES) {
        return peri_refuse(site, PERI_ERROR_BYTES_TYPE);
    }
    if (type->string.has_min && text.len < type->string.min)
        return peri_refuse_integer(site, PERI_ERROR_BYTES_SHORT, "min_length", type->string.min);
    if (type->string.has_max && text.len > type->string.max)
        return peri_refuse_integer(site, PERI_ERROR_BYTES_LONG, "max_length", type->string.max);
    return peri_put_text(site, text);
}

bool peri_validate_uuid(const struct peri_site *site)
{
    bool python = site->run->mode != PERI_MODE_JSON;
    if (site->type->strict && python)
        return peri_refuse_instance(site, "UUID");
    if (!peri_is_text(site->node))
        return peri_refuse(site, PERI_ERROR_UUID_TYPE);
    if (python)
        peri_run_floor(site->run, PERI_LAX);
    char *out = peri_arena_take(&site->run->result->arena, 36);
    struct peri_text text = peri_text_of(site->node);
    struct peri_buf reason = {0};
    bool sound = site->node->type == PERI_TAPE_BYTES ? peri_uuid_from_bytes(text, out, &reason)
                                                     : peri_uuid_read(text, out, &reason);
    if (!sound)
        peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_UUID_PARSING, "error",
                       (struct peri_text){reason.data, (uint32_t) reason.len});
    peri_buf_deinit(&reason);
    return sound && peri_put_text(site, (struct peri_text){out, 36});
}

static bool check_url(const struct peri_site *site, struct peri_text scheme, bool has_host)
{
    const struct peri_type *type = site->type;
    bool known = type->url.schemes == NULL;
    for (uint32_t i = 0; i < type->url.scheme_count && !known; i++)
        known = peri_text_equals(type->url.schemes[i], scheme);
    if (!known)
        return peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_URL_SCHEME,
                              "expected_schemes", type->url.expected);
    if (!type->url.any_host && !has_host)
        return peri_refuse_text(site, PERI_ERROR_URL_PARSING, "error", "empty host");
    return true;
}

bool peri_validate_url(const struct peri_site *site)
{
    const struct peri_type *type = site->type;
    struct peri_text text = peri_text_of(site->node);
    if (!peri_is_text(site->node) || (type->strict && site->node->type != PERI_JSON_STRING))
        return peri_refuse(site, PERI_ERROR_URL_TYPE);
    peri_run_floor(site->run, PERI_LAX);
    if (type->url.has_max && text.len > type->url.max)
        return peri_refuse_integer(site, PERI_ERROR_URL_LONG, "max_length", type->url.max);
    struct peri_buf out = {0};
    struct peri_text scheme = {0};
    bool has_host = false;
    const char *reason = peri_url_read(text, &out, &scheme, &has_host);
    bool sound = reason == NULL ? check_url(site, scheme, has_host)
                                : peri_refuse_text(site, PERI_ERROR_URL_PARSING, "error", reason);
    if (sound)
        peri_put_copy(site, &out);
    peri_buf_deinit(&out);
    return sound;
}

bool peri_validate_email(const struct peri_site *site)
{
    if (!peri_is_text(site->node) || (site->type->strict && site->node->type != PERI_JSON_STRING))
        return peri_refuse(site, PERI_ERROR_STRING_TYPE);
    struct peri_buf out = {0};
    struct peri_buf reason = {0};
    bool sound = peri_email_read(peri_text_of(site->node), &out, &reason);
    if (sound)
        peri_put_copy(site, &out);
    else
        peri_fail_text(site->run, site->loc, site->node, PERI_ERROR_EMAIL, "reason",
                       (struct peri_text){reason.data, (uint32_t) reason.len});
    peri_buf_deinit(&out);
    peri_buf_deinit(&reason);
    return sound;
}

/* Python takes whole numbers and packed bytes for addresses, too. */
static bool read_ip(const struct peri_site *site, struct peri_buf *out)
{
    const struct peri_json_node *node = site->node;
    bool v4 = site->type->kind == PERI_KIND_IPV4;
    if (node->type == PERI_JSON_STRING)
        return v4 ? peri_ipv4_read(peri_text_of(node), out)
                  : peri_ipv6_read(peri_text_of(node), out);
    uint8_t bytes[16] = {0};
    if (node->type == PERI_TAPE_BYTES) {
        if (node->count != (v4 ? 4 : 16))
            return false;
        memcpy(bytes + (v4 ? 12 : 0), node->string, node->count);
    } else if (node->type == PERI_JSON_INTEGER || peri_is_boolean(node)) {
        int64_t number =
            node->type == PERI_JSON_INTEGER ? node->integer : node->type == PERI_JSON_TRUE;
        if (number < 0 || (v4 && number > UINT32_MAX))
            return false;
        for (int i = 0; i < 8; i++)
            bytes[15 - i] = (uint8_t) (number >> (8 * i));
    } else {
        return false;
    }
    if (v4)
        peri_ipv4_print(out, (uint32_t) bytes[12] << 24 | (uint32_t) bytes[13] << 16 |
                                 (uint32_t) bytes[14] << 8 | bytes[15]);
    else
        peri_ipv6_print(out, bytes);
    return true;
}

bool peri_validate_ip(const struct peri_site *site)
{
    bool v4 = site->type->kind == PERI_KIND_IPV4;
    if (site->type->strict && site->run->mode != PERI_MODE_JSON)
        return peri_refuse_instance(site, v4 ? "IPv4Address" : "IPv6Address");
    peri_run_floor(site->run, PERI_LAX);
    struct peri_buf out = {0};
    bool sound = read_ip(site, &out);
    if (sound)
        peri_put_copy(site, &out);
    peri_buf_deinit(&out);
    return sound || peri_refuse(site, v4 ? PERI_ERROR_IP_V4 : PERI_ERROR_IP_V6);
}
