"""schema.py SCHEMA FILE...: a line for each thing that a JSON schema has against a document of the files."""

import json
import sys

import jsonschema
from ruamel.yaml import YAML

with open(sys.argv[1]) as file:
    schema = json.load(file)


def kinds(alternative):
    """The kinds that one of the schema's alternatives is for; none for the document without a kind."""
    name = alternative.get("$ref", "").rpartition("/")[2]
    return schema["$defs"].get(name, {}).get("properties", {}).get("kind", {}).get("enum", [None])


for path in sys.argv[2:]:
    with open(path) as file:
        # Of YAML 1.2, as Talos reads it: 0o644 is a number.
        documents = list(YAML(typ="safe", pure=True).load_all(file))
    for document in documents:
        # All alternatives at once would say no more than that none fits.
        own = [one for one in schema.get("oneOf", []) if document.get("kind") in kinds(one)]
        if "oneOf" in schema and not own:
            print(f"{path}: no kind {document.get('kind')}")
            continue
        one = {**schema, "oneOf": own} if own else schema
        for error in jsonschema.Draft202012Validator(one).iter_errors(document):
            for cause in error.context or [error]:
                print(f"{path}: {cause.json_path}: {cause.message[:200]}")
