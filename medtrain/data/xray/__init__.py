"""2D images from tables: manifest, dataset, data module, and images without labels for prediction."""
