"""A broker that a script starts, stops and loses, and where its data lies."""

import os
import signal
import subprocess
import sys
import time

SKIPPED = 77
# What the broker promises for a stop.
STOP_MAX_S = 5

# The way to it, and what it is configured with there; `src/way.rs` says more.
WAY = os.environ.get("BROOKLET_WAY", "tcp")
CONFIG = os.environ.get("BROOKLET_CONFIG")
SCHEME = {"tcp": "tcp", "tls": "tls", "sasl": "tls", "tunnel": "quic"}[WAY]

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
    """`brooklet serve` on a free port, and on the same one again after a fault. A tunnel to it stays through all of them."""

    def __init__(self, program, disk):
        self.program, self.disk, self.port, self.tunnel = program, disk, 0, None
        self.slowest_s = 0.0
        self.start()
        # Where clients connect, and the same as our own program has it.
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"{SCHEME}://{self.address}"
        if WAY == "tunnel":
            try:
                self.tunnel, self.url = self.run("tunnel", "--listen", "127.0.0.1:0", "--to", self.serving)
            except BaseException:
                self.end()
                raise
            self.address = self.url.removeprefix("tcp://")

    def run(self, *arguments):
        """The program, and the address that it is ready at."""
        with open(f"{os.path.dirname(self.disk.data)}/{arguments[0]}.log", "ab") as log:
            process = subprocess.Popen([self.program, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
        ready = process.stdout.readline()
        assert ready.startswith("ready "), f"{arguments[0]} said {ready!r}"
        return process, ready.split()[1]

    def start(self):
        began = time.monotonic()
        arguments = ["--config", CONFIG] if CONFIG else []
        if WAY == "sasl":
            arguments += ["--sasl", os.environ["BROOKLET_SASL_MECHANISM"]]
        self.process, self.serving = self.run(
            "serve", "--data", f"{self.disk.data}/brooklet", "--admin", "off",
            "--listen", f"{SCHEME}://127.0.0.1:{self.port}", *arguments)
        self.port = int(self.serving.split("://127.0.0.1:")[1].split("?")[0])
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
        for process in filter(None, (self.tunnel, self.process)):
            process.kill()
            process.wait()
