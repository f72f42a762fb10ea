"""Lets the torchvision of the registry, which is built for CUDA, be imported beside a CPU build of torch.

Its compiled operators are declared without being there; transforms, all that open_clip asks for, do without them.
Active where this folder is on PYTHONPATH, so that Ray's workers have it too.
"""

import importlib.abc
import sys


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):  # type: ignore[no-untyped-def]
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def _declare() -> None:
    import torch

    if torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.modules["_humo_torchvision"] = library  # type: ignore[assignment]  # it must outlive this function


sys.meta_path.insert(0, _BeforeTorchvision())
