"""Lessons: a lab, a story, questions, and a check that finds every right answer by running the student's own lab."""

from dtls_emu.teach.lessons.checking import Checked, Mark, State, check_folder
from dtls_emu.teach.lessons.lesson import Lesson, lesson, lessons


__all__ = ["Checked", "Lesson", "Mark", "State", "check_folder", "lesson", "lessons"]
