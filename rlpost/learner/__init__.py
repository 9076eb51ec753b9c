"""Turns a TrainBatch into new weights: model, optimizer, micro-batches, checkpoints. Imports neither ray, vllm nor
trl.
"""
