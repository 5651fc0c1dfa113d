"""Training, from nothing: the autoencoder, the text encoder, the denoiser and the recogniser.

``python -m sdwidgets.training --help`` lists the commands. Nothing else imports this package.
"""
