"""A hospital's export as it is: names of columns, words, encodings and folders that nobody has prepared."""

import csv
import io
from collections import Counter
from pathlib import Path

import openpyxl
import pydicom
import pytest
import yaml as yaml_parser
from pydicom.dataset import FileDataset, FileMetaDataset
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.columns import Columns
from cxrflow.errors import CxrflowError
from cxrflow.metadata import counts, stage
from cxrflow.params import Sources
from cxrflow.params_file import resolved_yaml
from cxrflow.sources import find_collections, read_collections
from cxrflow.sources.collection import Options
from cxrflow.sources.header import guess
from cxrflow.sources.look import look

HEADER = ["StudyUID", "Accession", "Filename", "Diagnosis", "PatID", "Sex", "Age", "ViewPos", "Date"]
LABELS = {"unauffällig": "no finding", "Lungenentzündung": "pneumonia", "COVID-19": "pneumonia/viral/covid-19"}


def rows() -> list[list[str]]:
    return [
        [
            *(f"1.2.3.{n}", f"A{n:05}", "IM-0001", list(LABELS)[n % 3], f"PAT{n:03}", ["männlich", "weiblich"][n % 2]),
            *(f"{30 + n % 50}", ["PA", "AP"][n % 2], f"{1 + n % 28:02}.03.2021"),
        ]
        for n in range(1, 151)
    ]


@pytest.fixture
def export(tmp_path) -> Path:
    """150 DICOM files, half of them without an extension, and a table in Windows-1252 separated by semicolons."""
    root = tmp_path / "export"
    for n in range(1, 151):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.PatientID, data.Modality = f"PAT{n:03}", "DX"
        file = root / f"PAT{n:03}" / "ST000" / "SE001" / ("IM-0001.dcm" if n % 2 else "IM-0001")
        file.parent.mkdir(parents=True)
        data.save_as(file)
    write(root / "export.csv", [HEADER, *rows()])
    return root


def write(path: Path, table: list[list[str]], delimiter: str = ";", encoding: str = "cp1252") -> None:
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in table:
            book.active.append(row)
        book.save(path)
        return
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(table)
    path.write_bytes(text.getvalue().encode(encoding))


def read(root: Path, **options):
    given = Options(**options)
    return list(read_collections(*find_collections(root, columns=given.columns), given)), given.accounts


def as_expected(records) -> None:
    assert len(records) == 150
    for n, (record, row) in enumerate(zip(records, rows(), strict=True), start=1):
        assert record.path == f"export/PAT{n:03}/ST000/SE001/IM-0001" + (".dcm" if n % 2 else "")
        assert record.findings == (LABELS[row[3]],)
        assert (record.patient_id, record.sex, record.age) == (
            f"export:PAT{n:03}",
            "FM"[row[5] == "männlich"],
            int(row[6]),
        )
        assert (record.view, record.left_out) == (row[7], None)


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [
        ("export.csv", ";", "cp1252"), ("Export.CSV", ",", "utf-8-sig"), ("e.tsv", "\t", "utf-16-le"),
        ("e.txt", "|", "utf-16"), ("e.xlsx", "", ""),
    ],
)  # fmt: skip
def test_an_export_is_read_as_it_is(export, name, delimiter, encoding) -> None:
    (export / "export.csv").unlink()
    write(export / name, [HEADER, *rows()], delimiter, encoding)
    records, accounts = read(export)
    as_expected(records)
    said = " ".join(accounts["export"].sentences())
    assert "path = Filename, label = Diagnosis, patient = PatID, view = ViewPos" in said
    assert "150 files found by name alone, such as IM-0001 (PAT001/ST000/SE001/IM-0001.dcm)" in said


def test_every_row_of_an_export_is_counted_by_the_stage(export, demo_params, engine, tmp_path, capsys) -> None:
    sources, how = (
        Sources(root=str(export), collections=None, columns={"exprot": Columns()}),
        demo_params.metadata.model_copy(update={"files": "ignored"}),
    )
    built = stage.run(sources, how, demo_params.task, engine, tmp_path / "data", tmp_path / "results")
    fates = counts.reconciliation(built.table)
    assert dict(zip(fates.fate, fates.rows, strict=True)) == dict.fromkeys(
        ["kept: covid", "kept: normal", "kept: pneumonia"], 50
    )
    said = " ".join(capsys.readouterr().out.split())
    assert "label = Diagnosis" in said
    assert "sources.columns is not used for exprot: no such collection." in said


def test_the_pattern_that_the_look_finds_leads_to_the_same_records(export, monkeypatch) -> None:
    monkeypatch.chdir(export.parent)
    said = CliRunner().invoke(app, ["sources", "export", "--write"]).output
    assert "Windows-1252, separated by semicolons; 150 rows" in said
    assert "150 of 150 images are there" in said
    written = (export / "columns.yaml").read_text(encoding="utf-8")
    assert "path: '{PatID}/ST000/SE001/{Filename}'" in written
    assert "# not read: StudyUID, Accession, Date" in written
    as_expected(read(export)[0])
    # it stays as it is
    (export / "columns.yaml").write_text(f"{written}# mine\n", encoding="utf-8")
    CliRunner().invoke(app, ["sources", "export", "--write"])
    assert (export / "columns.yaml").read_text(encoding="utf-8").endswith("# mine\n")


def own(tmp_path, table, yaml: str | None = None, **options):
    folder = tmp_path / "mine"
    folder.mkdir(exist_ok=True)
    write(folder / "t.csv", table, ",", "utf-8")
    if yaml is not None:
        (folder / "columns.yaml").write_text(yaml, encoding="utf-8")
    return read(folder, with_files=False, **options)


WORDS = [
    ["file", "befund", "pid", "sexo", "alter", "view"],
    ["a.png", "V.a. Pneumonie", "1", "H", "18", "PA"],
    ["b.png", "keine Pneumonie", "2", "M", "12/03/1960", "seitlich"],
    ["c.png", "o.B.", "3", "M", "", "stehend"],
    ["d.png", "", "4", "", "40", ""],
]


def test_what_cannot_be_read_is_named_with_its_count(tmp_path) -> None:
    records, accounts = own(tmp_path, WORDS)
    assert [r.left_out for r in records] == [
        "unknown label (V.a. Pneumonie)", "view is seitlich, not frontal", None, None,
    ]  # fmt: skip
    assert [r.sex for r in records] == ["M", None, None, None]
    assert [r.findings for r in records] == [(), (), ("no finding",), ()]
    said = list(accounts["mine"].sentences())
    assert said[1:] == [
        "not given: label in 1 of 4 rows, view in 1 of 4 rows, age in 1 of 4 rows, sex in 1 of 4 rows.",
        "2 labels are not known: 'V.a. Pneumonie' (1), 'keine Pneumonie' (1); translate them in columns.yaml.",
        "1 views are not known, and kept: 'stehend' (1); translate them in columns.yaml.",
        "1 ages cannot be read: '12/03/1960' (1).",
        "2 sexes are not known: 'M' (2); translate them in columns.yaml.",
        "sex: beside H (hombre, homme), M may be a woman (mujer) or a man; say which by the words of sex.",
    ]


YAML = """
label:
  column: befund
  words: {v.a. pneumonie: pneumonia, Keine Pneumonie: normal}
sex: {column: sexo, words: {M: F}}
age: {column: alter, unit: months}
view: {column: view, words: {stehend: PA, seitlich: lateral}}
"""


def test_columns_yaml_translates_words_and_units(tmp_path, demo_params) -> None:
    name = demo_params.task.finding_named
    records, accounts = own(
        tmp_path, WORDS, YAML, finding_named=lambda word: name(word) or {"o.B.": "no finding"}.get(word)
    )
    assert [r.findings for r in records] == [("pneumonia",), ("no finding",), ("no finding",), ()]
    assert [r.sex for r in records] == ["M", "F", "F", None]
    assert [r.age for r in records] == [1.5, None, None, 3.33]
    assert [r.left_out for r in records] == [None, "view is seitlich, not frontal", None, None]
    assert set(accounts["mine"].unread) == {"age"}


def test_one_view_has_one_name_however_it_is_written(tmp_path) -> None:
    written = ["PA", "p.a.", "pa", "ap", "a.p. liegend", "liegend", "Quatsch", "", "seitlich"]
    table = [["file", "label", "patient", "view"], *([f"{n}.png", "normal", f"{n}", v] for n, v in enumerate(written))]
    known = ["PA", "PA", "PA", "AP", "AP", "AP", None, None, "lateral"]
    (tmp_path / "a").mkdir()
    assert [record.view for record in own(tmp_path / "a", table)[0]] == known
    (tmp_path / "b").mkdir()
    translated, _ = own(tmp_path / "b", table, "view: {column: view, words: {Quatsch: AP, p.a.: frontal}}")
    assert [record.view for record in translated] == ["PA", "frontal", "PA", "AP", "AP", "AP", "AP", None, "lateral"]


def test_a_table_whose_columns_are_in_doubt_is_said_to_be_not_read(tmp_path, demo_params, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "list.csv").write_text("ID;Diagnose\na;normal\n")
    look(tmp_path, Options(finding_named=demo_params.task.finding_named))
    said = " ".join(capsys.readouterr().out.split())
    assert "NOT READ YET: from the names of the columns it is not certain which one is the path or the patient" in said
    with pytest.raises(CxrflowError, match=r"list\.csv does not say which of its columns these are"):
        find_collections(tmp_path)


def test_columns_are_written_as_they_were_given(demo_params) -> None:
    # a key that is not given is looked for, null is none: results/params.yaml must not turn one into the other
    sources = demo_params.sources.model_copy(update={"columns": {"mine": Columns(patient=None, path="a")}})
    written = resolved_yaml(demo_params.model_copy(update={"sources": sources}))
    assert yaml_parser.safe_load(written)["sources"]["columns"] == {"mine": {"patient": None, "path": "a"}}


def test_parameters_replace_the_file(tmp_path) -> None:
    columns = {"mine": Columns.model_validate({"label": "pid", "patient": None})}
    records, _ = own(tmp_path, WORDS, YAML, columns=columns)
    assert Counter(r.left_out for r in records)["unknown label (4)"] == 1
    assert {r.patient_id for r in records} == {None}


def test_codes_are_read_as_columns_yaml_says_and_never_guessed(tmp_path) -> None:
    table = [["path", "label", "patient", "sex"], ["a.png", "0", "1", "1"], ["b.png", "1.0", "2", "2.0"]]
    records, _ = own(tmp_path, table)
    assert [(r.findings, r.sex) for r in records] == [((), None)] * 2
    yaml = 'label: {column: label, words: {"0": normal, "1": pneumonia}}\nsex: {column: sex, words: {"1": M, "2": F}}'
    records, _ = own(tmp_path, table, yaml)
    assert [(r.findings, r.sex) for r in records] == [(("no finding",), "M"), (("pneumonia",), "F")]


def test_the_columns_yaml_of_the_documents_is_valid() -> None:
    document = (Path(__file__).parents[2] / "docs" / "my-hospital.md").read_text(encoding="utf-8")
    example = yaml_parser.safe_load(document.split("```yaml")[1].split("```")[0])
    assert set(example) == set(Columns.model_validate(example).model_fields_set)


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("sax: Sex", "columns.yaml: sax: unknown key; did you mean sex"),
        ("sex: {column: sexo, words: {m: man}}", "columns.yaml: sex.words.m: Input should be 'M' or 'F'"),
        ("sex: {words: {m: M}}", "columns.yaml: sex.column: Field required"),
        ("label: null", "columns.yaml: label: name a column"),
        ("path: '{}.png'", "columns.yaml: path: .* has no column in braces"),
        ("path: '{pod}/{file}'", "columns.yaml: path: t.csv has no column pod; did you mean pid?"),
        ("label: {column: befund, words: {x: nrmal}}", "columns.yaml: label.words: nrmal, for 'x', is neither a class"),
        ("label: {column: befund, words: {no: normal}}", "columns.yaml: line 1: the key no is not read as text"),
        ("table: ../t.csv", "columns.yaml: table: ../t.csv is no file in"),
        ("encoding: hex", "columns.yaml: encoding: hex is no encoding; such as gb18030"),
        ("table: u.csv", "columns.yaml: table: u.csv is no file in"),
        ("age: {column: alter, unit: decades}", "columns.yaml: age.unit: Input should be"),
    ],
)
def test_a_wrong_columns_yaml_is_one_sentence_with_file_and_key(tmp_path, yaml, says) -> None:
    with pytest.raises(CxrflowError, match=says) as stopped:
        own(tmp_path, WORDS, yaml)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("header", "named", "unsure"),
    [
        ("path,label,patient,file,finding", "path,label,patient,-,finding", ""),
        ("Dateiname,Befund,Patienten-ID,Alter,Geschlecht", "path,label,patient,age,sex", ""),
        ("文件名,诊断,患者ID,性别", "path,label,patient,sex", ""),
        ("file,image,label,patient_id", "-,-,label,patient", "path"),
        ("File_Path,diagnosis,finding,Subject ID", "path,-,finding,patient", "label"),
        # of several meanings: never guessed
        ("id,name,target,case,gender,study", "-,-,-,-,sex,-", ""),
    ],
)
def test_columns_are_guessed_only_where_one_fits(header, named, unsure) -> None:
    found, doubtful = guess(header.split(","), Columns())
    assert {column: role for role, column in found.items()} == {
        column: role for column, role in zip(header.split(","), named.split(","), strict=True) if role != "-"
    }
    assert ",".join(doubtful) == unsure


def test_a_column_in_doubt_stops_with_the_candidates_and_the_command(tmp_path) -> None:
    with pytest.raises(
        CxrflowError, match=r"t\.csv: column path is missing, path may be file or image .*cxrflow sources"
    ):
        own(tmp_path, [["file", "image", "label", "patient"], ["a", "b", "normal", "1"]])


def test_no_image_of_a_class_names_the_words_that_are_not_known(tmp_path, demo_params, engine) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    table = [
        ["path", "label", "patient"],
        *([f"{n}.png", ["COVID-19", "Pneumonie", "opB"][n % 3], f"{n}"] for n in range(90)),
    ]
    write(folder / "t.csv", table)
    how = demo_params.metadata.model_copy(update={"files": "ignored"})
    with pytest.raises(CxrflowError, match=r"class normal is kept.*unknown label \(30 rows\).*mine.*'opB' \(30\)"):
        stage.run(
            Sources(root=str(folder), collections=None), how, demo_params.task, engine, tmp_path / "d", tmp_path / "r"
        )
