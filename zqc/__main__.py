"""``python -m zqc`` is ``zqc``."""

from zqc.cli.main import main

main()
