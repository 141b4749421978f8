"""What makes records of things that the SDK did not say: logs, TensorBoard's event files, runs of this machine.

The importers of MLflow and TensorBoard are here, too.
"""
