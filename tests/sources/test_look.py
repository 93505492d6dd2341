"""The look into a folder, before any run."""

import pytest
import yaml
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.columns import Columns
from cxrflow.errors import CxrflowError
from cxrflow.sources import find_collections, read_collections
from cxrflow.sources.collection import Options
from cxrflow.sources.look import look

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(files: dict[str, str | bytes]):
        for name, content in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "root"

    return write


@pytest.fixture
def said(capsys):
    def run(folder, **options) -> str:
        look(folder, Options(**options.pop("options", {})), **options)
        return " ".join(capsys.readouterr().out.split())

    return run


def test_published_collections_with_their_tables_files_and_unknown_words(make_tiny, said) -> None:
    for name in ("nih", "figure1", "rsna"):
        tiny = make_tiny(name)
        if tiny.unknown:
            tiny.add(tiny.unknown)
        folder = tiny.write()
    (folder.parent / "Figure1-COVID-chestxray-dataset" / "images").mkdir()
    (folder.parent / "Figure1-COVID-chestxray-dataset" / "images" / "COVID-00002.png").write_bytes(PNG)
    text = said(folder.parent, options={"rsna_without_patients": "accept"})
    assert "Data_Entry_2017.csv: UTF-8, separated by commas; 5 rows" in text
    assert "0 of 5 images are there; not there, for example" in text
    assert "1 of 4 images are there" in text
    assert "1 label not known to nih: 'Banana' (1)" in text
    assert "collection rsna stage_2_train_labels.csv" in text


def test_the_masks_of_the_demo_are_no_collection(make_tiny, said) -> None:
    demo = make_tiny("nih").write().parent
    for kind in ("lungs", "opacity"):
        (demo / "truth" / kind).mkdir(parents=True)
        (demo / "truth" / kind / "1.png").write_bytes(PNG)
    assert "truth" not in said(demo)
    (demo / "truth" / "opacity").rename(demo / "truth" / "masks")  # of somebody else
    assert "truth" in said(demo)


def test_a_collection_that_cannot_be_read_does_not_end_the_look(make_tiny, said) -> None:
    for name in ("nih", "rsna"):
        folder = make_tiny(name).write()
    (folder / "nih_mapping.csv").unlink()
    text = said(folder.parent)
    assert "cannot be read: " in text
    assert "Data_Entry_2017.csv" in text


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("Data_Entry_2017_v2020.csv", "Image Index,Finding Labels,Patient ID"),
        ("train_image_level.csv", "id,boxes,label,StudyInstanceUID"),
        ("data.csv", "patient_id,image_id,sex,admission_offset"),
    ],
)
def test_a_published_collection_in_a_folder_of_another_name_is_no_own_one(root, said, name, columns) -> None:
    text = said(root({f"mine/{name}": f"{columns}\na,b,c,d\n", "mine/a.png": PNG}))
    assert f"has {name}, a table of a published collection; give the folder its published name" in text


def test_words_and_files_of_an_own_table_are_counted(root, said) -> None:
    rows = "".join(f"{n}.png,word{n % 12},p{n}\n" for n in range(120)) + "a.png,normal,p\n"
    text = said(root({"mine/t.csv": f"Datei,Befund,PID\n{rows}", "mine/a.png": PNG, "mine/b.png": PNG}))
    assert "1 of 121 images are there; not there, for example: " in text
    assert "mine/0.png" in text
    assert "images that no row lists: 1 *.png" in text
    assert "'word9' (10) and others (20)" in text  # the ten commonest, and how many more
    assert "word11: null # 10 rows" in text  # in the columns.yaml, all of them


def test_columns_are_found_by_their_cells_and_written_to_be_checked(root, said) -> None:
    files = {f"mine/i/x{n}.png": PNG for n in range(4)}
    table = "foo\tbar\tbaz\n" + "".join(f"x{n}\t{['normal', 'Pneumonie', 'TB', 'xyz'][n]}\t{n}\n" for n in range(4))
    place = root(files | {"mine/t.tsv": table.encode("utf-16-le")})
    assert "UTF-16-LE, separated by tabs; columns foo, bar, baz" in said(place, write=True)
    written = (place / "mine" / "columns.yaml").read_text()
    assert Columns.model_validate(yaml.safe_load(written)) == Columns.model_validate(
        {"table": "t.tsv", "path": "foo", "label": {"column": "bar", "words": {"xyz": None}}}
    )
    # who the patients are, nobody guesses
    with pytest.raises(CxrflowError, match="column patient is missing"):
        list(read_collections(*find_collections(place), Options()))
    (place / "mine" / "columns.yaml").write_text(f"{written}\npatient: baz\n")
    records = list(read_collections(*find_collections(place), Options()))
    assert [r.path for r in records] == [f"mine/i/x{n}.png" for n in range(4)]


@pytest.mark.parametrize(
    ("encoding", "table"),
    [
        ("gb18030", "文件名,诊断,患者ID,性别\na.png,肺炎,1,男\nb.png,正常,2,女\n"),
        ("shift_jis", "file,label,patient,sex\na.png,肺炎,1,男性\nb.png,異常なし,2,女性\n"),
        ("euc_kr", "파일명,진단,환자번호,성별\na.png,폐렴,1,남\nb.png,정상,2,여\n"),
        ("cp1251", "Файл;Диагноз;Пациент;Пол\na.png;пневмония;1;М\nb.png;норма;2;Ж\n"),
        ("cp1250", "plik;rozpoznanie;pacjent;płeć\na.png;zapalenie płuc;1;mężczyzna\nb.png;bez zmian;2;kobieta\n"),
        ("cp1254", "dosya;tanı;hasta;cinsiyet\na.png;zatürre;1;Erkek\nb.png;normal;2;Kadın\n"),
    ],
)
def test_encodings_that_bytes_do_not_tell_are_found_by_known_words(root, said, encoding, table) -> None:
    place = root({"mine/t.csv": table.encode(encoding), "mine/a.png": PNG, "mine/b.png": PNG})
    said(place, write=True)
    assert f"encoding: {encoding}\n" in (place / "mine" / "columns.yaml").read_text(encoding="utf-8")
    records = list(read_collections(*find_collections(place), Options()))
    assert [(r.findings, r.sex, r.left_out) for r in records] == [
        (("pneumonia",), "M", None), (("no finding",), "F", None),
    ]  # fmt: skip


def test_folders_called_after_what_they_show_give_a_table_without_patients(root, said) -> None:
    place = root({f"{side}/{kind}/{n}.png": PNG for side in ("a", "b") for kind in ("NORMAL", "Odd") for n in (1, 2)})
    text = said(place, write=True)
    assert "8 images and no table Folders name what the images show: NORMAL (4), Odd (4, not known)" in text
    assert "PATIENTS ARE NOT KNOWN" in text
    records = list(read_collections(*find_collections(place), Options()))
    assert [r.left_out for r in records] == [None, None, "unknown label (Odd)", "unknown label (Odd)"] * 2
    assert {r.patient_id for r in records} == {None}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.png": PNG, "b.png": PNG}, "2 images and no table Write a table (CSV or Excel) with the columns path"),
        ({"notes.docx": b"x"}, "no table and no image"),
        ({"deep/inner/t.csv": "path,label,patient\n", "deep/a.png": PNG}, "deep: holds collections (inner)"),
        ({"zip-master/metadata.csv": "patientid,offset,finding,filename\n"}, "a table of a published collection"),
        (
            {"out/records.csv": "image_id,path,label,patient_id,group_id,left_out\n"},
            "holds what `cxrflow metadata` wrote",
        ),
        (
            {"mine/a.csv": "path,label,patient\n", "mine/b.csv": "path,label,patient\n"},
            "2 tables with columns for path",
        ),
        ({"mine/t.csv": b"PK\x03\x04damaged"}, "not a readable Excel table"),
        ({"mine/t.csv": ""}, "mine/t.csv"),
    ],
)
def test_what_is_no_collection_is_said_with_what_to_do(root, said, files, says) -> None:
    place = root(files)
    before = sorted(place.rglob("*"))
    assert says in said(place)
    assert sorted(place.rglob("*")) == before  # looking writes nothing


def test_texts_and_tables_beside_collections_do_not_hide_them(root, said) -> None:
    mine = {"mine/t.csv": "path,label,patient\na.png,normal,1\n"}
    text = said(root(mine | {"README.txt": "Read me, please\n", "LICENSE.txt": "Free\n", "list.csv": "a,b\n1,2\n"}))
    assert "mine: your own collection" in text


def test_an_output_folder_is_no_collection(root) -> None:
    table = "path,label,patient\na.png,normal,1\n"
    place = root(
        {
            "out/records.csv": "image_id,path,label,patient_id,group_id,left_out\n",
            "out/t.csv": table,
            "mine/t.csv": table,
        }
    )
    assert [folder for _, folder in find_collections(place)[1]] == ["mine"]


def test_without_a_folder_the_collections_are_listed() -> None:
    assert "nih-chestxray14" in CliRunner().invoke(app, ["sources"]).output
    assert CliRunner().invoke(app, ["sources", "nowhere"]).exception is not None


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"mine/t.csv": "path,label,patient\na.png,normal,p\n", "mine/a.png": PNG}, 0),
        ({"mine/t.csv": "picture,diagnosis,who\na.png,normal,p\n", "mine/a.png": PNG}, 0),  # not read yet, and says so
        ({"mine/t.csv": "path,label,patient\na.png,normal,p\n", "mine/columns.yaml": "sax: Sex"}, 1),
        ({"mine/a.csv": "path,label,patient\n", "mine/b.csv": "path,label,patient\n"}, 1),
        ({"mine/t.csv": b"PK\x03\x04damaged"}, 1),
        ({"notes.docx": b"x"}, 1),
    ],
)
def test_the_exit_status_tells_whether_all_can_be_read(root, files, status) -> None:
    done = CliRunner().invoke(app, ["sources", str(root(files))])
    assert done.exit_code == status, done.output
    assert ("cannot be read: " in done.output) == ("mine/columns.yaml" in files or "mine/b.csv" in files)


def test_it_is_said_why_nothing_is_written(root, said) -> None:
    folder = root({"table.csv": "path,label,patient\na.png,normal,p1\n", "a.png": PNG})
    assert "All is read; it needs no columns.yaml" in said(folder, write=True)
    assert "columns.yaml" not in said(folder)
    (folder / "columns.yaml").write_text("patient: patient\n")
    text = said(folder, write=True)
    assert "1 of 1 image is there columns.yaml is read: it says which columns and words are meant" in text
    assert "columns.yaml is there already" in text


def test_a_misspelt_published_folder_is_met_with_its_name(root, said) -> None:
    place = root({"Chest-Xray/train/NORMAL/IM-0115-0001.jpeg": PNG})
    says = "Chest-Xray: not read; did you mean chest_xray? Give the folder this name."
    assert says in said(place)
    assert says in said(place / "Chest-Xray")
    with pytest.raises(CxrflowError, match=r"no collection found; .* Chest-Xray: did you mean chest_xray\?"):
        find_collections(place)
