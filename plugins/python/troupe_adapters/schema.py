# SPDX-License-Identifier: MIT
"""JSON Schemas of other people's tools, as T.env takes them: it refuses a rule that it can't check, so that what it does
not know is left out here, and checked by the environment itself. No KIND: adapters use it."""

KNOWN = {"type", "enum", "const", "items", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum",
         "exclusiveMinimum", "exclusiveMaximum", "description", "default", "examples", "format"}
DEEPEST = 12  # a type that holds itself has no end


def followed(schema, root):
    """What a "$ref" of the same document stands for."""
    seen = 0
    while isinstance(schema, dict) and isinstance(schema.get("$ref"), str) and seen < DEEPEST:
        target, seen = root, seen + 1
        for name in schema["$ref"].lstrip("#/").split("/"):
            target = target.get(name, {}) if isinstance(target, dict) else {}
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def known(schema, root=None, depth=0):
    """A schema in the words of env/schema.h: references are written out, oneOf is anyOf, other rules are left out."""
    root = schema if root is None else root
    schema = followed(schema, root)
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}

    def below(part):
        return known(part, root, depth + 1)

    out = {k: v for k, v in schema.items() if k in KNOWN and k != "items" and v != ""}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        out["properties"] = {name: below(part) for name, part in properties.items()}
        out["required"] = [name for name in schema.get("required", []) if name in properties]
    if isinstance(schema.get("items"), dict):
        out["items"] = below(schema["items"])
    if "additionalProperties" in schema:
        other = schema["additionalProperties"]
        out["additionalProperties"] = other if isinstance(other, bool) else below(other)
    either = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(either, list) and either:
        out["anyOf"] = [below(part) for part in either]
    return out


def of_arguments(schema):
    """The parameters of a tool: a schema of an object."""
    return {"properties": {}, **known(schema if isinstance(schema, dict) else {}), "type": "object"}
