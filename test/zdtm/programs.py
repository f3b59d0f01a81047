"""Names of all programs ("area/name") for meson.build, which has to be configured again when one is added."""

import pathlib

from runner import description

if __name__ == "__main__":
    for test in description.discover(pathlib.Path(__file__).resolve().parent):
        if not test.program:
            print(test.name)
