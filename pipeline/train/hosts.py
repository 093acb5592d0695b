"""Several hosts that train one model on JAX: how many there are, and which this is.

Every host runs the same command in the same project folder, on a disk that all of them
mount, with the environment variables that Keras gives this purpose. See
docs/devices.md.
"""

import os
from dataclasses import dataclass

from pipeline.errors import BadParameter, TryAgainLater
from pipeline.train_params import Train

ADDRESS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
"""host:port of the first host; of a list with commas, the first entry counts."""

COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
"""Number of hosts, one process on each."""

NUMBER = "KERAS_DISTRIBUTION_PROCESS_ID"
"""0 for the first host, up to the number of hosts less one."""


@dataclass(frozen=True, slots=True)
class Host:
    """One process of those that train together. number: from 0 to count - 1."""

    number: int = 0
    count: int = 1
    address: str = ""

    @property
    def writes(self) -> bool:
        """Whether checkpoints, logs and the model are written by this process."""
        return self.number == 0


def this_host() -> Host:
    """Returns the host that the environment describes; raises BadParameter."""
    if COUNT not in os.environ:
        return Host()
    count = _number(COUNT)
    if count == 1:
        return Host()
    number = _number(NUMBER)
    address = os.environ.get(ADDRESS, "").split(",")[0]
    if not 0 <= number < count:
        raise BadParameter(
            f"the environment variable {NUMBER} is {number}, and {COUNT} is {count}. "
            f"Number the hosts from 0 to {COUNT} less 1."
        )
    if ":" not in address:
        raise BadParameter(
            f"the environment variable {ADDRESS} is '{address}'. Set it to the first "
            "host's name and a free port, as in node1:1234, on every host."
        )
    return Host(number, count, address)


def stage_name(stage: str) -> str:
    """Returns the name whose lock this host holds while the stage runs.

    The folder of the locks is shared, and each host holds a lock of its own.
    """
    host = this_host()
    return stage if host.writes else f"{stage}-host-{host.number}"


def connect(host: Host, params: Train) -> None:
    """Waits until all hosts are there; does nothing where there is one.

    To be called before `backend.start`. Raises BadParameter where the parameters do not
    allow several hosts, and TryAgainLater where the others do not come.
    """
    if host.count == 1:
        return
    if params.backend != "jax":
        raise BadParameter(
            f"{COUNT} is {host.count}, and train.backend {params.backend} trains on "
            f"one host only. Set train.backend: jax, or unset {COUNT}."
        )
    if params.batch_size == "auto":
        raise BadParameter(
            "train.batch_size is auto, which tries batches on one host only. Train on "
            "one host until it says the batch size, and set it times the number of "
            f"hosts, {host.count}."
        )
    import jax

    # It takes SIGTERM to itself, and training would not end by it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(host.address, host.count, host.number)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise TryAgainLater(
            f"host {host.number} of {host.count} found no group at {host.address}: "
            f"{reason}. Start the command on every host within five minutes."
        ) from error


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise BadParameter(
            f"the environment variable {name} is '{text}', must be a whole number"
        )
    return int(text)
