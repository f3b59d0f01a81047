"""What tests need of the machine and a runner can give: set for the run, and put back after it.

A skip is for what cannot be had at all. Settings that belong to the whole machine are changed once, before the first
test, so that tests beside each other do not fight for them.
"""

import contextlib
import pathlib

HUGE_PAGES = 24  # of the default size: enough for two tests at a time, each before and after its restore


def _settings():
    """(need, file, value to write, whether the value found is good enough)."""
    return [("hugetlb", pathlib.Path("/proc/sys/vm/nr_hugepages"), str(HUGE_PAGES), lambda old: int(old) >= HUGE_PAGES),
            ("thp", pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled"), "madvise", lambda old: "[never]" not in old)]


def _plain(value):
    """What has to be written to get that value again: the word in brackets, where there are several."""
    return value.partition("[")[2].partition("]")[0] if "[" in value else value


@contextlib.contextmanager
def provided(needs):
    """Gives what can be given of `needs` while the block runs. What does not work out is left to the probes."""
    changed = []
    try:
        for need, file, value, enough in _settings():
            with contextlib.suppress(OSError):
                old = file.read_text().strip()
                if need in needs and not enough(old):
                    changed.append((file, _plain(old)))
                    file.write_text(value)
        yield
    finally:
        for file, old in reversed(changed):
            with contextlib.suppress(OSError):
                file.write_text(old)
