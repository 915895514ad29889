#include "tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD 16384 /* plain bytes of the largest TLS record */

struct peri_tls {
    struct peri_filter filter;
    SSL *ssl;
    BIO *in;    /* owned by ssl, as is */
    BIO *out;   /* this */
    bool named; /* the name that the certificate must be made out to is set */
    struct peri_tls_fault fault;
};

/* A context and a session are OpenSSL's own, which count their users. */
static SSL_CTX *ctx_of(struct peri_tls_context *context)
{
    return (SSL_CTX *) context;
}

static void out_of_memory(void)
{
    fputs("perigee: out of memory (TLS)\n", stderr);
    abort();
}

/* --- what went wrong ----------------------------------------------------------------------------
 */

static void fail(struct peri_tls_fault *fault, const char *code, const char *what,
                 const char *detail)
{
    fault->code = code;
    snprintf(fault->text, sizeof(fault->text), "%s%s%s", what, detail != NULL ? ": " : "",
             detail != NULL ? detail : "");
}

/* OpenSSL's word for the oldest error in its queue, which is the cause; empties the queue. */
static const char *queued_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (reason == NULL && ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
    ERR_clear_error();
    return reason != NULL ? reason : "unknown reason";
}

static const char *code_of_verify(long result)
{
    switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "ECERT_NAME";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "ECERT_EXPIRED";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return "ECERT_UNTRUSTED";
    default:
        return "ECERT";
    }
}

static int failed(struct peri_tls *tls)
{
    long result = SSL_get_verify_result(tls->ssl);
    unsigned long error = ERR_peek_error();
    if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && result != X509_V_OK) {
        ERR_clear_error();
        fail(&tls->fault, code_of_verify(result), "the certificate of the server is refused",
             X509_verify_cert_error_string(result));
    } else if (ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER) {
        fail(&tls->fault, "EPROTO", "the server does not speak TLS here", queued_reason());
    } else {
        fail(&tls->fault, "EPROTO", "TLS failed", queued_reason());
    }
    return UV_EPROTO;
}

/* --- trust --------------------------------------------------------------------------------------
 */

/* Debian and Alpine; Fedora and RHEL; the same, newer; SUSE; Alpine without ca-certificates. */
static const char *const store_files[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static X509_STORE *system_store; /* shared by all contexts without a `ca`; never changes */

static void load_system_store(X509_STORE *store)
{
    const char *file = getenv("SSL_CERT_FILE");
    const char *folder = getenv("SSL_CERT_DIR");
    if (file != NULL || folder != NULL) {
        if (file != NULL)
            X509_STORE_load_file(store, file);
        if (folder != NULL)
            X509_STORE_load_path(store, folder);
        return;
    }
    for (size_t i = 0; i < sizeof(store_files) / sizeof(*store_files); i++) {
        if (access(store_files[i], R_OK) == 0 && X509_STORE_load_file(store, store_files[i]))
            return;
    }
    X509_STORE_load_path(store, "/etc/ssl/certs");
}

/* The configuration file of a system's own OpenSSL is not read: this one is linked in, and behaves
 * the same everywhere. */
static void initialize(void)
{
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) != 1)
        out_of_memory();
    system_store = X509_STORE_new();
    if (system_store == NULL)
        out_of_memory();
    load_system_store(system_store);
    ERR_clear_error(); /* no store, or a broken one, shows when a certificate is refused */
}

static bool is_pem(const char *text)
{
    return strncmp(text, "-----BEGIN", 10) == 0;
}

/* PEM text or a file; the caller frees it. NULL when there is no such file. */
static BIO *open_pem(const char *source)
{
    return is_pem(source) ? BIO_new_mem_buf(source, -1) : BIO_new_file(source, "r");
}

static bool add_authorities(X509_STORE *store, const char *source)
{
    BIO *pem = open_pem(source);
    if (pem == NULL)
        return false;
    unsigned count = 0;
    X509 *certificate = NULL;
    while ((certificate = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL)) != NULL) {
        count += X509_STORE_add_cert(store, certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(pem);
    bool sound = count > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (sound)
        ERR_clear_error();
    return sound;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !is_pem(path) && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool trust(SSL_CTX *ctx, const char *ca)
{
    if (ca == NULL) {
        SSL_CTX_set1_cert_store(ctx, system_store);
        return true;
    }
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    return is_folder(ca) ? X509_STORE_load_path(store, ca) == 1 : add_authorities(store, ca);
}

/* --- who we are ---------------------------------------------------------------------------------
 */

static bool add_chain(SSL_CTX *ctx, const char *source)
{
    BIO *pem = open_pem(source);
    if (pem == NULL)
        return false;
    X509 *certificate = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    bool ok = certificate != NULL && SSL_CTX_use_certificate(ctx, certificate) == 1;
    X509_free(certificate);
    while (ok && (certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL)
        ok = SSL_CTX_add0_chain_cert(ctx, certificate) == 1; /* the context owns it now */
    BIO_free(pem);
    if (ok)
        ERR_clear_error(); /* the end of the file is an error to the reader */
    return ok;
}

/* A key that wants a passphrase is refused rather than asked for on the terminal. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void) text;
    (void) size;
    (void) writing;
    (void) context;
    return -1;
}

static bool add_key(SSL_CTX *ctx, const char *source)
{
    BIO *pem = open_pem(source);
    if (pem == NULL)
        return false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, NULL);
    BIO_free(pem);
    bool ok =
        key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(key);
    return ok;
}

static const char *set_up(SSL_CTX *ctx, const struct peri_tls_options *options)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (options->http && SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0)
        out_of_memory();
    if (!trust(ctx, options->ca))
        return "ca: no certificates could be read";
    if (options->cert != NULL && !add_chain(ctx, options->cert))
        return "cert: no certificate could be read";
    const char *key = options->key != NULL ? options->key : options->cert;
    if (key != NULL && !add_key(ctx, key))
        return "key: no private key that fits the certificate could be read";
    return NULL;
}

struct peri_tls_context *peri_tls_context_new(const struct peri_tls_options *options,
                                              struct peri_tls_fault *fault)
{
    pthread_once(&once, initialize);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        out_of_memory();
    const char *problem = set_up(ctx, options);
    if (problem == NULL)
        return (struct peri_tls_context *) ctx;
    fail(fault, "EINVAL", problem, queued_reason());
    SSL_CTX_free(ctx);
    return NULL;
}

void peri_tls_context_free(struct peri_tls_context *context)
{
    SSL_CTX_free(ctx_of(context));
}

/* --- one connection -----------------------------------------------------------------------------
 */

/* Whom the certificate must be made out to; only names are sent (RFC 6066, 3). */
static bool set_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return *host != '\0' && X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static struct peri_tls *tls_of(struct peri_filter *filter)
{
    return peri_container_of(filter, struct peri_tls, filter);
}

static void feed(struct peri_tls *tls, const char *bytes, size_t len)
{
    while (len > 0) {
        int taken = BIO_write(tls->in, bytes, len > INT32_MAX ? INT32_MAX : (int) len);
        if (taken <= 0)
            out_of_memory();
        bytes += taken;
        len -= (size_t) taken;
    }
}

/* Moves what is to be sent. */
static void take(struct peri_tls *tls, struct peri_buf *wire)
{
    size_t pending = BIO_ctrl_pending(tls->out);
    size_t taken = 0;
    if (pending > 0 && BIO_read_ex(tls->out, peri_buf_reserve(wire, pending), pending, &taken) == 1)
        wire->len += taken;
}

/* What an answer of OpenSSL's that is no success means: 0 when more bytes must come first. */
static int status_of(struct peri_tls *tls, int rc)
{
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        ERR_clear_error();
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return UV_EOF;
    default:
        return failed(tls);
    }
}

static int read_plain(struct peri_tls *tls, struct peri_buf *plain)
{
    for (;;) {
        size_t len = 0;
        char *room = peri_buf_reserve(plain, RECORD);
        ERR_clear_error(); /* SSL_get_error() looks at the queue of the thread */
        int rc = SSL_read_ex(tls->ssl, room, RECORD, &len);
        if (rc != 1)
            return status_of(tls, rc);
        plain->len += len;
    }
}

static int receive(struct peri_filter *filter, const char *bytes, size_t len,
                   struct peri_buf *plain, struct peri_buf *wire)
{
    struct peri_tls *tls = tls_of(filter);
    int status = 0;
    feed(tls, bytes, len);
    if (!tls->named) {
        fail(&tls->fault, "ECERT_NAME", "no certificate can be made out to this host", NULL);
        return UV_EPROTO;
    }
    if (!SSL_is_init_finished(tls->ssl)) {
        ERR_clear_error();
        int rc = SSL_do_handshake(tls->ssl);
        status = rc == 1 ? 0 : status_of(tls, rc);
    }
    if (status == 0 && SSL_is_init_finished(tls->ssl))
        status = read_plain(tls, plain);
    take(tls, wire); /* a failure too has something to say: an alert */
    return status;
}

static int send_plain(struct peri_filter *filter, const char *bytes, size_t len,
                      struct peri_buf *wire)
{
    struct peri_tls *tls = tls_of(filter);
    size_t written = 0;
    if (len == 0)
        return 0;
    if (!SSL_is_init_finished(tls->ssl))
        return UV_ENOTCONN;
    ERR_clear_error();
    /* All or nothing: the memory behind takes any number of bytes. */
    int rc = SSL_write_ex(tls->ssl, bytes, len, &written);
    int status = rc == 1 ? 0 : status_of(tls, rc);
    take(tls, wire);
    return rc != 1 && status == 0 ? UV_EPROTO : status;
}

static void finish(struct peri_filter *filter, struct peri_buf *wire)
{
    struct peri_tls *tls = tls_of(filter);
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
    take(tls, wire);
}

/* The socket ended and TLS did not: somebody may have cut off what the server had to say. */
static int cut(struct peri_filter *filter)
{
    struct peri_tls *tls = tls_of(filter);
    if (tls->fault.code == NULL)
        fail(&tls->fault, "ECONNRESET",
             SSL_is_init_finished(tls->ssl) ? "the connection ended without TLS saying so"
                                            : "the connection ended in the TLS handshake",
             NULL);
    return UV_ECONNRESET;
}

static void free_tls(struct peri_filter *filter)
{
    struct peri_tls *tls = tls_of(filter);
    SSL_free(tls->ssl);
    free(tls);
}

struct peri_tls *peri_tls_new(struct peri_tls_context *context, const char *host,
                              struct peri_tls_session *session)
{
    struct peri_tls *tls = calloc(1, sizeof(*tls));
    SSL *ssl = SSL_new(ctx_of(context));
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (tls == NULL || ssl == NULL || in == NULL || out == NULL)
        out_of_memory();
    *tls = (struct peri_tls){
        .filter = {receive, send_plain, finish, cut, free_tls}, .ssl = ssl, .in = in, .out = out};
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    tls->named = set_host(ssl, host);
    if (session != NULL)
        SSL_set_session(ssl, (SSL_SESSION *) session);
    return tls;
}

struct peri_filter *peri_tls_filter(struct peri_tls *tls)
{
    return &tls->filter;
}

struct peri_tls *peri_tls_of(struct peri_filter *filter)
{
    return filter != NULL && filter->free == free_tls ? tls_of(filter) : NULL;
}

bool peri_tls_is_ready(const struct peri_tls *tls)
{
    return SSL_is_init_finished(tls->ssl) && tls->fault.code == NULL;
}

const struct peri_tls_fault *peri_tls_fault_of(const struct peri_tls *tls)
{
    return &tls->fault;
}

struct peri_tls_session *peri_tls_session_of(struct peri_tls *tls)
{
    SSL_SESSION *session = SSL_get1_session(tls->ssl);
    if (session != NULL && SSL_SESSION_is_resumable(session) == 1)
        return (struct peri_tls_session *) session;
    SSL_SESSION_free(session);
    return NULL;
}

void peri_tls_session_free(struct peri_tls_session *session)
{
    SSL_SESSION_free((SSL_SESSION *) session);
}
