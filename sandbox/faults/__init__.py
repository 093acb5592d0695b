"""Ready ways for a served board to misbehave: values for the `fault` of `serve`.

A fault is called with every request and answers None where it has nothing to spoil;
`all_of` joins several. Most take `where`, the requests that they spoil, and `times`,
after how many of them they turn honest (`base.Aimed`). Planted and ManyTags are boards
instead: the site itself believes what is bad there. `parse` builds any of them from
text.
"""

from sandbox.faults.base import PICTURES, Aimed, all_of
from sandbox.faults.boards import ManyTags, Planted
from sandbox.faults.delivery import (
    Dripping,
    Flipped,
    Reset,
    Shortened,
    Silent,
    Stalled,
    Truncated,
    Unfinished,
)
from sandbox.faults.exports import (
    DoubledRows,
    ExportBomb,
    ExtraColumns,
    MissingColumn,
    Swapped,
    WrongChecksum,
)
from sandbox.faults.json_answers import (
    DoubledPosts,
    ExtraKeys,
    JsonBomb,
    RepeatingCursor,
    ShortPages,
    V2Anyway,
)
from sandbox.faults.pictures import Bomb, Html, WrongBytes, bomb, png
from sandbox.faults.statuses import (
    Challenge,
    Down,
    Failing,
    Forbidden,
    Missing,
    Redirected,
    Throttled,
)
from sandbox.server.service import Fault

__all__ = [
    "PICTURES",
    "Aimed",
    "Bomb",
    "Challenge",
    "DoubledPosts",
    "DoubledRows",
    "Down",
    "Dripping",
    "ExportBomb",
    "ExtraColumns",
    "ExtraKeys",
    "Failing",
    "Fault",
    "Flipped",
    "Forbidden",
    "Html",
    "JsonBomb",
    "ManyTags",
    "Missing",
    "MissingColumn",
    "Planted",
    "Redirected",
    "RepeatingCursor",
    "Reset",
    "ShortPages",
    "Shortened",
    "Silent",
    "Stalled",
    "Swapped",
    "Throttled",
    "Truncated",
    "Unfinished",
    "V2Anyway",
    "WrongBytes",
    "WrongChecksum",
    "all_of",
    "bomb",
    "png",
]
