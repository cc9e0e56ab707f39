"""The original way: Flask, the image scaled by Pillow, and `keras.Model.predict`."""

import io
import os

import keras
import numpy as np
from flask import Flask, jsonify, request
from PIL import Image

app = Flask(__name__)
model = keras.models.load_model(os.environ["BENCHMARK_H5"], compile=False)
labels = os.environ["BENCHMARK_LABELS"].split(",")
side = model.input_shape[1]
model.predict(np.zeros((1, side, side, 3), np.float32), verbose=0)


@app.post("/predict")
def predict():  # type: ignore[no-untyped-def]
    image = Image.open(io.BytesIO(request.get_data()))
    image.draft("RGB", (2 * side, 2 * side))
    pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.float32)
    values = model.predict(pixels[np.newaxis], verbose=0)[0]
    return jsonify({labels[index]: float(values[index]) for index in np.argsort(-values)})
