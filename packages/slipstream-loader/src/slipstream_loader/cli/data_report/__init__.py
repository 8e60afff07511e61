"""``slipstream report``: one page on a data set.

``contents`` reads the cache, ``charts`` draws, ``page`` puts the page together with ``page.css``.
"""
