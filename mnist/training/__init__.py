"""How a network is trained: the loop, its schedule, augmentation, checkpoints, and several machines."""
