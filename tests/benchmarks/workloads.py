"""The workloads, one row each. A row names the function of each contestant that does the work (`runs`), how many
iterations make it whole, and what it should cost.
"""

from __future__ import annotations

from dataclasses import dataclass

MICROSECONDS, MILLISECONDS = 1e6, 1e3
PAYMENTS = 45_111  # sequences of the large fraud model: four fifths of 56,389
ADAM = {  # classifiers: their widths
    "adam-16": (16, 32, 4),
    "adam-64": (64, 64, 64, 10),
    "adam-128": (128, 128, 10),
    "adam-256": (256, 256, 256, 10),
    "mlp-784": (784, 256, 10),
    "adam-784": (784, 512, 512, 10),
    "adam-1024": (1024, 1024, 1024, 10),
}
CNN = {  # side of the pictures, batch, channels, side of the kernels, padding, convolutions before pooling, widths
    "cnn-8": (8, 64, (1, 16, 32), 3, 1, (2,), (512, 10)),
    "cnn-28": (28, 64, (1, 16, 32), 3, 1, (1, 2), (1568, 10)),
    "lenet": (28, 2048, (1, 6, 16), 5, 0, (1, 2), (256, 120, 84, 10)),
}
CHARACTERS = 65
GPT = {"gpt-64": (2, 64, 4, 32, 8), "gpt-128": (6, 128, 4, 64, 8)}  # layers, width, heads, tokens, batch
SEQUENCES = 56_389 * 10 * (29 + 1) * 8 / 2**20  # MB of the features and targets of all


@dataclass(frozen=True)
class Target:
    """`of` should cost at most `bound`: times as much as `over`, or in the unit of the workload where that is None."""

    bound: float
    over: str | None = None
    of: str = "compiled"


@dataclass(frozen=True)
class Workload:
    """A row of the table. An iteration is an epoch, a sequence or a call, as the unit says.

    runs        name of the contestants' function, and of the function of inputs.py that makes the data
    iterations  of a whole sample; a contestant that would need longer than the budget does fewer, and is scaled
    check       iterations after which the losses of all are compared; also the warm-up
    fresh       a new process for every sample, without warm-up
    labels      what is compared are labels, not a loss
    whole       the figure is for all iterations, not for one
    mode        what is measured: "time"; "memory", by how much the process grew; "peak", by how much at most
    rows        of the data, where an iteration is one of them: a sample is part of a pass over them, or whole passes
    longer      a sample takes so many times as long as usual, for work that costs something to begin with
    """

    name: str
    title: str
    unit: str
    scale: float
    iterations: int
    check: int
    tolerance: float = 1e-6
    runs: str = ""
    fresh: bool = False
    labels: bool = False
    whole: bool = False
    mode: str = "time"
    rows: int = 0
    longer: float = 1.0
    targets: tuple[Target, ...] = ()

    @property
    def function(self) -> str:
        """What the contestants call it."""
        return self.runs or self.name


WORKLOADS = {
    row.name: row
    for row in (
        Workload(
            "iris",
            "Iris: 4-8-3 ReLU/softmax, SGD 0.01, batches of 32 of 120 (the last of 24), accuracy on 120 and 30 rows "
            "after every epoch, float64; steady state",
            "us/epoch",
            MICROSECONDS,
            10_000,
            200,
            targets=(Target(1.3, "limit"),),
        ),
        Workload(
            "iris-first",
            "Iris, 1000 epochs from the first call: tracing, compiling and training; imports not counted",
            "ms",
            MILLISECONDS,
            1000,
            1000,
            runs="iris",
            fresh=True,
            whole=True,
            targets=(Target(150.0), Target(40.0, of="compiled-warm")),
        ),
        Workload(
            "titanic",
            "Titanic: 7-1 logistic regression without bias, full batch of 534, SGD 0.1, mean absolute error monitored, "
            "float64",
            "us/epoch",
            MICROSECONDS,
            10_000,
            200,
            targets=(Target(1.3, "limit"),),
        ),
        Workload(
            "step",
            "The Iris training step called from Python with NumPy arrays, batch 32, float64",
            "us/call",
            MICROSECONDS,
            50_000,
            500,
            targets=(Target(4.0),),
        ),
        Workload(
            "inference",
            "30x4 through 4-8-3 and argmax, called from Python with a NumPy array, no gradients, float64",
            "us/call",
            MICROSECONDS,
            50_000,
            500,
            labels=True,
            targets=(Target(3.0),),
        ),
        *(
            Workload(
                name,
                f"{'-'.join(map(str, widths))} ReLU/softmax, batch 128, Adam 1e-3, float32, a step called from Python",
                "us/call",
                MICROSECONDS,
                200,
                10,
                tolerance=0.05,  # eight batches are learnt by heart: float32 nets part
                targets=(Target(1.0, "torch"), Target(1.0, "jax")),
            )
            for name, widths in ADAM.items()
        ),
        Workload(
            "full-batch",
            "4-32-16-4 tanh, mean squared error, full batch of 10,000, Adam 1e-3, float32",
            "us/epoch",
            MICROSECONDS,
            1000,
            100,
            tolerance=1e-3,
            targets=(Target(0.25, "torch"),),
        ),
        Workload(
            "mlp-64",
            "64-64-64-1 ReLU, mean squared error, batch 64, SGD 0.01, float32, a step called from Python",
            "us/call",
            MICROSECONDS,
            10_000,
            200,
            tolerance=1e-3,
            targets=(Target(0.2, "torch"),),
        ),
        Workload(
            "memory",
            "Resident memory that 1000 epochs of Iris add once everything is compiled",
            "MB",
            1.0,
            1000,
            100,
            runs="iris",
            fresh=True,
            whole=True,
            mode="memory",
            targets=(Target(0.5),),
        ),
        Workload(
            "fraud-small",
            "3-5-1 ReLU RNN, 12 sequences of 5 steps, sum of squares, an SGD step of 1e-6 per sequence, float64",
            "us/epoch",
            MICROSECONDS,
            1_000_000,
            100,
            targets=(Target(1.25, "limit"),),
        ),
        Workload(
            "fraud-small-batch",
            "3-5-1 ReLU RNN, 12 sequences of 5 steps, sum of squares, an SGD step of 1e-6 on all of them, float64",
            "us/epoch",
            MICROSECONDS,
            1_000_000,
            100,
            targets=(Target(0.5),),
        ),
        Workload(
            "fraud-kaggle",
            "29-10-1 tanh RNN, 45,111 sequences of 10 steps, sum of squares, an SGD step of 1e-3 per sequence, float64",
            "us/sequence",
            MICROSECONDS,
            100 * PAYMENTS,
            500,
            rows=PAYMENTS,
            longer=4.0,
            targets=(Target(1.3, "limit"),),
        ),
        Workload(
            "fraud-kaggle-64",
            "29-10-1 tanh RNN, 45,111 sequences of 10 steps in batches of 64 (the last of 55), mean squared error, "
            "SGD 0.01, float64",
            "us/sequence",
            MICROSECONDS,
            100 * PAYMENTS,
            640,
            rows=PAYMENTS,
            longer=4.0,
            targets=(Target(0.1, "torch"),),
        ),
        *(
            Workload(
                name,
                f"{title}, batch 64, 50 steps, mean squared error, SGD 0.01, float32, a step called from Python",
                "us/call",
                MICROSECONDS,
                500,
                10,
                tolerance=1e-3,
                targets=(Target(bound, "torch"), Target(bound, "jax")),
            )
            for name, title, bound in (
                ("lstm", "29-64-1 LSTM", 0.5),
                ("gru", "29-128-1 GRU", 0.5),
                ("bilstm", "29-64-1 LSTM of two layers in both directions", 0.6),
            )
        ),
        *(
            Workload(
                name,
                title + ", ReLU, Adam 1e-3, float32, a step called from Python",
                "us/call",
                MICROSECONDS,
                100,
                10,
                tolerance=1e-2,
                targets=(Target(bound, "torch"),),
            )
            for name, title, bound in (
                ("cnn-8", "8x8 pictures, convolutions 3x3 to 16 and 32 channels, pooling, 512-10, batch 64", 0.6),
                ("cnn-28", "28x28 pictures, the same with pooling after each, 1568-10, batch 64", 0.8),
                ("lenet", "LeNet5: 28x28 pictures, convolutions 5x5, pooling twice, 256-120-84-10, batch 2048", 0.4),
            )
        ),
        *(
            Workload(
                name,
                f"A GPT over {CHARACTERS} characters: {layers} layers of width {width}, {heads} heads, "
                f"{tokens} tokens, batch {batch}, AdamW 1e-3, float32, a step called from Python",
                "us/call",
                MICROSECONDS,
                200,
                10,
                tolerance=1e-2,
                targets=(Target(0.5, "torch"), Target(0.8, "jax")),
            )
            for name, (layers, width, heads, tokens, batch) in GPT.items()
        ),
        Workload(
            "gpt-first",
            "The first step of gpt-64 in a new process: tracing and compiling; imports not counted",
            "ms",
            MILLISECONDS,
            1,
            1,
            tolerance=1e-2,
            runs="gpt-64",
            fresh=True,
            whole=True,
            targets=(Target(0.4, "jax"), Target(300.0, of="compiled-warm")),
        ),
        Workload(
            "csv",
            "A CSV file of 563,890 steps (name, time, 29 features, target: 162 MB) read into 56,389 sequences, float64",
            "s",
            1.0,
            1,
            1,
            fresh=True,
            targets=(Target(3.0),),
        ),
        Workload(
            "csv-memory",
            "The most memory that reading this file takes, as a multiple of that of its sequences",
            "x the sequences",
            1 / SEQUENCES,
            1,
            1,
            runs="csv",
            fresh=True,
            mode="peak",
            targets=(Target(3.0),),
        ),
    )
}
