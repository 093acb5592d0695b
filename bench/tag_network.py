"""Writes the bundle that bench/tag.py measures where none is given: random weights.

    python bench/tag_network.py FOLDER [--size 224] [--tags 1024]

The network is `resnet_v4` with the head `pool`, as large as the original: weights that
were learnt are no faster. In deepdanbooru/ of the folder lies the same network as a
project of DeepDanbooru.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from e6tag import bundle
from e6tag.bundle import Row, Tag
from pipeline.model import backend
from tests.builders import toy_bundle

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

THRESHOLD = 0.5
TAGS_PER_IMAGE = 32
PROJECT_MODEL = "resnet_custom_v4"
OPSET = 17


def main() -> None:
    """Writes the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--tags", type=int, default=1_024)
    arguments = parser.parse_args()
    backend.start("tensorflow", "cpu")
    write(arguments.folder, size=arguments.size, tags=arguments.tags)


def write(folder: Path, *, size: int, tags: int) -> None:
    """Writes all files of a bundle, and the project of DeepDanbooru."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [Row(-1 - i, name, 9, 0) for i, name in enumerate(bundle.RATINGS)]
    rows += [Row(i + 1, f"tag_{i}", 0, 1_000) for i in range(tags)]
    rows.append(Row(-5, "nobody", bundle.CHARACTER_CATEGORY, 0))
    known = [Tag(i + 4, f"tag_{i}", 0, THRESHOLD, 1_000) for i in range(tags)]
    toy_bundle.write_descriptions(folder, rows, known, network_size=size)
    (folder / bundle.HEATMAP_MODEL).touch()  # the command tag does not open it
    network = _network(size, tags)
    (folder / bundle.MODEL).write_bytes(_onnx(network, size))
    _write_project(folder / bundle.DEEPDANBOORU, network, size, tags)


def _network(size: int, tags: int) -> "keras.Model":
    """Returns the network from images scaled to -1 to 1 to logits and feature map."""
    import keras

    from pipeline.model.backbones import resnet_v4

    keras.utils.set_random_seed(621)
    images = keras.Input((size, size, 3))
    features = resnet_v4.feature_map(images)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    classify = keras.layers.Dense(tags, kernel_initializer="zeros")
    logits = classify(pooled)
    # As many answers as of a real network.
    bias = np.full(tags, -4, np.float32)
    bias[:: tags // TAGS_PER_IMAGE] = 4
    classify.bias.assign(bias)
    return keras.Model(images, [logits, features])


def _onnx(network: "keras.Model", size: int) -> bytes:
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape = (None, bundle.SIZE, bundle.SIZE, 3)
    signature = [tf.TensorSpec(shape, tf.float32, name=bundle.INPUT)]

    def outputs(bgr: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        small = tf.image.resize(bgr[..., ::-1], (size, size))
        logits, features = network(small / 127.5 - 1, training=False)
        # Four dead ratings before, one dead character behind.
        scores = tf.pad(tf.sigmoid(logits), [[0, 0], [4, 1]])
        return {
            bundle.OUTPUT: tf.identity(scores, name=bundle.OUTPUT),
            bundle.SCORES: tf.identity(scores, name=bundle.SCORES),
            bundle.EMBEDDING: tf.reduce_mean(features, [1, 2]),
            bundle.FEATURES: features,
        }

    traced = tf.function(outputs, input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=OPSET
    )
    return proto.SerializeToString()


def _write_project(folder: Path, network: "keras.Model", size: int, tags: int) -> None:
    """Writes the project: RGB from 0 to 1 goes in, probabilities come out."""
    import keras

    folder.mkdir(exist_ok=True)
    images = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(2, offset=-1)(images)
    logits, _ = network(scaled)
    model = keras.Model(images, keras.layers.Activation("sigmoid")(logits))
    model.save(folder / f"model-{PROJECT_MODEL}.keras")
    project = {"image_width": size, "image_height": size, "model": PROJECT_MODEL}
    (folder / "project.json").write_text(json.dumps(project))
    names = [f"tag_{i}\n" for i in range(tags)]
    (folder / "tags.txt").write_text("".join(names))


if __name__ == "__main__":
    main()
