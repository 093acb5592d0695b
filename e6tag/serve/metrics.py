"""What the server counts, in the form of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "e6tag_requests",
            "Requests by path and status.",
            ["path", "method", "status"],
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "e6tag_request_seconds",
            "Seconds from a request's head to its response.",
            ["path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.images = Counter(
            "e6tag_images",
            "Images by what became of them: read, or the code of the refusal.",
            ["outcome"],
            registry=self._registry,
        )
        self.decode_seconds = Histogram(
            "e6tag_decode_seconds",
            "Seconds that a worker takes for an image.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self.inference_seconds = Histogram(
            "e6tag_inference_seconds",
            "Seconds that the network takes for a batch.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batch_images = Histogram(
            "e6tag_batch_images",
            "Images of a batch.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self._registry,
        )
        self.pending = Gauge(
            "e6tag_pending_requests",
            "Requests that are being answered or wait.",
            registry=self._registry,
        )
        self.dead_workers = Counter(
            "e6tag_dead_workers",
            "Processes that ended while they decoded an image.",
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Returns all counters in the text format."""
        return generate_latest(self._registry)
