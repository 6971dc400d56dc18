"""Export: a trained network as a folder that answers without medtrain, and the proof that it answers alike."""
