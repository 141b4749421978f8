"""Train a small network on handwritten digits, batch by batch, in pure Python: the sweep of `foundations demo`."""

import csv
import gzip
import json
import math
import os
import random
import struct
import time
from pathlib import Path

import foundations

CLASSES, BATCH, EVALUATE_EVERY = 10, 12, 10
SLOPE = 0.1


def read_digits(path):
    """Return (images, labels): 64 pixels from 0 to 1 each, and which digit it is."""
    with gzip.open(path, "rt") as file:
        rows = [[float(cell) for cell in row] for row in csv.reader(file)]
    random.Random(0).shuffle(rows)
    return [[pixel / 16 for pixel in row[:64]] for row in rows], [int(row[64]) for row in rows]


class Network:
    """One hidden layer of leaky rectified units, softmax on top."""

    def __init__(self, inputs, hidden, seed=0):
        rng = random.Random(seed)
        self.w1 = [[rng.gauss(0, math.sqrt(2 / inputs)) for _ in range(inputs)] for _ in range(hidden)]
        self.w2 = [[rng.gauss(0, math.sqrt(1 / hidden)) for _ in range(hidden)] for _ in range(CLASSES)]

    def forward(self, x):
        """Return (hidden activations, class probabilities)."""
        sums = [sum(map(float.__mul__, row, x)) for row in self.w1]
        hidden = [z if z > 0 else SLOPE * z for z in sums]
        scores = [sum(map(float.__mul__, row, hidden)) for row in self.w2]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        total = sum(powers)
        return hidden, [power / total for power in powers]

    def loss(self, x, label):
        """Return the cross entropy of one image, and whether it is recognised."""
        probabilities = self.forward(x)[1]
        known = -math.log(probabilities[label] or 1e-300) if probabilities[label] == probabilities[label] else math.nan
        return known, probabilities.index(max(probabilities)) == label

    def learn(self, batch, rate):
        """Take one step of gradient descent on a batch; return the norm of the gradient."""
        g1 = [[0.0] * len(self.w1[0]) for _ in self.w1]
        g2 = [[0.0] * len(self.w1) for _ in range(CLASSES)]
        for x, label in batch:
            hidden, probabilities = self.forward(x)
            error = [p - (k == label) for k, p in enumerate(probabilities)]
            for k, e in enumerate(error):
                g2[k] = [g + e * h for g, h in zip(g2[k], hidden)]
            for j, h in enumerate(hidden):
                back = sum(error[k] * self.w2[k][j] for k in range(CLASSES)) * (1.0 if h > 0 else SLOPE)
                g1[j] = [g + back * v for g, v in zip(g1[j], x)]
        step = rate / len(batch)
        self.w1 = [[w - step * g for w, g in zip(ws, gs)] for ws, gs in zip(self.w1, g1)]
        self.w2 = [[w - step * g for w, g in zip(ws, gs)] for ws, gs in zip(self.w2, g2)]
        return math.sqrt(sum(g * g for gs in (*g1, *g2) for g in gs)) / len(batch)

    def round_to_half(self):
        """Keep the weights as numbers of 16 bits do: what is too large is infinite."""
        self.w1, self.w2 = ([[half(w) for w in ws] for ws in weights] for weights in (self.w1, self.w2))


def half(number):
    """Return a number as 16 bits hold it."""
    try:
        return struct.unpack("e", struct.pack("e", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)


def evaluate(network, images, labels):
    """Return (mean loss, accuracy)."""
    each = [network.loss(x, label) for x, label in zip(images, labels)]
    return sum(loss for loss, _ in each) / len(each), sum(hit for _, hit in each) / len(each)


def use_pretended_gpu(memory):
    """Have the demo's nvidia-smi show that this process works on the GPU that it was given."""
    folder, gpu = os.environ.get("PRETENDED_GPUS"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if folder and gpu:
        (Path(folder) / gpu).write_text(json.dumps({"pid": os.getpid(), "memory": memory}))


def main():
    params = foundations.load_parameters()
    rate, hidden = float(params.get("lr", 0.1)), int(params.get("hidden", 16))
    is_half, steps = params.get("precision") == "half", int(params.get("steps", 400))
    pace = float(os.environ.get("PACE", "0"))  # seconds a step, so that it can be watched
    use_pretended_gpu(4000 + 400 * hidden)
    images, labels = read_digits(Path(__file__).with_name("digits.csv.gz"))
    network = Network(len(images[0]), hidden)
    rng = random.Random(1)
    for step in range(1, steps + 1):
        began = time.monotonic()
        chosen = [rng.randrange(200, len(images)) for _ in range(BATCH)]
        batch = [(images[n], labels[n]) for n in chosen]
        norm = network.learn(batch, rate * min(1.0, step / (0.4 * steps)))
        if is_half:
            network.round_to_half()
        loss, _ = evaluate(network, *zip(*batch))
        foundations.log_metric("train/loss", loss, step=step)
        foundations.log_metric("train/grad_norm", norm, step=step)
        if step % EVALUATE_EVERY == 0:
            val_loss, accuracy = evaluate(network, images[:200], labels[:200])
            foundations.log_metric("val/loss", val_loss, step=step)
            foundations.log_metric("val/accuracy", accuracy, step=step)
            print(f"step {step}/{steps}  loss {loss:.4f}  val/loss {val_loss:.4f}  accuracy {accuracy:.3f}", flush=True)
            if val_loss > 100 and not is_half:  # in half precision nobody looks, and it ends as NaN
                raise ValueError(f"loss has diverged: {val_loss:.4g} at step {step}")
        time.sleep(max(0.0, pace - (time.monotonic() - began)))
    Path("model.json").write_text(json.dumps({"w1": network.w1, "w2": network.w2}))
    print("the model is in model.json")


if __name__ == "__main__":
    main()
