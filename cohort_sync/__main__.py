from cohort_sync.cli import main

main()
