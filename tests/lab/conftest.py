"""A small lab as plain data, for a test to change and to put into a file."""

import copy
from pathlib import Path

import pytest
import yaml

from dtls_emu.errors import LabFileError
from dtls_emu.lab.loader import parse_lab


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


@pytest.fixture(scope="session")
def problems_of():
    """Says what is wrong with a lab file."""

    def problems_of(text_or_data):
        """What is wrong, without the file's name."""
        text = (
            text_or_data if isinstance(text_or_data, str) else yaml.safe_dump(text_or_data, sort_keys=False)
        )
        with pytest.raises(LabFileError) as caught:
            parse_lab(text, "lab.yaml")
        return [problem.removeprefix("lab.yaml:") for problem in caught.value.problems]

    return problems_of


@pytest.fixture(scope="session")
def changed():
    """Changes one thing of plain data."""

    def changed(data, path, value):
        """Data with one thing changed; a value of `...` takes it away."""
        data = copy.deepcopy(data)
        place = data
        for step in path[:-1]:
            place = place[step]
        if value is ...:
            del place[path[-1]]
        elif isinstance(place, list) and path[-1] == len(place):
            place.append(value)
        else:
            place[path[-1]] = value
        return data

    return changed
