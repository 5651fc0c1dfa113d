"""Every public widget, in the states in which a person meets it, as the code of cells."""

RUNS = """
from contextlib import suppress

import sdwidgets as sdw
from sdwidgets import training

model = sdw.load()
prompt = "a cat left of a car on a blue background"
trace = model.generate(prompt, steps=8, seed=7, attention=True)
plain = model.generate("a dog left of a car on a blue background", steps=8, seed=7)
long = model.generate("a hippopotamus " * 30 + "penguin", seed=7, steps=2)
trace.export_html("page.html")

def studio(**settings):
    made = sdw.Studio(prompt=prompt, seed=7, steps=8, **settings)
    made.generate()
    made.wait()
    return made

def told(model, **settings):
    made = sdw.Studio(model=model, seed=7, steps=4, **settings)
    made.generate()
    made.wait()
    return made

def refused():
    made = sdw.Studio(prompt=prompt, width=33)
    with suppress(sdw.InputError):
        made.generate()
    return made

def forming():
    view = sdw.PictureView()
    for step in view.watch(model.sample(prompt, steps=4, seed=7)):
        pass
    return view

def lab(panel, **settings):
    made = sdw.Lab(autoencoders=["KL-f8", "VQ-f8"], **settings)
    made.panel = panel
    made.wait()
    return made

def walk():
    made = sdw.Walk("emoji", ["a cat", ("a dog", 9)], frames=2, seed=7, steps=4)
    made.wait()
    return made

def painting():
    made = sdw.Painter(trace.image)
    heat = trace.heat_map("cat")
    made.take_map(heat / heat.max())
    made.pad = (0, 0, 16, 0)
    return made

NOUNS = ["cat", "dog", "house", "sun", "blue", "green"]

def boxed():
    boxes = [("blue", (0, 0, 1, 1)), ("cat", (0.1, 0.3, 0.55, 0.85)), ("sun", (0.7, 0.1, 0.9, 0.3))]
    return sdw.Boxes(boxes, classes=NOUNS, image=trace.image)

def labelled(**settings):
    made = sdw.LabelMap(classes=["blue", "green", "cat", "dog"], **settings)
    values = made.map.copy()
    values[80:], values[40:100, 30:80] = 1, 2
    made.map = values
    return made

def learning():
    arrays = training.Arrays([trace.image.resize((64, 64))] * 8, captions=["a cat"] * 8)
    task = training.diffusion(arrays, autoencoder="emoji", prompts=["a cat", "a car"])
    view = sdw.TrainingView()
    plan = training.Plan(steps=4, batch_size=2)
    view.start(training.train(task, plan), pictures=lambda: task.samples(2), every=2)
    view.wait()
    return view

def swept():
    scores = {"width": lambda trace: trace.image.width}
    made = sdw.Sweep(prompt="a {cat|dog}", seed=range(2), steps=2, scores=scores)
    made.wait()
    return made

def branched():
    made = sdw.Branches(trace)
    made.grow(0, 4, guidance_scale=7.0)
    made.wait()
    return made
"""

# By the name of the widget, and what is special about it: an expression after `RUNS`.
WIDGETS = {
    "Studio, idle": "sdw.Studio(prompt=prompt)",
    "Studio, a result": "studio()",
    "Studio, inside": "studio(inside=True)",
    "Studio, an error": "refused()",
    "Studio, a start image": "studio(image=trace.image.resize((200, 100)))",
    "Studio by class": "told('emoji-class', label='cat')",
    "Studio by neighbours": "told('emoji-neighbours', neighbours=[trace.image, plain.image])",
    "Studio that enlarges": "told('emoji-upscale', low_res=trace.image.resize((32, 32)))",
    "Painter": "painting()",
    "Painter, no image": "sdw.Painter()",
    "Boxes": "boxed()",
    "Boxes, any name": "sdw.Boxes([('a cup', (0.2, 0.2, 0.6, 0.7))], size=(96, 64))",
    "LabelMap": "labelled()",
    "LabelMap, an image": "labelled(image=trace.image)",
    "Sweep": "swept()",
    "Branches": "branched()",
    "PictureView": "forming()",
    "Viewer": "sdw.Viewer(trace, word='cat')",
    "Viewer, no attention": "sdw.Viewer(plain)",
    "Denoising": "sdw.Denoising(trace)",
    "Attention": "sdw.Attention(trace, word='cat', other='car')",
    "Tokens": "sdw.Tokens(long)",
    "Compare": "sdw.Compare(trace, trace, word='cat')",
    "Compare, no attention": "sdw.Compare(trace, plain)",
    "Lab, latents": "lab('latents')",
    "Lab, play": "lab('play')",
    "Lab, between": "lab('between')",
    "Lab, noise": "lab('noise')",
    "TrainingView, idle": "sdw.TrainingView()",
    "TrainingView": "learning()",
    "Walk": "walk()",
}
