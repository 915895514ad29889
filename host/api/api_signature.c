/* perigee.host.signature: public and private keys, and the signatures of RFC 7518 and RFC 8037 made
 * with them: RS, PS, ES and EdDSA. What goes around the signature, a JWT, is lua/perigee/jwt.lua.
 *
 * A key is a box around OpenSSL's EVP_PKEY. Signing takes a millisecond or so (RSA), less for
 * the others, and is done in place. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#define MIN_RSA_BITS 2048 /* RFC 7518, 3.3 */
#define MAX_SIGNATURE 2048

static const char KEY_TYPE[] = "perigee.Key";

struct algorithm {
    const char *name;
    int type;           /* EVP_PKEY_* */
    const char *digest; /* NULL: the algorithm has its own */
    int curve_bits;     /* ES: the only curve that fits */
    bool pss;
};

static const struct algorithm algorithms[] = {
    {"RS256", EVP_PKEY_RSA, "sha256", 0, false},  {"RS384", EVP_PKEY_RSA, "sha384", 0, false},
    {"RS512", EVP_PKEY_RSA, "sha512", 0, false},  {"PS256", EVP_PKEY_RSA, "sha256", 0, true},
    {"PS384", EVP_PKEY_RSA, "sha384", 0, true},   {"PS512", EVP_PKEY_RSA, "sha512", 0, true},
    {"ES256", EVP_PKEY_EC, "sha256", 256, false}, {"ES384", EVP_PKEY_EC, "sha384", 384, false},
    {"ES512", EVP_PKEY_EC, "sha512", 521, false}, {"EdDSA", EVP_PKEY_ED25519, NULL, 0, false},
};

static const struct algorithm *check_algorithm(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(*algorithms); i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    luaL_error(L, "unknown signature algorithm '%s'", name);
    return NULL;
}

static EVP_PKEY *check_key(lua_State *L, int index)
{
    return *(EVP_PKEY **) luaL_checkudata(L, index, KEY_TYPE);
}

static int key_gc(lua_State *L)
{
    EVP_PKEY **box = luaL_checkudata(L, 1, KEY_TYPE);
    EVP_PKEY_free(*box);
    *box = NULL;
    return 0;
}

/* No passphrase: without this, OpenSSL would ask for one at the terminal. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void) text;
    (void) size;
    (void) writing;
    (void) context;
    return -1;
}

/* key(pem): a private or a public key, or that of a certificate; nil and why not. */
static int signature_key(lua_State *L)
{
    size_t len;
    const char *pem = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= 65536, 1, "a PEM key has 64 KiB at most");
    EVP_PKEY **box = lua_newuserdatauv(L, sizeof(EVP_PKEY *), 0); /* NOLINT: one pointer */
    *box = NULL;
    luaL_setmetatable(L, KEY_TYPE);

    BIO *bio = BIO_new_mem_buf(pem, (int) len);
    if (bio == NULL)
        return luaL_error(L, "out of memory");
    bool private = true;
    *box = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (*box == NULL) {
        private = false;
        (void) BIO_reset(bio);
        *box = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    }
    if (*box == NULL) {
        (void) BIO_reset(bio);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (certificate != NULL)
            *box = X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (*box == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "it is no key in PEM (or one with a passphrase)");
        return 2;
    }
    lua_pushboolean(L, private);
    return 2;
}

/* Raises when the key is of another kind than the algorithm. */
static void check_fits(lua_State *L, const struct algorithm *algorithm, EVP_PKEY *key)
{
    if (EVP_PKEY_get_base_id(key) != algorithm->type)
        luaL_error(L, "the key is not of the kind that %s needs", algorithm->name);
    if (algorithm->type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < MIN_RSA_BITS)
        luaL_error(L, "an RSA key has 2048 bits at least");
    if (algorithm->curve_bits != 0 && EVP_PKEY_get_bits(key) != algorithm->curve_bits)
        luaL_error(L, "the key is not on the curve that %s needs", algorithm->name);
}

static bool set_padding(const struct algorithm *algorithm, EVP_PKEY_CTX *context)
{
    if (!algorithm->pss)
        return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

/* An ECDSA signature as JWS writes it: r and s of fixed length (RFC 7518, 3.4), from DER. */
static size_t to_fixed(const unsigned char *der, size_t len, int half, unsigned char *fixed)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long) len);
    if (pair == NULL)
        return 0;
    bool fits = BN_bn2binpad(ECDSA_SIG_get0_r(pair), fixed, half) == half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(pair), fixed + half, half) == half;
    ECDSA_SIG_free(pair);
    return fits ? 2 * (size_t) half : 0;
}

static size_t to_der(const unsigned char *fixed, int half, unsigned char *der, size_t room)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(fixed, half, NULL);
    BIGNUM *s = BN_bin2bn(fixed + half, half, NULL);
    if (pair == NULL || r == NULL || s == NULL) {
        ECDSA_SIG_free(pair);
        BN_free(r);
        BN_free(s);
        return 0;
    }
    ECDSA_SIG_set0(pair, r, s); /* which owns them now */
    int len = i2d_ECDSA_SIG(pair, NULL);
    if (len > 0 && (size_t) len <= room)
        len = i2d_ECDSA_SIG(pair, &der);
    else
        len = 0;
    ECDSA_SIG_free(pair);
    return len > 0 ? (size_t) len : 0;
}

static int half_of(const struct algorithm *algorithm)
{
    return (algorithm->curve_bits + 7) / 8;
}

/* Signs; returns the length, 0 when OpenSSL refuses. */
static size_t sign(const struct algorithm *algorithm, EVP_PKEY *key, const unsigned char *data,
                   size_t data_len, unsigned char *signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *padding = NULL;
    const EVP_MD *digest =
        algorithm->digest != NULL ? EVP_get_digestbyname(algorithm->digest) : NULL;
    size_t len = MAX_SIGNATURE;
    bool done = context != NULL && EVP_DigestSignInit(context, &padding, digest, NULL, key) == 1 &&
                set_padding(algorithm, padding) &&
                EVP_DigestSign(context, signature, &len, data, data_len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return done ? len : 0;
}

/* sign(algorithm, key, data) */
static int signature_sign(lua_State *L)
{
    const struct algorithm *algorithm = check_algorithm(L, 1);
    EVP_PKEY *key = check_key(L, 2);
    size_t data_len;
    const unsigned char *data = (const unsigned char *) luaL_checklstring(L, 3, &data_len);
    check_fits(L, algorithm, key);
    unsigned char signature[MAX_SIGNATURE];
    size_t len = EVP_PKEY_get_size(key) <= MAX_SIGNATURE
                     ? sign(algorithm, key, data, data_len, signature)
                     : 0;
    unsigned char fixed[MAX_SIGNATURE];
    const unsigned char *result = signature;
    if (len > 0 && algorithm->curve_bits != 0) {
        len = to_fixed(signature, len, half_of(algorithm), fixed);
        result = fixed;
    }
    if (len == 0)
        return luaL_error(L, "the key cannot sign (is it a public one?)");
    lua_pushlstring(L, (const char *) result, len);
    return 1;
}

/* verify(algorithm, key, data, signature) */
static int signature_verify(lua_State *L)
{
    const struct algorithm *algorithm = check_algorithm(L, 1);
    EVP_PKEY *key = check_key(L, 2);
    size_t data_len;
    size_t len;
    const unsigned char *data = (const unsigned char *) luaL_checklstring(L, 3, &data_len);
    const unsigned char *signature = (const unsigned char *) luaL_checklstring(L, 4, &len);
    check_fits(L, algorithm, key);

    unsigned char der[MAX_SIGNATURE];
    if (algorithm->curve_bits != 0) {
        if (len != 2 * (size_t) half_of(algorithm)) {
            lua_pushboolean(L, 0);
            return 1;
        }
        len = to_der(signature, half_of(algorithm), der, sizeof(der));
        signature = der;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *padding = NULL;
    const EVP_MD *digest =
        algorithm->digest != NULL ? EVP_get_digestbyname(algorithm->digest) : NULL;
    bool valid = context != NULL && len > 0 &&
                 EVP_DigestVerifyInit(context, &padding, digest, NULL, key) == 1 &&
                 set_padding(algorithm, padding) &&
                 EVP_DigestVerify(context, signature, len, data, data_len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    lua_pushboolean(L, valid);
    return 1;
}

static const luaL_Reg signature_functions[] = {
    {"key", signature_key},
    {"sign", signature_sign},
    {"verify", signature_verify},
    {NULL, NULL},
};

int peri_open_signature(lua_State *L)
{
    luaL_newmetatable(L, KEY_TYPE);
    lua_pushcfunction(L, key_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, signature_functions);
    return 1;
}
