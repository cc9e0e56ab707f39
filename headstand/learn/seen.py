"""stub"""


def after(recipe, dataset, splits=("train",)):
    return ()


def leak(*a):
    return None
