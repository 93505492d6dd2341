"""Inner widths that bring COVID-Net Small close to its published size: the arithmetic behind docs/covidnet.md.

    python benchmarks/covidnet_widths.py

Counts the weights and multiply-accumulates of the network in figure 2, at 224 pixels, for every choice of three inner
widths, each a fraction of a block's input or output channels, with the feature maps downsampled before a stage or in
its first depthwise layer. Also counts those of Keras's ResNet-50 V2 with COVID-Net's head.
"""

import itertools

STAGES = ((256, 3), (512, 4), (1024, 6), (2048, 3))
FRACTIONS = (1 / 8, 3 / 16, 1 / 4, 5 / 16, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 1)
PARAMETERS, MACS = 117.4e6, 2.26e9  # as published
HEAD = [(7 * 7 * 2048, 1024), (1024, 256), (256, 3)]
HEAD_WEIGHTS, HEAD_BIASES = sum(a * b for a, b in HEAD), sum(b for _, b in HEAD)


def small(widths: tuple[float, ...], of: str, halved: str) -> tuple[int, int]:
    """Parameters (with batch normalisation) and multiply-accumulates of COVID-Net Small."""
    parameters, macs = 7 * 7 * 3 * 64 + 2 * 64, 7 * 7 * 3 * 64 * 112**2
    inputs, side = 64, 112
    for planes, blocks in STAGES:
        for block in range(blocks):
            a, b, c = (int(width * (inputs if of == "inputs" else planes)) for width in widths)
            before = side if block == 0 and halved == "in the depthwise layer" else side // 2
            first, rest = inputs * a + a * b, 9 * b + b * c + c * planes
            parameters += first + rest + 2 * (a + 2 * b + c + planes)
            macs += first * before**2 + rest * (side // 2) ** 2
            inputs = planes
        side //= 2
    return parameters + HEAD_WEIGHTS + HEAD_BIASES, macs + HEAD_WEIGHTS


def resnet50_v2() -> tuple[int, int]:
    """Parameters (as Keras counts them) and multiply-accumulates of Keras's ResNet-50 V2 with COVID-Net's head."""
    parameters, macs = 7 * 7 * 3 * 64 + 64, 7 * 7 * 3 * 64 * 112**2
    inputs, side = 64, 56
    for planes, blocks, stride in ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1)):
        for block in range(blocks):
            after = side // stride if block == blocks - 1 else side  # downsampled at the end of a stage
            shortcut = inputs * 4 * planes if block == 0 else 0
            behind = 9 * planes**2 + 4 * planes**2
            parameters += inputs * planes + behind + shortcut + 4 * inputs + 8 * planes
            parameters += 4 * planes + (4 * planes if block == 0 else 0)  # biases
            macs += (inputs * planes + shortcut) * side**2 + behind * after**2
            inputs, side = 4 * planes, after
    parameters += 4 * inputs
    return parameters + HEAD_WEIGHTS + HEAD_BIASES, macs + HEAD_WEIGHTS


def main() -> None:
    """Print the ten networks nearest by the larger of the two relative deviations, and the chosen one."""
    rows = []
    for widths in itertools.product(FRACTIONS, repeat=3):
        for of, halved in itertools.product(("inputs", "outputs"), ("before the stage", "in the depthwise layer")):
            parameters, macs = small(widths, of, halved)
            off = max(abs(parameters / PARAMETERS - 1), abs(macs / MACS - 1))
            rows.append((off, widths, of, halved, parameters / 1e6, macs / 1e9))
    rows.sort()
    print(f"{len(rows)} networks")
    chosen = [row for row in rows if row[1:4] == ((1 / 4, 1 / 2, 1 / 4), "inputs", "before the stage")]
    for off, widths, of, halved, parameters, macs in [*rows[:10], *chosen]:
        print(f"{off:.2%} off: {widths} of the {of}, halved {halved}: {parameters:.2f} M, {macs:.3f} G")
    parameters, macs = resnet50_v2()
    print(f"ResNet-50 V2 with COVID-Net's head: {parameters / 1e6:.2f} M, {macs / 1e9:.3f} G")


if __name__ == "__main__":
    main()
