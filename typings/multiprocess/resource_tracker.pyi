from multiprocessing.resource_tracker import *  # noqa: F403
