"""Every error that zqc raises on purpose.

    ZqcError
    ├── OptionError               an option has a value that cannot be used
    ├── ModelError                the model file cannot be used: missing, not ONNX, truncated, …
    │   ├── InputShapeError       an input has a dynamic size that nobody gave
    │   ├── AlreadyQuantizedError the model holds QuantizeLinear/DequantizeLinear or integer layers
    │   └── NoBatchNormError      nothing to synthesise calibration pictures from
    ├── UnsupportedOperatorError  an operator without a gradient rule stands on the way
    ├── StatisticsError           a checkpoint, card or twin cannot be used or fits another model
    ├── ImageError                a picture, a folder or an .npz of pictures cannot be used
    ├── LabelError                a label file cannot be used or does not fit the pictures
    ├── FloatKernelsError         layers or operators stay float, and none may
    ├── MissingPackageError       a package that zqc is installed without unless asked is missing
    ├── RuntimeFailure            ONNX Runtime refused a model or failed while running it
    └── OutputError               a result cannot be written

Each message is complete on its own: it names the thing, says what was found, and what to do. The
command line prints it without a traceback. Errors of other libraries are translated where they
arise (``model_io``, ``runtime``, ``images``) and kept as ``__cause__``; those of a model's child
process stand in the log.
"""

DAMAGED = "the file is damaged, export or download it again"
"""What messages say of a model that contradicts itself."""


class ZqcError(Exception):
    """Base of all errors with a message for the user."""


class OptionError(ZqcError):
    """An option has a value that cannot be used."""


class ModelError(ZqcError):
    """A model file cannot be used."""


class InputShapeError(ModelError):
    """An input of the model has a dynamic size that the options do not give."""


class AlreadyQuantizedError(ModelError):
    """The model is quantized already."""


class NoBatchNormError(ModelError):
    """The model has no BatchNorm statistics left to synthesise pictures from."""


class UnsupportedOperatorError(ZqcError):
    """An operator without a gradient rule stands between the loss and the input."""


class StatisticsError(ZqcError):
    """A checkpoint, a statistics card or a twin cannot be used, or is of another model."""


class ImageError(ZqcError):
    """A picture, a folder of pictures or an ``.npz`` of tensors cannot be used."""


class LabelError(ZqcError):
    """A label file cannot be used or does not fit the pictures."""


class FloatKernelsError(ZqcError):
    """Layers or operators run in float although every one was asked to be on integer kernels."""


class MissingPackageError(ZqcError):
    """A command needs a package that is not installed, such as ONNX Runtime."""


class RuntimeFailure(ZqcError):  # noqa: N818 - RuntimeError is Python's own
    """ONNX Runtime refused a model or failed while running it."""


class OutputError(ZqcError):
    """A result cannot be written."""
