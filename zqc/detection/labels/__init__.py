"""Labels of pictures: what files say, and which class of a model is meant."""
