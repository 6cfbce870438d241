#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the kernel lists of the models (NAME.ini) from the shapes of their layers.

    generate.py            writes every NAME.ini beside this script
    generate.py --check    exit 1 if a file is not what this script makes, or a network's
                           multiply-adds or parameters are not the published ones
    generate.py --list     prints each network's totals

A request is one image of 224 x 224 in FP32. Each layer is one kernel launch, by these rules:

  convolution   an implicit GEMM in output tiles of 64 channels x 64 pixels, so
                workgroups = groups * ceil(Cout / groups / 64) * ceil(Hout * Wout / 64).
                Under 60 workgroups, the sum over K = Cin / groups * k * k is split in halves
                until there are 60 or a half would be shorter than 256, as GEMM solvers do.
                flop = 2 * Cout * Hout * Wout * K; bytes = input + output + weights.
  elementwise   normalisation, bias, activation, addition, concatenation, shuffle, pooling:
                a workgroup per 1024 elements of the larger side; bytes = all that is read and
                written.
  GEMV          a fully connected layer at batch 1: a wave per output and four waves in a
                workgroup; bytes = weights + input + output.

fixed_bytes (weights) are read once whatever the batch; everything else grows with it. Caches are
assumed to hold what a kernel reads more than once, and nothing between kernels.

To add a model: write a function that returns its Net and put it into NETS.
"""

import argparse
import pathlib
import sys

WORD = 4  # bytes of an FP32 value
TILE = 64
ENOUGH_WORKGROUPS = 60  # the compute units of the card that the solvers are tuned for
SHORTEST_SPLIT = 256
ELEMENTS_PER_WORKGROUP = 1024
OUTPUTS_PER_GEMV_WORKGROUP = 4
FIELDS = ("count", "workgroups", "flop", "bytes", "fixed_bytes")


def ceil_div(a, b):
    return -(-a // b)


class Net:
    """A network as it is walked layer by layer; layers of one shape fall into one class."""

    def __init__(self, name, source):
        self.name = name
        self.source = source
        self.kernels = {}
        self.macs = 0
        self.parameters = 0

    def launch(self, name, workgroups, flop, words, fixed_words):
        shape = (workgroups, flop, words * WORD, fixed_words * WORD)
        known = self.kernels.setdefault(name, [0, shape])
        if known[1] != shape:
            raise ValueError(f"{self.name}: two shapes are both called {name}")
        known[0] += 1

    def launches(self):
        return sum(count for count, _ in self.kernels.values())

    def conv(self, cin, cout, k, size, stride=1, groups=1):
        """A square convolution without bias on size x size; returns the output's size."""
        out = ceil_div(size, stride)
        length = cin // groups * k * k
        workgroups = groups * ceil_div(cout // groups, TILE) * ceil_div(out * out, TILE)
        split = 1
        while workgroups * split < ENOUGH_WORKGROUPS and length // (split * 2) >= SHORTEST_SPLIT:
            split *= 2
        weights = cout * length
        macs = weights * out * out
        if groups == 1:
            name = f"conv{k}x{k}-{cin}-{cout}x{out}"
        elif groups == cin:
            name = f"dwconv{k}x{k}-{cout}x{out}"
        else:
            name = f"gconv{k}x{k}-{cout}x{out}g{groups}"
        if stride > 1:
            name += f"s{stride}"
        self.launch(
            name,
            workgroups * split,
            2 * macs,
            cin * size * size + cout * out * out + weights,
            weights,
        )
        self.macs += macs
        self.parameters += weights
        return out

    def elementwise(self, kind, channels, size, reads=1, flop=1, out=None, fixed=0):
        """A pass over channels x size x size that writes channels x out x out."""
        before = channels * size * size
        after = before if out is None else channels * out * out
        self.launch(
            f"{kind}-{channels}x{size}",
            ceil_div(max(before, after), ELEMENTS_PER_WORKGROUP),
            flop * before,
            reads * before + after + fixed,
            fixed,
        )

    def norm(self, channels, size):
        # Scale and shift are learnt; mean and variance are read as well but are no parameters.
        self.elementwise("bn", channels, size, flop=2, fixed=4 * channels)
        self.parameters += 2 * channels

    def bias(self, channels, size):
        self.elementwise("bias", channels, size, fixed=channels)
        self.parameters += channels

    def relu(self, channels, size):
        self.elementwise("relu", channels, size)

    def add(self, channels, size):
        self.elementwise("add", channels, size, reads=2)

    def max_pool(self, channels, size, out):
        self.elementwise("maxpool", channels, size, out=out)

    def average_pool(self, channels, size, out=1):
        self.elementwise("avgpool", channels, size, out=out)

    def full(self, inputs, outputs):
        """A fully connected layer and its bias."""
        weights = inputs * outputs
        self.launch(
            f"gemv-{inputs}x{outputs}",
            ceil_div(outputs, OUTPUTS_PER_GEMV_WORKGROUP),
            2 * weights,
            weights + inputs + outputs,
            weights,
        )
        self.macs += weights
        self.parameters += weights
        self.bias(outputs, 1)


def resnet(name, blocks):
    net = Net(name, "layers of He et al. 2015, stride in the 3x3 layer as torchvision has it")
    size = net.conv(3, 64, 7, 224, stride=2)
    net.norm(64, size)
    net.relu(64, size)
    net.max_pool(64, size, size // 2)
    size //= 2
    cin = 64
    for stage, repeats in enumerate(blocks):
        width = 64 << stage
        for block in range(repeats):
            stride = 2 if stage and not block else 1
            net.conv(cin, width, 1, size)
            net.norm(width, size)
            net.relu(width, size)
            out = net.conv(width, width, 3, size, stride=stride)
            net.norm(width, out)
            net.relu(width, out)
            net.conv(width, 4 * width, 1, out)
            net.norm(4 * width, out)
            if not block:
                net.conv(cin, 4 * width, 1, size, stride=stride)
                net.norm(4 * width, out)
            net.add(4 * width, out)
            net.relu(4 * width, out)
            size, cin = out, 4 * width
    net.average_pool(cin, size)
    net.full(cin, 1000)
    return net


def vgg19():
    net = Net("vgg19", "configuration E of Simonyan and Zisserman 2014")
    size, cin = 224, 3
    for width, repeats in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(repeats):
            net.conv(cin, width, 3, size)
            net.bias(width, size)
            net.relu(width, size)
            cin = width
        net.max_pool(width, size, size // 2)
        size //= 2
    net.average_pool(cin, size, out=size)
    net.full(cin * size * size, 4096)
    net.relu(4096, 1)
    net.full(4096, 4096)
    net.relu(4096, 1)
    net.full(4096, 1000)
    return net


def shufflenet_branch(net, cin, width, size, stride):
    """The longer branch of a unit: pointwise, depthwise, pointwise."""
    net.conv(cin, width, 1, size)
    net.norm(width, size)
    net.relu(width, size)
    out = net.conv(width, width, 3, size, stride=stride, groups=width)
    net.norm(width, out)
    net.conv(width, width, 1, out)
    net.norm(width, out)
    net.relu(width, out)
    return out


def shufflenet():
    net = Net("shufflenet", "V2 x1.0 of Ma et al. 2018; splitting the channels is free")
    size = net.conv(3, 24, 3, 224, stride=2)
    net.norm(24, size)
    net.relu(24, size)
    net.max_pool(24, size, size // 2)
    size //= 2
    cin = 24
    for width, repeats in ((116, 4), (232, 8), (464, 4)):
        half = width // 2
        for unit in range(repeats):
            if not unit:
                out = net.conv(cin, cin, 3, size, stride=2, groups=cin)
                net.norm(cin, out)
                net.conv(cin, half, 1, out)
                net.norm(half, out)
                net.relu(half, out)
                size = shufflenet_branch(net, cin, half, size, 2)
            else:
                shufflenet_branch(net, half, half, size, 1)
            net.elementwise("concat", width, size, flop=0)
            net.elementwise("shuffle", width, size, flop=0)
        cin = width
    net.conv(cin, 1024, 1, size)
    net.norm(1024, size)
    net.relu(1024, size)
    net.average_pool(1024, size)
    net.full(1024, 1000)
    return net


# Network, published multiply-adds (10^9) and parameters (torchvision's model metadata).
NETS = (
    (resnet("resnet50", (3, 4, 6, 3)), 4.09, 25557032),
    (resnet("resnet152", (3, 8, 36, 3)), 11.51, 60192808),
    (vgg19(), 19.63, 143667240),
    (shufflenet(), 0.145, 2278604),
)


def ini_text(net):
    lines = [
        "; made by profiles/models/generate.py, which documents the formulas; do not edit",
        f"; {net.source}",
        f"; {net.launches()} launches, {net.macs / 1e9:.3f} GMAC, {net.parameters} parameters",
        "[model]",
        f"name = {net.name}",
    ]
    for name, (count, shape) in net.kernels.items():
        lines += ["", f"[kernel {name}]"]
        lines += [f"{field} = {value}" for field, value in zip(FIELDS, (count, *shape))]
    return "\n".join(lines) + "\n"


def check(net, gmac, parameters, path):
    """The reasons why this network or its file is wrong."""
    if abs(net.macs / 1e9 / gmac - 1) > 0.01:
        yield f"{net.name}: {net.macs / 1e9:.4f} GMAC, published are {gmac}"
    if net.parameters != parameters:
        yield f"{net.name}: {net.parameters} parameters, published are {parameters}"
    if not path.exists() or path.read_text(encoding="ascii") != ini_text(net):
        yield f"{path}: not what this script makes; run it without --check"


def main():
    parser = argparse.ArgumentParser(description="Makes the kernel lists of the models.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--list", action="store_true", help="print totals, write nothing")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    wrong = []
    for net, gmac, parameters in NETS:
        path = arguments.directory / f"{net.name}.ini"
        if arguments.list:
            print(
                f"{net.name}: {len(net.kernels)} classes, {net.launches()} launches, "
                f"{net.macs / 1e9:.3f} GMAC, {net.parameters} parameters"
            )
        elif arguments.check:
            wrong += check(net, gmac, parameters, path)
        else:
            path.write_text(ini_text(net), encoding="ascii")
    for reason in wrong:
        print(reason, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
