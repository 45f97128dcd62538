"""The toy's checks, worked out by a tool: the model writes ``7*3=``, and is told the last digit of the product.

Loaded by verl by path: ``rollout.multi_turn.function_tool_path``. verl's parsers of tool calls read other
notations than the toy's, hence one more.
"""

import json
import re
from typing import Any

from verl.experimental.agent_loop.tool_parser import FunctionCall, ToolParser
from verl.tools.function_tool import function_tool


@function_tool
def last_digit(a: int, b: int) -> str:
    """The last digit of a product.

    Args:
        a: A digit.
        b: Another digit.
    """
    return str(a * b % 10)


@ToolParser.register("toy")
class ToyToolParser(ToolParser):
    @property
    def stop_token_ids(self) -> list[int]:
        return [self.tokenizer.convert_tokens_to_ids("=")]

    async def extract_tool_calls(self, responses_ids: list[int], tools: Any = None) -> tuple[str, list[FunctionCall]]:
        text = self.tokenizer.decode(responses_ids)
        asked = re.search(r"(\d)\*(\d)=$", text)
        if asked is None:
            return text, []
        arguments = json.dumps({"a": int(asked[1]), "b": int(asked[2])})
        return text, [FunctionCall(name="last_digit", arguments=arguments)]
