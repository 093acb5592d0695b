"""Expected failures. Each prints one line: what happened, to what, and what to do now.

E6tagError             exit status 1: something must change before a retry can succeed
├── BadParameter       params.yaml or a profile is not what the pipeline understands
├── BadInput           a file of another stage or of the site is not what it should be
│   ├── BadExport      an export lacks a column, or cannot be read
│   ├── BadAnswer      a response of the API does not follow the contract
│   ├── ExportChanged  the site no longer serves what snapshot.json pins
│   └── CorruptFile    a pack, shard or table on disk is damaged
├── ImpossibleSample   the snapshot cannot give what the parameters of `sample` demand
├── TooManyRejects     more records were rejected than a parameter allows
├── GateFailed         an expectation of a gate does not hold
├── PolicyViolation    a request that the policy forbids, whatever the parameters
├── MissingPackage     a package of the operating system or of Python is not installed
├── NoSpace            the disk is full or read-only
└── NoPermission       a file may not be read or written by this user
TryAgainLater          exit status 75: data and parameters are right, nothing is lost
├── SiteUnreachable    no response, or only errors, after all retries
├── ChallengePage      the site asks for a human
├── Busy               another process holds the lock of the stage
└── OutOfResources     memory or open files ran out, or a disk fails
"""

EXIT_FAILURE = 1
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h; the only one that the flow retries


class E6tagError(Exception):
    """An expected failure; its message is one line."""

    exit_status = EXIT_FAILURE


class BadParameter(E6tagError):
    """params.yaml or a profile is not what the pipeline understands."""


class BadInput(E6tagError):
    """A file of another stage or of the site is not what it should be."""


class BadExport(BadInput):
    """An export lacks a column, or cannot be read."""


class BadAnswer(BadInput):
    """A response of the API does not follow the contract."""


class ExportChanged(BadInput):
    """The site no longer serves what snapshot.json pins."""


class CorruptFile(BadInput):
    """A pack, shard or table on disk is damaged."""


class ImpossibleSample(E6tagError):
    """The snapshot cannot give what the parameters of `sample` demand."""


class TooManyRejects(E6tagError):
    """More records were rejected than a parameter allows."""


class GateFailed(E6tagError):
    """An expectation of a gate does not hold."""


class PolicyViolation(E6tagError):
    """A request that the policy forbids, whatever the parameters."""


class MissingPackage(E6tagError):
    """A package of the operating system or of Python is not installed."""


class NoSpace(E6tagError):
    """The disk is full or read-only."""


class NoPermission(E6tagError):
    """A file may not be read or written by this user."""


class TryAgainLater(E6tagError):
    """Data and parameters are right and nothing is lost.

    The same command may succeed later.
    """

    exit_status = EXIT_TRY_AGAIN


class SiteUnreachable(TryAgainLater):
    """No response, or only errors, after all retries."""


class ChallengePage(TryAgainLater):
    """The site asks for a human (contract section 5): never evaded."""


class Busy(TryAgainLater):
    """Another process holds the lock of the stage."""


class OutOfResources(TryAgainLater):
    """Memory or open files ran out, or a disk fails: no file is to blame for it."""
