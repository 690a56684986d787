"""What every test of ours does: it says what it proves, checks it, and can be repeated when chance is in it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
FILES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
    for pattern in ("tests/**/*.py", "bench/**/*.py")
    for path in sorted(ROOT.glob(pattern))
}
RAISES_NOTHING = "-> raises nothing"
"""In the docstring of a test that has nothing to look at: whatever it calls is itself the check."""

GENERATORS = {"Random", "default_rng"}
FRESH = {"token_hex", "randrange", "randint", "getrandbits"}
"""With these a new seed is drawn: as a function of a module, not as a method of a generator."""
MODULES = {"np", "random", "secrets"}


def functions(tree):
    return [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]


def calls(tree):
    return [each for each in ast.walk(tree) if isinstance(each, ast.Call)]


def dotted(node):
    """What is called, as far as it is names: `pytest.raises`, or `.append` of anything."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def name_called(call):
    """The last part of it."""
    return dotted(call.func).rpartition(".")[2]


def is_fixture(function):
    return any("fixture" in ast.unparse(each) for each in function.decorator_list)


def cases_in(tree):
    """Functions that pytest takes for tests."""
    return [each for each in functions(tree) if each.name.startswith("test") and not is_fixture(each)]


def checks(node):
    """Whether there is an assertion in it."""
    expected = {"pytest.raises", "pytest.fail", "pytest.warns"}
    return any(
        isinstance(each, ast.Assert) or (isinstance(each, ast.Call) and dotted(each.func) in expected)
        for each in ast.walk(node)
    )


def is_checked(test, tree):
    """Whether it asserts something, calls a helper of its file that does, or one whose name says so."""
    if checks(test) or RAISES_NOTHING in (ast.get_docstring(test) or ""):
        return True
    helpers = {each.name for each in functions(tree) if checks(each)}
    return any(
        name_called(call).startswith("assert_") or name_called(call) in helpers for call in calls(test)
    )


def prints_its_seed(function):
    return any(name_called(call) == "print" and "seed" in ast.unparse(call) for call in calls(function))


def draws(function):
    """What is drawn in it that nobody could draw again: neither fixed here, nor named by the test's id."""
    given = {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)} | MODULES | GENERATORS
    found = []
    for call in calls(function):
        module, _, name = dotted(call.func).rpartition(".")
        if name in GENERATORS:
            names = {each.id for each in ast.walk(call) if isinstance(each, ast.Name)} - given
            if not call.args or not all(each.isupper() for each in names):
                found.append(name)
        elif name in FRESH and module in MODULES:
            found.append(name)
    return found


def where(path, nodes):
    return [f"{path}:{each.lineno} {getattr(each, 'name', '')}" for each in nodes]


def test_every_test_says_what_it_proves():
    """In a docstring; here and in the benchmarks."""
    tests = [(path, each) for path, tree in FILES.items() for each in cases_in(tree)]
    assert len(tests) > 1000
    assert [where(path, [each]) for path, each in tests if not ast.get_docstring(each)] == []


def test_every_test_checks_something():
    """With an assertion, in it or in what it calls; a test that only calls says `-> raises nothing`."""
    idle = [
        where(path, [each])
        for path, tree in FILES.items()
        for each in cases_in(tree)
        if not is_checked(each, tree)
    ]
    assert idle == []


def test_whatever_chance_decides_can_be_repeated():
    """A generator has a fixed seed, or one that is in the test's id or printed; no test's data is of os.urandom."""
    for path, tree in FILES.items():
        if path.startswith("tests/"):
            hidden = [each for each in functions(tree) if draws(each) and not prints_its_seed(each)]
            assert where(path, hidden) == []
            assert where(path, [each for each in calls(tree) if dotted(each.func) == "os.urandom"]) == []


def test_no_test_sleeps_to_be_in_time():
    """What is waited for is asked for, by `dtls_emu.testing.waiting.eventually`; the benchmarks' daemons have their own.

    Load on hosts is another matter: it takes the time that it takes. So is a handshake that a test makes slow.
    """
    sleeping = {
        path for path, tree in FILES.items() if any(dotted(each.func) == "time.sleep" for each in calls(tree))
    }
    assert sleeping <= {
        "bench/soak.py",
        "bench/peers/side_by_side/processes.py",
        "bench/peers/side_by_side/underlay.py",
        "tests/host/loop/test_equivalence.py",
    }


def test_no_loop_only_asks():
    """It would ask for ever; `eventually` and `rounds` of the same module end, and say what did not happen."""
    asking = [
        where(path, [each])
        for path, tree in FILES.items()
        for each in ast.walk(tree)
        if isinstance(each, ast.While) and all(isinstance(step, ast.Pass) for step in each.body)
    ]
    assert asking == []


@pytest.mark.parametrize(
    ("source", "is_right"),
    [
        ("def test_a(x): assert x", True),
        ("def test_a(x):\n with pytest.raises(ValueError): x()", True),
        ("def test_a(x): assert_talks(x)", True),
        ("def test_a(x): x.assert_talks()", True),
        ("def test_a(x): helper(x)\ndef helper(x): assert x", True),
        ("def test_a(x): helper(x)\ndef helper(x): print(x)", False),
        ("def test_a(x): x.run()", False),
        ('def test_a(x):\n "As it is -> raises nothing."\n x.run()', True),
    ],
)
def test_a_test_without_an_assertion_would_be_found(source, is_right):
    """And one that has one somewhere would not."""
    tree = ast.parse(source)
    assert is_checked(cases_in(tree)[0], tree) is is_right


@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ("rng = random.Random(7)", True),
        ("rng = random.Random(SEED)", True),
        ("rng = np.random.default_rng(seed)", True),
        ("rng = random.Random(f'{seed}-1')", True),
        ("rng = np.random.default_rng()", False),
        ("rng = random.Random(time())", False),
        ("fresh = secrets.token_hex(4)", False),
        ("fresh = secrets.token_hex(4); print(f'seed {fresh}')", True),
        ("fresh = random.randrange(9)", False),
        ("number = rng.randrange(9)", True),
    ],
)
def test_hidden_chance_would_be_found(body, is_right):
    """Whatever generator it is of."""
    (function,) = functions(ast.parse(f"def test_a(seed): {body}"))
    assert (not draws(function) or prints_its_seed(function)) is is_right
