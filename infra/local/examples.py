"""An example value for a JSON schema: what the schema itself shows, or the plainest value that it allows."""

from typing import Any

BY_NAME = {
    "name": "Garden design",
    "description": "A plan of the garden, drawn to scale.",
    "message": "I can begin on Monday.",
    "note": "The beds are dug.",
    "reason": "We moved house.",
    "title": "How to plant a hedge",
    "content": "Dig a trench, and set the plants in it.",
    "author": "Ada",
    "question": "Do you work on Sundays?",
    "answer": "No.",
    "review": "Well done.",
    "project_id": "665f1f77bcf86cd799439011",
    "request_id": "6c782c4d-26b5-417a-bb37-162a29e2854b",
    "next_cursor": "Y4ObLpIBrh5qZk3T6EkxuVt7InQiOiIyMDI2LTExLTI0VDAwOjA3OjE1KzAwOjAwIn0sN10",
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIxMiJ9.3lJm0Xq1",
    "refresh_token": "E_KW2YkRGilBK7mNH28Spf0qds415JuCsp35SxgqF_A",
    **dict.fromkeys(("password", "new_password", "current_password"), "correct horse battery"),
}
BY_FORMAT = {
    "uuid": "0190f5a8-6f1e-7cc4-9d5e-0b6f6f1c2a77",
    "date-time": "2026-11-23T20:36:10.000000Z",
    "email": "ada@example.org",
    "uri": "https://example.org/",
}


def example(schema: dict[str, Any], components: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that `schema` allows; `components` are the schemas that it may point to, `name` the field it is for."""
    if "$ref" in schema:
        target = components[schema["$ref"].rpartition("/")[2]]
        return None if depth > 12 else example(target, components, name, depth + 1)
    if schema.get("examples"):
        return schema["examples"][0]
    for fixed in ("const", "default"):
        if schema.get(fixed) is not None:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            real = [part for part in schema[choice] if part != {"type": "null"}]
            return example(real[0], components, name, depth + 1)
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {field: example(part, components, field, depth + 1) for field, part in fields.items()}
        case "array":
            return [example(schema["items"], components, name, depth + 1)] if "items" in schema else []
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return False
        case "string":
            return _string(schema, name)
        case _:
            return None


def _number(schema: dict[str, Any]) -> int:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    return max(1, int(least)) if schema.get("maximum", 2) >= 1 else 0


def _string(schema: dict[str, Any], name: str) -> str:
    if schema.get("format") in BY_FORMAT:
        return BY_FORMAT[schema["format"]]
    plain = BY_NAME.get(name, name.replace("_", " ") or "text")
    least = schema.get("minLength", 0)
    return plain if len(plain) >= least else plain.ljust(least, ".")
