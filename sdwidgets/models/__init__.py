"""The networks: tensors to tensors. They know their config and nothing else."""
