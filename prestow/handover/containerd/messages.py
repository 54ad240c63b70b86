"""The messages of containerd's services and of CRI's image service, as far as a hand-over needs them.

Each line is one message: its fields with their numbers, and their types where they are not ``string``; ``*`` repeats
a field, ``map`` is one from string to string. Readers skip fields that they do not know, so what is missing here is
neither sent nor read. Sources: ``api/services/*/v1/*.proto`` and ``api/types/*.proto`` of containerd 2.3, the same as
in 1.6, and ``runtime/v1/api.proto`` of Kubernetes' cri-api.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_MESSAGES = """
Empty:
Time: seconds 1 int64, nanos 2 int32
Mask: paths 1 *string
Descriptor: media_type 1, digest 2, size 3 int64, annotations 4 map
Mount: type 1, source 2, target 3, options 4 *string

VersionAnswer: version 1, revision 2
PluginsRequest: filters 1 *string
Plugin: type 1, id 2, exports 5 map, capabilities 6 *string
PluginsAnswer: plugins 1 *Plugin

LeaseRequest: id 1, labels 3 map
Lease: id 1
LeaseAnswer: lease 1 Lease
LeaseEnd: id 1, sync 2 bool

Blob: digest 1, size 2 int64, labels 5 map
BlobRequest: digest 1
BlobAnswer: info 1 Blob
BlobUpdate: info 1 Blob, update_mask 2 Mask
BlobList: filters 1 *string
Blobs: info 1 *Blob
Write: action 1 int32, ref 2, total 3 int64, expected 4, offset 5 int64, data 6 bytes, labels 7 map
Written: action 1 int32, offset 4 int64, digest 6
Ref: ref 1

SnapshotRequest: snapshotter 1, key 2
Snapshot: name 1, parent 2, kind 3 int32, labels 6 map
SnapshotAnswer: info 1 Snapshot
Prepare: snapshotter 1, key 2, parent 3, labels 4 map
Mounts: mounts 1 *Mount
Commit: snapshotter 1, name 2, key 3, labels 4 map, parent 5
Apply: diff 1 Descriptor, mounts 2 *Mount
Applied: applied 1 Descriptor

Image: name 1, labels 2 map, target 3 Descriptor
ImageRequest: name 1
OneImage: image 1 Image
ImageUpdate: image 1 Image, update_mask 2 Mask
ImageEnd: name 1, sync 2 bool, target 3 Descriptor
ImageList: filters 1 *string
Images: images 1 *Image

ContainerList: filters 1 *string
Container: id 1, image 3, snapshotter 6, snapshot_key 7, created_at 8 Time
Containers: containers 1 *Container

CriSpec: image 1
CriImage: id 1, repo_tags 2 *string, repo_digests 3 *string, pinned 8 bool
CriStatusRequest: image 1 CriSpec
CriStatus: image 1 CriImage
CriList: filter 1 CriStatusRequest
CriImages: images 1 *CriImage
CriDirectory: mountpoint 1
CriUsage: fs_id 2 CriDirectory
CriUsages: image_filesystems 1 *CriUsage
"""

_TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
}
_PACKAGE = "prestow"


def _add_field(message: DescriptorProto, name: str, number: str, kind: str = "string") -> None:
    """Add a field to a message, as a line above describes it."""
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.startswith("*") or kind == "map":
        field.label = FieldDescriptorProto.LABEL_REPEATED
    kind = kind.removeprefix("*")
    if kind == "map":  # on the wire, a list of pairs
        kind = f"{message.name}.{name.title()}Entry"
        pair = message.nested_type.add(name=f"{name.title()}Entry")
        pair.options.map_entry = True
        _add_field(pair, "key", "1")
        _add_field(pair, "value", "2")
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


def classes(text: str) -> Mapping[str, Any]:
    """Return the class of each message that a text describes, by its name."""
    file = FileDescriptorProto(name="handover.proto", package=_PACKAGE, syntax="proto3")
    for line in filter(None, text.splitlines()):
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for each in filter(None, fields.split(",")):
            _add_field(message, *each.split())
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        each.name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{each.name}")) for each in file.message_type
    }


MESSAGES = classes(_MESSAGES)
"""Class of each message, by its name here."""
