"""Networks: built for a DataSpec, usable on their own; know neither Lightning nor Hydra.

Each network of these files is `medtrain.model.NAME`; listed is only what other rooms import.
"""

from medtrain.core.offer import offer
from medtrain.model.attention import attention_map, has_attention
from medtrain.model.bag_network import BagNetwork, relevance
from medtrain.model.build import build_model, fill_from_spec, fit_channels
from medtrain.model.detector import Detector, Stage, losses_wanted
from medtrain.model.dropout import check_passes, dropout_passes
from medtrain.model.ensemble import Ensemble, members_of, specs_of
from medtrain.model.fusion import columns_learned, fuse, show_columns
from medtrain.model.head import tie_outputs
from medtrain.model.instance_attention import class_logits, score_instances
from medtrain.model.memory import kept_bytes
from medtrain.model.weights import load_weights, read_weights, warm_start

__all__ = [
    "BagNetwork",
    "Detector",
    "Ensemble",
    "Stage",
    "attention_map",
    "build_model",
    "check_passes",
    "class_logits",
    "columns_learned",
    "dropout_passes",
    "fill_from_spec",
    "fit_channels",
    "fuse",
    "has_attention",
    "kept_bytes",
    "load_weights",
    "losses_wanted",
    "members_of",
    "read_weights",
    "relevance",
    "score_instances",
    "show_columns",
    "specs_of",
    "tie_outputs",
    "warm_start",
]

offer(__name__)
