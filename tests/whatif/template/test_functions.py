"""Each function gives what Azure's documents say; what it cannot take is unknown, with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.whatif.template.deployment import deploy
from dtls_emu.whatif.template.registry import FUNCTIONS
from dtls_emu.whatif.template.values import Unknown


GROUP = "/subscriptions/{subscription}/resourceGroups/{resource-group}"


def evaluate(expression, **parameters):
    """The value of an expression in a template with these defaults."""
    template = {
        "parameters": {name: {"type": "object", "defaultValue": value} for name, value in parameters.items()},
        "resources": [{"type": "A.B/c", "name": "x", "properties": {"value": f"[{expression}]"}}],
    }
    return deploy(template, "t.json", {}).resources[0].body["properties"]["value"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("concat('a', 1, true())", "a1True"),
        ("concat(createArray(1), createArray(2, 3))", [1, 2, 3]),
        ("format('{0}-{1:D3}{{}}', 'vm', 7)", "vm-007{}"),
        ("format('{0,4}|{0,-4}|', 'ab')", "  ab|ab  |"),
        ("toLower('ABC')", "abc"),
        ("toUpper('abc')", "ABC"),
        ("trim('  a ')", "a"),
        ("split('a/b;c', createArray('/', ';'))", ["a", "b", "c"]),
        ("join(createArray('a', 'b'), '-')", "a-b"),
        ("replace('a.b', '.', '-')", "a-b"),
        ("substring('abcdef', 2, 3)", "cde"),
        ("startsWith('Abc', 'aB')", True),
        ("endsWith('abC', 'Bc')", True),
        ("padLeft('7', 3, '0')", "007"),
        ("indexOf('abcABC', 'C')", 2),
        ("lastIndexOf('abcabc', 'c')", 5),
        ("string(createObject('a', createArray(1)))", '{"a":[1]}'),
        ("base64ToString(base64('ä'))", "ä"),
        ("uriComponent('a b')", "a%20b"),
        ("uri('https://h/a/', 'b.json')", "https://h/a/b.json"),
        ("json('{\"a\": [1, null]}').a", [1, None]),
        ("int('42')", 42),
        ("bool('TRUE')", True),
        ("add(2, mul(3, sub(9, 4)))", 17),
        ("div(-7, 2)", -3),
        ("mod(-7, 2)", -1),
        ("min(createArray(3, 1, 2))", 1),
        ("max(3, 1, 2)", 3),
        ("if(less(1, 2), 'yes', fail('no'))", "yes"),
        ("and(false(), equals(reference('nowhere').x, 1))", False),
        ("or(true(), equals(reference('nowhere').x, 1))", True),
        ("not(equals(createObject('a', 1), json('{\"a\": 1}')))", False),
        ("coalesce(null(), '', 'b')", ""),
        ("greaterOrEquals('b', 'a')", True),
        ("empty(createObject())", True),
        ("length('abc')", 3),
        ("first('abc')", "a"),
        ("last(createArray(1, 2))", 2),
        ("skip(createArray(1, 2, 3), 1)", [2, 3]),
        ("take('abcdef', 2)", "ab"),
        ("range(3, 3)", [3, 4, 5]),
        ("contains(createArray('a', 'b'), 'b')", True),
        ("contains(createObject('Key', 1), 'kEY')", True),
        ("union(createArray(1, 2), createArray(2, 3))", [1, 2, 3]),
        ("union(json('{\"a\": {\"b\": 1}}'), json('{\"a\": {\"c\": 2}}'))", {"a": {"b": 1, "c": 2}}),
        ("shallowMerge(createArray(json('{\"a\": {\"b\": 1}}'), json('{\"a\": 2}')))", {"a": 2}),
        ("intersection(createArray(1, 2, 3), createArray(3, 2))", [2, 3]),
        ("flatten(createArray(createArray(1), createArray(2, 3)))", [1, 2, 3]),
        ("items(json('{\"b\": 1, \"a\": 2}'))[0].key", "a"),
        ("objectKeys(json('{\"b\": 1, \"a\": 2}'))", ["a", "b"]),
        ("tryGet(json('{\"a\": {\"b\": 1}}'), 'A', 'b')", 1),
        ("tryGet(createObject(), 'a', 'b')", None),
        ("indexFromEnd(createArray(1, 2, 3), 1)", 3),
        ("map(range(0, 3), lambda('i', mul(lambdaVariables('i'), 2)))", [0, 2, 4]),
        ("filter(range(0, 5), lambda('i', equals(mod(lambdaVariables('i'), 2), 0)))", [0, 2, 4]),
        ("reduce(range(1, 4), 0, lambda('a', 'b', add(lambdaVariables('a'), lambdaVariables('b'))))", 10),
        ("sort(createArray(3, 1, 2), lambda('a', 'b', less(lambdaVariables('a'), lambdaVariables('b'))))", [1, 2, 3]),
        ("toObject(createArray('x', 'y'), lambda('i', lambdaVariables('i')), lambda('i', 1))", {"x": 1, "y": 1}),
        ("cidrSubnet('10.0.0.0/16', 24, 2)", "10.0.2.0/24"),
        ("cidrHost('10.0.2.0/24', 3)", "10.0.2.4"),
        ("parseCidr('10.0.2.0/24').lastUsable", "10.0.2.254"),
        ("resourceId('Microsoft.Network/virtualNetworks/subnets', 'v', 's')",
         f"{GROUP}/providers/Microsoft.Network/virtualNetworks/v/subnets/s"),
        ("resourceId('other', 'Microsoft.Network/virtualNetworks', 'v')",
         "/subscriptions/{subscription}/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/v"),
        ("subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'r')",
         "/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/r"),
        ("extensionResourceId('/x', 'Microsoft.Resources/deployments', 'd')",
         "/x/providers/Microsoft.Resources/deployments/d"),
        ("environment().suffixes.storage", "core.windows.net"),
    ],
)  # fmt: skip
def test_a_function_gives_what_the_documents_say(expression, expected):
    """One case for each, from "ARM template functions"."""
    assert evaluate(expression) == expected


def test_names_that_azure_makes_up_are_stable():
    """The same arguments, the same text; others, another; never Azure's own."""
    one, again, other = (evaluate(f"uniqueString('{each}')") for each in ("a", "a", "b"))
    assert one == again
    assert one != other
    assert len(one) == 13
    assert evaluate("guid('a', 'b')") != evaluate("guid('a', 'c')")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("nosuch('a')", "`nosuch` is no function that is known here"),
        ("listKeys('id', '2020-01-01').keys[0].value", "`listkeys` asks Azure"),
        (
            "reference('/subscriptions/s/x').name",
            "`reference` asks Azure for the state of /subscriptions/s/x",
        ),
        ("utcNow()", "`utcnow` asks Azure"),
        ("split(1, 'a')", "`split` takes a text, not a number"),
        ("createArray(1)[4]", "has no item `4`"),
        ("div(1, 0)", "cannot divide by zero"),
        ("range(0, 1000000000)", "at most 10000"),
        ("padLeft('a', 1000000000)", "at most 10000"),
        ("variables('nope')", "no variable `nope`"),
        ("substring('abc', 5)", "has no"),
        ("cidrSubnet('10.0.0.0/24', 16, 0)", "holds no prefix of length 16"),
        ("toLower()", "takes 1 to 1 arguments"),
        ("format('{0:N}', 1)", "cannot format"),
        ("reference(concat(", "is no expression"),
    ],
)
def test_what_cannot_be_known_is_unknown_with_its_reason(expression, reason):
    """It is listed with its place, and nothing is made up."""
    template = {"resources": [{"type": "A.B/c", "name": "x", "properties": {"value": f"[{expression}]"}}]}
    deployed = deploy(template, "t.json", {})
    assert isinstance(deployed.resources[0].body["properties"]["value"], Unknown)
    assert reason in deployed.unresolved[0].reason
    assert str(deployed.unresolved[0].place) == "t.json: resources[0].properties.value"


@pytest.mark.parametrize(
    "expression",
    [
        "toUpper(parameters('p'))",
        "concat('a', parameters('p'))",
        "if(equals(parameters('p'), 1), 'a', 'b')",
        "and(true(), equals(parameters('p'), 1))",
        "contains(createArray('a', parameters('p')), 'b')",
        "parameters('p').x[0]",
        "map(parameters('p'), lambda('i', 1))",
        "first(createArray(parameters('p')))",
        "union(parameters('p'), createObject('a', 1))",
        "resourceId('A.B/c', parameters('p'))",
    ],
)
def test_what_depends_on_something_unknown_is_unknown(expression):
    """Whatever function lies between."""
    template = {
        "parameters": {"p": {"type": "string"}},
        "resources": [{"type": "A.B/c", "name": "x", "properties": {"value": f"[{expression}]"}}],
    }
    deployed = deploy(template, "t.json", {})
    assert isinstance(deployed.resources[0].body["properties"]["value"], Unknown)
    assert [each.reason for each in deployed.unresolved] == [
        "parameter `p` has no value; give a parameter file"
    ]


def test_what_does_not_depend_on_it_is_known():
    """The same on both ways of a condition; or decided by another argument."""
    both = "if(equals(parameters('p'), 1), 'same', 'same')"
    template = {
        "parameters": {"p": {"type": "string"}},
        "resources": [
            {
                "type": "A.B/c",
                "name": "x",
                "properties": {"a": f"[{both}]", "b": "[length(createArray(parameters('p')))]"},
            }
        ],
    }
    assert deploy(template, "t.json", {}).resources[0].body["properties"] == {"a": "same", "b": 1}


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(junk, max_size=4))
def test_any_function_of_any_values_gives_a_value(name, values):
    """Known or not; it never fails."""
    arguments = ", ".join(f"parameters('p{index}')" for index in range(len(values)))
    given_values = {f"p{index}": value for index, value in enumerate(values)}
    value = evaluate(f"{name}({arguments})", **given_values)
    assert value is None or isinstance(value, Unknown | bool | int | float | str | list | dict)
