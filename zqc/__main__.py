"""``python -m zqc`` is ``zqc``."""

from zqc.cli.start import main

main()
