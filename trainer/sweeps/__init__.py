"""Studies on this machine: optuna chooses values, jobs are processes, what they report decides. No TensorFlow here."""
