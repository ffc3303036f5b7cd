"""Reports upwards: Open XDMoD, APEL, the quarterly report for the funder."""
