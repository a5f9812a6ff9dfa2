"""`python -m erm_gym.cli` is the `erm-gym` command."""

import sys

from erm_gym.cli.app import main

sys.exit(main())
