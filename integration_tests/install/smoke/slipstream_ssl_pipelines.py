"""The package imports and exports what it says."""

import slipstream_ssl_pipelines

for name in slipstream_ssl_pipelines.__all__:
    getattr(slipstream_ssl_pipelines, name)
