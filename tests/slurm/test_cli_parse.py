"""What Slurm's commands print comes back whole, whatever users wrote into it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease_slurm.cli_backend import one_line
from wattlease_slurm.cli_details import details_of, only_details_of
from wattlease_slurm.cli_jobs import Jobs, job_of
from wattlease_slurm.cli_parse import array_tasks_of, count_of, duration_s_of, gpus_of, licences_of, moment_of
from wattlease_slurm.cli_queue import LETTERS, Row, new_mark, rows_of, squeue_format
from wattlease_slurm.cli_records import config_of, nodes_of_records, reservations_of
from wattlease_slurm.hostlist import nodes_of
from wattlease_slurm.words import Held, State

ROW = Row(
    number="12", id="12", user="ann", account="(null)", partition="gpu", qos="normal", state="RUNNING", reason="None",
    priority="4294901757", submit="1795247979", start="1795247980", ran="1-00:00:05", limit="2-00:00:00",
    node_count="2", cpus="16", nodes="n[1-2]", gres="gres/gpu:h100:4", licences="power:5600,fluent:2", shared="OK",
    array="12", tasks="N/A", name="train", comment="(null)",
)  # fmt: skip

RECORD = (
    "JobId={number} {ids}JobName={name} UserId=ann(1000) GroupId=ann(1000) MCS_label=N/A Priority=1 Nice=0"
    " Account=(null) QOS=(null) JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts={restarts}"
    " BatchFlag=1 Reboot=0 EligibleTime=1795247979 SuspendTime=None NodeList=n[1-2] NumNodes=2 NumCPUs=2 NumTasks=2"
    " JOB_GRES=gpu:h100:6   Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:h100:4(IDX:0-3)   Nodes=n2 CPU_IDs=0 Mem=0"
    " GRES=gpu:h100:2(IDX:0,7) MinCPUsNode=1 OverSubscribe=NO Contiguous=0 Licenses=(null) Network=(null)"
    " Command=(null) WorkDir=/srv AdminComment=full speed Comment={comment} StdErr=/srv/x StdOut=/srv/x"
    " TresPerNode=gres/gpu:h100:4 "
)

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
nasty = st.sampled_from(
    [
        "a | b",
        "x\ny",
        "\x1f",
        "\x1f0123abcd\x1f",
        "JobId=7 JobName=b UserId=x Restarts=9",
        "a\nJobId=7 JobName=b UserId=x",
    ]
)
said = texts | nasty | st.builds("{}\n{}".format, texts, nasty)


def printed(rows: list[list[str]], mark: str) -> str:
    return "".join("".join(field + mark for field in row) + "\n" for row in rows)


@given(st.lists(st.tuples(said, said), max_size=5))
def test_names_and_comments_come_back_whole_from_squeue(users: list[tuple[str, str]]) -> None:
    rows = [list(ROW._replace(number=str(n), name=name, comment=comment)) for n, (name, comment) in enumerate(users)]
    mark = new_mark()
    assert rows_of(printed(rows, mark), mark) == rows


@given(said, said)
def test_no_text_of_a_job_changes_what_is_read_of_another(name: str, comment: str) -> None:
    victim = RECORD.format(number=7, ids="", name="b", restarts=1, comment="")
    other = RECORD.format(number=8, ids="", name=name, restarts=2, comment=comment)
    clean = details_of(victim, {7: "b"})[7]
    for dump in (f"{victim}\n{other}\n", f"{other}\n{victim}\n"):
        told = details_of(dump, {7: "b", 8: name})
        assert told.get(7, clean) == clean  # left out where it stands twice, and then asked for alone
        assert told.get(8, only_details_of(other, 8, name)) is not None


def test_a_record_under_another_name_or_without_its_end_is_not_believed() -> None:
    record = RECORD.format(number=7, ids="ArrayJobId=4 ArrayTaskId=3 ", name="b", restarts=1, comment="")
    assert details_of(record, {7: "b"})[7].restarts == 1
    assert details_of(record, {7: "c"}) == details_of(record, {8: "b"}) == {}
    assert details_of(record.partition(" Network=")[0], {7: "b"}) == {}


@given(said, said)
def test_a_job_asked_for_alone_is_read_whatever_stands_in_it(name: str, comment: str) -> None:
    told = only_details_of(RECORD.format(number=8, ids="", name=name, restarts=2, comment=comment), 8, name)
    assert told is not None
    assert (told.restarts, told.held.count, told.by_node) == (2, 6, {"n1": (0, 1, 2, 3), "n2": (0, 7)})


@given(st.lists(st.tuples(st.from_regex(r"[a-z][a-z-]{0,5}", fullmatch=True), st.integers(0, 999), st.integers(0, 30))))
def test_every_name_of_a_list_of_nodes_is_found_in_order(spans: list[tuple[str, int, int]]) -> None:
    text = ",".join(f"{name}[{low:03d}-{low + more:03d}]" for name, low, more in spans)
    assert nodes_of(text) == tuple(f"{name}{i:03d}" for name, low, more in spans for i in range(low, low + more + 1))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("login", ("login",)),
        ("n[1-3,7],login", ("n1", "n2", "n3", "n7", "login")),
        ("gpu[08-11]", ("gpu08", "gpu09", "gpu10", "gpu11")),
        ("r[1-2]n[01-02]", ("r1n01", "r1n02", "r2n01", "r2n02")),
        ("n[2,1,2]-ib", ("n2-ib", "n1-ib", "n2-ib")),
        ("n[98-101]", ("n98", "n99", "n100", "n101")),
    ],
)
def test_lists_of_nodes_are_read_as_scontrol_show_hostnames_does(text: str, names: tuple[str, ...]) -> None:
    assert nodes_of(text) == names


@pytest.mark.parametrize("text", ["n[1-", "n]1", "n[a-b]", "n[3-1]", "a,,b", "n[1-999999999]"])
def test_what_is_no_list_of_nodes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nodes"):
        nodes_of(text)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_durations_come_back_to_the_second(days: int, hours: int, minutes: int, seconds: int) -> None:
    whole_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert duration_s_of(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}") == whole_s
    assert duration_s_of(f"{minutes}:{seconds:02d}") == minutes * 60 + seconds


@pytest.mark.parametrize("word", ["UNLIMITED", "NOT_SET", "INVALID", "Partition_Limit", "N/A", ""])
def test_no_limit_and_no_known_limit_are_not_a_number(word: str) -> None:
    assert math.isnan(duration_s_of(word))


def test_moments_are_unix_seconds_or_not_a_number_and_nothing_else() -> None:
    assert moment_of("1795247979") == 1795247979.0
    assert all(math.isnan(moment_of(word)) for word in ("N/A", "Unknown", "None", "NONE", "(null)"))
    with pytest.raises(ValueError, match="invalid literal"):
        moment_of("2026-11-21T08:00:00")  # a zone's time, twice a year no moment at all


def test_counts_know_slurms_thousands_and_ranges() -> None:
    assert [count_of(word) for word in ("12", "2-4", "1.5K", "2K")] == [12, 2, 1536, 2048]


@pytest.mark.parametrize(
    ("word", "count", "kind", "indices"),
    [
        ("(null)", 0, "", ()),
        ("gpu:8", 8, "", ()),
        ("gres/gpu", 1, "", ()),
        ("gres/gpu=2", 2, "", ()),
        ("gres:gpu:h100:8", 8, "h100", ()),
        ("gres/gpu:a100", 1, "a100", ()),
        ("gpu:1g.10gb:3(IDX:0-1,6)", 3, "1g.10gb", (0, 1, 6)),
        ("gpu:h100:8(S:0-1)", 8, "h100", ()),
        ("nic:2,gpu:a100:1(IDX:3),gpu:h100:2(IDX:0-1),shard:4", 3, "h100", (0, 1, 3)),
        ("cpu=4,gres/gpu:a100=2", 2, "a100", ()),
        ("gpu:h100:2(CNT:2)", 2, "h100", ()),
    ],
)
def test_gpus_are_read_in_the_words_of_every_version(
    word: str, count: int, kind: str, indices: tuple[int, ...]
) -> None:
    found = gpus_of(word)
    assert (found.count, found.type, found.indices) == (count, kind, indices)


def test_licences_are_read_by_name_and_a_choice_of_them_is_none() -> None:
    assert licences_of("power:600,fluent@db:2,matlab") == {"power": 600, "fluent@db": 2, "matlab": 1}
    assert licences_of("(null)") == licences_of("power:1|fluent:1") == {}


def test_the_rest_of_an_array_counts_its_tasks() -> None:
    assert array_tasks_of("4-7%3") == (4, 5, 6, 7)
    assert array_tasks_of("1-9:2,20") == (1, 3, 5, 7, 9, 20)


def test_squeue_is_asked_for_every_field_of_a_row_in_order() -> None:
    assert len(LETTERS) == len(Row._fields)
    assert squeue_format("|", "Ai") == "%A|%i|"


def test_half_an_answer_of_squeue_is_refused() -> None:
    mark = new_mark()
    with pytest.raises(ValueError, match="fields"):
        rows_of(printed([list(ROW)], mark)[:60], mark)


def test_a_running_job_is_read_with_its_gpus_and_licences() -> None:
    details = details_of(RECORD.format(number=12, ids="", name="train", restarts=3, comment=""), {12: "train"})
    job = job_of(ROW, details[12])
    assert (job.state, job.nodes, job.gpus, job.gpu_type, job.restarts) == (State.RUNNING, ("n1", "n2"), 6, "h100", 3)
    assert job.licences == {"power": 5600, "fluent": 2}
    assert (job.ran_s, job.time_limit_s, job.since_s, job.held) == (86405.0, 172800.0, 1795247980.0, Held.NOBODY)
    assert (job.exclusive, job.requeueable, job.admin_comment) == (True, True, "full speed")


def test_the_waiting_rest_of_an_array_has_a_name_that_scontrol_takes() -> None:
    row = ROW._replace(number="4", id="4_[5-9%2]", array="4", tasks="5-9%2", state="PENDING", nodes="", node_count="1")
    job = job_of(row, None)
    assert (job.id, job.array_job_id, job.tasks, job.gpus) == ("4_[5-9]", "4", 5, 4)
    assert job.stands_for("4_7")
    assert job.stands_for("4_[5-9]")
    assert not any(job.stands_for(other) for other in ("4", "4_4", "5_7", "4_x", "4+7", ""))


def test_a_part_of_a_heterogeneous_job_knows_its_leader() -> None:
    assert job_of(ROW._replace(id="10+1"), None).het_job_id == "10"


@pytest.mark.parametrize(
    ("reason", "priority", "held"),
    [
        ("JobHeldUser", "0", Held.USER),
        ("JobHeldAdmin", "0", Held.ADMIN),
        ("launch failed requeued held", "0", Held.ADMIN),
        ("Licenses", "1", Held.NOBODY),
    ],
)
def test_a_held_job_says_by_whom(reason: str, priority: str, held: Held) -> None:
    row = ROW._replace(state="PENDING", reason=reason, priority=priority)
    assert job_of(row, None).held is held


def test_a_job_that_has_not_changed_is_not_read_again_and_one_that_has_is() -> None:
    jobs = Jobs()
    first = jobs.of([ROW], {})
    assert jobs.of([ROW], {})[0] is first[0]
    assert jobs.of([ROW._replace(licences="power:100")], {})[0].licences == {"power": 100}


def test_an_odd_row_is_named() -> None:
    with pytest.raises(ValueError, match=r"job 12: .*'x'"):
        Jobs().of([ROW._replace(cpus="x")], {})


def test_a_node_says_its_state_its_gpus_and_what_is_done_with_it() -> None:
    line = (
        "NodeName=n1 Arch=x86_64 CPUAlloc=0 Gres=gpu:h100:8(S:0-1) NodeAddr=n1 OS=Linux 6.1 #1 SMP State=DOWN*+DRAIN"
        "+POWERED_DOWN ThreadsPerCore=1 Partitions=gpu,low CfgTRES=cpu=4 Extra={} Reason=State=IDLE Gres=gpu:9"
        " [root@2026-01-01T00:00:00]"
    ).replace("Extra={}", 'Extra={"a": 1}')
    (node,) = nodes_of_records(line + "\n")
    assert (node.name, node.state, node.gpus, node.gpu_type) == ("n1", "DOWN", 8, "h100")
    assert (node.partitions, node.down, node.drained, node.powered_down) == (("gpu", "low"), True, True, True)
    assert (node.extra, node.reason) == ('{"a": 1}', "State=IDLE Gres=gpu:9")


def test_reservations_are_read_and_none_are_none() -> None:
    line = (
        "ReservationName=hold StartTime=1795248170 EndTime=1826784170 Nodes=(null) Flags=ANY_NODES,SPEC_NODES"
        " Users=root Licenses=power:77 State=INACTIVE MaxStartDelay=(null)"
    )
    (hold,) = reservations_of(line + "\n")
    assert (hold.name, hold.start_s, hold.end_s, hold.active) == ("hold", 1795248170.0, 1826784170.0, False)
    assert hold.licences == {"power": 77}
    assert hold.flags == {"ANY_NODES", "SPEC_NODES"}
    assert reservations_of("No reservations in the system\n") == ()


def test_settings_are_read_and_what_is_none_of_them_is_refused() -> None:
    config = config_of(
        "Configuration data as of 1795248075\nClusterName             = try\nLicenses                = power:10000\n"
        "SlurmUser               = slurm(64030)\nSlurmctldHost[0]        = a(10.0.0.1)\nSlurmctldHost[1]        = b\n"
        "SLURM_VERSION           = 24.11.5\n\nSlurmctld(primary) at a is UP\n"
    )
    assert (config.version, config.cluster, config.slurm_user) == ("24.11.5", "try", "slurm")
    assert (config.licences, config.controllers) == ({"power": 10000}, ("a", "b"))
    with pytest.raises(ValueError, match="SLURM_VERSION"):
        config_of("slurm_load_ctl_conf error\n")


@given(st.text())
def test_a_comment_is_one_printable_line_of_bounded_length(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 512
