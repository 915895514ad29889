/* Email addresses as the library behind Pydantic's EmailStr judges them: its checks, its order, its
 * words. Characters beyond ASCII are taken as letters: whether one is a control, a mark or a symbol
 * would need Unicode's tables. */
#include "schema_string.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { MAX_POINTS = 2048, MAX_BYTES = 254, MAX_DOMAIN = 253, MAX_LABEL = 63, CHARACTERS = 0x80 };

static bool is_letter(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_alnum(unsigned char byte)
{
    return is_letter(byte) || (byte >= '0' && byte <= '9');
}

/* RFC 5322 3.2.3, and RFC 6531 for what is not ASCII. */
static bool is_atext(unsigned char byte)
{
    return is_alnum(byte) || byte >= CHARACTERS ||
           (byte != '\0' && strchr("_!#$%&'*+-/=?^`{|}~", byte) != NULL);
}

static bool is_local_character(unsigned char byte)
{
    return is_atext(byte) || byte == '.';
}

static bool is_domain_character(unsigned char byte)
{
    return is_alnum(byte) || byte >= CHARACTERS || byte == '-' || byte == '.';
}

static bool refuse(struct peri_buf *reason, const char *text)
{
    peri_buf_add_str(reason, text);
    return false;
}

/* ----------------------------------------------------- naming characters --- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Lists what `fits` refuses, each character once, in the order of their names. */
static bool check_characters(struct peri_text text, bool (*fits)(unsigned char byte),
                             struct peri_buf *reason, const char *message)
{
    char names[CHARACTERS][8];
    bool seen[CHARACTERS] = {false};
    size_t count = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char) text.data[i];
        if (fits(byte) || byte >= CHARACTERS || seen[byte])
            continue;
        seen[byte] = true;
        if (byte == ' ')
            snprintf(names[count++], sizeof(names[0]), "SPACE");
        else if (byte < ' ' || byte == 0x7F)
            snprintf(names[count++], sizeof(names[0]), "U+%04X", byte);
        else if (byte == '\\')
            snprintf(names[count++], sizeof(names[0]), "\"\\\"");
        else
            snprintf(names[count++], sizeof(names[0]), byte == '\'' ? "\"%c\"" : "'%c'", byte);
    }
    if (count == 0)
        return true;
    qsort(names, count, sizeof(names[0]), compare_names);
    peri_buf_add_str(reason, message);
    for (size_t i = 0; i < count; i++) {
        peri_buf_add_str(reason, i == 0 ? ": " : ", ");
        peri_buf_add_str(reason, names[i]);
    }
    peri_buf_add_byte(reason, '.');
    return false;
}

static bool too_long(struct peri_buf *reason, const char *text, size_t excess)
{
    peri_buf_addf(reason, "%s (%zu character%s too many).", text, excess, excess > 1 ? "s" : "");
    return false;
}

/* ------------------------------------------------------------- the parts --- */

/* Index of the first of `specials` outside quotes; len when there is none. */
static uint32_t find_special(struct peri_text text, const char *specials)
{
    bool quoted = false;
    bool escaped = false;
    for (uint32_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (quoted) {
            quoted = escaped || byte != '"';
            escaped = byte == '\\' && !escaped;
        } else if (byte == '"') {
            quoted = true;
        } else if (byte != '\0' && strchr(specials, byte) != NULL) {
            return i;
        }
    }
    return text.len;
}

static struct peri_text behind(struct peri_text text, uint32_t at)
{
    return (struct peri_text){text.data + at, text.len - at};
}

static bool is_name_character(unsigned char byte)
{
    return is_atext(byte) || byte == '.' || byte == '_';
}

/* "Name <address>" becomes the address, as long as the name is one. */
static struct peri_text without_name(struct peri_text text)
{
    struct peri_text all = peri_text_trim(text);
    if (all.len < 3 || all.data[all.len - 1] != '>')
        return text;
    uint32_t open = 0;
    if (all.data[0] == '"') {
        const char *close = memrchr(all.data + 1, '"', all.len - 1);
        if (close == NULL || close == all.data + 1)
            return text;
        open = (uint32_t) (close - all.data) + 1;
    } else {
        while (open < all.len && (is_name_character((unsigned char) all.data[open]) ||
                                  all.data[open] == ' ' || all.data[open] == '\t'))
            open++;
    }
    while (open < all.len && (all.data[open] == ' ' || all.data[open] == '\t'))
        open++;
    if (open + 2 >= all.len || all.data[open] != '<')
        return text;
    return (struct peri_text){all.data + open + 1, all.len - open - 2};
}

/* Takes the quotes and escapes off a local part; false when something follows the closing quote. */
static bool unquote(struct peri_text text, struct peri_buf *out, bool *quoted,
                    struct peri_buf *reason)
{
    *quoted = text.len > 0 && text.data[0] == '"';
    if (!*quoted) {
        peri_buf_add(out, text.data, text.len);
        return true;
    }
    for (uint32_t i = 1; i < text.len; i++) {
        if (text.data[i] == '"') {
            if (i + 1 == text.len)
                return true;
            return refuse(reason, "Extra character(s) found after close quote.");
        }
        if (text.data[i] == '\\' && i + 1 < text.len)
            i++;
        peri_buf_add_byte(out, text.data[i]);
    }
    return true;
}

static bool has_pair(struct peri_text text, const char *pair)
{
    return memmem(text.data, text.len, pair, 2) != NULL;
}

static bool is_dot_atom(struct peri_text text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (!is_local_character((unsigned char) text.data[i]))
            return false;
    }
    return text.len > 0 && text.data[0] != '.' && text.data[text.len - 1] != '.' &&
           !has_pair(text, "..");
}

static bool check_local(struct peri_text local, bool quoted, struct peri_buf *reason)
{
    if (local.len == 0)
        return refuse(reason, "There must be something before the @-sign.");
    if (quoted)
        return refuse(reason, "Quoting the part before the @-sign is not allowed here.");
    if (is_dot_atom(local))
        return true;
    if (!check_characters(local, is_local_character, reason,
                          "The email address contains invalid characters before the @-sign"))
        return false;
    if (local.data[local.len - 1] == '.')
        return refuse(reason,
                      "An email address cannot have a period immediately before the @-sign.");
    if (local.data[0] == '.')
        return refuse(reason, "An email address cannot start with a period.");
    return refuse(reason, "An email address cannot have two periods in a row.");
}

static bool check_dots_and_hyphens(struct peri_text domain, struct peri_buf *reason)
{
    char first = domain.data[0];
    char last = domain.data[domain.len - 1];
    if (last == '.')
        return refuse(reason, "An email address cannot end with a period.");
    if (first == '.')
        return refuse(reason,
                      "An email address cannot have a period immediately after the @-sign.");
    if (has_pair(domain, ".."))
        return refuse(reason, "An email address cannot have two periods in a row.");
    if (last == '-')
        return refuse(reason, "An email address cannot end with a hyphen.");
    if (first == '-')
        return refuse(reason,
                      "An email address cannot have a hyphen immediately after the @-sign.");
    if (has_pair(domain, ".-") || has_pair(domain, "-."))
        return refuse(reason,
                      "An email address cannot have a period and a hyphen next to each other.");
    return true;
}

static bool check_labels(struct peri_text domain, struct peri_buf *reason)
{
    for (uint32_t at = 0; at < domain.len;) {
        struct peri_text rest = behind(domain, at);
        const char *dot = memchr(rest.data, '.', rest.len);
        uint32_t len = dot != NULL ? (uint32_t) (dot - rest.data) : rest.len;
        bool dashes = len >= 4 && rest.data[2] == '-' && rest.data[3] == '-';
        if (dashes && strncasecmp(rest.data, "xn", 2) != 0)
            return refuse(reason, "An email address cannot have two letters followed by two dashes "
                                  "immediately after the @-sign or after a period, except "
                                  "Punycode.");
        if (len > MAX_LABEL)
            return too_long(reason,
                            "After the @-sign, periods cannot be separated by so many characters",
                            len - MAX_LABEL);
        at += len + 1;
    }
    return true;
}

static bool is_special_use(struct peri_text domain)
{
    static const char *const names[] = {"arpa", "invalid", "local", "localhost", "onion", "test"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        if (domain.len < len || memcmp(domain.data + domain.len - len, names[i], len) != 0)
            continue;
        if (domain.len == len || domain.data[domain.len - len - 1] == '.')
            return true;
    }
    return false;
}

/* The name as it would go over the wire. */
static bool check_ascii_domain(struct peri_text domain, struct peri_buf *reason)
{
    if (domain.len > MAX_DOMAIN)
        return too_long(reason, "The email address is too long after the @-sign",
                        domain.len - MAX_DOMAIN);
    if (!check_labels(domain, reason))
        return false;
    if (memchr(domain.data, '.', domain.len) == NULL)
        return refuse(reason, "The part after the @-sign is not valid. It should have a period.");
    if (!is_letter((unsigned char) domain.data[domain.len - 1]))
        return refuse(reason, "The part after the @-sign is not valid. It is not within a valid "
                              "top-level domain.");
    if (is_special_use(domain))
        return refuse(reason, "The part after the @-sign is a special-use or reserved name that "
                              "cannot be used with email.");
    return true;
}

static bool add_domain(struct peri_text domain, struct peri_buf *out, struct peri_buf *reason)
{
    if (domain.len == 0)
        return refuse(reason, "There must be something after the @-sign.");
    if (domain.data[0] == '[' && domain.data[domain.len - 1] == ']')
        return refuse(reason, "A bracketed IP address after the @-sign is not allowed here.");
    size_t points = peri_utf8_count(domain.data, domain.len);
    if (points > MAX_DOMAIN)
        return too_long(reason, "The email address is too long after the @-sign",
                        points - MAX_DOMAIN);
    if (!check_characters(domain, is_domain_character, reason,
                          "The part after the @-sign contains invalid characters"))
        return false;
    struct peri_buf folded = {0};
    struct peri_buf ascii = {0};
    peri_domain_fold(&folded, domain);
    const struct peri_text name = {folded.data, (uint32_t) folded.len};
    bool sound = check_dots_and_hyphens(name, reason);
    if (sound && !peri_domain_to_ascii(&ascii, name))
        sound = refuse(reason, "The part after the @-sign is invalid.");
    const struct peri_text wire = {ascii.data, (uint32_t) ascii.len};
    sound = sound && check_ascii_domain(wire, reason);
    if (sound)
        peri_domain_to_unicode(out, wire);
    peri_buf_deinit(&folded);
    peri_buf_deinit(&ascii);
    return sound;
}

/* RFC 2142: these mailboxes are the same in any case. */
static void add_local(struct peri_text local, struct peri_buf *out)
{
    static const char *const names[] = {"info", "marketing", "sales",      "support",    "abuse",
                                        "noc",  "security",  "postmaster", "hostmaster", "usenet",
                                        "news", "webmaster", "www",        "uucp",       "ftp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == local.len && strncasecmp(names[i], local.data, local.len) == 0) {
            peri_buf_add_str(out, names[i]);
            return;
        }
    }
    peri_buf_add(out, local.data, local.len);
}

static bool read_parts(struct peri_text email, struct peri_buf *out, struct peri_buf *reason)
{
    uint32_t at = find_special(email, "@<");
    if (at == email.len) {
        if (memmem(email.data, email.len, "\xEF\xBC\xA0", 3) != NULL)
            return refuse(reason, "The email address has the \"full-width\" at-sign (@) character "
                                  "instead of a regular at-sign.");
        return refuse(reason, "An email address must have an @-sign.");
    }
    if (email.data[at] == '<') {
        if (memchr(email.data, '>', email.len) == NULL)
            return refuse(reason, "An open angle bracket at the start of the email address has to "
                                  "be followed by a close angle bracket at the end.");
        return refuse(reason, "A display name and angle brackets around the email address are not "
                              "permitted here.");
    }
    struct peri_buf local = {0};
    bool quoted = false;
    bool sound = unquote((struct peri_text){email.data, at}, &local, &quoted, reason);
    struct peri_text plain = {local.data, (uint32_t) local.len};
    sound = sound && check_local(plain, quoted, reason);
    if (sound)
        add_local(plain, out);
    peri_buf_deinit(&local);
    if (!sound)
        return false;
    peri_buf_add_byte(out, '@');
    if (!add_domain(behind(email, at + 1), out, reason))
        return false;
    return email.len <= MAX_BYTES ||
           too_long(reason, "The email address is too long", email.len - MAX_BYTES);
}

bool peri_email_read(struct peri_text text, struct peri_buf *out, struct peri_buf *reason)
{
    if (peri_utf8_count(text.data, text.len) > MAX_POINTS)
        return refuse(reason, "Length must not exceed 2048 characters");
    if (memchr(text.data, '\r', text.len) != NULL || memchr(text.data, '\n', text.len) != NULL)
        return refuse(reason, "Carriage return and line feed characters are not allowed");
    return read_parts(peri_text_trim(without_name(text)), out, reason);
}
