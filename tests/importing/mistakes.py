"""Run in TensorFlow's environment by test_import_tensorflow.py: jobs that in_tensorflow.py refuses, in one process,
since TensorFlow takes seconds to start.

    python mistakes.py SCRIPT JOBS

SCRIPT is in_tensorflow.py, JOBS a JSON file with a list of its jobs. Prints the list of what it says of each.
"""

import json
import runpy
import sys
from pathlib import Path

main = runpy.run_path(sys.argv[1])["main"]
said = []
for job in json.loads(Path(sys.argv[2]).read_text()):
    try:
        main(job)
        said.append("nothing is wrong")
    except SystemExit as stopped:
        said.append(str(stopped.code))
print(json.dumps(said))
