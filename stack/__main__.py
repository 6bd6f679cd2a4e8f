"""The way in: `python -m stack`."""

from __future__ import annotations

import sys

from stack.command import main

sys.exit(main())
