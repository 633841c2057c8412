"""The freely licensed photographs that stand behind the objects.

None of them is kept here: they come out of packages that anybody can install, and only 192 x 192
crops with objects pasted on them are stored. Training and held-out scenes share no photograph.
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

LOMIRI = "lomiri-wallpapers-16.04"
SKIMAGE = "scikit-image"
SKLEARN = "scikit-learn"

INSTALL = (
    f"apt-get install {LOMIRI}\n"
    f"pip install --no-deps --target build/photographs {SKIMAGE}==0.26.0 {SKLEARN}==1.9.1"
)

LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}

#: The short side that a photograph is reduced to before crops are taken from it, in pixels.
SHORT_SIDE = 720


@dataclass(frozen=True)
class Photograph:
    """One photograph: its file below a search folder and what its licence asks us to say."""

    path: str
    author: str
    licence: str
    package: str


TRAINING = (
    Photograph("aitzgorri_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0", LOMIRI),
    Photograph("friends_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0", LOMIRI),
    Photograph("life_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0", LOMIRI),
    Photograph("Picture_0B_by_freespace.jpg", 'Trevor "Freespace"', "CC-BY-4.0", LOMIRI),
    Photograph("seeding_by_Clements_Engelhardt.jpg", "Clemens Engelhardt", "CC0-1.0", LOMIRI),
    Photograph("Wine_by_Jakkub_Mede.jpg", "Jakub Mede", "CC-BY-4.0", LOMIRI),
    Photograph("skimage/data/astronaut.png", "NASA", "public domain", SKIMAGE),
    Photograph("skimage/data/coffee.png", "Rachel Michetti", "CC0-1.0", SKIMAGE),
    Photograph("skimage/data/grass.png", "Linolafett", "CC0-1.0", SKIMAGE),
    Photograph("skimage/data/gravel.png", "CC0Textures", "CC0-1.0", SKIMAGE),
    Photograph("skimage/data/hubble_deep_field.jpg", "NASA, ESA", "public domain", SKIMAGE),
    Photograph("sklearn/datasets/images/china.jpg", "danielbuechele", "CC-BY-2.0", SKLEARN),
)

HELDOUT = (
    Photograph("picosdeeuropa_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0", LOMIRI),
    Photograph("Picture_1A_by_freespace.jpg", 'Trevor "Freespace"', "CC-BY-4.0", LOMIRI),
    Photograph("sunset_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0", LOMIRI),
    Photograph("skimage/data/brick.png", "CC0Textures", "CC0-1.0", SKIMAGE),
    Photograph("skimage/data/chelsea.png", "Stefan van der Walt", "CC0-1.0", SKIMAGE),
    Photograph("skimage/data/rocket.jpg", "SpaceX", "public domain", SKIMAGE),
    Photograph("sklearn/datasets/images/flower.jpg", "vultilion", "CC-BY-2.0", SKLEARN),
)


def load(photographs: tuple[Photograph, ...], folders: tuple[Path, ...]) -> list[Image.Image]:
    """Read the photographs as RGB pictures with a short side of at most SHORT_SIDE pixels."""
    return [_reduced(Image.open(_find(photograph, folders))) for photograph in photographs]


def _find(photograph: Photograph, folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if (folder / photograph.path).is_file():
            return folder / photograph.path
    places = ", ".join(str(folder) for folder in folders)
    raise click.ClickException(
        f"photograph {photograph.path} of the package {photograph.package} is in none of: "
        f"{places}. Install the packages with\n{INSTALL}"
    )


def _reduced(picture: Image.Image) -> Image.Image:
    factor = SHORT_SIDE / min(picture.size)
    if factor < 1:
        picture.draft("RGB", tuple(np.multiply(picture.size, factor).astype(int)))
        size = tuple(np.rint(np.multiply(picture.size, SHORT_SIDE / min(picture.size))).astype(int))
        picture = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return picture.convert("RGB")
