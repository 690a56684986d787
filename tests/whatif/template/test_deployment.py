"""From a template to its resources: copies, conditions, nesting, both languages; and what is refused."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.whatif.template.deployment import deploy, given_by
from dtls_emu.whatif.template.limits import TemplateError
from dtls_emu.whatif.template.values import Unknown


VNET = "Microsoft.Network/virtualNetworks"


def names(template, **given_values):
    return [each.name for each in deployed(template, **given_values).resources]


def deployed(template, **given_values):
    document = {"parameters": {name: {"value": value} for name, value in given_values.items()}}
    return deploy(template, "main.json", given_by(document))


def one(template, **given_values):
    """The properties of the only resource."""
    (resource,) = deployed(template, **given_values).resources
    return resource.body["properties"]


def vnet(name="v", **more):
    return {"type": VNET, "name": name, "apiVersion": "2024-05-01", "properties": {}, **more}


def test_a_parameter_has_the_given_value_or_its_default():
    """In any case of its name; null takes the default; a nullable one without either is null."""
    template = {
        "parameters": {
            "One": {"type": "string", "defaultValue": "a"},
            "two": {"type": "int", "nullable": True},
        },
        "resources": [vnet(properties={"one": "[parameters('ONE')]", "two": "[parameters('two')]"})],
    }
    assert one(template) == {"one": "a", "two": None}
    assert one(template, oNE="b", two=2) == {"one": "b", "two": 2}
    assert one(template, One=None) == {"one": "a", "two": None}


def test_secrets_are_unknown_even_when_given():
    """Of a secure type, or in a key vault: a report never shows one."""
    template = {
        "parameters": {"a": {"type": "secureString"}, "b": {"type": "string"}},
        "resources": [vnet(properties={"a": "[parameters('a')]", "b": "[parameters('b')]"})],
    }
    document = {"parameters": {"a": {"value": "hunter2"}, "b": {"reference": {"keyVault": {"id": "x"}}}}}
    found = deploy(template, "main.json", given_by(document))
    assert "hunter2" not in repr(found)
    assert [each.reason for each in found.unresolved] == [
        "parameter `a` is a secret",
        "parameter `b` is a secret",
    ]


def test_variables_are_evaluated_on_demand():
    """Also those made by iteration, at the top or inside one."""
    template = {
        "variables": {
            "copy": [
                {"name": "prefixes", "count": 2, "input": "[format('10.{0}.0.0/16', copyIndex('prefixes'))]"}
            ],
            "inner": {"copy": [{"name": "list", "count": 2, "input": "[copyIndex('list', 5)]"}]},
            "broken": "[nosuch()]",
        },
        "resources": [vnet(properties={"a": "[variables('prefixes')]", "b": "[variables('inner').list]"})],
    }
    found = deployed(template)
    assert found.resources[0].body["properties"] == {"a": ["10.0.0.0/16", "10.1.0.0/16"], "b": [5, 6]}
    assert found.unresolved == ()


def test_copies_of_resources_and_of_properties():
    """Each with its own index; without a name it is the resource's."""
    template = {
        "resources": [
            vnet(
                "[format('v{0}', copyIndex())]",
                copy={"name": "nets", "count": "[length(createArray(1, 2))]"},
                properties={
                    "copy": [
                        {
                            "name": "subnets",
                            "count": 2,
                            "input": {"name": "[format('{0}-{1}', copyIndex(), copyIndex('subnets'))]"},
                        }
                    ]
                },
            )
        ]
    }
    found = deployed(template).resources
    assert [each.name for each in found] == ["v0", "v1"]
    assert [each["name"] for each in found[1].body["properties"]["subnets"]] == ["1-0", "1-1"]


def test_conditions_leave_out_or_leave_open():
    """False: not there. Unknown: there, and marked."""
    template = {
        "parameters": {"p": {"type": "bool"}},
        "resources": [
            vnet("no", condition="[equals(1, 2)]"),
            vnet("maybe", condition="[parameters('p')]"),
            vnet("yes"),
        ],
    }
    assert [(each.name, each.certain) for each in deployed(template).resources] == [
        ("maybe", False),
        ("yes", True),
    ]
    assert names(template, p=False) == ["yes"]


def test_children_by_nesting_and_by_name():
    """Both have the full type, name and id."""
    child = {"type": "subnets", "name": "s", "properties": {}}
    template = {
        "resources": [vnet(resources=[child]), {"type": f"{VNET}/subnets", "name": "v/t", "properties": {}}]
    }
    found = deployed(template).resources
    assert [(each.kind, each.name) for each in found[1:]] == [
        (f"{VNET.lower()}/subnets", "v/s"),
        (f"{VNET.lower()}/subnets", "v/t"),
    ]
    assert found[1].id.lower().endswith("/virtualnetworks/v/subnets/s")


def test_symbolic_names_and_existing_resources():
    """LanguageVersion 2.0: resources by name, references by name, what exists is no resource of the template."""
    template = {
        "languageVersion": "2.0",
        "resources": {
            "old": {"existing": True, "type": VNET, "name": "old"},
            "net": vnet("n", properties={"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}),
            "use": vnet("u", properties={
                "first": "[reference('net').addressSpace.addressPrefixes[0]]",
                "old": "[reference('old').addressSpace]",
                "guid": "[reference('net').resourceGuid]",
            }),
        },
    }  # fmt: skip
    found = deployed(template)
    properties = found.resources[1].body["properties"]
    assert properties["first"] == "10.0.0.0/16"
    assert isinstance(properties["old"], Unknown)
    assert isinstance(properties["guid"], Unknown)
    assert [each.reason for each in found.unresolved] == [
        "`reference` asks Azure for the state of old, which is not done here",
        "state of `n` that only Azure knows",
    ]


def nested(scope, template, **more):
    properties = {
        "mode": "Incremental",
        "expressionEvaluationOptions": {"scope": scope},
        "template": template,
        **more,
    }
    return {"type": "Microsoft.Resources/deployments", "name": "inside", "properties": properties}


def test_nested_deployments_see_what_their_scope_lets_them_see():
    """Inner: their own parameters. Outer: those of the template around them."""
    inner_template = {
        "parameters": {"name": {"type": "string"}},
        "resources": [vnet("[parameters('name')]")],
        "outputs": {
            "id": {
                "type": "string",
                "value": "[resourceId('Microsoft.Network/virtualNetworks', parameters('name'))]",
            }
        },
    }
    outer_template = {"resources": [vnet("[parameters('name')]")]}
    template = {
        "parameters": {"name": {"type": "string", "defaultValue": "around"}},
        "resources": [
            nested(
                "Inner", inner_template, parameters={"name": {"value": "[concat(parameters('name'), '-in')]"}}
            ),
            {**nested("Outer", outer_template), "name": "second"},
            vnet("user", properties={"id": "[reference('inside').outputs.id.value]"}),
        ],
    }
    found = deployed(template).resources
    assert [each.name for each in found] == ["around-in", "around", "user"]
    assert found[2].body["properties"]["id"] == found[0].id


def test_a_deployment_to_another_group_has_its_ids_there():
    """So that references across resource groups find each other."""
    template = {"resources": [{**nested("inner", {"resources": [vnet("v")]}), "resourceGroup": "hub-rg"}]}
    assert "/resourceGroups/hub-rg/" in deployed(template).resources[0].id


def test_linked_templates_are_named_and_not_fetched():
    """By their address, with the place of the deployment."""
    link = {
        "type": "Microsoft.Resources/deployments",
        "name": "x",
        "properties": {"templateLink": {"uri": "https://h/t.json"}},
    }
    (unknown,) = deployed({"resources": [link]}).unresolved
    assert unknown.reason == "linked template https://h/t.json is not fetched"
    assert str(unknown.place) == "main.json: resources[0].properties"


def test_names_that_are_not_known_still_find_each_other():
    """By the parameter that they are made of."""
    template = {
        "parameters": {"n": {"type": "string"}},
        "resources": [
            vnet("[concat(parameters('n'), '-net')]"),
            vnet(
                "x",
                properties={
                    "id": "[resourceId('Microsoft.Network/virtualNetworks', format('{0}-net', parameters('n')))]"
                },
            ),
        ],
    }
    first, second = deployed(template).resources
    assert first.name == "{n}-net"
    assert second.body["properties"]["id"].symbol == first.id


def test_functions_of_a_template_of_its_own():
    """With their own parameters; they see nothing else."""
    template = {
        "functions": [{"namespace": "our", "members": {"net": {
            "parameters": [{"name": "n", "type": "int"}],
            "output": {"type": "string", "value": "[format('10.{0}.0.0/16', parameters('n'))]"}}}}],
        "resources": [vnet(properties={"prefix": "[our.net(3)]"})],
    }  # fmt: skip
    assert one(template) == {"prefix": "10.3.0.0/16"}


def doubling(levels):
    """Each variable is twice the one before."""
    variables = {"v0": "x" * 100}
    for level in range(1, levels + 1):
        variables[f"v{level}"] = f"[concat(variables('v{level - 1}'), variables('v{level - 1}'))]"
    return {"variables": variables, "resources": [vnet(properties={"a": f"[variables('v{levels}')]"})]}


def deep(levels):
    """Each object holds the one before twice, and the whole is written as text."""
    variables: dict[str, object] = {"v0": {"a": "x"}}
    for level in range(1, levels + 1):
        variables[f"v{level}"] = f"[createArray(variables('v{level - 1}'), variables('v{level - 1}'))]"
    return {
        "variables": variables,
        "resources": [vnet(properties={"a": f"[string(variables('v{levels}'))]"})],
    }


HOSTILE = {
    "a variable of itself": (
        {"variables": {"a": "[variables('b')]", "b": "[variables('a')]"}, "resources": [vnet("[variables('a')]")]},
        r"refers to itself: variables\('a'\) -> variables\('b'\) -> variables\('a'\)",
    ),
    "a parameter of itself": (
        {"parameters": {"a": {"defaultValue": "[parameters('a')]"}}, "resources": [vnet("[parameters('a')]")]},
        "refers to itself",
    ),
    "a resource of itself": (
        {"resources": [vnet("v", properties={"a": "[reference('v').a]"})]},
        "refers to itself: v -> v",
    ),
    "two resources of each other": (
        {"resources": [vnet("v", properties={"a": "[reference('w').a]"}), vnet("w", properties={"a": "[reference('v').a]"})]},
        "refers to itself: v -> w -> v",
    ),
    "a name of a name": ({"resources": [vnet("[reference('x').name]")]}, "refers to itself"),
    "a copy of a thousand million": (
        {"resources": [vnet(copy={"name": "c", "count": 1_000_000_000})]},
        "a `copy` with a count of `1000000000`; Azure makes at most 800 of one",
    ),
    "a property copy of as many": (
        {"resources": [vnet(properties={"copy": [{"name": "s", "count": 10**9, "input": 1}]})]},
        "Azure makes at most 800",
    ),
    "a negative copy": ({"resources": [vnet(copy={"name": "c", "count": -1})]}, "no number of times"),
    "copies of copies": (
        {"resources": [vnet(properties={"copy": [{"name": "a", "count": 800, "input": {"copy": [
            {"name": "b", "count": 800, "input": {"copy": [{"name": "c", "count": 800, "input": 1}]}}]}}]})]},
        "takes more than",
    ),
    "too many resources": (
        {"resources": [vnet(copy={"name": "a", "count": 800}, resources=[
            {"type": "subnets", "name": "s", "copy": {"name": "b", "count": 800}, "properties": {}}])]},
        "declares more than",
    ),
    "a long chain": (
        {"variables": {"v0": "x"} | {f"v{n}": f"[variables('v{n - 1}')]" for n in range(1, 2000)},
         "resources": [vnet("[variables('v1999')]")]},
        "evaluations inside each other",
    ),
    "deployments in deployments": (None, "deployments inside each other"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_template_ends_in_one_clear_line(case):
    """With the file, the place, and soon."""
    template, said = HOSTILE[case]
    if template is None:
        template = {"resources": [vnet()]}
        for _ in range(40):
            template = {"resources": [nested("inner", template)]}
    with pytest.raises(TemplateError, match=said) as refused:
        deployed(template)
    assert str(refused.value).startswith("main.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("template", [doubling(60), deep(60)], ids=["text", "arrays"])
def test_what_doubles_and_doubles_is_refused_before_it_is_made(template):
    """A text or an array of 2 to the power of 60: unknown, in little memory."""
    tracemalloc.start()
    try:
        found = deployed(template)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found.resources[0].body["properties"]["a"], Unknown)
    assert "would make a text of more than" in found.unresolved[0].reason
    assert most < 100 << 20


words = st.sampled_from(
    [
        "type",
        "name",
        "properties",
        "resources",
        "copy",
        "count",
        "input",
        "condition",
        "template",
        "parameters",
        "variables",
        "value",
    ]
)
texts = st.sampled_from(
    [
        VNET,
        "Microsoft.Resources/deployments",
        "[copyIndex()]",
        "[parameters('a')]",
        "[variables('a')]",
        "[reference('a')]",
        "[",
        "[[",
        "a",
    ]
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | texts,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(words, inside, max_size=5),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(["parameters", "variables", "resources", "functions", "outputs"]),
        documents,
        max_size=5,
    )
)
def test_any_document_is_deployed_or_refused(document):
    """Whatever stands where a template has something else."""
    refused = ""
    try:
        deploy(document, "main.json", {})
    except TemplateError as error:
        refused = str(error)
    assert refused.startswith("main.json" if refused else "")
