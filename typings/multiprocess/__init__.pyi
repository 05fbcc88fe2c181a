# multiprocess has no types of its own; it is the standard library's package with another pickler.
from multiprocessing import *  # noqa: F403
