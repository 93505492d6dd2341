"""The cells of label tables: what counts as unknown, and ages, numbers and sexes from text."""

import re
from functools import lru_cache

#: Words for "not known", without case and surrounding space or punctuation.
UNKNOWN = frozenset(
    {
        *("", "nan", "na", "n/a", "n.a", "nat", "nil", "none", "null", "missing", "unknown", "unk", "not known"),
        *("not available", "not given", "not specified", "unspecified", "not applicable", "undefined"),
        *("anon", "anonym", "anonymous", "anonymized", "anonymised", "deidentified", "de-identified"),
        *("unbekannt", "nicht bekannt", "keine angabe", "k.a", "k. a", "inconnu", "non disponible", "desconocido"),
        *("no disponible", "sconosciuto", "onbekend", "desconhecido", "неизвестно", "不明", "未知"),
    }
)
#: Word -> sex, without case.
SEXES = {"m": "M", "male": "M", "man": "M", "boy": "M", "f": "F", "female": "F", "woman": "F", "girl": "F"}
_YEAR = 365.25
#: Unit of an age -> years. A lone m is no unit: "58 M" is a man. DICOM's months have three digits (PS3.5, 6.2, AS).
_UNITS = {
    **dict.fromkeys(("", "y", "yr", "yrs", "year", "years", "y/o", "yo", "jahre", "jahr", "ans", "an"), 1.0),
    **dict.fromkeys(("años", "año", "anos", "ano", "anni", "anno", "jaar"), 1.0),
    **dict.fromkeys(("mo", "mos", "mth", "mths", "month", "months", "monate", "monat", "mois", "meses"), 1 / 12),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks", "wochen", "woche", "semaines", "semanas"), 7 / _YEAR),
    **dict.fromkeys(("d", "day", "days", "tage", "tag", "jours", "días", "dias"), 1 / _YEAR),
}
_PART = r"(\d{1,3}(?:[.,]\d+)?)\s*-?\s*([^\W\d_]+(?:/[^\W\d_]+)?|)\.?"
#: age := about? part (and? part)? old? "+"?  with  part := number unit?  and  about := "ca.", ">", "over", ...
_AGE = re.compile(
    r"(?:aged?|about|approx(?:imately)?\.?|circa|ca\.?|~|>=?|≥|over)?\s*"
    rf"{_PART}(?:\s*(?:,|and|und)?\s*{_PART})?[\s-]*(?:old|of age)?\s*(?:\+|or older|and over)?"
)
_DICOM_MONTHS = re.compile(r"\d{3}m", re.ASCII)
#: "40s", "early 40s", "mid-50s": the first year of the decade.
_DECADE = re.compile(r"(?:early|mid|late|in (?:his|her|their))?[\s-]*(\d0)'?s")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)


@lru_cache(maxsize=10_000)  # most columns have few words, and a patient several rows
def known(text: str | None) -> str | None:
    """The text without surrounding space, or None if it is empty or a word for "not known".

    A whole number that a spreadsheet or data frame wrote with a decimal point loses it: ``123.0`` is ``123``.
    """
    cell = (text or "").strip()
    if (
        not cell
        or not any(character.isalnum() for character in cell)
        or cell.strip("#<>[]().?-– ").casefold() in UNKNOWN
    ):
        return None
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else cell


def years(text: str | None) -> float | None:
    """Age in years: ``58``, ``58.5``, ``058Y``, ``018M``, ``3 weeks``, ``2 years 6 months``, ``50+``, ``>89``,
    ``early 40s`` (the lower bound), ``newborn`` (0).

    None if the text is not an age as a whole (a date, a code, a negative number), or above 120 years.
    """
    words = (text or "").strip().casefold()
    if not words:
        return None
    if words in ("newborn", "neonate"):
        return 0.0
    if _DICOM_MONTHS.fullmatch(words):
        words = f"{words}o"
    if decade := _DECADE.fullmatch(words):
        return float(decade[1])
    found = _AGE.fullmatch(words)
    if found is None:
        return None
    first, unit, second, further = found.groups()
    if unit not in _UNITS or (second and (not unit or not further or further not in _UNITS)):
        return None
    value = float(first.replace(",", ".")) * _UNITS[unit]
    if second:
        if _UNITS[further] >= _UNITS[unit]:
            return None
        value += float(second.replace(",", ".")) * _UNITS[further]
    return round(value, 2) if value <= 120 else None


def number(text: str | None) -> float | None:
    """A plain decimal number, or None."""
    cell = (text or "").strip()
    value = float(cell) if _NUMBER.fullmatch(cell) else 1e9
    return value if abs(value) < 1e9 else None


def sex(text: str | None) -> str | None:
    """``M``, ``F`` or None, from the words of SEXES."""
    return SEXES.get((text or "").strip().casefold())
