"""Two servers of our own making, each as small as its kind can be; scripts, not modules."""
