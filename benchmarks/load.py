"""Load on `cxrflow serve`: requests a second, latencies, refusals, and memory before and after many requests.

    python benchmarks/load.py [--bundle FOLDER] [--seconds 30] [--requests 10000]

The service runs on loopback as a process of its own; wrk (Debian's package) sends one drawn radiograph of 1,024 x 1,024
pixels (PNG) again and again, by a growing number of connections. Without --bundle, a small network with random weights
scores: what is measured is the way from upload to answer. Client and service share the processors. Memory is resident
(VmRSS), of the service and of its worker processes together, 5 seconds after the last request.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import cv2
import numpy as np
from bad_inputs.state import write_bundle
from tables import table

from cxrflow.errors import CxrflowError
from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.layouts import plan

_SIDE = 1024
_CONNECTIONS = (1, 8, 32)
_REST = 5
#: wrk's script: sends the form in FORM, counts the statuses, and prints a line of JSON.
_SCRIPT = """
local threads = {}
function setup(thread) thread:set("counts", "") table.insert(threads, thread) end
local file = io.open("FORM", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "multipart/form-data; boundary=b"
refused, failed = 0, 0
function response(status)
  if status == 429 then refused = refused + 1 elseif status ~= 200 then failed = failed + 1 end
end
function done(summary, latency)
  local refused, failed = 0, 0
  for _, thread in ipairs(threads) do
    refused, failed = refused + thread:get("refused"), failed + thread:get("failed")
  end
  local e = summary.errors
  print(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "failed": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, refused,
    failed + e.connect + e.read + e.write + e.timeout))
end
"""


class Service:
    """A service that runs, and its URL."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self._process, self.url = process, url

    @property
    def memory(self) -> tuple[float, float]:
        """Resident memory of the service, and of its worker processes together (MiB)."""
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        workers = [int(pid) for each in children for pid in each.read_text().split()]
        return _resident(self._process.pid), sum(map(_resident, workers))


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def running(bundle: Path) -> Iterator[Service]:
    """A service of the bundle, once it is ready."""
    command = [sys.executable, "-m", "cxrflow.cli", "serve", "--bundle", str(bundle), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
        if found is None:
            raise CxrflowError("load: the service did not start; see above.")
        while True:
            try:
                urllib.request.urlopen(f"{found[0]}/v2/health/ready").close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.2)
        yield Service(process, found[0])
    finally:
        process.terminate()
        process.wait()


def write_form(path: Path) -> None:
    """Write the body of a form with one drawn radiograph."""
    job = next(job for job in plan(60, 3)[0] if job.kind != "other")
    pixels = np.rint(draw(job.patient, job.kind, job.style, job.seed).pixels * 255).astype(np.uint8)
    content = cv2.imencode(".png", cv2.resize(pixels, (_SIDE, _SIDE)))[1].tobytes()
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    path.write_bytes(head + content + b"\r\n--b--\r\n")


def wrk(url: str, connections: int, seconds: int, script: Path) -> dict[str, Any]:
    """What wrk measures: requests, seconds, p50 and p99 (ms), refused (429) and failed.

    At its end wrk leaves requests unanswered, which the service finishes: the next measurement waits for that.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script), url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    counters = urljoin(url, "/metrics")
    while b"\ncxrflow_queue 0.0\n" not in urllib.request.urlopen(counters).read():  # noqa: S310
        time.sleep(0.1)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: a small network, random weights)")
    parser.add_argument("--seconds", type=int, default=30, help="of each row of the first table")
    parser.add_argument("--requests", type=int, default=10_000, help="between the rows of the second table")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("load: wrk is missing; install Debian's package wrk.")
    with tempfile.TemporaryDirectory() as folder:
        form, script = Path(folder) / "form", Path(folder) / "wrk.lua"
        write_form(form)
        script.write_text(_SCRIPT.replace("FORM", str(form)))
        if asked.bundle is None:
            write_bundle(Path(folder) / "bundle")
        with running(asked.bundle or Path(folder) / "bundle") as service:
            measure(service, script, asked.seconds, asked.requests)


def measure(service: Service, script: Path, seconds: int, requests: int) -> None:
    """Print both tables."""
    plain, look = f"{service.url}/predict", f"{service.url}/predict?look=true"
    wrk(look, 2, 3, script)  # both workers start, and what is imported late is there
    rows = []
    for connections, url, what in [*((each, plain, "scores") for each in _CONNECTIONS), (8, look, "with pictures")]:
        found = wrk(url, connections, seconds, script)
        rate, later = found["requests"] / found["seconds"], (f"{found[key]:.0f}" for key in ("p50", "p99"))
        rows.append((connections, what, found["requests"], f"{rate:.1f}", *later, found["refused"], found["failed"]))
    table(("connections", "answer", "requests", "requests/s", "p50, ms", "p99, ms", "429", "errors"), rows)
    memory, sent = [], 0
    time.sleep(_REST)
    memory.append((0, *(f"{each:.0f}" for each in service.memory)))
    while sent < requests:
        sent += wrk(plain, 8, seconds, script)["requests"]
    time.sleep(_REST)
    memory.append((f"{sent:,}", *(f"{each:.0f}" for each in service.memory)))
    table(("requests after the above", "service, MiB", "workers, MiB"), memory)


if __name__ == "__main__":
    main()
