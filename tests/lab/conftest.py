"""A small lab as plain data, for a test to change and to put into a file."""

from pathlib import Path

import pytest
import yaml


@pytest.fixture
def lab_data():
    return yaml.safe_load(Path(__file__).with_name("small.yaml").read_text())


@pytest.fixture
def write_lab(tmp_path):
    """Put data or text into a lab file; gives its path."""

    def write(content):
        path = tmp_path / "my-lab.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    return write
