"""Reading beyond the edges mirrors the image, whatever the window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from odc.geo import Shape2d
from rasterio.windows import Window

from tiling import read_reflected


@given(
    rows=st.integers(1, 12),
    cols=st.integers(1, 12),
    top=st.integers(-30, 12),
    left=st.integers(-30, 12),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_windows_show_what_padding_the_whole_image_would(rows, cols, top, left, height, width):
    image = np.arange(2 * rows * cols).reshape(2, rows, cols)
    margin = 80
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    reads = []

    def read(window):
        reads.append(window)
        assert window.col_off >= 0
        assert window.row_off >= 0
        assert window.col_off + window.width <= cols
        assert window.row_off + window.height <= rows
        part = image[(slice(None), *window.toslices())]
        return part, part % 2 == 0

    pixels, valid = read_reflected(read, Window(left, top, width, height), Shape2d(x=cols, y=rows))
    expected = padded[:, margin + top : margin + top + height, margin + left : margin + left + width]
    assert (pixels == expected).all()
    assert (valid == (expected % 2 == 0)).all()
    assert len(reads) == 1


def test_a_window_inside_is_what_was_read():
    """And not a copy of it: to touch new memory takes longer than to read."""
    image, valid = np.arange(60).reshape(1, 6, 10), np.ones((1, 6, 10), bool)
    seen = []

    def read(window):
        rows, cols = window.toslices()
        seen.append((image[:, rows, cols], valid[:, rows, cols]))
        return seen[-1]

    made = read_reflected(read, Window(2, 1, 5, 4), Shape2d(x=10, y=6))
    assert made[0] is seen[0][0]
    assert made[1] is seen[0][1]
    # As many as there are, but the other way round.
    beyond, _ = read_reflected(read, Window(-3, 0, 3, 6), Shape2d(x=10, y=6))
    assert (beyond == image[:, :, 2::-1]).all()
