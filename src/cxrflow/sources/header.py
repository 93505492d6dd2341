"""Which column of a user's own table means what: as ``columns.yaml`` says, else by the common names of columns."""

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from cxrflow.columns import PLACE, REQUIRED, ROLES, Columns
from cxrflow.errors import CxrflowError, ended, one_line
from cxrflow.params import problems_in
from cxrflow.sources.delimited import plain
from cxrflow.yaml_files import read_yaml

COLUMNS_FILE = "columns.yaml"
#: Common names of the columns, in large languages. Names of several meanings (ID, name, case, image ID, study) are not
#: among them.
_NAMES = {
    "path": (
        "path, file path, file, file name, image path, image file, image name, image, img, img path, DICOM file, "
        "DICOM path, Datei, Dateiname, Dateipfad, Pfad, Bild, Bilddatei, Bildname, Bildpfad, fichier, "
        "nom du fichier, nom fichier, chemin, archivo, nombre archivo, nombre de archivo, ruta, imagen, arquivo, "
        "nome do arquivo, caminho, imagem, nome file, percorso, immagine, bestand, bestandsnaam, pad, "
        "afbeelding, plik, nazwa pliku, ścieżka, obraz, dosya, dosya adı, dosya yolu, görüntü, файл, имя файла, "
        "путь, изображение, 文件, 文件名, 路径, 图像, 影像, ファイル, ファイル名, パス, 画像, 파일, 파일명, "
        "경로, 영상, الملف, اسم الملف, المسار, फ़ाइल, फ़ाइल का नाम"
    ),
    "label": (
        "label, labels, class, category, diagnosis, dx, finding, findings, Diagnose, Befund, Klasse, diagnostic, "
        "étiquette, classe, diagnóstico, etiqueta, clase, hallazgo, achado, rótulo, diagnosi, etichetta, "
        "reperto, bevinding, rozpoznanie, diagnoza, etykieta, tanı, teşhis, bulgu, диагноз, метка, 诊断, 診斷, "
        "诊断结果, 标签, 診断, 所見, ラベル, 진단, 진단명, 소견, 라벨, التشخيص, निदान"
    ),
    "patient": (
        "patient, patient ID, pat ID, PID, patient no, patient number, patient nr, subject, subject ID, MRN, "
        "Patienten-ID, Patientennummer, Patienten-Nr, Pat-Nr, ID patient, numéro patient, paciente, ID paciente, "
        "paziente, ID paziente, patiënt, patiëntnummer, pacjent, ID pacjenta, hasta, hasta no, hasta ID, "
        "пациент, ID пациента, 患者, 患者ID, 患者编号, 患者番号, 病人ID, 환자, 환자ID, 환자번호, المريض, "
        "رقم المريض, रोगी, मरीज"
    ),
    "finding": "finding",
    "view": (
        "view, view pos, view position, projection, Aufnahmerichtung, Projektion, Strahlengang, incidence, "
        "proyección, projeção, proiezione, projectie, projekcja, projeksiyon, проекция, 投照体位, 体位, "
        "撮影方向, 촬영방향"
    ),
    "age": (
        "age, patient age, age years, age in years, Alter, Alter in Jahren, âge, edad, idade, età, leeftijd, "
        "wiek, yaş, возраст, 年龄, 年齡, 年齢, 나이, 연령, العمر, उम्र, आयु"
    ),
    "sex": (
        "sex, gender, patient sex, patient gender, Geschlecht, sexe, genre, sexo, género, gênero, sesso, genere, "
        "geslacht, płeć, cinsiyet, пол, 性别, 性別, 성별, الجنس, लिंग"
    ),
    "day": "day",
    "url": "url",
}
#: Columns of the tables that this program writes.
_OWN_OUTPUT = frozenset(("image_id", "group_id", "left_out"))
#: Table and columns that belong to a published collection, which has its own reader.
_PUBLISHED = {
    "Data_Entry_2017.csv": (),
    "Data_Entry_2017_v2020.csv": (),
    "train_image_level.csv": ("studyinstanceuid",),
    "data.csv": ("patient_id", "image_id", "admission_offset"),
    "stage_2_train_labels.csv": (),
    "metadata.csv": ("patientid", "offset", "finding"),
}


@dataclass(frozen=True)
class Layout:
    """Which columns of a table are read.

    table    path of the table
    header   names of all its columns
    path     the pattern of the images' paths, each column in braces
    named    role -> column, of those that are read; without path
    columns  what ``columns.yaml`` says
    where    names ``columns`` in errors
    unsure   role -> columns that could have it
    """

    table: Path
    header: tuple[str, ...]
    path: str
    named: dict[str, str]
    columns: Columns
    where: str
    unsure: dict[str, list[str]]

    @property
    def of_path(self) -> list[str]:
        """The columns that paths are made of."""
        return list(dict.fromkeys(PLACE.findall(self.path)))

    def sentence(self) -> str | None:
        """Which columns were taken for which, in words; None if all have the plain names of their roles."""
        pairs = {"path": self.path.strip("{}") if self.path.count("{") == 1 else self.path} | self.named
        if all(plain(column) == role for role, column in pairs.items()):
            return None
        return f"{self.table.name} is read as {', '.join(f'{role} = {column}' for role, column in pairs.items())}"


def layout_of(table: Path, header: Sequence[str], columns: Columns, where: str) -> Layout:
    """The columns of a table.

    where  as in Layout
    Raises CxrflowError if a column that ``columns`` names is not there, or one of REQUIRED is not certain.
    """
    for role in ROLES:
        column = columns.column(role)
        for name in PLACE.findall(column or "") if role == "path" and "{" in (column or "") else [column]:
            if name is not None and plain(name) not in map(plain, header):
                near = difflib.get_close_matches(plain(name), [plain(column) for column in header], n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise CxrflowError(
                    f"{where}: {role}: {table.name} has no column {one_line(name, 80)}; {hint}It has {_listed(header)}."
                )
    named, unsure = guess(header, columns)
    lacking = [role for role in REQUIRED if role not in named and not (role == "patient" and _none(columns, role))]
    if lacking:
        several = [f"{role} may be {' or '.join(unsure[role])}" for role in lacking if role in unsure]
        why = f", {'; '.join(several)}" if several else ""
        raise CxrflowError(
            f"{table}: column {', '.join(lacking)} is missing{why} (found: {_listed(header)}); name it in a "
            f"{COLUMNS_FILE}: `cxrflow sources {table.parent}` gives one to start from."
        )
    path = named.pop("path")
    pattern = path if PLACE.search(path) else f"{{{path}}}"
    return Layout(table, tuple(header), pattern, named, columns, where, unsure)


def guess(header: Sequence[str], columns: Columns) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Role -> column, where ``columns`` or the names leave no doubt; and role -> columns that could have it."""
    named: dict[str, str] = {}
    unsure: dict[str, list[str]] = {}
    for role in ROLES:
        if (column := columns.column(role)) is not None:
            named[role] = column
    for role in ROLES:
        if role in named or _none(columns, role):
            continue
        taken = {plain(column) for column in named.values()}
        free = [name for name in header if plain(name) not in taken]
        exact = [name for name in free if plain(name) == role]
        fits = exact[:1] or [name for name in free if _key(name) in _known_names()[role]]
        if len(fits) == 1:
            named[role] = fits[0]
        elif fits:
            unsure[role] = fits
    return {role: named[role] for role in ROLES if role in named}, unsure


def is_published(table: Path, header: Sequence[str]) -> bool:
    """Whether the table is one of a published collection."""
    needs = _PUBLISHED.get(table.name)
    return needs is not None and set(needs) <= {plain(name) for name in header}


def is_output(header: Sequence[str]) -> bool:
    """Whether the table is one that a stage wrote, such as ``records.csv``."""
    return set(header) >= _OWN_OUTPUT


def read_columns(path: Path) -> Columns:
    """What a ``columns.yaml`` says. Raises CxrflowError naming file and key."""
    try:
        return Columns.model_validate(read_yaml(path, COLUMNS_FILE))
    except ValidationError as error:
        raise CxrflowError(f"{path}: {ended(problems_in(error, Columns))} Correct the key and run again.") from None


def _none(columns: Columns, role: str) -> bool:
    """Whether ``columns`` says that there is no such column."""
    return role in columns.model_fields_set and columns.column(role) is None


@cache
def _known_names() -> dict[str, frozenset[str]]:
    return {role: frozenset(map(_key, names.split(", "))) for role, names in _NAMES.items()}


def _key(name: str) -> str:
    """A column name as it is compared: letters and digits alone, without case and accents."""
    bare = unicodedata.normalize("NFKD", name.casefold().replace("ı", "i").replace("ł", "l"))
    return "".join(c for c in bare if c.isalnum())


def _listed(header: Sequence[str]) -> str:
    return one_line(", ".join(filter(None, header)), 300) or "no columns"
