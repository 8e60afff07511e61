"""The package imports and exports what it says."""

import sqrtspace_streams

for name in sqrtspace_streams.__all__:
    getattr(sqrtspace_streams, name)
