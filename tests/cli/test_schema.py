"""`dtls-emu schema` prints the JSON Schema of a lab file."""

import json

from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.lab.schema import json_schema


def test_prints_the_schema_of_the_models():
    """On stdout, and nothing else there."""
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()
