"""What a result file is made of: pydantic models, a file for each suite's section. Data only; nothing is computed here."""
