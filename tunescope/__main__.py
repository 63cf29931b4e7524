"""``python -m tunescope`` is the ``tunescope`` command."""

import sys

from tunescope.cli.main import main

sys.exit(main())
