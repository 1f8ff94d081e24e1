"""The examples for Kubernetes: taken at every door, and understood by the operator as they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent / "manifests"))

from crd_door import refusals

from wattlease.core.api import PowerBudget, PowerProfile
from wattlease.core.gpu_models import gpu_model
from wattlease.runtime.crds.definition import DEFINITIONS
from wattlease.runtime.files import load_all
from wattlease_operator.bodies import pod_of, work_of
from wattlease_operator.kinds import JOBS, KIND, PODS
from wattlease_operator.nodes import groups_of
from wattlease_operator.scopes import budget_of_nodes
from wattlease_operator.settings import OperatorSettings
from wattlease_operator.words import CHECKPOINT_S, GATE, QUEUE_LABEL

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/kubernetes"
SCHEMAS = {d.resource.__name__: d.schema() for d in DEFINITIONS}
MANIFESTS = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.startswith("values"))

Body = dict[str, Any]


def objects(*names: str) -> list[Body]:
    paths = [FOLDER / name for name in names] or MANIFESTS
    return [body for path in paths for body in yaml.safe_load_all(path.read_text(encoding="utf-8")) if body]


def one(file: str, kind: str) -> Body:
    (found,) = [body for body in objects(file) if body["kind"] == kind]
    return found


def test_every_object_of_ours_is_taken_at_the_door() -> None:
    """Others' objects are taken by a real server, in `tests/e2e/kube/test_chart_real_kube.py`."""
    ours = [body for body in objects() if body["kind"] in SCHEMAS]
    assert {body["kind"] for body in ours} == {"PowerBudget", "PowerProfile"}
    assert not [told for body in ours for told in refusals(SCHEMAS[body["kind"]], body)]


def test_the_halls_budgets_fit_together_and_begin_in_shadow() -> None:
    budgets = [b for b in load_all(FOLDER / "hall.yaml") if isinstance(b, PowerBudget)]
    assert [b.name for b in budgets] == ["hall", "rack-1", "rack-2"]
    assert budgets[0].spec.mode == "Shadow"
    assert sum(b.spec.limit_watts for b in budgets[1:]) > budgets[0].spec.limit_watts, "the hall binds"


def test_the_profiles_are_read() -> None:
    profiles = [p for p in load_all(FOLDER / "profiles.yaml") if isinstance(p, PowerProfile)]
    assert {p.name: p.spec.protected for p in profiles} == {
        "training": False,
        "sweeps": False,
        "chat": False,
        "safety": True,
    }


def test_the_training_job_is_seen_with_its_gpus_and_the_time_that_a_checkpoint_takes() -> None:
    work = work_of(KIND["Job"], one("train.yaml", "Job"))
    assert work.gpus == 16
    assert work.ref.resource == JOBS
    assert work.annotations[CHECKPOINT_S] == "120"
    assert work.holder is not None
    assert (work.holder.gpus, work.least_gpus) == (8, 4)
    profile = next(p for p in load_all(FOLDER / "profiles.yaml") if p.name == "training")
    assert isinstance(profile, PowerProfile)
    assert profile.spec.selector.match_labels.items() <= work.labels.items()


def test_the_queue_waits_for_our_check_and_the_sweep_for_the_queue() -> None:
    check = one("kueue.yaml", "AdmissionCheck")
    assert check["spec"]["controllerName"] == GATE
    queue = one("kueue.yaml", "ClusterQueue")["spec"]["admissionChecksStrategy"]["admissionChecks"]
    assert queue == [{"name": check["metadata"]["name"]}]
    sweep = work_of(KIND["Job"], one("kueue.yaml", "Job"))
    assert sweep.queue == one("kueue.yaml", "LocalQueue")["metadata"]["name"]
    assert sweep.labels[QUEUE_LABEL] == sweep.queue


def test_the_bare_pod_waits_at_our_gate() -> None:
    pod = pod_of(PODS, one("serve.yaml", "Pod"))
    assert pod.gates == (GATE,)
    assert pod.gpus == 1


def test_the_nodes_of_kind_stand_in_the_halls_racks_with_cards_that_are_known() -> None:
    kind = yaml.safe_load((ROOT / "kind-config.yaml").read_text(encoding="utf-8"))
    values = yaml.safe_load((FOLDER / "values-virtual.yaml").read_text(encoding="utf-8"))
    nodes = [
        {"metadata": {"name": f"worker-{i}", "labels": node["labels"]}}
        for i, node in enumerate(kind["nodes"])
        if node["role"] == "worker"
    ]
    written = {
        "cluster": values["cluster"],
        "products": values["operator"]["products"],
        "listen": {"certificate": "a", "key": "b", "accounts": ["a:b"]},
    }
    settings = OperatorSettings.model_validate(written)
    budgets = [b for b in load_all(FOLDER / "hall.yaml") if isinstance(b, PowerBudget)]
    refused: list[Any] = []
    groups = groups_of(settings, nodes, budget_of_nodes(budgets, nodes, settings.cluster), refused)
    assert not refused
    assert {group.budget: group.nodes for group in groups} == {"rack-1": 2, "rack-2": 1}
    assert {group.gpu_model for group in groups} == {values["agent"]["virtual"]["model"]}
    assert gpu_model(values["agent"]["virtual"]["model"]) is not None
    assert {group.gpus_per_node for group in groups} == {values["agent"]["virtual"]["count"]}


def test_the_script_for_kind_says_what_is_missing_and_changes_nothing_then(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    for program in ("dirname", "env"):
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    script = FOLDER / "kind.sh"
    assert os.access(script, os.X_OK)
    done = subprocess.run([bash, str(script)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "docker is missing" in done.stderr
    wrong = subprocess.run([bash, str(script), "--fast"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (wrong.returncode, "--fast: write --keep" in wrong.stderr) == (2, True)


def test_the_script_for_kind_names_files_that_are_there() -> None:
    text = (FOLDER / "kind.sh").read_text(encoding="utf-8")
    for name in ("kind-config.yaml", "examples/kubernetes/values-virtual.yaml", "examples/kubernetes/hall.yaml"):
        assert name in text
        assert (ROOT / name).is_file()
    assert "packaging/$part/Containerfile" in text
