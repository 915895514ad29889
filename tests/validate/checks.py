"""Checks for schemathesis: four of its own, each less what we know of and leave as it is. Some of
it is as in FastAPI, whose documents we write; what is not says so."""

import re

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi import checks

BODY_ERRORS = ("There was an error parsing the body", "Invalid multipart data.")
CONVERTED = re.compile("Incorrect type|Non-unique items|violates `(anyOf|type)`")


def errors_of(response):
    detail = response.json().get("detail") if response.status_code == 422 else None
    return detail if isinstance(detail, list) else []


@schemathesis.check
def documented_status(ctx, response, case):
    # A body that is not UTF-8, or no form at all: a 400 that documents do not speak of.
    if response.status_code == 400 and response.json().get("detail") in BODY_ERRORS:
        return None
    return checks.status_code_conformance(ctx, response, case)


@schemathesis.check
def valid_is_accepted(ctx, response, case):
    # Not as in FastAPI: integers have 64 bits here, and the document sets no bounds. As there: an
    # optional file is documented as one that may be null, which no form can say.
    errors = errors_of(response)
    if errors and all(
        error["type"] == "int_parsing_size" or "Expected UploadFile" in error["msg"]
        for error in errors
    ):
        return None
    return checks.positive_data_acceptance(ctx, response, case)


@schemathesis.check
def invalid_is_rejected(ctx, response, case):
    # Values are converted as Pydantic does it: false is a number, a set takes what comes twice. The
    # check only names the kind of violation, so that a wrong type that is taken is not seen here.
    try:
        return checks.negative_data_rejection(ctx, response, case)
    except Failure as failure:
        if not CONVERTED.search(failure.message):
            raise
        return None


@schemathesis.check
def undeclared_method_is_refused(ctx, response, case):
    # Not as in FastAPI: llhttp 8 is older than the method QUERY, and to it that is not HTTP.
    if case.method == "QUERY" and response.status_code == 400:
        return None
    return checks.unsupported_method(ctx, response, case)
