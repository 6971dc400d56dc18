"""Reports of a run for people: a table in the terminal and one HTML file, both made from the run folder's files."""

from medtrain.report.box_pictures import on_film, over_film, write_box_pictures
from medtrain.report.failures import write_failures
from medtrain.report.imbalance import Imbalance, imbalance, imbalance_table
from medtrain.report.outcome import metrics_table
from medtrain.report.page import write_report

__all__ = [
    "Imbalance",
    "imbalance",
    "imbalance_table",
    "metrics_table",
    "on_film",
    "over_film",
    "write_box_pictures",
    "write_failures",
    "write_report",
]
