"""DICOM files to a configured node, by C-STORE (PS3.4, annex B)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.presentation import build_context

from cxrflow.errors import CxrflowError
from cxrflow.serving.flow import Unreachable
from cxrflow.serving.nodes import Destination

#: How long to wait for a connection, for the answer to a request for an association, and to that for one object (s).
_CONNECT, _ASSOCIATE, _STORE = 10, 30, 120


def send(title: str, to: Destination, paths: Sequence[Path]) -> Iterator[Path]:
    """Send DICOM files in one association; yields each after the node has stored it.

    title  the AE title to call with
    Raises Unreachable if there is no association, and CxrflowError after the last file if one was not stored. A
    warning, such as that elements were coerced, means that it is stored.
    """
    files = [dcmread(path) for path in paths]
    asked = dict.fromkeys((file.SOPClassUID, file.file_meta.TransferSyntaxUID) for file in files)
    entity = AE(title)
    entity.connection_timeout, entity.acse_timeout, entity.dimse_timeout = _CONNECT, _ASSOCIATE, _STORE
    entity.network_timeout = _STORE
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in asked]
    association = entity.associate(to.host, to.port, contexts=contexts, ae_title=to.title)
    if not association.is_established:
        why = "it refuses the association" if association.is_rejected else "there is no answer"
        raise Unreachable(f"{to}: {why}")
    try:
        accepted = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
        failed = ""
        for path, file in zip(paths, files, strict=True):
            if (file.SOPClassUID, file.file_meta.TransferSyntaxUID) not in accepted:
                failed = f"{to} does not take objects of the class {file.SOPClassUID.name}"
                continue
            status = association.send_c_store(file).get("Status")
            if status is None:
                raise Unreachable(f"{to}: the association ended before an object was stored")
            if status == 0x0000 or status >> 12 == 0xB:  # Bxxx: stored, with a warning (PS3.4, B.2.3)
                yield path
            else:
                failed = f"{to} answered an object with the status 0x{status:04X}"
        if failed:
            raise CxrflowError(failed)
    finally:
        if association.is_established:
            association.release()
