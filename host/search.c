#include "search.h"

#include <ctype.h>
#include <string.h>

#define ESCAPE '%'
#define SCAN 4096 /* characters that are looked at in one go */

enum choice {
    LONGER,   /* one more of the item, which matches at least once more */
    SHORTER,  /* one less of it */
    COUNTING, /* how often the item matches is not known yet */
    WITHOUT,  /* none of it */
    UNOPEN,   /* forget the last capture */
    UNCLOSE,  /* the capture `count` is open again */
};

static int byte_at(const char *at)
{
    return (unsigned char) *at;
}

static const char *fail(struct peri_search *search, const char *fault, int index)
{
    search->fault = fault;
    search->fault_index = index;
    return NULL;
}

/* --- items: what matches one character ---------------------------------------------------------
 */

static bool in_class(int c, int class)
{
    switch (class) {
    case 'a':
        return isalpha(c);
    case 'A':
        return !isalpha(c);
    case 'c':
        return iscntrl(c);
    case 'C':
        return !iscntrl(c);
    case 'd':
        return isdigit(c);
    case 'D':
        return !isdigit(c);
    case 'g':
        return isgraph(c);
    case 'G':
        return !isgraph(c);
    case 'l':
        return islower(c);
    case 'L':
        return !islower(c);
    case 'p':
        return ispunct(c);
    case 'P':
        return !ispunct(c);
    case 's':
        return isspace(c);
    case 'S':
        return !isspace(c);
    case 'u':
        return isupper(c);
    case 'U':
        return !isupper(c);
    case 'w':
        return isalnum(c);
    case 'W':
        return !isalnum(c);
    case 'x':
        return isxdigit(c);
    case 'X':
        return !isxdigit(c);
    case 'z': /* deprecated, and still there */
        return c == 0;
    case 'Z':
        return c != 0;
    default:
        return class == c;
    }
}

/* A set from its '[' to its ']', which is at `end`. */
static bool in_set(int c, const char *set, const char *end)
{
    bool negated = set[1] == '^';
    for (const char *at = set + 1 + negated; at < end; at++) {
        bool found;
        if (*at == ESCAPE) {
            at++;
            found = in_class(c, byte_at(at));
        } else if (at[1] == '-' && at + 2 < end) {
            found = byte_at(at) <= c && c <= byte_at(at + 2);
            at += 2;
        } else {
            found = byte_at(at) == c;
        }
        if (found)
            return !negated;
    }
    return negated;
}

static bool matches(int c, const char *item, const char *item_end)
{
    switch (*item) {
    case '.':
        return true;
    case ESCAPE:
        return in_class(c, byte_at(item + 1));
    case '[':
        return in_set(c, item, item_end - 1);
    default:
        return byte_at(item) == c;
    }
}

/* How many of the characters at `at`, of which there are `most`, match one after the other. */
static size_t count_matches(const char *at, size_t most, const char *item, const char *item_end)
{
    size_t count = 0;
    switch (*item) {
    case '.':
        return most;
    case ESCAPE:
        while (count < most && in_class(byte_at(at + count), byte_at(item + 1)))
            count++;
        return count;
    case '[':
        while (count < most && in_set(byte_at(at + count), item, item_end - 1))
            count++;
        return count;
    default:
        while (count < most && at[count] == *item)
            count++;
        return count;
    }
}

static const char *set_end(struct peri_search *search, const char *at)
{
    if (*at == '^')
        at++;
    do { /* a ']' that comes first is one of the set */
        if (at == search->pattern_end)
            return fail(search, "malformed pattern (missing ']')", -1);
        if (*at++ == ESCAPE && at < search->pattern_end)
            at++;
    } while (*at != ']');
    return at + 1;
}

/* NULL when the item is malformed. */
static const char *end_of_item(struct peri_search *search, const char *item)
{
    if (*item == '[')
        return set_end(search, item + 1);
    if (*item != ESCAPE)
        return item + 1;
    if (item + 1 == search->pattern_end)
        return fail(search, "malformed pattern (ends with '%')", -1);
    return item + 2;
}

/* --- choices -----------------------------------------------------------------------------------
 */

/* Returns false when the pattern is too complex. */
static bool push(struct peri_search *search, enum choice kind, const char *at, const char *item,
                 const char *item_end, size_t count)
{
    if (search->choice_count == PERI_SEARCH_CHOICES) {
        fail(search, "pattern too complex", -1);
        return false;
    }
    struct peri_search_choice *choice = &search->choices[search->choice_count++];
    choice->at = at;
    choice->item = item;
    choice->item_end = item_end;
    choice->count = count;
    choice->kind = (uint8_t) kind;
    return true;
}

/* Counts on from what is known. Returns whether that is all; otherwise the search pauses here. */
static bool count_on(struct peri_search *search, struct peri_search_choice *choice)
{
    const char *from = choice->at + choice->count;
    size_t left = (size_t) (search->text_end - from);
    size_t most = left < SCAN || *choice->item == '.' ? left : SCAN;
    size_t count = count_matches(from, most, choice->item, choice->item_end);
    choice->count += count;
    bool known = count < most || most == left;
    choice->kind = known ? SHORTER : COUNTING;
    if (*choice->item != '.')
        search->budget -= (int64_t) count;
    return known;
}

static bool open_capture(struct peri_search *search, const char *at, ptrdiff_t len)
{
    if (search->capture_count == PERI_SEARCH_CAPTURES) {
        fail(search, "too many captures", -1);
        return false;
    }
    search->captures[search->capture_count++] = (struct peri_capture){at, len};
    return push(search, UNOPEN, NULL, NULL, NULL, 0);
}

static bool close_capture(struct peri_search *search, const char *at)
{
    for (unsigned i = search->capture_count; i-- > 0;) {
        struct peri_capture *capture = &search->captures[i];
        if (capture->len != PERI_CAPTURE_OPEN)
            continue;
        capture->len = at - capture->at;
        return push(search, UNCLOSE, NULL, NULL, NULL, i);
    }
    fail(search, "invalid pattern capture", -1);
    return false;
}

/* --- what stands for more than one character ---------------------------------------------------
 */

/* %bxy: returns the end of what is balanced at `at`, or NULL. */
static const char *balanced(struct peri_search *search, const char *at, const char *pair)
{
    if (pair + 1 >= search->pattern_end)
        return fail(search, "malformed pattern (missing arguments to '%b')", -1);
    if (at == search->text_end || *at != pair[0])
        return NULL;
    const char *from = at;
    size_t open = 1;
    while (++at < search->text_end) {
        if (*at == pair[1]) {
            if (--open == 0)
                break;
        } else if (*at == pair[0]) {
            open++;
        }
    }
    search->budget -= at - from;
    return at < search->text_end ? at + 1 : NULL;
}

/* %f[set]: returns the end of the item when `at` is where the set begins to match, or NULL. */
static const char *frontier(struct peri_search *search, const char *at, const char *set)
{
    if (*set != '[')
        return fail(search, "missing '[' after '%f' in pattern", -1);
    const char *end = set_end(search, set + 1);
    if (end == NULL)
        return NULL;
    int before = at == search->text ? 0 : byte_at(at - 1);
    return !in_set(before, set, end - 1) && in_set(byte_at(at), set, end - 1) ? end : NULL;
}

/* %1: returns the end of what repeats the capture, or NULL. */
static const char *repeated(struct peri_search *search, const char *at, int digit)
{
    int index = digit - '1';
    if (index < 0 || index >= (int) search->capture_count ||
        search->captures[index].len == PERI_CAPTURE_OPEN)
        return fail(search, "invalid capture index %", index + 1);
    const struct peri_capture *capture = &search->captures[index];
    if (capture->len < 0 || search->text_end - at < capture->len)
        return NULL;
    search->budget -= capture->len / 16;
    return memcmp(at, capture->at, (size_t) capture->len) == 0 ? at + capture->len : NULL;
}

/* --- matching ----------------------------------------------------------------------------------
 */

/* Where the rest of the pattern is to match next. */
struct place {
    const char *at;
    const char *item;
};

/* Takes an item with what may follow it: '?', '*', '+' or '-'. Returns whether it matches. */
static bool take_item(struct peri_search *search, struct place *place)
{
    const char *at = place->at;
    const char *item = place->item;
    const char *end = end_of_item(search, item);
    if (end == NULL)
        return false;
    bool here = at < search->text_end && matches(byte_at(at), item, end);
    switch (*end) {
    case '?':
        *place = (struct place){at + here, end + 1};
        return !here || push(search, WITHOUT, at, item, end, 0);
    case '-':
        *place = (struct place){at, end + 1};
        return !here || push(search, LONGER, at, item, end, 0);
    case '+':
        if (!here)
            return false;
        at++;
        break;
    case '*':
        if (here)
            break;
        place->item = end + 1;
        return true;
    default:
        *place = (struct place){at + 1, end};
        return here;
    }
    if (!push(search, COUNTING, at, item, end, 0))
        return false;
    struct peri_search_choice *choice = &search->choices[search->choice_count - 1];
    if (!count_on(search, choice))
        return false;
    *place = (struct place){choice->at + choice->count, end + 1};
    return true;
}

/* Matches the rest of the pattern as far as it goes, leaving choices behind and `place` where it
 * came to. Returns the end of the match, or NULL when it does not go on. */
static const char *go_on(struct peri_search *search, struct place *place)
{
    const char *next;
    while (place->item != search->pattern_end) {
        switch (*place->item) {
        case '(': {
            bool position = place->item[1] == ')';
            if (!open_capture(search, place->at,
                              position ? PERI_CAPTURE_POSITION : PERI_CAPTURE_OPEN))
                return NULL;
            place->item += 1 + position;
            continue;
        }
        case ')':
            if (!close_capture(search, place->at))
                return NULL;
            place->item++;
            continue;
        case '$':
            if (place->item + 1 != search->pattern_end)
                break;
            return place->at == search->text_end ? place->at : NULL;
        case ESCAPE:
            switch (place->item[1]) {
            case 'b':
                next = balanced(search, place->at, place->item + 2);
                if (next == NULL)
                    return NULL;
                *place = (struct place){next, place->item + 4};
                continue;
            case 'f':
                next = frontier(search, place->at, place->item + 2);
                if (next == NULL)
                    return NULL;
                place->item = next;
                continue;
            case '0':
            case '1':
            case '2':
            case '3':
            case '4':
            case '5':
            case '6':
            case '7':
            case '8':
            case '9':
                next = repeated(search, place->at, byte_at(place->item + 1));
                if (next == NULL)
                    return NULL;
                *place = (struct place){next, place->item + 2};
                continue;
            default:
                break;
            }
            break;
        default:
            break;
        }
        if (!take_item(search, place))
            return NULL;
    }
    return place->at;
}

/* Where the pattern goes on after the item of a choice, that was matched up to `at`. */
static struct place behind(const struct peri_search_choice *choice, const char *at)
{
    return (struct place){at, choice->item_end + 1}; /* its '*', '+', '-' or '?' */
}

enum back { NEXT, EXHAUSTED, NOT_YET };

/* Goes back to the last choice and finds where to go on from there. */
static enum back go_back(struct peri_search *search, struct place *place)
{
    while (search->choice_count > 0) {
        struct peri_search_choice *choice = &search->choices[search->choice_count - 1];
        switch ((enum choice) choice->kind) {
        case LONGER:
            if (choice->at == search->text_end ||
                !matches(byte_at(choice->at), choice->item, choice->item_end))
                break;
            *place = behind(choice, ++choice->at);
            return NEXT;
        case SHORTER:
            if (choice->count == 0)
                break;
            *place = behind(choice, choice->at + --choice->count);
            return NEXT;
        case COUNTING:
            if (!count_on(search, choice))
                return NOT_YET;
            *place = behind(choice, choice->at + choice->count);
            return NEXT;
        case WITHOUT:
            *place = behind(choice, choice->at);
            search->choice_count--;
            return NEXT;
        case UNOPEN:
            search->capture_count--;
            break;
        case UNCLOSE:
            search->captures[choice->count].len = PERI_CAPTURE_OPEN;
            break;
        }
        search->choice_count--;
    }
    return EXHAUSTED;
}

/* Finds where a match may begin. */
static bool find_lead(struct peri_search *search)
{
    if (search->lead < 0 || search->anchored)
        return true;
    size_t left = (size_t) (search->text_end - search->begin);
    const char *found = memchr(search->begin, search->lead, left);
    if (found != NULL)
        search->begin = found;
    return found != NULL;
}

/* Begins an attempt. Returns false when there is nowhere left to try. */
static bool begin(struct peri_search *search, struct place *place)
{
    if (!find_lead(search))
        return false;
    search->under_way = true;
    search->capture_count = search->choice_count = 0;
    *place = (struct place){search->begin, search->pattern};
    return true;
}

enum peri_found peri_search_run(struct peri_search *search)
{
    struct place place;
    while (search->budget-- > 0) {
        enum back back = NEXT;
        if (search->under_way)
            back = go_back(search, &place);
        else if (!begin(search, &place))
            return PERI_FOUND_NOTHING;
        if (back == NEXT) {
            const char *from = place.item;
            search->end = go_on(search, &place);
            search->budget -= place.item - from;
            if (search->end == NULL) {
                if (search->fault != NULL)
                    return PERI_FOUND_FAULT;
                continue;
            }
            if (search->end != search->last) {
                search->under_way = false;
                return PERI_FOUND;
            }
        }
        if (back == NOT_YET)
            continue;
        search->under_way = false; /* not from here */
        if (search->anchored || search->begin == search->text_end)
            return PERI_FOUND_NOTHING;
        search->begin++;
    }
    return PERI_FOUND_LATER;
}

/* The characters that mean something in a pattern, but ')', which Lua does not count. */
static bool is_special(int c)
{
    static const bool special[256] = {
        ['^'] = true, ['$'] = true, ['*'] = true, ['+'] = true, ['?'] = true,
        ['.'] = true, ['('] = true, ['['] = true, ['%'] = true, ['-'] = true,
    };
    return special[c];
}

bool peri_search_is_plain(const char *pattern, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (is_special(byte_at(pattern + i)))
            return false;
    }
    return true;
}

/* A literal character that is not repeated. */
static int find_lead_byte(const char *pattern, size_t len)
{
    if (len == 0 || is_special(byte_at(pattern)) || *pattern == ')')
        return -1;
    return len > 1 && strchr("*?-", pattern[1]) != NULL ? -1 : byte_at(pattern);
}

void peri_search_init(struct peri_search *search, const char *text, size_t text_len,
                      const char *pattern, size_t pattern_len)
{
    search->text = search->begin = text;
    search->text_end = text + text_len;
    search->pattern = pattern;
    search->pattern_end = pattern + pattern_len;
    search->last = NULL;
    search->fault = NULL;
    search->budget = PERI_SEARCH_BUDGET;
    search->lead = find_lead_byte(pattern, pattern_len);
    search->anchored = search->under_way = false;
    search->capture_count = search->choice_count = 0;
}
