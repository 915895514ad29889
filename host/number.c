/* Two short algorithms over one table of powers of ten.
 *
 * Reading multiplies the first 19 digits with the power they stand at, once rounded down and once
 * rounded up. If both products round to the same double, so does everything between them (the idea
 * of Eisel and Lemire, with an interval in place of their case analysis); if not, which takes a
 * text built for it, strtod() decides.
 *
 * Writing is Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020): scale
 * the double and the two borders of what rounds to it, then choose among four candidates. */
#include "number.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANTISSA_BITS 52
#define HIDDEN_BIT (UINT64_C(1) << MANTISSA_BITS)
#define EXPONENT_BIAS 1023
#define EXPONENT_MASK 0x7ff
#define INFINITY_BITS ((uint64_t) EXPONENT_MASK << MANTISSA_BITS)

__extension__ typedef unsigned __int128 uint128;

/* ---- powers of ten ---- */

/* A power lies in [g, g + 1) * 2^n with 2^127 <= g < 2^128: this is g, or g + 1 where the power is
 * not g exactly, which makes it the upper end. */
struct power {
    uint64_t high;
    uint64_t low;
};

#define FIRST_POWER (-342) /* times 19 digits is still nothing: see read_digits() */
#define LAST_POWER 324     /* what the smallest double is scaled by */
#define LAST_EXACT_POWER 55

static struct power powers[LAST_POWER - FIRST_POWER + 1];

static const struct power *power_of_ten(int exponent)
{
    return &powers[exponent - FIRST_POWER];
}

/* The largest n with 2^n <= 10^exponent. */
static int floor_log2_of_power(int exponent)
{
    return (exponent * 1741647) >> 19;
}

#define WORDS 16 /* little-endian; 2^960 and 5^324 fit */

/* The 128 highest bits of a number, rounded up if bits below them are set or `more` follow. */
static struct power highest_bits(const uint64_t words[WORDS], bool more)
{
    int top = WORDS - 1;
    while (words[top] == 0)
        top--;
    uint64_t three[3] = {words[top], top > 0 ? words[top - 1] : 0, top > 1 ? words[top - 2] : 0};
    for (int i = top - 3; i >= 0; i--)
        more |= words[i] != 0;

    int zeros = __builtin_clzll(three[0]);
    uint128 bits = (uint128) three[0] << 64 | three[1];
    if (zeros > 0) {
        bits = bits << zeros | three[2] >> (64 - zeros);
        three[2] <<= zeros;
    }
    bits += more || three[2] != 0;
    return (struct power){(uint64_t) (bits >> 64), (uint64_t) bits};
}

/* Before main(), so that threads only ever read the table. It takes some 50 us. A power of ten has
 * the same leading bits as the power of five. */
__attribute__((constructor)) static void make_powers(void)
{
    uint64_t words[WORDS] = {1};
    for (int exponent = 0; exponent <= LAST_POWER; exponent++) {
        powers[exponent - FIRST_POWER] = highest_bits(words, false);
        uint64_t carry = 0;
        for (int i = 0; i < WORDS; i++) {
            uint128 product = (uint128) words[i] * 5 + carry;
            words[i] = (uint64_t) product;
            carry = (uint64_t) (product >> 64);
        }
    }

    memset(words, 0, sizeof(words));
    words[WORDS - 1] = 1; /* 2^960: divided 342 times by five, 166 bits are left */
    for (int exponent = -1; exponent >= FIRST_POWER; exponent--) {
        uint64_t rest = 0;
        for (int i = WORDS - 1; i >= 0; i--) {
            uint128 dividend = (uint128) rest << 64 | words[i];
            words[i] = (uint64_t) (dividend / 5);
            rest = (uint64_t) (dividend % 5);
        }
        powers[exponent - FIRST_POWER] = highest_bits(words, true);
    }
}

/* ---- reading ---- */

#define MAX_DIGITS 19 /* any number of so many digits fits 64 bits */

/* The significant digits of a text and what they are multiplied with. */
struct decimal {
    uint64_t digits;  /* the first MAX_DIGITS of them, without leading zeros */
    int64_t exponent; /* of ten */
    bool truncated;   /* there were more, and not only zeros */
    bool negative;
};

static bool is_digit(char c)
{
    return (unsigned char) (c - '0') < 10;
}

#define EXPONENT_ENOUGH 10000000000 /* outweighs all the digits a text can have */

static int64_t read_exponent(const char *at, const char *end)
{
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    int64_t exponent = 0;
    for (; at < end; at++) {
        if (exponent < EXPONENT_ENOUGH)
            exponent = exponent * 10 + (*at - '0');
    }
    return negative ? -exponent : exponent;
}

static struct decimal read_digits(const char *text, size_t len)
{
    struct decimal decimal = {.negative = len > 0 && text[0] == '-'};
    const char *at = text + decimal.negative;
    const char *end = text + len;
    int count = 0;
    bool fraction = false;

    for (; at < end; at++) {
        if (is_digit(*at)) {
            if (count < MAX_DIGITS) {
                decimal.digits = decimal.digits * 10 + (uint64_t) (*at - '0');
                count += decimal.digits != 0;
                decimal.exponent -= fraction;
            } else {
                decimal.truncated |= *at != '0';
                decimal.exponent += !fraction;
            }
        } else if (*at == '.') {
            fraction = true;
        } else {
            decimal.exponent += read_exponent(at + 1, end);
            break;
        }
    }
    return decimal;
}

/* The bits of the double nearest to digits * power, where `power` is one end of 10^exponent. */
static uint64_t nearest(uint64_t digits, const struct power *power, int exponent)
{
    int zeros = __builtin_clzll(digits);
    digits <<= zeros;
    uint128 low = (uint128) digits * power->low;
    uint128 high = (uint128) digits * power->high + (uint64_t) (low >> 64);
    int scale = floor_log2_of_power(exponent) + 1 - zeros; /* of the 64 bits in `top` */
    if (high >> 127 == 0) {
        high = high << 1 | ((uint64_t) low >> 63);
        low <<= 1;
        scale--;
    }
    uint64_t top = (uint64_t) (high >> 64);
    bool more = (uint64_t) high != 0 || (uint64_t) low != 0;

    int biased = scale + 63 + EXPONENT_BIAS;
    if (biased >= EXPONENT_MASK)
        return INFINITY_BITS;
    int shift = 63 - MANTISSA_BITS + (biased < 1 ? 1 - biased : 0); /* subnormals have fewer bits */
    uint64_t mantissa = shift < 64 ? top >> shift : 0;
    uint64_t dropped = shift < 64 ? top << (64 - shift) : shift == 64 ? top : 0;
    uint64_t half = UINT64_C(1) << 63;
    mantissa += dropped > half || (dropped == half && (more || mantissa % 2 == 1));
    /* The hidden bit, or a carry into it, adds one to the exponent. */
    return mantissa + ((uint64_t) (biased > 1 ? biased - 1 : 0) << MANTISSA_BITS);
}

/* A double needs no more than 767 digits to tell it from a tie; beyond them it only matters whether
 * any is not zero. Without a point in the text, no locale can misread it. */
static double read_slowly(const char *text, size_t len)
{
    char copy[840];
    size_t count = 0;
    int64_t exponent = 0;
    bool fraction = false;
    bool more = false;
    const char *end = text + len;

    for (const char *at = text; at < end; at++) {
        if (is_digit(*at)) {
            if (count < 800) {
                if (count > 0 || *at != '0')
                    copy[count++] = *at;
                exponent -= fraction;
            } else {
                more |= *at != '0';
                exponent += !fraction;
            }
        } else if (*at == '.') {
            fraction = true;
        } else if (*at == 'e' || *at == 'E') {
            exponent += read_exponent(at + 1, end);
            break;
        }
    }
    if (more) {
        copy[count++] = '1';
        exponent--;
    }
    snprintf(copy + count, sizeof(copy) - count, "e%lld", (long long) exponent);
    return strtod(copy, NULL);
}

static double from_bits(uint64_t bits)
{
    double value = 0;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static double read_positive(const struct decimal *decimal, const char *text, size_t len)
{
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int exact_max = sizeof(exact) / sizeof(exact[0]) - 1;

    uint64_t digits = decimal->digits;
    if (digits == 0 || decimal->exponent < FIRST_POWER)
        return 0;
    if (decimal->exponent > 308)
        return from_bits(INFINITY_BITS);
    int exponent = (int) decimal->exponent;

    /* Both operands are exact, so the one operation rounds correctly (Clinger). */
    if (digits <= 2 * HIDDEN_BIT && !decimal->truncated) {
        if (exponent >= 0 && exponent <= exact_max)
            return (double) digits * exact[exponent];
        if (exponent < 0 && exponent >= -exact_max)
            return (double) digits / exact[-exponent];
    }

    const struct power *upper = power_of_ten(exponent);
    struct power lower = *upper;
    if (exponent < 0 || exponent > LAST_EXACT_POWER)
        lower.low--; /* is 0 in none of these */
    uint64_t bits = nearest(digits, &lower, exponent);
    if (bits == nearest(digits + decimal->truncated, upper, exponent))
        return from_bits(bits);
    return read_slowly(text, len);
}

double peri_number_read(const char *text, size_t len)
{
    struct decimal decimal = read_digits(text, len);
    double value = read_positive(&decimal, text, len);
    return decimal.negative ? -value : value;
}

/* ---- writing ---- */

/* The upper 64 bits of power * scaled, their last bit set if any bit below is: enough to compare
 * the exact product with integers (the paper's section 9.10). */
static uint64_t round_to_odd(const struct power *power, uint64_t scaled)
{
    uint128 low = (uint128) power->low * scaled;
    uint128 high = (uint128) power->high * scaled + (uint64_t) (low >> 64);
    return (uint64_t) (high >> 64) | ((uint64_t) high > 1);
}

/* The shortest digits * 10^*exponent that reads back as c * 2^q. `narrow`: c is a power of two, so
 * the double below is only half as far away as the one above. */
static uint64_t shortest(uint64_t c, int q, bool narrow, int *exponent)
{
    int k = (q * 1262611 - (narrow ? 524031 : 0)) >> 22; /* floor(log10) of the interval's width */
    int h = q + floor_log2_of_power(-k) + 1;
    const struct power *power = power_of_ten(-k);
    uint64_t odd = c % 2; /* the borders themselves round to the even neighbour */
    uint64_t lower = round_to_odd(power, (4 * c - 2 + narrow) << h) + odd;
    uint64_t middle = round_to_odd(power, (4 * c) << h);
    uint64_t upper = round_to_odd(power, (4 * c + 2) << h) - odd;

    uint64_t digits = middle / 4;
    if (digits >= 10) {
        uint64_t shorter = digits / 10;
        bool below = lower <= 40 * shorter;
        bool above = 40 * shorter + 40 <= upper;
        if (below != above) {
            *exponent = k + 1;
            return shorter + above;
        }
    }
    *exponent = k;
    bool below = lower <= 4 * digits;
    bool above = 4 * digits + 4 <= upper;
    if (below != above)
        return digits + above;
    uint64_t half = 4 * digits + 2;
    return digits + (middle > half || (middle == half && digits % 2 == 1));
}

/* Prices and such: a number of at most four places. No two decimals of at most 15 digits are the
 * same double, so one that reads as this number is the shortest there is, once its zeros are gone.
 * Both operands of the division are exact, and so it rounds as reading does. */
static bool has_few_places(uint64_t bits, uint64_t *digits)
{
    double value = 0;
    memcpy(&value, &bits, sizeof(value));
    if (!(value < 1e11))
        return false;
    int64_t rounded = (int64_t) (value * 1e4 + 0.5);
    *digits = (uint64_t) rounded;
    return (double) rounded / 1e4 == value;
}

static uint64_t to_decimal(uint64_t bits, int *exponent)
{
    uint64_t mantissa = bits & (HIDDEN_BIT - 1);
    int biased = (int) (bits >> MANTISSA_BITS & EXPONENT_MASK);
    uint64_t c = biased == 0 ? mantissa : mantissa | HIDDEN_BIT;
    int q = (biased == 0 ? 1 : biased) - EXPONENT_BIAS - MANTISSA_BITS;

    *exponent = 0;
    if (c == 0)
        return 0;
    if (q <= 0 && q >= -MANTISSA_BITS && c % (UINT64_C(1) << -q) == 0)
        return c >> -q; /* an integer below 2^53 needs all of its digits */
    uint64_t digits = 0;
    if (has_few_places(bits, &digits)) {
        *exponent = -4;
        return digits;
    }
    return shortest(c, q, mantissa == 0 && biased > 1, exponent);
}

/* Most numbers are as short as 35.4, which comes as 3540000000000000. At most 16 zeros are there.
 */
static uint64_t strip_zeros(uint64_t digits, int *exponent)
{
    if (digits == 0 || digits % 10 != 0)
        return digits;
    while (digits % 100000000 == 0) {
        digits /= 100000000;
        *exponent += 8;
    }
    if (digits % 10000 == 0) {
        digits /= 10000;
        *exponent += 4;
    }
    if (digits % 100 == 0) {
        digits /= 100;
        *exponent += 2;
    }
    if (digits % 10 == 0) {
        digits /= 10;
        *exponent += 1;
    }
    return digits;
}

/* Fills the end of `text`; returns where the digits begin. */
static char *write_digits(char *end, uint64_t digits)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    for (; digits >= 100; digits /= 100) {
        end -= 2;
        memcpy(end, pairs + digits % 100 * 2, 2);
    }
    if (digits >= 10) {
        end -= 2;
        memcpy(end, pairs + digits * 2, 2);
    } else {
        *--end = (char) ('0' + digits);
    }
    return end;
}

static char *put(char *out, const char *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

static char *put_zeros(char *out, int count)
{
    memset(out, '0', (size_t) count);
    return out + count;
}

static char *put_exponent(char *out, int exponent)
{
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    exponent = abs(exponent);
    if (exponent >= 100)
        *out++ = (char) ('0' + exponent / 100);
    *out++ = (char) ('0' + exponent / 10 % 10);
    *out++ = (char) ('0' + exponent % 10);
    return out;
}

size_t peri_number_write(char *out, double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(bits));
    char *start = out;
    if (bits >> 63 != 0)
        *out++ = '-';

    int exponent = 0;
    uint64_t decimal = to_decimal(bits & ~(UINT64_C(1) << 63), &exponent);
    decimal = strip_zeros(decimal, &exponent);
    char text[20];
    char *end = text + sizeof(text);
    char *digits = write_digits(end, decimal);
    int count = (int) (end - digits);
    int point = count + exponent; /* stands behind so many digits */

    if (point > 16 || point <= -4) {
        *out++ = digits[0];
        if (count > 1) {
            *out++ = '.';
            out = put(out, digits + 1, (size_t) count - 1);
        }
        out = put_exponent(out, point - 1);
    } else if (point <= 0) {
        out = put(out, "0.", 2);
        out = put_zeros(out, -point);
        out = put(out, digits, (size_t) count);
    } else if (point >= count) {
        out = put(out, digits, (size_t) count);
        out = put_zeros(out, point - count);
        out = put(out, ".0", 2);
    } else {
        out = put(out, digits, (size_t) point);
        *out++ = '.';
        out = put(out, digits + point, (size_t) (count - point));
    }
    return (size_t) (out - start);
}
