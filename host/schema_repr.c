/* Values as Python's repr() shows them, which some of Pydantic's messages do. */
#include "schema_type.h"

void peri_repr_text(struct peri_buf *out, struct peri_text text)
{
    bool single = memchr(text.data, '\'', text.len) != NULL;
    bool twice = memchr(text.data, '"', text.len) != NULL;
    char quote = single && !twice ? '"' : '\'';
    peri_buf_add_byte(out, quote);
    for (uint32_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char) text.data[i];
        if (byte == '\n')
            peri_buf_add_lit(out, "\\n");
        else if (byte == '\r')
            peri_buf_add_lit(out, "\\r");
        else if (byte == '\t')
            peri_buf_add_lit(out, "\\t");
        else if (byte < ' ' || byte == 0x7F)
            peri_buf_addf(out, "\\x%02x", byte);
        else {
            if (byte == '\\' || byte == (unsigned char) quote)
                peri_buf_add_byte(out, '\\');
            peri_buf_add_byte(out, (char) byte);
        }
    }
    peri_buf_add_byte(out, quote);
}

static void print_items(struct peri_buf *out, const struct peri_json_node *node)
{
    bool object = node->type == PERI_JSON_OBJECT;
    const struct peri_json_node *end = node + node->skip;
    peri_buf_add_byte(out, object ? '{' : '[');
    for (const struct peri_json_node *item = node + 1; item < end; item += item->skip) {
        if (item != node + 1)
            peri_buf_add_lit(out, ", ");
        if (object) {
            peri_repr_node(out, item);
            peri_buf_add_lit(out, ": ");
            item += item->skip;
        }
        peri_repr_node(out, item);
    }
    peri_buf_add_byte(out, object ? '}' : ']');
}

void peri_repr_node(struct peri_buf *out, const struct peri_json_node *node)
{
    if (node->ascii & PERI_NODE_SECRET) {
        peri_buf_add_lit(out, "SecretStr('**********')");
        return;
    }
    switch (node->type) {
    case PERI_JSON_NULL:
        peri_buf_add_lit(out, "None");
        break;
    case PERI_JSON_FALSE:
        peri_buf_add_lit(out, "False");
        break;
    case PERI_JSON_TRUE:
        peri_buf_add_lit(out, "True");
        break;
    case PERI_JSON_STRING:
        peri_repr_text(out, (struct peri_text){node->string, node->count});
        break;
    case PERI_JSON_ARRAY:
    case PERI_JSON_OBJECT:
        print_items(out, node);
        break;
    default:
        peri_input_print(out, node);
        break;
    }
}

void peri_repr_constant(struct peri_buf *out, const struct peri_constant *constant)
{
    switch (constant->type) {
    case PERI_JSON_NULL:
        peri_buf_add_lit(out, "None");
        break;
    case PERI_JSON_FALSE:
        peri_buf_add_lit(out, "False");
        break;
    case PERI_JSON_TRUE:
        peri_buf_add_lit(out, "True");
        break;
    case PERI_JSON_INTEGER:
        peri_buf_add_int(out, constant->integer);
        break;
    default:
        peri_repr_text(out, constant->text);
        break;
    }
}
