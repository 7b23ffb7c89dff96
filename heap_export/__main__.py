from heap_export.cli import main

main()
