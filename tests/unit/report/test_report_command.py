"""``lapo report`` as a user runs it."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner

from lapo_verl.cli.main import app

PICTURES = {
    "adherence.png",
    "budgets_i.png",
    "keywords_validation.png",
    "lengths_validation.png",
    "levels_validation.png",
    "pareto.png",
    "training.png",
    "validation_steps.png",
}
ALERT = "<script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would fetch or run, and the text that it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.handlers: list[str] = []
        self.pictures: list[dict[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append({name: value or "" for name, value in attrs})
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster", "background"):
                self.fetched.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", "--resamples", "500", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def check_page(html: str) -> Page:
    page = Page(html)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.fetched)
    assert page.handlers == []
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "@import" not in html and "url(" not in html
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that only read it: a report with its eight pictures takes seconds."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(Path(__file__).parent / "fixtures", folder / "recorded")
    runs = (f"{name[0]}={folder / 'recorded' / name}" for name in ("discovery", "internalization"))
    code, output, errors = run(*runs, "-o", folder / "out", "--problem", "5+4")
    assert code == 0, errors
    assert "Pass@1" in output and "report.html" in output
    return folder / "out"


def test_all_of_it_is_there(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == PICTURES | {"report.html", "report.md", "report.json"}
    for name in PICTURES:
        image = plt.imread(report / name)
        assert min(image.shape[:2]) > 300
        assert image[..., :3].std() > 0.05, name
        assert len({tuple(colour) for colour in image[::5, ::5, :3].reshape(-1, 3).round(1).tolist()}) > 4, name
    page = check_page((report / "report.html").read_text())
    assert page.tags.count("img") == len(PICTURES)
    for heading in ("Result", "Truncation", "By difficulty level", "Keywords by behaviour", "Left out"):
        assert heading in page.text
    assert "-37.6 % (" in page.text
    assert "Nothing: the report uses all that the runs contain" in page.text
    markdown = (report / "report.md").read_text()
    assert "| validation | d step 12 | 91.7 (" in markdown
    assert "![" in markdown and "(pareto.png)" in markdown
    numbers = json.loads((report / "report.json").read_text())
    assert numbers["table1"]["validation"]["d step 12"]["change"]["tokens_percent"]["value"] == pytest.approx(
        100 * (1702 / 2726 - 1)
    )


def test_pictures_can_be_read_on_a_phone_and_on_a_dark_page(report: Path) -> None:
    html = (report / "report.html").read_text()
    for picture in check_page(html).pictures:
        width, least = int(picture["width"]), int(picture["style"].removeprefix("min-width: ").removesuffix("px"))
        assert least == width * 2 // 3 and picture["alt"]
        assert least <= 720, "an upright tablet shows the whole picture"
    dark = html.partition("figure img { filter: invert(1)")[0].rpartition("@media")[2]
    assert "prefers-color-scheme: dark" in dark


def test_examples_show_the_models_side_by_side(report: Path) -> None:
    text = check_page((report / "report.html").read_text()).text
    examples = text[text.index("shortened most") : text.rindex("Left out")]
    assert examples.count("Ground truth:") == 3
    for model in ("d step 0", "d step 12", "i step 4", "i step 8"):
        assert examples.count(f"{model}: ") == 3
    assert r"</think>\boxed{" in examples


def hostile(path: Path, *extra: dict[str, object]) -> Path:
    row = {"problem_id": f"p{ALERT}", "level": ALERT, "acc": 1.0, "tokens": 5, "truncated": False, "input": ALERT}
    texts = [ALERT, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }} $x_{1$ \\ud800", "a\x00b\u202e", "&lt;b&gt;"]
    rows = [{**row, "output": text, "gts": ALERT, "problem_id": f"{ALERT} $\\frac{i}$"} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(each) + "\n" for each in [*rows, *extra]))
    return path


def test_what_a_model_wrote_stays_text(tmp_path: Path) -> None:
    lone = {"problem_id": "s", "acc": 1.0, "tokens": 9, "output": "\ud800 half a pair", "level": "\ud800"}
    dump = hostile(tmp_path / "x.jsonl", lone)
    code, _, errors = run(
        f"<b>$a_1$={dump}", f"_b={dump}", "-o", tmp_path / "out", "--problem", "s", "--problem", ALERT
    )
    assert code == 0, errors
    html = (tmp_path / "out" / "report.html").read_text()
    assert ALERT not in html
    page = check_page(html)
    assert ALERT in page.text
    assert "half a pair" in page.text
    assert "b" not in page.tags
    assert "49" not in page.text.partition("{{ 7 * 7 }}")[2][:20]
    assert "<script" not in (tmp_path / "out" / "report.md").read_text()
    json.loads((tmp_path / "out" / "report.json").read_text())


def test_json_for_scripts(recorded: Path, tmp_path: Path) -> None:
    code, output, errors = run(recorded / "internalization", "-o", tmp_path / "out", "--json")
    assert code == 0, errors
    assert json.loads(output) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert json.loads(output)["base"] == "internalization step 4"


def test_what_is_missing_is_left_out_and_said(recorded: Path, tmp_path: Path) -> None:
    dump = recorded / "discovery" / "validation" / "0.jsonl"
    rows = [json.loads(line) for line in dump.read_text().splitlines()]
    bare = [{name: row[name] for name in ("problem_id", "acc", "tokens")} for row in rows]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare) + '{"acc": 1')
    code, _, errors = run(tmp_path / "bare.jsonl", tmp_path / "gone", "-o", tmp_path / "out")
    assert code == 0, errors
    text = check_page((tmp_path / "out" / "report.html").read_text()).text
    for sentence in (
        "line 61: the last line was cut off and is left out",
        "gone: there is no",
        "By difficulty level: no sample names a level",
        "Keywords by behaviour: no sample has a response text",
        "Truncation: no samples say whether they were cut off",
        "Validation over training steps: no run has dumps",
        "Training over steps: no run has a log",
        "Adherence: no run",
        "Budgets over time: no run has a length store",
    ):
        assert sentence in text
        assert sentence in errors
    assert {path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".png"} == {
        "lengths_validation.png",
        "pareto.png",
    }


def test_without_a_base_there_are_no_changes(recorded: Path, tmp_path: Path) -> None:
    shutil.rmtree(recorded / "discovery" / "validation")
    code, output, errors = run(
        f"d={recorded / 'discovery'}", f"i={recorded / 'internalization'}", "-o", tmp_path / "out", "--json"
    )
    assert code == 0, errors
    numbers = json.loads(output)
    assert numbers["base"] is None
    assert numbers["table1"]["validation"]["i step 8"]["change"] is None
    assert "Changes against a base: d has no samples; choose another with --base" in numbers["left_out"]


def test_a_log_alone_is_reported(recorded: Path, tmp_path: Path) -> None:
    code, _, errors = run(recorded / "discovery" / "metrics.jsonl", "-o", tmp_path / "out")
    assert code == 0, errors
    assert (tmp_path / "out" / "training.png").exists()
    assert "no run has validation samples" in (tmp_path / "out" / "report.html").read_text()


def test_nothing_to_use_ends_the_command(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([tmp_path / "empty"], "nothing to report on: empty: nothing to use"),
        ([tmp_path / "gone"], "there is no"),
        ([recorded / "discovery", "--base", "x"], "--base x: no run or model is called that"),
        ([recorded, recorded], "two runs are called"),
    ):
        code, output, errors = run(*arguments, "-o", tmp_path / "out")
        assert code == 1
        assert message in errors and errors.startswith("lapo: error:") and errors.count("\n") == 1
        assert output == ""
    assert not (tmp_path / "out").exists()
