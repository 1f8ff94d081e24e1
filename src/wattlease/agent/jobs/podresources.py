"""The words of the kubelet's pod-resources API, version 1, as far as the agent reads them.

The field numbers are Kubernetes' public API; a field that is not named here is skipped on the wire.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "v1"
LIST = f"/{PACKAGE}.PodResourcesLister/List"

# message -> (number, field, the message it repeats or "" for text, repeated)
_MESSAGES: dict[str, tuple[tuple[int, str, str, bool], ...]] = {
    "ListPodResourcesRequest": (),
    "ListPodResourcesResponse": ((1, "pod_resources", "PodResources", True),),
    "PodResources": (
        (1, "name", "", False),
        (2, "namespace", "", False),
        (3, "containers", "ContainerResources", True),
    ),
    "ContainerResources": (
        (1, "name", "", False),
        (2, "devices", "ContainerDevices", True),
        (5, "dynamic_resources", "DynamicResource", True),
    ),
    "ContainerDevices": ((1, "resource_name", "", False), (2, "device_ids", "", True)),
    "DynamicResource": (
        (2, "claim_name", "", False),
        (3, "claim_namespace", "", False),
        (4, "claim_resources", "ClaimResource", True),
    ),
    "ClaimResource": ((2, "driver_name", "", False), (3, "pool_name", "", False), (4, "device_name", "", False)),
}


def _described() -> descriptor_pb2.FileDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto
    described = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = described.message_type.add(name=name)
        for number, field_name, kind, repeated in fields:
            message.field.add(
                name=field_name,
                number=number,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
                type=field.TYPE_MESSAGE if kind else field.TYPE_STRING,
                type_name=f".{PACKAGE}.{kind}" if kind else None,
            )
    return described


# A pool of our own: another library in the process may hold the same package in protobuf's default pool.
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_described())


def message_class(name: str) -> Any:
    """The class of one of the messages above."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ListRequest = message_class("ListPodResourcesRequest")
ListResponse = message_class("ListPodResourcesResponse")
