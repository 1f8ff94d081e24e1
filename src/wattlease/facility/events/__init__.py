"""Events of the grid: heard by OpenADR, from a file or by a call, kept on disk to their end, told as windows."""
