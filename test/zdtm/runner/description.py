"""What the suite knows about a program before it runs: its source, and the .desc file beside it.

A .desc file is a JSON object; a program without one is run with nothing special. Unknown keys are errors, so that a
misspelt key cannot silently switch a check off. A .desc file without a source names another test's program.
"""

import dataclasses
import json
import pathlib
import re

AREAS = ("tree", "thread", "compat", "signal", "syscall", "cred", "memory", "file", "event", "tty", "socket", "namespace", "refuse")
VSYSCALL = r"maps\.ffffffffff600000-ffffffffff601000"  # every process that was not made by exec of a 32-bit program has the page
FLAGS = {
    "noauto": "only run when named with -t",
    "host": "cannot run in namespaces of its own",
    "nosibling": "makes no sense with --sibling",
    "nostop": "makes no sense with --stopped",
    "nolazy": "checks what is not kept where memory comes after the restore",
    "restored": "verifies what only a restore makes of it: skipped with --dump-only",
    "noleave": "can only be dumped by ending it: skipped where a dump leaves it alive",
}


@dataclasses.dataclass
class Description:
    """One program of the suite."""

    name: str
    source: pathlib.Path | None
    opts: list = dataclasses.field(default_factory=list)  # for dump and restore
    dopts: list = dataclasses.field(default_factory=list)
    ropts: list = dataclasses.field(default_factory=list)
    args: list = dataclasses.field(default_factory=list)  # for the program itself
    needs: list = dataclasses.field(default_factory=list)  # names of probes
    flags: list = dataclasses.field(default_factory=list)
    skip_observe: list = dataclasses.field(default_factory=list)  # facts that may differ after restore
    check_refuses: bool = True  # check --tree knows of a refusal beforehand, too
    expect_dump_fail: str = ""  # regular expression that the log of the refused dump contains
    while_dead: list = dataclasses.field(default_factory=list)  # what changes before a restore that has to refuse
    expect_restore_fail: str = ""
    later: dict = dataclasses.field(default_factory=dict)  # flavor -> why the tool cannot do it yet; skipped with this reason
    program: str = ""  # name of the test whose program this one runs
    bits: int = 64  # 32: it is compiled as a 32-bit program
    servers: list = dataclasses.field(default_factory=list)  # names of processes that it has started outside of its tree
    timeout: float = 0.0  # seconds; 0 = the runner's default
    env: dict = dataclasses.field(default_factory=dict)
    not_in: dict = dataclasses.field(default_factory=dict)  # flavor -> why the program cannot live there
    real: object = None  # driver of a real program instead of a source

    @property
    def executable(self):
        """Name of the built program."""
        return (self.program or self.name).replace("/", "_") + ("_32" if self.bits == 32 else "")

    @property
    def summary(self):
        """First sentence of the comment that the source starts with."""
        if self.real:
            return (self.real.__doc__ or "").strip().split("\n")[0]
        if not self.source.exists():
            return f"{self.program}, and then {self.while_dead}"
        text = self.source.read_text()
        match = re.match(r"/\*(.*?)\*/", text, re.S)
        if not match:
            return ""
        words = " ".join(line.strip(" *\t") for line in match.group(1).split("\n")).strip()
        return re.split(r"(?<=[.:]) ", words)[0]


class DescriptionError(Exception):
    """A .desc file that cannot be used."""


def load(name, source):
    """The description of one program, from NAME.desc beside its source."""
    description = Description(name, source)
    path = source.with_suffix(".desc")
    if not path.exists():
        return description
    try:
        values = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DescriptionError(f"{path}: {error}") from error
    known = {field.name for field in dataclasses.fields(Description)}
    for key, value in values.items():
        if key not in known or key in ("name", "source", "real"):
            raise DescriptionError(f"{path}: unknown key '{key}'")
        setattr(description, key, value)
    for flag in description.flags:
        if flag not in FLAGS:
            raise DescriptionError(f"{path}: unknown flag '{flag}'")
    for flavor, reason in description.not_in.items():
        if flavor not in ("h", "ns", "uns") or not reason:
            raise DescriptionError(f"{path}: 'not_in' is an object of flavors (h, ns, uns) with a reason each")
    if description.bits not in (32, 64):
        raise DescriptionError(f"{path}: 'bits' is 32 or 64")
    if description.bits == 32:
        description.needs = ["programs_of_32_bits"] + description.needs
        description.skip_observe = description.skip_observe + [VSYSCALL]
    if bool(description.program) == source.exists():
        raise DescriptionError(f"{path}: needs either a source beside it or 'program'")
    if bool(description.while_dead) != bool(description.expect_restore_fail):
        raise DescriptionError(f"{path}: 'while_dead' and 'expect_restore_fail' belong together")
    return description


def discover(suite):
    """All programs, in the order of the areas."""
    found = []
    for area in AREAS:
        sources = {path.with_suffix(".c") for path in (suite / area).iterdir() if path.suffix in (".c", ".desc")}
        for source in sorted(sources):
            found.append(load(f"{area}/{source.stem}", source))
    return found
