"""A tool as verl's users write one: a function, and the type hints and docstring that verl makes its schema of."""

from verl.tools.function_tool import function_tool


@function_tool
def calculator(a: int, b: int) -> str:
    """Multiplies, and says so in a box, which is no answer of the model's.

    Args:
        a: A number.
        b: Another number.
    """
    return f"\\boxed{{{a * b}}}"


@function_tool
def echo(text: str) -> str:
    """Says what it is told.

    Args:
        text: What to say.
    """
    return text
