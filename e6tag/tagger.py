"""The tagger: a bundle opened in ONNX Runtime, from pixels to scores of tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from e6tag import bundle, images
from e6tag.bundle import BundleError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

CPU = ("CPUExecutionProvider",)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says of n images.

    scores: float32 [n, tags], in the order of `bundle.tags`. ratings: float32 [n, 4],
    in the order of bundle.RATINGS, 0 for those that the network does not know.
    embeddings: float32 [n, D]. features: float32 [n, h, w, channels], for heat maps.
    uncertainty: as scores; None of a model without label noise.
    """

    scores: Floats
    ratings: Floats
    embeddings: Floats
    features: Floats
    uncertainty: Floats | None

    def of_image(self, number: int) -> "Outputs":
        """Returns the outputs of one image, n = 1, which keep no others in memory."""
        one = slice(number, number + 1)
        uncertainty = self.uncertainty
        return Outputs(
            scores=self.scores[one].copy(),
            ratings=self.ratings[one].copy(),
            embeddings=self.embeddings[one].copy(),
            features=self.features[one].copy(),
            uncertainty=None if uncertainty is None else uncertainty[one].copy(),
        )


class Tagger:
    """An opened bundle."""

    def __init__(
        self,
        folder: Path,
        *,
        providers: Sequence[str] = CPU,
        threads: int = 0,
    ) -> None:
        """Opens the bundle in `folder`; raises BundleError.

        providers: of ONNX Runtime, the first that can be used is used. threads: of one
        operation; 0: one per core.
        """
        self.bundle = bundle.read(folder)
        self.session = open_session(self.bundle.model, providers, threads)
        """Of model.onnx."""
        check_model(
            self.session,
            self.bundle.model,
            given=(bundle.INPUT, [bundle.SIZE, bundle.SIZE, 3]),
            wanted=(bundle.SCORES, bundle.EMBEDDING, bundle.FEATURES),
        )
        rows = len(self.bundle.rows)
        for output in self.session.get_outputs():
            is_per_row = output.name in (
                bundle.OUTPUT,
                bundle.SCORES,
                bundle.UNCERTAINTY,
            )
            if is_per_row and output.shape[-1] != rows:
                raise BundleError(
                    f"{self.bundle.model} has {output.shape[-1]} columns in "
                    f"{output.name}, {bundle.ROWS} has {rows} rows"
                )
        self.thresholds = np.array([tag.threshold for tag in self.bundle.tags])
        """float64 [tags]."""
        self._rows = np.array([tag.row for tag in self.bundle.tags], dtype=np.int64)

    @property
    def has_uncertainty(self) -> bool:
        """Whether the model says how uncertain it is of each tag."""
        names = [output.name for output in self.session.get_outputs()]
        return bundle.UNCERTAINTY in names

    @property
    def features_shape(self) -> list[int]:
        """Of the features of one image: h, w, channels."""
        (found,) = (
            output.shape[1:]
            for output in self.session.get_outputs()
            if output.name == bundle.FEATURES
        )
        return list(found)

    def prepare(self, body: bytes) -> Pixels:
        """Returns what `run` takes of an image file, RGB, uint8 [448, 448, 3].

        Raises images.Undecodable.
        """
        return prepare(body, self.bundle.fit)

    def run(self, pixels: Pixels) -> Outputs:
        """Returns the outputs of one batch.

        pixels: RGB, uint8 [n, 448, 448, 3], each as `prepare` returns it.
        """
        names = [bundle.SCORES, bundle.EMBEDDING, bundle.FEATURES]
        if self.has_uncertainty:
            names.append(bundle.UNCERTAINTY)
        bgr = pixels[..., ::-1].astype(np.float32)
        scores, embeddings, features, *rest = self.session.run(
            names, {bundle.INPUT: bgr}
        )
        uncertainty = rest[0][:, self._rows] if rest else None
        return Outputs(
            scores=scores[:, self._rows],
            ratings=scores[:, : len(bundle.RATINGS)],
            embeddings=embeddings,
            features=features,
            uncertainty=uncertainty,
        )

    def select(self, scores: Floats) -> NDArray[np.bool_]:
        """Returns which tags apply, bool [n, tags]: at their threshold or above."""
        return np.asarray(scores >= self.thresholds)


def prepare(body: bytes, fit: str) -> Pixels:
    """Returns an image file as RGB, uint8 [448, 448, 3]; raises images.Undecodable.

    fit: of the bundle, one of bundle.FITS.
    """
    decoded = images.decode(body, at_least=bundle.SIZE)
    return np.asarray(images.square(decoded, size=bundle.SIZE, fit=fit))


def check_model(
    session: onnxruntime.InferenceSession,
    model: Path,
    *,
    given: tuple[str, list[int]],
    wanted: Sequence[str],
) -> None:
    """Raises BundleError where an ONNX file is another model than the bundle's.

    given: the name of its input, and the shape after the first dimension, which is
    free. wanted: outputs that it must have.
    """
    name, shape = given
    inputs = [(one.name, one.shape[1:]) for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    is_fixed = any(
        isinstance(size, int) for one in session.get_inputs() for size in one.shape[:1]
    )
    if inputs != [given] or is_fixed or not set(wanted) <= set(outputs):
        found = ", ".join(f"{one.name} {one.shape}" for one in session.get_inputs())
        raise BundleError(
            f"{model} is another model: it makes {', '.join(outputs)} of {found}, and "
            f"a bundle's makes {', '.join(wanted)} of {name} {[bundle.BATCH, *shape]}. "
            "Copy the bundle again."
        )


def open_session(
    model: Path, providers: Sequence[str] = CPU, threads: int = 0
) -> onnxruntime.InferenceSession:
    """Opens an ONNX file; raises BundleError where ONNX Runtime cannot."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors: warnings speak of the graph's history
    # Threads that wait for work by spinning take the cores from those that decode: on
    # two busy cores resnet_v4 takes 0.18 instead of 0.23 s of CPU an image without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(model), options, providers=list(providers)
        )
    except Exception as error:  # ONNX Runtime's own have no common base
        raise BundleError(
            f"{model} cannot be opened by ONNX Runtime: {error}"
        ) from error
