"""The receiving side of the DICOM node: C-ECHO and C-STORE (PS3.4, annexes A and B), bounded in every respect.

An image is acknowledged when it is in the spool, and refused with a status that says why where it cannot be.
"""

import io
import logging
import re

import pynetdicom
from pydicom import Dataset
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag
from pydicom.uid import UID, AllTransferSyntaxes, DeflatedExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when it is imported

from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.reading.attributes import text
from cxrflow.reading.guard import guarded
from cxrflow.serving.flow import SHOWN
from cxrflow.serving.nodes import Listening
from cxrflow.serving.spool import Full, Spool, digest_of
from cxrflow.text import clean

LOG = logging.getLogger(__name__)

#: SOP classes of what reading takes for a radiograph. Of the multi-frame ones it reads objects of one frame.
SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
)
#: SOP classes of cxrflow's own results, beside Secondary Capture: an archive that forwards everything sends them back.
_RESULTS = (
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
)
#: Largest image that is accepted (bytes); it is held in memory while it arrives.
LARGEST = 128 * 1024**2
#: Associations at a time.
ASSOCIATIONS = 10
#: Largest PDU that is asked for, and largest that is taken (bytes).
_PDU, _LARGEST_PDU = 65_536, 1024**2
#: How long the other side may be silent (seconds).
_PATIENCE = 60
#: Part of an image in which its UIDs are searched (bytes): what stands before them is small, unless it is hostile.
_HEAD = 1024**2
#: Archives file by the characters of a UID, also if PS3.5, 9.1, would not have it so (0 before another digit).
_UID = re.compile(r"[0-9.]{1,64}")
#: Manufacturer of cxrflow's own objects.
MANUFACTURER = "cxrflow"
_STUDY = Tag("StudyInstanceUID")
#: Answers to C-STORE (PS3.4, B.2.3).
SUCCESS, OUT_OF_RESOURCES, NOT_OF_THE_CLASS, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000


def transfer_syntaxes() -> list[UID]:
    """The transfer syntaxes whose pixels can be decoded here. Deflated is not among them: it would have to be inflated,
    to any size, before the UIDs are known."""
    found = []
    for syntax in AllTransferSyntaxes:
        try:
            if syntax != DeflatedExplicitVRLittleEndian and get_decoder(syntax).is_available:
                found.append(syntax)
        except NotImplementedError:
            continue
    return found


def listen(listening: Listening, spool: Spool) -> tuple[AE, int]:
    """Start to take images into a spool, in threads of their own. Returns the entity, whose ``shutdown`` ends this, and
    the port.

    Raises CxrflowError if the port cannot be listened at.
    """
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"  # its lines describe messages, with their UIDs
    entity = AE(listening.title)
    entity.require_called_aet, entity.require_calling_aet = True, list(listening.calling)
    entity.maximum_associations, entity.maximum_pdu_size = ASSOCIATIONS, _PDU
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _PATIENCE
    entity.add_supported_context(Verification)
    for sop_class in (*SOP_CLASSES, *_RESULTS):
        entity.add_supported_context(sop_class, transfer_syntaxes())
    handlers: list[evt.EventHandlerType] = [
        (evt.EVT_CONN_OPEN, _limit_pdus),
        (evt.EVT_PDU_RECV, _limit_image),
        (evt.EVT_REJECTED, _say_refused),
        (evt.EVT_C_STORE, _store, [spool]),
    ]
    try:
        server = entity.start_server((listening.host, listening.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise CxrflowError(
            f"{listening.host}:{listening.port}: cannot be listened at ({error.strerror}); name another one."
        ) from None
    assert server is not None  # noqa: S101
    return entity, server.server_address[1]


class _Discarded(io.BytesIO):
    """Stands for an image that is too large: keeps nothing of it."""

    def write(self, data: object) -> int:
        return 0


def _limit_pdus(event: evt.Event) -> None:
    """Bound what is read at once: pynetdicom reads whatever length a PDU declares, up to 4 GiB."""
    socket = event.assoc.dul.socket
    assert socket is not None  # noqa: S101
    receive = socket.recv

    def bounded(length: int) -> bytearray:
        if length > _LARGEST_PDU:
            raise OSError(f"a PDU of {length:,} bytes")  # ends the connection
        return receive(length)

    socket.recv = bounded  # type: ignore[method-assign, assignment]


def _limit_image(event: evt.Event) -> None:
    """Discard an image that is too large while it arrives."""
    message = event.assoc.dimse.message
    if message is not None and message.data_set is not None and message.data_set.tell() > LARGEST:
        message.data_set = _Discarded()


def _say_refused(event: evt.Event) -> None:
    if asked := event.assoc.requestor.primitive:
        titles = [clean(str(title))[:20] for title in (asked.calling_ae_title, asked.called_ae_title)]
        LOG.warning("an association was refused: %s called %s", *titles)


def _store(event: evt.Event, spool: Spool) -> int:
    """Take one image: the status of its C-STORE."""
    try:
        return _status(event, spool)
    except Full as full:
        LOG.error("an image was refused: %s", full)
        return OUT_OF_RESOURCES
    except LeftOut:  # a decoder's own words may hold the patient's
        LOG.warning("an image was refused: its header cannot be read")
        return CANNOT_UNDERSTAND


def _status(event: evt.Event, spool: Spool) -> int:
    """Raises Full, and LeftOut if it cannot be understood."""
    assert isinstance(event.request, C_STORE)  # noqa: S101
    stream = event.request.DataSet or io.BytesIO()
    if isinstance(stream, _Discarded) or len(stream.getbuffer()) > LARGEST:
        raise Full(f"it has more than {LARGEST / 1e6:,.0f} MB")
    with guarded("DICOM header"):
        meta = event.file_meta
        begin = b"\0" * 128 + b"DICM" + encode_file_meta(meta)
        header = _header(begin + stream.getvalue()[:_HEAD])
        study_uid, image_uid = text(header, "StudyInstanceUID"), text(header, "SOPInstanceUID")
        for name, uid in (("StudyInstanceUID", study_uid), ("SOPInstanceUID", image_uid)):
            if not _UID.fullmatch(uid):
                LOG.warning("an image was refused: its %s is %s", name, "malformed" if uid else "absent")
                return CANNOT_UNDERSTAND
    if (text(header, "SOPClassUID"), image_uid) != (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID):
        LOG.warning("an image was refused: its header has another SOP class or instance than the request")
        return NOT_OF_THE_CLASS
    study = digest_of(study_uid)[:SHOWN]
    if text(header, "Manufacturer") == MANUFACTURER.upper():
        LOG.info("study %s: a result of cxrflow came back, and is not scored", study)
    elif text(header, "SOPClassUID") in _RESULTS:
        LOG.warning("study %s: an object was refused: it is no image", study)
        return NOT_OF_THE_CLASS
    elif not spool.accept(study_uid, [begin, stream.getbuffer()]):
        LOG.info("study %s: an image came again", study)
    return SUCCESS


def _header(content: bytes) -> Dataset:
    """The elements up to the StudyInstanceUID that are needed; the others are passed over."""
    keywords = ("SOPClassUID", "SOPInstanceUID", "Manufacturer", "StudyInstanceUID")
    return read_partial(
        io.BytesIO(content), stop_when=lambda tag, *_: tag > _STUDY, specific_tags=[Tag(each) for each in keywords]
    )
