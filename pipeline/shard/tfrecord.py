"""TFRecord files of tf.train.Examples, written without TensorFlow.

Its import costs each worker seconds and 700 MB.

Framing: length (uint64), its masked CRC-32C, the record, its masked CRC-32C, all
little-endian (tensorflow.org, "TFRecord and tf.train.Example"). The message types are
those of tensorflow/core/example/{feature,example}.proto.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PROTO = descriptor_pb2.FieldDescriptorProto


def example(features: dict[str, Sequence[int] | bytes]) -> bytes:
    """Returns a serialised tf.train.Example.

    Bytes become a bytes list of one, integers an int64 list.
    """
    message = _example_class()()
    for name, value in sorted(features.items()):
        feature = message.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        else:
            feature.int64_list.value.extend(value)
    return bytes(message.SerializeToString(deterministic=True))


def frame(record: bytes) -> bytes:
    """Returns the record with its length and checksums around it."""
    length = struct.pack("<Q", len(record))
    return (
        length
        + struct.pack("<I", _masked(length))
        + record
        + struct.pack("<I", _masked(record))
    )


def _masked(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


_LISTS = (
    ("BytesList", "bytes_list", _PROTO.TYPE_BYTES),
    ("FloatList", "float_list", _PROTO.TYPE_FLOAT),
    ("Int64List", "int64_list", _PROTO.TYPE_INT64),
)
"""Message, field of Feature and type of the value."""


@cache
def _example_class() -> Any:
    """Builds the Example message under a package of its own.

    So TensorFlow may be imported beside it.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="e6tag_example.proto", package="e6tag", syntax="proto3"
    )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, field_name, kind) in enumerate(_LISTS, 1):
        _add_list(file, name, kind)
        _add(feature, field_name, number, f".e6tag.{name}").oneof_index = 0
    _add_features(file)
    example = file.message_type.add(name="Example")
    _add(example, "features", 1, ".e6tag.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("e6tag.Example"))


def _add_list(file: Any, name: str, kind: int) -> None:
    """Adds the message of a list of values."""
    field = file.message_type.add(name=name).field.add(
        name="value", number=1, type=kind, label=_PROTO.LABEL_REPEATED
    )
    if kind != _PROTO.TYPE_BYTES:
        field.options.packed = True


def _add_features(file: Any) -> None:
    """Adds the message Features: a map of names to Feature."""
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(
        name="key", number=1, type=_PROTO.TYPE_STRING, label=_PROTO.LABEL_OPTIONAL
    )
    _add(entry, "value", 2, ".e6tag.Feature")
    field = _add(features, "feature", 1, ".e6tag.Features.FeatureEntry")
    field.label = _PROTO.LABEL_REPEATED


def _add(message: Any, name: str, number: int, type_name: str) -> Any:
    return message.field.add(
        name=name,
        number=number,
        type=_PROTO.TYPE_MESSAGE,
        label=_PROTO.LABEL_OPTIONAL,
        type_name=type_name,
    )
