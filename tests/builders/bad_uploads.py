"""Uploads that are damaged at random: bytes of images, and forms."""

from collections.abc import Iterator
from random import Random

from tests.builders import toy_images
from tests.builders.toy_images import BLUE, RED

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
BOUNDARY = b"between"
FORM = f"multipart/form-data; boundary={BOUNDARY.decode()}"


def uploads(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yields content types and bodies without end, the same ones for a seed."""
    random = Random(seed)
    good = [toy_images.image(RED, kind, size=(64, 48)) for kind in KINDS]
    good += [toy_images.animation([RED, BLUE], kind) for kind in ("GIF", "WEBP", "PNG")]
    while True:
        image = random.choice(good)
        for _ in range(random.randint(0, 3)):
            image = random.choice(DAMAGES)(image, random)
        if random.random() < 0.7:
            yield "application/octet-stream", image
            continue
        form = _form([image, random.choice(good)])
        if random.random() < 0.5:
            form = random.choice(DAMAGES)(form, random)
        yield FORM, form


def _form(images: list[bytes]) -> bytes:
    parts = []
    for image in images:
        head = b'Content-Disposition: form-data; name="image"; filename="a.png"'
        parts.append(b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + image + b"\r\n")
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def _flip(body: bytes, random: Random) -> bytes:
    """Changes some bytes, most of them near the start, where headers are."""
    changed = bytearray(body or b"\0")
    for _ in range(random.randint(1, 20)):
        place = int(len(changed) * random.random() ** 3)
        changed[place] = random.randrange(256)
    return bytes(changed)


def _cut(body: bytes, random: Random) -> bytes:
    return body[: random.randint(0, len(body))]


def _without_middle(body: bytes, random: Random) -> bytes:
    start = random.randint(0, len(body))
    return body[:start] + body[start + random.randint(1, 40) :]


def _repeat(body: bytes, random: Random) -> bytes:
    start = random.randint(0, len(body))
    return (
        body[:start] + body[start : start + 64] * random.randint(2, 200) + body[start:]
    )


def _huge_number(body: bytes, random: Random) -> bytes:
    """Writes the largest numbers of two or four bytes somewhere in the header."""
    place = random.randint(0, min(64, len(body)))
    number = random.choice([b"\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"])
    return body[:place] + number + body[place + len(number) :]


def _noise(body: bytes, random: Random) -> bytes:
    return body[:16] + random.randbytes(random.randint(0, 4_000))


DAMAGES = (_flip, _flip, _cut, _without_middle, _repeat, _huge_number, _noise)
