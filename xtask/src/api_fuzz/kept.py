"""Lets no request change what the run stands on: the key that it presents, and the pixel that it collects with."""

import os

import schemathesis

KEPT = set(os.environ["LEADTRAIL_FUZZ_KEPT"].lower().split(","))


@schemathesis.hook
def before_call(context, case, kwargs):
    named = (case.path_parameters or {}).get("id")
    if case.method.upper() in ("PUT", "PATCH", "DELETE") and str(named).lower() in KEPT:
        case.path_parameters["id"] = "nothing"
