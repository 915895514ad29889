/* perigee.host.crypto: random bytes, hashes, HMAC, comparison in constant time, encodings and
 * password hashes. Digests come from OpenSSL, argon2id from libargon2.
 *
 * Passwords are always hashed on the threadpool: that takes tens of milliseconds by design. Long
 * data is digested there, too, where the caller may wait. */
#include "api.h"

#include "vm.h"
#include "work.h"

#include <argon2.h>
#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RANDOM (1 << 20)
#define LONG_DATA (1 << 20) /* bytes from which digesting takes more than a millisecond */

/* --- random ------------------------------------------------------------------------------------
 */

static int crypto_random(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 0 && count <= MAX_RANDOM, 1, "0 to 1048576 bytes");
    luaL_Buffer bytes;
    char *at = luaL_buffinitsize(L, &bytes, (size_t) count);
    int rc = uv_random(NULL, NULL, at, (size_t) count, 0, NULL);
    if (rc != 0)
        return luaL_error(L, "the system gives no random bytes: %s", uv_strerror(rc));
    luaL_pushresultsize(&bytes, (size_t) count);
    return 1;
}

/* --- digests -----------------------------------------------------------------------------------
 */

static const EVP_MD *check_digest(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    const EVP_MD *digest = EVP_get_digestbyname(name);
    if (digest == NULL || (EVP_MD_get_flags(digest) & EVP_MD_FLAG_XOF) != 0)
        luaL_argerror(
            L, index,
            lua_pushfstring(L,
                            "unknown digest '%s': sha256, sha384, sha512, sha3-256, sha3-512, "
                            "blake2b512, blake2s256 (and md5, sha1 for old protocols) are known",
                            name));
    return digest;
}

struct digest_job {
    struct peri_job job;
    const EVP_MD *digest;
    char *data;
    size_t len;
    unsigned char result[EVP_MAX_MD_SIZE];
    unsigned result_len;
    bool failed;
};

static void digest_run(struct peri_job *job)
{
    struct digest_job *self = peri_container_of(job, struct digest_job, job);
    self->failed =
        EVP_Digest(self->data, self->len, self->result, &self->result_len, self->digest, NULL) != 1;
}

static void digest_deinit(struct peri_job *job)
{
    struct digest_job *self = peri_container_of(job, struct digest_job, job);
    free(self->data);
}

static int push_digest(lua_State *L, const unsigned char *bytes, unsigned len, bool failed)
{
    if (failed)
        return luaL_error(L, "OpenSSL refuses this digest");
    lua_pushlstring(L, (const char *) bytes, len);
    return 1;
}

static int digest_finish(lua_State *L, struct peri_op *op)
{
    struct digest_job *self = peri_container_of(op, struct digest_job, job.op);
    return push_digest(L, self->result, self->result_len, self->failed);
}

/* hash(digest, data) */
static int crypto_hash(lua_State *L)
{
    const EVP_MD *digest = check_digest(L, 1);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    if (len < LONG_DATA || !peri_may_wait(L)) {
        unsigned char result[EVP_MAX_MD_SIZE];
        unsigned result_len = 0;
        bool failed = EVP_Digest(data, len, result, &result_len, digest, NULL) != 1;
        return push_digest(L, result, result_len, failed);
    }
    struct digest_job *self = peri_job_new(L, sizeof(*self));
    self->job.run = digest_run;
    self->job.deinit = digest_deinit;
    self->job.op.finish = digest_finish;
    self->digest = digest;
    self->len = len;
    self->data =
        malloc(len); /* a copy: the string may be collected when its coroutine is dropped */
    if (self->data == NULL)
        return luaL_error(L, "out of memory");
    memcpy(self->data, data, len);
    return peri_job_await(L, &self->job);
}

/* hmac(digest, key, data) */
static int crypto_hmac(lua_State *L)
{
    const EVP_MD *digest = check_digest(L, 1);
    size_t key_len;
    size_t len;
    const char *key = luaL_checklstring(L, 2, &key_len);
    const char *data = luaL_checklstring(L, 3, &len);
    luaL_argcheck(L, key_len <= INT32_MAX, 2, "too long");
    unsigned char result[EVP_MAX_MD_SIZE];
    unsigned result_len = 0;
    bool failed = HMAC(digest, key, (int) key_len, (const unsigned char *) data, len, result,
                       &result_len) == NULL;
    return push_digest(L, result, result_len, failed);
}

/* equal(a, b): tells nothing by its time but whether the lengths differ. */
static int crypto_equal(lua_State *L)
{
    size_t a_len;
    size_t b_len;
    const char *a = luaL_checklstring(L, 1, &a_len);
    const char *b = luaL_checklstring(L, 2, &b_len);
    lua_pushboolean(L, a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0);
    return 1;
}

/* --- a digest of data that comes in pieces ------------------------------------------------------
 */

static const char HASHER_TYPE[] = "perigee.Hasher";

static EVP_MD_CTX **check_hasher(lua_State *L)
{
    EVP_MD_CTX **box = luaL_checkudata(L, 1, HASHER_TYPE);
    if (*box == NULL)
        luaL_error(L, "this hasher has given its digest already");
    return box;
}

static int hasher_close(lua_State *L)
{
    EVP_MD_CTX **box = luaL_checkudata(L, 1, HASHER_TYPE);
    EVP_MD_CTX_free(*box);
    *box = NULL;
    return 0;
}

static int hasher_update(lua_State *L)
{
    EVP_MD_CTX **box = check_hasher(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    if (EVP_DigestUpdate(*box, data, len) != 1)
        return luaL_error(L, "OpenSSL refuses this digest");
    lua_settop(L, 1);
    return 1;
}

static int hasher_digest(lua_State *L)
{
    EVP_MD_CTX **box = check_hasher(L);
    unsigned char result[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool failed = EVP_DigestFinal_ex(*box, result, &len) != 1;
    hasher_close(L);
    return push_digest(L, result, len, failed);
}

static const luaL_Reg hasher_methods[] = {
    {"update", hasher_update}, {"digest", hasher_digest}, {"close", hasher_close},
    {"__close", hasher_close}, {"__gc", hasher_close},    {NULL, NULL},
};

static int crypto_hasher(lua_State *L)
{
    const EVP_MD *digest = check_digest(L, 1);
    EVP_MD_CTX **box = lua_newuserdatauv(L, sizeof(EVP_MD_CTX *), 0); /* NOLINT: one pointer */
    *box = NULL;
    luaL_setmetatable(L, HASHER_TYPE);
    *box = EVP_MD_CTX_new();
    if (*box == NULL || EVP_DigestInit_ex(*box, digest, NULL) != 1)
        return luaL_error(L, "OpenSSL refuses this digest");
    return 1;
}

/* --- encodings ---------------------------------------------------------------------------------
 */

static int crypto_hex(lua_State *L)
{
    static const char digits[] = "0123456789abcdef";
    size_t len;
    const unsigned char *bytes = (const unsigned char *) luaL_checklstring(L, 1, &len);
    luaL_Buffer text;
    char *at = luaL_buffinitsize(L, &text, len * 2);
    for (size_t i = 0; i < len; i++) {
        at[2 * i] = digits[bytes[i] >> 4];
        at[2 * i + 1] = digits[bytes[i] & 15];
    }
    luaL_pushresultsize(&text, len * 2);
    return 1;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* from_hex(text): nil when it is none. */
static int crypto_from_hex(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    if (len % 2 != 0)
        return 0;
    luaL_Buffer bytes;
    char *at = luaL_buffinitsize(L, &bytes, len / 2);
    for (size_t i = 0; i < len; i += 2) {
        int high = hex_value(text[i]);
        int low = hex_value(text[i + 1]);
        if (high < 0 || low < 0)
            return 0;
        at[i / 2] = (char) (high << 4 | low);
    }
    luaL_pushresultsize(&bytes, len / 2);
    return 1;
}

static const char STANDARD[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char URL_SAFE[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* base64(bytes, url): `url` picks the alphabet of RFC 4648, section 5, and leaves the padding out.
 */
static int crypto_base64(lua_State *L)
{
    size_t len;
    const unsigned char *bytes = (const unsigned char *) luaL_checklstring(L, 1, &len);
    bool url = lua_toboolean(L, 2);
    const char *alphabet = url ? URL_SAFE : STANDARD;
    luaL_Buffer text;
    char *start = luaL_buffinitsize(L, &text, (len + 2) / 3 * 4);
    char *at = start;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t group = (uint32_t) bytes[i] << 16 | (left > 1 ? (uint32_t) bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        if (left > 1)
            *at++ = alphabet[group >> 6 & 63];
        else if (!url)
            *at++ = '=';
        if (left > 2)
            *at++ = alphabet[group & 63];
        else if (!url)
            *at++ = '=';
    }
    luaL_pushresultsize(&text, (size_t) (at - start));
    return 1;
}

static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* from_base64(text, url): nil when it is not exactly that. One text means one value: padding must
 * be right (standard) or absent (url), and unused bits must be zero. */
static int crypto_from_base64(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    bool url = lua_toboolean(L, 2);
    if (!url) {
        if (len % 4 != 0)
            return 0;
        for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++)
            len--;
    }
    if (len % 4 == 1)
        return 0;
    luaL_Buffer bytes;
    char *start = luaL_buffinitsize(L, &bytes, len / 4 * 3 + 3);
    char *at = start;
    uint32_t group = 0;
    int bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64_value(text[i], url);
        if (value < 0)
            return 0;
        group = group << 6 | (uint32_t) value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *at++ = (char) (group >> bits & 255);
        }
    }
    if ((group & ((1U << bits) - 1)) != 0)
        return 0;
    luaL_pushresultsize(&bytes, (size_t) (at - start));
    return 1;
}

/* --- passwords ---------------------------------------------------------------------------------
 */

#define SALT_LEN 16
#define TAG_LEN 32
#define MAX_PASSWORD 4096 /* a longer one is an attack, or a mistake */

/* A chore, as argon2id cannot be stopped. */
struct password {
    struct peri_chore chore;
    char *text;
    size_t len;
    uint32_t iterations;
    uint32_t memory_kib;
    uint32_t lanes;
    unsigned char salt[SALT_LEN];
    char encoded[512]; /* what is made, or held against */
    int rc;
};

static void password_deinit(struct peri_chore *chore)
{
    struct password *self = peri_container_of(chore, struct password, chore);
    if (self->text != NULL)
        OPENSSL_cleanse(self->text, self->len);
    free(self->text);
}

static void hash_run(struct peri_chore *chore)
{
    struct password *self = peri_container_of(chore, struct password, chore);
    self->rc = argon2id_hash_encoded(self->iterations, self->memory_kib, self->lanes, self->text,
                                     self->len, self->salt, SALT_LEN, TAG_LEN, self->encoded,
                                     sizeof(self->encoded));
}

static int hash_finish(lua_State *L, struct peri_chore *chore)
{
    struct password *self = peri_container_of(chore, struct password, chore);
    if (self->rc != ARGON2_OK)
        return luaL_error(L, "cannot hash the password: %s", argon2_error_message(self->rc));
    lua_pushstring(L, self->encoded);
    return 1;
}

static void verify_run(struct peri_chore *chore)
{
    struct password *self = peri_container_of(chore, struct password, chore);
    self->rc = argon2id_verify(self->encoded, self->text, self->len);
}

static int verify_finish(lua_State *L, struct peri_chore *chore)
{
    struct password *self = peri_container_of(chore, struct password, chore);
    lua_pushboolean(L, self->rc == ARGON2_OK);
    if (self->rc == ARGON2_OK || self->rc == ARGON2_VERIFY_MISMATCH)
        return 1;
    lua_pushstring(L, argon2_error_message(self->rc));
    return 2;
}

/* Makes the chore and copies the password at index 1 into it. */
static struct password *new_password(lua_State *L, void (*run)(struct peri_chore *chore),
                                     int (*finish)(lua_State *L, struct peri_chore *chore))
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= MAX_PASSWORD, 1, "a password has 4096 bytes at most");
    struct password *self = peri_chore_new(L, sizeof(*self));
    self->chore.run = run;
    self->chore.deinit = password_deinit;
    self->chore.finish = finish;
    self->len = len;
    self->text = malloc(len + 1);
    if (self->text == NULL)
        luaL_error(L, "out of memory");
    memcpy(self->text, text, len);
    return self;
}

static uint32_t check_cost(lua_State *L, int index, lua_Integer least, lua_Integer most)
{
    lua_Integer value = luaL_checkinteger(L, index);
    if (value < least || value > most)
        luaL_error(L, "a cost of argon2id is out of its range (%I to %I)", (LUAI_UACINT) least,
                   (LUAI_UACINT) most);
    return (uint32_t) value;
}

/* hash_password(password, iterations, memory_kib, lanes) */
static int crypto_hash_password(lua_State *L)
{
    uint32_t iterations = check_cost(L, 2, 1, 1000);
    uint32_t memory_kib = check_cost(L, 3, 8, 4 << 20);
    uint32_t lanes = check_cost(L, 4, 1, 64);
    luaL_argcheck(L, memory_kib >= 8 * lanes, 3, "8 KiB of memory for each lane, at least");
    struct password *self = new_password(L, hash_run, hash_finish);
    self->iterations = iterations;
    self->memory_kib = memory_kib;
    self->lanes = lanes;
    int rc = uv_random(NULL, NULL, self->salt, SALT_LEN, 0, NULL);
    if (rc != 0)
        return luaL_error(L, "the system gives no random bytes: %s", uv_strerror(rc));
    return peri_chore_await(L, &self->chore);
}

/* verify_password(password, encoded) */
static int crypto_verify_password(lua_State *L)
{
    size_t len;
    const char *encoded = luaL_checklstring(L, 2, &len);
    if (len >= sizeof(((struct password *) NULL)->encoded) || strlen(encoded) != len) {
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "this is no encoded password");
        return 2;
    }
    struct password *self = new_password(L, verify_run, verify_finish);
    memcpy(self->encoded, encoded, len);
    return peri_chore_await(L, &self->chore);
}

static const luaL_Reg crypto_functions[] = {
    {"random", crypto_random},
    {"hash", crypto_hash},
    {"hasher", crypto_hasher},
    {"hmac", crypto_hmac},
    {"equal", crypto_equal},
    {"hex", crypto_hex},
    {"from_hex", crypto_from_hex},
    {"base64", crypto_base64},
    {"from_base64", crypto_from_base64},
    {"hash_password", crypto_hash_password},
    {"verify_password", crypto_verify_password},
    {NULL, NULL},
};

int peri_open_crypto(lua_State *L)
{
    luaL_newmetatable(L, HASHER_TYPE);
    luaL_setfuncs(L, hasher_methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, crypto_functions);
    return 1;
}
