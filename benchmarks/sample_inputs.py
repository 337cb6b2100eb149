"""Write the inputs of sample_traces/: three pictures, three prompts, three output lengths.

python benchmarks/sample_inputs.py FOLDER
trace-timing capture --model random:llava-8b --inputs FOLDER/samples.jsonl --control 5 \\
    --keep json --record-steps 12 -o sample_traces
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

SAMPLES = (
    ("short", 4, "What is this?", (320, 240)),
    ("medium", 12, "Describe the picture in a sentence, with its colours.", (640, 480)),
    ("long", 128, "List everything that you see, from left to right, and guess where it is. " * 4,
     (1024, 768)),
)  # fmt: skip


def write_inputs(folder: Path, *, max_new_tokens: int | None = None) -> None:
    """Write the pictures and samples.jsonl.

    Args:
        max_new_tokens: of every sample, in place of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, tokens, prompt, size in SAMPLES:
        gradient = Image.linear_gradient("L").resize(size)
        Image.merge("RGB", (gradient, gradient.rotate(90), gradient)).save(folder / f"{name}.png")
        most = max_new_tokens or tokens
        lines.append({"id": name, "image": f"{name}.png", "prompt": prompt, "max_new_tokens": most})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_inputs(Path(sys.argv[1]))
