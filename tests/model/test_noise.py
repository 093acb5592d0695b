"""Label noise: the quadrature against integrals and samples, and what it learns."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.model import backend

# Keras 3 on NumPy 2, where TensorFlow's variables are read.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

LARGEST_ERROR = 0.003
"""Of the quadrature's probabilities, for means within 6 and deviations up to 4."""


@pytest.fixture(scope="module", autouse=True)
def keras_started() -> None:
    backend.start("tensorflow")


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Means within 6 and deviations up to 4, float64 [means, deviations]."""
    means, deviations = np.meshgrid(
        np.linspace(-6, 6, 97), np.linspace(0, 4, 41), indexing="ij"
    )
    return means, deviations


def expectation(means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """The reference: E sigmoid(mean + deviation z), by 4,001 points in float64."""
    points = np.linspace(-12, 12, 4_001)
    weights = np.exp(-0.5 * points**2)
    weights /= weights.sum()
    total = np.zeros_like(means)
    for point, weight in zip(points, weights, strict=True):
        total += weight * sigmoid(means + deviations * point)
    return total


def sampled_expectation(
    means: np.ndarray, deviations: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """The form of the paper: the mean over draws."""
    random = np.random.default_rng(seed)
    total = np.zeros_like(means)
    for _ in range(count):
        total += sigmoid(means + deviations * random.standard_normal(means.shape))
    return total / count


def quadrature(means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Logits of the module under test, float64."""
    from pipeline.model import noise

    found = noise.expected_logits(
        means.astype(np.float32), deviations.astype(np.float32)
    )
    return np.asarray(found, np.float64)


def test_quadrature_is_close_to_the_integral() -> None:
    means, deviations = grid()
    found = sigmoid(quadrature(means, deviations))
    error = np.abs(found - expectation(means, deviations)).max()
    assert error <= LARGEST_ERROR


def test_a_thousand_samples_are_ten_times_as_far_from_the_integral() -> None:
    means, deviations = grid()
    found = sampled_expectation(means, deviations, count=1_000, seed=0)
    error = np.abs(found - expectation(means, deviations)).max()
    assert 0.03 < error < 0.06
    assert error > 10 * LARGEST_ERROR


def test_samples_of_the_layer_have_the_expectation_of_the_quadrature() -> None:
    from pipeline.model import noise

    random = np.random.default_rng(0)
    means = random.uniform(-3, 3, (1, 5)).astype(np.float32)
    scales = random.uniform(0.5, 2, (1, 5)).astype(np.float32)
    factors = random.standard_normal((1, 5, 2)).astype(np.float32)
    normal = noise.NormalLogits(means, scales, factors)
    draws = np.asarray(noise.samples(normal, count=20_000), np.float64)
    logits = quadrature(means, np.asarray(noise.deviations(normal)))
    np.testing.assert_allclose(sigmoid(draws).mean(axis=1), sigmoid(logits), atol=0.015)
    covariance = factors[0] @ factors[0].T + np.diag(scales[0] ** 2)
    np.testing.assert_allclose(np.cov(draws[0].T), covariance, atol=0.2)
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(noise.deviations(normal)[0], deviation, rtol=1e-5)


def test_without_deviation_the_logit_is_the_mean() -> None:
    means = np.linspace(-60, 60, 241)[None]
    np.testing.assert_allclose(
        quadrature(means, np.zeros_like(means)), means, rtol=1e-5, atol=1e-5
    )


def test_logits_keep_their_digits_where_probabilities_have_none() -> None:
    # Far from 0 the sigmoid is an exponential, whose expectation is known.
    means = np.array([[-60.0, -40.0, 40.0, 60.0]])
    deviations = np.full_like(means, 2.0)
    expected = means - np.sign(means) * 2.0**2 / 2
    np.testing.assert_allclose(quadrature(means, deviations), expected, rtol=1e-3)


def test_gradients_are_finite_everywhere() -> None:
    import tensorflow as tf

    from pipeline.model import noise

    means, deviations = np.meshgrid([-1e4, -60, -1, 0, 1, 60, 1e4], [0, 1e-3, 4, 100])
    means = tf.Variable(means.astype(np.float32))
    deviations = tf.Variable(deviations.astype(np.float32))
    with tf.GradientTape() as tape:
        logits = noise.expected_logits(means, deviations)
        total = tf.reduce_sum(logits)
    assert np.isfinite(logits).all()
    for gradient in tape.gradient(total, [means, deviations]):
        assert np.isfinite(gradient).all()


def network(
    rank: int, temperature: Any = 1.0, *, channels: int = 4, tags: int = 3
) -> Any:
    """Features to logits and uncertainty, as a head would build it."""
    import keras

    from pipeline.model import noise

    keras.utils.set_random_seed(1)
    features = keras.Input((channels,), name="features")
    means = keras.layers.Dense(tags, name="tags")(features)
    if rank:
        normal = noise.low_rank(features, means, rank, temperature)
    else:
        normal = noise.diagonal(features, means, temperature)
    uncertainty = noise.deviations(normal)
    logits = noise.expected_logits(normal.means, uncertainty)
    return keras.Model(features, [logits, uncertainty])


def features(count: int = 5, channels: int = 4) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.standard_normal((count, channels)).astype(np.float32)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("temperature", [1.0, 0.5, "learned"])
def test_network_is_the_formula(rank: int, temperature: Any) -> None:
    model = network(rank, temperature)
    x = features()
    logits, uncertainty = model.predict_on_batch(x)
    weights = {
        variable.path: np.asarray(variable.numpy(), np.float64)
        for variable in model.weights
    }
    divisor = 1.0 if temperature == "learned" else temperature
    means = x @ weights["tags/kernel"] + weights["tags/bias"]
    raw = x @ weights["label_noise/scales/kernel"]
    variance = (np.logaddexp(0, raw) + 1e-3) ** 2
    if rank:
        factors = x @ weights["label_noise/factors/kernel"]
        variance += (factors.reshape(5, 3, rank) ** 2).sum(axis=-1)
    deviation = np.sqrt(variance) / divisor
    np.testing.assert_allclose(uncertainty, deviation, rtol=1e-4)
    expected = quadrature(means / divisor, deviation)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", ["learned", 2.0])
@pytest.mark.parametrize("rank", [0, 2])
def test_losses_on_logits_train_every_variable(rank: int, temperature: Any) -> None:
    import keras

    model = network(rank, temperature)
    before = [variable.numpy() for variable in model.trainable_variables]
    single = keras.Model(model.input, model.outputs[0])
    single.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    single.train_on_batch(features(), np.eye(5, 3, dtype=np.float32))
    after = [variable.numpy() for variable in model.trainable_variables]
    count = 4 + (2 if rank else 0) + (1 if temperature == "learned" else 0)
    assert len(after) == count
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all()
        assert (old != new).any()


def test_learned_temperature_stays_in_its_range() -> None:
    from pipeline.model import noise

    model = network(0, "learned")
    layer = model.get_layer("label_noise")
    assert float(layer.current_temperature()) == pytest.approx(1)
    for offset, limit in (
        (-200, noise.MIN_TEMPERATURE),
        (200, noise.MAX_TEMPERATURE),
    ):
        layer.temperature_offset.assign(offset)
        assert float(layer.current_temperature()) == pytest.approx(limit)
        assert np.isfinite(model.predict_on_batch(features())[0]).all()


@pytest.mark.parametrize(
    ("rank", "temperature"), [(-1, 1.0), (0, 0.0), (0, -1.0), (0, math.nan)]
)
def test_parameters_without_a_meaning_are_refused(
    rank: int, temperature: float
) -> None:
    from pipeline.model import noise

    with pytest.raises(ValueError, match="of the label noise is"):
        noise.LabelNoise(rank, temperature)


def test_a_saved_network_is_the_same(tmp_path: Path) -> None:
    import keras

    model = network(2, "learned")
    model.get_layer("label_noise").temperature_offset.assign(0.3)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    for old, new in zip(
        model.predict_on_batch(features()),
        loaded.predict_on_batch(features()),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("rank", [0, 2])
def test_onnx_runtime_computes_what_keras_does(rank: int) -> None:
    import onnxruntime
    import tensorflow as tf
    import tf2onnx

    model = network(rank)
    for layer in ("tags", "label_noise"):
        model.get_layer(layer).weights[0].assign(
            model.get_layer(layer).weights[0].numpy() * 10
        )
    signature = [tf.TensorSpec((None, 4), tf.float32, name="features")]

    @tf.function(input_signature=signature)
    def traced(x: Any) -> Any:
        logits, uncertainty = model(x, training=False)
        return {"logits": logits, "uncertainty": uncertainty}

    proto, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=17
    )
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = features()
    found = session.run(["logits", "uncertainty"], {"features": x})
    expected = model.predict_on_batch(x)
    assert np.abs(expected[0]).max() > 5
    for name in (0, 1):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


def joint_reference(labels: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """-log of the mean of the products themselves, float64 [n]."""
    p = sigmoid(samples)
    rest = sigmoid(-samples)
    each = labels[:, None] * p + (1 - labels[:, None]) * rest
    return -np.log(each.prod(axis=-1).mean(axis=-1))


def test_joint_loss_is_the_likelihood_of_all_tags_together() -> None:
    from pipeline.model import noise

    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (6, 4)).astype(np.float32)
    samples = random.standard_normal((6, 50, 4)).astype(np.float32) * 5
    loss = noise.joint_loss()
    expected = joint_reference(labels, samples.astype(np.float64))
    np.testing.assert_allclose(loss.call(labels, samples), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(labels, samples), expected.mean(), rtol=1e-5)


def test_joint_loss_of_many_tags_is_a_number() -> None:
    import tensorflow as tf

    from pipeline.model import noise

    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (2, 5_000)).astype(np.float32)
    samples = tf.Variable(random.standard_normal((2, 3, 5_000)).astype(np.float32))
    samples.assign(samples * 40)
    with tf.GradientTape() as tape:
        value = noise.joint_loss()(labels, samples)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, samples)).all()


def test_samples_depend_on_the_seed_and_on_the_batches_before(tmp_path: Path) -> None:
    import keras

    from pipeline.model import noise

    means = np.zeros((2, 3), np.float32)
    layer = noise.SampledLogits(count=4, seed=7)
    first = np.asarray(layer([means, means + 1]))
    second = np.asarray(layer([means, means + 1]))
    assert (first != second).any()
    again = noise.SampledLogits(count=4, seed=7)
    np.testing.assert_array_equal(again([means, means + 1]), first)
    other = noise.SampledLogits(count=4, seed=8)
    assert (np.asarray(other([means, means + 1])) != first).any()
    # A resumed training goes on with the draws that a whole one would have made.
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, noise.SampledLogits(4, 7)(inputs))
    model([means, means + 1])
    model.save_weights(tmp_path / "network.weights.h5")
    expected = np.asarray(model([means, means + 1]))
    resumed = keras.Model(inputs, noise.SampledLogits(4, 7)(inputs))
    resumed.load_weights(tmp_path / "network.weights.h5")
    np.testing.assert_array_equal(resumed([means, means + 1]), expected)


def joint_network(tags: int) -> Any:
    """A constant feature, so that only means, scales and factors can be learnt."""
    import keras

    from pipeline.model import noise

    keras.utils.set_random_seed(1)
    ones = keras.Input((1,), name="features")
    means = keras.layers.Dense(tags, name="tags")(ones)
    normal = noise.low_rank(ones, means, rank=1)
    draws = noise.samples(normal, count=64)
    return keras.Model(ones, draws)


def test_joint_loss_learns_which_tags_are_wrong_together() -> None:
    import keras

    from pipeline.model import noise

    model = joint_network(tags=3)
    random = np.random.default_rng(0)
    together = random.integers(0, 2, (512, 1))
    alone = random.integers(0, 2, (512, 1))
    # The first tag and the second are always equal, the third is by itself.
    labels = np.concatenate([together, together, alone], axis=1).astype(np.float32)
    model.compile(keras.optimizers.Adam(0.05), noise.joint_loss())
    ones = np.ones((512, 1), np.float32)
    model.fit(ones, labels, batch_size=64, epochs=12, verbose=0)
    draws = np.asarray(model.predict(ones[:64], verbose=0), np.float64)
    p = sigmoid(draws.reshape(-1, 3))
    agreement = p[:, :1] * p + (1 - p[:, :1]) * (1 - p)
    assert agreement[:, 1].mean() > 0.8
    assert abs(agreement[:, 2].mean() - 0.5) < 0.1
    # Independent fair labels cost 3 log 2 per image; knowing the pair saves up to one.
    assert model.evaluate(ones, labels, verbose=0) < 2.7 * math.log(2)
