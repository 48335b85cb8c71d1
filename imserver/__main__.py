"""python -m imserver"""

from imserver.cli import main

main()
