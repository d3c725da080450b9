"""The classroom: grade a class safely, with one command.

- `sandbox`, `warm`: a box for each submission, in which its code can do no harm.
- `kernel`: runs cells in a box, and believes nothing that it reads.
- `wall`, `agent`, `frames`: what crosses between a hidden test, outside, and the answers, inside.
- `verdict`: one repaired notebook in, points and words out.
- `intake`: from an untrusted file to a repaired notebook.
- `classroom`, `report`, `cli`: a whole class, its results, the command.
"""
