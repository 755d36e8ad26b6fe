"""Annotates the toy arm with an annotator at the given address; the resume test starts this and kills it."""

import json
import sys
from pathlib import Path

from toy_texts import do, toy_run

if __name__ == "__main__":
    do(toy_run(Path(sys.argv[1]), json.loads(sys.argv[2])))
