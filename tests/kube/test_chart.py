"""The chart as Helm renders it: that it can, that the programs can read it, and what its pods may do."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent / "chart"))

from chart_rendering import CHART, NAMESPACE, RELEASE, ROOT, SETS, Rendered, helm, rendered, template

from wattlease.agent.settings import AgentSettings
from wattlease.runtime.files import load
from wattlease_operator.kinds import KINDS, WATCHED
from wattlease_operator.settings import OperatorSettings
from wattlease_operator.swaps import SLICES, WRITTEN

MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("/operator/replicas", {"operator": {"replicas": "two"}}),
    ("/agent/image/tag", {"agent": {"image": {"tag": "latest"}}}),
    ("additional properties 'mode'", {"mode": "Shadow"}),
    ("authorityConfigMap", {"certificates": {"mode": "existing", "existing": {"secretName": "tls"}}}),
]

by_set = pytest.mark.parametrize("name", SETS)


@cache
def of(name: str) -> Rendered:
    """Each set is rendered once; no test writes in what it gets."""
    return rendered(SETS[name])


def test_helm_finds_nothing_to_complain_of() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@by_set
def test_every_object_is_named_labelled_and_of_the_release(name: str) -> None:
    seen = set()
    for body in of(name).objects:
        meta = body["metadata"]
        assert len(meta["name"]) <= 63
        assert meta.get("namespace", NAMESPACE) == NAMESPACE
        assert (body["kind"], meta["name"]) not in seen
        seen.add((body["kind"], meta["name"]))
        if body["kind"] != "CustomResourceDefinition":
            assert meta["labels"]["app.kubernetes.io/instance"] == RELEASE


@by_set
def test_the_operator_can_read_its_settings(name: str, tmp_path: Path) -> None:
    settings = operator_settings(of(name), tmp_path)
    assert settings.namespace == NAMESPACE
    assert settings.listen.accounts == (f"{NAMESPACE}:{prefix(name)}-agent",)


def operator_settings(made: Rendered, folder: Path) -> OperatorSettings:
    path = folder / "operator.yaml"
    path.write_text(made.one("ConfigMap", "-operator")["data"]["operator.yaml"], encoding="utf-8")
    return load(path, OperatorSettings)


def prefix(name: str) -> str:
    return SETS[name].get("fullnameOverride") or RELEASE


@by_set
def test_the_agent_can_read_its_settings_once_its_node_has_a_name(name: str, tmp_path: Path) -> None:
    if not of(name).all("DaemonSet"):
        assert not [m for m in of(name).all("ConfigMap") if m["metadata"]["name"].endswith("-agent")]
        return
    settings = agent_settings(of(name), tmp_path)
    assert settings.node == "gpu-1.example.com"
    assert settings.grantors == (f"https://{prefix(name)}-leases.{NAMESPACE}.svc:8943",)


def agent_settings(made: Rendered, folder: Path) -> AgentSettings:
    """As the pod's own first container makes them: by the very command that it runs, in folders of ours."""
    (folder / "chart").mkdir()
    (folder / "chart/agent.yaml").write_text(made.one("ConfigMap", "-agent")["data"]["agent.yaml"], encoding="utf-8")
    first = made.one("DaemonSet")["spec"]["template"]["spec"]["initContainers"][0]
    said = first["args"][0].replace("/chart/", f"{folder}/chart/").replace("/etc/wattlease/agent/", f"{folder}/")
    env = {"NODE_NAME": "gpu-1.example.com"}
    subprocess.run([*first["command"], said], env=env, check=True, timeout=10)
    return load(folder / "agent.yaml", AgentSettings)


def test_what_is_written_over_the_charts_settings_holds_and_the_rest_stays(tmp_path: Path) -> None:
    operator = operator_settings(of("everything"), tmp_path)
    assert operator.leadership_seconds == 6
    assert operator.listen.port == 8943
    assert operator.listen.accounts
    agent = agent_settings(of("everything"), tmp_path)
    assert agent.guard_seconds == 0.2
    assert agent.redfish is not None
    assert agent.fallback_watts is None


@by_set
def test_every_mounted_file_that_settings_name_is_there(name: str, tmp_path: Path) -> None:
    made = of(name)
    told = {"-operator": operator_settings(made, tmp_path).model_dump(mode="json")}
    if made.all("DaemonSet"):
        told["-agent"] = agent_settings(made, tmp_path).model_dump(mode="json")
    elsewhere = ("/sys/", "/proc")  # the container's own
    for part, pod in made.pods():
        mounts = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"]]
        named = [p for p in paths(told[next(end for end in told if part.endswith(end))]) if not p.startswith(elsewhere)]
        assert not [p for p in named if not any(inside(p, m) for m in mounts)], part


def paths(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [p for below in value.values() for p in paths(below)]
    if isinstance(value, list):
        return [p for below in value for p in paths(below)]
    return [value] if isinstance(value, str) and value.startswith("/") else []


def inside(path: str, mount: str) -> bool:
    return path == mount or path.startswith(f"{mount}/")


@by_set
def test_no_pod_may_more_than_it_needs(name: str) -> None:
    for part, pod in of(name).pods():
        agent = part.endswith("-agent")
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(pod.get(host) for host in ("hostNetwork", "hostPID", "hostIPC"))
        assert agent or pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is not agent
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            held = container["securityContext"]
            assert held["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
            if name == "the driver mounted" and container["name"] == "agent":
                assert held["privileged"] is True
                continue
            assert "privileged" not in held
            assert held["allowPrivilegeEscalation"] is False
            assert held["capabilities"]["drop"] == ["ALL"]
            real = container["name"] == "agent" and name != "virtual GPUs"
            assert held["capabilities"].get("add", []) == (["SYS_ADMIN"] if real else [])


@by_set
def test_the_host_is_written_in_two_folders_and_read_in_few(name: str) -> None:
    for part, pod in of(name).pods():
        host = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
        assert part.endswith("-agent") or not host
        mounts = {m["name"]: m for m in pod["containers"][0]["volumeMounts"]}
        written = {host[v] for v in host if not mounts[v].get("readOnly")}
        assert written <= {"/var/lib/wattlease", "/run/wattlease/hints"}


@by_set
def test_images_are_never_the_latest(name: str) -> None:
    for _, pod in of(name).pods():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert re.fullmatch(r"[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?", container["image"])
            assert ":latest" not in container["image"]


@by_set
def test_agents_never_mount_the_secret_and_nobody_the_authoritys_key(name: str) -> None:
    for part, pod in of(name).pods():
        secrets = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        assert not any(s.endswith("-authority") for s in secrets)
        assert not part.endswith("-agent") or secrets <= {"boards"}


# What the operator may do


def rules(made: Rendered) -> list[dict[str, Any]]:
    return [rule for kind in ("ClusterRole", "Role") for body in made.all(kind) for rule in body["rules"]]


def test_no_rule_has_a_star_reads_a_secret_or_deletes() -> None:
    for rule in rules(of("as it comes")):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not words & {"*", "secrets", "delete", "deletecollection", "bind", "escalate", "impersonate"}


def test_whatever_is_watched_may_be_and_whatever_is_suspended_may_be_patched() -> None:
    (role,) = of("as it comes").all("ClusterRole")
    may = {(g, r, v) for x in role["rules"] for g in x["apiGroups"] for r in x["resources"] for v in x["verbs"]}
    for resource in WATCHED:
        assert {(resource.group, resource.plural, verb) for verb in ("get", "list", "watch")} <= may
    assert {(kind.resource.group, kind.resource.plural, "patch") for kind in KINDS} <= may
    written = {(g, r) for g, r, v in may if v in ("patch", "update") and "/" not in r}
    assert written <= {(resource.group, resource.plural) for resource in (*WATCHED, *WRITTEN)}


def test_what_a_swap_reads_and_writes_is_allowed_and_nothing_of_it_is_watched() -> None:
    (role,) = of("as it comes").all("ClusterRole")
    may = {(r, v) for x in role["rules"] for r in x["resources"] for v in x["verbs"]}
    for resource in WRITTEN:
        assert {v for r, v in may if r == resource.plural} == {"get", "patch"}
    assert {v for r, v in may if r == SLICES.plural} == {"list"}


def test_every_rule_says_why() -> None:
    for name in ("cluster-role", "role"):
        lines = (CHART / f"templates/operator/{name}.yaml").read_text(encoding="utf-8").splitlines()
        comments = [i for i, line in enumerate(lines) if line.strip().startswith("#")]
        for i, line in enumerate(lines):
            if line.strip().startswith("- apiGroups"):
                block = max(c for c in comments if c < i)
                between = [text for text in lines[block + 1 : i] if not text.startswith("  ")]
                assert not between, line


def test_the_agents_account_is_bound_to_nothing() -> None:
    bound = {
        s["name"]
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for b in of("as it comes").all(kind)
        for s in b["subjects"]
    }
    assert bound == {f"{RELEASE}-operator"}


# Definitions, certificates, alerts


def test_the_definitions_are_kept_and_otherwise_as_they_are() -> None:
    found = {body["metadata"]["name"]: body for body in of("as it comes").all("CustomResourceDefinition")}
    for path in (ROOT / "crds").glob("*.yaml"):
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        made = found.pop(body["metadata"]["name"])
        kept = {**body, "metadata": {**body["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
        assert made == kept
    assert not found
    assert not rendered({"crds": {"install": False}}).all("CustomResourceDefinition")


async def test_agents_trust_the_certificate_that_the_chart_makes(tmp_path: Path) -> None:
    import asyncio

    from wattlease.runtime.lease.tls import ServerTls, TlsFiles

    made = of("everything")
    secret = made.one("Secret", "-tls")["data"]
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_bytes(base64.b64decode(secret[name]))
    (tmp_path / "ca.crt").write_text(made.one("ConfigMap", "-authority")["data"]["ca.crt"], encoding="utf-8")
    server = ServerTls(TlsFiles(None, tmp_path / "tls.crt", tmp_path / "tls.key"))
    trust = TlsFiles(tmp_path / "ca.crt").client_context()
    listening = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=server.context)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        for host in (f"watts-leases.{NAMESPACE}.svc", "watts.example.com", "10.0.0.7"):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=host)
            writer.close()
        with pytest.raises(OSError, match="certificate verify failed"):
            await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="elsewhere.example.com")


def test_the_page_is_told_the_names_under_which_its_service_is_asked(tmp_path: Path) -> None:
    names = operator_settings(of("everything"), tmp_path).page.names
    assert of("everything").one("Service", "-page")["metadata"]["name"] in names
    assert "watts.example.com" in names


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed; it comes with prometheus")
    return found


def test_prometheus_takes_the_alerts(promtool: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(of("everything").one("PrometheusRule")["spec"]), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", "--lint=all", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_for_the_leader_and_not_for_what_a_standby_last_knew(promtool: str, tmp_path: Path) -> None:
    spec = of("everything").one("PrometheusRule")["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    told = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "15s",
        "tests": [
            {"interval": "15s", "input_series": series(pods), "promql_expr_test": expected(alerts)}
            for pods, alerts in (
                ({"a": (1, 120, 100), "b": (0, 90, 100)}, {"WattleaseOverLimit"}),
                ({"a": (1, 90, 100), "b": (0, 120, 100)}, set()),
                ({"a": (0, 90, 100), "b": (0, 120, 100)}, {"WattleaseNobodyLeads"}),
                ({"a": (1, None, 100), "b": (0, 90, 100)}, {"WattleaseBlind"}),
                ({}, {"WattleaseNobodyLeads"}),
            )
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "tests.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def series(pods: Mapping[str, tuple[int, int | None, int]]) -> list[dict[str, str]]:
    """By pod: whether it leads, its draw and its limit."""
    found = []
    for pod, (leads, draw_w, limit_w) in pods.items():
        labels = f'{{namespace="{NAMESPACE}",job="watts-page",pod="{pod}"}}'
        for name, value in (("lease_leads", leads), ("draw_watts", draw_w), ("limit_watts", limit_w)):
            if value is not None:
                found.append({"series": f"wattlease_{name}{labels}", "values": f"{value}x40"})
    return found


def expected(alerts: set[str]) -> list[dict[str, Any]]:
    """After three minutes these fire, and no others."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(alerts)]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return [{"expr": firing, "eval_time": "3m", "exp_samples": samples}]


@pytest.mark.parametrize(("told", "values"), MISTAKES, ids=[told for told, _ in MISTAKES])
def test_helm_refuses_a_mistake_and_names_it(told: str, values: dict[str, Any]) -> None:
    done = template(values)
    assert done.returncode != 0
    assert told in done.stderr


def test_notes_say_what_holds() -> None:
    text = (CHART / "templates/NOTES.txt").read_text(encoding="utf-8")
    assert "mode: Shadow" in text
    assert "uninstall" in text


def test_the_schema_is_one_that_helm_and_others_can_read() -> None:
    jsonschema.Draft7Validator.check_schema(json.loads((CHART / "values.schema.json").read_text("utf-8")))
