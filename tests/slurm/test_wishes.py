"""Wishes in a comment: one table for the daemon and for the submit script, and what they come to as terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wattlease.core.api import PowerProfile
from wattlease.core.model import Step, Terms
from wattlease_slurm.agreement import agreed, terms_of
from wattlease_slurm.tables import Tables
from wattlease_slurm.wishes import SIGNALS, Checkpoint, Mistake, Wishes, overlaid, read, text
from wattlease_slurm.words import SlurmJob, State

lupa = pytest.importorskip("lupa", reason="the submit script's reader runs in lupa's Lua")
READER = Path(__file__).parents[2] / "slurm_plugin/lua/wattlease/wishes.lua"

GOOD = {
    "": Wishes(),
    "nothing of ours": Wishes(),
    "about wattlease and more": Wishes(),
    "mywattlease:pausable": Wishes(),
    "wattlease:pausable": Wishes(pausable=True),
    "wattlease:not-pausable": Wishes(pausable=False),
    "wattlease:protected,requeue": Wishes(protected=True, requeue=True),
    "project 42; wattlease:pausable;done": Wishes(pausable=True),
    "a\twattlease:weight=0 b": Wishes(weight=0.0),
    "wattlease:max-slowdown=25,pausable,checkpoint=USR1@120": Wishes(
        max_slowdown_frac=0.25, pausable=True, checkpoint=Checkpoint("USR1", 120.0)
    ),
    "wattlease:checkpoint=B:TERM@3600": Wishes(checkpoint=Checkpoint("TERM", 3600.0, batch_only=True)),
    "wattlease:max-slowdown=100": Wishes(max_slowdown_frac=1.0),
    "wattlease:max-slowdown=0.5": Wishes(max_slowdown_frac=0.005),
    "wattlease:checkpoint-every=600,restart=0": Wishes(checkpoint_every_s=600.0, restart_s=0.0),
    "wattlease:value=3.5,weight=2": Wishes(value_per_gpu_h=3.5, weight=2.0),
    "wattlease:kind=Inference": Wishes(kind="Inference"),
    "wattlease:batch=50:60:55": Wishes(steps=(Step(0.5, 0.6, 0.55),)),
    "wattlease:batch=75:85:80/50:60:0": Wishes(steps=(Step(0.75, 0.85, 0.8), Step(0.5, 0.6, 0.0))),
    "wattlease:min-nodes=2": Wishes(min_nodes=2),
    "wattlease:profile=llm-70b": Wishes(profile="llm-70b"),
}

BAD = {
    "wattlease:": "wattlease:",
    "wattlease: pausable": "wattlease:",
    "wattlease:pausable,": "wattlease:",
    "wattlease:pausable wattlease:requeue": "wattlease:",
    "wattlease:Pausable": "Pausable",
    "wattlease:pauseable": "pauseable",
    "wattlease:pausable=yes": "pausable=yes",
    "wattlease:pausable=": "pausable=",
    "wattlease:pausable,pausable": "pausable",
    "wattlease:pausable,not-pausable": "not-pausable",
    "wattlease:max-slowdown": "max-slowdown",
    "wattlease:max-slowdown=": "max-slowdown=",
    "wattlease:max-slowdown=101": "max-slowdown=101",
    "wattlease:max-slowdown=-1": "max-slowdown=-1",
    "wattlease:max-slowdown=25%": "max-slowdown=25%",
    "wattlease:max-slowdown=1e1": "max-slowdown=1e1",
    "wattlease:max-slowdown=0x10": "max-slowdown=0x10",
    "wattlease:max-slowdown=nan": "max-slowdown=nan",
    "wattlease:max-slowdown=.5": "max-slowdown=.5",
    "wattlease:max-slowdown=5.": "max-slowdown=5.",
    "wattlease:max-slowdown=0000000000025": "max-slowdown=0000000000025",
    "wattlease:requeue,max-slowdown=fast": "max-slowdown=fast",
    "wattlease:checkpoint=USR1": "checkpoint=USR1",
    "wattlease:checkpoint=KILL@120": "checkpoint=KILL@120",
    "wattlease:checkpoint=USR1@0": "checkpoint=USR1@0",
    "wattlease:checkpoint=USR1@3601": "checkpoint=USR1@3601",
    "wattlease:checkpoint=R:USR1@12": "checkpoint=R:USR1@12",
    "wattlease:checkpoint=USR1@1.5": "checkpoint=USR1@1.5",
    "wattlease:checkpoint-every=0": "checkpoint-every=0",
    "wattlease:checkpoint-every=1.5": "checkpoint-every=1.5",
    "wattlease:restart=soon": "restart=soon",
    "wattlease:value=1000001": "value=1000001",
    "wattlease:weight=1001": "weight=1001",
    "wattlease:kind=training": "kind=training",
    "wattlease:kind=Training|Batch": "kind=Training|Batch",
    "wattlease:batch=50": "batch=50",
    "wattlease:batch=50:60": "batch=50:60",
    "wattlease:batch=50:60:55/": "batch=50:60:55/",
    "wattlease:batch=50:60:55/75:85:80": "batch=50:60:55/75:85:80",
    "wattlease:batch=0:60:55": "batch=0:60:55",
    "wattlease:batch=50:1.2.3:55": "batch=50:1.2.3:55",
    "wattlease:batch=9:9:9/8:8:8/7:7:7/6:6:6/5:5:5/4:4:4/3:3:3/2:2:2/1:1:1": (
        "batch=9:9:9/8:8:8/7:7:7/6:6:6/5:5:5/4:4:4/3:3:3/2:2:2/1:1:1"[:40]
    ),
    "wattlease:min-nodes=0": "min-nodes=0",
    "wattlease:min-nodes=2.5": "min-nodes=2.5",
    "wattlease:profile=Gold": "profile=Gold",
    "wattlease:profile=gold-": "profile=gold-",
    f"wattlease:profile={'g' * 64}": f"profile={'g' * 64}"[:40],
    "wattlease:\x01\x02": "??",
}


@pytest.fixture(scope="module", params=["lua51", "lua52", "lua53", "lua54"])
def mistake(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """The submit script's reader."""
    lua = __import__(f"lupa.{request.param}", fromlist=["LuaRuntime"]).LuaRuntime()
    return lua.execute(READER.read_text(encoding="utf-8")).mistake


@pytest.mark.parametrize("comment", GOOD)
def test_a_good_comment_is_read_by_the_daemon_and_passes_at_submit(comment: str, mistake: Callable[[str], Any]) -> None:
    assert read(comment) == GOOD[comment]
    assert mistake(comment) is None


@pytest.mark.parametrize("comment", BAD)
def test_a_bad_comment_is_told_by_the_same_word_and_advice_on_both_sides(
    comment: str, mistake: Callable[[str], Any]
) -> None:
    wrong = read(comment)
    assert isinstance(wrong, Mistake)
    assert wrong.word == BAD[comment]
    assert wrong.advice
    assert mistake(comment) == (wrong.word, wrong.advice)


WORD = st.sampled_from(
    [
        "pausable",
        "max-slowdown",
        "checkpoint",
        "batch",
        "weight",
        "=",
        ",",
        "25",
        "1.5",
        "USR1@9",
        "B:",
        "9:9:9",
        "/",
        ";",
    ]
)


@given(st.lists(WORD, max_size=8).map("".join) | st.text(st.characters(max_codepoint=126), max_size=20))
def test_both_sides_agree_on_whatever_stands_there(mistake: Callable[[str], Any], said: str) -> None:
    found = read(f"wattlease:{said}")
    told = mistake(f"wattlease:{said}")
    assert told == (None if isinstance(found, Wishes) else (found.word, found.advice))


@given(st.text(max_size=40))
def test_no_text_makes_the_reader_raise(comment: str) -> None:
    assert isinstance(read(comment), Wishes | Mistake)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


tenths = st.integers(10, 1000).map(lambda n: n / 1000)
STEPS = st.lists(tenths, min_size=2, max_size=6, unique=True).map(
    lambda fracs: tuple(Step(f, f, f / 2) for f in sorted(fracs, reverse=True))
)
WISHES = st.builds(
    Wishes,
    max_slowdown_frac=optional(st.integers(0, 1000).map(lambda n: n / 1000)),
    pausable=optional(st.booleans()),
    protected=optional(st.just(True)),
    requeue=optional(st.just(True)),
    checkpoint=optional(
        st.builds(Checkpoint, st.sampled_from(SIGNALS), st.integers(1, 3600).map(float), st.booleans())
    ),
    checkpoint_every_s=optional(st.integers(1, 31_536_000).map(float)),
    restart_s=optional(st.integers(0, 31_536_000).map(float)),
    value_per_gpu_h=optional(st.integers(0, 10**6).map(lambda n: n / 100)),
    weight=optional(st.integers(0, 10**5).map(lambda n: n / 100)),
    kind=optional(st.sampled_from(["Training", "Inference", "Generation", "Batch", "Interactive"])),
    steps=optional(STEPS),
    min_nodes=optional(st.integers(1, 100_000)),
    profile=optional(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)),
)


@given(WISHES.filter(lambda wishes: wishes != Wishes()))
def test_wishes_that_are_written_down_are_read_as_they_were(mistake: Callable[[str], Any], wishes: Wishes) -> None:
    found = read(text(wishes))
    assert isinstance(found, Wishes)
    for name in Wishes.__slots__:
        if name == "steps" and wishes.steps is not None:
            assert [dataclasses.astuple(s) for s in found.steps or ()] == [
                pytest.approx(dataclasses.astuple(s)) for s in wishes.steps
            ]
        elif isinstance(getattr(wishes, name), float):
            assert getattr(found, name) == pytest.approx(getattr(wishes, name))
        else:
            assert getattr(found, name) == getattr(wishes, name)
    assert mistake(text(wishes)) is None


@given(WISHES, WISHES)
def test_what_is_said_last_holds_and_what_is_not_said_takes_nothing_away(first: Wishes, last: Wishes) -> None:
    both = overlaid(first, last)
    for name in Wishes.__slots__:
        said = getattr(last, name)
        assert getattr(both, name) == (getattr(first, name) if said is None else said)


JOB = SlurmJob(
    "7", 7, "train-llm-12", "ada", "physics", "gpu,night", "normal", State.PENDING, 0.0, comment="wattlease:weight=1"
)


def tables(**lines: dict[str, Any]) -> Tables:
    return Tables.model_validate(lines)


def profile(**spec: Any) -> PowerProfile:
    return PowerProfile.model_validate({"metadata": {"name": spec.pop("called", "gold")}, "spec": spec})


def test_a_job_without_a_word_from_anyone_has_the_cores_defaults() -> None:
    assert terms_of(JOB, (), Tables(), Wishes()) == Terms("default")


def test_qos_holds_over_account_and_that_over_partition_and_that_over_the_default() -> None:
    said = tables(
        default={"weight": 1, "maxSlowdownPercent": 10, "restartSeconds": 1, "pausable": False},
        partitions={"gpu": {"weight": 2, "maxSlowdownPercent": 20, "restartSeconds": 2}, "night": {"weight": 9}},
        accounts={"physics": {"weight": 3, "maxSlowdownPercent": 30}},
        qos={"normal": {"weight": 4}, "other": {"weight": 9}},
    )
    terms = terms_of(JOB, (), said, Wishes())
    assert (terms.weight, terms.max_slowdown_frac, terms.restart_s, terms.pausable) == (4, 0.3, 2, False)


def test_what_a_profile_says_holds_over_tables_and_what_it_leaves_out_does_not() -> None:
    said = tables(qos={"normal": {"weight": 4, "kind": "Batch", "restartSeconds": 9}})
    gold = profile(selector={"names": ["train-*"]}, weight=0.5, checkpoint={"everySeconds": 60})
    terms = terms_of(JOB, (gold,), said, Wishes())
    assert (terms.name, terms.weight, terms.kind) == ("gold", 0.5, "Batch")
    assert (terms.checkpoint_every_s, terms.restart_s) == (60, 9)


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ({"names": ["train-*"]}, True),
        ({"names": ["serve-*"]}, False),
        ({"owners": ["ada"]}, True),
        ({"owners": ["phys*"]}, True),
        ({"owners": ["bob"]}, False),
        ({"partitions": ["night"]}, True),
        ({"names": ["train-*"], "partitions": ["debug"]}, False),
        ({"names": ["train-*"], "matchLabels": {"a": "b"}}, False),
        ({}, False),
    ],
)
def test_a_profile_takes_the_jobs_that_match_every_line_of_its_selector(selector: dict[str, Any], taken: bool) -> None:
    assert (terms_of(JOB, (profile(selector=selector),), Tables(), Wishes()).name == "gold") == taken


def test_a_job_may_name_a_profile_that_is_open_to_it_and_no_other() -> None:
    ours, theirs = profile(called="ours", protected=True), profile(called="theirs", selector={"owners": ["bob"]})
    assert terms_of(JOB, (ours, theirs), Tables(), Wishes(profile="ours")).protected
    refused = agreed(JOB, (ours, theirs), Tables(), Wishes(profile="theirs"))
    assert refused.terms.name == "default"
    assert "profile=theirs" in refused.told[0]


def test_a_jobs_own_wishes_hold_over_all_where_the_site_permits_them() -> None:
    said = tables(qos={"normal": {"weight": 4, "checkpoint": "USR1@60", "requeue": True}})
    own = Wishes(weight=3.0, max_slowdown_frac=0.1, pausable=False, checkpoint=Checkpoint("USR2", 9.0), min_nodes=2)
    found = agreed(JOB, (), said, own)
    assert (found.terms.weight, found.terms.max_slowdown_frac, found.terms.pausable) == (3, 0.1, False)
    assert (found.checkpoint, found.requeue, found.min_nodes, found.told) == (Checkpoint("USR2", 9.0), True, 2, ())


def test_wishes_beyond_what_the_site_permits_are_bounded_and_told() -> None:
    wild = Wishes(weight=900.0, value_per_gpu_h=900.0, protected=True, pausable=False, max_slowdown_frac=0.0)
    strict = tables(default={"permits": {"notPausable": False, "leastSlowdownPercent": 15}})
    found = agreed(JOB, (), strict, wild)
    assert found.terms == dataclasses.replace(Terms("default"), max_slowdown_frac=0.15)
    assert {told.partition(":")[0] for told in found.told} == {
        "weight", "value", "protected", "not-pausable", "max-slowdown"
    }  # fmt: skip
    open_ = tables(
        default={"permits": {"protected": False}},
        qos={"normal": {"permits": {"protected": True, "mostWeight": 1000, "mostValuePerGpuHour": 1000}}},
    )
    free = agreed(JOB, (), open_, wild)
    assert (free.terms.weight, free.terms.value_per_gpu_h, free.terms.protected, free.told) == (900, 900, True, ())


@given(WISHES)
def test_no_wish_buys_more_protection_than_the_site_gives(wishes: Wishes) -> None:
    terms = terms_of(JOB, (), Tables(), wishes)
    assert not terms.protected
    assert terms.weight * terms.value_per_gpu_h <= Terms("default").weight * Terms("default").value_per_gpu_h


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ({"checkpoint": "KILL@1"}, "checkpoint"),
        ({"batchSteps": [{"batchPercent": 50, "drawPercent": 60, "speedPercent": 50}] * 2}, "batchSteps"),
        ({"wieght": 1}, "wieght"),
        ({"profile": "No Name"}, "profile"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(line: dict[str, Any], at: str) -> None:
    with pytest.raises(ValidationError, match=at):
        Tables.model_validate({"qos": {"normal": line}})
