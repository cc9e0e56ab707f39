"""Texts of the web page, by the model's kind of input."""

WORDS = {
    "photos": {
        "title": "what is in the picture?",
        "heading": "Show it a picture",
        "thing": "picture",
        "choose": "Choose a picture",
        "drop": "Drop a picture here",
        "tap": "Tap to choose a picture",
        "takes": "JPEG, PNG, WebP, GIF or BMP",
        "samples": "No picture at hand? Try one of these",
        "accept": "image/jpeg,image/png,image/webp,image/gif,image/bmp",
    },
    "heatmaps": {
        "title": "what does the person do?",
        "heading": "Show it a person’s heatmaps",
        "thing": "file",
        "choose": "Choose a file",
        "drop": "Drop a .npy file here",
        "tap": "Tap to choose a .npy file",
        "takes": "A NumPy file of float32 [1, 17, 64, 48]",
        "samples": "No heatmaps at hand? Try one of these",
        "accept": ".npy",
    },
}
"""Texts by kind of input and name.

`accept` is the filter of the file chooser. An iPhone converts its HEIC photos to JPEG if HEIC is not in it.
"""
