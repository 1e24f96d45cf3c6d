#!/usr/bin/env python3
"""Print the scalars of a folder of event files as JSON, {tag: [[step, value], ...]}, as TensorBoard itself reads them.

    python3 scalars.py FOLDER

Needs PyPI's `tensorboard`.
"""
import json, sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
tags = events.Tags()
# Newer readers turn simple values into tensors.
scalars = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]}
print(json.dumps(scalars))
