"""The decision on scale and offset, over the forms of the catalogues in use, recorded Items and every kind of file.

The expected offsets were read off each Item by hand: the fields that decide stand in the tests' tables.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from catalog import RadiometryError
from catalog.radiometry import of_item, of_product, of_raster, override
from tests.catalog.catalogue_items import JP2, MINUS, ON_ASSET, UNTOLD, ZERO, catalogue_item
from tests.conftest import data_file

APPLIED = "earthsearch:boa_offset_applied is true"

#: File, asset, offset, what the reason says; the fields of the Item that settle it.
RECORDED = [
    # CDSE, STAC 1.1: raster:offset -0.1 on the asset; processing:version 05.00 and 05.12.
    ("cdse/issue1043-api-proj-code.json", "B02_10m", -0.1, "declared by asset B02_10m"),
    ("cdse/issue1547-inconsistent-nodata-handling.json", "B02_10m", -0.1, "declared by asset B02_10m"),
    # Earth Search v0: sentinel:boa_offset_applied true at baseline 04.00; no raster:bands.
    ("earth-search-v1-and-v0/S2A_17SPR_20221106_0_L2A.json", "B02", 0.0, "sentinel:boa_offset_applied is true"),
    # Earth Search v1: baseline 02.14, flag false, raster:bands.offset 0.
    ("earth-search-v1-and-v0/S2A_28QCH_20200714_0_L2A.json", "blue", 0.0, "declared by asset blue"),
    ("earth-search-v1-and-v0/S2B_31QGB_20200831_0_L2A.json", "blue", 0.0, "declared by asset blue"),
    # Earth Search v0 before the flag existed: only sentinel:product_id …_N0214_… and …_N0301_… tell.
    ("earth-search-v1-and-v0/S2A_28QCH_20200714_0_L2A_old.json", "B02", 0.0, "baseline 02.14 in the product's name"),
    ("earth-search-v1-and-v0/S2B_42TUM_20220107_0_L2A.json", "B02", 0.0, "baseline 03.01 in the product's name"),
    # Digital Earth Africa's copy: baseline 05.10, no flag, raster:bands.offset -0.1.
    ("earth-search-v1-and-v0/S2B_T37MGP_20240710T073012_L2A_C1.json", "blue", -0.1, "declared by asset blue"),
    ("earth-search-v1-and-v0/S2B_T37MGP_20240710T073012_L2A_C1_rel_links.json", "blue", -0.1, "declared by asset blue"),
    # The original JPEG 2000 files on AWS: baseline 05.09, no flag, raster:bands.offset -0.1.
    *(
        (f"earth-search-v1-antimeridian/{name}.json", "blue", -0.1, "declared by asset blue")
        for name in (
            "S2A_OPER_MSI_L2A_TL_2APS_20230603T031757_A041497_T01WCQ",
            "S2A_OPER_MSI_L2A_TL_2APS_20230730T020155_A042312_T01VCC",
            "S2A_OPER_MSI_L2A_TL_2APS_20230806T022123_A042412_T60VXH",
            "S2B_OPER_MSI_L2A_TL_2BPS_20230503T100334_A030615_T60VXH",
            "S2B_OPER_MSI_L2A_TL_2BPS_20230512T234921_A032288_T01VCG",
            "S2B_OPER_MSI_L2A_TL_2BPS_20230513T005426_A032288_T01VCG",
        )
    ),
    # Earth Search v1 after baseline 04.00: flag true AND raster:bands.offset -0.1 on the same asset.
    *(
        (f"earth-search-v1/{name}_0_L2A.json", "blue", 0.0, APPLIED)
        for name in (
            "S2A_12RWT_20240106",
            "S2A_33TWL_20230815",
            "S2A_33TWL_20230818",
            "S2A_33TWM_20230815",
            "S2A_33TWM_20230818",
            "S2B_33TWL_20230810",
            "S2B_33TWL_20230813",
            "S2B_33TWL_20230820",
            "S2B_33TWM_20230810",
            "S2B_33TWM_20230813",
            "S2B_33TWM_20230820",
        )
    ),
    # Earth Search's Level-1C: the original files, baseline 05.10, no flag, raster:bands.offset -0.1.
    ("earth-search-v1/earth_search_search.json", "blue", -0.1, "declared by asset blue"),
    # Planetary Computer: no offset anywhere, s2:processing_baseline 02.12.
    *(
        (f"planetary-computer/{name}", "B02", 0.0, "s2:processing_baseline 02.12")
        for name in (
            "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json",
            "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext.json",
            "site1-20200606-tall-strip-africa.geojson",
            "site2-2020_jun_jul-35MNM.geojson",
        )
    ),
    # Planetary Computer again: no offset anywhere, s2:processing_baseline 05.10.
    ("planetary-computer/sentinel-2-l2a-pc.json", "B02", -0.1, "s2:processing_baseline 05.10"),
]


#: What decides, in Items as catalogues write them: properties, what the asset says, its kind, offset, reason.
FORMS = {
    # Copernicus Data Space, STAC 1.1: the asset has raster:offset itself.
    "data space": ({"processing:version": "05.00"}, ON_ASSET, {"media_type": JP2}, -0.1, "declared by asset B02"),
    "data space, newer": (
        {"processing:version": "05.12"},
        ON_ASSET,
        {"media_type": JP2},
        -0.1,
        "declared by asset B02",
    ),
    # Earth Search v0, with its flag and before it had one, when only the product's name told.
    "v0, applied": (
        {"sentinel:boa_offset_applied": True, "sentinel:processing_baseline": "04.00"},
        {},
        {},
        0.0,
        "sentinel:boa_offset_applied is true",
    ),
    "v0, early baseline": (
        {"sentinel:product_id": "S2A_MSIL2A_20200714T110000_N0214_R001_T33TWL_20200714T190000"},
        {},
        {},
        0.0,
        "baseline 02.14 in the product's name",
    ),
    "v0, last baseline without an offset": (
        {"sentinel:product_id": "S2B_MSIL2A_20220107T060000_N0301_R001_T33TWL_20220107T080000"},
        {},
        {},
        0.0,
        "baseline 03.01 in the product's name",
    ),
    # Earth Search v1 before baseline 04.00: nothing was there to apply, and nothing is declared.
    "v1, before the offset": (
        {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.14"},
        ZERO,
        {},
        0.0,
        "declared by asset blue",
    ),
    # Earth Search v1 after it: the flag says applied, and the same asset declares -0.1.
    "v1, 05.09": ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, MINUS, {}, 0.0, APPLIED),
    "v1, 05.10": ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.10"}, MINUS, {}, 0.0, APPLIED),
    # Collection 1, Digital Earth Africa's copy of it, and ESA's own files of both levels: as ESA delivers them.
    "collection 1": ({"s2:processing_baseline": "05.11"}, MINUS, {}, -0.1, "declared by asset blue"),
    "africa": ({"s2:processing_baseline": "05.10"}, MINUS, {"collection": "s2_l2a_c1"}, -0.1, "declared by asset blue"),
    "original files": (
        {"sentinel2:processing_baseline": "05.09"},
        MINUS,
        {"media_type": JP2, "collection": "sentinel-s2-l2a"},
        -0.1,
        "declared by asset blue",
    ),
    "level 1C": (
        {"s2:processing_baseline": "05.10", "s2:product_type": "S2MSI1C"},
        MINUS,
        {"media_type": JP2, "collection": "sentinel-2-l1c"},
        -0.1,
        "declared by asset blue",
    ),
    # Planetary Computer: no offset anywhere, with the raster extension or without.
    "planetary": ({"s2:processing_baseline": "02.12"}, {}, {}, 0.0, "s2:processing_baseline 02.12"),
    "planetary, raster extension": ({"s2:processing_baseline": "02.12"}, UNTOLD, {}, 0.0, "baseline 02.12"),
    "planetary, with the offset": ({"s2:processing_baseline": "05.10"}, {}, {}, -0.1, "s2:processing_baseline 05.10"),
}


@pytest.mark.parametrize("form", FORMS)
def test_items_in_the_forms_of_catalogues(form):
    properties, told, kind, offset, reason = FORMS[form]
    written_names = {"names": ("B02_10m", "B03_10m", "B04_10m", "B08_10m")} if told is ON_ASSET else {}
    one = catalogue_item(f"form {form}", properties, told, **written_names, **kind)
    for key in one["assets"]:
        decided = of_item(one, key)
        assert decided.offset == pytest.approx(offset)
        assert decided.scale == pytest.approx(1e-4)
    assert reason in of_item(one, next(iter(one["assets"]))).reason


def test_the_flag_does_not_speak_of_original_files_listed_beside_the_copies():
    one = catalogue_item("both", {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, MINUS)
    one["assets"]["blue-jp2"] = {**one["assets"]["blue"], "type": JP2}
    assert of_item(one, "blue").offset == 0
    assert of_item(one, "blue-jp2").offset == pytest.approx(-0.1)


def recorded_items(path: Path) -> list[dict]:
    content = json.loads(path.read_text())
    items = content if isinstance(content, list) else content.get("features", [content])
    return [one for one in items if one.get("type") == "Feature"]


@pytest.mark.parametrize(("file", "asset", "offset", "reason"), RECORDED)
def test_recorded_items(file, asset, offset, reason):
    items = recorded_items(data_file(f"stac/{file}"))
    assert items
    for item in items:
        decided = of_item(item, asset)
        assert decided.offset == pytest.approx(offset)
        assert decided.scale == pytest.approx(1e-4)
        assert reason in decided.reason


def test_every_recorded_item_is_in_the_table():
    folder = data_file("stac")
    listed = {file for file, *_ in RECORDED}
    for path in sorted(folder.glob("*/*json")):
        assert not recorded_items(path) or str(path.relative_to(folder)) in listed, path


#: Of one recorded search over all of Earth Search, by collection: the Collection 1 COGs and ESA's Level-1C files hold
#: DN as ESA delivers them and declare -0.1 without a flag; the older COGs have the flag.
SEARCHED = {
    "sentinel-2-c1-l2a": (-0.1, "declared by asset blue"),
    "sentinel-2-l1c": (-0.1, "declared by asset blue"),
    "sentinel-2-l2a": (0.0, APPLIED),
}


def test_items_of_the_recorded_search():
    (path,) = data_file("stac/recorded-search").iterdir()
    met = set()
    for exchange in yaml.safe_load(path.read_text())["interactions"]:
        for found in json.loads(exchange["response"]["body"]["string"]).get("features", []):
            if found["collection"].startswith("sentinel-2"):
                offset, reason = SEARCHED[found["collection"]]
                decided = of_item(found, "blue")
                assert decided.offset == pytest.approx(offset)
                assert reason in decided.reason
                met.add(found["collection"])
    assert met == set(SEARCHED)


def test_the_flag_does_not_speak_of_the_original_files():
    (found,) = recorded_items(data_file("stac/earth-search-v1/S2A_33TWL_20230815_0_L2A.json"))
    assert of_item(found, "blue").offset == 0
    assert of_item(found, "blue-jp2").offset == pytest.approx(-0.1)


def item(properties=None, asset=None, id="x"):
    return {"id": id, "properties": properties or {}, "assets": {"blue": asset or {}}}


def test_an_offset_that_was_applied_is_not_applied_again():
    """The trap: the flag says that DN come with the offset applied, and the same asset still declares -0.1."""
    declared = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    trapped = item({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.10"}, declared)
    decided = of_item(trapped, "blue")
    assert 1500 * decided.scale + decided.offset == pytest.approx(0.15)
    assert "not applied twice" in decided.reason

    honest = item({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.10"}, declared)
    assert 1500 * of_item(honest, "blue").scale + of_item(honest, "blue").offset == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("properties", "asset", "id", "offset"),
    [
        ({"s2:processing_baseline": "04.00"}, {}, "x", -0.1),
        ({"s2:processing_baseline": "03.01"}, {}, "x", 0.0),
        # An old date with a new baseline: reprocessed.
        ({"s2:processing_baseline": "05.00", "datetime": "2018-06-01T00:00:00Z"}, {}, "x", -0.1),
        ({"sentinel:processing_baseline": "04.00"}, {}, "x", -0.1),
        ({"sentinel:boa_offset_applied": False, "sentinel:processing_baseline": "04.00"}, {}, "x", -0.1),
        ({}, {}, "S2B_MSIL2A_20240710T071619_N0510_R006_T37MGP_20240710T094413", -0.1),
        ({}, {"raster:bands": [{"scale": 0.0001}]}, "landsat", 0.0),
        ({}, {"bands": [{"name": "B02", "raster:scale": 2e-5, "raster:offset": -0.2}]}, "x", -0.2),
    ],
)
def test_cases_of_the_table(properties, asset, id, offset):
    assert of_item(item(properties, asset, id), "blue").offset == pytest.approx(offset)


def test_nothing_that_decides_is_an_error_with_advice():
    with pytest.raises(RadiometryError, match=r"--offset -0\.1"):
        of_item(item({"datetime": "2022-03-01T00:00:00Z"}), "blue")


def test_products_use_their_own_metadata():
    assert of_product("02.14", 10000, None).offset == 0
    assert of_product("04.00", 10000, -1000).offset == pytest.approx(-0.1)
    assert of_product("05.11", 10000, -1000).scale == pytest.approx(1e-4)


def test_rasters_by_type_and_tags():
    assert of_raster("uint16", 2e-5, -0.2).offset == -0.2
    assert of_raster("float32", 1.0, 0.0).scale == 1.0
    assert of_raster("uint16", 1.0, 0.0).scale == pytest.approx(1e-4)
    with pytest.raises(RadiometryError, match="--plain-image"):
        of_raster("uint8", 1.0, 0.0)


def test_the_user_overrides():
    source = of_product("05.11", 10000, -1000)
    assert override(None, 0.0, source).offset == 0
    assert override(None, 0.0, source).scale == source.scale
    assert override(0.001, None, source).offset == source.offset
    assert override(0.001, None, None).offset == 0
    with pytest.raises(RadiometryError):
        override(None, -0.1, None)


@pytest.mark.parametrize(("scale", "offset"), [(0, 0), (math.nan, 0), (math.inf, 0), (1, math.nan), (1, -math.inf)])
def test_scales_and_offsets_that_make_no_reflectance(scale, offset):
    with pytest.raises(RadiometryError, match=r"given by the user.*finite numbers"):
        override(scale, offset, None)
    with pytest.raises(RadiometryError, match=r"scale and offset in the file.*finite numbers"):
        of_raster("uint16", scale, offset)
