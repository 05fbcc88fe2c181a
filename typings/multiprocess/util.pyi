from multiprocessing.util import *  # noqa: F403
