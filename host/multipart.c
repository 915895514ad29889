#include "multipart.h"

#include <strings.h>

/* Where the next byte belongs. */
enum state {
    PREAMBLE,       /* line ends before the first boundary */
    FIRST,          /* in the first boundary, which needs no CRLF before it */
    DATA,           /* in the bytes of a part, or in what may be the delimiter behind them */
    DELIMITER,      /* behind a whole delimiter */
    DELIMITER_CR,   /* behind that and CR */
    DELIMITER_DASH, /* behind that and - */
    PADDING,        /* behind that and white space */
    PADDING_CR,
    LINE_START, /* of a header line, or of the empty one */
    LINE_NAME,
    LINE_SPACES, /* behind the colon */
    LINE_VALUE,
    LINE_LF,
    HEAD_LF, /* in the empty line */
    EPILOGUE,
};

/* --- header values with parameters -------------------------------------------------------------
 */

struct span {
    const char *at;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trimmed(const char *at, size_t len)
{
    while (len > 0 && is_blank(*at)) {
        at++;
        len--;
    }
    while (len > 0 && is_blank(at[len - 1]))
        len--;
    return (struct span){at, len};
}

/* Takes what comes before the next semicolon outside of quotes. Quotes that are never closed go on
 * to the end. */
static struct span next_segment(struct span *rest)
{
    const char *at = rest->at;
    size_t i = 0;
    bool quoted = false;
    while (i < rest->len && (quoted || at[i] != ';')) {
        if (at[i] == '"' && (i == 0 || at[i - 1] != '\\'))
            quoted = !quoted;
        i++;
    }
    size_t taken = i < rest->len ? i + 1 : i;
    rest->at += taken;
    rest->len -= taken;
    return trimmed(at, i);
}

static bool equals(struct span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(span.at, text, span.len) == 0;
}

/* Takes the backslash away before each `escaped` from `start` on. */
static void unescape(struct peri_buf *buf, size_t start, char escaped)
{
    size_t to = start;
    for (size_t i = start; i < buf->len; i++) {
        if (buf->data[i] == '\\' && i + 1 < buf->len && buf->data[i + 1] == escaped)
            i++;
        buf->data[to++] = buf->data[i];
    }
    buf->len = to;
}

static void add_value(struct peri_buf *out, struct span value)
{
    bool quoted = value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"';
    if (!quoted) {
        peri_buf_add(out, value.at, value.len);
        return;
    }
    size_t start = out->len;
    peri_buf_add(out, value.at + 1, value.len - 2);
    unescape(out, start, '\\');
    unescape(out, start, '"');
}

bool peri_header_is(const char *value, size_t len, const char *type)
{
    struct span rest = {value, len};
    return equals(next_segment(&rest), type);
}

bool peri_header_param(const char *value, size_t len, const char *name, struct peri_buf *out)
{
    struct span rest = {value, len};
    size_t start = out->len;
    bool found = false;
    next_segment(&rest); /* the type */
    while (rest.len > 0) {
        struct span segment = next_segment(&rest);
        const char *sign = segment.len > 0 ? memchr(segment.at, '=', segment.len) : NULL;
        size_t name_len = sign != NULL ? (size_t) (sign - segment.at) : segment.len;
        if (!equals(trimmed(segment.at, name_len), name))
            continue;
        found = true;
        out->len = start;
        if (sign != NULL)
            add_value(out, trimmed(sign + 1, segment.len - name_len - 1));
    }
    return found;
}

/* --- the head of a part ------------------------------------------------------------------------
 */

/* RFC 9110, 5.6.2 */
static bool is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* The last Content-Disposition counts. */
static struct span find_disposition(const struct peri_multipart *multipart)
{
    static const char name[] = "content-disposition";
    for (unsigned i = multipart->line_count; i-- > 0;) {
        const struct peri_multipart_line *line = &multipart->lines[i];
        const char *head = multipart->head.data;
        if (equals((struct span){head + line->name_at, line->name_len}, name))
            return (struct span){head + line->value_at, line->value_len};
    }
    return (struct span){"", 0};
}

/* Old Internet Explorers send the whole path: C:\folder\file or \\server\file. */
static struct span without_path(struct span name)
{
    bool drive = name.len >= 3 && name.at[1] == ':' && name.at[2] == '\\';
    bool share = name.len >= 2 && name.at[0] == '\\' && name.at[1] == '\\';
    const char *last = drive || share ? memrchr(name.at, '\\', name.len) : NULL;
    if (last == NULL)
        return name;
    return (struct span){last + 1, (size_t) (name.at + name.len - last) - 1};
}

/* The headers are complete: tells of the part. What has to be unquoted is appended to the head. */
static int begin_part(struct peri_multipart *multipart)
{
    struct peri_buf *head = &multipart->head;
    size_t room = find_disposition(multipart).len;
    peri_buf_reserve(head, 2 * room + 1); /* from here on the head does not move */
    struct span disposition = find_disposition(multipart);

    struct span name = {head->data + head->len, 0};
    if (!peri_header_param(disposition.at, disposition.len, "name", head))
        return PERI_MULTIPART_UNNAMED;
    name.len = (size_t) (head->data + head->len - name.at);
    struct span filename = {head->data + head->len, 0};
    bool is_file = peri_header_param(disposition.at, disposition.len, "filename", head);
    filename.len = (size_t) (head->data + head->len - filename.at);
    filename = without_path(filename);

    struct peri_part_header headers[PERI_PART_MAX_HEADERS];
    for (unsigned i = 0; i < multipart->line_count; i++) {
        const struct peri_multipart_line *line = &multipart->lines[i];
        headers[i] = (struct peri_part_header){head->data + line->name_at, line->name_len,
                                               head->data + line->value_at, line->value_len};
    }
    struct peri_part part = {
        .name = name.at,
        .name_len = name.len,
        .filename = is_file ? filename.at : NULL,
        .filename_len = filename.len,
        .headers = headers,
        .header_count = multipart->line_count,
    };
    return multipart->events->part(multipart->context, &part);
}

static int begin_line(struct peri_multipart *multipart)
{
    if (multipart->line_count == PERI_PART_MAX_HEADERS)
        return PERI_MULTIPART_INVALID;
    multipart->lines[multipart->line_count] =
        (struct peri_multipart_line){.name_at = (uint32_t) multipart->head.len};
    multipart->line_bytes = 0;
    return 0;
}

static void end_line(struct peri_multipart *multipart)
{
    struct peri_multipart_line *line = &multipart->lines[multipart->line_count++];
    line->value_len = (uint32_t) multipart->head.len - line->value_at;
}

static int read_name(struct peri_multipart *multipart, char c)
{
    struct peri_multipart_line *line = &multipart->lines[multipart->line_count];
    if (c == ':') {
        line->name_len = (uint32_t) multipart->head.len - line->name_at;
        multipart->state = LINE_SPACES;
        return line->name_len == 0 ? PERI_MULTIPART_INVALID : 0;
    }
    if (!is_token(c))
        return PERI_MULTIPART_INVALID;
    peri_buf_add_byte(&multipart->head, (char) (c >= 'A' && c <= 'Z' ? c | 32 : c));
    return 0;
}

/* Takes one byte of the header lines. */
static int read_head(struct peri_multipart *multipart, char c)
{
    enum state state = multipart->state;
    if (state == LINE_START) {
        if (c == '\r') {
            multipart->state = HEAD_LF;
            return 0;
        }
        int rc = begin_line(multipart);
        if (rc != 0)
            return rc;
        multipart->state = state = LINE_NAME;
    }
    if (state == LINE_LF || state == HEAD_LF) {
        if (c != '\n')
            return PERI_MULTIPART_INVALID;
        multipart->state = state == LINE_LF ? LINE_START : DATA;
        return state == LINE_LF ? 0 : begin_part(multipart);
    }
    if (c == '\r' && state != LINE_NAME) {
        if (state == LINE_SPACES)
            multipart->lines[multipart->line_count].value_at = (uint32_t) multipart->head.len;
        end_line(multipart);
        multipart->state = LINE_LF;
        return 0;
    }
    if (++multipart->line_bytes > PERI_PART_MAX_LINE)
        return PERI_MULTIPART_INVALID;
    if (state == LINE_NAME)
        return read_name(multipart, c);
    if (state == LINE_SPACES) {
        if (c == ' ')
            return 0;
        multipart->lines[multipart->line_count].value_at = (uint32_t) multipart->head.len;
        multipart->state = LINE_VALUE;
    }
    peri_buf_add_byte(&multipart->head, c);
    return 0;
}

/* --- the bytes of a part and the boundaries between them ---------------------------------------
 */

static int give(struct peri_multipart *multipart, const char *bytes, size_t len)
{
    return len == 0 ? 0 : multipart->events->data(multipart->context, bytes, len);
}

/* How many bytes at the end may be the beginning of the delimiter. Its CR occurs nowhere else in
 * it: only the last one counts. */
static size_t match_tail(const struct peri_multipart *multipart, const char *bytes, size_t len)
{
    size_t longest = multipart->delimiter_len - 1;
    size_t from = len > longest ? len - longest : 0;
    const char *cr = memrchr(bytes + from, '\r', len - from);
    size_t tail = cr != NULL ? (size_t) (bytes + len - cr) : 0;
    return tail > 0 && memcmp(cr, multipart->delimiter, tail) == 0 ? tail : 0;
}

/* Takes what it can of a part's bytes; *used says how much. */
static int read_data(struct peri_multipart *multipart, const char *bytes, size_t len, size_t *used)
{
    if (multipart->matched > 0) { /* a delimiter began in an earlier piece */
        if (*bytes == multipart->delimiter[multipart->matched]) {
            *used = 1;
            if (++multipart->matched == multipart->delimiter_len)
                multipart->state = DELIMITER;
            return 0;
        }
        size_t held = multipart->matched;
        multipart->matched = 0;
        *used = 0;
        return give(multipart, multipart->delimiter, held);
    }
    const char *found = memmem(bytes, len, multipart->delimiter, multipart->delimiter_len);
    if (found != NULL) {
        *used = (size_t) (found - bytes) + multipart->delimiter_len;
        multipart->state = DELIMITER;
        return give(multipart, bytes, (size_t) (found - bytes));
    }
    *used = len;
    multipart->matched = match_tail(multipart, bytes, len);
    return give(multipart, bytes, len - multipart->matched);
}

/* It was no delimiter but data that looks like one, which the first boundary cannot be. `behind`
 * came after it. */
static int not_a_delimiter(struct peri_multipart *multipart, const char *behind)
{
    if (!multipart->in_part)
        return PERI_MULTIPART_INVALID;
    multipart->state = DATA;
    multipart->matched = 0;
    int rc = give(multipart, multipart->delimiter, multipart->delimiter_len);
    return rc != 0 ? rc : give(multipart, behind, strlen(behind));
}

static int end_part(struct peri_multipart *multipart, enum state next)
{
    bool in_part = multipart->in_part;
    multipart->state = (uint8_t) next;
    multipart->matched = 0;
    multipart->in_part = next == LINE_START;
    multipart->head.len = 0;
    multipart->line_count = 0;
    return in_part ? multipart->events->part_end(multipart->context) : 0;
}

/* Takes one byte behind a delimiter; *used is 0 when it belongs to the data after all. */
static int read_delimiter(struct peri_multipart *multipart, char c, size_t *used)
{
    *used = 1;
    switch ((enum state) multipart->state) {
    case DELIMITER:
        if (c == '\r')
            multipart->state = DELIMITER_CR;
        else if (c == '-')
            multipart->state = DELIMITER_DASH;
        else if (is_blank(c) && multipart->in_part)
            multipart->state = PADDING;
        else
            break;
        return 0;
    case DELIMITER_CR:
        if (c == '\n')
            return end_part(multipart, LINE_START);
        *used = 0;
        return not_a_delimiter(multipart, "\r");
    case DELIMITER_DASH:
        if (c == '-')
            return end_part(multipart, EPILOGUE);
        *used = 0;
        return not_a_delimiter(multipart, "-");
    case PADDING:
        if (c == '\r')
            multipart->state = PADDING_CR;
        return c == '\r' || is_blank(c) ? 0 : PERI_MULTIPART_INVALID;
    default: /* PADDING_CR */
        return c == '\n' ? end_part(multipart, LINE_START) : PERI_MULTIPART_INVALID;
    }
    *used = 0;
    return not_a_delimiter(multipart, "");
}

/* Takes one byte of the first boundary or of what stands before it. */
static int read_first(struct peri_multipart *multipart, char c)
{
    if (multipart->state == PREAMBLE && (c == '\r' || c == '\n'))
        return 0;
    multipart->state = FIRST;
    if (c != multipart->delimiter[multipart->matched])
        return PERI_MULTIPART_INVALID;
    if (++multipart->matched == multipart->delimiter_len)
        multipart->state = DELIMITER;
    return 0;
}

/* Takes at least one byte, or changes the state. */
static int step(struct peri_multipart *multipart, const char *bytes, size_t len, size_t *used)
{
    *used = 1;
    switch ((enum state) multipart->state) {
    case PREAMBLE:
    case FIRST:
        return read_first(multipart, *bytes);
    case DATA:
        return read_data(multipart, bytes, len, used);
    case DELIMITER:
    case DELIMITER_CR:
    case DELIMITER_DASH:
    case PADDING:
    case PADDING_CR:
        return read_delimiter(multipart, *bytes, used);
    case LINE_START:
    case LINE_NAME:
    case LINE_SPACES:
    case LINE_VALUE:
    case LINE_LF:
    case HEAD_LF:
        return read_head(multipart, *bytes);
    case EPILOGUE:
        break;
    }
    *used = len;
    return 0;
}

int peri_multipart_init(struct peri_multipart *multipart, const char *boundary, size_t len,
                        const struct peri_multipart_events *events, void *context)
{
    *multipart = (struct peri_multipart){.events = events, .context = context, .matched = 2};
    if (len > PERI_BOUNDARY_MAX)
        return multipart->error = PERI_MULTIPART_INVALID;
    memcpy(multipart->delimiter, "\r\n--", 4);
    if (len > 0)
        memcpy(multipart->delimiter + 4, boundary, len);
    multipart->delimiter_len = 4 + len;
    return 0;
}

void peri_multipart_deinit(struct peri_multipart *multipart)
{
    peri_buf_deinit(&multipart->head);
}

int peri_multipart_feed(struct peri_multipart *multipart, const char *bytes, size_t len)
{
    while (len > 0 && multipart->error == 0) {
        size_t used = 0;
        multipart->error = step(multipart, bytes, len, &used);
        bytes += used;
        len -= used;
    }
    return multipart->error;
}

bool peri_multipart_is_complete(const struct peri_multipart *multipart)
{
    return multipart->state == EPILOGUE && multipart->error == 0;
}
