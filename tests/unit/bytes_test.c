/* Short runs of bytes. What is compared lies at the end of its allocation, so that the sanitizer
 * sees a load that reaches too far. */
#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LONGEST 40

static char *copy_of(const char *bytes, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static const char text[LONGEST] = "The quick brown fox jumps over the dogs";

static void runs_of_every_length_are_compared_to_the_last_byte(void **state)
{
    (void) state;
    for (size_t len = 0; len <= LONGEST; len++) {
        char *a = copy_of(text, len);
        char *b = copy_of(text, len);
        assert_true(peri_bytes_equal(a, b, len));
        for (size_t i = 0; i < len; i++) {
            b[i] = (char) (b[i] ^ 0x80);
            assert_false(peri_bytes_equal(a, b, len));
            b[i] = a[i];
        }
        free(a);
        free(b);
    }
}

static void every_byte_is_looked_at_for_ascii(void **state)
{
    (void) state;
    for (size_t len = 0; len <= LONGEST; len++) {
        char *bytes = copy_of(text, len);
        assert_true(peri_bytes_are_ascii(bytes, len));
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char) (bytes[i] | 0x80);
            assert_false(peri_bytes_are_ascii(bytes, len));
            bytes[i] = text[i];
        }
        free(bytes);
    }
}

static void a_rest_is_a_word_with_zeros_above(void **state)
{
    (void) state;
    for (size_t len = 0; len < PERI_WORD; len++) {
        char word[PERI_WORD] = {0};
        memcpy(word, text, len);
        char *rest = copy_of(text, len);
        assert_int_equal(peri_load_rest(rest, len), peri_load_word(word));
        free(rest);
    }
}

static void what_is_stored_is_loaded_again(void **state)
{
    (void) state;
    char word[PERI_WORD];
    peri_store_word(word, peri_load_word(text));
    assert_memory_equal(word, text, PERI_WORD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_every_length_are_compared_to_the_last_byte),
        cmocka_unit_test(every_byte_is_looked_at_for_ascii),
        cmocka_unit_test(a_rest_is_a_word_with_zeros_above),
        cmocka_unit_test(what_is_stored_is_loaded_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
