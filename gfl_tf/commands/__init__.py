"""The command lines: gfl-train is `train.run`, bin/train starts the same."""
