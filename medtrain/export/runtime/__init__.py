"""What runs beside an exported network, without torch (of ONNX) and without medtrain.

No file here is run from here: `medtrain.export.bundle` makes one readable predict.py of a file of this folder and of
the very functions that it takes from other rooms, so that an export reads files by the same source as a run does.
Whatever is imported here has to be importable from the packages that the exported requirements.txt names.
"""
