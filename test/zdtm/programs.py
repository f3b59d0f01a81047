"""Names of all programs ("area/name") for meson.build, which has to be configured again when one is added.

With "32" as its argument: of those that are compiled as 32-bit programs.
"""

import pathlib
import sys

from runner import description

if __name__ == "__main__":
    tests = description.discover(pathlib.Path(__file__).resolve().parent)
    if sys.argv[1:] == ["32"]:
        print("\n".join(dict.fromkeys(test.program or test.name for test in tests if test.bits == 32)))
    else:
        print("\n".join(test.name for test in tests if not test.program and test.bits == 64))
