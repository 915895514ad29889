/* International host names: folded to lower case and written in Punycode. Of UTS 46 the full
 * mapping of compatibility characters (but for full-width forms), normalisation and the
 * bidirectional rules are left out: they would need tables larger than all of schema. */
#include "schema_string.h"

#include <string.h>

/* Lower case of the alphabets with cases that names are mostly written in, and full-width forms. */
static uint32_t fold_point(uint32_t point)
{
    if (point >= 0xFF01 && point <= 0xFF5E)
        point -= 0xFEE0;
    if (point < 0x80)
        return point >= 'A' && point <= 'Z' ? point + 32 : point;
    if ((point >= 0xC0 && point <= 0xDE && point != 0xD7) || (point >= 0x391 && point <= 0x3A9) ||
        (point >= 0x410 && point <= 0x42F))
        return point + 32;
    if (point >= 0x400 && point <= 0x40F)
        return point + 80;
    if ((point >= 0x100 && point <= 0x137) || (point >= 0x14A && point <= 0x177) ||
        (point >= 0x460 && point <= 0x481) || (point >= 0x48A && point <= 0x4BF))
        return point | 1;
    if ((point >= 0x139 && point <= 0x148) || (point >= 0x179 && point <= 0x17E))
        return point % 2 == 1 ? point + 1 : point;
    if (point == 0x3002 || point == 0xFF61)
        return '.';
    return point;
}

/* Joiners and marks that show nothing: the soft hyphen is dropped, the others refused. */
static bool is_ignored(uint32_t point)
{
    return point == 0xAD || point == 0x200B || point == 0x2060 || point == 0xFEFF;
}

static bool is_refused(uint32_t point)
{
    return point == 0x200C || point == 0x200D || (point >= 0x80 && point < 0xA0) ||
           (point >= 0x2000 && point <= 0x200F) || (point >= 0x2028 && point <= 0x202F) ||
           (point >= 0xD800 && point <= 0xDFFF) || point == 0xFFFD || point > 0x10FFFF;
}

enum { BASE = 36, T_MIN = 1, T_MAX = 26, SKEW = 38, DAMP = 700, FIRST_N = 128, FIRST_BIAS = 72 };

static uint32_t adapt(uint32_t delta, uint32_t count, bool first)
{
    delta /= first ? DAMP : 2;
    delta += delta / count;
    uint32_t k = 0;
    for (; delta > (BASE - T_MIN) * T_MAX / 2; k += BASE)
        delta /= BASE - T_MIN;
    return k + (BASE - T_MIN + 1) * delta / (delta + SKEW);
}

static void add_variable(struct peri_buf *out, uint32_t value, uint32_t bias)
{
    for (uint32_t k = BASE;; k += BASE) {
        uint32_t threshold = k <= bias ? T_MIN : k >= bias + T_MAX ? T_MAX : k - bias;
        bool last = value < threshold;
        uint32_t digit = last ? value : threshold + (value - threshold) % (BASE - threshold);
        peri_buf_add_byte(out, (char) (digit < 26 ? 'a' + digit : '0' + digit - 26));
        if (last)
            return;
        value = (value - threshold) / (BASE - threshold);
    }
}

/* RFC 3492. A label of a host name has few enough points to go without checks of overflow. */
static void add_punycode(struct peri_buf *out, const uint32_t *points, uint32_t count)
{
    uint32_t n = FIRST_N;
    uint32_t delta = 0;
    uint32_t bias = FIRST_BIAS;
    uint32_t basic = 0;
    peri_buf_add_lit(out, "xn--");
    for (uint32_t i = 0; i < count; i++) {
        if (points[i] < 0x80) {
            peri_buf_add_byte(out, (char) points[i]);
            basic++;
        }
    }
    if (basic > 0)
        peri_buf_add_byte(out, '-');
    for (uint32_t done = basic; done < count; n++, delta++) {
        uint32_t least = UINT32_MAX;
        for (uint32_t i = 0; i < count; i++) {
            if (points[i] >= n && points[i] < least)
                least = points[i];
        }
        delta += (least - n) * (done + 1);
        n = least;
        for (uint32_t i = 0; i < count; i++) {
            if (points[i] < n)
                delta++;
            if (points[i] != n)
                continue;
            add_variable(out, delta, bias);
            bias = adapt(delta, done + 1, done == basic);
            delta = 0;
            done++;
        }
    }
}

enum { LONGEST_LABEL = 255 };

/* One label, whose points are folded already. */
static void add_label(struct peri_buf *out, const uint32_t *points, uint32_t count)
{
    bool ascii = true;
    for (uint32_t i = 0; i < count; i++)
        ascii = ascii && points[i] < 0x80;
    if (!ascii) {
        add_punycode(out, points, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        peri_buf_add_byte(out, (char) points[i]);
}

/* Whether the part behind xn-- could be Punycode at all: it decodes to something that is not ASCII.
 */
static bool is_sound_ace(const char *label, size_t len)
{
    if (len < 4 || memcmp(label, "xn--", 4) != 0)
        return true;
    const char *dash = memrchr(label + 4, '-', len - 4);
    return len > 5 && (dash == NULL || dash < label + len - 1);
}

static bool are_labels_sound(const char *name, size_t len)
{
    while (len > 0) {
        const char *dot = memchr(name, '.', len);
        size_t label = dot != NULL ? (size_t) (dot - name) : len;
        if (!is_sound_ace(name, label))
            return false;
        name += label + (dot != NULL);
        len -= label + (dot != NULL);
    }
    return true;
}

bool peri_domain_to_ascii(struct peri_buf *out, struct peri_text name)
{
    static const char forbidden[] = " #%/:<>?@[\\]^|";
    uint32_t points[LONGEST_LABEL];
    uint32_t count = 0;
    size_t start = out->len;
    const char *at = name.data;
    const char *end = name.data + name.len;
    if (peri_utf8_valid(name.data, name.len) != name.len)
        return false;
    while (at < end) {
        uint32_t point = fold_point(peri_next_point(&at, end));
        if (is_ignored(point))
            continue;
        if (point < 0x20 || point == 0x7F || is_refused(point) ||
            (point < 0x80 && strchr(forbidden, (int) point) != NULL))
            return false;
        if (point == '.') {
            add_label(out, points, count);
            peri_buf_add_byte(out, '.');
            count = 0;
        } else if (count == LONGEST_LABEL) {
            return false;
        } else {
            points[count++] = point;
        }
    }
    add_label(out, points, count);
    return out->len > start && are_labels_sound(out->data + start, out->len - start);
}

static void add_point(struct peri_buf *out, uint32_t point)
{
    if (point < 0x80) {
        peri_buf_add_byte(out, (char) point);
        return;
    }
    if (point < 0x800) {
        peri_buf_add_byte(out, (char) (0xC0 | point >> 6));
    } else {
        if (point < 0x10000) {
            peri_buf_add_byte(out, (char) (0xE0 | point >> 12));
        } else {
            peri_buf_add_byte(out, (char) (0xF0 | point >> 18));
            peri_buf_add_byte(out, (char) (0x80 | (point >> 12 & 0x3F)));
        }
        peri_buf_add_byte(out, (char) (0x80 | (point >> 6 & 0x3F)));
    }
    peri_buf_add_byte(out, (char) (0x80 | (point & 0x3F)));
}

void peri_domain_fold(struct peri_buf *out, struct peri_text name)
{
    const char *at = name.data;
    const char *end = name.data + name.len;
    while (at < end)
        add_point(out, fold_point(peri_next_point(&at, end)));
}

static int digit_value(char byte)
{
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a';
    return byte >= '0' && byte <= '9' ? byte - '0' + 26 : -1;
}

/* One variable-length number; false when the text ends inside it or it is too large. */
static bool read_variable(const char **at, const char *end, uint32_t bias, uint32_t *value)
{
    uint64_t weight = 1;
    uint64_t sum = 0;
    for (uint32_t k = BASE;; k += BASE) {
        int digit = *at < end ? digit_value(*(*at)++) : -1;
        uint32_t threshold = k <= bias ? T_MIN : k >= bias + T_MAX ? T_MAX : k - bias;
        if (digit < 0)
            return false;
        sum += (uint64_t) digit * weight;
        if (sum > UINT32_MAX)
            return false;
        if ((uint32_t) digit < threshold)
            break;
        weight *= BASE - threshold;
    }
    *value = (uint32_t) sum;
    return true;
}

/* What stands behind xn--, as points; the count, or -1 when it is no Punycode. */
static int decode_label(const char *at, const char *end, uint32_t points[LONGEST_LABEL])
{
    int count = 0;
    uint32_t n = FIRST_N;
    uint32_t bias = FIRST_BIAS;
    uint32_t index = 0;
    const char *dash = memrchr(at, '-', (size_t) (end - at));
    if (dash != NULL && dash - at > LONGEST_LABEL / 2)
        return -1;
    for (; dash != NULL && at < dash; at++)
        points[count++] = (unsigned char) *at;
    if (dash != NULL)
        at++;
    while (at < end && count < LONGEST_LABEL) {
        uint32_t step = 0;
        if (!read_variable(&at, end, bias, &step) || step > UINT32_MAX - index)
            return -1;
        uint32_t old = index;
        index += step;
        bias = adapt(index - old, (uint32_t) count + 1, old == 0);
        if (index / ((uint32_t) count + 1) > 0x10FFFF - n)
            return -1;
        n += index / ((uint32_t) count + 1);
        index %= (uint32_t) count + 1;
        memmove(points + index + 1, points + index, ((uint32_t) count - index) * sizeof(*points));
        points[index++] = n;
        count++;
    }
    return at < end ? -1 : count;
}

void peri_domain_to_unicode(struct peri_buf *out, struct peri_text name)
{
    const char *at = name.data;
    const char *end = name.data + name.len;
    while (at < end) {
        uint32_t points[LONGEST_LABEL];
        const char *dot = memchr(at, '.', (size_t) (end - at));
        const char *stop = dot != NULL ? dot : end;
        bool encoded = stop - at > 4 && memcmp(at, "xn--", 4) == 0;
        int count = encoded ? decode_label(at + 4, stop, points) : -1;
        for (int i = 0; i < count; i++)
            add_point(out, points[i]);
        if (count < 0)
            peri_buf_add(out, at, (size_t) (stop - at));
        if (dot != NULL)
            peri_buf_add_byte(out, '.');
        at = stop + (dot != NULL);
    }
}
