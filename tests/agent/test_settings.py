"""What an agent is told: defaults that hold a node safely, and mistakes that name line, field and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlease.agent.settings import AgentSettings
from wattlease.core.errors import BudgetError
from wattlease.runtime.files import load

LEAST = "node: n1\ngrantors: [https://slurm1:8943]\ncertificate: /c\nkey: /k\n"


def settings(folder: Path, text: str) -> AgentSettings:
    path = folder / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, AgentSettings)


def test_little_need_be_written(tmp_path: Path) -> None:
    told = settings(tmp_path, LEAST)
    assert (told.backend, told.fallback_watts, told.listen) == ("nvml", None, "127.0.0.1:8945")
    assert told.state_folder == Path("/var/lib/wattlease")


def test_a_node_is_called_as_its_host_where_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-7.hall")
    assert settings(tmp_path, LEAST.removeprefix("node: n1\n")).node == "gpu-7.hall"


def test_an_overhead_in_percent_becomes_a_fraction(tmp_path: Path) -> None:
    beside = settings(tmp_path, LEAST + "overhead: {floorWatts: 1700, perItPercent: 14}\n").beside
    assert beside.node_w(1000.0) == pytest.approx(1700 + 1140)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LEAST.replace("https", "http"), ":2: grantors[0]: 'http://slurm1:8943' is not protected; write https"),
        (LEAST.replace("https://", ""), ":2: grantors: 'slurm1:8943' is no grantor's address"),
        (LEAST + "tokenFile: /t\n", "write certificate and key, or tokenFile, or secretFile"),
        (LEAST.replace("key: /k\n", ""), ":3: certificate: and key go together; write both"),
        ("grantors: [http://slurm1:1]\nsecretFile: /s\n", "secretFile is for this machine only"),
        (LEAST + "backend: virtual\n", "virtualGpus: is missing"),
        (LEAST + "virtualGpus: /v\n", "is for virtual GPUs; write backend: virtual"),
        (LEAST + "backend: virtual\nvirtualGpus: /v\nvirtualCards: {model: H1000}\n", "is no GPU of the library"),
        (LEAST + "listen: 8945\n", ":5: listen"),
        (LEAST + "listen: '8945'\n", "is no address to listen on; write one such as 127.0.0.1:8945"),
        (LEAST + "fallbackWats: 5\n", ":5: fallbackWats: there is no field 'fallbackWats'; did you mean"),
        (LEAST + "guardSeconds: 0\n", ":5: guardSeconds"),
    ],
)
def test_a_mistake_is_told_with_its_line_its_field_and_what_would_be_right(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(BudgetError) as refused:
        settings(tmp_path, text)
    assert told in str(refused.value)
