"""``python -m geosr.training CONFIG --data FOLDER --out RUN``."""

import argparse
from pathlib import Path

from geosr.training.config import read_config
from geosr.training.train import Start, train

parser = argparse.ArgumentParser(prog="python -m geosr.training", description="Train a generator.")
parser.add_argument("config", type=Path, help="a file of configs/")
parser.add_argument("--data", type=Path, required=True, help="folder that the configuration's globs start from")
parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted one goes on")
parser.add_argument(
    "--from-weights", type=Path, help="begin with these weights of a network instead of an untrained one"
)
parser.add_argument("--from-step", type=int, default=0, help="steps that those weights were trained")
arguments = parser.parse_args()
start = Start(arguments.from_weights, arguments.from_step) if arguments.from_weights else None
train(read_config(arguments.config), arguments.data, arguments.out, start)
