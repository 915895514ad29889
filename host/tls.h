/* TLS for connections that this process opens, by OpenSSL over memory buffers: a filter for
 * stream.h. Knows no sockets, no loop and no Lua.
 *
 * A context says whom to trust and who we are; many connections share it. A peri_tls is one
 * connection: set its filter on a connected stream, wait until peri_tls_is_ready(), and from then
 * on the stream carries plain bytes. When the stream ends with UV_EPROTO, peri_tls_fault_of() says
 * why. OpenSSL is set up when the first context is made, not before.
 *
 * The server's certificate must chain to an authority we trust and must be made out to the name or
 * the address we asked for, unless the context says otherwise. TLS 1.2 or later, no renegotiation,
 * ALPN "http/1.1" where it is asked for.
 *
 * Trusted authorities, when the caller names none: SSL_CERT_FILE and SSL_CERT_DIR where they are
 * set, else the system's store, wherever the distribution keeps it. It is read once per process.
 *
 * Contexts may be made and freed on any thread; making one reads files, so the loop leaves it to
 * the threadpool. A peri_tls belongs to one thread. */
#ifndef PERI_TLS_H
#define PERI_TLS_H

#include "stream.h"

#include <stdbool.h>

struct peri_tls;
struct peri_tls_context;
struct peri_tls_session; /* what a later connection to the same server resumes */

struct peri_tls_options {
    const char *ca;   /* PEM text, or the path of a PEM file or of a folder of hashed ones */
    const char *cert; /* PEM text or path: our certificate and its chain */
    const char *key;  /* PEM text or path; NULL: in `cert` */
    bool verify;
    bool http; /* offer ALPN "http/1.1" */
};

/* What went wrong. */
struct peri_tls_fault {
    const char
        *code; /* static: ECERT, ECERT_EXPIRED, ECERT_NAME, ECERT_UNTRUSTED, EPROTO, EINVAL */
    char text[240];
};

/* Blocks while it reads files. Returns NULL with *fault filled. */
struct peri_tls_context *peri_tls_context_new(const struct peri_tls_options *options,
                                              struct peri_tls_fault *fault);
void peri_tls_context_free(
    struct peri_tls_context *context); /* connections live on; NULL is fine */

/* `host` is a name (sent as SNI) or an IP address. `session` may be NULL. Never fails: what is
 * wrong with `host` shows in the handshake. The stream that gets its filter owns it. */
struct peri_tls *peri_tls_new(struct peri_tls_context *context, const char *host,
                              struct peri_tls_session *session);
struct peri_filter *peri_tls_filter(struct peri_tls *tls);

/* The connection behind a stream's filter; NULL when the filter is none of ours. */
struct peri_tls *peri_tls_of(struct peri_filter *filter);

/* Whether the handshake is complete. */
bool peri_tls_is_ready(const struct peri_tls *tls);

/* What went wrong; its code is NULL as long as nothing did. */
const struct peri_tls_fault *peri_tls_fault_of(const struct peri_tls *tls);

/* The session of a connection, for peri_tls_new(); NULL when it cannot be resumed. With TLS 1.3
 * servers hand it out behind the handshake. */
struct peri_tls_session *peri_tls_session_of(struct peri_tls *tls);
void peri_tls_session_free(struct peri_tls_session *session); /* NULL is allowed */

#endif
