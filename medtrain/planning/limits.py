"""What the rules of the flowchart take for granted: numbers with a name, each with what it is of."""

from __future__ import annotations

FEW_EVENTS = 40  # patients of the rarest class (with the event) in the test split, below which folds test all of them
FEW_TESTED = 20  # the same of all patients, where there are no classes
FOLDS = 5  # of which each can test a patient of a class that has as many
FEW = 1000  # cases to train on, below which augmentation is strong
MANY = 10_000  # the same, from which on weights of other pictures give little, and one test split is large enough
UNEQUAL = 10.0  # others on one of a class, from which on the sampler balances (docs/imbalance.md)
FEW_TO_FIT = 10  # patients of the rarest class in validation, below which a fitted threshold is luck
SKEWED = 2.0  # the same, from which on 0.5 is no threshold
FEW_TIMES = 50  # events to train on, below which ten intervals of time have too few each
STEPS = 1500  # of the optimizer, from which on small networks gain little
EPOCHS = (10, 100)
MANY_PATCHES = 8  # of a case, from which on most may show nothing of what its label says
WHOLE = (64, 128)  # voxels a side in which a case is shown as a whole then: without a GPU, and with one
SMALLEST_BOX = 16  # pixels of the network's input that the fifth percentile of boxes should have
TINY_BOX = 8  # the same, below which a map of stride 8 has no point in it
CROP = 100.0  # mm that a crop around a lesion has at most along its longest side
THIN = 5  # sections, below which a tilt leaves the volume
COARSE = 100  # patients of the rarest class in validation, below which the loss chooses the epoch
BY_LOSS = {"monitor": "val_loss", "mode": "min"}
COLOURED = 0.5  # of the pictures that were looked at
FEWEST_EPOCHS = 0.25  # of those planned, below which folds give way to one split that has more
MOST_VIEWING = 0.25  # of the time there is, for views of cases in the test
SIZES = (64, 96, 128, 224, 320, 512, 640, 768, 1024)
WINDOW = (-1000.0, 2000.0)  # Hounsfield units: air, and denser than bone
MOST_SITES = 20  # of which figures each can be read
LENGTHS = ("mm", "cm", "mm2", "cm2", "mm3", "cm3", "ml", "cc", "mm²", "cm²", "mm³", "cm³")  # units of a size
SMALL = 64  # pixels a side: films that small keep their size, and networks their full resolution at the start
NARROW = 32  # channels of the first layer of a 3D network, half of the usual, where it trains on processors
PATCH = 64  # voxels a side at most
PATCH_BATCH = (4, 32)  # volumes a batch, of patches of 64 voxels a side and of few voxels
LEAST_BATCH = 8  # images, of which batch norm and a step still make sense
