"""Write what the readers of the trial see, or judge what they answered."""

import argparse
import json
from pathlib import Path

from batchnorm.exercises import trial


def main(argv=None):
    """Run one of the two steps; the record goes to the file that the book reads."""
    parser = argparse.ArgumentParser(prog="python -m batchnorm.exercises.trial")
    parser.add_argument("step", choices=["write", "judge"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(argv)
    if given.step == "write":
        trial.write(given.folder)
        return
    record = trial.judge(given.folder)
    text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    trial.RECORD.write_text(text, "utf-8")
    print({name: value for name, value in record.items() if name != "rows"})


if __name__ == "__main__":
    main()
