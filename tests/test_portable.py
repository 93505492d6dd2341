"""No path, shell or system call that only Linux has, but for a few that are guarded, each with its reason.

cxrflow is untried elsewhere than on Linux; this keeps it from depending on Linux unnoticed. A "/" between the parts of
a path is no such dependency: pathlib takes it everywhere, and records hold paths with it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "cxrflow"
#: What is there, and why: file, what is found in it (``found``).
ALLOWED = {
    ("check/room.py", "/sys/fs/cgroup"): "the whole machine's free memory where it is absent",
    ("doctor.py", "/sys/fs/cgroup/memory.max"): "read if it is a file",
    ("engines.py", "/sys/fs/cgroup/cpu.max"): "no quota where it is absent",
    ("engines.py", "os.sched_getaffinity"): "else os.cpu_count",
    ("onnx_file.py", "/dev/nvidiactl"): "a driver of GPUs is looked for, beside others, by its file",
    ("onnx_file.py", "/dev/kfd"): "the same",
    ("onnx_file.py", "/dev/dxg"): "the same",
    ("training/checkpoints.py", "ctypes.CDLL"): "tuning of glibc, left out where there is none",
    ("workers.py", "/proc/self/statm"): "0 where it is absent",
    ("workers.py", "ctypes.CDLL"): "on Linux only: a worker ends with its parent",
    ("workers.py", "os.sysconf"): "after the read of /proc",
    ("workers.py", "pass_fds"): "Windows is refused with one sentence",
    ("workers.py", "resource"): "on Linux only: the limit of memory",
    ("workers.py", "signal.SIGKILL"): "the exit status of a killed worker; on Windows there are no workers",
}
_PLACES = re.compile(r"/(bin|dev|etc|home|opt|proc|root|run|sys|tmp|usr|var)(/|$)")
#: Modules of the standard library that Windows or macOS lacks.
_MODULES = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
#: What of these modules is not everywhere. On Windows os.kill ends the process, whatever the signal.
_CALLS = {
    "os": re.compile(
        "f?chown|fchmod|fork(pty)?|get(e?uid|gid|loadavg|pgid)|kill(pg)?|mkfifo|nice|openpty|popen|posix_fadvise|pread|"
        "pwrite|sched_[gs]etaffinity|set(pgid|sid)|statvfs|sync|sysconf|system|uname|wait(pid)?|"
        "O_(CLOEXEC|DIRECTORY|NOFOLLOW|NONBLOCK|SYNC)"
    ),
    "signal": re.compile("SIG(ALRM|CHLD|HUP|KILL|PIPE|QUIT|USR[12])|alarm|pause|setitimer|sigwait"),
    "socket": re.compile("AF_UNIX|SO_REUSEPORT"),
    "ctypes": re.compile("CDLL"),
}
_KEYWORDS = {"dir_fd", "pass_fds", "preexec_fn", "process_group"}
_TEXT = {"read_text", "write_text"}


def found(code: str) -> Iterator[tuple[int, str]]:
    """Line and name of each place of some code that is not for every system."""
    tree = ast.parse(code)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings and _PLACES.match(text):
                yield node.lineno, text
            case ast.Import() | ast.ImportFrom():
                module = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {*module, *(alias.name for alias in node.names)}:
                    if name in _MODULES or (module and _is_of_few(module[0], name)):
                        yield node.lineno, name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if _is_of_few(module, name):
                yield node.lineno, f"{module}.{name}"
            case ast.Call():
                yield from ((node.lineno, what) for what in _of_call(node))


def _is_of_few(module: str, name: str) -> bool:
    return module in _CALLS and _CALLS[module].fullmatch(name) is not None


def _of_call(call: ast.Call) -> Iterator[str]:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    yield from _KEYWORDS & named.keys()
    if "shell" in named and not (isinstance(named["shell"], ast.Constant) and named["shell"].value is False):
        yield "shell"
    match call.func:
        case ast.Attribute(value=ast.Name(id="os"), attr="open"):
            return
        case ast.Attribute(attr=name) | ast.Name(id=name):
            pass
        case _:
            return
    if "encoding" in named:
        return
    if name in _TEXT and isinstance(call.func, ast.Attribute):
        yield f"{name} without encoding"
    if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        modes = [named["mode"]] if "mode" in named else call.args[:2]
        values = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
        mode = next((value for value in values if re.fullmatch("[rwax]b?[+]?[bt]?", value)), "")
        if ("b" not in mode) and (mode or (isinstance(call.func, ast.Name) and name == "open")):
            yield f"{name} without encoding"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("x = '/tmp/a'", ["/tmp/a"]),
        ("f'/proc/{pid}/stat'", ["/proc/"]),
        ("def f():\n    '''/tmp is not used'''", []),
        ("x = '/tmpl'; y = 'a/tmp/b'", []),
        ("import fcntl", ["fcntl"]),
        ("from resource import getrlimit", ["resource"]),
        ("from os import fork", ["fork"]),
        ("os.kill(1, 0); os.fork()", ["os.kill", "os.fork"]),
        ("signal.signal(signal.SIGINT, f); signal.SIGKILL", ["signal.SIGKILL"]),
        ("run(a, shell=True); run(b, shell=False)", ["shell"]),
        ("Popen(a, pass_fds=[3])", ["pass_fds"]),
        ("path.read_text(); path.read_text(encoding='utf-8')", ["read_text without encoding"]),
        ("open(p); open(p, 'rb'); open(p, 'w', encoding='utf-8'); path.open('r+b')", ["open without encoding"]),
        ("path.open('a+'); os.open(p, flags); NamedTemporaryFile()", ["open without encoding"]),
        ("fdopen(h, 'w')", ["fdopen without encoding"]),
        ("Dataset.open(a, b)", []),
    ],
)  # fmt: skip
def test_what_is_not_for_every_system_is_found(code: str, what: list[str]) -> None:
    assert [name for _, name in found(code)] == what


def test_the_package_has_no_path_shell_or_call_that_only_linux_has() -> None:
    here = [
        (path.relative_to(PACKAGE).as_posix(), line, name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in found(path.read_text(encoding="utf-8"))
    ]
    assert [f"{file}:{line}: {name}" for file, line, name in here if (file, name) not in ALLOWED] == []
    assert ALLOWED.keys() - {(file, name) for file, _, name in here} == set()  # what is gone needs no reason
