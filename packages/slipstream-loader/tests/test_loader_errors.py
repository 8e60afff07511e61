"""The errors of the loader."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    DecodeRandomResizedCrop,
    EncodedBatch,
    Normalize,
    run_stages,
)
from slipstream_loader import errors
from slipstream_loader.batches import checked_pipelines
from slipstream_loader.errors import LoaderError, StageError


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("LoaderError", RuntimeError),
        ("SourceError", ValueError),
        ("EmptyDatasetError", ValueError),
        ("SampleReadError", OSError),
        ("DatasetArgumentError", TypeError),
        ("ImageDecodeError", ValueError),
        ("StageError", RuntimeError),
    ],
)
def test_each_error_is_also_a_builtin(name: str, builtin: type[Exception]) -> None:
    """Every error is a LoaderError and a builtin, and the tree in the docstring names it."""
    error = getattr(errors, name)
    assert issubclass(error, LoaderError)
    assert issubclass(error, builtin)
    assert f"{name} (" in str(errors.__doc__) or f"{name} " in str(errors.__doc__)


@pytest.mark.parametrize(
    ("field", "sample_ids", "expected"),
    [
        ("image", [7], "stage Normalize of field 'image' failed on sample 7: no"),
        (None, [1, 2], "stage Normalize failed on samples 1, 2: no"),
        ("x", range(50), "failed on 50 samples (0, 1, 2, 3, 4, 5, 6, 7, ...): no"),
    ],
)
def test_stage_error_names_stage_field_and_samples(
    field: str | None, sample_ids: list[int], expected: str
) -> None:
    """The message names the stage, the field and the first samples; pickling keeps them all."""
    error = StageError("Normalize", field, sample_ids, "no")
    assert expected in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.field, copy.sample_ids) == (str(error), field, list(sample_ids))


@pytest.mark.parametrize(
    "pipelines", [[DecodeRandomResizedCrop(8)], DecodeRandomResizedCrop(8), "simclr"]
)
def test_pipelines_without_a_field_are_told(pipelines: Any) -> None:
    """A list of stages in the place of a dict is an error that shows the dict."""
    with pytest.raises(TypeError, match=r"{'image': .* got a (list|Decode.*|str)"):
        checked_pipelines(pipelines)
    assert checked_pipelines(None) == {}


def test_a_pipeline_that_does_not_decode_is_told() -> None:
    """Encoded images in a stage of pixels are an error that says how a pipeline begins."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    batch = EncodedBatch.from_payloads([file.getvalue()])
    context = BatchContext(sample_ids=np.arange(1), seed=0)
    with pytest.raises(ValueError, match="begins with a stage that decodes"):
        run_stages([Normalize()], batch, context)
    with pytest.raises(TypeError, match="got str: 'simclr'"):
        run_stages("simclr", batch, context)  # type: ignore[arg-type]
