"""A plugin for one more run of the suite: `pytest -p aliased` makes `import httpx` mean httpx2, its continuation.

The day the project may switch, the switch is then one line.
"""

import httpx2

httpx2.alias_httpx()
