"""What ``lapo eval`` hands to verl's command line arrives there as it was."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lapo_verl.evaluate.verl_run import _quoted


@given(st.text(st.sampled_from("'\"\\ ${}[]%,=:n\n\té"), min_size=1))
def test_any_text_goes_through_hydras_command_line(text: str) -> None:
    value = OverridesParser.create().parse_override(f"key={_quoted(text)}").value()
    assert OmegaConf.create({"key": value}).key == text
