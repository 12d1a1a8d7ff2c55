"""`python -m tinygrad_nn`."""

import sys

from .cli import main

sys.exit(main())
