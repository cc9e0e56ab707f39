"""What the page says, by the kind of input that its model takes."""

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
"""`accept` is what the file chooser offers. An iPhone turns its HEIC photos into JPEG where HEIC is not among it."""
