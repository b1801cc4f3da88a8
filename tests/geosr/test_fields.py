"""Statistics of fields: against exactextract, in every format of tables, appended to date by date."""

from __future__ import annotations

import json
from dataclasses import replace

import duckdb
import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from odc.geo.geobox import GeoBox

from catalog.features import read_features
from geosr.errors import GeosrError, UsageError
from geosr.fields import collect
from geosr.fields.collect import FieldsRequest, collect_fields
from geosr.fields.coverage import cover
from geosr.fields.half_width import MeanErrors, scale_of_mean
from geosr.fields.measures import measure_of, measures_of
from tests.conftest import call_geosr, run_here, write_raster
from tests.small_model import write_small_model
from tests.stac_items import write_item

LEFT, TOP = 359130, 5352340
DAYS = ("2024-05-01", "2024-06-01", "2024-07-01")


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Three dates of a place, two of which are upscaled, and three fields, one half outside, one far away."""
    folder = tmp_path_factory.mktemp("farm")
    with rasterio.open("geosr/data/sample.tif") as raster:
        sample = raster.read()[:, 40:64, 40:60]
    for i, day in enumerate(DAYS):
        pixels = (sample * (1 + 0.1 * i)).astype(np.uint16)
        pixels[:, 10:13, 3:6] = 0
        path = write_raster(folder / f"s{i}.tif", pixels, nodata=0)
        with rasterio.open(path, "r+") as raster:
            raster.update_tags(ACQUISITIONDATETIME=f"{day}T10:00:00Z")
    products = folder / "products"
    products.mkdir()
    for i in (0, 1):
        upscale(folder, i)
    outlines = [
        shapely.box(LEFT + 21.3, TOP - 155.2, LEFT + 133.1, TOP - 12.9),
        shapely.box(LEFT + 150, TOP - 100, LEFT + 250, TOP - 50),
        shapely.box(LEFT + 9000, TOP - 100, LEFT + 9100, TOP - 50),
    ]
    fields = {"name": ["home", "edge", "far"], "number": [7, 8, 9], "area": [1.5, 2.5, 3.5]}
    geopandas.GeoDataFrame(fields, geometry=outlines, crs="EPSG:32633").to_file(folder / "fields.gpkg")
    return folder


def upscale(folder, i):
    output = folder / "products" / f"p{i}.tif"
    assert call_geosr("upscale", folder / f"s{i}.tif", "-o", output, "--model", "bicubic", "-q") == 0


def request(farm, output, **more):
    options = {"id_column": "name", "fields": farm / "fields.gpkg", **more}
    return FieldsRequest((str(farm / "products"),), output=output, **options)


def ndvi_of(path):
    with rasterio.open(path) as raster:
        red, nir = raster.read([3, 4]).astype(np.float64)
        measured = raster.read_masks(1) > 0
        return np.where(measured, (nir - red) / np.maximum(nir + red, 1), np.nan), raster.bounds


def reference(path, outlines):
    values, bounds = ndvi_of(path)
    source = NumPyRasterSource(values, *(bounds.left, bounds.bottom, bounds.right, bounds.top), nodata=np.nan)
    found = exact_extract(source, outlines, ["mean", "stdev", "count"], include_cols="name", output="pandas")
    return found.set_index("name")


def test_statistics_are_those_of_exactextract_on_both_grids(farm, tmp_path):
    result = collect_fields(request(farm, tmp_path / "t.parquet"))
    assert result.computed == ("p0", "p1")
    rows = pd.read_parquet(tmp_path / "t.parquet").set_index(["field", "product"])
    assert set(rows.index.get_level_values("field")) == {"home", "edge"}
    assert rows["time"].unique().tolist() == [pd.Timestamp(f"{day}T10:00:00Z") for day in DAYS[:2]]
    outlines = geopandas.read_file(farm / "fields.gpkg")
    for i in (0, 1):
        for path, prefix in ((farm / "products" / f"p{i}.tif", ""), (farm / f"s{i}.tif", "source_")):
            for name, expected in reference(path, outlines[:2]).iterrows():
                row = rows.loc[(name, f"p{i}")]
                assert row[f"{prefix}mean"] == pytest.approx(expected["mean"], abs=2e-6)
                assert row[f"{prefix}std"] == pytest.approx(expected["stdev"], abs=2e-6)
                assert row[f"{prefix}count"] == pytest.approx(expected["count"], rel=1e-5)
    home, edge = rows.loc[("home", "p0")], rows.loc[("edge", "p0")]
    assert home["nodata_share"] == pytest.approx(900 * 0.97 / (111.8 * 142.3), abs=0.01)
    assert edge["nodata_share"] == pytest.approx(0.5, abs=1e-3)
    assert (edge["count"], edge["area_ha"]) == (
        pytest.approx(20 * 20, rel=0.01),
        pytest.approx(0.25, rel=0.01),
    )
    assert (home["pixel_m"], home["source_pixel_m"]) == (2.5, 10)
    assert home["p10"] < home["median"] < home["p90"]
    # Bicubic interpolation has no half-widths of pixels.
    assert home[["half_width", "measured_fraction", "cloud_share"]].isna().all()
    assert any("make the products with --uncertainty" in note for note in result.notes)
    assert "1 of 3 fields lie on no image: far" in result.notes


@pytest.mark.parametrize("name", ["t.parquet", "t.geoparquet", "t.csv", "t.gpkg"])
def test_a_second_run_computes_nothing_and_a_new_date_one(farm, tmp_path, name):
    table = tmp_path / name
    products = tmp_path / "products"
    products.mkdir()
    for path in (farm / "products").iterdir():
        (products / path.name).write_bytes(path.read_bytes())
    first = FieldsRequest((str(products / "p0.json"),), farm / "fields.gpkg", table, ("ndvi", "ratio=B08/B04"))
    assert collect_fields(first).computed == ("p0",)
    before = table.read_bytes()
    again = collect_fields(first)
    assert (again.computed, again.skipped, table.read_bytes()) == ((), ("p0",), before)
    both = FieldsRequest((str(products),), *(first.fields, table, first.measures))
    more = collect_fields(both)
    assert (more.computed, more.skipped, more.rows) == (("p1",), ("p0",), 8)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    rows = read(table)
    assert rows.groupby("field").size().to_dict() == {1: 4, 2: 4}
    assert rows["time"].nunique() == 2
    assert rows["mean"].notna().all()
    with pytest.raises(GeosrError, match="for other fields, measures or pixels"):
        collect_fields(FieldsRequest(both.sources, both.fields, table, ("ndwi",)))


def read(table):
    """A table as its users read it."""
    if table.suffix == ".csv":
        return pd.read_csv(table, parse_dates=["time"])
    if table.suffix == ".parquet":
        return duckdb.sql(f"SELECT * FROM '{table}'").df()
    rows = geopandas.read_parquet(table) if table.suffix == ".geoparquet" else geopandas.read_file(table)
    assert rows.crs.to_epsg() == 4326
    assert (rows.geometry.area > 0).all()
    assert 13 < rows.total_bounds[0] < 14
    return rows


def test_an_interrupted_run_keeps_its_dates_and_goes_on(farm, tmp_path, monkeypatch):
    table, measured = tmp_path / "t.csv", collect._rows_of

    def interrupted(image, *rest):
        if image.name == "p1":
            raise KeyboardInterrupt
        return measured(image, *rest)

    monkeypatch.setattr(collect, "_rows_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect_fields(request(farm, table))
    assert set(read(table)["product"]) == {"p0"}
    monkeypatch.undo()
    assert collect_fields(request(farm, table)).computed == ("p1",)


def test_clouds_of_the_classification_are_a_share_of_the_field(tmp_path, sample):
    scl = np.full((12, 10), 4, np.uint8)
    scl[:, 5:] = 9
    item = write_item(tmp_path, "scene", sample[:, :24, :20], scl=scl)
    outline = shapely.box(300000, 5400000 - 240, 300200, 5400000)
    geopandas.GeoDataFrame(geometry=[outline], crs="EPSG:32633").to_file(tmp_path / "f.geojson")
    done = run_here("fields", item, "--fields", tmp_path / "f.geojson", "-o", tmp_path / "t.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout[done.stdout.index("{\n") :])["computed"] == ["scene"]
    (row,) = read(tmp_path / "t.csv").to_dict("records")
    # Ten of twenty columns, and three that the blur reaches.
    assert row["cloud_share"] == pytest.approx(13 / 20, abs=1e-3)
    assert (row["nodata_share"], row["pixel_m"], row["count"]) == (0, 10, pytest.approx(480, abs=0.1))


def test_the_source_counts_where_the_product_has_a_measurement(tmp_path, sample):
    """Two Items are joined, and upscaled without their clouds: figures at both pixels leave these out."""
    for name, top, value in (("north", 5400000, 9), ("south", 5400000 - 240, 4)):
        scl = np.full((12, 10), 4, np.uint8)
        scl[:, :4] = value
        write_item(tmp_path, name, sample[:, :24, :20], scl=scl, top=top)
    items, product = (tmp_path / "south.json", tmp_path / "north.json"), tmp_path / "p.tif"
    assert call_geosr("upscale", *items, "-o", product, "--mask-clouds", "--model", "bicubic", "-q") == 0
    outline = shapely.box(300000, 5400000 - 480, 300200, 5400000)
    geopandas.GeoDataFrame(geometry=[outline], crs="EPSG:32633").to_file(tmp_path / "f.geojson")
    assert call_geosr("fields", product, "--fields", tmp_path / "f.geojson", "-o", tmp_path / "t.csv") == 0
    (row,) = read(tmp_path / "t.csv").to_dict("records")
    # Eight of twenty columns of the northern half, and three that the blur reaches, there and below it.
    assert row["cloud_share"] == pytest.approx(row["nodata_share"], abs=1e-3)
    assert row["cloud_share"] > 0.25
    assert row["source_count"] == pytest.approx(row["count"] / 16, rel=1e-3)
    assert row["source_mean"] == pytest.approx(row["mean"], abs=2e-3)


def test_a_source_of_another_date_has_no_figures(farm, tmp_path):
    product = tmp_path / "p.tif"
    for name in ("p0.tif", "p0.json"):
        (tmp_path / name.replace("p0", "p")).write_bytes((farm / "products" / name).read_bytes())
    item = json.loads((tmp_path / "p.json").read_text().replace("./p0", "./p"))
    (link,) = [one for one in item["links"] if one["rel"] == "derived_from"]
    link["href"] = (farm / "s1.tif").as_uri()
    (tmp_path / "p.json").write_text(json.dumps(item))
    made = collect_fields(FieldsRequest((str(product),), farm / "fields.gpkg", tmp_path / "t.csv"))
    assert any("has no figures at its source's pixels: s1 is of another date, 2024-06-01" in one for one in made.notes)
    assert read(tmp_path / "t.csv")["source_mean"].isna().all()


def test_fields_beyond_the_antimeridian_are_found(tmp_path, sample):
    """The grid of zone 1 crosses 180°, its fields have longitudes of either side, and one of them has both."""
    left, top = 295000, 6000000
    place = {"crs": "EPSG:32601", "transform": rasterio.transform.from_origin(left, top, 1000, 1000)}
    path = write_raster(tmp_path / "2024-05-01.tif", sample[:, :24, :20], nodata=0, **place)
    outlines = [shapely.box(left + x, top - 9000, left + x + 3000, top - 6000) for x in (0, 3000, 6000, 15000)]
    fields = geopandas.GeoDataFrame(geometry=outlines, crs="EPSG:32601")
    assert (fields.to_crs(4326).bounds.maxx > 0).tolist() == [True, True, True, False]
    assert (fields.to_crs(4326).bounds.minx > 0).tolist() == [True, True, False, False]
    for crs in (32601, 4326):
        fields.to_crs(crs).to_file(tmp_path / f"{crs}.gpkg")
        collect_fields(FieldsRequest((str(path),), tmp_path / f"{crs}.gpkg", tmp_path / f"{crs}.csv"))
        assert read(tmp_path / f"{crs}.csv")["count"].tolist() == pytest.approx([9, 9, 9, 9], abs=0.01)


def test_rows_of_other_columns_or_fields_are_refused_and_stay(farm, tmp_path):
    table = tmp_path / "t.geoparquet"
    first = replace(request(farm, table), sources=(str(farm / "products" / "p0.json"),))
    collect_fields(first)
    before, later = table.read_bytes(), replace(first, sources=(str(farm / "products" / "p1.json"),))
    for percentiles in ((10.0,), (10.0, 50.0, 90.0), ()):
        with pytest.raises(GeosrError, match="has rows with other percentiles"):
            collect_fields(replace(later, percentiles=percentiles))
    with pytest.raises(GeosrError, match=r"has rows of fields that are not in .*fields.gpkg, as edge"):
        collect_fields(replace(later, where="name = 'home'"))
    with pytest.raises(GeosrError, match=r"has rows of fields that are not in .*fields.gpkg, as edge"):
        collect_fields(replace(later, id_column=None))
    assert table.read_bytes() == before
    assert collect_fields(later).computed == ("p1",)


def test_weights_are_the_covered_share_of_each_pixel():
    grid = GeoBox((4, 4), rasterio.Affine(10, 0, 500000, 0, -10, 5300000), "EPSG:32633")
    outline = shapely.box(500005, 5300000 - 25, 500020, 5300000 - 10)
    degrees = geopandas.GeoSeries([outline], crs="EPSG:32633").to_crs(4326)[0]
    found = cover(degrees, grid, "one")
    weights = np.zeros((4, 4))
    weights[found.window.toslices()] = found.weights
    expected = np.zeros((4, 4))
    expected[1:3, :2] = [[0.5, 1], [0.25, 0.5]]
    assert weights == pytest.approx(expected, abs=1e-4)
    assert cover(shapely.box(0, 0, 1, 1), grid, "far") is None


def test_measures_are_indices_or_expressions():
    bands = {"B04": np.array([0.1, -0.1], np.float32), "B08": np.array([0.3, 0.5], np.float32)}
    assert measure_of("NDVI").of(bands) == pytest.approx([0.5, 1.0])
    assert measure_of("r=(B08-B04)*max(B08,0.4)/2**1").of(bands) == pytest.approx([0.04, 0.15])
    widths = {"B04": np.array([0.03, 0.0], np.float32), "B08": np.array([0.04, 0.0], np.float32)}
    assert measure_of("B08 - B04").half_width(bands, widths) == pytest.approx([0.05, 0])
    for wrong in ("ndvy(3)", "B08.real", "3", "B08 +", "min(B08)", "2 x=B08", "__import__('os')", "B08 if 1 else 2"):
        with pytest.raises(UsageError, match="--index"):
            measure_of(wrong)
    with pytest.raises(UsageError, match="two measures are named ndvi"):
        measures_of(["ndvi", "ndvi=B08"])


def test_a_mean_errs_by_the_correlation_of_its_pixels():
    """Independent errors shrink with the root of their number, equal ones do not, and other measures are wider."""
    weights, widths = np.ones((20, 20)), np.full((20, 20), 0.1)
    assert scale_of_mean(widths, weights, (1, 0)) == pytest.approx(0.1 / 20)
    assert scale_of_mean(widths, weights, (1,) * 40) == pytest.approx(0.1)
    assert scale_of_mean(widths, weights, (1, 0.3, -0.4)) < 0.1 / 20
    # What all pixels share stays, however many there are.
    assert scale_of_mean(widths, weights, (1, 0), 0.1) == pytest.approx(np.hypot(0.1 / 20, 0.1 * 0.1))
    errors = MeanErrors(level=0.9, correlation=(1, 0), factors={"ndvi": 2, "B04": 1, "ndwi": 3})
    found = [errors.half_width_of_mean(measure_of(text), widths, weights) for text in ("ndvi", "B04", "B08", "B04=B08")]
    assert np.array(found) == pytest.approx(np.array([2, 1, 3, 3]) * 0.1 / 20)


def test_means_have_half_widths_where_the_model_is_calibrated(farm, tmp_path, monkeypatch):
    product = tmp_path / "p.tif"
    upscale = ("upscale", farm / "s0.tif", "-o", product, "--model", write_small_model(tmp_path), "--uncertainty", "-q")
    assert call_geosr(*upscale) == 0
    outline = shapely.box(LEFT - 50, TOP - 290, LEFT + 250, TOP + 50)
    geopandas.GeoDataFrame(geometry=[outline], crs="EPSG:32633").to_file(tmp_path / "all.geojson")
    wanted = FieldsRequest((str(product),), tmp_path / "all.geojson", tmp_path / "t.csv", ("B04",))
    uncalibrated = collect_fields(wanted)
    assert "means have no half-widths: they are not calibrated for model mine" in uncalibrated.notes
    assert read(wanted.output)["half_width"].isna().all()
    monkeypatch.setattr(
        collect, "errors_of_model", lambda _: MeanErrors(level=0.9, correlation=(1, 0), factors={"B04": 2})
    )
    collect_fields(replace(wanted, overwrite=True))
    (row,) = read(wanted.output).to_dict("records")
    with rasterio.open(tmp_path / "p_uncertainty.tif") as raster:
        widths = raster.read(3)[raster.read_masks(3) > 0] * 1e-4
    assert row["half_width"] == pytest.approx(2 * np.sqrt((widths**2).sum()) / len(widths), abs=2e-6)
    assert row["count"] == pytest.approx(len(widths), abs=0.1)
    with rasterio.open(tmp_path / "p_measured.tif") as raster:
        percent = raster.read(1)
    assert row["measured_fraction"] == pytest.approx(percent[percent < 255].mean() / 100, abs=1e-5)


def test_fields_are_named_by_a_column_or_their_number(farm):
    path = farm / "fields.gpkg"
    assert [one.id for one in read_features(path)] == [1, 2, 3]
    assert [one.id for one in read_features(path, "number", where="number > 7")] == [8, 9]
    with pytest.raises(Exception, match=r"holds 1\.5: an --id is whole numbers or text"):
        read_features(path, "area")


def test_fields_are_drawn_over_time(farm, tmp_path):
    result = collect_fields(request(farm, tmp_path / "t.csv", plots=tmp_path / "plots"))
    assert result.plots == 2
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["edge.png", "home.png"]
    assert (tmp_path / "plots" / "home.png").read_bytes().startswith(b"\x89PNG")
    # Nothing is drawn anew without a new date, but for what is missing.
    (tmp_path / "plots" / "edge.png").unlink()
    assert collect_fields(request(farm, tmp_path / "t.csv", plots=tmp_path / "plots")).plots == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "t.xlsx"], "a table is written as .parquet, .geoparquet, .csv, .gpkg, not .xlsx"),
        (["-o", "missing/t.csv"], "the folder of missing/t.csv does not exist"),
        (["--fields", "none.gpkg"], "there is no such file"),
        (["--id", "nome"], "has no column 'nome': it has name, number, area"),
        (["--where", "number > 99"], "holds no feature with a place where number > 99"),
        (["--where", "number = 9"], "no field of fields.gpkg lies on an image"),
        (["--index", "nbr"], "has no B12, which the measures need"),
        (["--index", "frob("], "is neither ndvi, ndre, ndwi, nbr nor an expression of bands"),
        (["--index", "ndvi,,ndwi"], "has an empty name between its commas"),
        (["--percentiles", "10,x"], "--percentiles takes numbers with commas between them"),
        (["--percentiles", "101"], "--percentiles are 0 to 100, not 101"),
        (["-o", "other.csv"], "other.csv exists and is no table of fields: --overwrite replaces it"),
        (["-o", "fields.gpkg"], "fields.gpkg is a source: write to another file"),
        (["--plots", "other.csv"], "--plots other.csv is a file: name a folder"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(farm, tmp_path, monkeypatch, capsys, options, said):
    (tmp_path / "fields.gpkg").write_bytes((farm / "fields.gpkg").read_bytes())
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    defaults = {"--fields": "fields.gpkg", "-o": "t.csv"}
    given = dict(zip(options[::2], options[1::2], strict=True))
    arguments = [word for pair in {**defaults, **given}.items() for word in pair]
    code = call_geosr("fields", farm / "products", *arguments)
    err = capsys.readouterr().err
    assert code in (1, 2)
    assert said in err
    assert err.count("geosr: ") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_day_is_a_date_of_a_table(farm, tmp_path, sample):
    """Both for a raster that is named by its day, and for its product."""
    (tmp_path / "products").mkdir()
    path = write_raster(tmp_path / "2024-05-14.tif", sample[:, 40:64, 40:60], nodata=0)
    product = tmp_path / "products" / "p.tif"
    assert call_geosr("upscale", path, "-o", product, "--model", "bicubic", "-q") == 0
    for image in (path, product):
        assert (
            call_geosr("fields", image, "--fields", farm / "fields.gpkg", "-o", tmp_path / "t.csv", "--overwrite") == 0
        )
        assert set(pd.read_csv(tmp_path / "t.csv").time.str[:10]) == {"2024-05-14"}


def test_an_image_without_a_time_is_refused(farm, tmp_path, sample, capsys):
    path = write_raster(tmp_path / "in.tif", sample[:, :24, :20], nodata=0)
    assert call_geosr("fields", path, "--fields", farm / "fields.gpkg", "-o", tmp_path / "t.csv") == 2
    assert "does not tell when it was acquired" in capsys.readouterr().err
