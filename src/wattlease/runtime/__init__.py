"""What every process shares: records, files, the web page, the command line."""
