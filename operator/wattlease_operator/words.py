"""Frozen values: pods, the objects that own them, Kueue's workloads, autoscalers, nodes; and our marks on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wattlease_operator.cache import Ref
from wattlease_operator.kinds import GPU
from wattlease_operator.reading import moment_s, quantity

OURS = "wattlease.io/"
PAUSED_BY, HELD_BY, RELEASED_AT = f"{OURS}paused-by", f"{OURS}held-by", f"{OURS}released-at"
CHECKPOINT_ASKED, CHECKPOINT_S, SAVED_AT = (
    f"{OURS}checkpoint-requested",
    f"{OURS}checkpoint-seconds",
    f"{OURS}checkpointed-at",
)
LEFT_ALONE = f"{OURS}left-alone"
"""A person, or another controller, resumed what we had paused: from then on it is theirs."""

PROFILE = f"{OURS}profile"
MAX_BEFORE, MAX_NOW = f"{OURS}max-replicas-before", f"{OURS}max-replicas"
LEAST_GPUS = f"{OURS}least-gpus-per-pod"
"""On a Job: the fewest GPUs that each of its pods can run with. It may be suspended to have no more than those."""

GPUS_BEFORE, GPUS_NOW = f"{OURS}gpus-per-pod-before", f"{OURS}gpus-per-pod"
BEFORE_SWAP = f"{OURS}before-swap"
"""On a Deployment: what its models were before we woke them or put them to sleep."""

US = "wattlease"
"""What our annotations say, and the field manager under which we write."""

GATE = f"{OURS}power"
"""Scheduling gate of a pod, and `controllerName` of an AdmissionCheck, that wait for watts."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SCALE_OUT_PAUSED = "autoscaling.keda.sh/paused-scale-out"
SHUT_DOWN = frozenset({"node.cloudprovider.kubernetes.io/shutdown", "node.kubernetes.io/out-of-service"})
"""Taints by which a cloud or a person says that a machine is off. An unreachable node may draw all it can."""

WHOLE = re.compile(r"[1-9][0-9]{0,3}")
"""GPUs of a pod as our annotations write them."""

LONGEST_SAVE_S = 900.0
"""A job that says its checkpoint takes longer is waited for this long."""


@dataclass(frozen=True, slots=True)
class Cards:
    """How pods ask for cards: the resource's name, and the node label that names the product. MIG slices of a card
    count as one each."""

    resource: str = GPU
    product_label: str = "nvidia.com/gpu.product"
    slices: str = "nvidia.com/mig-"


CARDS = Cards()


@dataclass(frozen=True, slots=True)
class Owner:
    """Who controls an object."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, wherever it is in its life."""

    ref: Ref
    owner: Owner | None
    node: str
    phase: str
    terminating: bool
    gates: tuple[str, ...]
    gpus: int
    priority: int
    created_s: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    product: str = ""

    @property
    def job(self) -> str:
        """By which its node's agent knows it."""
        return f"{self.ref.namespace}/{self.ref.name}"

    @property
    def over(self) -> bool:
        """It holds no card any more. One that terminates does until it is gone, whatever its phase."""
        return self.phase in ("Succeeded", "Failed") and not self.terminating

    @property
    def placed(self) -> bool:
        """It is on a node, where it may draw."""
        return bool(self.node) and not self.over


@dataclass(frozen=True, slots=True)
class Holder:
    """The one container of a pod template that holds cards: its place among the others, its name, how many, and under
    which of `limits` and `requests` that number is `written`."""

    place: int
    name: str
    gpus: int
    resource: str
    written: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """An object whose pods are its own affair: a Job, a JobSet. Times are unix seconds, NaN where there is none.

    `emptied` says that its controller has seen it suspended and has no active pod of it any more. `holder` is None
    where the number of its cards does not stand in one place, and for kinds that let nobody change it.
    """

    ref: Ref
    kind: str
    owner: Owner | None
    suspended: bool
    ended: bool
    queue: str
    gpus: int
    product: str
    created_s: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    stem: str = ""
    holder: Holder | None = None
    emptied: bool = False

    @property
    def gpus_before(self) -> int:
        """How many GPUs each of its pods had before we took some; 0 where we took none, or somebody else has written
        the number since."""
        before, now = self.annotations.get(GPUS_BEFORE, ""), self.annotations.get(GPUS_NOW, "")
        if self.holder is None or now != str(self.holder.gpus) or not WHOLE.fullmatch(before):
            return 0
        return int(before) if int(before) > self.holder.gpus else 0

    @property
    def least_gpus(self) -> int:
        """What its owner says that each of its pods can run with at the least, 0 where nothing readable is said."""
        said = self.annotations.get(LEAST_GPUS, "")
        return int(said) if WHOLE.fullmatch(said) else 0

    @property
    def paused_by_us(self) -> bool:
        """Suspended by us while it ran."""
        return self.suspended and self.annotations.get(PAUSED_BY) == US and LEFT_ALONE not in self.annotations

    @property
    def held_by_us(self) -> bool:
        """Suspended before it began, by us or on our behalf, and not let go since."""
        return self.suspended and self.annotations.get(HELD_BY) == US and not self._let_go

    @property
    def resumed_by_others(self) -> bool:
        """It runs, or did, though we had paused or held it and did not let it go: it is not paused again."""
        return LEFT_ALONE in self.annotations or self.to_be_left_alone

    @property
    def to_be_left_alone(self) -> bool:
        """It runs with our mark on it, as nobody has written down yet."""
        marked = self.annotations.get(PAUSED_BY) == US or (self.annotations.get(HELD_BY) == US and not self._let_go)
        return marked and not self.suspended and LEFT_ALONE not in self.annotations

    @property
    def _let_go(self) -> bool:
        return RELEASED_AT in self.annotations or LEFT_ALONE in self.annotations


@dataclass(frozen=True, slots=True)
class AdmissionCheck:
    """A check that queues of Kueue may ask for; `active` where its controller is known to be there."""

    ref: Ref
    ours: bool
    active: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Check:
    """The word of an AdmissionCheck on a workload."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class QueueWorkload:
    """Kueue's view of one object; `checks` are all checks that it waits for, ours among them."""

    ref: Ref
    owner: Owner | None
    reserved: bool
    admitted: bool
    finished: bool
    priority: int
    paused_by_us: bool
    checks: tuple[Check, ...]
    created_s: float


@dataclass(frozen=True, slots=True)
class Scaler:
    """What sets the replicas of a service. `before` is the ceiling that we lowered, `now` the one that we set."""

    ref: Ref
    target: tuple[str, str]
    least: int
    most: int
    before: int | None
    now: int | None
    owner: Owner | None
    keda: bool
    scale_out_paused: bool
    ours: bool


@dataclass(frozen=True, slots=True)
class KubeNode:
    """A node as the cluster sees it."""

    ref: Ref
    off: bool
    annotations: Mapping[str, str]


def save_s(annotations: Mapping[str, str]) -> float:
    """How long the job says that a checkpoint takes it, 0 where it says nothing."""
    return min(quantity(annotations.get(CHECKPOINT_S, "")), LONGEST_SAVE_S)


def asked_s(annotations: Mapping[str, str]) -> float:
    """When it was asked for a checkpoint, NaN if it was not."""
    return moment_s(annotations.get(CHECKPOINT_ASKED))


def saved_s(annotations: Mapping[str, str]) -> float:
    """When it says that it was last saved, NaN if it says nothing."""
    return moment_s(annotations.get(SAVED_AT))
