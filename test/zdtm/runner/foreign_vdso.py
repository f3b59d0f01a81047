"""Images from another kernel: the vdso in them is not this kernel's.

The images of a program are changed so that its vdso looks like another one's: one function is said to lie elsewhere,
and the code of all others ends the program when it is run. What works afterwards does so by the proxy.
"""

import struct

from . import cycle
from .realprograms import SCRIPTS, Script

PAGE = 4096
UD2 = b"\x0f\x0b"
MOVED = "__vdso_getcpu"  # Python does not call it
VDSO = 0x8  # vma_entry.status


def functions(vdso):
    """Names of the functions, with the offsets of their symbols and their values."""
    shoff, = struct.unpack_from("<Q", vdso, 40)
    shentsize, shnum = struct.unpack_from("<HH", vdso, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", vdso, shoff + i * shentsize) for i in range(shnum)]
    dynsym = next(section for section in sections if section[1] == 11)
    strings = sections[dynsym[6]][4]
    found = {}
    for at in range(dynsym[4], dynsym[4] + dynsym[5], 24):
        name_at, _, _, index, value, _ = struct.unpack_from("<IBBHQQ", vdso, at)
        name = vdso[strings + name_at:vdso.index(b"\0", strings + name_at)].decode()
        if index and name.startswith("__vdso_"):
            found[name] = (at, value)
    return found


def make_foreign(vdso):
    """Another kernel's vdso, in place."""
    found = functions(vdso)
    if MOVED not in found or len(found) < 4:
        raise cycle.Failure(f"the vdso has these functions only: {sorted(found)}")
    at, value = found.pop(MOVED)
    struct.pack_into("<Q", vdso, at + 8, value + 16)
    for _, value in found.values():
        vdso[value:value + len(UD2)] = UD2


class ForeignVdso(Script):
    """A program whose vdso came from another kernel."""

    needs = ["command:python3"]
    command = ["/usr/bin/python3", SCRIPTS / "clocks.py"]
    # The old vdso is ordinary memory now.
    skip_observe = [".*"]
    changed = 0

    def edit_images(self, root, decode, images):
        mm = decode(images / f"mm-{root}.img")["entries"][0]
        pagemap = decode(images / f"pagemap-{root}.img")["entries"]
        number = lambda value: int(str(value), 0)
        # The newest one: after the first restore the first vdso is memory like any other.
        vma = next(vma for vma in mm["vmas"] if vma["status"] & VDSO)
        start, end = number(vma["start"]), number(vma["end"])
        with open(images / f"pages-{pagemap[0]['pages_id']}.img", "r+b") as pages:
            offset = 0
            for run in pagemap[1:]:
                size, vaddr = run["nr_pages"] * PAGE, number(run["vaddr"])
                if vaddr <= start and end <= vaddr + size:
                    pages.seek(offset + start - vaddr)
                    vdso = bytearray(pages.read(end - start))
                    make_foreign(vdso)
                    pages.seek(offset + start - vaddr)
                    pages.write(vdso)
                    self.changed += 1
                offset += size if run["flags"] & 4 or str(run["flags"]).startswith("PE_PRESENT") else 0

    def verify(self, root):
        if not self.changed:
            raise cycle.Failure("no image was changed")
        super().verify(root)
