#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the kernel lists of the models (NAME.ini) from the shapes of their layers.

    generate.py            writes every NAME.ini beside this script
    generate.py --check    exit 1 if a file is not what this script makes, or a network's
                           multiply-adds or parameters are not the published ones
    generate.py --list     prints each network's totals

A request is one image of 224 x 224, or one sequence of tokens, in FP32. Each layer is one kernel
launch, by these rules:

  convolution   an implicit GEMM in output tiles of 64 channels x 64 pixels, so
                workgroups = groups * ceil(Cout / groups / 64) * ceil(Hout * Wout / 64).
                Under 60 workgroups, the sum over K = Cin / groups * k * k is split in halves
                until there are 60 or a half would be shorter than 256, as GEMM solvers do.
                flop = 2 * Cout * Hout * Wout * K; bytes = input + output + weights.
  elementwise   normalisation, bias, activation, addition, concatenation, shuffle, pooling:
                a workgroup per 1024 elements of the larger side; bytes = all that is read and
                written.
  GEMM          a linear layer over the tokens of a sequence: as a 1 x 1 convolution whose pixels
                are the tokens. Attention: one GEMM for each of Q, K, V and the output, and batched
                over the heads the scores (Q times K) and the context (scores times V).
  GEMV          a fully connected layer at batch 1: a wave per output and four waves in a
                workgroup; bytes = weights + input + output.

fixed_bytes (weights) are read once whatever the batch; everything else grows with it. Caches are
assumed to hold what a kernel reads more than once, and nothing between kernels.

BatchSizer's ResNets are of the second version, which has the layers of the first in another order.

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

    @staticmethod
    def tiled(tiles, length):
        """Workgroups of a GEMM with so many output tiles that sums over length."""
        split = 1
        while tiles * split < ENOUGH_WORKGROUPS and length // (split * 2) >= SHORTEST_SPLIT:
            split *= 2
        return tiles * split

    def conv(self, cin, cout, k, size, stride=1, groups=1, out=None, width=None):
        """A convolution of k x k (or k x width) without bias on size x size; returns the output's
        size, which is size / stride unless the padding makes it another."""
        out = ceil_div(size, stride) if out is None else out
        width = k if width is None else width
        length = cin // groups * k * width
        tiles = groups * ceil_div(cout // groups, TILE) * ceil_div(out * out, TILE)
        weights = cout * length
        macs = weights * out * out
        if groups == 1:
            name = f"conv{k}x{width}-{cin}-{cout}x{out}"
        elif groups == cin:
            name = f"dwconv{k}x{k}-{cout}x{out}"
        else:
            name = f"gconv{k}x{k}-{cout}x{out}g{groups}"
        if stride > 1:
            name += f"s{stride}"
        self.launch(
            name,
            self.tiled(tiles, length),
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

    def linear(self, inputs, outputs, tokens, learnt=True):
        """A linear layer and its bias, over each token; learnt: its weights are new ones."""
        weights = inputs * outputs
        self.launch(
            f"gemm-{inputs}-{outputs}x{tokens}",
            self.tiled(ceil_div(outputs, TILE) * ceil_div(tokens, TILE), inputs),
            2 * weights * tokens,
            (inputs + outputs) * tokens + weights,
            weights,
        )
        self.macs += weights * tokens
        self.parameters += (weights + outputs) * learnt
        self.sequence("bias", outputs, tokens, fixed=outputs)

    def heads(self, kind, heads, rows, columns, length):
        """A GEMM of two activations for each head: rows x columns, summed over length."""
        macs = heads * rows * columns * length
        self.launch(
            f"{kind}-{heads}x{rows}x{columns}",
            self.tiled(heads * ceil_div(rows, TILE) * ceil_div(columns, TILE), length),
            2 * macs,
            heads * (rows * length + length * columns + rows * columns),
            0,
        )
        self.macs += macs

    def sequence(self, kind, width, tokens, reads=1, flop=1, fixed=0):
        """A pass over width values of each token that writes as many."""
        n = width * tokens
        self.launch(
            f"{kind}-{width}x{tokens}",
            ceil_div(n, ELEMENTS_PER_WORKGROUP),
            flop * n,
            (reads + 1) * n + fixed,
            fixed,
        )

    def layer_norm(self, width, tokens, learnt=True):
        self.sequence("ln", width, tokens, flop=4, fixed=2 * width)
        self.parameters += 2 * width * learnt

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


def resnet(name, blocks, groups=1, group_width=64, source="He et al. 2015"):
    net = Net(name, f"layers of {source}, stride in the 3x3 layer as torchvision has it")
    size = net.conv(3, 64, 7, 224, stride=2)
    net.norm(64, size)
    net.relu(64, size)
    net.max_pool(64, size, size // 2)
    size //= 2
    cin = 64
    for stage, repeats in enumerate(blocks):
        cout = 256 << stage
        width = (64 << stage) * group_width * groups // 64
        for block in range(repeats):
            stride = 2 if stage and not block else 1
            net.conv(cin, width, 1, size)
            net.norm(width, size)
            net.relu(width, size)
            out = net.conv(width, width, 3, size, stride=stride, groups=groups)
            net.norm(width, out)
            net.relu(width, out)
            net.conv(width, cout, 1, out)
            net.norm(cout, out)
            if not block:
                net.conv(cin, cout, 1, size, stride=stride)
                net.norm(cout, out)
            net.add(cout, out)
            net.relu(cout, out)
            size, cin = out, cout
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


def alexnet():
    net = Net("alexnet", "Krizhevsky 2014, as torchvision has it")
    size, cin = net.conv(3, 64, 11, 224, stride=4, out=55), 64
    net.bias(64, size)
    net.relu(64, size)
    for width, k, pooled in ((192, 5, 27), (384, 3, 13), (256, 3, None), (256, 3, None)):
        if pooled:
            net.max_pool(cin, size, pooled)
            size = pooled
        net.conv(cin, width, k, size)
        net.bias(width, size)
        net.relu(width, size)
        cin = width
    net.max_pool(cin, size, 6)
    net.average_pool(cin, 6, out=6)
    net.full(cin * 36, 4096)
    net.relu(4096, 1)
    net.full(4096, 4096)
    net.relu(4096, 1)
    net.full(4096, 1000)
    return net


def densenet(name, blocks):
    net = Net(name, "Huang et al. 2017, growth 32; each layer joins what came before it anew")
    size = net.conv(3, 64, 7, 224, stride=2)
    net.norm(64, size)
    net.relu(64, size)
    net.max_pool(64, size, size // 2)
    size, cin = size // 2, 64
    for block, repeats in enumerate(blocks):
        for _ in range(repeats):
            net.elementwise("concat", cin, size, flop=0)
            net.norm(cin, size)
            net.relu(cin, size)
            net.conv(cin, 128, 1, size)
            net.norm(128, size)
            net.relu(128, size)
            net.conv(128, 32, 3, size)
            cin += 32
        net.elementwise("concat", cin, size, flop=0)
        net.norm(cin, size)
        net.relu(cin, size)
        if block + 1 < len(blocks):
            net.conv(cin, cin // 2, 1, size)
            cin //= 2
            net.average_pool(cin, size, out=size // 2)
            size //= 2
    net.average_pool(cin, size)
    net.full(cin, 1000)
    return net


def squeezenet_conv(net, cin, cout, k, size):
    net.conv(cin, cout, k, size)
    net.bias(cout, size)
    net.relu(cout, size)


def squeezenet():
    net = Net("squeezenet", "1.0 of Iandola et al. 2016")
    size, cin = net.conv(3, 96, 7, 224, stride=2, out=109), 96
    net.bias(cin, size)
    net.relu(cin, size)
    for squeeze, expand, pooled in (
        (16, 64, 54), (16, 64, None), (32, 128, None), (32, 128, 27),
        (48, 192, None), (48, 192, None), (64, 256, None), (64, 256, 13),
    ):
        if pooled:
            net.max_pool(cin, size, pooled)
            size = pooled
        squeezenet_conv(net, cin, squeeze, 1, size)
        squeezenet_conv(net, squeeze, expand, 1, size)
        squeezenet_conv(net, squeeze, expand, 3, size)
        net.elementwise("concat", 2 * expand, size, flop=0)
        cin = 2 * expand
    squeezenet_conv(net, cin, 1000, 1, size)
    net.average_pool(1000, size)
    return net


def unit(net, cin, cout, k, size, **keys):
    """Convolution, normalisation, activation; returns the output's size."""
    out = net.conv(cin, cout, k, size, **keys)
    net.norm(cout, out)
    net.relu(cout, out)
    return out


def mobilenet_v1():
    net = Net("mobilenet-v1", "Howard et al. 2017, width 1.0")
    size, cin = unit(net, 3, 32, 3, 224, stride=2), 32
    for cout, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
        (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
    ):
        size = unit(net, cin, cin, 3, size, stride=stride, groups=cin)
        unit(net, cin, cout, 1, size)
        cin = cout
    net.average_pool(cin, size)
    net.full(cin, 1000)
    return net


def mobilenet_v2():
    net = Net("mobilenet-v2", "Sandler et al. 2018, width 1.0")
    size, cin = unit(net, 3, 32, 3, 224, stride=2), 32
    for expand, cout, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):
        for block in range(repeats):
            wide = cin * expand
            if expand > 1:
                unit(net, cin, wide, 1, size)
            size = unit(net, wide, wide, 3, size, stride=1 if block else stride, groups=wide)
            net.conv(wide, cout, 1, size)
            net.norm(cout, size)
            if block:
                net.add(cout, size)
            cin = cout
    unit(net, cin, 1280, 1, size)
    net.average_pool(1280, size)
    net.full(1280, 1000)
    return net


def googlenet():
    net = Net("inception-v1", "GoogLeNet of Szegedy et al. 2015 as in torchvision, 3x3 for 5x5")
    size = unit(net, 3, 64, 7, 224, stride=2)
    net.max_pool(64, size, 56)
    unit(net, 64, 64, 1, 56)
    unit(net, 64, 192, 3, 56)
    net.max_pool(192, 56, 28)
    size, cin = 28, 192
    for one, three_in, three, five_in, five, pool, pooled in (
        (64, 96, 128, 16, 32, 32, None), (128, 128, 192, 32, 96, 64, 14),
        (192, 96, 208, 16, 48, 64, None), (160, 112, 224, 24, 64, 64, None),
        (128, 128, 256, 24, 64, 64, None), (112, 144, 288, 32, 64, 64, None),
        (256, 160, 320, 32, 128, 128, 7), (256, 160, 320, 32, 128, 128, None),
        (384, 192, 384, 48, 128, 128, None),
    ):
        unit(net, cin, one, 1, size)
        unit(net, cin, three_in, 1, size)
        unit(net, three_in, three, 3, size)
        unit(net, cin, five_in, 1, size)
        unit(net, five_in, five, 3, size)
        net.max_pool(cin, size, size)
        unit(net, cin, pool, 1, size)
        cin = one + three + five + pool
        net.elementwise("concat", cin, size, flop=0)
        if pooled:
            net.max_pool(cin, size, pooled)
            size = pooled
    net.average_pool(cin, size)
    net.full(cin, 1000)
    return net


def chain(net, cin, size, steps):
    """Units one after the other: (channels, height, width of the kernel)."""
    for cout, k, width in steps:
        unit(net, cin, cout, k, size, width=width)
        cin = cout
    return cin


def inception_v3_grid(net, cin, size, out, branches):
    """A block that halves the size: each branch ends in a 3 x 3 of stride 2; and pooling."""
    joined = cin
    for steps, last in branches:
        mid = chain(net, cin, size, steps)
        unit(net, mid, last, 3, size, stride=2, out=out)
        joined += last
    net.max_pool(cin, size, out)
    net.elementwise("concat", joined, out, flop=0)
    return joined


def inception_v3_block(net, cin, size, branches, pool):
    joined = pool
    for steps in branches:
        joined += chain(net, cin, size, steps)
    net.elementwise("avgpool3", cin, size)
    unit(net, cin, pool, 1, size)
    net.elementwise("concat", joined, size, flop=0)
    return joined


def inception_v3_last(net, cin, size):
    """Branches that fork into 1 x 3 and 3 x 1."""
    unit(net, cin, 320, 1, size)
    for steps in (((384, 1, 1),), ((448, 1, 1), (384, 3, 3))):
        mid = chain(net, cin, size, steps)
        unit(net, mid, 384, 1, size, width=3)
        unit(net, mid, 384, 3, size, width=1)
    net.elementwise("avgpool3", cin, size)
    unit(net, cin, 192, 1, size)
    net.elementwise("concat", 2048, size, flop=0)
    return 2048


def inception_v3():
    net = Net("inception-v3", "Szegedy et al. 2016, 299 x 299, without the auxiliary head")
    unit(net, 3, 32, 3, 299, stride=2, out=149)
    unit(net, 32, 32, 3, 149, out=147)
    unit(net, 32, 64, 3, 147)
    net.max_pool(64, 147, 73)
    unit(net, 64, 80, 1, 73)
    unit(net, 80, 192, 3, 73, out=71)
    net.max_pool(192, 71, 35)
    cin, size = 192, 35
    for pool in (32, 64, 64):
        branches = (
            ((64, 1, 1),),
            ((48, 1, 1), (64, 5, 5)),
            ((64, 1, 1), (96, 3, 3), (96, 3, 3)),
        )
        cin = inception_v3_block(net, cin, size, branches, pool)
    cin = inception_v3_grid(net, cin, 35, 17, (((), 384), (((64, 1, 1), (96, 3, 3)), 96)))
    size = 17
    for c in (128, 160, 160, 192):
        branches = (
            ((192, 1, 1),),
            ((c, 1, 1), (c, 1, 7), (192, 7, 1)),
            ((c, 1, 1), (c, 7, 1), (c, 1, 7), (c, 7, 1), (192, 1, 7)),
        )
        cin = inception_v3_block(net, cin, size, branches, 192)
    cin = inception_v3_grid(
        net, cin, 17, 8, ((((192, 1, 1),), 320), (((192, 1, 1), (192, 1, 7), (192, 7, 1)), 192))
    )
    for _ in range(2):
        cin = inception_v3_last(net, cin, 8)
    net.average_pool(cin, 8)
    net.full(cin, 1000)
    return net


def separable(net, cin, cout, k, size, stride=1, multiplier=1):
    """A convolution in each channel, and one over the channels, without anything in between."""
    out = net.conv(cin, cin * multiplier, k, size, stride=stride, groups=cin)
    net.conv(cin * multiplier, cout, 1, out)
    return out


def inception_v2_block(net, cin, size, block, pool, kind="avgpool3"):
    """1 x 1, 3 x 3, two of 3 x 3, and a pooling before a 1 x 1."""
    one, three_in, three, double_in, double = block
    branches = (
        ((one, 1, 1),),
        ((three_in, 1, 1), (three, 3, 3)),
        ((double_in, 1, 1), (double, 3, 3), (double, 3, 3)),
    )
    joined = pool + sum(chain(net, cin, size, steps) for steps in branches)
    net.elementwise(kind, cin, size)
    unit(net, cin, pool, 1, size)
    net.elementwise("concat", joined, size, flop=0)
    return joined


def inception_v2():
    net = Net("inception-v2", "BN-Inception of Ioffe and Szegedy 2015, as TF-slim has it")
    size = separable(net, 3, 64, 7, 224, stride=2, multiplier=8)
    net.norm(64, size)
    net.relu(64, size)
    net.max_pool(64, size, 56)
    unit(net, 64, 64, 1, 56)
    unit(net, 64, 192, 3, 56)
    net.max_pool(192, 56, 28)
    cin = inception_v2_block(net, 192, 28, (64, 64, 64, 64, 96), 32)
    cin = inception_v2_block(net, cin, 28, (64, 64, 96, 64, 96), 64)
    cin = inception_v3_grid(
        net, cin, 28, 14, ((((128, 1, 1),), 160), (((64, 1, 1), (96, 3, 3)), 96))
    )
    for block, pool in (
        ((224, 64, 96, 96, 128), 128), ((192, 96, 128, 96, 128), 128),
        ((160, 128, 160, 128, 160), 96), ((96, 128, 192, 160, 192), 96),
    ):
        cin = inception_v2_block(net, cin, 14, block, pool)
    cin = inception_v3_grid(
        net, cin, 14, 7, ((((128, 1, 1),), 192), (((192, 1, 1), (256, 3, 3)), 256))
    )
    cin = inception_v2_block(net, cin, 7, (352, 192, 320, 160, 224), 128)
    cin = inception_v2_block(net, cin, 7, (352, 192, 320, 192, 224), 128, kind="maxpool3")
    net.average_pool(cin, 7)
    net.full(cin, 1000)
    return net


class Cells:
    """Networks of cells found by search (Zoph et al. 2018, Liu et al. 2018): each cell begins with
    the outputs of the two before it, and five times adds what two operations make of two of its
    states. A state is (channels, size)."""

    def __init__(self, net, operations, inputs, unused):
        self.net = net
        self.operations = operations  # two for each addition: kind, size of the kernel
        self.inputs = inputs  # the state that each is of
        self.unused = unused  # the states that are joined

    def point(self, state, cout, stride=1):
        """1 x 1 with its normalisation, after an activation."""
        channels, size = state
        self.net.relu(channels, size)
        out = self.net.conv(channels, cout, 1, size, stride=stride)
        self.net.norm(cout, out)
        return cout, out

    def halve(self, state, cout):
        """Two halves of the channels, of pixels that lie beside each other."""
        channels, size = state
        out = ceil_div(size, 2)
        self.net.relu(channels, size)
        for half in (cout // 2, cout - cout // 2):
            self.net.elementwise("subsample", channels, size, flop=0, out=out)
            self.net.conv(channels, half, 1, out)
        self.net.elementwise("concat", cout, out, flop=0)
        self.net.norm(cout, out)
        return cout, out

    def fit(self, before, current, width):
        """The output before the last, in the shape of the last."""
        if before is None:
            return current
        if before[1] != current[1]:
            return self.halve(before, width)
        return before if before[0] == width else self.point(before, width)

    def apply(self, operation, state, width, stride):
        kind, k = operation
        channels, size = state
        if kind == "none":
            return self.point(state, width, stride) if stride > 1 or channels != width else state
        if kind == "separable":
            for step in (stride, 1):
                self.net.relu(channels, size)
                size = separable(self.net, channels, width, k, size, stride=step)
                channels = width
                self.net.norm(width, size)
            return width, size
        out = ceil_div(size, stride)
        self.net.elementwise(f"{kind}{k}s{stride}", channels, size, out=out)
        if channels != width:
            self.net.conv(channels, width, 1, out)
            self.net.norm(width, out)
        return width, out

    def cell(self, current, before, width, stride=1):
        before = self.fit(before, current, width)
        states = [self.point(current, width), before]
        for i in range(0, len(self.operations), 2):
            pair = [
                self.apply(self.operations[j], states[self.inputs[j]], width,
                           stride if self.inputs[j] < 2 else 1)
                for j in (i, i + 1)
            ]
            if pair[0] != pair[1]:
                raise ValueError(f"{self.net.name}: {pair[0]} and {pair[1]} cannot be added")
            self.net.add(*pair[0])
            states.append(pair[0])
        joined = sum(states[i][0] for i in self.unused)
        self.net.elementwise("concat", joined, states[-1][1], flop=0)
        return joined, states[-1][1]


def searched(net, normal, reduction, cells, width):
    """The mobile arrangement: two cells that halve as the stem, then three parts of normal cells,
    the later two twice as wide as the one before and with half its size."""
    size = net.conv(3, 32, 3, 224, stride=2, out=111)
    net.norm(32, size)
    outputs = [None, (32, size)]
    for stem in (width // 4, width // 2):
        outputs.append(reduction.cell(outputs[-1], outputs[-2], stem, stride=2))
    for number in range(cells):
        if number in (cells // 3, 2 * cells // 3):
            width *= 2
            outputs.append(reduction.cell(outputs[-1], outputs[-2], width, stride=2))
            # Cells of one kind: the one that halves is one of them.
            if reduction is normal:
                continue
        outputs.append(normal.cell(outputs[-1], outputs[-2], width))
    channels, size = outputs[-1]
    net.relu(channels, size)
    net.average_pool(channels, size)
    net.full(channels, 1000)
    return net


def nasnet_mobile():
    net = Net("nasnet-mobile", "NASNet-A (4 @ 1056) of Zoph et al. 2018, as TF-slim has it")
    five, three, seven = ("separable", 5), ("separable", 3), ("separable", 7)
    average, largest, none = ("avgpool", 3), ("maxpool", 3), ("none", 1)
    normal = Cells(
        net,
        (five, three, five, three, average, none, average, average, three, none),
        (0, 1, 1, 1, 0, 1, 1, 1, 0, 0),
        (1, 2, 3, 4, 5, 6),
    )
    reduction = Cells(
        net,
        (five, seven, largest, seven, average, five, none, average, three, largest),
        (0, 1, 0, 1, 0, 1, 3, 2, 2, 0),
        (3, 4, 5, 6),
    )
    return searched(net, normal, reduction, 12, 44)


def pnasnet_mobile():
    net = Net("pnasnet-mobile", "PNASNet-5 (3 @ 54) of Liu et al. 2018, as TF-slim has it")
    five, three, seven = ("separable", 5), ("separable", 3), ("separable", 7)
    largest, none = ("maxpool", 3), ("none", 1)
    cell = Cells(
        net,
        (five, largest, seven, largest, five, three, three, largest, three, none),
        (1, 1, 0, 0, 0, 0, 4, 0, 1, 0),
        (2, 3, 4, 5, 6),
    )
    return searched(net, cell, cell, 9, 54)


def transformer(name, source, tokens, vocabulary, positions, types, embedding=768, shared=False,
                gelu=1):
    """An encoder of 12 layers, 768 wide, 12 heads; shared: all layers have the same weights; gelu:
    launches of the activation: one where there is a kernel for it (by the error function), three
    where it is put together of others (by the hyperbolic tangent, as ALBERT has it: the cubic, its
    tangent, the product)."""
    net = Net(name, f"{source}, {tokens} tokens")
    width, heads, inner = 768, 12, 3072
    for kind, rows in (("words", vocabulary), ("positions", positions), ("types", types)):
        net.sequence(kind, embedding, tokens, flop=0)
        net.parameters += rows * embedding
    net.sequence("add", embedding, tokens, reads=2)
    net.sequence("add", embedding, tokens, reads=2)
    net.layer_norm(embedding, tokens)
    if embedding != width:
        net.linear(embedding, width, tokens)
    for layer in range(12):
        learnt = not (shared and layer)
        for _ in ("query", "key", "value"):
            net.linear(width, width, tokens, learnt)
        net.heads("scores", heads, tokens, tokens, width // heads)
        net.sequence("scale", heads * tokens, tokens)
        net.sequence("mask", heads * tokens, tokens)
        net.sequence("softmax", heads * tokens, tokens, flop=4)
        net.heads("context", heads, tokens, width // heads, tokens)
        net.linear(width, width, tokens, learnt)
        net.sequence("add", width, tokens, reads=2)
        net.layer_norm(width, tokens, learnt)
        net.linear(width, inner, tokens, learnt)
        for _ in range(gelu):
            net.sequence("gelu", inner, tokens, flop=8 // gelu)
        net.linear(inner, width, tokens, learnt)
        net.sequence("add", width, tokens, reads=2)
        net.layer_norm(width, tokens, learnt)
    net.full(width, width)
    net.sequence("tanh", width, 1)
    return net


# Network, published multiply-adds (10^9; None: not of this form) and parameters (torchvision's and
# the transformers' model metadata, Keras' of the mobile NASNet; a text: millions, rounded, as in
# TF-slim's list and PNASNet's paper). Inception V2 is published with a first layer that is whole,
# 0.08 more, as about 2.0.
NETS = (
    (resnet("resnet50", (3, 4, 6, 3)), 4.09, 25557032),
    (resnet("resnet101", (3, 4, 23, 3)), 7.80, 44549160),
    (resnet("resnet152", (3, 8, 36, 3)), 11.51, 60192808),
    (
        resnet("resnext101", (3, 4, 23, 3), 32, 8, "Xie et al. 2017, 32 groups of 8"),
        16.41,
        88791336,
    ),
    (mobilenet_v1(), 0.569, 4231976),
    (mobilenet_v2(), 0.301, 3504872),
    (googlenet(), 1.498, 6624904),
    (inception_v2(), None, "11.2"),
    (inception_v3(), 5.713, 23834568),
    (nasnet_mobile(), 0.564, 5289978),
    (pnasnet_mobile(), 0.588, "5.1"),
    (vgg19(), 19.63, 143667240),
    (shufflenet(), 0.145, 2278604),
    (squeezenet(), 0.819, 1248424),
    (alexnet(), 0.714, 61100840),
    (densenet("densenet121", (6, 12, 24, 16)), 2.834, 7978856),
    (densenet("densenet201", (6, 12, 48, 32)), 4.29, 20013928),
    (
        transformer(
            "albert", "base v2 of Lan et al. 2020", 128, 30000, 512, 2, 128, shared=True, gelu=3
        ),
        11.2,
        11683584,
    ),
    (transformer("bert-base", "Devlin et al. 2019", 128, 30522, 512, 2), 11.2, 109482240),
    (transformer("roberta-base", "Liu et al. 2019", 110, 50265, 514, 1), None, 124645632),
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
    if gmac and abs(net.macs / 1e9 / gmac - 1) > 0.01:
        yield f"{net.name}: {net.macs / 1e9:.4f} GMAC, published are {gmac}"
    rounded = isinstance(parameters, str)
    if (f"{net.parameters / 1e6:.1f}" if rounded else net.parameters) != parameters:
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
