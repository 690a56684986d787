"""A result as a report: pictures, a page, Markdown and CSV, rendered from what is in the result file and nothing else."""
