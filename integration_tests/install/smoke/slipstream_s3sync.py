"""The package imports and exports what it says."""

import slipstream_s3sync

for name in slipstream_s3sync.__all__:
    getattr(slipstream_s3sync, name)
