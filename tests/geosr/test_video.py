"""Videos: frames, times and sound stay, and an interrupted run goes on."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from geosr.engine import EngineChoice
from geosr.model.zoo import ModelRef
from geosr.plain_images import video
from geosr.plain_images.upscale import ImageUpscaler
from geosr.progress import QuietReporter
from tests.conftest import run_here

FRAMES, ROWS, COLS = 11, 16, 24
RATE = Fraction(30000, 1001)

#: Times of frames in units of 1/30000 s: the rate changes within.
TIMES = [1001 * i + (400 if i > 6 else 0) for i in range(FRAMES)]


@pytest.fixture
def source(tmp_path):
    """A grey level per frame, and a tone, (FRAMES, ROWS, COLS)."""
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = COLS, ROWS, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 30000)
        sound = container.add_stream("aac", rate=44100)
        for number in range(FRAMES):
            level = 40 + 15 * number
            frame = av.VideoFrame.from_ndarray(np.full((ROWS, COLS, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = TIMES[number], stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        tone = np.sin(np.arange(1024 * 16) / 20).astype(np.float32).reshape(-1, 1, 1024)
        for number, part in enumerate(tone):
            piece = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 44100, 1024 * number, Fraction(1, 44100)
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    return path


def frames_of(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def sound_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_frames_are_upscaled_at_their_times_and_the_sound_is_kept(tmp_path, source):
    run = run_here("video", source, "-o", tmp_path / "out.mp4", "--model", "bicubic", "-q")
    assert run.returncode == 0, run.stderr
    before, after = frames_of(source), frames_of(tmp_path / "out.mp4")
    assert len(after) == FRAMES
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before])
    for number, (_, image) in enumerate(after):
        assert image.shape == (4 * ROWS, 4 * COLS, 3)
        assert abs(image.mean() - (40 + 15 * number)) < 4
    assert sound_of(tmp_path / "out.mp4") == sound_of(source)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        last = float((TIMES[-1] - TIMES[-2]) * Fraction(1, 30000))
        assert float(stream.duration * stream.time_base) == pytest.approx(after[-1][0] - after[0][0] + last, abs=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    again = run_here("video", source, "-o", tmp_path / "out.mp4", "--model", "bicubic", "-q")
    assert again.returncode == 1
    assert "--overwrite replaces it" in again.stderr


@pytest.mark.parametrize(("turn", "aspect"), [(0, Fraction(4, 3)), (90, Fraction(3, 4))])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_pixels_that_are_not_square_stay_so(tmp_path, monkeypatch, turn, aspect, ending):
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = COLS, ROWS, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((ROWS, COLS, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    monkeypatch.setattr(video, "_turns", lambda _: turn // 90)
    upscaler, made = ImageUpscaler(ModelRef("bicubic"), EngineChoice()), tmp_path / f"out.{ending}"
    video.upscale_video(tmp_path / "in.mp4", made, upscaler, QuietReporter())
    with av.open(str(made)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == ((4 * ROWS, 4 * COLS) if turn == 0 else (4 * COLS, 4 * ROWS))
        assert stream.sample_aspect_ratio == aspect


class Stopping(QuietReporter):
    """Interrupts a run after some pieces."""

    def __init__(self, after):
        self.after, self.computed = after, []

    def chunk(self, key, finished, total):
        self.computed.append(key)
        if len(self.computed) == self.after:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, source, monkeypatch):
    monkeypatch.setattr(video, "PIECE_FRAMES", 3)
    upscaler = ImageUpscaler(ModelRef("bicubic"), EngineChoice())
    video.upscale_video(source, tmp_path / "whole.mp4", upscaler, Stopping(None))
    with pytest.raises(KeyboardInterrupt):
        video.upscale_video(source, tmp_path / "out.mp4", upscaler, Stopping(2))
    assert not (tmp_path / "out.mp4").exists()
    other = ImageUpscaler(ModelRef("nearest"), EngineChoice())
    with pytest.raises(video.ResumeError, match="another source, model or engine"):
        video.upscale_video(source, tmp_path / "out.mp4", other, Stopping(None))
    rest = Stopping(None)
    assert video.upscale_video(source, tmp_path / "out.mp4", upscaler, rest) == FRAMES
    assert rest.computed == ["00000006", "00000009"]
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"), [("none.mp4", "is no file"), ("text.mp4", "no video"), ("in.mp4", "the source itself")]
)
def test_wrong_videos_are_one_line_and_leave_nothing(tmp_path, source, name, message):
    (tmp_path / "text.mp4").write_text("no video")
    run = run_here("video", tmp_path / name, "-o", tmp_path / ("in.mp4" if name == "in.mp4" else "out.mp4"), "-q")
    assert run.returncode != 0
    (line,) = run.stderr.splitlines()
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "text.mp4"]
