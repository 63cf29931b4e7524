"""The VRAM model: predict, explain and advise, in pure Python. Bytes are ints and per GPU everywhere."""
