# SPDX-License-Identifier: Apache-2.0
"""libcofris.so by ctypes, as a server in Python uses it: counts requests and follows nothing."""

import ctypes
import os


class Options(ctypes.Structure):
    """struct cofris_options"""
    _fields_ = [("size", ctypes.c_size_t), ("model", ctypes.c_char_p),
                ("instance", ctypes.c_char_p), ("socket_path", ctypes.c_char_p), ("devices", ctypes.c_void_p),
                ("n_devices", ctypes.c_uint32), ("follows", ctypes.c_uint32),
                ("reports", ctypes.c_uint32), ("slots", ctypes.c_uint32),
                ("apply", ctypes.c_void_p), ("userdata", ctypes.c_void_p)]


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

    def __init__(self, library, model, bdfs, socket=None):
        self.lib = ctypes.CDLL(library)
        self.lib.cofris_begin.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        self.lib.cofris_begin.restype = Request
        self.lib.cofris_start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
        self.lib.cofris_end.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self.lib.cofris_close.argtypes = [ctypes.c_void_p]
        self.channel = ctypes.c_void_p()
        devices = (Device * len(bdfs))(*(Device(bdf=bdf.encode()) for bdf in bdfs))
        options = Options(size=ctypes.sizeof(Options), model=model.encode(),
                          socket_path=socket and socket.encode(),
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
