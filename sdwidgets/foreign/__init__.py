"""Settings inside images that other programs made: AUTOMATIC1111, ComfyUI, InvokeAI and others.

`texts` gets the texts out of a file, a module per program reads them into a `Found`, and `read`
asks the programs in turn. Nothing here runs, fetches or evaluates anything that a file says.
"""

from .found import Found, FoundSettings
from .read import read

__all__ = ["Found", "FoundSettings", "read"]
