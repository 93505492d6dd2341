"""Use by other systems of a hospital: the DICOM node, and the folders of orchestrators."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import BUNDLE, BundleFolder, BurnedInText, Kinds, command
from cxrflow.cli.use import SOME_LEFT_OUT
from cxrflow.terminal import say
from cxrflow.text import name_text

commands = typer.Typer()


@command(
    commands,
    "Use",
    "cxrflow dicom-node --to PACS@192.0.2.7:104 --host 0.0.0.0 --calling PACS",
    name="dicom-node",
)
def dicom_node(
    to: Annotated[str, typer.Option(help="Node that results are sent to: AET@HOST:PORT.")],
    bundle: BundleFolder = BUNDLE,
    aet: Annotated[str, typer.Option(help="AE title of this node.")] = "CXRFLOW",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0: a free one.")] = 11_112,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all.")] = "127.0.0.1",
    calling: Annotated[
        list[str] | None, typer.Option(help="Calling AE title that is accepted; repeatable. Default: any.")
    ] = None,
    spool: Annotated[Path, typer.Option(help="Folder for images and results until they are sent.")] = Path("spool"),
    spool_gb: Annotated[float, typer.Option(help="Largest size of the spool (GB).")] = 20.0,
    quiet_seconds: Annotated[
        float, typer.Option(min=0, help="Time without a new image after which a study is complete (s).")
    ] = 30.0,
    kinds: Kinds = "sr",
    burned_in_text: BurnedInText = False,
) -> None:
    """Receive radiographs by C-STORE, and send results to another DICOM node. Research software: not for diagnosis.

    Runs until it is stopped (SIGTERM, Ctrl-C). May be killed at any moment: nothing that it acknowledged is lost.
    """
    from cxrflow.outputs.dicom_files import kinds_named
    from cxrflow.serving.nodes import destination, listening

    called, receiver = listening(aet, host, port, calling or []), destination(to)
    from cxrflow.serving.dicom_node import run_node

    run_node(bundle, spool, called, receiver, kinds_named(kinds), quiet_seconds, round(spool_gb * 1e9), burned_in_text)


@command(commands, "Use", "cxrflow folder-job --bundle bundle --kinds sr,sc", name="folder-job")
def folder_job(
    bundle: Annotated[Path, typer.Option(envvar="CXRFLOW_BUNDLE", help="Folder of the bundle.")] = BUNDLE,
    kinds: Kinds = "sr",
    burned_in_text: BurnedInText = False,
) -> None:
    """Score the DICOM files of one folder, and write DICOM results into another: one job of an orchestrator.

    The environment names the folders: CXRFLOW_IN and CXRFLOW_OUT, or MERCURE_IN_DIR and MERCURE_OUT_DIR. Exit status 3
    if some files could not be scored, or have no object; 1 if no object could be made at all.
    """
    from cxrflow.outputs.dicom_files import kinds_named
    from cxrflow.serving.folder_job import folders, run_job

    images, results = folders(os.environ)
    job = run_job(bundle, images, results, kinds_named(kinds), burned_in_text)
    say(f"{name_text(results)}: {job}")
    if job.left_out:
        raise typer.Exit(SOME_LEFT_OUT if job.objects else 1)
