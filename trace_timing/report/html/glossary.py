"""Definitions of the words on the first screen, shown where the word is used."""

from __future__ import annotations

from collections.abc import Mapping

#: Word as templates name it → its definition, in a sentence or two.
GLOSSARY: Mapping[str, str] = {
    "latency": "How long a stage takes in generate(), host and GPU together: from where it begins "
    "until the next begins.",
    "vision": "From the image's pixels to the embeddings that the language model reads: vision "
    "encoder and projector.",
    "prefill": "The first forward of the language model: it reads the whole prompt, image "
    "embeddings included. The vision stage is not in it.",
    "ttft": "Time to first token: from the begin of generate() until the first token is chosen. "
    "Vision, prefill and the first sampling are in it.",
    "step": "One forward of the language model after prefill. It makes one token; N tokens take "
    "N − 1 steps, for prefill makes the first.",
    "sampling": "Choosing the token after each forward, and what the host does until the next.",
    "rest": "What generate() does in none of the stages.",
    "total": "The whole generate() call.",
    "interval": "Half the width of the 95 % interval of one sample's time, as a share of it; over "
    "several samples the median of these. The interval is of the machine's noise, and not of "
    "differences between samples.",
    "unprofiled": "Measured on runs with no profiler in the process (controls), by CUDA events at "
    "the stages' boundaries. The profiler slows the host, so its own times are too long.",
    "scaled": "Recorded times of this sample × (unprofiled ÷ recorded) of the samples that have "
    "both.",
    "attached": "Measured while the profiler was attached to the process, which slows every CUDA "
    "call: an upper bound.",
    "recorded": "Times of the run that the profiler recorded. Recording slows the host, so they "
    "are too long: the truth lies between GPU busy and this.",
    "busy": "Time in which a kernel or a copy of the stage runs on the GPU, from the recorded run. "
    "It hardly changes under the profiler.",
    "idle": "1 − GPU busy ÷ latency: the share of the stage in which the GPU waits.",
    "limit": "What would have to be faster to shorten the stage. Host: the GPU works less than "
    "half of the time and waits for Python, the framework and launches. GPU: it works more than "
    "90 % of the time. Both: between these.",
    "older": "The figure in the older results, which took decode as total − vision − prefill of "
    "separate runs. Nothing can take less than 0 ms: such a row is wrong.",
}
