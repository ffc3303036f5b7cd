"""What goes upwards: Open XDMoD, APEL, the quarterly report."""
