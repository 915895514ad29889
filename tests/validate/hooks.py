"""What schemathesis must know besides the document. All of its checks are on, none is replaced.

A twin's document is FastAPI's to the byte, and FastAPI's documents leave some things unsaid: `complete` says
them before a test is generated. `is_finding` knows the values that are converted where the document names
another type. README.md gives the reason of each, and what FastAPI itself does.

STATUSES, in the environment, says that this is a twin, and names the answers of the app that its document
leaves out: "400 404". Without it the document stays as it is.
"""

import os

import jsonschema_rs
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation

INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
NUMERIC = r"^\s*[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*$"
BOOLEANS = [0, 1, "0", "1", "f", "t", "n", "y", "no", "yes", "off", "on", "false", "true"]


def schemas_in(value):
    """Every object in a document, the outer ones first."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for inner in list(value.values()) if isinstance(value, dict) else value:
            yield from schemas_in(inner)


def operations_in(document):
    for item in document["paths"].values():
        yield from (operation for operation in item.values() if "responses" in operation)


def bound_integers(document):
    for schema in schemas_in(document):
        if schema.get("type") == "integer":
            for bound, value in INT64.items():
                if bound not in schema and f"exclusive{bound.capitalize()}" not in schema:
                    schema[bound] = value


def add_statuses(document):
    named = os.environ["STATUSES"].split()
    for operation in operations_in(document):
        for status in named + ["400"] * ("requestBody" in operation):
            operation["responses"].setdefault(status, {"description": "Not in the document"})


@schemathesis.hook("before_load_schema")
def complete(context, raw_schema):
    if "STATUSES" not in os.environ:
        return
    bound_integers(raw_schema)
    add_statuses(raw_schema)


def as_converted(schema):
    """What is taken where a document asks for this schema: Pydantic's conversions, in JSON bodies."""
    kind = schema.get("type")
    if kind in ("integer", "number"):
        fits = [value for value in (False, True) if jsonschema_rs.is_valid(schema, int(value))]
        return {"anyOf": [schema, {"type": "string", "pattern": NUMERIC}, {"enum": fits}]}
    if kind == "boolean":
        return {"anyOf": [schema, {"enum": BOOLEANS}]}
    if kind == "array" and schema.get("uniqueItems"): # a set: what comes twice is kept once
        return {name: value for name, value in schema.items() if name != "uniqueItems"}
    return schema


def widen(value):
    if isinstance(value, list):
        return [widen(inner) for inner in value]
    if isinstance(value, dict):
        return as_converted({name: widen(inner) for name, inner in value.items()})
    return value


def resolve(document, schema):
    while "$ref" in schema:
        found = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def is_form_of_text(document, schema, body):
    """Whether what a form has to say is right once it is text, as all is there: a file may hold anything."""
    fields = resolve(document, schema).get("properties", {})
    sent = {name: "" if "contentMediaType" in fields.get(name, {}) else value if isinstance(value, list)
            else str(value) for name, value in body.items()}
    return jsonschema_rs.is_valid({**schema, "components": document.get("components", {})}, sent)


def is_converted(case):
    """Whether nothing is wrong with a request but types in its body that are converted."""
    wrong = [place for place in ParameterLocation if case.meta.is_negative_at(place)]
    if wrong != [ParameterLocation.BODY]:
        return False
    document = case.operation.schema.raw_schema
    schema = case.operation.definition.raw["requestBody"]["content"][case.media_type]["schema"]
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        return is_form_of_text(document, schema, case.body)
    if case.media_type == "application/json":
        whole = {**schema, "components": document.get("components", {})}
        return jsonschema_rs.is_valid(widen(whole), case.body)
    return False


@schemathesis.hook("filter_failure")
def is_finding(context, failure, case, response):
    return not (isinstance(failure, AcceptedNegativeData) and is_converted(case))
