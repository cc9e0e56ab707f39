"""Dataset preparation: from a source of images to class folders, divided into splits and listed in a manifest."""
