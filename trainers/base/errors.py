"""What can go wrong before or around a training run, each with a one-line message for the user.

TrainersError
+-- SettingsError   a settings file or a --set override; fix the file, exit code 2
+-- DataError       a line of a data file, or a file that is missing or empty; exit code 2
+-- ModelError      a model folder that cannot be what was asked for; exit code 2
+-- RunError        a run that cannot go on: the disk is full, the loss is not a number; exit code 2
+-- NothingWrittenError   a run that was sound and left nothing to write; exit code 1
"""


class TrainersError(Exception):
    """Base of all errors that the command line reports in one line."""

    exit_code = 2


class SettingsError(TrainersError):
    """Names the file, the key and the reason."""


class DataError(TrainersError):
    """Names the file, the line and the reason."""


class ModelError(TrainersError):
    """Names the folder and the reason."""


class RunError(TrainersError):
    """Names the step and the reason; what had been written before is whole."""


class NothingWrittenError(TrainersError):
    """Names the file, and why nothing is left for it."""

    exit_code = 1
