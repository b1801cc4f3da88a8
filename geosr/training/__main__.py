"""``python -m geosr.training CONFIG --data FOLDER --out RUN``."""

import argparse
from pathlib import Path

from geosr.training.config import read_config
from geosr.training.train import add_start_options, start_of, train

parser = argparse.ArgumentParser(prog="python -m geosr.training", description="Train a generator.")
parser.add_argument("config", type=Path, help="a file of configs/")
parser.add_argument("--data", type=Path, required=True, help="folder that the configuration's globs start from")
parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted one goes on")
add_start_options(parser)
arguments = parser.parse_args()
train(read_config(arguments.config), arguments.data, arguments.out, start_of(arguments))
