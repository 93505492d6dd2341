"""What is known of a public collection before one has it: where it is, on what terms, how much of it there is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remote:
    """One file at a public address.

    url     its address
    path    what it is called in the collection's folder, with "/" between folders
    digest  published checksum, ``md5:<hexadecimal>`` or ``sha256:<hexadecimal>``; None if none is known
    size    in bytes; None if unknown
    unpack  for an archive: the subfolder of the collection to unpack it into ("" for the collection's folder itself);
            the archive is then removed. None for a file that is kept
    strip   folder that all names in the archive begin with and that is left out: ``chest_xray``
    """

    url: str
    path: str
    digest: str | None = None
    size: int | None = None
    unpack: str | None = None
    strip: str = ""


@dataclass(frozen=True, slots=True)
class Git:
    """A git repository; ``commit`` is the full name of the one that is fetched, None for the newest."""

    url: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Http:
    """Files that anybody may download."""

    files: tuple[Remote, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Files in folders of a bucket, each folder with an ``index.json`` that lists it (as Amazon S3 lists objects)."""

    url: str
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhysioNet:
    """A project of PhysioNet: every file that its ``SHA256SUMS.txt`` lists, with the user's credentials.

    url  of the version: ``https://physionet.org/files/vindr-cxr/1.0.0``
    """

    url: str


@dataclass(frozen=True, slots=True)
class Kaggle:
    """What Kaggle's own client downloads with the user's key: one zip archive.

    kind   its subcommand
    name   of the competition, or ``owner/name`` of the dataset
    strip  as of Remote
    files  further files, from elsewhere
    """

    kind: str
    name: str
    strip: str = ""
    files: tuple[Remote, ...] = ()


@dataclass(frozen=True, slots=True)
class ByHand:
    """What cannot be fetched automatically, or may not be: the steps, one sentence each."""

    steps: tuple[str, ...]


Way = Git | Http | Listing | PhysioNet | Kaggle | ByHand


@dataclass(frozen=True, slots=True)
class Published:
    """A collection as it is published.

    title      its name
    page       where it is described, and registered for
    licence    in words
    terms      where the licence is stated
    cite       the publication to cite, with its DOI or arXiv number
    way        how it is obtained
    images     number of images that its tables list, in each version; empty if no number is published or several
               versions differ in ways that no number tells
    size       in bytes, all of it on disk; None if unknown
    size_from  who says so
    checksums  what it can be checked against, in words; None if no checksums are published
    known      names of files that are known to be bad where they come from -> what is wrong with them
    then       what is left to do by hand after fetching, one sentence each
    """

    title: str
    page: str
    licence: str
    terms: str
    cite: str
    way: Way
    images: tuple[int, ...] = ()
    size: int | None = None
    size_from: str = ""
    checksums: str | None = None
    known: tuple[tuple[str, str], ...] = ()
    then: tuple[str, ...] = ()
