"""Clusters on this machine: processes, their ports and who looks after them. No TensorFlow here."""
