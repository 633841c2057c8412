"""Where the networks of the zoo are built: packages that neither zqc nor its tests ever import.

Some of them are under copyleft licences. They are installed by pip into an environment of their
own and run there as they are; nothing of them is copied.
"""

from tools.paths import ROOT

FOLDER = ROOT / "build" / "zoo"

REQUIREMENTS = (
    "torch==2.13.0",
    "torchvision==0.28.0",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "onnxscript==0.7.2",
    "onnxslim==0.1.98",
    "transformers==5.24.0",
    "timm==1.0.31",
    "effdet==0.4.1",
    "ultralytics==8.4.190",
    "scipy==1.17.1",
    "click>=8.1",
)

SECONDS = 1800.0
"""How long the installation may take."""


VARIABLES = {
    "YOLO_CONFIG_DIR": str(FOLDER),
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_DISABLE_TORCH_CHECK": "1",  # D-FINE has checks that the exporter cannot write
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What the builder runs with: the packages install and download nothing, and write only there."""
