"""From what data and machine are to what one would train on them: measured facts, rules with reasons, an experiment."""

from medtrain.planning import rules, training_rules  # which add themselves to the flowchart
from medtrain.planning.choice import Choice, choose, fit_to_time, fit_views_to_time, fitting, folds_or_time
from medtrain.planning.experiment import as_experiment
from medtrain.planning.facts import Facts, Machine, facts_of, measured_machine

__all__ = [
    "Choice",
    "Facts",
    "Machine",
    "as_experiment",
    "choose",
    "facts_of",
    "fit_to_time",
    "fit_views_to_time",
    "fitting",
    "folds_or_time",
    "measured_machine",
    "rules",
    "training_rules",
]
