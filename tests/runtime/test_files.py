"""The door for YAML: what is right comes in, and what is wrong is told with file, line, field and the fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, model_validator

from wattlease.core.api import PowerBudget, PowerProfile, PowerShare, check_tree
from wattlease.core.errors import BudgetError
from wattlease.runtime.files import MAX_BYTES, load, load_all

ROOT = Path(__file__).parents[2]

HALL = """\
apiVersion: wattlease.io/v1alpha1
kind: PowerBudget
metadata: {name: hall}
spec:
  limitWatts: 1000
"""

PROFILE = """\
kind: PowerProfile
metadata: {name: train}
spec:
  kind: Training
"""


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """What is told of a file, its folder left out."""
    path = tmp_path / "hall.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BudgetError) as caught:
        load_all(path)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_a_file_of_all_kinds_comes_in_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    share = "kind: PowerShare\nmetadata: {name: east}\nspec: {budget: hall, cluster: east, watts: 10}\n"
    path.write_text(f"\ufeff# a site\n---\n{HALL}---\n---\n{PROFILE}---\n{share}")
    hall, profile, east = load_all(path)
    assert isinstance(hall, PowerBudget)
    assert isinstance(profile, PowerProfile)
    assert isinstance(east, PowerShare)
    assert hall.spec.limit_watts == 1000


def test_times_and_words_are_not_taken_for_numbers(tmp_path: Path) -> None:
    path = tmp_path / "hall.yaml"
    more = (
        "  schedule: [{name: no, start: 22:30, end: 06:00, limitWatts: 500}]\n  tariff: {pricePerKilowattHour: 1e-1}\n"
    )
    path.write_text(HALL + more)
    spec = load(path, PowerBudget).spec
    assert (spec.schedule[0].name, spec.schedule[0].start, spec.schedule[0].end) == ("no", "22:30", "06:00")
    assert spec.tariff.price_per_kilowatt_hour == 0.1


SPEC = [
    ("limitWatts: -5", "5: spec.limitWatts: -5 is not a positive number of watts; write a whole number such as 480000"),
    ("limitWatts: 0", "5: spec.limitWatts: 0 is not a positive number of watts; write a whole number such as 480000"),
    (
        "limitWatts: 4.5",
        "5: spec.limitWatts: 4.5 is not a positive number of watts; write a whole number such as 480000",
    ),
    ("limitWatts:", "5: spec.limitWatts: is empty; write a whole number such as 480000"),
    ("limitWatts: true", "5: spec.limitWatts: true is not a positive number of watts; write a whole number such as"),
    ("limitWatts: '480'", "5: spec.limitWatts: '480' is not a positive number of watts; write a whole number such as"),
    ("limitWatts: 480_000", "5: spec.limitWatts: '480_000' is not a positive number of watts"),
    ("limitWatts: 0480", "5: spec.limitWatts: '0480' is not a positive number of watts"),
    ("limitWatts: 480 kW", "5: spec.limitWatts: '480 kW' is not a positive number of watts"),
    ("limitWatts: [480]", "5: spec.limitWatts: a list is not a positive number of watts"),
    ("limitWatts: .nan", "5: spec.limitWatts: .nan is not a number to count with; write a finite one"),
    ("limitWatts: -.inf", "5: spec.limitWatts: -.inf is not a number to count with; write a finite one"),
    ("limitWatts: 1e999", "5: spec.limitWatts: 1e999 is not a number to count with; write a finite one"),
    (
        "limitWatts: 999999999999999999999",
        "5: spec.limitWatts: 999999999999999999999 is not a positive number of watts",
    ),
    ("limitWats: 5", "4: spec.limitWatts: is missing; add limitWatts: 480000"),
    ("limitWats: 5", "5: spec.limitWats: there is no field 'limitWats'; did you mean 'limitWatts'?"),
    ("limit_watts: 5", "5: spec.limit_watts: there is no field 'limit_watts'; did you mean 'limitWatts'?"),
    ("limitWatts: 5\n  colour: red", "6: spec.colour: there is no field 'colour'; write one of limitWatts, guaranteed"),
    ("limitWatts: 5\n  limitWatts: 6", "6: spec.limitWatts: is written twice, first in line 5; keep one of them"),
    ("limitWatts: 5\n  mode: shadow", "6: spec.mode: 'shadow' is not one of Enforce, Shadow; did you mean Shadow?"),
    ("limitWatts: 5\n  mode: off", "6: spec.mode: 'off' is not one of Enforce, Shadow; write one of them"),
    ("limitWatts: 5\n  parent: R 2", "6: spec.parent: 'R 2' is not a name of lower case letters, digits and dashes"),
    (
        "limitWatts: 5\n  parent: hal",
        "6: spec.parent: there is no PowerBudget named 'hal'; leave parent out for a",
    ),
    (
        "limitWatts: 5\n  parent: hall",
        "6: spec.parent: the parents go in a circle, hall -> hall; one of them must be a",
    ),
    ("limitWatts: 5\n  guaranteedWatts: 6", "6: spec.guaranteedWatts: 6 is above limitWatts of 5 W; write at most 5"),
    (
        "limitWatts: 5\n  storage: {name: b}",
        "6: spec.storage: a group of fields is not a list; begin each entry's line",
    ),
    (
        "limitWatts: 5\n  ramp: 5",
        "6: spec.ramp: 5 is not a group of fields; write `field: value` lines, indented below",
    ),
    (
        "limitWatts: 5\n  ramp:\n    releasePercentPerMinute: 500",
        "7: spec.ramp.releasePercentPerMinute: 500 is not a number from 1 to 100; write a number such as 1",
    ),
    (
        "limitWatts: 5\n  schedule:\n    - {name: a, start: 9:00, end: 12:00, limitWatts: 4}",
        "7: spec.schedule[0].start: '9:00' is not a time of day in hours and minutes; write such as \"22:00\"",
    ),
    (
        "limitWatts: 5\n  schedule:\n    - name: a\n      start: 09:00\n      end: 09:00\n      limitWatts: 4",
        "9: spec.schedule[0].end: 09:00 is also the start, so the window is empty; for a whole day write 00:00 to",
    ),
    (
        "limitWatts: 5\n  schedule:\n    - {name: a, start: 09:00, end: 10:00,\n       timeZone: Europe/Berln}",
        "8: spec.schedule[0].timeZone: 'Europe/Berln' is no time zone; write a name such as Europe/Berlin",
    ),
    (
        "limitWatts: 5\n  schedule:\n    - {name: a, start: 09:00, end: 10:00, limitWatts: 4, days: [Mon, Tues]}",
        "7: spec.schedule[0].days[1]: 'Tues' is not one of Mon, Tue, Wed, Thu, Fri, Sat, Sun; did you mean Tue?",
    ),
    (
        "limitWatts: 5\n  demandResponse:\n    - name: a\n      start: 2026-07-01T16:00:00Z\n"
        "      end: 2026-07-01T15:00:00Z\n      limitWatts: 4",
        "9: spec.demandResponse[0].end: 2026-07-01T15:00:00+00:00 is not after the start 2026-07-01T16:00:00+00:00;",
    ),
    (
        "limitWatts: 5\n  demandResponse:\n    - {name: a, start: 2026-07-01T16:00:00, end: 2026-07-01T17:00:00Z}",
        "7: spec.demandResponse[0].start: '2026-07-01T16:00:00' is not a time with a zone; write such as 2026-07-01T16",
    ),
    (
        "limitWatts: 5\n  demandResponse:\n    - {name: a, start: 2026-07-01T16:00:00, end: 2026-07-01T17:00:00Z}",
        "7: spec.demandResponse[0].limitWatts: is missing; add limitWatts: 480000",
    ),
]


@pytest.mark.parametrize(("spec", "told"), SPEC, ids=lambda text: text.replace("\n", " ")[:60])
def test_a_mistake_is_told_with_line_field_and_fix(tmp_path: Path, spec: str, told: str) -> None:
    lines = refusal(tmp_path, HALL.replace("limitWatts: 1000", spec)).splitlines()
    assert any(line.startswith(f"hall.yaml:{told}") for line in lines), lines


FILES = [
    ("", "hall.yaml:1: the file is empty; begin with kind: PowerBudget"),
    ("# nothing\n---\n...\n", "hall.yaml:1: the file is empty"),
    ("5", "hall.yaml:1: kind: is missing"),
    ("- a\n- b\n", "hall.yaml:1: kind: is missing, so nobody knows what this document is; write one of PowerBudget,"),
    (HALL.replace("Budget", "Bugdet"), "hall.yaml:2: kind: there is no kind 'PowerBugdet'; did you mean PowerBudget?"),
    (
        HALL.replace("v1alpha1", "v1"),
        "hall.yaml:1: apiVersion: 'wattlease.io/v1' is not the version of this API; write",
    ),
    (HALL.replace("name: hall", "name: 5"), "hall.yaml:3: metadata.name: 5 is not a name of lower case letters"),
    (HALL.replace("{name: hall}", ""), "hall.yaml:3: metadata: is empty; write `field: value` lines"),
    (HALL.replace("{name: hall}", "{name: hall"), "hall.yaml:4: "),
    (HALL + "  mode:Shadow\n", "hall.yaml:"),
    (HALL + "\tmode: Shadow\n", "hall.yaml:6: "),
    (HALL + "  mode: \x01\n", "hall.yaml:6: a control character is not allowed"),
    (HALL.encode() + b"  # M\xfcnchen\n", "hall.yaml:6: byte 0xfc is not UTF-8; save the file as UTF-8"),
    (HALL.encode("utf-16"), "hall.yaml:1: byte 0xff is not UTF-8"),
    ("a: &a [x]\nb: *a\n", "hall.yaml:1: anchors and aliases are not read here; write the value out"),
    ("b: *a\n", "hall.yaml:1: anchors and aliases are not read here"),
    (HALL + "  mode: !!python/object:os.system x\n", "hall.yaml:6: the tag "),
    ("? [a, b]\n: c\n", "hall.yaml:1: a list or group cannot be a field's name; write `name: value`"),
    ("a: " + "[" * 5000, "hall.yaml:1: nested more than 32 deep"),
    (f"{HALL}---\n{HALL}", "hall.yaml:9: metadata.name: a PowerBudget named 'hall' is there already"),
    (f"{PROFILE}---\n{PROFILE}", "hall.yaml:7: metadata.name: a PowerProfile named 'train' is there already"),
    (
        HALL + "  guaranteedWatts: 50\n---\n" + HALL.replace("hall", "r2") + "  {parent: hall, guaranteedWatts: 51}\n",
        "hall.yaml:",
    ),
    (
        HALL + "  guaranteedWatts: 50\n---\n" + HALL.replace("hall", "r2") + "  parent: hall\n  guaranteedWatts: 51\n",
        "hall.yaml:6: spec.guaranteedWatts: 50 W cannot keep the 51 W that its children are guaranteed; raise it",
    ),
]


@pytest.mark.parametrize(("text", "told"), FILES, ids=lambda text: repr(text)[-60:])
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str | bytes, told: str) -> None:
    assert refusal(tmp_path, text).startswith(told)


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    wrong = HALL.replace("1000", "-1").replace("hall", "Hall")
    told = refusal(tmp_path, f"{wrong}---\nkind: Nothing\n---\n{PROFILE.replace('Training', 'Trainin')}").splitlines()
    assert [line.split(": ")[0] for line in told] == [f"hall.yaml:{n}" for n in (3, 5, 7, 12)]
    assert "spec.kind: 'Trainin' is not one of Training" in told[-1]


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    told = refusal(tmp_path, b"[" * (10 << 20))
    assert told == f"hall.yaml: is larger than {MAX_BYTES} bytes; split it, a budget takes a few hundred"


def test_a_file_full_of_mistakes_is_told_in_reason(tmp_path: Path) -> None:
    told = refusal(tmp_path, HALL + "".join(f"  field{i}: 1\n" for i in range(20_000))).splitlines()
    assert len(told) == 51
    assert told[-1] == "hall.yaml: and more; these first"


def test_a_file_that_is_not_there_is_refused_and_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"none\.yaml: cannot be read: No such file or directory; give the path"):
        load_all(tmp_path / "none.yaml")
    with pytest.raises(BudgetError, match="cannot be read"):
        load_all(tmp_path)


# --- models of others ---


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    share: float
    many: int | str = 1


class Scenario(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int
    parts: dict[str, Part] = {}
    budgets: tuple[PowerBudget, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Scenario:
        check_tree(self.budgets)
        if self.seed == 13:
            raise ValueError("seed 13 brings bad luck; write another")
        return self


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: x\n", "1: seed: 'x' is not a whole number; write a whole number such as 1"),
        ("seed: 1\nparts:\n  a:\n    shear: 1\n", "4: parts.a.shear: there is no field 'shear'; did you mean 'share'?"),
        ("seed: 1\nparts:\n  a:\n    share: 1\n    many: [1]\n", "5: parts.a.many: a list is not a whole number"),
        ("seed: 13\n", "1: seed 13 brings bad luck; write another"),
        ("seed: 1\nparts: {a: {share: .inf}}\n", "2: parts.a.share: .inf is not a number to count with"),
        ("seed: 1\n---\nseed: 2\n", "3: a second document begins; keep one, or use a file for each"),
        ("", "1: the file is empty; write a Scenario"),
        (
            "seed: 1\nbudgets:\n- {metadata: {name: a}, spec: {limitWatts: 5, parent: b}}\n",
            "1: PowerBudget a: spec.parent: there is no PowerBudget named 'b'",
        ),
    ],
)
def test_any_model_can_stand_at_the_door(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(BudgetError) as caught:
        load(path, Scenario)
    assert f"scenario.yaml:{told}" in str(caught.value)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Anything(BaseModel):
    model_config = ConfigDict(frozen=True)
    value: object


@settings(max_examples=60, deadline=None)
@given(plain)
def test_plain_values_come_in_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.yaml"
    path.write_text(yaml.safe_dump({"value": value}), encoding="utf-8")
    assert load(path, Anything).value == value


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab: -\n[]{}&*!|>'\"#?,0.eE\t%@`~") | st.characters(), max_size=60))
def test_no_text_whatever_brings_more_than_a_refusal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BudgetError):
        load_all(path)


# --- the reference ---


def test_the_reference_is_in_step_with_the_models() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "wattlease.runtime.reference", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_the_references_example_comes_in(tmp_path: Path) -> None:
    text = (ROOT / "docs/budget.md").read_text(encoding="utf-8")
    path = tmp_path / "example.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    assert [r.name for r in load_all(path)] == ["hall", "rack-r2", "nightly-training"]


def test_the_references_refusals_are_what_is_said(tmp_path: Path) -> None:
    text = (ROOT / "docs/budget.md").read_text(encoding="utf-8")
    wrong = HALL.replace("1000", "-5") + "  mode: Shadow\n  guaranteedWats: 5\n"
    assert refusal(tmp_path, wrong) in text
