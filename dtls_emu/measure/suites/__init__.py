"""The suites: what each measures, how it concludes, and how it says so. :mod:`.registry` knows them all."""
