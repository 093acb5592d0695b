"""Why bytes give no image: the kinds of damage, their limits, and the error."""

from enum import StrEnum

MAX_PIXELS = 178_956_970
"""What is decoded where no other limit is given: Pillow's own for images in RGB."""

MAX_LOST = 0.05
"""Share of an image's rows, or of a WebP's bytes, that may be lost at its end."""


class Damage(StrEnum):
    """Why bytes give no image; the whole list of the details that outputs may hold."""

    NOT_AN_IMAGE = "not a JPEG, PNG or WebP file"
    ANIMATION = "an animation"
    HEADER = "its header cannot be read"
    PIXELS = "its pixels cannot be decoded"
    PARTIAL = "only part of it is there"
    TOO_MANY_PIXELS = "too many pixels"


class Undecodable(ValueError):
    """Bytes that give no image. Its message is that of `damage`.

    What the decoder said is its cause: texts of libraries change from version to
    version and name memory addresses, so they belong into a log and not into data.
    """

    def __init__(self, damage: Damage) -> None:
        super().__init__(damage.value)
        self.damage = damage
