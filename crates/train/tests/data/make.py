"""Writes the arrays of other types and orders: python3 make.py, with NumPy."""

import numpy as np

n, h, w, c = np.ogrid[:2, :5, :6, :3]
images = (128 * n + 24 * h + 4 * w + c) / 256
labels = np.array([1, 0])
np.savez_compressed("channels_last_big_endian.npz", x=images.astype(">f8"), y=labels.astype(">i2"))
np.savez_compressed("channels_last_fortran_half.npz", x=np.asfortranarray(images.astype(np.float16)), y=np.eye(2)[labels])
np.savez_compressed("text_labels.npz", x=np.zeros((2, 2)), y=np.array(["bär", "Katze"]))
np.savez_compressed("object_labels.npz", x=np.zeros((2, 2)), y=np.array(["bär", "Katze"], dtype=object))
