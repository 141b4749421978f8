"""Train a small network on handwritten digits, in pure Python: seconds, no package needed.

Run it as it is, or through foundations, with parameters from the command line or from --param:

    python train.py --learning-rate 0.1
    foundations submit --param learning_rate=0.1 -- python train.py
"""

import argparse
import csv
import gzip
import json
import math
import random
from pathlib import Path

import foundations

CLASSES = 10


def read_digits(path):
    """Return (images, labels): 64 pixels from 0 to 1 each, and which digit it is."""
    with gzip.open(path, "rt") as file:
        rows = [[float(cell) for cell in row] for row in csv.reader(file)]
    random.Random(0).shuffle(rows)
    return [[pixel / 16 for pixel in row[:64]] for row in rows], [int(row[64]) for row in rows]


class Network:
    """One hidden layer of rectified units, softmax on top."""

    def __init__(self, inputs, hidden, seed):
        rng = random.Random(seed)
        self.w1 = [[rng.gauss(0, math.sqrt(2 / inputs)) for _ in range(inputs)] for _ in range(hidden)]
        self.b1 = [0.0] * hidden
        self.w2 = [[rng.gauss(0, math.sqrt(1 / hidden)) for _ in range(hidden)] for _ in range(CLASSES)]
        self.b2 = [0.0] * CLASSES

    def forward(self, x):
        """Return (hidden activations, class probabilities)."""
        hidden = [max(0.0, sum(map(float.__mul__, row, x)) + b) for row, b in zip(self.w1, self.b1)]
        scores = [sum(map(float.__mul__, row, hidden)) + b for row, b in zip(self.w2, self.b2)]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        total = sum(powers)
        return hidden, [power / total for power in powers]

    def learn(self, x, label, rate):
        """Take one step of gradient descent on one image and return its loss."""
        hidden, probabilities = self.forward(x)
        error = [p - (k == label) for k, p in enumerate(probabilities)]
        back = [sum(error[k] * self.w2[k][j] for k in range(CLASSES)) if h else 0.0 for j, h in enumerate(hidden)]
        for k, e in enumerate(error):
            step = rate * e
            self.w2[k] = [w - step * h for w, h in zip(self.w2[k], hidden)]
            self.b2[k] -= step
        for j, e in enumerate(back):
            if e:
                step = rate * e
                self.w1[j] = [w - step * v for w, v in zip(self.w1[j], x)]
                self.b1[j] -= step
        return -math.log(max(probabilities[label], 1e-12))


def accuracy(network, images, labels):
    """Return the share of images that are recognised."""
    hits = 0
    for x, label in zip(images, labels):
        probabilities = network.forward(x)[1]
        hits += probabilities.index(max(probabilities)) == label
    return hits / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(**foundations.load_parameters())
    args = parser.parse_args()

    images, labels = read_digits(Path(__file__).with_name("digits.csv.gz"))
    cut = len(images) * 4 // 5
    network = Network(len(images[0]), args.hidden, args.seed)
    for epoch in range(args.epochs):
        losses = [network.learn(x, label, args.learning_rate) for x, label in zip(images[:cut], labels[:cut])]
        loss = sum(losses) / len(losses)
        score = accuracy(network, images[cut:], labels[cut:])
        foundations.log_metric("loss", loss, step=epoch)
        foundations.log_metric("accuracy", score, step=epoch)
        print(f"epoch {epoch + 1}/{args.epochs}  loss {loss:.4f}  accuracy {score:.4f}")

    model = {"w1": network.w1, "b1": network.b1, "w2": network.w2, "b2": network.b2, "accuracy": score}
    Path("model.json").write_text(json.dumps(model))
    print("the model is in model.json")


if __name__ == "__main__":
    main()
