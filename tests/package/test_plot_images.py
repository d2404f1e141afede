"""Every kind of figure looks as it did: compared with images in tests/baseline, without text.

    pytest tests/package/test_plot_images.py --mpl-generate-path=tests/baseline

makes the images anew. Text is left out because fonts differ between machines; what axes say is in
test_plot.py.
"""

from __future__ import annotations

import pytest
from test_plot import FIGURES

pytest.importorskip("pytest_mpl")

compared = pytest.mark.mpl_image_compare(
    baseline_dir="../baseline", remove_text=True, tolerance=6, savefig_kwargs={"dpi": 80}
)


@compared
@pytest.mark.parametrize("kind", sorted(FIGURES))
def test_figures_look_as_they_did(kind):
    return FIGURES[kind]().figure
