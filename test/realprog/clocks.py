"""Reads clocks through the vdso, at rest most of the time; SIGTERM ends it."""

import signal
import time

stopped = False


def stop(number, frame):
    """Ends the loop."""
    global stopped
    stopped = True


def main():
    """Clocks never run backwards and agree with each other."""
    signal.signal(signal.SIGTERM, stop)
    last = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    print("READY", flush=True)
    while not stopped:
        time.sleep(0.02)
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if now < last:
            print("FAIL: the clock ran backwards")
        last = now
        if abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) > 1:
            print("FAIL: two ways to ask for the time disagree")
        time.clock_getres(time.CLOCK_MONOTONIC)
    print("PASS", flush=True)


main()
