"""Simulates macOS and Windows on Linux: prepares, trains, converts and predicts without the APIs that they lack.

    python -m tests.portable FOLDER

In Headstand's modules, `os`, `signal` and `socket` lack the names that exist only on Unix or Linux, modules such as
`fcntl` cannot be imported, files cannot be renamed onto existing ones, and links cannot be created. Other packages are
not affected.
"""

import builtins
import importlib
import os
import pkgutil
import re
import sys
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

MODULES = {"fcntl", "resource", "grp", "pwd", "termios", "tty", "pty", "syslog", "posix", "spwd", "crypt", "nis"}

NAMES = {
    "os": re.compile(
        "sched_.*|(get|set)(e|re|res)?[ug]id|[gs]etgroups|initgroups|fork.*|memfd_create|MFD_.*|setsid|[gs]etpg.*|killpg"
        "|tcgetpgrp|uname|mkfifo|mknod|l?chown|fchown|lchmod|posix_.*|sendfile|copy_file_range|splice|p(read|write)v?"
        "|wait[34]|waitid|W[A-Z]+|P_ALL|f?statvfs|sync|fdatasync|nice|[gs]etpriority|getloadavg|sysconf|confstr"
        "|openpty|pipe2|O_(NOFOLLOW|DIRECTORY|CLOEXEC|NONBLOCK|TMPFILE|PATH|DIRECT|SYNC|DSYNC|NOATIME|NOCTTY)"
        "|.*xattr|eventfd.*|register_at_fork|chroot|ctermid|fchdir|lockf|F_.*|getrandom|GRND_.*|pidfd_open|EX_.*"
    ),
    "signal": re.compile(
        "SIG(HUP|KILL|QUIT|USR[12]|CHLD|ALRM|PIPE|STOP|CONT|TSTP|TT.*|WINCH|XFSZ|XCPU|IO|PROF|SYS|TRAP|URG|VTALRM|POLL"
        "|PWR|RT.*|STKFLT|BUS)|alarm|setitimer|pause|sig(wait|timedwait|pending|interrupt).*|pthread_.*|siginterrupt"
    ),
    "socket": re.compile("AF_(UNIX|NETLINK|PACKET|VSOCK|CAN)|TCP_(DEFER_ACCEPT|CORK|QUICKACK)|SO_REUSEPORT|socketpair"),
    "select": re.compile("e?poll.*|EPOLL.*|kqueue"),
}

NOT_IMPORTED = ("headstand.serve.worker", "headstand.scale.ray", "headstand.__main__")
"""Modules that are not imported: gunicorn's worker class runs on Unix only, and a cluster needs Ray."""

RECIPE = """
[source]
folder = "photos"
[backbone]
name = "MobileNet"
size = 32
weights = "none"
[head]
inner = 8
epochs = 3
learning_rate = 0.02
batch_size = 8
"""


def reduced() -> dict[str, ModuleType]:
    """Returns copies of the modules without the names that another operating system lacks."""
    found = {}
    for name, missing in NAMES.items():
        real = importlib.import_module(name)
        found[name] = ModuleType(name)
        vars(found[name]).update({key: value for key, value in vars(real).items() if not missing.fullmatch(key)})
    for name in ("rename", "symlink", "link"):
        setattr(found["os"], name, globals()[name])
    return found


def rename(source: Any, target: Any) -> None:
    """Renames as on Windows: an existing target is an error."""
    if os.path.lexists(target):
        raise FileExistsError(17, "File exists", str(target))
    os.rename(source, target)  # noqa: PTH104


def symlink(*_: Any, **__: Any) -> None:
    raise OSError(22, "A required privilege is not held by the client")


link = symlink


def hide() -> None:
    """Patches imports so that Headstand's modules, which must not be imported yet, get the reduced modules."""
    modules, real = reduced(), builtins.__import__

    def imported(name: str, *rest: Any, **keywords: Any) -> Any:
        importer = (rest[0] if rest else keywords.get("globals")) or {}
        if str(importer.get("__name__", "")).split(".")[0] in ("headstand", "predict", "train"):
            if name in MODULES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if name in modules:
                return modules[name]
        return real(name, *rest, **keywords)

    def rename_path(self: Path, target: Any) -> Path:
        rename(self, target)
        return Path(target)

    builtins.__import__ = imported
    Path.rename = rename_path  # type: ignore[method-assign,assignment]
    Path.symlink_to = Path.hardlink_to = symlink  # type: ignore[method-assign,assignment]


def main(folder: str) -> None:
    for name in ("tensorflow", "keras", "matplotlib.pyplot", "optuna", "sklearn.linear_model", "scipy.stats"):
        importlib.import_module(name)
    assert "headstand" not in sys.modules
    hide()
    import headstand

    for module in pkgutil.walk_packages(headstand.__path__, "headstand."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    import convert_to_tflite
    import data_preparation
    import predict
    import train
    from tests import networks, photos

    os.chdir(folder)
    networks.keras.applications.MobileNet = networks.tiny
    photos.prepare(Path("photos"))
    Path("photos/manifest.csv").unlink()
    Path("shapes.toml").write_text(RECIPE)
    for _ in range(2):  # the second run replaces the files of the first
        data_preparation.main(["shapes.toml", "--seed", "7"])
    train.main(["shapes.toml"])
    for _ in range(2):
        convert_to_tflite.main([])
    (bundle,) = Path("runs").rglob("*.tflite")
    os.environ["HEADSTAND_MODEL"] = str(bundle)
    predict.main([str(next(Path("photos/test").rglob("*.png")))])
    reserved = re.compile(r'.*[<>:"|?*\\].*|.*[. ]|(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE | re.DOTALL)
    invalid = [str(path) for path in Path().rglob("*") if reserved.fullmatch(PurePath(path).name)]
    assert not invalid, f"names that Windows does not allow: {invalid}"


if __name__ == "__main__":
    main(sys.argv[1])
