"""``python -m mcp_server.tour``."""

import sys

from mcp_server.tour import main

sys.exit(main())
