"""An answer, shown: as JSON, as a page with a diagram, as annotations for code review; and as a gate."""
