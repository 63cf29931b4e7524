"""Names of the model that comes with Tunescope."""

DEMO = "smollm2-135m-instruct"
"""Its name in the library; prepared on first use."""
DEMO_CATALOGUE_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Its entry in the catalogue, for estimates before it is prepared."""
