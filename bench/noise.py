"""Seconds for the expected logits of label noise: quadrature beside samples.

    python bench/noise.py [--tags 1024] [--images 32] [--rank 8] [--runs 9]

Timed are one call of a compiled function on means and deviations, and the same with its
gradients by both. The 1,000 samples are drawn in two ways: per tag, from the deviation
that the quadrature reads too; and as in the paper, from factors that tags share and
scales of their own. Both sample 100 at a time, for memory. The three take turns within
each run; medians are printed, and the largest error of a probability on a grid.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.model import backend

SAMPLES = 1_000  # as in the paper's experiments with sigmoids
PART = 100  # samples drawn at a time
SEEDS = itertools.count()

Inputs = dict[str, Any]
Method = Callable[[Inputs], Any]


def main() -> None:
    """Prints a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tags", type=int, default=1024)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    backend.start("tensorflow")
    inputs = _random_inputs(arguments.images, arguments.tags, arguments.rank)
    methods = _methods()
    _print_times(methods, inputs, arguments.runs)
    print()
    for name in ("quadrature", "1,000 samples per tag"):
        print(f"largest error of {name}: {_largest_error(methods[name]):.4f}")


def _print_times(methods: dict[str, Method], inputs: Inputs, runs: int) -> None:
    """Prints a row for each method, without and with gradients."""
    forward = {name: _forward(method) for name, method in methods.items()}
    both = {name: _with_gradients(method) for name, method in methods.items()}
    forward_seconds = _medians(forward, inputs, runs)
    both_seconds = _medians(both, inputs, runs)
    print("| method | ms | times quadrature | ms with gradients | times quadrature |")
    print("|---|---|---|---|---|")
    for name in methods:
        row = [name]
        for seconds in (forward_seconds, both_seconds):
            row.append(f"{1_000 * seconds[name]:.1f}")
            row.append(f"{seconds[name] / seconds['quadrature']:.0f}")
        print("| " + " | ".join(row) + " |")


def _methods() -> dict[str, Method]:
    return {
        "quadrature": _quadrature,
        "1,000 samples per tag": _samples_per_tag,
        "1,000 samples of all tags": _samples_of_all_tags,
    }


def _quadrature(inputs: Inputs) -> Any:
    from pipeline.model import noise

    return noise.expected_logits(inputs["means"], inputs["deviations"])


def _samples_per_tag(inputs: Inputs) -> Any:
    means = inputs["means"][:, None]
    deviations = inputs["deviations"][:, None]
    images, _, tags = means.shape

    def draw() -> Any:
        return means + deviations * _normal((images, PART, tags))

    return _logits_of_mean(draw)


def _samples_of_all_tags(inputs: Inputs) -> Any:
    from keras import ops

    means = inputs["means"][:, None]
    scales = inputs["scales"][:, None]
    factors = ops.transpose(inputs["factors"], (0, 2, 1))
    images, _, tags = means.shape

    def draw() -> Any:
        shared = ops.matmul(_normal((images, PART, factors.shape[1])), factors)
        return means + scales * _normal((images, PART, tags)) + shared

    return _logits_of_mean(draw)


def _normal(shape: tuple[int, ...]) -> Any:
    import keras

    # A seed of its own for each of the parts, drawn while the function is compiled.
    seed = next(SEEDS)
    return keras.random.normal(shape, dtype="float32", seed=seed)


def _logits_of_mean(draw: Callable[[], Any]) -> Any:
    from keras import ops

    total = 0.0
    for _ in range(SAMPLES // PART):
        total = total + ops.sum(ops.sigmoid(draw()), axis=1)
    mean = ops.clip(total / SAMPLES, 1e-6, 1 - 1e-6)
    return ops.log(mean) - ops.log1p(-mean)


def _random_inputs(images: int, tags: int, rank: int) -> Inputs:
    import tensorflow as tf

    random = np.random.default_rng(0)
    scales = random.uniform(0.1, 2, (images, tags))
    factors = random.standard_normal((images, tags, rank)) / rank**0.5
    deviations = np.sqrt(scales**2 + np.square(factors).sum(axis=-1))
    arrays = {
        "means": random.uniform(-6, 6, (images, tags)),
        "scales": scales,
        "factors": factors,
        "deviations": deviations,
    }
    return {name: tf.constant(array, tf.float32) for name, array in arrays.items()}


def _forward(method: Method) -> Method:
    import tensorflow as tf

    return tf.function(method)


def _with_gradients(method: Method) -> Method:
    import tensorflow as tf

    @tf.function
    def compute(inputs: Inputs) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(method(inputs))
        return tape.gradient(total, inputs, unconnected_gradients="zero")

    return compute


def _medians(methods: dict[str, Method], inputs: Inputs, runs: int) -> dict[str, float]:
    """Returns the median seconds of a call; the first, which compiles, is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method(inputs)
    for _ in range(runs):
        for name, method in methods.items():
            start = time.perf_counter()
            _wait_for(method(inputs))
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def _wait_for(result: Any) -> None:
    import tensorflow as tf

    for tensor in tf.nest.flatten(result):
        tensor.numpy()


def _largest_error(method: Method) -> float:
    """For means within 6 and deviations up to 4, against 4,001 points in float64."""
    import tensorflow as tf

    means, deviations = np.meshgrid(np.linspace(-6, 6, 97), np.linspace(0, 4, 41))
    points = np.linspace(-12, 12, 4_001)
    weights = np.exp(-0.5 * points**2)
    expected = np.zeros_like(means)
    for point, weight in zip(points, weights / weights.sum(), strict=True):
        expected += weight * _sigmoid(means + deviations * point)
    inputs = {
        "means": tf.constant(means, tf.float32),
        "deviations": tf.constant(deviations, tf.float32),
    }
    logits = np.asarray(method(inputs), np.float64)
    return float(np.abs(_sigmoid(logits) - expected).max())


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))


if __name__ == "__main__":
    main()
