"""The vocabulary of findings: what a collection reports for an image, as paths from general to specific.

``pneumonia/viral/covid-19`` lies under ``pneumonia/viral`` and under ``pneumonia``. Sources translate their published
words into these paths; a task (task.py) builds its classes from them. A new term is one line here, with the
publication that uses it.
"""

from collections.abc import Iterable

_COHEN = "covid-chestxray-dataset (Cohen et al. 2020, arXiv:2006.11988), finding"
_NIH = "NIH ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315), Finding Labels"
_RSNA = "RSNA Pneumonia Detection Challenge, stage 2 (Shih et al. 2019, Radiol Artif Intell 1: e180041), class"
_KERMANY = "Chest X-Ray Images (Kermany et al. 2018, Cell 172: 1122-1131), folders"
_GOOGLE = "NIH ChestX-ray14, adjudicated labels (Majkowska et al. 2020, Radiology 294: 421-431), columns"
_IRVIN = "CheXpert (Irvin et al. 2019, arXiv:1901.07031), observations"
_BUSTOS = "PadChest (Bustos et al. 2020, Med Image Anal 66: 101797), Labels"
_NGUYEN = "VinDr-CXR (Nguyen et al. 2022, Sci Data 9: 429), labels"
_LIU = "TBX11K (Liu et al. 2020, CVPR: 2643-2652), categories"
_SIIM = "SIIM-FISABIO-RSNA COVID-19 Detection (Lakhani et al. 2023, J Digit Imaging 36: 365-372), columns"
_COVIDX = "COVIDx versions 6 to 9, lists B (Wang et al. 2020, arXiv:2003.09871), negative"

#: Each finding and where it is published.
FINDINGS: dict[str, str] = {
    "no finding": _NIH,
    "pneumonia": _NIH,
    "pneumonia/viral": _COHEN,
    "pneumonia/viral/covid-19": _COHEN,
    "pneumonia/viral/sars": _COHEN,
    "pneumonia/viral/mers-cov": _COHEN,
    "pneumonia/viral/influenza": _COHEN,
    "pneumonia/viral/influenza/h1n1": _COHEN,
    "pneumonia/viral/varicella": _COHEN,
    "pneumonia/viral/herpes": _COHEN,
    "pneumonia/bacterial": _KERMANY,
    "pneumonia/bacterial/streptococcus": _COHEN,
    "pneumonia/bacterial/staphylococcus": _COHEN,
    "pneumonia/bacterial/staphylococcus/mrsa": _COHEN,
    "pneumonia/bacterial/klebsiella": _COHEN,
    "pneumonia/bacterial/legionella": _COHEN,
    "pneumonia/bacterial/mycoplasma": _COHEN,
    "pneumonia/bacterial/chlamydophila": _COHEN,
    "pneumonia/bacterial/e.coli": _COHEN,
    "pneumonia/bacterial/nocardia": _COHEN,
    "pneumonia/fungal": _COHEN,
    "pneumonia/fungal/pneumocystis": _COHEN,
    "pneumonia/fungal/aspergillosis": _COHEN,
    "pneumonia/lipoid": _COHEN,
    "pneumonia/aspiration": _COHEN,
    "acute respiratory distress syndrome": _COHEN,
    "tuberculosis": _COHEN,
    "cancer": _COHEN,
    # The collection lists the image with an unknown finding ("todo", "Unknown").
    "not determined": _COHEN,
    "atelectasis": _NIH,
    "cardiomegaly": _NIH,
    "consolidation": _NIH,
    "edema": _NIH,
    "effusion": _NIH,
    "emphysema": _NIH,
    "fibrosis": _NIH,
    "hernia": _NIH,
    "infiltration": _NIH,
    "mass": _NIH,
    "nodule": _NIH,
    "pleural thickening": _NIH,
    "pneumothorax": _NIH,
    "airspace opacity": _GOOGLE,
    "fracture": _GOOGLE,
    "nodule or mass": _GOOGLE,
    # How a study looks, in the reporting language of Litmanovich et al. 2020 (J Thorac Imaging 35: 354-360).
    "negative for pneumonia": _SIIM,
    "typical appearance of covid-19": _SIIM,
    "indeterminate appearance of covid-19": _SIIM,
    "atypical appearance of covid-19": _SIIM,
    "negative for covid-19": _COVIDX,
    "lung opacity": _RSNA,
    # "No Lung Opacity / Not Normal": abnormal, without an opacity that could be pneumonia.
    "abnormal without lung opacity": _RSNA,
    "enlarged cardiomediastinum": _IRVIN,
    "lung lesion": _IRVIN,
    "pleural other": _IRVIN,
    # Tubes, catheters, pacemakers, ...: no disease. CheXpert gives it beside "No Finding".
    "support devices": _IRVIN,
    # Published, but without a term here: the image shows something, so it is never without a finding.
    "other finding": _BUSTOS,
    "pneumonia/atypical": _BUSTOS,
    "tuberculosis/sequelae": _BUSTOS,
    "fracture/clavicle": _NGUYEN,
    "fracture/rib": _NGUYEN,
    "air trapping": _BUSTOS,
    "aortic atheromatosis": _BUSTOS,
    "aortic elongation": _BUSTOS,
    "bronchiectasis": _BUSTOS,
    "costophrenic angle blunting": _BUSTOS,
    "flattened diaphragm": _BUSTOS,
    "granuloma": _BUSTOS,
    "hemidiaphragm elevation": _BUSTOS,
    "hilar enlargement": _BUSTOS,
    "scoliosis": _BUSTOS,
    "aortic enlargement": _NGUYEN,
    "calcification": _NGUYEN,
    "chronic obstructive pulmonary disease": _NGUYEN,
    "enlarged pulmonary artery": _NGUYEN,
    "interstitial lung disease": _NGUYEN,
    "lung cavity": _NGUYEN,
    "lung cyst": _NGUYEN,
    "lung tumor": _NGUYEN,
    "mediastinal shift": _NGUYEN,
    "tuberculosis/active": _LIU,
    "tuberculosis/latent": _LIU,
    # "Sick but Non-TB"
    "abnormal without tuberculosis": _LIU,
}
#: Findings that a public terminology names as broadly as they are meant here: coding scheme (of DICOM PS3.16: SCT is
#: SNOMED CT, DCM annex D), code, and its published meaning. Others keep their path as a code of cxrflow's own.
CODES: dict[str, tuple[str, str, str]] = {
    "no finding": ("SCT", "17621005", "Normal"),
    "pneumonia": ("SCT", "233604007", "Pneumonia"),
    "pneumonia/viral": ("SCT", "75570004", "Viral pneumonia"),
    "pneumonia/viral/covid-19": ("SCT", "840539006", "COVID-19"),
    "pneumonia/viral/sars": ("SCT", "398447004", "Severe acute respiratory syndrome"),
    "pneumonia/viral/mers-cov": ("SCT", "651000146102", "Middle East respiratory syndrome"),
    "pneumonia/bacterial": ("SCT", "53084003", "Bacterial pneumonia"),
    "pneumonia/fungal": ("SCT", "233613009", "Fungal pneumonia"),
    "pneumonia/aspiration": ("SCT", "422588002", "Aspiration pneumonia"),
    "acute respiratory distress syndrome": ("SCT", "67782005", "Acute respiratory distress syndrome"),
    "tuberculosis": ("SCT", "56717001", "Tuberculosis"),
    "atelectasis": ("SCT", "46621007", "Atelectasis"),
    "cardiomegaly": ("SCT", "8186001", "Cardiomegaly"),
    "consolidation": ("SCT", "95436008", "Lung consolidation"),
    "edema": ("SCT", "19242006", "Pulmonary edema"),
    "effusion": ("SCT", "60046008", "Pleural effusion"),
    "emphysema": ("SCT", "87433001", "Pulmonary emphysema"),
    "fibrosis": ("SCT", "51615001", "Fibrosis of lung"),
    "infiltration": ("DCM", "112121", "Infiltrate"),
    "mass": ("SCT", "4147007", "Mass"),
    "nodule": ("SCT", "27925004", "Nodule"),
    "pneumothorax": ("SCT", "36118008", "Pneumothorax"),
    "fracture": ("SCT", "125605004", "Fracture of bone"),
    "lung opacity": ("DCM", "112001", "Opacity"),
}
#: Synonyms that users write in their own tables.
_SYNONYMS = {
    "covid": "pneumonia/viral/covid-19",
    "covid19": "pneumonia/viral/covid-19",
    "sars-cov-2": "pneumonia/viral/covid-19",
    "mers": "pneumonia/viral/mers-cov",
    "ards": "acute respiratory distress syndrome",
    "normal": "no finding",
    "no findings": "no finding",
    "infiltrate": "infiltration",  # in NIH's table of bounding boxes
    "pleural effusion": "effusion",
    "copd": "chronic obstructive pulmonary disease",
    "tb": "tuberculosis",
}


def under(finding: str, above: str) -> bool:
    """Whether ``finding`` is ``above`` or a special case of it."""
    return finding == above or finding.startswith(f"{above}/")


def find_finding(word: str) -> str | None:
    """The finding with the path ``word``, the synonym ``word`` or the last path component ``word``; None if unknown.

    Case is ignored, and ``_`` is read as a space (NIH writes Pleural_Thickening).
    """
    term = word.strip().casefold().replace("_", " ")
    if term in FINDINGS:
        return term
    if term in _SYNONYMS:
        return _SYNONYMS[term]
    ends = [path for path in FINDINGS if path.endswith(f"/{term}")]
    return ends[0] if len(ends) == 1 else None


def most_specific(findings: Iterable[str]) -> tuple[str, ...]:
    """The most specific findings, in their order and without repeats: a finding is dropped if another lies under it."""
    unique = list(dict.fromkeys(findings))
    return tuple(f for f in unique if not any(other != f and under(other, f) for other in unique))
