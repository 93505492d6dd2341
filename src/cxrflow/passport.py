"""The passport of the weights that a network's training began with: origin, licence, and what they have seen."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cxrflow.params import Text

#: Value of ``Passport.lists`` where nobody has published which images were used.
NOT_PUBLISHED = "not published"
#: Heads of what evaluation and audit add to a passport.
MET = "test images that they may have seen"
TOLD = "AUROC of the source within a class, from their features"
_MAY = {True: "yes", False: "no", None: "unclear"}
_Line = Annotated[str, Field(max_length=1000)]


class Licence(BaseModel):
    """A licence, and what it permits; None where that is unclear.

    research, commercial   whether use in research, and commercial use, are permitted
    share_alike            whether what is derived must be passed on under the same licence
    note                   what else to know, in a few words
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    research: bool | None = None
    commercial: bool | None = None
    share_alike: bool | None = None
    note: _Line = ""

    @property
    def words(self) -> str:
        """Such as ``MIT: research yes, commercial use yes, share-alike no``."""
        kinds = {"research": self.research, "commercial use": self.commercial, "share-alike": self.share_alike}
        said = f"{self.name}: " + ", ".join(f"{kind} {_MAY[may]}" for kind, may in kinds.items())
        return f"{said}; {self.note}" if self.note else said


class Passport(BaseModel):
    """What is known of the weights that a training begins with.

    name        of the weights
    origin      URL or paper; empty if unknown
    licence     None if unknown
    trained_on  collections and data sets, by the names of their publishers; a bundle's by the names of its sources
    complete    whether ``trained_on`` names all of them
    lists       where the images that were used, or those held out, are listed; else NOT_PUBLISHED
    unverified  what could not be checked against the original; empty if nothing
    before      the passport of the weights that their own training began with; None if random
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    origin: _Line = ""
    licence: Licence | None = None
    trained_on: tuple[Text, ...] = ()
    complete: bool = True
    lists: _Line = NOT_PUBLISHED
    unverified: _Line = ""
    before: "Passport | None" = None

    @property
    def chain(self) -> list["Passport"]:
        """This passport, that of the weights before, and so on."""
        return [self, *(self.before.chain if self.before else ())]


def unknown(name: str, trained_on: Sequence[str] = ()) -> Passport:
    """The passport of weights of which nothing is known but, perhaps, some data that they were trained on."""
    return Passport(name=name, trained_on=tuple(trained_on), complete=False, lists="unknown")


def own(name: str, sources: Iterable[str], before: Passport | None) -> Passport:
    """The passport of weights that cxrflow has trained on images of these sources.

    before  that of the weights that this training began with; None if they were random
    """
    return Passport(
        name=name,
        origin="a training by cxrflow",
        trained_on=tuple(sources),
        lists="trained_on.csv of the bundle lists every image; evaluation leaves these out",
        before=before,
    )


def described(
    starts: Sequence[Passport | None], met: Sequence[str] | None = None, told: Sequence[str | None] | None = None
) -> list[tuple[str, list[tuple[str, str]]]]:
    """The passports of a bundle's networks as parts of a table: a title, and rows with their heads. Networks that share
    all that is said are one part.

    met   for each network, which test images its weights may have seen, in words; None if not counted yet
    told  for each network, how well the features that it began with tell the source, in words; None if not tried yet,
          or for random weights
    """
    parts: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for k, passport in enumerate(starts):
        rows = lines(passport)
        if passport is not None:
            rows.append((MET, met[k] if met else "not counted yet"))
            rows.append((TOLD, (told[k] if told else None) or "not tried yet"))
        parts.setdefault(tuple(rows), []).append(k + 1)

    def title(numbers: list[int]) -> str:
        if len(starts) == 1:
            return "The network"
        return f"Network{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"

    return [(title(numbers), list(rows)) for rows, numbers in parts.items()]


def lines(passport: Passport | None) -> list[tuple[str, str]]:
    """A passport as rows of a table, each with its head; None stands for random weights."""
    if passport is None:
        return [("weights", "random; they have seen no image")]
    first, *earlier = passport.chain
    rows = [("weights", first.name), ("origin", first.origin or "unknown"), ("licence", _licence(first))]
    rows += [("trained on", _data(first)), ("lists of these images", first.lists)]
    rows += [("which began with", f"{each.name}; {_licence(each)}; trained on {_data(each)}") for each in earlier]
    unverified = [each.unverified for each in passport.chain if each.unverified]
    return rows + ([("not checked against the original", "; ".join(unverified))] if unverified else [])


def _licence(passport: Passport) -> str:
    return passport.licence.words if passport.licence else "licence unknown"


def _data(passport: Passport) -> str:
    others = () if passport.complete else ("others that are unknown",) if passport.trained_on else ("unknown",)
    return ", ".join((*passport.trained_on, *others)) or "nothing"
