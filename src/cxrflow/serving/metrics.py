"""Counters of one service for Prometheus, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Paths are those of the interface, such as ``/v2/models/{name}/infer``, so that requests cannot make new ones."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "cxrflow_requests", "Requests answered, by path and status.", ("path", "status"), registry=registry
        )
        self.seconds = Histogram(
            "cxrflow_request_seconds",
            "Time from the request's header to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Gauge("cxrflow_queue", "Requests for predictions that are not answered yet.", registry=registry)
        self.held = Gauge("cxrflow_held_bytes", "Bytes of their bodies that are held in memory.", registry=registry)
        self.images = Counter("cxrflow_images", "Images, by outcome.", ("outcome",), registry=registry)
        self.batch = Histogram("cxrflow_batch_images", "Images scored at once.", buckets=_SIZES, registry=registry)

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
