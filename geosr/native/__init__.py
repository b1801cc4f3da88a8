"""Machine code of our own, written in Python as LLVM's intermediate representation and compiled where it runs."""
