"""Parameter files: values, keys, YAML made to cost memory."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bad_inputs import Run
from cxrflow.params_file import DEFAULTS

_SHIPPED = DEFAULTS


def inputs() -> Iterator[Run]:
    """Parameters that stop with one sentence, and some that do not."""
    for line, value in _VALUES:
        yield _run(f"{line} {value[:40]}", partial(_with_value, line, value))
    for name, text in _TEXTS.items():
        yield _run(name, partial(_write, text))
    yield Run("parameters", "as shipped", partial(_write, _SHIPPED.read_bytes()), _COMMAND)
    yield _run("no such file", lambda folder: None)
    yield _run("a folder", lambda folder: (folder / "params.yaml").mkdir())


_COMMAND = ("params", "--params", "params.yaml", "--out", "out.yaml")
#: Keys of the shipped file, and values that no stage can work with.
_VALUES = (
    ("seed:", "-1"),
    ("seed:", "1.5"),
    ("seed:", "1" + "0" * 40),
    ("seed:", "true"),
    ("seed:", "nan"),
    ("learning_rate:", "-0.1"),
    ("learning_rate:", ".nan"),
    ("learning_rate:", ".inf"),
    ("learning_rate:", "fast"),
    ("batch_size:", "0"),
    ("batch_size:", "1e12"),
    ("epochs:", "0"),
    ("epochs:", "-3"),
    ("size:", "0"),
    ("size:", "1000000"),
    ("bootstrap:", "-1"),
    ("bootstrap:", "10000000000"),
    ("specificity:", "1.5"),
    ("prevalence:", "0"),
    ("set_coverage:", "2"),
    ("memory_gb:", "0"),
    ("seconds:", "-1"),
    ("seconds:", ".inf"),
    ("engine:", "fast"),
    ("equalise:", "[clahe]"),
    ("model:", "no/such"),
    ("model:", "../../x"),
    ("clahe_tiles:", "0"),
    ("crop_top:", "1"),
    ("train:", "-0.65"),
    ("flip:", "7"),
    ("average:", "1.5"),
    ("root:", "null"),
    ("collections:", "5"),
    ("positive:", "other"),
    ("overrides:", "no"),
)
_TEXTS = {
    "empty": b"",
    "a list": b"- 1\n- 2\n",
    "one word": b"seed\n",
    "no YAML": b"a: [1, 2\nb: }\n",
    "a tab": b"training:\n\tseed: 1\n",
    "an unknown key": _SHIPPED.read_bytes() + b"\nunknown: 1\n",
    "a key twice": _SHIPPED.read_bytes() + b"\nengine: local\n",
    "an alias bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 112)),
    "an alias of itself": b"a: &a [*a]\n",
    "NUL": b"engine: lo\0cal\n",
    "20,000 brackets": b"a: " + b"[" * 20_000 + b"]" * 20_000,
    "20,000 levels": b"".join(b" " * n + b"a:\n" for n in range(1_000)),
    "a Python object": b"engine: !!python/object/apply:os.system [id]\n",
    "random bytes": bytes(range(256)) * 20,
    "a number of 10,000 digits": b"engine: " + b"9" * 10_000 + b"\n",
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


def _run(name: str, make: partial) -> Run:
    return Run("parameters", name, make, _COMMAND, "stops")


def _write(text: bytes, folder: Path) -> None:
    (folder / "params.yaml").write_bytes(text)


def _with_value(line: str, value: str, folder: Path) -> None:
    """The shipped parameters with the value of the first line of this key changed."""
    before, found, after = _SHIPPED.read_text().partition(f" {line} ") if line != "engine:" else ("", "", "")
    text = f"{before}{found}{value}\n{after.partition(chr(10))[2]}" if found else _SHIPPED.read_text()
    if not found:
        text = text.replace(f"\n{line} ", f"\n{line} {value} #", 1)
    (folder / "params.yaml").write_text(text)
