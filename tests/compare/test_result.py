from dataclasses import replace
from pathlib import Path

from headstand.compare.result import ResultLog
from tests.compare.results import result

ONE, TWO, PART = result("one"), result("two", "1100"), result("part", None)
ENTRIES = tuple(each.entry for each in (ONE, TWO, PART))


def test_what_was_measured_whole_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "entries.jsonl"
    journal = ResultLog(path, ENTRIES)
    for each in (ONE, PART, TWO):
        journal.add(each)
    assert journal.results[PART.entry] is PART
    assert ResultLog(path, ENTRIES).results == {ONE.entry: ONE, TWO.entry: TWO}
    assert ResultLog(path, ENTRIES[1:]).results == {TWO.entry: TWO}


def test_a_line_that_a_kill_cut_short_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "entries.jsonl"
    for each in (ONE, TWO):
        ResultLog(path, ENTRIES).add(each)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first + 1, len(whole) - 2):
        path.write_bytes(whole[:cut])
        journal = ResultLog(path, ENTRIES)
        assert journal.results == {ONE.entry: ONE}
        journal.add(TWO)
        assert ResultLog(path, ENTRIES).results == {ONE.entry: ONE, TWO.entry: TWO}


def test_the_training_time_is_features_and_head() -> None:
    assert ONE.score is not None
    assert replace(ONE.score, features=7.0).seconds == 7.5
