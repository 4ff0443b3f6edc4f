"""A broker that a script starts, stops and loses, and where its data lies."""

import os
import signal
import subprocess
import sys
import time

SKIPPED = 77
# What the broker promises for a stop.
STOP_MAX_S = 5

# A script that runs out of time ends by its `finally`s: nothing stays mounted, no broker stays behind.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))


def skip(reason):
    """Ends the script as one that cannot play on this machine."""
    print(reason)
    sys.exit(SKIPPED)


class Plain:
    """A data folder that only loses its broker."""

    def __init__(self, folder):
        self.data = f"{folder}/data"

    def cut(self, process):
        process.kill()
        process.wait()

    def unmount(self):
        pass


class Broker:
    """`brooklet serve` on a free port, and on the same one again after a fault."""

    def __init__(self, program, disk):
        self.program, self.disk, self.port = program, disk, 0
        self.slowest_s = 0.0
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        began = time.monotonic()
        self.log = open(f"{os.path.dirname(self.disk.data)}/broker.log", "ab")
        self.process = subprocess.Popen(
            [self.program, "serve", "--data", f"{self.disk.data}/brooklet", "--listen", f"tcp://127.0.0.1:{self.port}",
             "--admin", "off"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = self.process.stdout.readline()
        assert ready.startswith("ready "), f"the broker said {ready!r}"
        self.port = int(ready.split("tcp://127.0.0.1:")[1].split()[0])
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def fail(self):
        self.disk.cut(self.process)
        self.start()

    def stop(self):
        """Asks it to stop, and says how many seconds that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_MAX_S) == 0, f"it ended with {self.process.returncode}"
        return time.monotonic() - began

    def end(self):
        """Whatever has become of it: it is gone afterwards."""
        self.process.kill()
        self.process.wait()
