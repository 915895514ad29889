/* Doubles and their decimal texts: exact both ways, whatever the locale. Pure. */
#ifndef PERI_NUMBER_H
#define PERI_NUMBER_H

#include <stddef.h>

/* The double nearest to a text in JSON's number grammar; a tie goes to the even one, what is too
 * large becomes an infinity. The text needs no NUL behind it. */
double peri_number_read(const char *text, size_t len);

/* Room for the longest text that peri_number_write() makes: -2.2250738585072014e-308. */
#define PERI_NUMBER_MAX 24

/* Writes the fewest digits that read back as the same double, of several such texts the nearest
 * one, laid out as Python's repr() does (1.0, 1e-05, 1e+16). `value` is finite. Returns the length;
 * there is no NUL behind it. `out` has room for PERI_NUMBER_MAX bytes. */
size_t peri_number_write(char *out, double value);

#endif
