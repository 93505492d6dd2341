"""In the place of importing/in_tensorflow.py: hands out what test_import_tensorflow.py's stand-in has converted."""

import json
import shutil
import sys
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
shutil.copytree(Path(job["meta"]).parent / "converted", job["out"], dirs_exist_ok=True)
