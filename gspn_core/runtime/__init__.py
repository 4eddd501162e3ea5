"""The machine: devices, dtypes and the meter of time and memory."""
