"""Models on disk and on the hub: safetensors in, safetensors out."""
