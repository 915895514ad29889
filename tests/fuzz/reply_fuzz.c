/* Any bytes, read as the answers of a server: answer after answer until one is refused or the bytes
 * end. Fed whole, byte by byte and in random pieces they must give the same answers; and in what
 * was accepted every line of a head ends with CR LF and holds neither by itself. */
#include "reply.h"

#include "pieces.h"

static const struct peri_reply_limits limits = {
    .max_head_bytes = 1024,
    .max_headers = 16,
    .max_chunk_ext_bytes = 32,
};

static void check_head(const struct peri_reply *reply)
{
    const struct peri_buf *head = &reply->head;
    size_t lines = 0;
    for (size_t i = 0; i < head->len; i++) {
        require(head->data[i] != '\0', "a NUL");
        require(head->data[i] != '\r' || head->data[i + 1] == '\n', "a bare CR");
        require(head->data[i] != '\n' || head->data[i - 1] == '\r', "a bare LF");
        lines += head->data[i] == '\n';
    }
    require(head->len > 4 && memcmp(head->data + head->len - 4, "\r\n\r\n", 4) == 0, "its end");
    require(lines == reply->header_count + 2, "another number of lines");
    require(reply->status >= 200 && reply->status <= 999, "a status");
}

static void note_head(struct reading *reading, const struct peri_reply *reply)
{
    check_head(reply);
    peri_buf_addf(&reading->record, "\n%u %d %d %llu", reply->status, reply->keep_alive,
                  reply->has_length,
                  reply->has_length ? (unsigned long long) reply->content_length : 0ULL);
    for (uint32_t i = 0; i < reply->header_count; i++) {
        const struct peri_header *header = &reply->headers[i];
        require(header->name.len > 0, "a header without a name");
        require(header->value.at + header->value.len <= reply->head.len, "a value outside");
        peri_buf_addf(&reading->record, " %u %u %u %u", header->name.at, header->name.len,
                      header->value.at, header->value.len);
    }
}

/* Takes what there is in one block. */
static enum peri_reply_outcome take(struct reading *reading, struct peri_reply *reply,
                                    const char **at, size_t *left)
{
    for (;;) {
        const char *data = NULL;
        size_t data_len = 0;
        const char *before = *at;
        enum peri_reply_outcome outcome = peri_reply_next(reply, at, left, &data, &data_len);
        if (outcome == PERI_REPLY_HEAD) {
            note_head(reading, reply);
        } else if (outcome == PERI_REPLY_DATA) {
            require(data_len > 0 && data >= before && data + data_len <= *at, "data from nowhere");
            peri_buf_add(&reading->body, data, data_len);
        } else {
            return outcome;
        }
    }
}

/* Reads one answer and returns how many bytes are its own; *goes_on tells whether another may
 * follow. */
static size_t read_answer(struct reading *reading, struct peri_reply *reply, const char *text,
                          size_t len, bool *goes_on)
{
    enum peri_reply_outcome outcome = PERI_REPLY_MORE;
    size_t fed = 0;
    reading->body.len = 0;
    peri_reply_begin(reply, (enum peri_reply_question)(text[0] % 3));
    while (outcome == PERI_REPLY_MORE && fed < len) {
        size_t piece = next_piece(reading, len - fed);
        char *block = malloc(piece);
        require(block != NULL, "out of memory");
        memcpy(block, text + fed, piece);
        const char *at = block;
        size_t left = piece;
        outcome = take(reading, reply, &at, &left);
        require(outcome != PERI_REPLY_MORE || left == 0, "a byte was left");
        fed += piece - left;
        free(block);
    }
    *goes_on = outcome == PERI_REPLY_END;
    if (outcome == PERI_REPLY_MORE)
        outcome = peri_reply_cut(reply);
    peri_buf_addf(&reading->record, "\noutcome %d", (int) outcome);
    if (outcome != PERI_REPLY_BAD)
        peri_buf_addf(&reading->record, " fed %zu body ", fed);
    if (outcome != PERI_REPLY_BAD)
        peri_buf_add(&reading->record, reading->body.data, reading->body.len);
    return fed;
}

static void read_all(struct reading *reading, const char *text, size_t len)
{
    struct peri_reply reply;
    bool goes_on = true;
    peri_reply_init(&reply, &limits);
    while (goes_on && len > 0) {
        size_t fed = read_answer(reading, &reply, text, len, &goes_on);
        require(fed > 0 || !goes_on, "an answer of no bytes");
        text += fed;
        len -= fed;
    }
    peri_reply_deinit(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_in_pieces(data, size, read_all, NULL);
    return 0;
}
