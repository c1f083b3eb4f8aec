"""The process that runs the items of one stage."""

from bench.gpu.items import main

main()
