"""How far an evaluation goes. A template is input from somebody else: its cost is bounded whatever it says."""

from __future__ import annotations

from typing import Final


__all__ = [
    "MAX_COPIES",
    "MAX_DEPTH",
    "MAX_EXPRESSION",
    "MAX_ITEMS",
    "MAX_LEVELS",
    "MAX_NESTED_DEPLOYMENTS",
    "MAX_RESOURCES",
    "MAX_STEPS",
    "MAX_TEXT",
    "Budget",
    "TemplateError",
]

MAX_EXPRESSION: Final = 24_576
"""Characters of an expression ("ARM template best practices": limits of a template)."""

MAX_DEPTH: Final = 64
"""Calls, brackets and members of an expression inside each other. Compilers make about twenty."""

MAX_LEVELS: Final = 150
"""Evaluations inside each other: a variable that needs a variable, and so on."""

MAX_COPIES: Final = 800
"""Iterations of one `copy` ("Resource iteration in ARM templates": the count may not exceed 800)."""

MAX_ITEMS: Final = 10_000
"""Items of an array that a function makes; `range` has the same limit."""

MAX_TEXT: Final = 1 << 20
"""Characters of a text that a function makes."""

MAX_RESOURCES: Final = 50_000
"""Resources of one evaluation. Azure allows 800 a template; nested deployments have as many each."""

MAX_NESTED_DEPLOYMENTS: Final = 32
"""Deployments inside each other."""

MAX_STEPS: Final = 600_000
"""Values looked at or made, in all, which takes some seconds; public landing zones with a hundred resources take 30,000."""


class TemplateError(Exception):
    """A template cannot be evaluated: it refers to itself, or asks for more than is given to it.

    The message begins with the place inside the file; the reader that catches it adds the file.
    """


class Budget:
    """What is left of one evaluation's work. One for a template and all that is nested in it."""

    __slots__ = ("level", "resources", "steps")

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.resources = MAX_RESOURCES
        self.level = 0

    def spend(self, steps: int = 1) -> None:
        """Take some of it.

        Raises:
            TemplateError: there is not as much left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TemplateError(
                f"takes more than {MAX_STEPS} steps to evaluate; split it, or give a file of `bicep snapshot`"
            )

    def declare(self, count: int) -> None:
        """Take some resources.

        Raises:
            TemplateError: there are not as many left.
        """
        self.resources -= count
        if self.resources < 0:
            raise TemplateError(f"declares more than {MAX_RESOURCES} resources; split it")
