import pytest

from lapo_verl.runs.keywords import GROUPS, count_keywords


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", (0, 0, 0, 0)),
        ("Wait, wait. WAIT!", (3, 0, 0, 0)),
        ("I was waiting and awaited the checkers", (0, 0, 0, 0)),
        ("double-check it; re-check", (2, 0, 0, 0)),
        ("Alternatively, maybe another way?", (0, 3, 0, 0)),
        ("First, recall the problem.", (0, 0, 3, 0)),
        ("Thus the final answer is 4; therefore", (0, 0, 0, 3)),
        ("3+8=0 check: 3+8=1,wait 3+8=1 ok", (2, 0, 0, 0)),
    ],
)
def test_words_and_phrases_are_counted(text: str, counts: tuple[int, ...]) -> None:
    assert count_keywords(text) == counts


def test_no_term_is_in_two_groups_and_all_are_found() -> None:
    terms = [term for group in GROUPS.values() for term in group]
    # One inside a phrase would count it a second time.
    for phrase in (term for term in terms if " " in term):
        assert sum(count_keywords(phrase)) == 1, phrase
    assert len(terms) == len(set(terms))
    for position, group in enumerate(GROUPS.values()):
        for term in group:
            assert count_keywords(f"x {term} y")[position] >= 1, term
