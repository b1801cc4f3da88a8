"""What a chunk file says of itself."""

import pytest

from tiling import OutputError, read_chunk_tags


def test_a_damaged_chunk_is_said_to_be_computed_anew(tmp_path):
    path = tmp_path / "r0000c0000.tif"
    path.write_bytes(b"II*\0nothing")
    with pytest.raises(OutputError, match=r"r0000c0000\.tif is damaged: the same command computes it anew") as caught:
        read_chunk_tags(path)
    assert "remove" not in str(caught.value)
