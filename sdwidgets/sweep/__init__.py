"""Sweeps: grids of images over one to three settings, made here or elsewhere. No Jupyter.

`axes` finds the axes among the settings (`alternatives` those in prompts), `plan` is what is to be
made, `points` are its points as plain data. `sharing` finds the steps that points have in common,
`running` makes points on a model, `executor` says what makes them for a sweep; `local` does it on a
`ModelManager`, `dask` on a cluster, whose workers `handing_out` gives points in the form of `plain`
to make with `on_worker`. `results` are what became of them; `scores`, `store` (a folder), `table`
(CSV and Parquet) and `sheet` (contact sheets) are what is done with them. `engine` runs a plan.
"""
