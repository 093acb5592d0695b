"""Gzip files that are a thousandth of what they inflate to."""

import functools
import struct
import zlib

BLOCK = 1 << 20  # bytes that are packed once and then repeated


@functools.lru_cache(maxsize=4)
def inflating_gzip(head: bytes, filler: bytes, megabytes: int, tail: bytes) -> bytes:
    """A sound gzip file of `head`, so many MiB of the one-byte `filler`, and `tail`.

    Costs about 1 s per 2 GiB.
    """
    block = filler * BLOCK
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # A full flush forgets what came before it, so the block packed after it may stand
    # any number of times.
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)) * megabytes
    packed += packer.compress(tail) + packer.flush(zlib.Z_FINISH)
    checksum = zlib.crc32(head)
    for _ in range(megabytes):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(tail, checksum)
    size = len(head) + len(block) * megabytes + len(tail)
    ending = struct.pack("<II", checksum, size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + packed + ending
