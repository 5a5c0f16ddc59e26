"""Where the numbers of a sweep's trials go while it runs: TensorBoard's files, MLflow, Weights & Biases."""
