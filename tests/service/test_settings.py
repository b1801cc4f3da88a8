"""Settings of the service: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geosr.errors import UsageError
from geosr.service.settings import ServiceSettings, read_settings
from tests.conftest import REPOSITORY, run_geosr
from tests.service.conftest import served

# Services start in processes of their own.
pytestmark = pytest.mark.slow


def write(folder: Path, text: str) -> Path:
    path = folder / "service.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_options_come_before_variables_and_those_before_the_file(tmp_path, monkeypatch):
    path = write(tmp_path, "port: 1111\nkeep_days: 3\nmodel: bicubic\n")
    monkeypatch.setenv("GEOSR_SERVICE_PORT", "2222")
    monkeypatch.setenv("GEOSR_SERVICE_KEEP_DAYS", "4")
    settings = read_settings(path, port=3333)
    assert (settings.port, settings.keep_days, settings.model) == (3333, 4, "bicubic")


def test_the_documented_file_has_every_setting_with_its_default():
    content = yaml.safe_load((REPOSITORY / "configs" / "service.yaml").read_text(encoding="utf-8"))
    assert ServiceSettings(**content) == ServiceSettings()
    assert set(content) == set(ServiceSettings.model_fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port: 99999", "port"),
        ("colour: red", "colour"),
        ("- 1", "names and values"),
        ("host: 0.0.0.0\nkeys: false", "everybody"),
        ("a: [", "cannot read"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, said):
    ended = run_geosr("serve", "--config", write(tmp_path, text), "--data", tmp_path / "data")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_variable_that_is_no_list_is_refused_in_one_line(tmp_path):
    ended = run_geosr("serve", "--data", tmp_path / "data", GEOSR_SERVICE_HOSTS="example.org")
    assert ended.returncode == 2
    assert "hosts" in ended.stderr
    assert "JSON" in ended.stderr
    assert "mistake" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_keys_are_off_on_loopback_and_on_elsewhere():
    assert not ServiceSettings().with_keys
    assert not ServiceSettings(host="::1").with_keys
    assert ServiceSettings(host="0.0.0.0").with_keys
    assert not ServiceSettings(host="0.0.0.0", keys=False, open_to_all=True).with_keys


def test_a_public_address_makes_loopback_no_private_place():
    """A proxy on the same machine lets everybody in."""
    assert ServiceSettings(public_url="https://maps.example.org/sr").with_keys
    assert not ServiceSettings(public_url="http://localhost:8000").with_keys
    with pytest.raises(ValueError, match=r"everybody who reaches https://maps\.example\.org could use the service"):
        ServiceSettings(public_url="https://maps.example.org", keys=False)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_settings(tmp_path / "none.yaml")


def test_a_second_service_is_kept_out_of_a_folder(tmp_path):
    with served(tmp_path / "data"):
        ended = run_geosr("serve", "--data", tmp_path / "data", "--port", "0")
    assert ended.returncode == 2
    assert "another service" in ended.stderr


def test_a_port_that_is_taken_is_told(tmp_path):
    with served(tmp_path / "data") as service:
        port = service.address.rpartition(":")[2]
        ended = run_geosr("serve", "--data", tmp_path / "other", "--port", port)
    assert ended.returncode == 2
    assert "cannot listen" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
