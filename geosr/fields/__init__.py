"""Statistics of fields over time: indices by polygon and date, with a half-width for each mean.

Start with :mod:`geosr.fields.collect`. ``measures`` are the indices and expressions, ``images`` opens products and
sources, ``statistics`` computes the figures of one field, ``half_width`` the half-width of its mean, ``table`` keeps
the rows, ``plots`` draws them over time. May import ``change``, ``batch``, ``run`` and everything below them.
"""
