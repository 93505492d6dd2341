"""Studies through a DICOM node that is killed again and again: python benchmarks/node.py [--studies N] [--kills N]

dcmtk's storescu sends studies of one image to `cxrflow dicom-node`, which sends a report of each to dcmtk's storescp.
Meanwhile the node is killed (SIGKILL) at random moments and started again, and the destination is away for a while.
A study that is not acknowledged is sent again, as an archive does. At the end, the StudyInstanceUIDs that storescp has
received are compared with those that storescu was acknowledged. Images are copies of one drawn radiograph of 1,024
pixels, the bundle a small network with random weights: what is measured is the node.
"""

import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pydicom
from bad_inputs.state import write_bundle
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from tables import table

from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.layouts import plan

#: Studies that storescu sends in one call, each call a process and an association.
_AT_ONCE = 10
_SIDE = 1024
_ACKNOWLEDGED = "Received Store Response (Success)"


def program(name: str) -> str:
    """dcmtk's program; pynetdicom installs others of the same names."""
    found = shutil.which("dcmdump")
    if found is None:
        sys.exit("dcmtk is not installed")
    return str(Path(found).with_name(name))


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def write_studies(folder: Path, count: int) -> dict[Path, str]:
    """Write studies of one image each; the StudyInstanceUID of each file."""
    job = next(job for job in plan(60, 3)[0] if job.kind != "other")
    pixels = np.rint(draw(job.patient, job.kind, job.style, job.seed).pixels * 4095).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
    )
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.Modality, data.PhotometricInterpretation = meta.MediaStorageSOPClassUID, "DX", "MONOCHROME2"
    data.Rows = data.Columns = _SIDE
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 16, 12, 11, 0
    data.PixelData = cv2.resize(pixels, (_SIDE, _SIDE)).tobytes()
    data.PatientName, data.PatientID = "DOE^JANE", "MRN-4711"
    folder.mkdir()
    written = {}
    for number in range(count):
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = (generate_uid() for _ in range(3))
        meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        path = folder / f"{number:06d}.dcm"
        data.save_as(path, enforce_file_format=True)
        written[path] = str(data.StudyInstanceUID)
    return written


class Run:
    """One run: the node, its destination, and what happens to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.port, self.to = free_port(), free_port()
        self.received, self.spool, self.log = folder / "received", folder / "spool", folder / "node.log"
        self.received.mkdir()
        self.faults: dict[str, int] = {}
        self.peak = 0
        self.node = self.archive = None
        self.over = threading.Event()

    def start_node(self) -> None:
        """Start the node, or start it again."""
        command = [sys.executable, "-m", "cxrflow.cli", "dicom-node", "--bundle", self.folder / "bundle"]
        options = [
            "--spool",
            self.spool,
            "--port",
            self.port,
            "--quiet-seconds",
            1,
            "--to",
            f"PACS@127.0.0.1:{self.to}",
        ]
        with self.log.open("ab") as log:
            self.node = subprocess.Popen([str(each) for each in [*command, *options]], stdout=log, stderr=log)

    def start_archive(self) -> None:
        """Start the destination."""
        command = [program("storescp"), "-aet", "PACS", "-od", self.received, self.to]
        self.archive = subprocess.Popen([str(each) for each in command], stderr=subprocess.DEVNULL)

    def fault(self, what: str) -> None:
        """Count a fault."""
        self.faults[what] = self.faults.get(what, 0) + 1

    def disturb(self, kills: int) -> None:
        """Kill the node so often, and once the destination for a while; in a thread of its own."""
        for number in range(kills):
            if self.over.wait(self.random.uniform(5, 15)):
                return
            if number == kills // 2:
                self.archive.kill()
                self.fault("destination away for 10 s")
                self.over.wait(10)
                self.start_archive()
            self.node.kill()
            self.node.wait()
            self.fault("node killed (SIGKILL)")
            self.over.wait(self.random.uniform(0, 2))
            self.start_node()

    def watch(self) -> None:
        """Note the node's peak memory; in a thread of its own."""
        while not self.over.wait(0.2):
            with suppress(OSError, AttributeError):
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.node.pid}/status").read_text())
                self.peak = max(self.peak, int(found[1]) if found else 0)

    def send(self, paths: list[Path]) -> list[Path]:
        """Send studies in one association; those that were acknowledged."""
        command = [program("storescu"), "-v", "-aec", "CXRFLOW", "127.0.0.1", str(self.port), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        count = (done.stdout + done.stderr).count(_ACKNOWLEDGED)  # in their order; the first that fails ends it
        return paths[:count]

    def studies(self) -> set[str]:
        """The StudyInstanceUIDs that the destination holds."""
        found = set()
        for path in self.received.iterdir():
            with suppress(Exception):  # being written
                found.add(str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID))
        return found


def main() -> None:
    """Run, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="end after so long, whatever is missing")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), asked.seed)
        write_bundle(run.folder / "bundle")
        uids = write_studies(run.folder / "studies", asked.studies)
        run.start_archive()
        run.start_node()
        threads = [threading.Thread(target=run.watch), threading.Thread(target=run.disturb, args=(asked.kills,))]
        for thread in threads:
            thread.start()
        started, end = time.monotonic(), time.monotonic() + 60 * asked.minutes
        waiting, acknowledged = list(uids), set[str]()
        try:
            while waiting and time.monotonic() < end:
                sent = run.send(waiting[:_AT_ONCE])
                acknowledged |= {uids[path] for path in sent}
                if len(sent) < len(waiting[:_AT_ONCE]):
                    run.fault("association lost or refused")
                    time.sleep(0.5)
                waiting = waiting[len(sent) :]
            sending = time.monotonic() - started
            threads[1].join()
            while acknowledged - run.studies() and time.monotonic() < end:
                time.sleep(0.5)
            seconds = time.monotonic() - started
            received = run.studies()
            objects = len(list(run.received.iterdir()))
            time.sleep(1)
            left = len(list(run.spool.rglob("*.dcm")))
        finally:
            run.over.set()
            for thread in threads:
                thread.join()
            for process in (run.node, run.archive):
                process.kill()
                process.wait()
        secret = any(word in run.log.read_text() for word in ("DOE", "MRN-4711"))
    table(
        ("studies acknowledged", "received by the destination", "lost", "objects received", "files left in the spool"),
        [(len(acknowledged), len(received), len(acknowledged - received), objects, left)],
    )
    table(("fault", "times"), sorted(run.faults.items()))
    table(
        ("seconds to send all", "seconds to the last report", "studies a second", "peak memory of the node, MiB"),
        [(f"{sending:.0f}", f"{seconds:.0f}", f"{len(received) / seconds:.2f}", f"{run.peak / 1024:.0f}")],
    )
    if secret or acknowledged - received or len(acknowledged) < asked.studies:
        sys.exit("studies are lost, or patient data are in the log")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
