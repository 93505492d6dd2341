"""DICOM files to a configured node, by C-STORE (PS3.4, annex B)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID
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
    Raises Unreachable if there is no association; CxrflowError if it ends at a file, which may be that file's fault,
    and after the last file if one was not stored. A warning, such as that elements were coerced, means that it is
    stored.
    """
    contexts_of = [_context(path) for path in paths]
    entity = AE(title)
    entity.connection_timeout, entity.acse_timeout, entity.dimse_timeout = _CONNECT, _ASSOCIATE, _STORE
    entity.network_timeout = _STORE
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in dict.fromkeys(contexts_of)]
    association = entity.associate(to.host, to.port, contexts=contexts, ae_title=to.title)
    if not association.is_established:
        why = "it refuses the association" if association.is_rejected else "there is no answer"
        raise Unreachable(f"{to}: {why}")
    try:
        accepted = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
        failed = ""
        for path, context in zip(paths, contexts_of, strict=True):
            if context not in accepted:
                failed = f"{to} does not take objects of the class {context[0].name}"
                continue
            status = association.send_c_store(path).get("Status") if association.is_established else None
            if status is None:
                raise CxrflowError(f"{to}: the association ended, or there was no answer, before an object was stored")
            if status == 0x0000 or status >> 12 == 0xB:  # Bxxx: stored, with a warning (PS3.4, B.2.3)
                yield path
            else:
                failed = f"{to} answered an object with the status 0x{status:04X}"
        if failed:
            raise CxrflowError(failed)
    finally:
        if association.is_established:
            association.release()


def _context(path: Path) -> tuple[UID, UID]:
    """SOP class and transfer syntax of a file, which is not read further: those of a study need not fit into memory."""
    file = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    return file.SOPClassUID, file.file_meta.TransferSyntaxUID
