"""What every part may use and none is about: settings, files, memory, tables of text, optional packages, Ctrl-C."""
