"""Label noise: logits as a normal distribution that the image's features determine.

After Collier et al. 2021 (arXiv:2105.10305): u is normal with mean and low-rank plus
diagonal covariance, p = E sigmoid(u / temperature). An image's labels may then be
uncertain without its logits being small, and the labels of two tags may be wrong
together. Import only after `backend.start`.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops

# Of the learned temperature (Collier et al. 2023, arXiv:2301.12860).
MIN_TEMPERATURE = 0.05
MAX_TEMPERATURE = 5.0

# Keeps the gradient of a deviation's square root finite.
MIN_SCALE = 1e-3

# Largest error of the expectation for means within 6 and deviations up to 4, in
# probability: 0.017 with 8 nodes, 0.0028 with 16, 0.0007 with 24; with 1,000 samples
# 0.04. With 16 nodes it is 0.027 for deviations up to 8.
NODES = 16

# Axis that counts the tags, by the path of a weight.
TAG_AXES = {"label_noise/scales/kernel": 1, "label_noise/scales/bias": 0}

Temperature = float | Literal["learned"]


@dataclass(frozen=True, slots=True)
class NormalLogits:
    """Logits of all tags, divided by the temperature, as one distribution per image.

    means: float32 [n, tags]. scales: standard deviation of the noise that a tag has for
    itself, [n, tags]. factors: of the noise that tags share, [n, tags, rank], or None.
    The covariance is factors x factors^T + diag(scales^2).
    """

    means: "keras.KerasTensor"
    scales: "keras.KerasTensor"
    factors: "keras.KerasTensor | None"


def diagonal(
    features: "keras.KerasTensor",
    means: "keras.KerasTensor",
    temperature: Temperature = 1.0,
) -> NormalLogits:
    """Returns logits whose noise is independent between tags.

    features: pooled, [n, channels]; means: logits without noise, [n, tags].
    temperature: fixed, or `learned` between MIN_TEMPERATURE and MAX_TEMPERATURE from 1
    on.
    """
    layer = LabelNoise(rank=0, temperature=temperature)
    tempered, scales = layer([features, means])
    return NormalLogits(tempered, scales, None)


def low_rank(
    features: "keras.KerasTensor",
    means: "keras.KerasTensor",
    rank: int,
    temperature: Temperature = 1.0,
) -> NormalLogits:
    """Returns logits whose noise is shared between tags, through `rank` factors.

    The factors have channels x tags x rank weights. The rest: see `diagonal`.
    """
    layer = LabelNoise(rank=rank, temperature=temperature)
    tempered, scales, factors = layer([features, means])
    return NormalLogits(tempered, scales, factors)


def deviations(normal: NormalLogits) -> "keras.KerasTensor":
    """Returns each tag's standard deviation, float32 [n, tags]: its uncertainty.

    Of the logit divided by the temperature, so that it is comparable with the logit.
    """
    layer = Deviation()
    if normal.factors is None:
        return layer([normal.scales])
    return layer([normal.scales, normal.factors])


def expected_logits(
    means: "keras.KerasTensor", deviations: "keras.KerasTensor"
) -> "keras.KerasTensor":
    """Returns log(p / (1 - p)), float32 [n, tags], p the expectation of the sigmoid.

    A tag's expectation needs its own mean and deviation only, so it is one integral per
    tag: by quadrature, which is deterministic, and not by samples.
    """
    return ExpectedLogits()([means, deviations])


def samples(
    normal: NormalLogits, count: int = 100, seed: int = 0
) -> "keras.KerasTensor":
    """Returns `count` draws of the logits, float32 [n, count, tags], for `joint_loss`.

    They depend on the seed and on the number of batches that were drawn before, which
    is saved with the weights.
    """
    layer = SampledLogits(count, seed)
    if normal.factors is None:
        return layer([normal.means, normal.scales])
    return layer([normal.means, normal.scales, normal.factors])


def joint_loss() -> keras.losses.Loss:
    """Returns the negative log-likelihood of all labels of an image together.

    It takes `samples` for logits. Losses per tag see each tag's own deviation only;
    this is what the correlations are trained by.
    """
    return JointLikelihood()


@keras.saving.register_keras_serializable("e6tag")
class LabelNoise(layers.Layer):
    """Means and features to means, scales and, from rank 1 on, factors."""

    def __init__(
        self,
        rank: int,
        temperature: Temperature,
        name: str = "label_noise",
        **options: Any,
    ) -> None:
        if rank < 0:
            raise ValueError(f"rank of the label noise is {rank}, must be at least 0")
        if temperature != "learned" and not temperature > 0:
            raise ValueError(
                f"temperature of the label noise is {temperature}, must be above 0 or "
                "learned"
            )
        super().__init__(name=name, **{"dtype": "float32", **options})
        self.rank = rank
        self.temperature = temperature

    def build(self, shapes: list[tuple[Any, ...]]) -> None:
        """Makes the layers of scales and factors, and the temperature's variable."""
        features, means = shapes
        tags = means[-1]
        self.scales = layers.Dense(tags, dtype=self.dtype_policy, name="scales")
        self.scales.build(features)
        self.factors = None
        if self.rank:
            self.factors = layers.Dense(
                tags * self.rank, dtype=self.dtype_policy, name="factors"
            )
            self.factors.build(features)
        self.temperature_offset = None
        if self.temperature == "learned":
            self.temperature_offset = self.add_weight(
                shape=(), initializer="zeros", name="temperature_offset"
            )

    def call(
        self, inputs: "list[keras.KerasTensor]"
    ) -> "tuple[keras.KerasTensor, ...]":
        """Returns means, scales and factors, all divided by the temperature."""
        features, means = inputs
        temperature = self.current_temperature()
        scales = MIN_SCALE + ops.softplus(self.scales(features))
        if self.factors is None:
            return means / temperature, scales / temperature
        factors = self.factors(features)
        factors = ops.reshape(factors, (-1, means.shape[-1], self.rank))
        return means / temperature, scales / temperature, factors / temperature

    def current_temperature(self) -> "float | keras.KerasTensor":
        """Returns the temperature, as the optimizer left it if it is learned."""
        if self.temperature_offset is None:
            return self.temperature
        share = (1 - MIN_TEMPERATURE) / (MAX_TEMPERATURE - MIN_TEMPERATURE)
        start = math.log(share / (1 - share))
        offset = ops.convert_to_tensor(self.temperature_offset)
        learned = ops.sigmoid(offset + start)
        return MIN_TEMPERATURE + (MAX_TEMPERATURE - MIN_TEMPERATURE) * learned

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        own = {"rank": self.rank, "temperature": self.temperature}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("e6tag")
class Deviation(layers.Layer):
    """Scales and perhaps factors to standard deviations."""

    def __init__(self, name: str = "label_noise_deviation", **options: Any) -> None:
        super().__init__(name=name, **{"dtype": "float32", **options})

    def call(self, inputs: "list[keras.KerasTensor]") -> "keras.KerasTensor":
        """Returns the roots of the covariance's diagonal."""
        variance = ops.square(inputs[0])
        for factors in inputs[1:]:
            variance = variance + ops.sum(ops.square(factors), axis=-1)
        return ops.sqrt(variance)


@keras.saving.register_keras_serializable("e6tag")
class ExpectedLogits(layers.Layer):
    """Means and deviations to the log-odds of the sigmoid's expectation.

    Gauss-Hermite quadrature, summed as logarithms: p and 1 - p both keep their digits,
    however far the mean is.
    """

    def __init__(self, name: str = "label_noise_expectation", **options: Any) -> None:
        super().__init__(name=name, **{"dtype": "float32", **options})
        nodes, weights = np.polynomial.hermite.hermgauss(NODES)
        # The rule is for exp(-x^2); a standard normal is wider by a root of 2.
        self._nodes = (math.sqrt(2) * nodes).astype(np.float32)
        self._log_weights = np.log(weights / weights.sum()).astype(np.float32)

    def call(self, inputs: "list[keras.KerasTensor]") -> "keras.KerasTensor":
        """Returns log p - log(1 - p)."""
        means, deviations = inputs
        means = ops.expand_dims(means, -1)
        logits = means + ops.expand_dims(deviations, -1) * self._nodes
        # log(1 - sigmoid(u)), and log sigmoid(u), which is larger by u.
        log_rest = self._log_weights - ops.softplus(logits)
        log_positive = log_rest + logits
        positive = ops.logsumexp(log_positive, axis=-1)
        return positive - ops.logsumexp(log_rest, axis=-1)


@keras.saving.register_keras_serializable("e6tag")
class SampledLogits(layers.Layer):
    """Means, scales and perhaps factors to draws of the logits.

    A layer of the network and not part of the loss: its seed's state is among the
    network's variables, which Keras, on JAX, updates.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        name: str = "label_noise_samples",
        **options: Any,
    ) -> None:
        if count < 1:
            raise ValueError(f"count of samples is {count}, must be at least 1")
        super().__init__(name=name, **{"dtype": "float32", **options})
        self.count = count
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: "list[keras.KerasTensor]") -> "keras.KerasTensor":
        """Returns mean + scale x own noise + factors x shared noise."""
        means, scales = inputs[:2]
        images = ops.shape(means)[0]
        own = self._noise((images, self.count, means.shape[-1]))
        logits = ops.expand_dims(means, 1) + ops.expand_dims(scales, 1) * own
        for factors in inputs[2:]:
            shared = self._noise((images, self.count, factors.shape[-1]))
            logits = logits + ops.matmul(shared, ops.transpose(factors, (0, 2, 1)))
        return logits

    def _noise(self, shape: tuple[Any, ...]) -> "keras.KerasTensor":
        return keras.random.normal(shape, dtype="float32", seed=self.seed_generator)

    def save_own_variables(self, store: Any) -> None:
        """Saves the seed's state, which Keras leaves out of a file of weights."""
        state = self.seed_generator.state
        store["seed_state"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store: Any) -> None:
        """Loads the seed's state: a resumed training draws what a whole one would."""
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        own = {"count": self.count, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("e6tag")
class JointLikelihood(keras.losses.Loss):
    """See `joint_loss`."""

    def __init__(self) -> None:
        super().__init__(name="joint_likelihood")

    def call(
        self, y_true: "keras.KerasTensor", y_pred: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns float32 [n] of labels [n, tags] and samples [n, count, tags].

        The mean over samples of the product of Bernoulli likelihoods, as a logarithm:
        the product itself is 0 in float32 from some 100 tags on.
        """
        labels = ops.expand_dims(y_true, 1)
        positive = labels * ops.softplus(-y_pred)
        negative = (1 - labels) * ops.softplus(y_pred)
        log_likelihoods = -ops.sum(positive + negative, axis=-1)
        total = ops.logsumexp(log_likelihoods, axis=-1)
        return math.log(y_pred.shape[1]) - total

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {}
