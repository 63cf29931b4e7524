"""Print the server's OpenAPI schema as JSON: what the page's typed client is generated from."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.app import create_app

json.dump(create_app().openapi(), sys.stdout)
