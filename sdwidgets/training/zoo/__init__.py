"""Small systems of latent diffusion, trained on emoji scenes: one table, one command for each.

``systems`` has the table: the config of each system, what its network is told of a scene, which of
its weights learn, and for how long. ``telling`` turns scenes into inputs, ``beginnings`` says what
the weights are before the training, ``task`` makes the training's task, and ``packing`` the folder
that `sdwidgets.load` reads. ``tower`` and ``glyphs`` are of neighbours alone; ``measure`` says how
good a system is. The command
``python -m sdwidgets.training zoo NAME`` does all of it.
"""
