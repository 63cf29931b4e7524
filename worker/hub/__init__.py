"""Models from Hugging Face and ModelScope: safetensors and configuration only, never code and never pickles."""
