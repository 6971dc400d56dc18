"""2D images from tables, folders and archives: data modules, batches, and images without labels for prediction."""
