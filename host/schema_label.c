/* Pydantic's names of validators, which stand in the loc of a union's errors. */
#include "schema_compile.h"
#include "schema_string.h"

#include <string.h>

static const char secret_label[] =
    "lax-or-strict[lax=json-or-python[json=function-after[SecretStr(), str],python=union["
    "is-instance[SecretStr],function-after[SecretStr(), str]]],strict=json-or-python[json="
    "function-after[SecretStr(), str],python=union[is-instance[SecretStr],function-after["
    "SecretStr(), str]]]]";

static void print_label(struct peri_buf *out, const struct peri_type *type, unsigned depth);
void peri_label_print(struct peri_buf *out, const struct peri_type *type, unsigned depth);

static void print_labels(struct peri_buf *out, const struct peri_type *const *types, uint32_t count,
                         const char *separator, unsigned depth)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            peri_buf_add_str(out, separator);
        print_label(out, types[i], depth);
    }
}

static void print_address_label(struct peri_buf *out, int version)
{
    peri_buf_addf(out,
                  "lax-or-strict[lax=function-plain[ip_v%d_address_validator()],strict="
                  "json-or-python[json=function-after[IPv%dAddress(), str],python="
                  "is-instance[IPv%dAddress]]]",
                  version, version, version);
}

static void print_constants_label(struct peri_buf *out, const struct peri_type *type)
{
    const struct peri_constants *constants = &type->constants;
    if (type->kind == PERI_KIND_ENUM) {
        peri_buf_add_str(out, constants->kind == PERI_JSON_STRING    ? "str-enum["
                              : constants->kind == PERI_JSON_INTEGER ? "int-enum["
                                                                     : "enum[");
        peri_buf_add(out, constants->name.data, constants->name.len);
    } else {
        peri_buf_add_lit(out, "literal[");
        for (uint32_t i = 0; i < constants->count; i++) {
            if (i > 0)
                peri_buf_add_byte(out, ',');
            peri_repr_constant(out, &constants->items[i]);
        }
    }
    peri_buf_add_byte(out, ']');
}

static void print_scalar_label(struct peri_buf *out, const struct peri_type *type)
{
    bool sized = type->string.has_min || type->string.has_max;
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_STRING:
        sized = sized || type->string.pattern || type->string.strip || type->string.lower ||
                type->string.upper;
        peri_buf_add_str(out, sized ? "constrained-str" : "str");
        break;
    case PERI_KIND_BYTES:
        peri_buf_add_str(out, sized ? "constrained-bytes" : "bytes");
        break;
    case PERI_KIND_INTEGER:
        peri_buf_add_str(out, type->integer.present ? "constrained-int" : "int");
        break;
    case PERI_KIND_NUMBER:
        peri_buf_add_str(out, type->number.bounds.present ? "constrained-float" : "float");
        break;
    case PERI_KIND_IPV4:
        print_address_label(out, 4);
        break;
    case PERI_KIND_IPV6:
        print_address_label(out, 6);
        break;
    case PERI_KIND_SECRET:
        peri_buf_add_str(out, secret_label);
        break;
    case PERI_KIND_EMAIL:
        peri_buf_add_lit(out, "function-after[_validate(), str]");
        break;
    case PERI_KIND_URL:
        peri_buf_add_lit(out, "function-wrap[wrap_val()]");
        break;
    case PERI_KIND_BOOLEAN:
        peri_buf_add_lit(out, "bool");
        break;
    case PERI_KIND_NULL:
        peri_buf_add_lit(out, "none");
        break;
    case PERI_KIND_DURATION:
        peri_buf_add_lit(out, "timedelta");
        break;
    default:
        peri_buf_add_str(out, peri_kind_name(type->kind));
        break;
    }
}

static void print_tuple_label(struct peri_buf *out, const struct peri_type *type, unsigned depth)
{
    peri_buf_add_lit(out, "tuple[");
    print_labels(out, type->tuple.items, type->tuple.count, ", ", depth);
    if (type->tuple.rest != NULL) {
        if (type->tuple.count > 0)
            peri_buf_add_lit(out, ", ");
        print_label(out, type->tuple.rest, depth);
        peri_buf_add_lit(out, ", ...");
    }
    peri_buf_add_byte(out, ']');
}

/* Pydantic's name of the validator, as a member of a union bears it. */
void peri_label_print(struct peri_buf *out, const struct peri_type *type, unsigned depth)
{
    if (depth++ > 8) {
        peri_buf_add_lit(out, "...");
        return;
    }
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_REF:
        print_label(out, type->target, depth);
        break;
    case PERI_KIND_MODEL:
        peri_buf_add(out, type->model.name.data, type->model.name.len);
        break;
    case PERI_KIND_ENUM:
    case PERI_KIND_LITERAL:
        print_constants_label(out, type);
        break;
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        peri_buf_add_str(out, type->kind == PERI_KIND_SET ? "set[" : "list[");
        print_label(out, type->array.item, depth);
        peri_buf_add_byte(out, ']');
        break;
    case PERI_KIND_TUPLE:
        print_tuple_label(out, type, depth);
        break;
    case PERI_KIND_MAP:
        peri_buf_add_lit(out, "dict[");
        print_label(out, type->map.key, depth);
        peri_buf_add_byte(out, ',');
        print_label(out, type->map.value, depth);
        peri_buf_add_byte(out, ']');
        break;
    case PERI_KIND_UNION:
        if (type->any_of.count == 1) { /* what is left beside a null */
            peri_label_print(out, type->any_of.members[0], depth);
            break;
        }
        peri_buf_add_lit(out, "union[");
        for (uint32_t i = 0; i < type->any_of.count; i++) {
            if (i > 0)
                peri_buf_add_byte(out, ',');
            peri_label_print(out, type->any_of.members[i], depth);
        }
        peri_buf_add_byte(out, ']');
        break;
    case PERI_KIND_TAGGED:
        peri_buf_add_lit(out, "tagged-union[");
        for (uint32_t i = 0; i < type->tagged.count; i++) {
            if (i > 0)
                peri_buf_add_byte(out, ',');
            print_label(out, type->tagged.cases[i].type, depth);
        }
        peri_buf_add_byte(out, ']');
        break;
    default:
        print_scalar_label(out, type);
        break;
    }
}

static void print_label(struct peri_buf *out, const struct peri_type *type, unsigned depth)
{
    bool nullable = type->nullable || type->optional;
    if (nullable)
        peri_buf_add_lit(out, "nullable[");
    peri_label_print(out, type, depth);
    if (nullable)
        peri_buf_add_byte(out, ']');
}
