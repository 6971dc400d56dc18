"""Networks: built for a DataSpec, usable on their own; know neither Lightning nor Hydra."""

from medtrain.model.attention import attention_map, has_attention
from medtrain.model.build import build_model, fill_from_spec, fit_channels
from medtrain.model.convnext import convnext_tiny
from medtrain.model.densenet import densenet121, densenet169, densenet201
from medtrain.model.densenet_3d import densenet121_3d
from medtrain.model.detector import Detector
from medtrain.model.dropout import check_passes, dropout_passes
from medtrain.model.efficientnet import efficientnet_b0, efficientnet_b3
from medtrain.model.end_to_end import end_to_end_mil
from medtrain.model.ensemble import Ensemble, members_of
from medtrain.model.faster_rcnn import faster_rcnn, faster_rcnn_mobilenet
from medtrain.model.fcos import fcos
from medtrain.model.instance_attention import class_logits, score_instances
from medtrain.model.memory import kept_bytes
from medtrain.model.mil import (
    BagNetwork,
    attention_mil,
    gated_attention_mil,
    max_mil,
    mean_mil,
    relevance,
    topk_mil,
)
from medtrain.model.resnet import resnet18, resnet34, resnet50, resnet101
from medtrain.model.resnet_3d import resnet10_3d, resnet18_3d, resnet34_3d, resnet50_3d
from medtrain.model.retinanet import retinanet
from medtrain.model.weights import load_weights, read_weights, warm_start
from medtrain.model.yolo import yolo

__all__ = [
    "BagNetwork",
    "Detector",
    "Ensemble",
    "attention_map",
    "attention_mil",
    "build_model",
    "check_passes",
    "class_logits",
    "convnext_tiny",
    "densenet121",
    "densenet121_3d",
    "densenet169",
    "densenet201",
    "dropout_passes",
    "efficientnet_b0",
    "efficientnet_b3",
    "end_to_end_mil",
    "faster_rcnn",
    "faster_rcnn_mobilenet",
    "fcos",
    "fill_from_spec",
    "fit_channels",
    "gated_attention_mil",
    "has_attention",
    "kept_bytes",
    "load_weights",
    "max_mil",
    "mean_mil",
    "members_of",
    "read_weights",
    "relevance",
    "resnet10_3d",
    "resnet18",
    "resnet18_3d",
    "resnet34",
    "resnet34_3d",
    "resnet50",
    "resnet50_3d",
    "resnet101",
    "retinanet",
    "score_instances",
    "topk_mil",
    "warm_start",
    "yolo",
]
