"""The web client: plain files, served as they are (see `imserver.transport.web_files`)."""
