"""A file is what is in it; parameters find their template; what is none of them is refused in one line."""

import json
import os

import pytest

from dtls_emu.whatif.documents import DocumentKind, read_documents
from dtls_emu.whatif.errors import ResourceFileError


SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/{}.json#"


@pytest.fixture
def write(tmp_path):
    def write(name, value):
        path = tmp_path / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"$schema": SCHEMA.format("deploymentTemplate"), "resources": []}, DocumentKind.TEMPLATE),
        (
            {"$schema": SCHEMA.format("subscriptionDeploymentTemplate"), "resources": {}},
            DocumentKind.TEMPLATE,
        ),
        ({"predictedResources": [], "diagnostics": []}, DocumentKind.SNAPSHOT),
        ([{"id": "/subscriptions/s", "name": "v"}], DocumentKind.LIST),
        ({"value": [{"id": "/subscriptions/s"}]}, DocumentKind.LIST),
        ({"id": "/subscriptions/s", "name": "v"}, DocumentKind.LIST),
        ([], DocumentKind.LIST),
    ],
)
def test_a_file_is_known_by_what_is_in_it(write, value, kind):
    """Whatever its name."""
    (found,) = read_documents([write("file.json", value)])
    assert found.kind is kind


def test_parameters_belong_to_the_template_before_them(write):
    """Or to the first one, where none is before."""
    template = {"$schema": SCHEMA.format("deploymentTemplate"), "resources": []}
    parameters = {"$schema": SCHEMA.format("deploymentParameters"), "parameters": {}}
    files = [write(f"{n}.json", parameters if n in {0, 2} else template) for n in range(4)]
    first, second = read_documents(files)
    assert [each.name for each in first.parameters] == [files[0], files[2]]
    assert second.parameters == ()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("a.bicep", "param x string", "Bicep is not read; name what `az bicep build`"),
        ("a.json", "[1]", "neither a template"),
        ("a.json", "{", "no JSON: line 1"),
        ("a.json", {"parameters": {}}, "name the template that they are for"),
        ("a.json", "[" * 100_000, "no JSON"),
    ],
)
def test_what_is_nothing_known_is_refused_in_one_line(write, name, value, said):
    """With the file's name."""
    path = write(name, value)
    with pytest.raises(ResourceFileError) as refused:
        read_documents([path])
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    """A FIFO would be waited for, a folder makes no sense, what is not there cannot be read."""
    os.mkfifo(tmp_path / "fifo.json")
    for name, said in (("fifo.json", "is a FIFO"), ("", "is a folder"), ("none.json", "No such file")):
        path = tmp_path / name if name else tmp_path.joinpath("x.json")
        if not name:
            path.mkdir()
        with pytest.raises(ResourceFileError, match=said):
            read_documents([str(path)])


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """Not UTF-8, it says."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ResourceFileError, match="not UTF-8"):
        read_documents([str(path)])
