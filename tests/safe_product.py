"""Writes ``.SAFE`` products as ESA delivers them: real JPEG 2000 images and the metadata that decide radiometry."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests.conftest import RGBN, write_raster

BAND_IDS = {"B02": 1, "B03": 2, "B04": 3, "B08": 7}


def write_safe(
    folder: Path,
    pixels: np.ndarray,
    *,
    baseline: str,
    level: str = "2A",
    scl: np.ndarray | None = None,
    coarse: dict[str, np.ndarray] | None = None,
) -> Path:
    """A product of the four 10 m bands, ``(4, rows, cols)`` DN; ``scl`` and ``coarse``, by band, on that of 20 m."""
    number = baseline.replace(".", "")
    name = f"S2B_MSIL{level}_20230815T100031_N{number}_R122_T33UUP_20230815T140000.SAFE"
    product = folder / name
    granule = f"GRANULE/L{level}_T33UUP_A033650_20230815T100028"
    images = []
    for band, image in zip(RGBN, pixels, strict=True):
        stem = f"T33UUP_20230815T100031_{band}"
        relative = f"{granule}/IMG_DATA/R10m/{stem}_10m" if level == "2A" else f"{granule}/IMG_DATA/{stem}"
        _write_jp2(product / f"{relative}.jp2", image[None])
        images.append(relative)
        if level == "2A":
            # The same band is delivered on coarser grids as well.
            reduced = f"{granule}/IMG_DATA/R20m/{stem}_20m"
            _write_jp2(product / f"{reduced}.jp2", image[None, ::2, ::2], pixel_m=20)
            images.append(reduced)
    for band, image in (coarse or {}).items():
        relative = f"{granule}/IMG_DATA/R20m/T33UUP_20230815T100031_{band}_20m"
        _write_jp2(product / f"{relative}.jp2", image[None], pixel_m=20)
        images.append(relative)
    if scl is not None:
        relative = f"{granule}/IMG_DATA/R20m/T33UUP_20230815T100031_SCL_20m"
        _write_jp2(product / f"{relative}.jp2", scl[None], pixel_m=20)
        images.append(relative)
    (product / f"MTD_MSIL{level}.xml").write_text(_metadata(level, baseline, name, images))
    return product


def zip_safe(product: Path) -> Path:
    """The product's zip, as it is downloaded."""
    return Path(shutil.make_archive(str(product).removesuffix(".SAFE"), "zip", product.parent, product.name))


def _write_jp2(path: Path, pixels: np.ndarray, pixel_m: float = 10) -> None:
    from rasterio.transform import from_origin

    path.parent.mkdir(parents=True, exist_ok=True)
    write_raster(
        path,
        pixels,
        names=(),
        crs="EPSG:32633",
        transform=from_origin(300000, 5400000, pixel_m, pixel_m),
        driver="JP2OpenJPEG",
        QUALITY="100",
        REVERSIBLE="YES",
    )


def _metadata(level: str, baseline: str, name: str, images: list[str]) -> str:
    listed = "".join(f"<IMAGE_FILE>{image}</IMAGE_FILE>" for image in images)
    has_offset = tuple(int(part) for part in baseline.split(".")) >= (4, 0)
    if level == "2A":
        quantification = (
            "<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit='none'>10000</BOA_QUANTIFICATION_VALUE>"
            "<AOT_QUANTIFICATION_VALUE unit='none'>1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>"
        )
        holder, entry = "BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET"
    else:
        quantification = "<QUANTIFICATION_VALUE unit='none'>10000</QUANTIFICATION_VALUE>"
        holder, entry = "Radiometric_Offset_List", "RADIO_ADD_OFFSET"
    offsets = "".join(f"<{entry} band_id='{i}'>-1000</{entry}>" for i in range(13))
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-08-15T10:00:31.024Z</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>2023-08-15T10:00:31.024Z</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{name}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="GS2B_20230815T100031_033650_N{baseline}">
        <SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>
        <DATATAKE_SENSING_START>2023-08-15T10:00:31.024Z</DATATAKE_SENSING_START>
        <SENSING_ORBIT_NUMBER>122</SENSING_ORBIT_NUMBER>
      </Datatake>
      <Product_Organisation><Granule_List><Granule imageFormat="JPEG2000">{listed}</Granule></Granule_List>
      </Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      {quantification}
      {f"<{holder}>{offsets}</{holder}>" if has_offset else ""}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{level}_User_Product>
"""
