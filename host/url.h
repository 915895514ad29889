/* Percent-decoding and the splitting of query strings and cookies. Pure.
 *
 * Decoded text is always valid UTF-8: bytes that are not become U+FFFD, as in Python's unquote().
 */
#ifndef PERI_URL_H
#define PERI_URL_H

#include "schema.h" /* struct peri_field */

#include <stdbool.h>

/* Appends `text` with %XX decoded once ('+' as a space when `plus`). A '%' without two hex digits
 * stands for itself. */
void peri_url_decode(struct peri_buf *out, const char *text, size_t len, bool plus);

/* Takes the next `name=value` of a query or form body from *text and appends the decoded name and
 * value to `out`; the name first, then the value. Empty pairs
 * are skipped. Returns false at the end. */
bool peri_url_next_pair(const char **text, size_t *len, struct peri_buf *out, size_t *name_len,
                        size_t *value_len);

/* Takes the next cookie of a Cookie header from *text, undecoded but without quotes. */
bool peri_cookie_next(const char **text, size_t *len, struct peri_field *cookie);

/* Appends the value of a cookie that stood in quotes, with \" and octal escapes undone as Python's
 * http.cookies does. Never longer than the value. */
void peri_cookie_unquote(struct peri_buf *out, const char *value, size_t len);

/* Appends header bytes as text: they are Latin-1 by the protocol's history, UTF-8 in `out`. */
void peri_latin1_decode(struct peri_buf *out, const char *bytes, size_t len);

#endif
