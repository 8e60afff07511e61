"""Where samples come from: each module turns one kind of place into a ``slipstream_cache`` source.

``imagefolder`` folders of images · ``sequence`` objects in memory · ``prebuilt`` published caches ·
``detect`` chooses among them.
"""
