"""The JSON Schema that is shipped is that of the models, and helps whoever writes a lab in an editor."""

import json
from pathlib import Path

import dtls_emu.lab
from dtls_emu.lab.schema import json_schema


SHIPPED = Path(dtls_emu.lab.__file__).with_name("lab.schema.json")


def test_the_shipped_schema_is_that_of_the_models():
    """Run `dtls-emu schema > dtls_emu/lab/lab.schema.json` after a change."""
    assert json.loads(SHIPPED.read_text()) == json_schema()


def test_every_key_is_described():
    """An editor shows it as help; `kind` describes itself by its only value, and an enumeration by its words."""
    schema = json_schema()
    objects = {"Lab": schema, **schema["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, part in objects.items()
        for key, value in part.get("properties", {}).items()
        if "description" not in value and "const" not in value and "$ref" not in value
    ]
    assert silent == []


def test_unknown_keys_are_refused_everywhere():
    """In every mapping with known keys, and for names that are none."""
    schema = json_schema()
    objects = [schema, *(part for part in schema["$defs"].values() if part.get("type") == "object")]
    named = [value for value in schema["properties"].values() if "patternProperties" in value]
    assert len(named) == 6
    assert {part.get("additionalProperties") for part in [*objects, *named]} == {False}


def test_sections_that_a_lab_needs_are_required():
    """With an entry at least."""
    schema = json_schema()
    assert schema["required"] == ["virtual_networks", "hosts", "vms"]
    assert {schema["properties"][key]["minProperties"] for key in schema["required"]} == {1}
