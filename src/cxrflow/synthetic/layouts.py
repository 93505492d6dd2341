"""The published layouts of the collections, filled with synthetic people: images to draw, and tables.

Folders, file names, columns and vocabulary are those of the published collections, including their quirks.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from cxrflow.synthetic.people import (
    SHARES,
    Job,
    Person,
    make_job,
    make_people,
    make_uuid,
    pick,
    share_out,
)

Table: TypeAlias = pd.DataFrame
People: TypeAlias = dict[str, list[Person]]  # by folder
Done: TypeAlias = dict[str, list[Job]]
_SYNTHETIC = "Synthetic radiograph, drawn by cxrflow; not of any person."


def plan(patients: int, seed: int) -> tuple[list[Job], dict[str, Table]]:
    """The images to draw and the tables (path -> table) to write, for ``patients`` people in total.

    RSNA's table of bounding boxes is filled in later, from the drawn opacities.
    """
    counts = share_out(patients, [share for share, _ in SHARES.values()])
    jobs: dict[str, list[Job]] = {}
    tables: dict[str, Table] = {}
    people: People = {}
    for number, (folder, (_, classes)) in enumerate(SHARES.items()):
        rng = np.random.default_rng([seed, number])
        people[folder] = make_people(counts[number], classes, rng)
    for number, (folder, layout) in enumerate(_LAYOUTS.items()):
        rng = np.random.default_rng([seed, number, 1])
        jobs[folder], new = layout(folder, people, jobs, rng)
        tables |= {f"{folder}/{name}": table for name, table in new.items()}
    return [job for some in jobs.values() for job in some], tables


_Drawn: TypeAlias = tuple[list[Job], dict[str, Table]]
_COVID_CHESTXRAY = [
    "patientid", "offset", "sex", "age", "finding", "survival", "intubated", "intubation_present",
    "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature", "pO2_saturation",
    "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date", "location",
    "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes", "Unnamed: 28",
]  # fmt: skip
_FINDINGS = {
    "covid": ("COVID-19",) * 5 + ("COVID-19, ARDS", "Pneumonia/Viral/COVID-19"),
    "normal": ("No Finding",),
    "pneumonia": (
        "Streptococcus", "Pneumonia", "Pneumonia/Bacterial/Klebsiella", "Pneumocystis", "SARS", "Klebsiella",
        "Legionella", "Mycoplasma Bacterial Pneumonia", "Pneumonia/Bacterial/Streptococcus",
    ),
}  # fmt: skip


def _covid_chestxray(folder: str, people: People, _: Done, rng: np.random.Generator) -> _Drawn:
    jobs: list[Job] = []
    rows: list[Any] = []
    last = len(people[folder]) - 1
    for i, person in enumerate(people[folder]):
        finding = pick(rng, *_FINDINGS[person.kind])
        extra = {0: ("X-ray", "L"), 2: ("CT", "Axial"), 4: ("CT", "Coronal"), last: ("X-ray", "L")}.get(i)
        plain = [("X-ray", pick(rng, "PA", "PA", "AP", "AP Supine")) for _ in range(person.images)]
        for k, (modality, view) in enumerate(plain + ([extra] if extra else [])):
            end = pick(rng, "jpg", "jpg", "jpeg", "png")
            name = pick(
                rng,
                rng.bytes(4).hex(),
                make_uuid(rng).upper(),
                f"case-{i + 1}-{'abcd'[k]}",
                f"{16600 + i}_{k + 1}_1",
            )
            common = {
                "patientid": i + 2,
                "offset": 4 * k + int(rng.integers(0, 4)),
                "sex": person.sex,
                "age": person.age,
                "finding": finding,
            }
            rows.append(
                common
                | {
                    "view": view,
                    "modality": modality,
                    "date": pick(rng, "2020", "March 5, 2020", "Mar 4, 2020"),
                    "folder": "images",
                    "filename": f"{name}.{end}",
                    "url": f"https://radiographs.example/covid-chestxray/case-{i + 1}",
                    "license": "CC0",
                    "clinical_notes": _SYNTHETIC,
                }
            )
            job = make_job(
                folder,
                f"images/{name}.{end}",
                person,
                rng,
                channels=pick(rng, 1, 1, 3, 4 if end == "png" else 3),
            )
            jobs.append(job if (modality, view) in plain else replace(job, kind="other"))
    # The published table also lists missing files: CT volumes and a few radiographs.
    for name, where, modality, view in (
        ("case-1-dcm.nii.gz", "volumes", "CT", "Axial"),
        ("case-2-lost.jpg", "images", "X-ray", "PA"),
    ):
        rows.append(rows[0] | {"folder": where, "filename": name, "modality": modality, "view": view})
    return jobs, {"metadata.csv": Table(rows, columns=_COVID_CHESTXRAY)}


_FIGURE1 = [
    "patientid", "offset", "sex", "age", "finding", "survival", "temperature", "pO2 saturation", "view",
    "modality", "artifacts/distortion", "notes",
]  # fmt: skip
_SHORT = {"covid": "COVID-19", "normal": "No finding", "pneumonia": "Pneumonia"}


def _figure1(folder: str, people: People, _: Done, rng: np.random.Generator) -> _Drawn:
    jobs: list[Job] = []
    rows: list[Any] = []
    for i, person in enumerate(people[folder], start=1):
        images = max(person.images, 2 if i in (1, 2) else 1)
        for k in range(images):
            key = f"COVID-{i:05d}" + ("abc"[k] if images > 1 else "")
            age = pick(rng, person.age, person.age, f"{person.age // 10 * 10}+")
            finding = None if (i, k) == (1, 1) else _SHORT[person.kind]  # one of two has no finding, as published
            rows.append(
                {
                    "patientid": key,
                    "offset": int(rng.integers(0, 15)),
                    "sex": person.sex,
                    "age": age,
                    "finding": finding,
                    "view": pick(rng, "PA", "AP", "AP erect", None),
                    "modality": "X-ray",
                    "notes": _SYNTHETIC + " 37 °C",
                }
            )
            jobs.append(make_job(folder, f"images/{key}.{pick(rng, 'jpg', 'jpg', 'png')}", person, rng))
    return jobs, {"metadata.csv": Table(rows, columns=_FIGURE1)}


def _actualmed(folder: str, people: People, _: Done, rng: np.random.Generator) -> _Drawn:
    jobs: list[Job] = []
    rows: list[Any] = []
    for i, person in enumerate(people[folder], start=1):
        for k in range(person.images):
            date = f"202003{int(rng.integers(10, 31))}"
            name = f"CR.1.2.840.113564.1722810170.{date}{int(rng.integers(10**9, 10**10))}.1003000225002.png"
            finding = None if (i, k) == (1, 1) else _SHORT[person.kind]
            rows.append(
                {
                    "patientid": f"ANON{i}",
                    "finding": finding,
                    "view": pick(rng, "PA", "AP"),
                    "modality": "X-ray",
                    "imagename": name,
                    "notes": f"{'' if finding else 'Inconclusive'}, date taken (YYYYMMDD): {date}",
                }
            )
            jobs.append(make_job(folder, f"images/{name}", person, rng))
    return jobs, {"metadata.csv": Table(rows, columns=[*_FIGURE1[:10], "imagename", *_FIGURE1[10:]])}


def _radiography(folder: str, people: People, done: Done, rng: np.random.Generator) -> _Drawn:
    """NORMAL and Viral Pneumonia are paediatric in the original, so there are few here. Some COVID-19 images are
    resized copies of covid-chestxray images, with the same URL."""
    jobs: list[Job] = []
    rows: dict[str, list[dict[str, str]]] = {"COVID-19": [], "NORMAL": [], "Viral Pneumonia": []}

    def add(kind: str, number: int, job: Job, url: str) -> None:
        mark = "{}({})" if kind == "COVID-19" else "{}-{}"
        rows[kind].append({"FILE NAME": mark.format(kind, number), "FORMAT": "PNG", "SIZE": "1024*1024", "URL": url})
        jobs.append(job)

    for person in people[folder]:
        kind = {"covid": "COVID-19", "normal": "NORMAL", "pneumonia": "Viral Pneumonia"}[person.kind]
        number = len(rows[kind]) + 1
        path = f"{kind}({number}).png" if kind == "COVID-19" else f"{kind} ({number}).png"
        url = f"https://radiographs.example/radiography/{kind.replace(' ', '-')}-{number}"
        add(kind, number, make_job(folder, f"{kind}/{path}", person, rng, side=512), url)
    first = "covid-chestxray-dataset"
    page = {p.patient.number: i + 1 for i, p in enumerate(people[first])}
    for job in [job for job in done[first] if job.kind == "covid"][: max(2, len(rows["COVID-19"]) * 3 // 4)]:
        number = len(rows["COVID-19"]) + 1
        again = replace(job, path=f"{folder}/COVID-19/COVID-19({number}).png", channels=1, side=512)
        add(
            "COVID-19",
            number,
            again,
            f"https://radiographs.example/covid-chestxray/case-{page[job.patient.number]}",
        )
    names = {"COVID-19": "COVID-19.metadata.xlsx", "NORMAL": "NORMAL.metadata.xlsx"}
    return jobs, {names.get(kind, f"{kind}.matadata.xlsx"): Table(table) for kind, table in rows.items()}


def _rsna(folder: str, people: People, _: Done, rng: np.random.Generator) -> _Drawn:
    jobs: list[Job] = []
    boxes, classes, mapping = [], [], []
    shared = people["nih-chestxray14"]
    whole = [(p, 10_000 + 7 * i, 0) for i, p in enumerate(people[folder])]
    whole += [
        (p, 100 + 3 * i, 90) for i, p in enumerate(shared[: max(3, len(shared) // 6)])
    ]  # also in NIH's collection
    for person, nih, follow in whole:
        for k in range(person.images):
            key = make_uuid(rng)
            view = pick(rng, "PA", "AP")
            boxes.append({"patientId": key, "Target": int(person.kind == "pneumonia")})
            found = {"pneumonia": "Lung Opacity", "normal": "Normal"}.get(person.kind, "No Lung Opacity / Not Normal")
            classes.append({"patientId": key, "class": found})
            mapping.append({"patientId": key, "nih_image": f"{nih:08d}_{follow + k:03d}.png"})
            depth = (8, 8, 8, -8, 8, 12, 8)[len(jobs) % 7]
            tags = (
                ("PatientID", key),
                ("PatientSex", person.sex),
                ("PatientAge", str(person.age)),
                ("ViewPosition", view),
            )
            jobs.append(make_job(folder, f"stage_2_train_images/{key}.dcm", person, rng, channels=depth, tags=tags))
    return jobs, {
        "stage_2_train_labels.csv": Table(boxes, columns=["patientId", "x", "y", "width", "height", "Target"]),
        "stage_2_detailed_class_info.csv": Table(classes),
        "nih_mapping.csv": Table(mapping),
    }


_NIH = [
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender",
    "View Position", "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
]  # fmt: skip
_NIH_FINDINGS = {
    "normal": ("No Finding",),
    "other": ("Atelectasis",),
    "pneumonia": (
        "Pneumonia",
        "Pneumonia",
        "Infiltration|Pneumonia",
        "Atelectasis|Pneumonia",
        "Consolidation|Pneumonia",
    ),
}


def _nih(folder: str, people: People, _: Done, rng: np.random.Generator) -> _Drawn:
    jobs: list[Job] = []
    rows: list[Any] = []
    for i, person in enumerate(people[folder]):
        for k in range(person.images):
            patient, name = 100 + 3 * i, f"{100 + 3 * i:08d}_{k:03d}.png"
            finding, view = pick(rng, *_NIH_FINDINGS[person.kind]), pick(rng, "PA", "AP")
            rows.append((name, finding, k, patient, person.age, person.sex, view, 2500, 2048, 0.168, 0.168))
            jobs.append(make_job(folder, f"images/{name}", person, rng))
    return jobs, {"Data_Entry_2017.csv": Table(rows, columns=_NIH)}


def _hospital(folder: str, people: People, _: Done, rng: np.random.Generator) -> _Drawn:
    """A user's own collection (sources/table.py)."""
    jobs: list[Job] = []
    rows: list[Any] = []
    for i, person in enumerate(people[folder], start=1):
        for k in range(person.images):
            path = f"images/{len(jobs) + 1:04d}.png"
            rows.append(
                {
                    "path": path,
                    "label": person.kind,
                    "patient": f"P{i:03d}",
                    "view": pick(rng, "PA", "AP"),
                    "age": person.age,
                    "sex": person.sex,
                    "day": 3 * k + int(rng.integers(0, 4)),
                }
            )
            jobs.append(make_job(folder, path, person, rng, channels=0))
    return jobs, {"radiographs.csv": Table(rows)}


_LAYOUTS: dict[str, Callable[[str, People, Done, np.random.Generator], _Drawn]] = {
    "covid-chestxray-dataset": _covid_chestxray,
    "Figure1-COVID-chestxray-dataset": _figure1,
    "Actualmed-COVID-chestxray-dataset": _actualmed,
    "COVID-19-Radiography-Database": _radiography,
    "rsna-pneumonia-detection-challenge": _rsna,
    "nih-chestxray14": _nih,
    "demo-hospital": _hospital,
}
