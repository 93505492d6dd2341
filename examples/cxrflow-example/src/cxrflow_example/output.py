"""An output: a work list, the images of the positive class first."""

from collections.abc import Iterable, Iterator

from cxrflow.bundle import Bundle
from cxrflow.result import Result


def worklist(bundle: Bundle, results: Iterable[Result]) -> Iterator[bytes]:
    """A line for each image: the probability of the positive class, or why there is none, and the image."""
    positive = bundle.task.positive
    lines = []
    for result in results:
        said = result.left_out or f"{result.scores[positive]:.3f}"
        lines.append((-result.scores.get(positive, -1), f"{said}\t{result.image}\n"))
    for _, line in sorted(lines):
        yield line.encode()
