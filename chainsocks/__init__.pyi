from chainsocks.library import *  # noqa: F403
from chainsocks.library import __all__ as __all__
