"""Source `folder`: one folder of photos per class, optionally split into `train`, `validation` and `test`.

The folder may be an archive, and either may be at a URL. `layout` recognises the folder layout.
"""

from pathlib import Path

from headstand import recipe
from headstand.images import EXTENSIONS, formats
from headstand.preparation.listing import Item, Listing
from headstand.preparation.manifest import SPLITS, natural
from headstand.preparation.sources import archive
from headstand.preparation.sources.layout import FolderError, recognise
from headstand.preparation.sources.walk import walk


def listing(source: recipe.Source, seed: int) -> Listing:
    """Lists the photos of `source.folder`: a folder or archive, at a URL or a path resolved by `recipe.locate`.

    Raises:
        RecipeError: the path does not exist.
        FolderError: as `class_folders`.
        TransferError, ArchiveError: as `archive.unpacked`.
    """
    return class_folders(archive.unpacked(source.folder or ""), layout=source.layout)


def class_folders(
    folder: Path, extensions: tuple[str, ...] = EXTENSIONS, layout: str = "auto", sequences: bool = False
) -> Listing:
    """Lists the files with one of `extensions` by class, and by split if the folder has split folders.

    Args:
        folder: the folder to list, in a layout that `layout.recognise` supports.
        extensions: file extensions of the items, in lower case with the dot.
        layout: `source.layout`.
        sequences: folders in class folders are sequences, not classes.

    Raises:
        FolderError: as `layout.recognise`; or a photo has the path of a copy but another file size.
        WalkError: a folder cannot be read.
    """
    found = walk(folder)
    photos = [path for path in found.files if formats.is_listed(folder / path, extensions)]
    chosen = set(photos)
    others = [path for path in found.files if path not in chosen]
    try:
        recognised = recognise(photos, others, found.folders, layout, str(folder), sequences)
    except FolderError as error:
        if photos or not (found.system or found.links):
            raise
        skipped = [*found.lines(), *([f"links that are not followed: {len(found.links)}"] if found.links else [])]
        raise FolderError(f"{error} ({'; '.join(skipped)})") from None
    for copy, original in recognised.copies:
        if (folder / copy).stat().st_size != (folder / original).stat().st_size:
            raise FolderError(
                f"{folder / copy} looks like a copy of {folder / original} and is another photo: name the folder to "
                "use with --source, or take all of it with --source.layout classes"
            )
    below = f"{recognised.root}/" if recognised.root else ""
    splits = (*SPLITS, "")
    photos_in_order = sorted(
        recognised.photos, key=lambda photo: (natural(photo[1]), splits.index(photo[2]), natural(photo[0]))
    )
    return Listing(
        folder / recognised.root,
        tuple(dict.fromkeys(class_ for _, class_, _ in photos_in_order)),
        tuple(Item(class_, folder / path, split=split) for path, class_, split in photos_in_order),
        sum(path.startswith(below) for path in others),
        len(found.links),
        lines=(*recognised.lines, *found.lines()),
    )
