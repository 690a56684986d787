"""What is no YAML is explained at the line of the mistake, with what to write, whichever parser found it."""

import pytest
import yaml

from dtls_emu.errors import LabFileError
from dtls_emu.lab import reading
from dtls_emu.lab.reading import read_yaml


MISTAKES = {
    "a tab before a key": (
        "hosts:\n\thost-1: {underlay: 192.0.2.1}\n",
        "2: indented with a tab, which YAML does not allow; write spaces",
    ),
    "a tab behind spaces": (
        "hosts:\n  host-1:\n  \tunderlay: x\n",
        "3: indented with a tab, which YAML does not allow; write spaces",
    ),
    "a tab before a key behind a value": (
        "a: 1\n\tb: 2",
        "2: indented with a tab, which YAML does not allow; write spaces",
    ),
    "a tab behind a hyphen": (
        "links:\n-\tbetween: [a, b]\n",
        "2: indented with a tab, which YAML does not allow; write spaces",
    ),
    "a bracket that is open at the end": (
        "a: 1\nb: [1, 2",
        "2: the `[` that opens here is never closed; write `]` behind its last entry",
    ),
    "a bracket that is open at the next key": (
        "a: [1, 2\nb: 3\nc: [4]\n",
        "1: the `[` that opens here is never closed; write `]` behind its last entry",
    ),
    "a brace that is open at the next entry": (
        "v:\n  a: {x: 1, y: [1, 2]\n  b: {x: 2}\nw: 1\n",
        "2: the `{` that opens here is never closed; write `}` behind its last entry",
    ),
    "a bracket behind a comment": (
        "a: [1, # x ]\n  2\nb: 3\n",
        "1: the `[` that opens here is never closed; write `]` behind its last entry",
    ),
    "the wrong bracket": (
        "a: [1, 2}\nb: 1\n",
        "1: the `[` of line 1 meets a `}`; write `]` before it",
    ),
    "one bracket too many": ("a: [1, 2]]\nb: 1\n", "1: this `]` closes nothing; remove it"),
    "no comma before a key": (
        "a: {x: 1 y: 2}\n",
        "1: a `,` is missing before `y`; write it, as in {a: 1, b: 2}",
    ),
    "no comma at the end of a line": (
        '{"a": 1\n"b": 2}\n',
        '2: a `,` is missing before `"b"`; write it, as in {a: 1, b: 2}',
    ),
    "no comma in a list": (
        "a: ['x' 'y']\n",
        "1: a `,` or `: ` is missing before `'y'`; write it, as in [a, b]",
    ),
    "no colon before a bracket": (
        "hosts:\n  host-1 {underlay: 192.0.2.1}\n",
        "2: a `: ` is missing before `{`; write it, as in `key: {`",
    ),
    "no colon before a bracket in brackets": (
        "- {between [host-1, host-2], loss: 1%}\n",
        "1: a `,` or `: ` is missing before `[`; write it, as in {a: 1, b: 2}",
    ),
    "no space behind a colon": (
        "prod:\n  a: [1]\n  vni:5001\n  encryption: {enabled: true}\n",
        "3: `vni:5001` has no space behind its colon; write `vni: 5001`",
    ),
    "no space behind the last colon": (
        "prod:\n  a: [1]\n  vni:5001\nhosts: {}\n",
        "3: `vni:5001` has no space behind its colon; write `vni: 5001`",
    ),
    "no space behind the first colon": (
        "prod:\n  vni:5001\n  a: [1]\n",
        "2: `vni:5001` has no space behind its colon; write `vni: 5001`",
    ),
    "no space behind the first colon of an item": (
        "traffic:\n  - name:x\n    kind: ping\n",
        "2: `name:x` has no space behind its colon; write `name: x`",
    ),
    "no colon": ("a: 1\nfoo\nb: 2\n", "2: `foo` is no `key: value`; write a colon and a value"),
    "no colon at the top": ("foo\na: 1\n", "1: `foo` is no `key: value`; write a colon and a value"),
    "a quote that is open at the end": (
        'a: 1\nb: "x\nc: 2\n',
        '2: the quote `"` that opens here is never closed; write `"` behind the text',
    ),
    "a quote that the next one closes": (
        "v:\n  a: 'x\n  b: 'y'\n",
        "2: the quote `'` that opens here closes only on line 3; write `'` behind the text",
    ),
    "text behind a quote": (
        "a: 'it's'\n",
        "1: there is text behind the closing `'`; write \" around the whole value",
    ),
    "a backslash in quotes": (
        'a: "C:\\data"\n',
        "1: a `\\` in double quotes begins an escape; write the text in single quotes, or `\\\\` for `\\`",
    ),
    "a key too far in": (
        "hosts:\n  h1: 1\n    h2: 2\n",
        "3: indented by 4, deeper than line 2, which has a value already; indent it by 2",
    ),
    "a key of an item too far in": (
        "l:\n  - name: a\n     kind: b\n",
        "3: indented by 5, deeper than line 2, which has a value already; indent it by 4",
    ),
    "a key not far enough in": (
        "hosts:\n    h1: {}\n  h2: {}\n",
        "3: indented by 2, as nothing above that it could belong to; indent it by 0 or 4",
    ),
    "a key of an item not far enough in": (
        "l:\n  - name: a\n   kind: b\n",
        "3: indented by 3, as nothing above that it could belong to; indent it by 2 or 4",
    ),
    "a first key too far in": (
        " hosts:\n   h: 1\nvms: {}\n",
        "3: less far in than the first key; indent the keys at the top by 0",
    ),
    "an item among keys": (
        "l:\n  a: 1\n  - b\n",
        "3: a list item among keys, for line 2 is as far in; indent it deeper, or leave `- ` out",
    ),
    "a key among items": (
        "l:\n  - a: 1\n  b: 2\n",
        "3: a key among list items, for line 2 is as far in; write `- ` before it, or indent it otherwise",
    ),
    "a hyphen without a space": (
        "-a: 1\n- b: 2\n",
        "2: `- ` begins a list, and the hyphen of line 1 has no space behind it; write `- a: 1`",
    ),
    "a list behind a key": (
        "a: - b\n",
        "1: a `- ` behind a key; begin the list on a new line, or write [a, b]",
    ),
    "two colons": (
        "a: b: c\n",
        "1: a second `: ` on one line; write the value in quotes, or begin a new line",
    ),
    "an alias of nothing": (
        "a: *nowhere\n",
        "1: the alias `*nowhere` has no anchor above it; write `&nowhere` before what it means",
    ),
    "a lone star": ("a: *\n", "1: `*` begins an alias or anchor; write the value in quotes"),
    "a lone ampersand": ("a: & b\n", "1: `&` begins an alias or anchor; write the value in quotes"),
    "a percent sign": ("a: 1\nb: %x\n", "2: % may not begin a value; write the value in quotes"),
    "an undeclared tag": (
        "a: !x!y z\n",
        "1: `!` begins a tag, which has no place here; leave it out, or use quotes",
    ),
    "a directive": (
        "# x\n%TAG ! x\n---\na: 1\n",
        "2: a line that begins with `%` has no place here; leave it out",
    ),
    "a control character": (
        "a: 1\r\nb: \0\n",
        "2: the character U+0000 may not be in such a file; remove it",
    ),
    "half a character": ("a: \ud800\n", "1: the character U+D800 may not be in such a file; remove it"),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        "2: here a second document begins (`---` or `...`); keep one of them",
    ),
    "text behind the end": (
        "a: 1\n...\n\n# x\nb: 2\n",
        "5: here a second document begins (`---` or `...`); keep one of them",
    ),
    "what no rule knows": ("a: &x &y 1\n", "1: cannot be read as YAML from here on ("),
}


@pytest.fixture(params=["LibYAML", "Python"])
def parser(request, monkeypatch):
    """Both parsers, for either may be the one that is there."""
    if request.param == "LibYAML":
        assert yaml.__with_libyaml__, "PyYAML's wheels have LibYAML"
    else:
        monkeypatch.setattr(reading, "_LOADER", yaml.SafeLoader)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_explained_at_its_line(text, message):
    """One problem, in words of whoever writes the file."""
    with pytest.raises(LabFileError) as caught:
        read_yaml(text, "lab.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"lab.yaml:{message}")
    assert ";" in problem


def test_a_colon_without_a_space_before_a_bracket_in_brackets_is_said():
    """LibYAML refuses it; the parser in Python takes the space for granted."""
    with pytest.raises(LabFileError) as caught:
        read_yaml("- {between:[host-1, host-2], loss: 1%}\n", "lab.yaml")
    assert caught.value.problems == ["lab.yaml:1: a `:` has no space behind it; write it, as in `between: [`"]


def test_more_than_is_read_is_refused():
    """With the limit."""
    with pytest.raises(LabFileError) as caught:
        read_yaml("#" * (reading.MAX_BYTES + 1), "lab.yaml")
    assert caught.value.problems == [
        "lab.yaml:1: larger than 8 MiB, the most that is read of such a file; write a smaller one"
    ]
