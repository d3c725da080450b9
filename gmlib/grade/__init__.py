"""The classroom: grade a class safely, with one command.

- `sandbox`, `warm`: a box for each submission, in which its code can do no harm.
- `kernel`: runs cells in a box, and believes nothing that it reads.
- `wall`, `agent`, `frames`: what crosses between a hidden test, outside, and the answers, inside.
- `verdict`: one repaired notebook in, points and words out.
- `intake`: from an untrusted file to a repaired notebook.
- `classroom`, `report`, `cli`: a whole class, its results, the command.
"""

import sys

# Else jsonschema, which reads no address in a notebook, builds a grammar of them: a second or more
# in every process.
sys.modules.setdefault("rfc3987_syntax", None)
