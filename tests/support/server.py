# SPDX-License-Identifier: Apache-2.0
"""An ordinary HIP server in plain Python, on libamdhip64 by ctypes as frameworks bind it, for tests
on simulated cards. It serves made-up requests of a model (profiles/models/*.ini): copies in, the
model's kernels, fills, copies out; every byte that comes back from copies and fills is compared.

    server.py [--cards 0,1] [--model FILE] [--code FILE] [--rate RPS] [--count LIBCOFRIS]

A thread per card serves, --rate requests a second in all, or as fast as it goes. With --count it
counts its requests by libcofris.so, as a server would that knows cofris; what follows masks is the
HSA tool or nothing. Reads lines: "rate RPS" (0: as fast as it goes), "counts". Prints "ready" when
each card has served a request, a line of counts when asked, and that line at the end: at the end of
its input or at SIGTERM. Exits with 1 if a byte was wrong or a call failed."""

import argparse
import configparser
import ctypes
import os
import random
import signal
import sys
import threading
import time

BYTES = 1 << 16
HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
HIP = ctypes.CDLL("libamdhip64.so.5")  # RTLD_LOCAL
HIP.hipGetErrorString.restype = ctypes.c_char_p


class Options(ctypes.Structure):
    """struct cofris_options"""
    _fields_ = [("size", ctypes.c_size_t), ("model", ctypes.c_char_p),
                ("instance", ctypes.c_char_p), ("socket_path", ctypes.c_char_p),
                ("devices", ctypes.c_void_p), ("n_devices", ctypes.c_uint32),
                ("follows", ctypes.c_uint32), ("reports", ctypes.c_uint32),
                ("slots", ctypes.c_uint32), ("apply", ctypes.c_void_p),
                ("userdata", ctypes.c_void_p)]


class Device(ctypes.Structure):
    """struct cofris_device"""
    _fields_ = [("bdf", ctypes.c_char * 13), ("partition", ctypes.c_uint8),
                ("reserved", ctypes.c_uint8 * 2)]


class Request(ctypes.Structure):
    """struct cofris_request"""
    _fields_ = [("arrival_ns", ctypes.c_uint64), ("start_delta", ctypes.c_uint32),
                ("weight", ctypes.c_uint16), ("demand_class", ctypes.c_uint8),
                ("flags", ctypes.c_uint8)]


REPORTS_STARTS = 1


class Counted:
    """A channel of libcofris that only counts."""

    def __init__(self, library, model, bdfs):
        self.lib = ctypes.CDLL(library)
        self.lib.cofris_begin.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        self.lib.cofris_begin.restype = Request
        self.lib.cofris_start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
        self.lib.cofris_end.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self.lib.cofris_close.argtypes = [ctypes.c_void_p]
        self.channel = ctypes.c_void_p()
        devices = (Device * len(bdfs))(*(Device(bdf=bdf.encode()) for bdf in bdfs))
        options = Options(size=ctypes.sizeof(Options), model=model.encode(),
                          devices=ctypes.addressof(devices), n_devices=len(bdfs),
                          reports=REPORTS_STARTS, slots=len(bdfs))
        r = self.lib.cofris_open(ctypes.byref(options), ctypes.byref(self.channel))
        if r < 0:
            raise OSError(-r, f"cofris_open: {os.strerror(-r)}")

    def begin(self):
        return self.lib.cofris_begin(self.channel, 1)

    def start(self, request):
        self.lib.cofris_start(self.channel, ctypes.byref(request), 1)

    def end(self, request):
        self.lib.cofris_end(self.channel, ctypes.byref(request), 0)

    def close(self):
        self.lib.cofris_close(self.channel)


class Uncounted:
    def begin(self):
        return None

    def start(self, request):
        pass

    def end(self, request):
        pass

    def close(self):
        pass


def hip(name, *arguments):
    r = getattr(HIP, name)(*arguments)
    if r != 0:
        raise RuntimeError(f"{name}: {HIP.hipGetErrorString(r).decode()}")


def allocated(name, size):
    p = ctypes.c_void_p()
    hip(name, ctypes.byref(p), ctypes.c_size_t(size), *([0] if name == "hipHostMalloc" else []))
    return p


def launches(path):
    """Workgroups, and FLOP and bytes of each, of each launch of the model."""
    ini = configparser.ConfigParser()
    with open(path) as f:
        ini.read_file(f)
    rows = []
    for name in ini.sections():
        if name.startswith("kernel "):
            k = {key: float(value) for key, value in ini[name].items()}
            rows += [(int(k["workgroups"]), int(k["flop"] / k["workgroups"]),
                      int(k["bytes"] / k["workgroups"]))] * int(k["count"])
    return ini["model"]["name"], rows


class Card:
    """A card with a stream, memory and a code object; one thread uses it."""

    def __init__(self, index, code):
        self.index, self.random = index, random.Random(index + 1)
        hip("hipSetDevice", index)
        self.stream, module, self.kernel = (ctypes.c_void_p() for _ in range(3))
        hip("hipStreamCreateWithFlags", ctypes.byref(self.stream), 1)
        hip("hipModuleLoad", ctypes.byref(module), code.encode())
        hip("hipModuleGetFunction", ctypes.byref(self.kernel), module, b"work")
        self.a, self.b, self.scratch = (allocated("hipMalloc", BYTES) for _ in range(3))
        self.host_in, self.host_out = (allocated("hipHostMalloc", BYTES) for _ in range(2))

    def bdf(self):
        text = ctypes.create_string_buffer(32)
        hip("hipDeviceGetPCIBusId", text, 32, self.index)
        return text.value.decode().lower()

    def copy(self, to, source, n, kind):
        hip("hipMemcpyAsync", to, source, ctypes.c_size_t(n), kind, self.stream)

    def launch(self, workgroups, flop, n_bytes):
        arguments = (ctypes.c_uint64(flop), ctypes.c_uint64(n_bytes), self.scratch)
        pointers = (ctypes.c_void_p * 3)(*map(ctypes.addressof, arguments))
        hip("hipModuleLaunchKernel", self.kernel, workgroups, 1, 1, 256, 1, 1, 0, self.stream,
            pointers, None)

    def serve(self, rows):
        """One request; the number of wrong bytes."""
        n, fill = self.random.randint(1, BYTES), self.random.randint(0, 255)
        filled = self.random.randint(0, n)
        data = self.random.randbytes(n)
        ctypes.memmove(self.host_in, data, n)
        ctypes.memset(self.host_out, 0, n)
        self.copy(self.a, self.host_in, n, HOST_TO_DEVICE)
        for row in rows:
            self.launch(*row)
        self.copy(self.b, self.a, n, DEVICE_TO_DEVICE)
        if filled:
            hip("hipMemsetAsync", self.b, fill, ctypes.c_size_t(filled), self.stream)
        self.copy(self.host_out, self.b, n, DEVICE_TO_HOST)
        hip("hipStreamSynchronize", self.stream)
        got, want = ctypes.string_at(self.host_out, n), bytes([fill]) * filled + data[filled:]
        return 0 if got == want else sum(x != y for x, y in zip(got, want))


class Server:
    def __init__(self, options):
        model, self.rows = launches(options.model)
        self.rate, self.stopping, self.lock = options.rate, False, threading.Lock()
        self.totals = dict.fromkeys(("begun", "ended", "wrong", "errors"), 0)
        self.cards = [Card(int(i), options.code) for i in options.cards.split(",")]
        self.channel = (Counted(options.count, model, [c.bdf() for c in self.cards])
                        if options.count else Uncounted())
        self.n_ready = 0

    def add(self, name, n=1):
        with self.lock:
            self.totals[name] += n

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def show(self):
        self.say(" ".join(f"{k}={v}" for k, v in self.totals.items()))

    def serve(self, card, first):
        request = self.channel.begin()
        self.add("begun")
        self.channel.start(request)
        self.add("wrong", card.serve(self.rows))
        self.channel.end(request)
        self.add("ended")
        if first:
            with self.lock:
                self.n_ready += 1
                ready = self.n_ready == len(self.cards)
            if ready:
                self.say("ready")

    def run(self, card):
        first, due = True, time.monotonic()
        try:
            hip("hipSetDevice", card.index)
            while not self.stopping:
                self.serve(card, first)
                first = False
                rate = self.rate
                # Late ones are not made up for: this is a load, not a measurement.
                due = max(due + len(self.cards) / rate, time.monotonic()) if rate else 0
                while not self.stopping and self.rate == rate and time.monotonic() < due:
                    time.sleep(min(0.05, max(0, due - time.monotonic())))
        except Exception as e:
            print(f"server.py: {e}", file=sys.stderr, flush=True)
            self.add("errors")
            os.kill(os.getpid(), signal.SIGTERM)

    def read_lines(self):
        for line in sys.stdin:
            words = line.split()
            if words[0] == "rate":
                self.rate = float(words[1])
            else:
                self.show()
        os.kill(os.getpid(), signal.SIGTERM)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--cards", default="0")
    a.add_argument("--model", required=True)
    a.add_argument("--code", required=True)
    a.add_argument("--rate", type=float, default=0)
    a.add_argument("--count")
    stop = {signal.SIGTERM, signal.SIGINT}
    # Before HIP makes threads of its own, so that none of them takes a signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    server = Server(a.parse_args())
    threads = [threading.Thread(target=server.run, args=(card,)) for card in server.cards]
    for thread in threads:
        thread.start()
    threading.Thread(target=server.read_lines, daemon=True).start()
    signal.sigwait(stop)
    server.stopping = True
    for thread in threads:
        thread.join()
    server.channel.close()
    server.show()
    sys.exit(1 if server.totals["wrong"] or server.totals["errors"] else 0)


if __name__ == "__main__":
    main()
